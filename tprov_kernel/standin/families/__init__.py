"""The families of resources. Each is a class whose public methods are the API's, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tprov_kernel.standin.core import Core
from tprov_kernel.standin.families.account import Accounts
from tprov_kernel.standin.families.namespaces import Namespaces
from tprov_kernel.standin.families.users import Users

Method = Callable[[Any, Any], Any]


def build(core: Core) -> dict[str, Method]:
    """Make every family, and give the API's methods that they have, by name."""
    families = (Accounts(core), Namespaces(core), Users(core))
    return {
        name: getattr(family, name)
        for family in families
        for name in dir(family)
        if name[0].isupper()
    }

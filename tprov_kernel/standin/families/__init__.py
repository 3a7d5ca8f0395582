"""The families of resources. Each is a class whose public methods are the API's, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from tprov_kernel.standin.core import Core
from tprov_kernel.standin.families.account import Accounts
from tprov_kernel.standin.families.apikeys import ApiKeys
from tprov_kernel.standin.families.connectivity import Connectivity
from tprov_kernel.standin.families.groups import Groups
from tprov_kernel.standin.families.namespaces import Namespaces
from tprov_kernel.standin.families.nexus import Nexus
from tprov_kernel.standin.families.regions import Replication
from tprov_kernel.standin.families.roles import Roles
from tprov_kernel.standin.families.service_accounts import ServiceAccounts
from tprov_kernel.standin.families.sinks import AuditSinks, ExportSinks
from tprov_kernel.standin.families.users import Users
from tprov_kernel.standin.keys import Keys

Method = Callable[[Any, Any], Any]


@dataclass(frozen=True, kw_only=True)
class Families:
    """What the stand-in can do.

    Attributes:
        methods: The API's methods that it has, by name.
        conceal: Takes the secrets out of an answer before it is stored.
        reveal: Puts them back into a stored answer.
    """

    methods: dict[str, Method]
    conceal: Callable[[Message], None]
    reveal: Callable[[Message], None]


def build(core: Core, *, keys: Keys, scim: str = "") -> Families:
    """Make every family."""
    api_keys = ApiKeys(core, keys)
    families = (
        Accounts(core),
        Namespaces(core),
        Replication(core),
        Connectivity(core),
        Roles(core),
        Users(core),
        ServiceAccounts(core),
        api_keys,
        Groups(core, scim=scim),
        Nexus(core),
        ExportSinks(core),
        AuditSinks(core),
    )
    methods: dict[str, Method] = {
        name: getattr(family, name)
        for family in families
        for name in dir(family)
        if name[0].isupper()
    }
    return Families(methods=methods, conceal=api_keys.conceal, reveal=api_keys.reveal)

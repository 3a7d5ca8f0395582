"""Loads the API's generated messages without the rest of the Temporal SDK."""

from __future__ import annotations

import importlib.util
import sys
import types


def without_the_sdk() -> None:
    """Make ``temporalio`` a bare package, so that importing its messages stays cheap.

    `temporalio/__init__.py` loads the Rust bridge (0.25 s and 15 MB, measured with 1.35), which
    the stand-in never uses; its start-up has to stay under 0.4 s. Only for a process of our own.
    """
    if "temporalio" in sys.modules:
        return
    spec = importlib.util.find_spec("temporalio")
    if spec is None or spec.submodule_search_locations is None:
        return  # the import that follows says so better
    package = types.ModuleType("temporalio")
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec
    sys.modules["temporalio"] = package

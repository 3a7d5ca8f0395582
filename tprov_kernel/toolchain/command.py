"""The set-up of the tools as a command: `make setup`'s second half, and `tprov setup`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tprov_kernel.errors import ToolError
from tprov_kernel.toolchain.find import find_toolchain
from tprov_kernel.toolchain.get import ensure_toolchain
from tprov_kernel.toolchain.steps import Printer, guarded_main

PROGRAMS = ("terraform", "opa", "temporal")


def main(arguments: Sequence[str] = (), *, again: str = "make setup") -> int:
    """Get the tools that are missing; with a tool's name, print where it is instead.

    Progress and failures go to the error stream, so that the answer is alone on the other.

    Args:
        arguments: Nothing, or one of `PROGRAMS`.
        again: The command that remedies name.

    Returns:
        The exit code: 0, 1 after a failure, 130 after an interrupt.
    """
    return guarded_main(
        lambda show: _work(arguments, show, again=again), stream=sys.stderr, again=again
    )


def _work(arguments: Sequence[str], show: Printer, *, again: str) -> None:
    if not arguments:
        kit = ensure_toolchain(progress=show, again=again)
        found = (kit.terraform, kit.provider, kit.opa, kit.temporal)
        show("Ready: " + ", ".join(f"{t.name} {t.version} ({t.origin})" for t in found) + ".")
        return
    if len(arguments) > 1 or arguments[0] not in PROGRAMS:
        raise ToolError(
            f"There is no tool of the name {' '.join(arguments)!r}.",
            remedy=f"Name one of {', '.join(PROGRAMS)}, or nothing to get all that is missing.",
        )
    tool = getattr(find_toolchain(), arguments[0])
    sys.stdout.write(f"{tool.argv[0]}\n")

"""``python -m tprov_kernel.toolchain [TOOL]``: get the tools, or print where one of them is."""

from __future__ import annotations

import sys

from tprov_kernel.errors import ToolError
from tprov_kernel.toolchain import ensure_toolchain, find_toolchain
from tprov_kernel.toolchain.steps import Printer, guarded_main

PROGRAMS = ("terraform", "opa", "temporal")


def work(arguments: list[str], show: Printer) -> None:
    """Do what the command line asks; progress goes to the error stream, answers to the other."""
    if not arguments:
        kit = ensure_toolchain(progress=show)
        found = (kit.terraform, kit.provider, kit.opa, kit.temporal)
        show("Ready: " + ", ".join(f"{t.name} {t.version} ({t.origin})" for t in found) + ".")
        return
    if len(arguments) > 1 or arguments[0] not in PROGRAMS:
        raise ToolError(
            f"There is no tool of the name {' '.join(arguments)!r}.",
            remedy=f"Name one of {', '.join(PROGRAMS)}, or nothing to get all that is missing.",
        )
    tool = next(t for t in vars(find_toolchain()).values() if t.name == arguments[0])
    sys.stdout.write(f"{tool.argv[0]}\n")


def main() -> int:
    """Run the command; gives its exit code."""
    return guarded_main(
        lambda show: work(sys.argv[1:], show), stream=sys.stderr, again="make setup"
    )


if __name__ == "__main__":
    sys.exit(main())

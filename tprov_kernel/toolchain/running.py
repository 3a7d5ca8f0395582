"""Which program a process is: Terraform from its wheel is called Python by the system."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tprov_kernel.toolchain.places import TERRAFORM_RUNNER

_INTERPRETER = re.compile(r"(python[\d.]*|sh|bash|dash)", re.IGNORECASE)  # macOS: Python


def program_of(command: Sequence[str]) -> str:
    """Name the program that a process is.

    Args:
        command: The process' whole command line; it may be empty, as that of one which ends is.

    Returns:
        The name of its file; `terraform` for the script that starts the wheel's, and for what
        becomes of it.
    """
    name = Path(command[0]).name if command else ""
    if _INTERPRETER.fullmatch(name):
        script = Path(next((word for word in command[1:] if not word.startswith("-")), ""))
        if script.is_absolute() and script.name in ("terraform", TERRAFORM_RUNNER):
            return "terraform"
    return name

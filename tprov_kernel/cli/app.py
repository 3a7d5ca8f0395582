"""The commands: what each is called, takes, and teaches.

Each one only reads its arguments; what it does is imported when it is called. The order of the
imports is the order of the help.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from tprov_kernel.cli import (
    breaking_commands,
    cloud_commands,
    key_commands,
    notebook_commands,
    run_commands,
    run_gate_commands,
    say,
    service_commands,
)
from tprov_kernel.cli.base import app

__all__ = [
    "app",
    "breaking_commands",
    "cloud_commands",
    "key_commands",
    "notebook_commands",
    "run",
    "run_commands",
    "run_gate_commands",
    "service_commands",
]

# click's own, or that of the copy which newer typers carry: the base of what they export
UsageError: type[Any] = typer.BadParameter.__mro__[1]


def run(argv: Sequence[str]) -> int:
    """Run a command line; give its exit code.

    Raises:
        Usage: It is mistyped.
        TprovError: It cannot be done.
    """
    try:
        code = app(list(argv), prog_name="tprov", standalone_mode=False)
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help was shown
            return 2
        path = error.ctx.command_path if error.ctx is not None else "tprov"
        message = error.format_message()
        raise say.Usage(
            message if message.endswith((".", "?")) else f"{message}.",
            remedy=f"`{path} --help` shows how it is used.",
        ) from error
    return int(code or 0)

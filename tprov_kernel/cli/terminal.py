"""`tprov env`: shell lines that make a terminal meet these services, and the right programs."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from tprov_kernel.cli import say
from tprov_kernel.cli.place import Place, connected, shown
from tprov_kernel.errors import StackError
from tprov_kernel.files import private_directory
from tprov_kernel.services import environment_for_terminal
from tprov_kernel.settings import CONNECTION_VARIABLES, Settings
from tprov_kernel.stacks import StackDirectory, check_name
from tprov_kernel.terraform import cloud_variables, terraform_variables
from tprov_kernel.toolchain import find_toolchain

HARMFUL = ("TEMPORAL_CODEC_AUTH", "TEMPORAL_CLI_SHOW_STACKS")
"""Besides `CONNECTION_VARIABLES`, what would make `temporal` behave otherwise."""

STEERING = ("TF_WORKSPACE", "TF_DATA_DIR", "TF_REATTACH_PROVIDERS", "TF_STATE_PERSIST_INTERVAL")
"""What would make Terraform work elsewhere than in the stack's directory."""

NOT_FOR_PEOPLE = ("TF_IN_AUTOMATION", "TF_INPUT")
"""A person's Terraform may ask: `destroy` does."""


async def env(place: Place, *, stack: str | None) -> int:
    """Print the lines; what people should know besides goes to stderr."""
    if stack is not None:
        check_name(stack)
    settings = await place.settings(needs_server=False)
    values = _of_services(settings)
    unset = [name for name in (*CONNECTION_VARIABLES, *HARMFUL) if name in os.environ]
    if settings.target == "remote":
        unset = []
    if stack is not None:
        values |= await _of_stack(place, settings, stack)
        unset += [n for n in sorted(os.environ) if n in STEERING or n.startswith("TF_CLI_ARGS")]
    unset = [name for name in unset if name not in values]
    for line in shell_lines(values, unset=unset):
        say.answer(line)
    _say_what_it_does(settings, unset=unset)
    return 0


def shell_lines(values: Mapping[str, str], *, unset: Iterable[str]) -> list[str]:
    """Make lines for a POSIX shell's `eval`; every value is quoted."""
    lines = [f"unset {name}" for name in dict.fromkeys(unset)]
    return lines + [f"export {name}={shlex.quote(value)}" for name, value in values.items()]


def _of_services(settings: Settings) -> dict[str, str]:
    """What every terminal needs: the connection, and the programs first on PATH, `tprov` too."""
    private_directory(settings.home)
    values = environment_for_terminal(settings, toolchain=find_toolchain())
    if settings.target == "local":
        values |= {"TPROV_ROOT": str(settings.root), "TPROV_HOME": str(settings.home)}
    return values


async def _of_stack(place: Place, settings: Settings, stack: str) -> dict[str, str]:
    """What a plain `terraform -chdir="$TPROV_STACK_DIR" ...` needs to work on a stack."""
    if not (settings.stacks / stack).is_dir():
        raise StackError(
            f"Stack {stack!r} was never at work on this machine: its directory is not here.",
            remedy="`tprov status` lists the stacks.",
        )
    directory = StackDirectory(settings.stacks, stack)
    config = settings.home / "terraform.rc"
    terraform = terraform_variables(cli_config=config, suffix=await _suffix(place, stack))
    values = {"TPROV_STACK_DIR": os.fspath(directory.root), **terraform}
    if settings.target == "local":  # the stand-in's key; a real one is never printed
        values |= cloud_variables(settings.cloud)
    return {name: value for name, value in values.items() if name not in NOT_FOR_PEOPLE}


async def _suffix(place: Place, stack: str) -> str:
    from tprov_kernel import runs

    async with connected(place) as at:
        described = await runs.describe(at.client, stack)
        if described is None:
            return ""
        if described.close_time is None:
            say.warning(
                f"A run is open on stack {stack}: Terraform's lock is the only thing between you.",
                remedy=f"Better wait until it is over: `tprov status {stack} --watch`.",
            )
        return str((await described.memo()).get("suffix", ""))


def _say_what_it_does(settings: Settings, *, unset: list[str]) -> None:
    if settings.target == "remote":
        say.aside(
            "# Remote: keys and certificates stay where you have them; none is printed."
            " Terraform needs TEMPORAL_CLOUD_API_KEY."
        )
        return
    if unset:
        say.aside(f"# Unset in this terminal, because it is local now: {', '.join(unset)}.")
    if sys.stdout.isatty():
        say.aside('# To use these lines: eval "$(tprov env)"')
    elif settings.home.is_relative_to(Path.cwd()):
        say.aside(f"# This terminal uses the services of {shown(settings.home)}.")

"""A plain script that runs Terraform, with nothing around it: what a run is compared with."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tprov_kernel.errors import ServiceError
from tprov_kernel.lab.output import Words
from tprov_kernel.lab.runtime import Runtime
from tprov_kernel.settings import without_keys
from tprov_kernel.stacks import copy_configuration, state_addresses
from tprov_kernel.widgets.words import clean

if TYPE_CHECKING:
    from tprov_kernel.process import Child, Guard
    from tprov_kernel.settings import Settings

LIMIT = 120.0
"""Seconds that a script may take; two are usual."""

PREFIX = "script"
ADDRESS = "temporalcloud_namespace.this"


class PlainScript:
    """A copy of a configuration in a directory of its own, and shell commands that are run there.

    It belongs to the kernel's guard: it ends with the kernel.

    Args:
        place: Its directory; the last part of its name makes the names of its objects unique.
        commands: What the shell is told.
    """

    def __init__(self, place: Path, commands: str, *, runtime: Runtime, guard: Guard) -> None:
        self.place, self.commands = place, commands.strip()
        self._runtime, self._guard = runtime, guard
        self._child: Child | None = None

    @property
    def name(self) -> str:
        """The name of the namespace that it creates."""
        return self.place.name

    def start(self) -> Words:
        """Start it; does not wait. What it says is shown by `kill`."""
        if self._child is None or self._child.returncode is not None:
            with self._log() as log:
                self._child = self._spawn(self.commands, log)
        return Words(f"The script runs: process {self._child.pid}.")

    def kill(self) -> Words:
        """Kill the script and its Terraform with -9, and show what it had said until then."""
        if self._child is None or self._child.returncode is not None:
            return Words("The script does not run: nothing was killed.")
        pid = self._child.pid
        self._child.kill_group()
        self._runtime.call(self._child.wait(), timeout=LIMIT)
        print(self._said())
        return Words(f"The script (process {pid}) and its Terraform were killed with signal 9.")

    def run(self, commands: str = "") -> None:
        """Run it, or other commands in its directory, to the end, and show what is said.

        Raises:
            ServiceError: It runs already.
        """
        if self._child is not None and self._child.returncode is None:
            raise ServiceError("The script runs already.", remedy="Kill it, or wait.")
        with self._log() as log:
            child = self._spawn(commands or self.commands, log)
        try:
            code = self._runtime.call(child.wait(), timeout=LIMIT)
        except BaseException:
            child.kill_group()
            raise
        print(f"{self._said()}\n(exit code {code})")

    def tidy_up(self, namespace_id: str) -> None:
        """Take its namespace into its state where it is missing, destroy it, forget the rest."""
        if namespace_id:
            held = self.place / "terraform.tfstate"
            known = bool(held.exists() and ADDRESS in _addresses(held))
            adopt = "" if known else f"terraform import {ADDRESS} {namespace_id} && "
            self.run(f"{adopt}terraform destroy -auto-approve")
        shutil.rmtree(self.place, ignore_errors=True)

    def _spawn(self, commands: str, log: IO[bytes]) -> Child:
        suffix = self.name.rpartition("-")[2]
        # The kernel's own environment leads a plain `terraform` to this lab's Cloud API.
        env = without_keys(os.environ) | {
            "TF_VAR_name_prefix": PREFIX,
            "TF_VAR_name_suffix": suffix,
            "TF_CLI_ARGS": "-no-color",
            "TF_INPUT": "0",
            "TF_IN_AUTOMATION": "1",
        }
        argv = ["sh", "-ec", commands]
        return self._guard.spawn(argv, cwd=self.place, env=env, stdout=log, stderr=log)

    def _log(self) -> IO[bytes]:
        path = self.place / "script.log"
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")

    def _said(self) -> str:
        return clean((self.place / "script.log").read_text(errors="replace")).strip()

    def __repr__(self) -> str:
        return f"In a copy of the configuration, for a namespace {self.name}:\n\n{self.commands}"


def _addresses(state: Path) -> list[str]:
    import json

    try:
        return state_addresses(json.loads(state.read_text()))
    except ValueError:
        return []


def make_script(
    original: Path,
    commands: str,
    *,
    settings: Settings,
    notebook: str,
    runtime: Runtime,
    guard: Guard,
) -> PlainScript:
    """Copy a configuration to a fresh directory, and give the script that is run there.

    Raises:
        ServiceError: The target is remote: an orphan in the real Cloud is no lesson.
    """
    if not settings.cloud.is_stand_in:
        raise ServiceError(
            "A script that leaves an orphan behind is not run against the real Temporal Cloud.",
            remedy="Open the lab without a remote target.",
        )
    place = settings.home / "copies" / notebook / f"{PREFIX}-{secrets.token_hex(3)}"
    copy_configuration(original, place)
    return PlainScript(place, commands, runtime=runtime, guard=guard)


def scripts(
    settings: Settings, notebook: str, *, runtime: Runtime, guard: Guard
) -> Iterator[PlainScript]:
    """The scripts of this notebook whose directories are still there, of earlier kernels too."""
    for place in sorted((settings.home / "copies" / notebook).glob(f"{PREFIX}-*/")):
        yield PlainScript(place, "", runtime=runtime, guard=guard)

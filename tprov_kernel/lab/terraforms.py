"""The Terraforms that are at work in a data directory, whoever started them, and how one is killed.

The processes of this machine are asked each time; nothing is remembered.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tprov_kernel.lab.script import PREFIX
from tprov_kernel.toolchain.running import program_of

GONE_WITHIN = 5.0
"""Seconds in which processes that were killed are gone."""


@dataclass(frozen=True)
class Terraform:
    """A Terraform at work.

    Attributes:
        place: The stack, the script or the directory that it works on, in words.
        plugins: What it has started.
    """

    pid: int
    place: str
    plugins: tuple[int, ...]

    @property
    def words(self) -> str:
        """'Terraform (process 4711) of stack crash and its plug-in (process 4712)'."""
        listed = ", ".join(map(str, self.plugins))
        plural = "s" * (len(self.plugins) > 1)
        more = f" and its plug-in{plural} (process{'es' * bool(plural)} {listed})" if listed else ""
        return f"Terraform (process {self.pid}) of {self.place}{more}"


def terraforms(home: Path) -> list[Terraform]:
    """The Terraforms that work below a data directory: of its stacks, and of scripts and copies.

    Each works in its own directory, which a kernel's worker, another process' and a shell's
    `terraform -chdir` have in common.

    Args:
        home: The services' data directory.
    """
    found: dict[int, str] = {}
    plugins: dict[int, list[int]] = {}
    for process, place in _programs(home):
        with suppress(psutil.Error):
            if _name(process).startswith("terraform-provider-"):
                plugins.setdefault(process.ppid(), []).append(process.pid)
            else:
                found[process.pid] = place
    return [Terraform(pid, place, tuple(plugins.get(pid, ()))) for pid, place in found.items()]


async def kill_terraforms(home: Path) -> list[Terraform]:
    """Kill them and their plug-ins with -9, and wait until they are gone; give who they were."""
    for terraform in await asyncio.to_thread(terraforms, home):
        _signal(terraform, signal.SIGSTOP)  # so that none starts a plug-in meanwhile
    found = await asyncio.to_thread(terraforms, home)
    for terraform in found:
        _signal(terraform, signal.SIGKILL)
    pids = [pid for t in found for pid in (t.pid, *t.plugins)]
    with suppress(TimeoutError):
        async with asyncio.timeout(GONE_WITHIN):
            while any(map(psutil.pid_exists, pids)):  # noqa: ASYNC110 (another process reaps it)
                await asyncio.sleep(0.02)
    return found


def _signal(terraform: Terraform, number: int) -> None:
    for pid in (terraform.pid, *terraform.plugins):
        with suppress(OSError):
            os.kill(pid, number)


def _programs(home: Path) -> Iterator[tuple[psutil.Process, str]]:
    top = os.path.realpath(home)
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError, ValueError):  # it ended, or works elsewhere
            if not _name(process).startswith("terraform"):
                continue
            parts = Path(process.cwd()).relative_to(top).parts
            if place := _place(parts):
                yield process, place


def _name(process: psutil.Process) -> str:
    return program_of(process.cmdline())


def _place(parts: tuple[str, ...]) -> str:
    match parts:
        case ("stacks", stack, *_):
            return f"stack {stack}"
        case ("copies", _, copy, *_):
            return f"the plain script {copy}" if copy.startswith(f"{PREFIX}-") else f"copy {copy}"
        case _:
            return ""

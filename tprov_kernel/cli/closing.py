"""down, reset: the way back to nothing."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tprov_kernel.cli import say
from tprov_kernel.cli.place import Place, shown
from tprov_kernel.errors import ServiceError

if TYPE_CHECKING:
    from tprov_kernel.services import Owner

GONE_WITHIN = 45.0
"""Seconds that `tprov down` waits; a Terraform at work has a grace of 32."""

SOON = 2.0
"""Seconds of waiting after which it says what for."""


# --- down ------------------------------------------------------------------------------------


async def down(place: Place, *, yes: bool) -> int:
    """End whoever has the services open, and wait until everything is gone."""
    from tprov_kernel import services

    owner = services.owner_of(place.home)
    if owner is None:
        say.answer(f"No services are open in {shown(place.home)}: nothing to close.")
        return 0
    question = f"{owner.words} has them open; end it, with all its kernels?"
    if owner.kind != "up" and not yes and not say.confirmed(question):
        say.aside("Nothing was closed.")
        return 1
    await _end(owner.pid)
    began, told = time.monotonic(), False
    while _runs(owner.pid) or not _is_free(place.home) or services.stacks_at_work(place.home):
        waited, works = time.monotonic() - began, services.stacks_at_work(place.home)
        if works and waited > SOON and not told:
            told = True
            say.aside(f"Waiting for the Terraform at work on {', '.join(works)} to end …")
        if waited > GONE_WITHIN:
            raise _still_there(owner, works)
        await asyncio.sleep(0.05)
    say.answer(f"Closed. Runs and objects stay in {shown(place.home)}.")
    return 0


def _still_there(owner: Owner, works: Sequence[str]) -> ServiceError:
    if _runs(owner.pid) or not works:
        return ServiceError(
            f"{owner.words} did not end within {GONE_WITHIN:.0f} s.",
            remedy=f"`kill -9 {owner.pid}` ends it; all it started ends with it.",
        )
    return ServiceError(
        f"The services are closed; a Terraform on {', '.join(works)} is still at work after"
        f" {GONE_WITHIN:.0f} s.",
        remedy="Its worker was started by somebody else: end that one (Ctrl-C), or wait for it.",
    )


def _runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_free(home: Path) -> bool:
    """Whether the last process that held the data directory has ended: guard and services too."""
    with (home / "services.lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


async def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise ServiceError(
            f"The services belong to another user's process {pid}.", remedy="Ask its owner."
        ) from error


# --- reset -----------------------------------------------------------------------------------


async def reset(place: Place, *, yes: bool) -> int:
    """Bring everything back to zero; keys and tools stay."""
    from tprov_kernel import services

    home = place.home
    before = _contents(home)
    if not before:
        say.answer(f"There is nothing in {shown(home)}.")
        return 0
    if (owner := services.owner_of(home)) is not None:
        raise ServiceError(
            f"The services in {shown(home)} are open, by {owner.words}: nothing was removed.",
            remedy="Close them first: `tprov down`.",
        )
    question = f"Remove every stack, run and object in {shown(home)}?"
    if not yes and not say.confirmed(question):
        say.aside("Nothing was removed.")
        return 1
    began = time.monotonic()
    await asyncio.to_thread(services.reset, home, keep_keys=True)
    after = _contents(home)
    for path, words in before.items():
        if path not in after:
            say.answer(f"removed {shown(path)}{words}")
    say.aside(f"Back to zero in {time.monotonic() - began:.1f} s; keys and tools were kept.")
    return 0


def _contents(home: Path) -> dict[Path, str]:
    """What lies in the data directory, each with a word about what is in it."""
    if not home.is_dir():
        return {}
    found = {}
    for path in sorted(home.iterdir()):
        inside = [p.name for p in sorted(path.iterdir())] if path.is_dir() else []
        named = path.name in ("stacks", "private") and inside
        found[path] = f": {', '.join(inside)}" if named else ""
    return found

"""A worker in a process of its own, which a lesson may kill: the kernel's own cannot be."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from tprov_kernel.errors import ServiceError
from tprov_kernel.files import private_directory
from tprov_kernel.lab.output import Words
from tprov_kernel.lab.runtime import Runtime
from tprov_kernel.settings import KEYS_VARIABLE, Settings

if TYPE_CHECKING:
    from tprov_kernel.payloads.keyring import KeyRing
    from tprov_kernel.process import Child, Guard

READY_WITHIN = 30.0
"""Seconds in which a worker process begins to poll; it needs about one."""

GONE_WITHIN = 15.0
"""Seconds in which one that was told to stop is gone."""

LOOK_EVERY = 0.05
"""Seconds between two looks."""


def check_has_keys(key_ring: KeyRing) -> None:
    """Refuse to start one that could not read what runs say.

    Raises:
        ServiceError: The keys come from a function, which another process cannot call.
    """
    if key_ring.is_function:
        raise ServiceError(
            f"The keys come from {key_ring.name}, and a worker in a process of its own cannot call"
            " it.",
            remedy=f"Set {KEYS_VARIABLE} before the kernel starts, in place of the function.",
        )


class WorkerProcess:
    """`tprov worker` on this notebook's queue, owned by the kernel's guard.

    Args:
        runtime: Where waiting is done, so that an interrupt is heard.
        guard: Ends it when the kernel ends, however that ends.
        settings: Where everything is, and which queue it polls.
    """

    def __init__(self, runtime: Runtime, guard: Guard, settings: Settings) -> None:
        self._runtime, self._guard, self._settings = runtime, guard, settings
        self._child: Child | None = None
        self._log = settings.home / "logs" / "worker-process.log"
        self._how = "was not started yet"

    @property
    def pid(self) -> int:
        """Its process id; 0 while none runs."""
        return self._child.pid if self._child is not None and self.runs else 0

    @property
    def runs(self) -> bool:
        """Whether the process is alive."""
        if self._child is None or self._child.returncode is not None:
            return False
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self._child.pid).status() != psutil.STATUS_ZOMBIE
        return False

    def start(self) -> Words:
        """Start it, and wait until it polls; one that runs is left alone.

        Raises:
            ServiceError: It ended, or does not poll in time; the sentence is its own.
        """
        if not self.runs:
            self._runtime.call(self._start(), timeout=READY_WITHIN + 10)
        return Words(self)

    async def _start(self) -> None:
        from tprov_kernel.process import Ending

        target = ["--target", "remote"] if self._settings.target == "remote" else []
        argv = [sys.executable, "-m", "tprov_kernel.cli", *target]
        argv += ["worker", "--task-queue", self._settings.task_queue]
        places = {"TPROV_ROOT": self._settings.root, "TPROV_HOME": self._settings.home}
        environment = {**os.environ, **{name: os.fspath(path) for name, path in places.items()}}
        private_directory(self._log.parent)
        self._log.unlink(missing_ok=True)
        with os.fdopen(os.open(self._log, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as log:
            self._child = self._guard.spawn(
                argv,
                cwd=self._settings.root,
                env=environment,
                stdout=log,
                stderr=log,
                ending=Ending(terminate=5.0),
            )
        for _ in range(round(READY_WITHIN / LOOK_EVERY)):
            said = self._log.read_text(errors="replace")
            if "Polling " in said:
                return
            if not self.runs:
                break
            await asyncio.sleep(LOOK_EVERY)
        last = [line for line in said.splitlines() if line.strip()][-1:] or ["it said nothing"]
        self._how = f"did not come up: {last[0]}"
        self._child.kill_group()
        raise ServiceError(
            f"The worker process {self._how}", remedy="`tprov doctor` tells what is missing."
        )

    def kill(self) -> Words:
        """Kill it with -9; runs stay where they are."""
        return self._end(signal.SIGKILL, "was killed (signal 9)")

    def stop(self) -> Words:
        """Ask it to stop, and wait until it has; runs stay where they are."""
        return self._end(signal.SIGTERM, "has stopped")

    def _end(self, number: signal.Signals, how: str) -> Words:
        pid = self.pid
        if self._child is None or not pid:
            return Words(f"There is nothing to end: the worker process {self._how}.")
        self._child.signal(number)
        self._runtime.call(self._gone(), timeout=GONE_WITHIN + 5)
        self._how = how
        return Words(f"Worker process {pid} {how}. Runs stay where they are.")

    async def _gone(self) -> None:
        for _ in range(round(GONE_WITHIN / LOOK_EVERY)):
            if not self.runs:
                return
            await asyncio.sleep(LOOK_EVERY)
        if self._child is not None:
            self._child.kill_group()

    def __repr__(self) -> str:
        queue = self._settings.task_queue
        if self.runs:
            return f"Worker process {self.pid} polls {queue}; this kernel's own worker rests."
        return f"The worker process {self._how}: nobody polls {queue}."

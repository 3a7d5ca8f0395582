"""The worker in the kernel: it polls until it is stopped, and is replaced when it dies."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from tprov_kernel.errors import ServiceError
from tprov_kernel.lab.runtime import Runtime

if TYPE_CHECKING:
    from tprov_kernel.activities import ActivityFunction

AGAIN_AFTER = 1.0
"""Seconds between a worker's death and the next one."""


class Polling(Protocol):
    """What is needed of a `temporalio.worker.Worker`."""

    async def run(self) -> None:
        """Poll until told to shut down."""

    async def shutdown(self) -> None:
        """Let `run` come to its end, also where it has not begun yet, and wait for that."""


class KernelWorker:
    """One worker at a time, on the runtime's loop.

    Args:
        runtime: Where it lives.
        tell: Called on the runtime's loop: with a sentence when the worker died, with an empty one
            when another took its place.
    """

    def __init__(self, runtime: Runtime, *, tell: Callable[[str], None]) -> None:
        self._runtime = runtime
        self._tell = tell
        self._task: asyncio.Task[None] | None = None
        self._polling: Polling | None = None
        self._stops = False

    @property
    def runs(self) -> bool:
        """Whether it polls, or is about to be replaced."""
        return self._task is not None and not self._task.done()

    def start(self, build: Callable[[], Polling]) -> None:
        """Stop the one that runs, and run what `build` makes; its first error is raised here.

        Args:
            build: Called on the runtime's loop, again after each death.
        """
        self.stop()
        self._task = self._runtime.call(self._begin(build))

    def stop(self, *, timeout: float = 20.0) -> None:
        """Stop it; runs stay where they are."""
        task, self._task = self._task, None
        if task is not None:
            with suppress(TimeoutError):
                self._runtime.call(self._end(task), timeout=timeout)

    async def _begin(self, build: Callable[[], Polling]) -> asyncio.Task[None]:
        self._polling, self._stops = build(), False
        return asyncio.create_task(self._keep(build))

    async def _keep(self, build: Callable[[], Polling]) -> None:
        while self._polling is not None:
            try:
                await self._polling.run()
                return
            except Exception as error:
                self._polling = None
                self._tell(f"The worker in this kernel ended by itself: {error}.")
            if not self._stops:
                self._polling = await self._another(build)
                self._tell("")

    async def _another(self, build: Callable[[], Polling]) -> Polling:
        while True:
            await asyncio.sleep(AGAIN_AFTER)
            with suppress(Exception):  # the reason was told; it is tried until it works
                return build()

    async def _end(self, task: asyncio.Task[None]) -> None:
        self._stops = True
        if self._polling is None:
            task.cancel()
            await asyncio.wait({task})
            return
        # Not by cancelling: a worker that has only just begun would stay registered for its queue,
        # and refuse the next one.
        asking = asyncio.create_task(self._polling.shutdown())
        await asyncio.wait({task})
        asking.cancel()


def replacements(
    given: Mapping[str, Callable[..., Any]], *, known: Collection[str]
) -> dict[str, ActivityFunction]:
    """Functions that a reader typed, as activities: with ``async`` or without.

    Raises:
        ServiceError: There is no activity of that name to be replaced, or nothing to call.
    """
    for name, function in given.items():
        if name not in known:
            raise ServiceError(
                f"There is no activity {name!r}.", remedy=f"One of: {', '.join(known)}."
            )
        if not callable(function):
            raise ServiceError(
                f"{name}={function!r} is no function.",
                remedy="Define one that takes the job, as in `def mine(job)`.",
            )
    return {name: _awaitable(function) for name, function in given.items()}


def _awaitable(function: Callable[..., Any]) -> ActivityFunction:
    if inspect.iscoroutinefunction(function):
        return function

    @functools.wraps(function)
    async def in_a_thread(*arguments: Any) -> Any:
        return await asyncio.to_thread(function, *arguments)

    return in_a_thread

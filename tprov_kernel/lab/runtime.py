"""One daemon thread owns one event loop; client, worker and watchers live there.

A worker on the kernel's own loop stands still while a cell blocks, and its heartbeats with it.
Cells call in, synchronously or awaiting; widget callbacks submit and return at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from tprov_kernel.errors import ServiceError

T = TypeVar("T")

SLICE = 0.1
"""Seconds after which a waiting cell looks whether it was interrupted."""


class Runtime:
    """A thread with an event loop, for as long as the kernel lives."""

    def __init__(self, name: str = "tprov-runtime") -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    @property
    def is_current(self) -> bool:
        """Whether the caller is on the runtime's own thread."""
        return threading.current_thread() is self._thread

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start work on the runtime's loop; the future may be waited for or forgotten.

        Raises:
            ServiceError: The lab was closed.
        """
        if self.loop.is_closed():
            work.close()
            raise ServiceError("This lab is closed.", remedy="Run the set-up cell again.")
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, work: Coroutine[Any, Any, T], *, timeout: float | None = None) -> T:
        """Run work and wait for it; interrupting the cell cancels it.

        Args:
            work: A coroutine; it runs on the runtime's loop.
            timeout: Seconds; None waits as long as it takes.

        Raises:
            TimeoutError: It took longer.
        """
        if self.is_current:
            work.close()
            raise RuntimeError("Runtime.call() from its own thread would wait for itself.")
        return self.result(self.submit(work), timeout=timeout)

    def result(self, future: Future[T], *, timeout: float | None = None) -> T:
        """Wait for submitted work; interrupting the cell cancels it.

        Raises:
            TimeoutError: It took longer than `timeout` seconds.
        """
        waited = 0.0
        try:
            while True:
                try:
                    return future.result(SLICE)
                except FutureTimeout:
                    if future.done():  # the work itself raised a time-out
                        return future.result()
                    waited += SLICE
                    if timeout is not None and waited >= timeout:
                        raise
        except BaseException:
            future.cancel()
            raise

    async def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work from another loop; wakes often, so that an interrupt is noticed at once."""
        future = self.submit(work)
        try:
            while not future.done():  # noqa: ASYNC110 (the waking is the point: see above)
                await asyncio.sleep(SLICE)
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self, *, timeout: float = 5.0) -> None:
        """Cancel what is left and end the thread."""
        if self._thread.is_alive():
            with contextlib.suppress(Exception):
                self.submit(_cancel_all()).result(timeout)
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(timeout)
        if not self._thread.is_alive():
            self.loop.close()


async def _cancel_all() -> None:
    tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def at_exit(function: Callable[[], None]) -> None:
    """Call at interpreter exit, before thread pools are shut down.

    Plain `atexit` comes after `concurrent.futures` has closed: a worker could not shut down.
    """
    register = getattr(threading, "_register_atexit", None)
    if register is None:
        import atexit

        atexit.register(function)
    else:
        register(function)

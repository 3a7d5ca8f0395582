"""worker, codec-server: parts that run by themselves."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tprov_kernel.cli import say
from tprov_kernel.cli.place import Place, shown
from tprov_kernel.errors import TprovError
from tprov_kernel.files import private_directory
from tprov_kernel.settings import Settings, check_task_queue

if TYPE_CHECKING:
    from tprov_kernel.process import Guard
    from tprov_kernel.toolchain import Toolchain


def until_told() -> asyncio.Event:
    """An event that Ctrl-C, `tprov down` and a closed terminal set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    return stop


@asynccontextmanager
async def polling(
    settings: Settings,
    toolchain: Toolchain,
    guard: Guard,
    task_queue: str,
    *,
    verbose: bool = False,
) -> AsyncIterator[str]:
    """Run a worker while the block runs; gives its identity.

    A step's attempt that fails is told in a sentence, or, if verbose, with its stack trace.

    Raises:
        ServiceError: The server does not answer.
    """
    from tprov_kernel.activities import Activities
    from tprov_kernel.cli.workerlog import in_sentences
    from tprov_kernel.connect import build_worker, connect, me
    from tprov_kernel.payloads.keyring import KeyRing

    identity = me("worker")
    key_ring = KeyRing.find(settings.key_ring)
    client = await connect(settings, key_ring, identity=identity)
    activities = Activities(settings=settings, toolchain=toolchain, key_ring=key_ring, guard=guard)
    with in_sentences(verbose=verbose):
        async with build_worker(client, activities, task_queue=task_queue, identity=identity):
            yield identity


async def worker(place: Place, *, task_queue: str, verbose: bool = False) -> int:
    """Poll a task queue until told to stop."""
    from tprov_kernel.process import Guard
    from tprov_kernel.toolchain import find_toolchain

    settings = await place.settings()
    toolchain = find_toolchain()
    queue = check_task_queue(task_queue or settings.task_queue)
    guard = Guard()
    stop = until_told()
    try:
        if settings.target == "remote":
            _warn_about_keys(settings)
            say.doubts(settings)
        async with polling(settings, toolchain, guard, queue, verbose=verbose) as identity:
            where = settings.address
            say.answer(
                f"Polling {queue} at {where}, namespace {settings.namespace}, as {identity}."
            )
            say.aside("Ctrl-C stops it; runs stay where they are and wait for a worker.")
            await stop.wait()
            say.aside("Stopping …")
    finally:
        await asyncio.to_thread(guard.close)
    return 0


def _warn_about_keys(settings: Settings) -> None:
    if not settings.cloud.api_key:
        say.warning(
            "TEMPORAL_CLOUD_API_KEY is not set: runs that change Temporal Cloud will fail.",
            remedy="Set it here, in the worker's environment; it never travels with a run.",
        )


# --- codec-server ----------------------------------------------------------------------------


def codec_server(
    place: Place, *, port: int, origins: list[str], token_file: Path | None = None
) -> int:
    """Serve the codec of a place's key ring until told to stop."""
    from tprov_kernel.payloads.server import main as serve

    home = place.key_ring.parent
    try:
        private_directory(home)
    except OSError as error:
        raise TprovError(
            f"{shown(home)} cannot be made: {error.strerror}.", remedy="Set TPROV_HOME."
        ) from error
    argv = ["--port", str(port), "--key-ring", str(place.key_ring)]
    argv += [part for origin in origins for part in ("--origin", origin)]
    argv += ["--token-file", str(token_file)] if token_file else []
    return serve([*argv, "--log", str(home / "logs" / "codec.log")])

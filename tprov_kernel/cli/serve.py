"""up, down, reset, worker: what runs, as long as somebody wants it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from tprov_kernel.cli import say
from tprov_kernel.cli.place import Place, shown
from tprov_kernel.errors import ServiceError, TprovError
from tprov_kernel.settings import Settings

if TYPE_CHECKING:
    from tprov_kernel.process import Guard
    from tprov_kernel.services import Services, ServicesInfo
    from tprov_kernel.toolchain import Toolchain

READY_WITHIN = 60.0
"""Seconds that `tprov up -d` waits for the services; they need about one."""

GONE_WITHIN = 30.0
"""Seconds that `tprov down` waits; a Terraform at work may use its grace."""


# --- up --------------------------------------------------------------------------------------


async def up(place: Place, *, with_worker: bool, ready_fd: int | None) -> int:
    """Open the services and stay until told to stop; a second one says that they are open."""
    from tprov_kernel import services

    info = await services.attach(place.home)
    if info is not None:
        _say_open_already(place, info)
        return 0
    from tprov_kernel.process import Guard
    from tprov_kernel.toolchain import find_toolchain

    toolchain = find_toolchain()
    guard = Guard()
    stop = _until_told()
    try:
        opened = await services.open_services(
            place.home,
            kind="up",
            guard=guard,
            toolchain=toolchain,
            prefer_well_known_ports=True,
            root=place.root,
            progress=say.progress,
        )
        try:
            keep_alive(opened)
            settings = services.local_settings(
                opened.info, root=place.root, home=place.home, environ=os.environ
            )
            await _serve(settings, toolchain, guard, stop, with_worker, ready_fd)
        finally:
            say.aside("Closing …")
            await opened.close()
    finally:
        guard.close()
    return 0


async def _serve(
    settings: Settings,
    toolchain: Toolchain,
    guard: Guard,
    stop: asyncio.Event,
    with_worker: bool,
    ready_fd: int | None,
) -> None:
    if not with_worker:
        _ready(settings, "none: `tprov worker` runs one", ready_fd)
        await stop.wait()
        return
    async with polling(settings, toolchain, guard, settings.task_queue):
        _ready(settings, f"polls {settings.task_queue}", ready_fd)
        await stop.wait()


RESTARTS = 3
"""How often a service that ends by itself is started again."""


def keep_alive(opened: Services) -> None:
    """Start a service again that ended by itself, a few times; called on the services' loop."""
    loop = asyncio.get_running_loop()
    left: dict[str, int] = {}

    def ended(name: str, sentence: str) -> None:
        left[name] = left.get(name, RESTARTS) - 1
        say.warning(sentence)
        if left[name] >= 0:
            tasks.add(loop.create_task(again(name)))

    async def again(name: str) -> None:
        try:
            await opened.start(name)
            say.aside("It was started again; nothing was lost.")
        except TprovError as error:
            say.error(error)

    tasks: set[asyncio.Task[None]] = set()
    opened.watch(ended)


def _ready(settings: Settings, worker: str, ready_fd: int | None) -> None:
    say.out().print(table_of_services(settings, worker=worker))
    data = shown(settings.home)
    say.aside(f"Ctrl-C or `tprov down` closes them; runs and objects stay in {data}.")
    if ready_fd is not None:
        with suppress(OSError):
            os.write(ready_fd, b"ready\n")
        os.close(ready_fd)


def table_of_services(settings: Settings, *, worker: str) -> Table:
    """What is open, where, and what to do with it; ``worker`` in words, empty when not known."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    rows = [
        ("Temporal server", settings.address, ""),
        ("Web UI", settings.ui_url, settings.ui_url),
        ("Codec server", settings.codec_url, ""),
        ("Cloud API", f"{settings.cloud.endpoint} (stand-in)", ""),
        ("Worker", worker, ""),
    ]
    for name, where, link in rows:
        if where:
            text = Text(where, style=f"link {link}" if link else "")
            is_there = "green" if not where.startswith("none") else "dim"
            grid.add_row(Text.assemble(("● ", is_there), name), text)
    if settings.ignored:
        listed = ", ".join(settings.ignored)
        grid.add_row(Text("  Ignored", style="yellow"), Text(f"{listed}: this is local"))
    grid.add_row("  Terminal", 'eval "$(tprov env)"')
    grid.add_row("  Next", "tprov start my-stack --config terraform/tcloud_namespace --watch")
    return grid


def _say_open_already(place: Place, info: ServicesInfo) -> None:
    from tprov_kernel import services

    settings = services.local_settings(info, root=place.root, home=place.home, environ=os.environ)
    say.warning(f"The services in {shown(place.home)} are open already, by {info.owner.words}.")
    for name in info.down:
        say.warning(f"The {name} service does not answer.", remedy="`tprov down`, then `tprov up`.")
    say.out().print(table_of_services(settings, worker=""))


def _until_told() -> asyncio.Event:
    """An event that Ctrl-C, `tprov down` and a closed terminal set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    return stop


def up_detached(place: Place, *, with_worker: bool) -> int:
    """The same in the background; returns when it is ready."""
    from tprov_kernel import services

    info = asyncio.run(services.attach(place.home))
    if info is not None:
        _say_open_already(place, info)
        return 0
    logs = place.home / "logs"
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = logs / "up.log"
    reader, writer = os.pipe()
    argv = [sys.executable, "-m", "tprov_kernel.cli", "up", "--ready-fd", str(writer)]
    environ = os.environ | {
        "TPROV_ROOT": os.fspath(place.root),
        "TPROV_HOME": os.fspath(place.home),
    }
    with log.open("wb") as sink:
        log.chmod(0o600)
        child = subprocess.Popen(
            argv if with_worker else [*argv, "--no-worker"],
            cwd=place.root,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            pass_fds=[writer],
            start_new_session=True,
        )
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = _read_line(pipe.fileno(), within=READY_WITHIN)
    if said.strip() != b"ready":
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGTERM)
        raise _did_not_open(log)
    sys.stdout.write(log.read_text())
    say.aside(f"In the background, process {child.pid}; its log is {shown(log)}.")
    return 0


def _read_line(fd: int, *, within: float) -> bytes:
    """Read until a line, the end, or the time is over."""
    import select

    deadline = time.monotonic() + within
    said = b""
    while not said.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            break
        piece = os.read(fd, 100)
        if not piece:
            break
        said += piece
    return said


def _did_not_open(log: Path) -> ServiceError:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    told = lines[-2:] or ["The services did not open."]
    return ServiceError(told[0], remedy=" ".join(told[1:]) or f"Its log is {shown(log)}.")


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
    deadline = time.monotonic() + GONE_WITHIN
    while _runs(owner.pid) or not _is_free(place.home):
        if time.monotonic() > deadline:
            raise ServiceError(
                f"{owner.words} did not end within {GONE_WITHIN:.0f} s.",
                remedy=f"`kill -9 {owner.pid}` ends it; all it started ends with it.",
            )
        await asyncio.sleep(0.05)
    say.answer(f"Closed. Runs and objects stay in {shown(place.home)}.")
    return 0


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


# --- worker ----------------------------------------------------------------------------------


@asynccontextmanager
async def polling(
    settings: Settings, toolchain: Toolchain, guard: Guard, task_queue: str
) -> AsyncIterator[str]:
    """Run a worker while the block runs; gives its identity.

    Raises:
        ServiceError: The server does not answer.
    """
    from tprov_kernel.activities import Activities
    from tprov_kernel.connect import build_worker, connect, me
    from tprov_kernel.payloads.keyring import KeyRing

    identity = me("worker")
    key_ring = KeyRing.load_or_create(settings.key_ring)
    client = await connect(settings, key_ring, identity=identity)
    activities = Activities(settings=settings, toolchain=toolchain, key_ring=key_ring, guard=guard)
    async with build_worker(client, activities, task_queue=task_queue, identity=identity):
        yield identity


async def worker(place: Place, *, task_queue: str) -> int:
    """Poll a task queue until told to stop."""
    from tprov_kernel.process import Guard
    from tprov_kernel.toolchain import find_toolchain

    settings = await place.settings()
    toolchain = find_toolchain()
    queue = task_queue or settings.task_queue
    guard = Guard()
    stop = _until_told()
    try:
        if settings.target == "remote":
            _warn_about_keys(settings)
        async with polling(settings, toolchain, guard, queue) as identity:
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


def codec_server(place: Place, *, port: int, origins: list[str]) -> int:
    """Serve the codec of a place's key ring until told to stop."""
    from tprov_kernel.payloads.server import main as serve

    home = place.home / "remote" if place.target == "remote" else place.home
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise TprovError(
            f"{shown(home)} cannot be made: {error.strerror}.", remedy="Set TPROV_HOME."
        ) from error
    argv = ["--port", str(port), "--key-ring", str(home / "keys.json")]
    argv += [part for origin in origins for part in ("--origin", origin)]
    return serve([*argv, "--log", str(home / "logs" / "codec.log")])

"""up: the services, and a worker, as long as somebody wants them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from tprov_kernel.cli import say
from tprov_kernel.cli.place import Place, shown
from tprov_kernel.cli.working import polling, until_told
from tprov_kernel.errors import ServiceError, TprovError
from tprov_kernel.files import private_directory, using
from tprov_kernel.settings import Settings

if TYPE_CHECKING:
    from tprov_kernel.process import Guard
    from tprov_kernel.services import Services, ServicesInfo
    from tprov_kernel.toolchain import Toolchain

READY_WITHIN = 60.0
"""Seconds that `tprov up -d` waits for the services; they need about one."""


ENDED_WITHIN = 35.0
"""Seconds that closing waits for the programs that were started; an apply has a grace of 32."""


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
    stop = until_told()
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
        if works := services.stacks_at_work(place.home):
            say.aside(f"Waiting for the Terraform at work on {', '.join(works)} to end …")
        guard.close(timeout=ENDED_WITHIN)
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
            faults = ", but faults that were injected are gone" if name == "cloud" else ""
            say.aside(f"It was started again; nothing was lost{faults}.")
        except TprovError as error:
            say.error(error)

    tasks: set[asyncio.Task[None]] = set()
    opened.watch(ended)


def _ready(settings: Settings, worker: str, ready_fd: int | None) -> None:
    say.out().print(table_of_services(settings, worker=worker))
    data = shown(settings.home)
    closes = "`tprov down` closes" if ready_fd is not None else "Ctrl-C or `tprov down` closes"
    say.aside(f"{closes} them; runs and objects stay in {data}.")
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


def up_detached(place: Place, *, with_worker: bool) -> int:
    """The same in the background; returns when it is ready."""
    from tprov_kernel import services

    info = asyncio.run(services.attach(place.home))
    if info is not None:
        _say_open_already(place, info)
        return 0
    logs = place.home / "logs"
    with using(place.home):
        private_directory(logs)
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

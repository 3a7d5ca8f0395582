"""Opens the three services, watches them, stops and starts one, and closes them all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tprov_kernel.errors import ServiceError
from tprov_kernel.process import Child, Ending, Guard
from tprov_kernel.services import answers, wishes
from tprov_kernel.services import home as homes
from tprov_kernel.services.home import Kind, Lock, ServicesInfo
from tprov_kernel.services.ports import as_json, choose, holder, is_answered, is_taken, remember
from tprov_kernel.services.programs import (
    Programs,
    Service,
    environment_of,
    info_of,
    open_log,
    programs_of,
)

START_TIMEOUT = 30.0
"""Seconds in which a service has to answer; it needs less than one."""

ENDING = Ending(terminate=3.0)
"""The Temporal server needs 1.4 s after SIGTERM; five are promised for everything."""

ATTEMPTS = 3
_PORT_TAKEN = ("address already in use", "is taken", "cannot listen")


class PortLost(ServiceError):
    """A port that was free when it was chosen is not any more."""


class Services:
    """The services that this process opened; use it on the loop that opened them."""

    def __init__(self, home: Path, *, lock: Lock, guard: Guard) -> None:
        self._home, self._lock, self._guard = home, lock, guard
        self._services: dict[str, Service] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._listeners: list[Callable[[str, str], None]] = []
        self._info: ServicesInfo | None = None
        self._closed = False
        self._starting = asyncio.Lock()
        self._obeying: asyncio.Task[None] | None = None

    @property
    def info(self) -> ServicesInfo:
        """Where they are."""
        if self._info is None:
            raise ServiceError("The services are not open.", remedy="Open them with `tprov up`.")
        return self._info

    @property
    def names(self) -> tuple[str, ...]:
        """What `stop` and `start` understand."""
        return tuple(self._services)

    def runs(self, name: str) -> bool:
        """Whether a service's process runs."""
        return self._service(name).runs

    def pid(self, name: str) -> int:
        """A service's process id, which is that of its group; 0 when it was not started."""
        child = self._service(name).child
        return child.pid if child is not None else 0

    def pids(self) -> dict[str, int]:
        """Process id of each service, 0 for one that does not run."""
        return {
            name: service.child.pid if service.child is not None and service.runs else 0
            for name, service in self._services.items()
        }

    def watch(self, listener: Callable[[str, str], None]) -> None:
        """Call `listener` with a service's name and a sentence when it ended by itself."""
        self._listeners.append(listener)

    async def stop(self, name: str, *, kill: bool = False) -> None:
        """Stop one service, in order or with SIGKILL; its data stays."""
        service = self._service(name)
        service.stopping = True
        if service.child is not None:
            service.child.end(Ending(terminate=0) if kill else ENDING)
            await service.child.wait()

    async def start(self, name: str) -> None:
        """Start one that was stopped or ended, on the same ports; nothing happens when it runs.

        Raises:
            ServiceError: Somebody else has its port by now, or it does not come up.
        """
        service = self._service(name)
        async with self._starting:
            if service.runs and not service.stopping:
                return
            if service.child is not None:
                await service.child.wait()
            for port in service.ports:
                if is_answered(port):
                    raise ServiceError(
                        f"Port {port} of the {service.title} is taken by {holder(port)}.",
                        remedy=f"End that program, then start the {service.title} again.",
                    )
            try:
                await self._start(service)
            except BaseException:
                await self.stop(name)
                raise

    async def close(self) -> None:
        """Stop all at once, and let go of the data directory. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        if self._obeying is not None:
            self._obeying.cancel()
        try:
            with suppress(OSError):
                self._lock.yield_up()
            await self._end_all()
        finally:
            self._lock.release()

    async def _end_all(self) -> None:
        await asyncio.gather(*(self.stop(name) for name in self._services))
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _open(self, services: Sequence[Service]) -> None:
        """Start all at once; when one does not come up, end all."""
        self._services, self._tasks = {service.name: service for service in services}, {}
        starting = [asyncio.create_task(self._start(service)) for service in services]
        try:
            await asyncio.gather(*starting)
        except BaseException:
            await self._end_all()
            await asyncio.gather(*starting, return_exceptions=True)
            raise

    async def _start(self, service: Service) -> None:
        service.stopping = False
        with homes.writing(self._home), open_log(service.log) as log:
            service.log_begins = service.log.stat().st_size
            service.child = self._guard.spawn(
                service.argv,
                cwd=self._home,
                env=environment_of(self._home, *service.inherits),
                stdout=log,
                stderr=log,
                ending=ENDING,
                hold=[self._lock.fd],
            )
        ended = asyncio.create_task(self._watch(service, service.child))
        self._tasks[service.name] = ended
        ready = asyncio.create_task(_ready(service))
        try:
            await asyncio.wait({ended, ready}, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                raise _did_not_start(service)
            await ready
        finally:
            ready.cancel()

    async def _watch(self, service: Service, child: Child) -> None:
        status = await child.wait()
        if not service.stopping and self._info is not None:
            how = f"signal {-status}" if status < 0 else f"exit code {status}"
            sentence = f"The {service.title} ended by itself ({how}): {service.last_words}."
            for listener in list(self._listeners):
                listener(service.name, sentence)

    def _service(self, name: str) -> Service:
        if name not in self._services:
            raise ServiceError(
                f"There is no service {name!r}.", remedy=f"One of: {', '.join(self._services)}."
            )
        return self._services[name]


async def open_services(
    home: Path,
    *,
    kind: Kind,
    guard: Guard,
    toolchain: Programs,
    prefer_well_known_ports: bool,
    root: Path,
    origins: Sequence[str] = (),
    base_url: str = "/",
    progress: Callable[[str], None] = lambda _: None,
) -> Services:
    """Open the Temporal server, the codec server and the Cloud API stand-in, all at once.

    They end with this process, however it ends; until the last has ended nobody else can open
    the same directory.

    Args:
        home: The data directory; made when it is missing.
        kind: Who opens them. For ``lab`` the Web UI is served below a path that fits
            jupyter-server-proxy.
        guard: Starts them.
        toolchain: Where the Temporal CLI is.
        prefer_well_known_ports: 7233, 8233, 8081 and 7234 where free, else, and otherwise, those
            of last time or any.
        root: The workspace.
        origins: Pages besides the Web UI's own that may use the codec server: the Jupyter
            server's, through which the Web UI is framed.
        base_url: The Jupyter server's base URL, before the Web UI's path.
        progress: Told in sentences what is waited for, and which port is another than usual.

    Raises:
        ServiceError: Somebody has the directory open, nothing can be written there, or a service
            does not come up.
    """
    home = _absolute(home)
    homes.prepare(home)
    lock = await homes.take(home, progress=progress)
    services = Services(home, lock=lock, guard=guard)
    try:
        owner = homes.this_process(kind)
        lock.claim(owner)
        (home / "services.json").unlink(missing_ok=True)  # of an owner that was killed
        for attempt in range(1, ATTEMPTS + 1):
            ports = choose(
                prefer_well_known=prefer_well_known_ports,
                remembered=remember(home / "ports.json"),
                progress=progress,
            )
            info = info_of(owner, ports, base_url=base_url)
            programs = programs_of(home, toolchain, ports, info, origins)
            try:
                await services._open(programs)
                break
            except PortLost as error:
                if attempt == ATTEMPTS:
                    raise
                progress(f"{error.message} Choosing other ports.")
        homes.write_json(home / "ports.json", as_json(ports))
        homes.write_info(home, info)
        services._info = info
        services._obeying = asyncio.create_task(wishes.obey(home, services))
    except BaseException:
        await services.close()
        raise
    return services


async def attach(home: Path, *, needs_server: bool = True) -> ServicesInfo | None:
    """Give where somebody's services are; None when nobody has any open in `home`.

    Services that are just being opened are waited for.

    Args:
        home: Where they keep their data.
        needs_server: Whether the Temporal server has to answer.

    Raises:
        ServiceError: The Temporal server does not answer, and has to.
    """
    home = _absolute(home)
    until = time.monotonic() + homes.PATIENCE
    while True:
        owner, info = homes.owner_of(home), homes.read_info(home)
        if owner is None:
            return None
        if info is not None and info.owner == owner:
            break
        if time.monotonic() > until:
            raise ServiceError(
                f"The services that {owner.words} is opening in {home} do not come up.",
                remedy="Look at what it says, or close it: `tprov down`.",
            )
        await asyncio.sleep(0.05)
    down = [name for name, well in zip(*await _who_answers(info), strict=True) if not well]
    if "temporal" in down and needs_server:
        raise ServiceError(
            f"The Temporal server at {info.address}, opened by {info.owner.words}, does not"
            " answer.",
            remedy="Start it again: `tprov services start temporal`.",
        )
    return replace(info, down=tuple(down))


async def is_in_use(home: Path) -> bool:
    """Whether somebody has services open in `home`, or is opening them."""
    return homes.owner_of(_absolute(home)) is not None


async def _who_answers(info: ServicesInfo) -> tuple[tuple[str, ...], list[bool]]:
    async def answered(probe: Awaitable[object]) -> bool:
        try:
            await asyncio.wait_for(probe, timeout=2.0)
        except (answers.NoAnswer, TimeoutError):
            return False
        return True

    probes = (
        answers.http(info.http_port, "/api/v1/system-info"),
        answers.codec(_port(info.codec_url)),
        answers.grpc(_port(info.cloud_endpoint)),
    )
    return ("temporal", "codec", "cloud"), await asyncio.gather(*map(answered, probes))


def _absolute(home: Path) -> Path:
    return home.absolute()


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


async def _ready(service: Service) -> None:
    until = time.monotonic() + START_TIMEOUT
    while True:
        try:
            await asyncio.wait_for(service.probe(), timeout=START_TIMEOUT)
            return
        except (answers.NoAnswer, TimeoutError):
            if time.monotonic() > until:
                raise ServiceError(
                    f"The {service.title} did not answer within {START_TIMEOUT:g} s:"
                    f" {service.last_words}.",
                    remedy=f"Look into {service.log}.",
                ) from None
        await asyncio.sleep(0.02)


def _without_trace(said: str) -> str:
    """What a program that panicked says before its stack trace; empty when it did not panic."""
    _, panicked, words = said.rpartition("panic: ")
    return words.splitlines()[0].strip().rstrip(".")[:300] if panicked and words.strip() else ""


def _did_not_start(service: Service) -> ServiceError:
    words = service.last_words
    # It has ended, so who has a port of it is somebody else; the Temporal server may have panicked
    # over that, and then its last words are a stack trace's.
    lost = [port for port in service.ports if is_taken(port)]
    if lost or any(hint in service.said for hint in _PORT_TAKEN):
        taken = next(iter(lost), service.ports[0])
        return PortLost(
            f"The {service.title} cannot start: port {taken} is taken by {holder(taken)}.",
            remedy="End that program and try again.",
        )
    return ServiceError(
        f"The {service.title} does not start: {_without_trace(service.said) or words}.",
        remedy=f"Look into {service.log}.",
    )

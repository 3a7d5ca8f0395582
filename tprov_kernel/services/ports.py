"""Which ports the services listen on: the well-known ones, those of last time, or free ones."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil

from tprov_kernel.errors import ServiceError

HOST = "127.0.0.1"
"""Everything listens on the loopback address only."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """A port for each thing that listens; 0 stands for any free one."""

    temporal: int = 0
    ui: int = 0
    http: int = 0
    codec: int = 0
    cloud: int = 0


WELL_KNOWN = Ports(temporal=7233, ui=8233, codec=8081, cloud=7234)

NAMES = {
    "temporal": "Temporal server",
    "ui": "Web UI",
    "http": "Temporal server's HTTP API",
    "codec": "codec server",
    "cloud": "Cloud API stand-in",
}


def choose(
    *,
    prefer_well_known: bool,
    remembered: Ports,
    progress: Callable[[str], None] = lambda _: None,
    well_known: Ports = WELL_KNOWN,
) -> Ports:
    """Choose a free port for each, and say which well-known one is taken, and by whom.

    They are free at this moment only: who starts a service has to be ready to choose again.
    """
    chosen: dict[str, int] = {}
    with ExitStack() as reserved:  # all are kept until all are chosen, so that none comes twice
        for field in fields(Ports):
            name = field.name
            usual = getattr(well_known, name) if prefer_well_known else 0
            wishes = filter(None, (usual, getattr(remembered, name)))
            taken = next(filter(None, map(_reserve, wishes)), None) or _reserve(0)
            if taken is None:
                raise ServiceError("No port of this machine is free.", remedy="End some programs.")
            chosen[name] = reserved.enter_context(taken).getsockname()[1]
            if usual and chosen[name] != usual:
                progress(
                    f"Port {usual} is taken by {holder(usual)}: the {NAMES[name]} listens on"
                    f" {chosen[name]}. End that program to have the usual port."
                )
    return Ports(**chosen)


def _reserve(port: int) -> socket.socket | None:
    """Bind a port, 0 for any; None when it is taken."""
    if port and is_answered(port):  # on macOS one may bind beside who listens on all addresses
        return None
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # As servers do, or a port would look taken for a minute after its server ended.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
    except OSError:
        sock.close()
        return None
    return sock


def is_answered(port: int) -> bool:
    """Whether somebody accepts connections on a port of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(0.5)
        return sock.connect_ex((HOST, port)) == 0


def is_taken(port: int) -> bool:
    """Whether a service could not listen on a port now."""
    with ExitStack() as kept:
        free = _reserve(port)
        if free is not None:
            kept.enter_context(free)
        return free is None


def holder(port: int) -> str:
    """Name the program that listens on a port, as far as this user may know it."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and connection.laddr and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:  # macOS tells root only
        pass
    return "another program"


def remember(path: Path) -> Ports:
    """Read the ports of last time; zeros when there are none."""
    try:
        return Ports(**{name: int(port) for name, port in json.loads(path.read_text()).items()})
    except (OSError, ValueError, TypeError, AttributeError):
        return Ports()


def as_json(ports: Ports) -> dict[str, int]:
    """Give what `remember` reads."""
    return asdict(ports)

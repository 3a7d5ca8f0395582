"""The three programs: how each is started, and when it answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import tprov_kernel
from tprov_kernel.attributes import ATTRIBUTES
from tprov_kernel.process import KEPT_VARIABLES, Child, clean_environment
from tprov_kernel.services import answers
from tprov_kernel.services.home import Owner, ServicesInfo
from tprov_kernel.services.ports import HOST, Ports
from tprov_kernel.settings import KEYS_VARIABLE

_LOG_BYTES = 1 << 20


class Programs(Protocol):
    """What is needed of a `Toolchain`."""

    @property
    def temporal(self) -> Program:
        """The Temporal CLI."""
        ...


class Program(Protocol):
    """What is needed of a `Tool`."""

    @property
    def argv(self) -> tuple[str, ...]:
        """How it is started."""
        ...


@dataclass
class Service:
    """One service: how it is started, when it answers, and the child that runs.

    Attributes:
        name: ``temporal``, ``codec`` or ``cloud``.
        title: What people call it.
        ports: What it listens on.
        stopping: Its end is wanted.
        log_begins: Where in its log this start's words begin, in bytes.
        inherits: Names of our own variables that it gets besides.
    """

    name: str
    title: str
    argv: Sequence[str]
    probe: Callable[[], Awaitable[None]]
    ports: tuple[int, ...]
    log: Path
    child: Child | None = None
    stopping: bool = False
    log_begins: int = 0
    inherits: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """What it wrote since it was started."""
        with suppress(OSError):
            return self.log.read_bytes()[self.log_begins :].decode(errors="replace")
        return ""

    @property
    def runs(self) -> bool:
        """Whether its process runs."""
        return self.child is not None and self.child.returncode is None

    @property
    def last_words(self) -> str:
        """The last line that it wrote."""
        with suppress(OSError):
            lines = self.log.read_text(errors="replace").strip().splitlines()
            if lines:
                return lines[-1].strip().rstrip(".")[-300:]
        return "it said nothing"


def info_of(owner: Owner, ports: Ports, *, base_url: str) -> ServicesInfo:
    """Say where they will be."""
    path = f"{base_url.rstrip('/')}/proxy/absolute/{ports.ui}" if owner.kind == "lab" else ""
    return ServicesInfo(
        owner=owner,
        address=f"{HOST}:{ports.temporal}",
        http_port=ports.http,
        ui_url=f"http://{HOST}:{ports.ui}{path}",
        ui_public_path=path,
        codec_url=f"http://{HOST}:{ports.codec}",
        cloud_endpoint=f"{HOST}:{ports.cloud}",
    )


def programs_of(
    home: Path, toolchain: Programs, ports: Ports, info: ServicesInfo, origins: Sequence[str]
) -> list[Service]:
    """Give the three, not started yet."""
    logs = home / "logs"
    pages = (f"http://localhost:{ports.ui}", f"http://{HOST}:{ports.ui}", *origins)
    python = [sys.executable, "-P", "-m"]
    return [
        Service(
            name="temporal",
            title="Temporal server",
            argv=temporal_args(toolchain.temporal.argv, home, ports, info),
            probe=lambda: answers.temporal(port=ports.temporal, http_port=ports.http),
            ports=(ports.temporal, ports.ui, ports.http),
            log=logs / "temporal.log",
        ),
        Service(
            name="codec",
            title="codec server",
            argv=[
                *(*python, "tprov_kernel.payloads.server", "--port", str(ports.codec)),
                *("--key-ring", str(home / "keys.json"), "--log", str(logs / "codec.log")),
                *(word for page in pages for word in ("--origin", page)),
            ],
            probe=lambda: answers.codec(ports.codec),
            ports=(ports.codec,),
            log=logs / "codec.out",
            inherits=(KEYS_VARIABLE,),
        ),
        Service(
            name="cloud",
            title="Cloud API stand-in",
            argv=[
                *(*python, "tprov_kernel.standin", "--port", str(ports.cloud)),
                *("--db", str(home / "standin.db"), "--key-file", str(home / "standin.key")),
                *("--temporal", info.address, "--web-ui", info.ui_url),
                *("--log", str(logs / "standin.log")),
            ],
            probe=lambda: answers.grpc(ports.cloud),
            ports=(ports.cloud,),
            log=logs / "standin.out",
        ),
    ]


def temporal_args(
    temporal: Sequence[str], home: Path, ports: Ports, info: ServicesInfo
) -> list[str]:
    """Give the arguments of the Temporal dev server."""
    attributes = (f"{name}={kind}" for name, kind in ATTRIBUTES.items())
    return [
        *(*temporal, "server", "start-dev", "--ip", HOST),
        *("--port", str(ports.temporal), "--http-port", str(ports.http)),
        *("--ui-port", str(ports.ui), "--ui-disable-news-fetch"),
        *("--ui-codec-endpoint", f"{info.codec_url}/default"),
        *(("--ui-public-path", info.ui_public_path) if info.ui_public_path else ()),
        *("--db-filename", str(home / "temporal.db")),
        *(word for attribute in attributes for word in ("--search-attribute", attribute)),
    ]


def environment_of(home: Path, *inherited: str) -> dict[str, str]:
    """A home of its own: no `temporal.toml`, no `temporal.yaml` of the user's is read."""
    package = Path(tprov_kernel.__file__).parents[1]
    extra = {"HOME": str(home), "PYTHONPATH": str(package), "PYTHONUNBUFFERED": "1"}
    return clean_environment(keep=(*KEPT_VARIABLES, *inherited), extra=extra)


def open_log(path: Path) -> IO[bytes]:
    """Open a log to append to; one that has grown large is put aside first."""
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")

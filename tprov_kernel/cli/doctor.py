"""`tprov doctor`: what is there, where it comes from, what is wrong.

Works when everything is broken: each look is taken for itself and never raises, because what goes
wrong is what its reader wants to know.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tprov_kernel.cli import say
from tprov_kernel.cli.place import Place, shown
from tprov_kernel.errors import SettingsError, TprovError
from tprov_kernel.settings import CONNECTION_VARIABLES, Settings, remote_settings

WELL_KNOWN = {
    7233: "Temporal server",
    8233: "Web UI",
    8081: "codec server",
    7234: "Cloud API stand-in",
}
KEYS = (
    "TEMPORAL_CLOUD_API_KEY",
    "TEMPORAL_API_KEY",
    "TEMPORAL_MTLS_TLS_CERT",
    "TEMPORAL_MTLS_TLS_KEY",
)
SCARCE = 1 << 30
"""Bytes of free disk below which people are told."""

PATIENCE = 10.0
"""Seconds that a look which asks somebody else may take."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that was looked at.

    Attributes:
        state: ``ok``, ``note`` (worth knowing, nothing to do), ``bad`` (to be put right).
        version: Of a tool.
        words: What was found; of a tool, where.
        origin: Where it comes from.
        problem: What is wrong; empty when nothing is.
        remedy: What to do about it.
    """

    name: str
    state: str = "ok"
    version: str = ""
    words: str = ""
    origin: str = ""
    problem: str = ""
    remedy: str = ""


@dataclass
class Report:
    """Everything that was found, by section."""

    target: str
    sections: dict[str, list[Line]] = field(default_factory=dict)

    @property
    def problems(self) -> list[Line]:
        """What has to be put right."""
        return [line for lines in self.sections.values() for line in lines if line.state == "bad"]

    @property
    def ok(self) -> bool:
        """Whether nothing has."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        told = {name: [asdict(line) for line in lines] for name, lines in self.sections.items()}
        return {"ok": self.ok, "target": self.target, **told}


async def doctor(place: Place, *, as_json: bool) -> int:
    """Look at everything, show it; 1 when something has to be put right."""
    report = await examine(place, os.environ)
    if as_json:
        say.answer(json.dumps(report.as_json()))
    else:
        say.out().print(picture(report))
    return 0 if report.ok else 1


async def examine(place: Place, environ: Mapping[str, str]) -> Report:
    """Take every look."""
    report = Report(target=place.target)
    settings: list[Settings] = []
    sections: dict[str, Callable[[], Awaitable[list[Line]]]] = {
        "tools": _tools,
        "workspace": lambda: _workspace(place),
        "settings": lambda: _settings(place, environ, settings),
        "keys": lambda: _keys(place, environ, settings),
        "services": lambda: _services(place, settings),
        "ports": lambda: _ports(settings),
    }
    if place.target == "remote":
        del sections["ports"]
    for name, look in sections.items():
        try:
            async with asyncio.timeout(2 * PATIENCE):
                report.sections[name] = await look()
        except TprovError as error:
            report.sections[name] = [_bad(name, error.message, error.remedy)]
        except Exception as error:
            report.sections[name] = [_bad(name, f"{name} cannot be looked at: {error!r}.", "")]
    return report


def _short(path: str) -> str:
    """A path with the home directory as people write it."""
    home = os.path.expanduser("~")  # noqa: PTH111  (Path.home() raises where there is none)
    return f"~{path[len(home) :]}" if home != "/" and path.startswith(f"{home}/") else path


def _bad(name: str, problem: str, remedy: str) -> Line:
    return Line(name=name, state="bad", problem=problem, remedy=remedy)


# --- the looks -------------------------------------------------------------------------------


async def _tools() -> list[Line]:
    from tprov_kernel.toolchain import survey

    return [
        Line(
            name=tool.name,
            state="ok" if tool.ok else "bad",
            version=tool.version,
            words=_short(tool.path),
            origin=tool.origin,
            problem=tool.problem,
            remedy=tool.remedy,
        )
        for tool in await asyncio.to_thread(survey)
    ]


async def _workspace(place: Place) -> list[Line]:
    return [_root(place), _home(place), _disk(place)]


def _root(place: Place) -> Line:
    missing = [n for n in ("terraform", "policies") if not (place.root / n).is_dir()]
    origin = "TPROV_ROOT" if os.environ.get("TPROV_ROOT") else "found from the current directory"
    if missing:
        return Line(
            name="folder",
            state="bad",
            words=os.fspath(place.root),
            origin=origin,
            problem=f"{place.root} has no {' and no '.join(missing)} directory.",
            remedy="Go into the project's folder, or set TPROV_ROOT to it.",
        )
    return Line(name="folder", words=os.fspath(place.root), origin=origin)


def _home(place: Place) -> Line:
    origin = "TPROV_HOME" if os.environ.get("TPROV_HOME") else "the folder's .tprov"
    line = Line(name="data", words=os.fspath(place.home), origin=origin)
    nearest = next(p for p in (place.home, *place.home.parents) if p.exists())
    try:
        if place.home.exists() and stat.S_IMODE(place.home.stat().st_mode) & 0o077:
            return Line(**_but(line, state="note"), problem="Others may look into it.")
        with tempfile.NamedTemporaryFile(dir=nearest, prefix=".tprov-doctor-"):
            return line
    except OSError as error:
        return Line(
            **_but(line, state="bad"),
            problem=f"{nearest} cannot be written: {error.strerror}.",
            remedy="Make it writable, or set TPROV_HOME to a folder that is.",
        )


def _disk(place: Place) -> Line:
    nearest = next(p for p in (place.home, *place.home.parents) if p.exists())
    free = shutil.disk_usage(nearest).free
    state = "note" if free < SCARCE else "ok"
    return Line(name="disk", state=state, words=f"{free / 1e9:.1f} GB free", origin=str(nearest))


def _but(line: Line, **changes: Any) -> dict[str, Any]:
    kept = {n: v for n, v in asdict(line).items() if n not in ("problem", "remedy")}
    return kept | changes


async def _settings(place: Place, environ: Mapping[str, str], found: list[Settings]) -> list[Line]:
    """What would be used and from where; remote contradictions are named in any case."""
    lines: list[Line] = []
    if place.target == "remote":
        lines.append(Line(name="target", words="remote", origin="--target"))
        found.append(remote_settings(environ, root=place.root))
    else:
        lines.append(Line(name="target", words="local", origin="always, unless asked by name"))
        lines += _if_it_were_remote(place, environ)
        if opened := await _local(place, environ):
            found.append(opened)
    for settings in found:
        lines += _values(settings)
    return lines


async def _local(place: Place, environ: Mapping[str, str]) -> Settings | None:
    from tprov_kernel import services

    info = await services.attach(place.home)
    if info is None:
        return None
    return services.local_settings(info, root=place.root, home=place.home, environ=environ)


def _if_it_were_remote(place: Place, environ: Mapping[str, str]) -> Iterator[Line]:
    ambient = [name for name in CONNECTION_VARIABLES if environ.get(name)]
    if not ambient:
        return
    yield Line(
        name="ignored",
        state="note",
        words=", ".join(ambient),
        origin="environment",
        problem=f"Local mode ignores {', '.join(ambient)}.",
        remedy="With --target remote they count.",
    )
    try:
        remote_settings(environ, root=place.root)
    except SettingsError as error:
        if "Nothing says" not in error.message:
            yield Line(
                name="if remote",
                state="note",
                origin="environment",
                problem=f"With --target remote: {error.message}",
                remedy=error.remedy,
            )


def _values(settings: Settings) -> Iterator[Line]:
    values = {
        "address": settings.address,
        "namespace": settings.namespace,
        "task_queue": settings.task_queue,
        "tls": "mTLS" if settings.tls_cert else "yes" if settings.tls else "no",
        "encrypt_payloads": "yes" if settings.encrypt_payloads else "no",
        "codec_url": settings.codec_url or "none",
        "ui_url": settings.ui_url or "none",
        "cloud": settings.cloud.endpoint + (" (stand-in)" if settings.cloud.is_stand_in else ""),
        "policies": shown(settings.policies),
    }
    variables = {
        "task_queue": "TEMPORAL_INFRA_PROVISION_TASK_QUEUE",
        "encrypt_payloads": "ENCRYPT_PAYLOADS",
        "cloud": "TEMPORAL_CLOUD_ENDPOINT" if settings.target == "remote" else "",
    }
    for name, value in values.items():
        variable = variables.get(name, "")
        known = settings.sources.get(name, "")
        fallback = "the open services" if settings.target == "local" else "default"
        origin = known or (variable if os.environ.get(variable) else fallback)
        yield Line(name=name.replace("_", " "), words=value, origin=origin)


async def _keys(place: Place, environ: Mapping[str, str], found: list[Settings]) -> list[Line]:
    lines = [
        Line(name=name, words="set" if environ.get(name) else "not set", origin="environment")
        for name in KEYS
    ]
    ring = found[0].key_ring if found else place.home / "keys.json"
    lines.append(_key_ring(ring))
    for settings in found:
        if settings.cloud.is_stand_in:
            there = "present" if settings.cloud.api_key else "missing"
            lines.append(Line(name="stand-in's key", words=there, origin=shown(settings.home)))
        elif not settings.cloud.api_key:
            lines.append(
                Line(
                    name="Cloud API key",
                    state="note",
                    problem="Runs that change Temporal Cloud will fail.",
                    remedy="Set TEMPORAL_CLOUD_API_KEY where the worker runs.",
                )
            )
    return lines


def _key_ring(path: Path) -> Line:
    if not path.exists():
        return Line(name="key ring", words="made when it is needed", origin=shown(path))
    from tprov_kernel.payloads.keyring import KeyRing

    try:
        keys = KeyRing.load(path)
    except TprovError as error:
        return Line(
            name="key ring",
            state="bad",
            origin=shown(path),
            problem=error.message,
            remedy=error.remedy,
        )
    count = len(keys.created)
    return Line(name="key ring", words=f"{count} key{'s' * (count != 1)}", origin=shown(path))


async def _services(place: Place, found: list[Settings]) -> list[Line]:
    if not found:
        if place.target == "remote":
            return []
        return [
            Line(
                name="services",
                state="note",
                problem="No services are open.",
                remedy="`tprov up` opens them, `tprov lab` too.",
            )
        ]
    settings = found[0]
    return [await _server(settings), await _cloud(settings)]


async def _server(settings: Settings) -> Line:
    from tprov_kernel.connect import connect
    from tprov_kernel.payloads.keyring import KeyRing

    try:
        async with asyncio.timeout(PATIENCE):
            client = await connect(settings, KeyRing.in_memory())
            await client.count_workflows()
    except TprovError as error:
        return Line(
            name="Temporal server",
            state="bad",
            words=settings.address,
            problem=error.message,
            remedy=error.remedy,
        )
    except Exception as error:
        return Line(
            name="Temporal server",
            state="bad",
            words=settings.address,
            problem=f"It does not answer as it should: {error!r}.",
            remedy="Check address, namespace and key.",
        )
    return Line(name="Temporal server", words=f"{settings.address} answers", origin="asked")


async def _cloud(settings: Settings) -> Line:
    from tprov_kernel.cloud import CloudClient

    name = "Cloud API (stand-in)" if settings.cloud.is_stand_in else "Cloud API"
    if not settings.cloud.api_key:
        return Line(name=name, state="note", words=settings.cloud.endpoint, problem="No key.")
    try:
        account = await CloudClient(settings.cloud).check()
    except TprovError as error:
        return Line(
            name=name,
            state="bad",
            words=settings.cloud.endpoint,
            problem=error.message,
            remedy=error.remedy,
        )
    words = f"{settings.cloud.endpoint} takes the key, account {account.id}"
    return Line(name=name, words=words, origin="asked")


async def _ports(found: list[Settings]) -> list[Line]:
    ours = " ".join(f"{s.address} {s.ui_url} {s.codec_url} {s.cloud.endpoint}" for s in found)
    return [_port(port, what, ours=f":{port}" in ours) for port, what in WELL_KNOWN.items()]


def _port(port: int, what: str, *, ours: bool) -> Line:
    from tprov_kernel.services.ports import holder, is_answered

    name = str(port)
    if ours:
        return Line(name=name, words=f"{what}: ours", origin="open")
    if not is_answered(port):
        return Line(name=name, words=f"{what}: free")
    return Line(
        name=name,
        state="note",
        words=f"{what}: taken by {holder(port)}",
        problem="Another port is used instead; `tprov up` says which.",
    )


# --- the picture -----------------------------------------------------------------------------

ICON = {"ok": ("✓", "green"), "note": ("–", "yellow"), "bad": ("✕", "red")}


def picture(report: Report) -> RenderableType:
    """A table a section; problems and remedies again below them all."""
    parts: list[RenderableType] = []
    for name, lines in report.sections.items():
        parts += [Text(name.capitalize(), style="bold"), _table(lines), ""]
    told = [line for lines in report.sections.values() for line in lines if line.problem]
    told = list({line.problem: line for line in told}.values())  # each only once
    for line in sorted(told, key=lambda line: line.state == "bad"):
        icon, style = ICON[line.state]
        parts.append(Text(f"{icon} {line.problem}", style=f"bold {style}"))
        if line.remedy:
            parts.append(Text(f"  {line.remedy}"))
    if report.ok:
        parts.append(Text("✓ All is well.", style="green"))
    return Group(*parts)


def _table(lines: list[Line]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=1)
    grid.add_column(no_wrap=True)
    if any(line.version for line in lines):
        grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_column(style="dim", overflow="fold", max_width=30)
    for line in lines:
        icon, style = ICON[line.state]
        cells = [line.version] if len(grid.columns) > 4 else []
        cells = [line.name, *cells, line.words or line.problem, line.origin]
        grid.add_row(Text(icon, style=style), *map(Text, cells))
    return grid

"""What `tprov doctor` looks at; each look gives lines, good or bad."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tprov_kernel.announce import Doubt, doubts
from tprov_kernel.cli.place import Place, shown
from tprov_kernel.errors import SettingsError, TprovError
from tprov_kernel.settings import (
    CONNECTION_VARIABLES,
    KEYS_VARIABLE,
    Settings,
    Source,
    remote_settings,
)

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


def _short(path: str) -> str:
    """A path with the home directory as people write it."""
    home = os.path.expanduser("~")  # noqa: PTH111  (Path.home() raises where there is none)
    return f"~{path[len(home) :]}" if home != "/" and path.startswith(f"{home}/") else path


def bad(name: str, problem: str, remedy: str) -> Line:
    """Something that has to be put right."""
    return Line(name=name, state="bad", problem=problem, remedy=remedy)


async def tools() -> list[Line]:
    """Each tool with version, origin and health."""
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


async def workspace(place: Place) -> list[Line]:
    """The folder, the data directory, the disk."""
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
            return Line(
                **_but(line, state="note"),
                problem=f"Others may look into {place.home}, which holds keys and states.",
                remedy=f"Run `chmod 700 {place.home}`.",
            )
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


async def settings(place: Place, environ: Mapping[str, str], found: list[Settings]) -> list[Line]:
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
        **({"tls_cert": _where(settings.tls_cert)} if settings.tls_cert else {}),
        **({"tls_key": _where(settings.tls_key)} if settings.tls_key else {}),
        **({"tls_ca": _where(settings.tls_ca)} if settings.tls_ca else {}),
        **({"api_key": "set"} if settings.target == "remote" and settings.api_key else {}),
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
    doubted = {doubt.field: doubt for doubt in (*doubts(settings), *_open_to_others(settings))}
    for name, value in values.items():
        variable = variables.get(name, "")
        known = settings.sources.get(name, "")
        fallback = "the open services" if settings.target == "local" else "default"
        origin = known or (variable if os.environ.get(variable) else fallback)
        line = Line(name=name.replace("_", " "), words=value, origin=origin)
        if doubt := doubted.get(name):
            line = replace(line, state="note", problem=doubt.message, remedy=doubt.remedy)
        yield line


def _open_to_others(settings: Settings) -> Iterator[Doubt]:
    """The client certificate's key, where other people of this machine may read it."""
    key = settings.tls_key
    if isinstance(key, Path) and stat.S_IMODE(key.stat().st_mode) & 0o077:
        yield Doubt(
            "tls_key",
            f"Others may read {_short(os.fspath(key))}, the key of the client certificate.",
            f"Run `chmod 600 {shlex.quote(os.fspath(key))}`.",
        )


def _where(source: Source | None) -> str:
    """The file that holds a certificate or a key, which is no secret."""
    return _short(os.fspath(source)) if isinstance(source, Path) else "given as it is"


async def keys(place: Place, environ: Mapping[str, str], found: list[Settings]) -> list[Line]:
    """Which keys are there; never one's value."""
    lines = [
        Line(name=name, words="set" if environ.get(name) else "not set", origin="environment")
        for name in KEYS
    ]
    ring = found[0].key_ring if found else place.key_ring
    lines.append(_key_ring(ring, environ))
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


def _key_ring(path: Path, environ: Mapping[str, str]) -> Line:
    from tprov_kernel.payloads.keyring import KeyRing

    try:
        keys = KeyRing.find(path, environ=environ)
        keys.check_may_be_made()
    except TprovError as error:
        return Line(
            name="key ring",
            state="bad",
            origin=KEYS_VARIABLE if environ.get(KEYS_VARIABLE) else shown(path),
            problem=error.message,
            remedy=error.remedy,
        )
    count = len(keys.created)
    words = f"{count} key{'s' * (count != 1)}" if count else "made when it is needed"
    return Line(name="key ring", words=words, origin=shown(path) if keys.path else keys.name)


async def services(place: Place, found: list[Settings]) -> list[Line]:
    """Whether the server and the Cloud API answer, and take the key."""
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
    return [*await _server(settings), await _cloud(settings)]


async def _server(settings: Settings) -> list[Line]:
    from tprov_kernel.connect import connect
    from tprov_kernel.payloads.keyring import KeyRing
    from tprov_kernel.redaction import Scrubber
    from tprov_kernel.registration import known_attributes

    line = Line(name="Temporal server", words=settings.address)
    try:
        async with asyncio.timeout(PATIENCE):
            client = await connect(settings, KeyRing.in_memory())
            await client.count_workflows()
            known = await known_attributes(client)
    except TprovError as error:
        return [replace(line, state="bad", problem=error.message, remedy=error.remedy)]
    except Exception as error:
        said = Scrubber([settings.api_key]).text(repr(error))  # a server may quote what it got
        problem = f"It does not answer as it should: {said}."
        remedy = "Check address, namespace and key."
        return [replace(line, state="bad", problem=problem, remedy=remedy)]
    answers = replace(line, words=f"{settings.address} answers", origin="asked")
    return [answers, _attributes(known)]


def _attributes(known: Mapping[str, str] | None) -> Line:
    from tprov_kernel.registration import what_is_missing

    name = "search attributes"
    if known is None:
        return Line(
            name=name,
            state="note",
            problem="This server does not tell which search attributes it knows.",
            remedy="The README's section 'Search attributes' has the commands.",
        )
    if missing := what_is_missing(known):
        return bad(name, missing.message, missing.remedy)
    return Line(name=name, words="all of ours are known", origin="asked")


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


async def ports(found: list[Settings]) -> list[Line]:
    """Who has the well-known ports."""
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

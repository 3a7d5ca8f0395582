"""A stack's directory on a worker: snapshot, lock, journal.

    <home>/stacks/<name>/
        config/          the unpacked snapshot; Terraform runs in its root module, by the state
        lock             flock: one activity of this stack at a time on this machine
        journal.jsonl    what an apply began, and how it ended
        apply.exit       exit status of the last apply, written by the guard even if its worker died

A worker's directory is a cache, but for the local state and the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import errno
import fcntl
import io
import json
import os
import re
import shutil
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tprov_kernel.errors import (
    ConfigurationError,
    SealBroken,
    StackError,
    StillAtWork,
    TooLarge,
)
from tprov_kernel.files import leads_nowhere, private_directory, walk, write_private
from tprov_kernel.given import PRIVATE_FILE, VARIABLES_FILE, Given
from tprov_kernel.messages import Snapshot
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.redaction import declared_variables as found_in

NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")
MAX_SEALED = 600_000
"""Characters of a sealed snapshot; with a plan of 1,200,000 an apply's input stays below 2 MB."""

MAX_READ = 64 << 20
"""Bytes of a configuration's files; more is not even read, and would not pack to `MAX_SEALED`."""

_LEFT_OUT = {".terraform", ".git", ".tprov", "__pycache__", ".ipynb_checkpoints"}
_LOCAL_MODULE = re.compile(r'^\s*source\s*=\s*"(\.{1,2}/[^"]*)"', re.MULTILINE)
_REMOTE_MODULE = re.compile(
    r'^\s*module\s+"[^"]+"\s*\{[^}]*?\bsource\s*=\s*"([^".][^"]*)"', re.M | re.S
)
_PROVIDER = re.compile(
    r'\bsource\s*=\s*"(?:registry\.terraform\.io/)?([\w.-]+/[\w-]+(?:/[\w-]+)?)"'
)
_COMMENT = re.compile(r"^\s*(#|//).*$", re.MULTILINE)


def check_name(name: str) -> str:
    """Return the name of a stack if it is one.

    Raises:
        StackError: It is not 1 to 40 lower-case letters, digits and hyphens, a letter first.
    """
    if isinstance(name, str) and NAME.fullmatch(name):
        return name
    shown = repr(name) if len(repr(name)) <= 60 else repr(name)[:57] + "..."
    raise StackError(
        f"{shown} is no name for a stack.",
        remedy="Use 1 to 40 lower-case letters, digits and hyphens, beginning with a letter.",
    )


# --- the snapshot ----------------------------------------------------------------------------


def root_module(directory: Path) -> Path:
    """Return the directory if it holds a Terraform configuration.

    Raises:
        ConfigurationError: It does not exist, is a file, or has no `*.tf` in it.
    """
    if not directory.exists():
        raise ConfigurationError(
            f"There is no directory {directory}.", remedy="Give the directory of a configuration."
        )
    if not directory.is_dir():
        raise ConfigurationError(
            f"{directory} is a file, not a directory.", remedy="Give the directory it lies in."
        )
    if not _sources(directory):
        raise ConfigurationError(
            f"{directory} holds no Terraform configuration (no *.tf file).",
            remedy="Give the directory of a root module.",
        )
    return directory


def declared_variables(directory: Path) -> list[str]:
    """Names of the variables that the root module in ``directory`` declares, sorted."""
    texts = [_read(source).decode(errors="replace") for source in _sources(directory)]
    return sorted(found_in(texts))


def check_variables(directory: Path, variables: Iterable[str]) -> None:
    """Refuse variables that the root module does not declare, with the nearest name.

    Raises:
        ConfigurationError: Terraform itself would only warn, and plan without the value.
    """
    declared = declared_variables(directory)
    for name in variables:
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1)
            listed = ", ".join(declared) if declared else "none"
            raise ConfigurationError(
                f"{directory} declares no variable {name!r} (it declares: {listed}).",
                remedy=f"Did you mean {near[0]!r}?" if near else "Declare it, or leave it out.",
            )


def pack(directory: Path, *, variables: Mapping[str, Any]) -> tuple[bytes, int]:
    """Pack a root module, the local modules it uses and its variables; equal content, equal bytes.

    Links are followed: what they lead to is packed under the link's name, wherever it lies.

    Returns:
        A tar archive whose first entry names the root module's place, and the number of files.

    Raises:
        ConfigurationError: The directory is no configuration, a variable is not declared, or a
            link leads nowhere.
        TooLarge: There is more than a snapshot could hold.
    """
    directory = root_module(directory).resolve()
    check_variables(directory, variables)
    base = Path(os.path.commonpath([module.place for module in _with_local_modules(directory)]))
    root = directory.relative_to(base).as_posix()
    found = _files(directory)
    if sum(file.stat().st_size for file in found.values()) > MAX_READ:
        raise TooLarge(
            f"{directory} holds more than {MAX_READ >> 20} MiB, links followed.",
            remedy="Move what Terraform does not need out of the directory.",
        )
    files = {place.relative_to(base).as_posix(): _read(file) for place, file in found.items()}
    if variables:
        files[(Path(root) / VARIABLES_FILE).as_posix()] = _as_json(variables).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, ".tprov-root", root.encode())
        for name in sorted(files):
            _add(archive, name, files[name])
    return buffer.getvalue(), len(files)


def _read(file: Path) -> bytes:
    _check_link(file)
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be read: {error.strerror}.",
            remedy="Make it readable, or move it out of the directory.",
        ) from error


def _as_json(variables: Mapping[str, Any]) -> str:
    for name, value in variables.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"The value of the variable {name!r} is no value for Terraform:"
                f" {type(value).__name__}.",
                remedy="Give texts, numbers, true or false, lists, or dictionaries of these.",
            ) from None
    return json.dumps(dict(variables), sort_keys=True, indent=2)


def take_snapshot(directory: Path, *, variables: Mapping[str, Any], key_ring: KeyRing) -> Snapshot:
    """Pack and seal a root module as it is now.

    Raises:
        ConfigurationError: See `pack`.
        TooLarge: It would not fit into a payload.
    """
    packed, files = pack(directory, variables=variables)
    sealed = key_ring.seal(packed, kind="snapshot")
    if len(sealed) > MAX_SEALED:
        raise TooLarge(
            f"{directory} packs to {len(sealed) / 1e6:.1f} MB; at most {MAX_SEALED / 1e6:.1f} MB"
            " can travel with a run.",
            remedy="Move what Terraform does not need out of the directory.",
        )
    return Snapshot(digest=key_ring.mac(packed), sealed=sealed, files=files)


def copy_configuration(directory: Path, target: Path) -> None:
    """Copy a root module to a place of its own, in place of what was there; no state goes along.

    Raises:
        ConfigurationError: The directory is no configuration.
    """
    files = {f.relative_to(directory): _read(f) for f in _content(root_module(directory))}
    shutil.rmtree(target, ignore_errors=True)
    for name, content in files.items():
        (target / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(target / name, content)


def variables_in(snapshot: Snapshot, key_ring: KeyRing) -> dict[str, Any]:
    """The values for variables that travelled in a snapshot.

    Raises:
        SealBroken: It cannot be opened.
    """
    files = _unpack(key_ring.unseal(snapshot.sealed, kind="snapshot"))
    root = files[".tprov-root"].decode()
    text = files.get((Path(root) / VARIABLES_FILE).as_posix(), b"{}")
    return dict(json.loads(text))


def given_in(snapshot: Snapshot, key_ring: KeyRing) -> Given:
    """The files that travelled in a snapshot: what may rest on a worker, and what is secret.

    Raises:
        SealBroken: It cannot be opened.
    """
    files = _unpack(key_ring.unseal(snapshot.sealed, kind="snapshot"))
    return Given.of(files, root=files.pop(".tprov-root").decode())


def has_moved_on(snapshot: Snapshot, directory: Path, key_ring: KeyRing) -> bool:
    """Whether a directory, with the same variables, is no longer what a snapshot was taken of."""
    try:
        packed, _ = pack(directory, variables=variables_in(snapshot, key_ring))
    except (ConfigurationError, TooLarge):
        return True
    return key_ring.mac(packed) != snapshot.digest


def stamps(directory: Path) -> tuple[tuple[str, str, int, int], ...]:
    """Path, true path, time of the last change (ns) and size of each file of a snapshot.

    Cheaper than a digest: where they are as they were, so is the content. The true path tells when
    a link leads elsewhere.

    Raises:
        ConfigurationError: See `pack`.
        TooLarge: See `pack`.
    """
    stats = [
        (str(place), str(file.resolve()), file.stat())
        for place, file in _files(root_module(directory).resolve()).items()
    ]
    return tuple((place, real, stat.st_mtime_ns, stat.st_size) for place, real, stat in stats)


def _sources(directory: Path) -> list[Path]:
    found = [*directory.glob("*.tf"), *directory.glob("*.tf.json")]
    return sorted(file for file in found if not file.name.startswith("."))  # as Terraform does


class _Module(NamedTuple):
    """A module's place as its callers name it, and the directory that Terraform would read there.

    They differ behind a link: Terraform takes a module's own relative sources from where the link
    leads, and in a snapshot, which has no links, from the link's place.
    """

    place: Path
    real: Path


def _with_local_modules(directory: Path) -> list[_Module]:
    """The root module, and every local module that it uses, directly or through another."""
    found = [_Module(directory, directory.resolve())]
    for module in found:
        for source in _sources(module.real):
            text = _COMMENT.sub("", _read(source).decode(errors="replace"))
            for relative in _LOCAL_MODULE.findall(text):
                place = Path(os.path.normpath(module.place / relative))
                other = _Module(place, Path(os.path.normpath(module.real / relative)).resolve())
                if other.real.is_dir() and other not in found:
                    found.append(other)
    return found


def _files(directory: Path) -> dict[Path, Path]:
    """The files of a snapshot: place to the file that is read."""
    found: dict[Path, Path] = {}
    for module in _with_local_modules(directory):
        for file in _content(module.real):
            place = module.place / file.relative_to(module.real)
            if found.setdefault(place, file).resolve() != file.resolve():
                raise ConfigurationError(
                    f"{found[place]} and {file} would have the same place in a snapshot, because"
                    " one of them is behind a link.",
                    remedy="Name the module by where it lies, not by the link.",
                )
    return found


def _content(folder: Path) -> list[Path]:
    try:
        files = [
            file
            for file in walk(folder, skip=_LEFT_OUT.__contains__)
            if (leads_nowhere(file) or file.exists())
            and ".tfstate" not in file.name
            and file.name not in (VARIABLES_FILE, PRIVATE_FILE)
        ]
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be read: {error.strerror}.",
            remedy="Make it readable, or move it out of the directory.",
        ) from error
    for file in files:
        _check_link(file)
    return files


def _check_link(file: Path) -> None:
    if leads_nowhere(file):
        raise ConfigurationError(
            f"{file} cannot be read: it is a link to nowhere ({file.readlink()}).",
            remedy="Mend the link, or move it out of the directory.",
        )


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o600
    archive.addfile(entry, io.BytesIO(content))


# --- the directory ---------------------------------------------------------------------------


@dataclass(frozen=True)
class JournalEntry:
    """One line of a stack's journal."""

    at: float
    event: str
    fields: Mapping[str, Any]


class StackDirectory:
    """A stack's place on this machine.

    Args:
        base: The directory of all stacks.
        name: The stack's name, checked again here: it becomes part of a path.
    """

    def __init__(self, base: Path, name: str) -> None:
        self.path = base / check_name(name)
        private_directory(self.path)
        self.config = self.path / "config"
        self.exit_file = self.path / "apply.exit"
        self._journal = self.path / "journal.jsonl"
        self._unpacked = self.path / "snapshot.json"

    @property
    def root(self) -> Path:
        """The root module's directory, where Terraform runs and the local state lies."""
        return self.config / str(self._marker().get("root", "."))

    @property
    def snapshot_digest(self) -> str:
        """Digest of the snapshot that is unpacked; empty when there is none."""
        return str(self._marker().get("digest", ""))

    def unpack(self, snapshot: Snapshot, key_ring: KeyRing) -> bool:
        """Put the snapshot's files in place of the former one's; state and `.terraform` stay.

        Values of sensitive variables are not among them: see `given.py`.

        Returns:
            Whether anything had to be done.

        Raises:
            SealBroken: It cannot be opened, or is not what its digest says.
        """
        if self.snapshot_digest == snapshot.digest and self.root.is_dir():
            return False
        packed = key_ring.unseal(snapshot.sealed, kind="snapshot")
        if key_ring.mac(packed) != snapshot.digest:
            raise SealBroken("The snapshot is not the one that its digest names.")
        former = set(self._marker().get("files", []))
        every = _unpack(packed)
        root = every.pop(".tprov-root").decode()
        files = Given.of(every, root=root).public
        # The marker goes first: an interruption in between must lead to another unpacking.
        kept = {"root": root, "files": sorted(former | set(files))}
        write_private(self._unpacked, json.dumps(kept).encode())
        for gone in former - set(files):
            (self.config / gone).unlink(missing_ok=True)
        for name, content in files.items():
            target = self.config / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(target, content)
        marker = {"root": root, "files": sorted(files), "digest": snapshot.digest}
        write_private(self._unpacked, json.dumps(marker).encode())
        return True

    def _marker(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._unpacked.read_text()))
        except (OSError, ValueError):
            return {}

    @contextlib.asynccontextmanager
    async def lock(
        self, *, patience: float, waiting: Callable[[], None] = lambda: None
    ) -> AsyncIterator[int]:
        """Hold the stack on this machine; yields the lock's file descriptor.

        The descriptor can be handed to the guard with a child, so that the stack stays locked
        until that child has ended even if its worker dies before.

        Args:
            patience: Seconds to wait for another holder.
            waiting: Called about ten times a second while waiting.

        Raises:
            StillAtWork: Somebody else still holds it.
        """
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + patience
            while not _try_flock(handle):
                if time.monotonic() > deadline:
                    raise StillAtWork(
                        f"A Terraform of stack {self.path.name!r} is still at work here.",
                        remedy="Wait until it has ended.",
                    )
                waiting()
                await asyncio.sleep(0.1)
            yield handle
        finally:
            os.close(handle)

    # --- the journal ---

    def record(self, event: str, **fields: Any) -> None:
        """Append a line to the journal, and have it on disk before returning."""
        line = json.dumps({"at": time.time(), "event": event, **fields}, separators=(",", ":"))
        # The line break comes first: a line that was cut off half-written spoils only itself.
        content = b"\n" + line.encode() + b"\n"
        handle = os.open(self._journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.write(handle, content) != len(content):
                raise OSError(errno.ENOSPC, "the journal's line was not written whole")
            os.fsync(handle)
        finally:
            os.close(handle)

    def journal(self) -> list[JournalEntry]:
        """Read the journal, oldest first; a half-written last line is left out."""
        entries = []
        with contextlib.suppress(FileNotFoundError):
            for line in self._journal.read_text().splitlines():
                with contextlib.suppress(ValueError, KeyError):
                    fields = json.loads(line)
                    entries.append(JournalEntry(fields.pop("at"), fields.pop("event"), fields))
        return entries

    def remove(self) -> None:
        """Forget the stack on this machine, its local state included."""
        shutil.rmtree(self.path, ignore_errors=True)


def held_objects(base: Path, name: str) -> list[str]:
    """Addresses of the resources in a stack's local state; empty without one, or with a remote one.

    Args:
        base: The directory of all stacks.
        name: The stack's name.
    """
    directory = base / check_name(name)
    if not directory.is_dir():
        return []
    state = StackDirectory(base, name).root / "terraform.tfstate"
    try:
        return state_addresses(json.loads(state.read_text()))
    except (OSError, ValueError):
        return []


def state_addresses(state: Mapping[str, Any]) -> list[str]:
    """Addresses of the managed resources in a Terraform state."""
    return [*state_ids(state)]


def state_ids(state: Mapping[str, Any]) -> dict[str, str]:
    """Each managed resource in a Terraform state: its address, and its id (empty without one)."""
    found = {}
    for resource in state.get("resources", []):
        if resource.get("mode") == "managed":
            module = f"{resource['module']}." if resource.get("module") else ""
            for instance in resource.get("instances", []):
                key = instance.get("index_key")
                index = f"[{json.dumps(key)}]" if key is not None else ""
                if "deposed" not in instance:  # what is only left to be destroyed
                    id = (instance.get("attributes") or {}).get("id")
                    address = f"{module}{resource['type']}.{resource['name']}{index}"
                    found[address] = id if isinstance(id, str) else ""
    return found


def module_sources(directory: Path) -> tuple[list[str], list[str]]:
    """The sources of a root module, and of the other modules that it may use, as texts.

    These are the local ones, and everything below: `.terraform/modules` holds what was fetched.
    """
    own, below = _sources(directory), {*directory.rglob("*.tf"), *directory.rglob("*.tf.json")}
    for module in _with_local_modules(directory):
        below.update(_sources(module.real))
    return _texts(own), _texts(sorted(below.difference(own)))


def _texts(files: Iterable[Path]) -> list[str]:
    return [_read(file).decode(errors="replace") for file in files if file.is_file()]


def needs_network(directory: Path, *, mirrored: Iterable[str]) -> list[str]:
    """Name what `terraform init` would fetch: providers not mirrored here, and remote modules.

    Args:
        directory: A root module.
        mirrored: Source addresses (`temporalio/temporalcloud`) that the local mirror holds.
    """
    known = {*mirrored, "terraform.io/builtin/terraform"}
    wanted: set[str] = set()
    for module in _with_local_modules(directory):
        for source in _sources(module.real):
            text = _COMMENT.sub("", _read(source).decode(errors="replace"))
            remote = set(_REMOTE_MODULE.findall(text))
            wanted |= remote | (set(_PROVIDER.findall(text)) - known)
    return sorted(wanted)


def uses_provider(directory: Path, address: str) -> bool:
    """Whether the configuration, local modules included, names a provider's source address."""
    return any(
        address in _PROVIDER.findall(_read(source).decode(errors="replace"))
        for module in _with_local_modules(directory)
        for source in _sources(module.real)
    )


def _unpack(packed: bytes) -> dict[str, bytes]:
    files = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            if content is None or entry.name.startswith("/") or ".." in Path(entry.name).parts:
                raise SealBroken(f"The snapshot holds an entry that has no place: {entry.name!r}.")
            files[entry.name] = content.read()
    return files


def _try_flock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

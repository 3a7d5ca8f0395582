"""An instance's data directory: who has it open, what is in it, and back to zero.

<home>/                  mode 0700
services.lock        flock, held by the owner and by its guard until every child is gone
services.json        where the services are, while all of them answered when opened
ports.json           the ports of last time, taken again when free
processes.json       which process each service is; wishes.json: which is to stop or start
temporal.db          the Temporal server's database
standin.db           the stand-in's; its key is in standin.key
keys.json            the key ring
logs/                what every service says
policies/            copies with another level table, for a worker of a lesson
audits/              what each run that closed was, as Markdown and as JSON
stacks/  private/    stacks; the notebooks' own instances, each a directory like this one
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tprov_kernel.errors import ServiceError
from tprov_kernel.files import private_directory, replace_private

Kind = Literal["up", "lab", "notebook"]

PATIENCE = 6.0
"""Seconds to wait for services that are being closed: their guard needs five at most."""

PAUSE = 0.03
"""Seconds between two attempts."""

KEYS = ("keys.json", "standin.key")

_OURS = (
    *("services.json", "ports.json", "logs", "stacks", "private", "jupyter", "bin", "audits"),
    *("policies", "processes.json", "wishes.json"),
)
_OUR_FILES = ("temporal.db*", "standin.db*", "terraform.rc*", "keys.json*", "standin.key*")
_OPENED_BY = {"up": "`tprov up`", "lab": "`tprov lab`", "notebook": "a notebook's kernel"}


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The process that has services open.

    Attributes:
        pid: Its process id.
        kind: ``up``, ``lab`` or ``notebook``: which command it is.
        started: When it opened them, seconds since the epoch.
    """

    pid: int
    kind: Kind
    started: float

    @property
    def words(self) -> str:
        """'`tprov up` (process 4711)'."""
        return f"{_OPENED_BY[self.kind]} (process {self.pid})"


@dataclass(frozen=True, kw_only=True)
class ServicesInfo:
    """Where open services are.

    Attributes:
        owner: Who opened them.
        address: ``host:port`` of the Temporal server.
        http_port: Port of the Temporal server's HTTP API.
        ui_url: The Web UI, with its public path.
        ui_public_path: The path below which the Web UI is served, for jupyter-server-proxy;
            empty for the root.
        codec_url: The codec server, without a namespace's path.
        cloud_endpoint: ``host:port`` of the Cloud API stand-in.
        down: Names of services that did not answer when `attach` looked; never the Temporal
            server.
    """

    owner: Owner
    address: str
    http_port: int
    ui_url: str
    ui_public_path: str
    codec_url: str
    cloud_endpoint: str
    down: tuple[str, ...] = ()


class Lock:
    """The instance, held by this process; children that hold `fd` keep it held after our death.

    Two locks tell an instance that is open from one whose owner died while its guard still ends
    the children: no process ids, which may be used again, and no clocks.
    """

    def __init__(self, home: Path, fd: int) -> None:
        self.home, self.fd = home, fd
        self._owner_fd: int | None = None
        _held.add(fd)

    def claim(self, owner: Owner) -> None:
        """Say who has it: from now on others are told so instead of waiting."""
        fd = os.open(self.home / "owner.lock", os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(asdict(owner)).encode(), 0)
        fcntl.flock(fd, fcntl.LOCK_EX)  # only who looks whether it is held has it, for an instant
        _held.add(fd)
        self._owner_fd = fd

    def yield_up(self) -> None:
        """Say that it is being closed: others wait from now on."""
        (self.home / "services.json").unlink(missing_ok=True)
        if self._owner_fd is not None:
            _close(self._owner_fd)
            self._owner_fd = None

    def release(self) -> None:
        """Let go; it opens when the last child has ended that holds it too."""
        if self._owner_fd is not None:
            _close(self._owner_fd)
        _close(self.fd)


_held: set[int] = set()


def _close(fd: int) -> None:
    if fd in _held:
        _held.discard(fd)
        os.close(fd)


def _let_go() -> None:
    """In a forked process: it is not the owner, and must not hold the locks."""
    for fd in list(_held):
        _close(fd)


os.register_at_fork(after_in_child=_let_go)


def this_process(kind: Kind) -> Owner:
    """Describe the running process as an owner, from now on."""
    return Owner(pid=os.getpid(), kind=kind, started=time.time())


def prepare(home: Path) -> None:
    """Make the data directory and those in it that everybody needs.

    Raises:
        ServiceError: It cannot be made, or nothing can be written there.
    """
    with writing(home):
        private_directory(home)
        home.chmod(0o700)
        (home / "logs").mkdir(mode=0o700, exist_ok=True)
        probe = home / f".probe.{os.getpid()}"
        probe.write_text("x" * 4096)
        probe.unlink()


@contextmanager
def writing(home: Path) -> Iterator[None]:
    """Turn the usual troubles with a disk into a sentence."""
    try:
        yield
    except OSError as error:
        why, remedy = {
            errno.ENOSPC: ("the disk is full", "Free some space."),
            errno.EDQUOT: ("your quota is used up", "Free some space."),
            errno.EROFS: ("the disk is read-only", "Set TPROV_HOME to a directory elsewhere."),
            errno.EACCES: ("it is not yours to write", "Set TPROV_HOME to a directory of yours."),
            errno.ENOTDIR: ("a file is in its way", "Set TPROV_HOME to another directory."),
            errno.EEXIST: ("a file is in its way", "Set TPROV_HOME to another directory."),
        }.get(error.errno or 0, (error.strerror or str(error), "Set TPROV_HOME to another place."))
        raise ServiceError(f"Nothing can be kept in {home}: {why}.", remedy=remedy) from error


async def take(
    home: Path, *, progress: Callable[[str], None] = lambda _: None, patience: float = PATIENCE
) -> Lock:
    """Take the instance, waiting for services that are being closed.

    Raises:
        ServiceError: Somebody has it open, or did not close it in time.
    """
    attempts = _attempts(home, progress, patience)
    while (lock := next(attempts)) is None:  # noqa: ASYNC110 (another process has it)
        await asyncio.sleep(PAUSE)
    return lock


def take_blocking(home: Path) -> Lock:
    """The same without a loop."""
    attempts = _attempts(home, lambda _: None, PATIENCE)
    while (lock := next(attempts)) is None:
        time.sleep(PAUSE)
    return lock


def _attempts(
    home: Path, progress: Callable[[str], None], patience: float
) -> Iterator[Lock | None]:
    until, told = time.monotonic() + patience, time.monotonic() + 0.3
    while (lock := try_lock(home)) is None:
        if owner := owner_of(home):
            raise ServiceError(
                f"Services are open in {home} already, by {owner.words}.",
                remedy="Use those, or close them first: `tprov down`."
                if owner.kind != "notebook"
                else "Shut that notebook's kernel down first.",
            )
        if time.monotonic() > until:
            raise ServiceError(
                f"The services that were open in {home} did not end within {patience:g} s.",
                remedy="Try again in a moment; a Terraform at work may need a little longer.",
            )
        if told and time.monotonic() > told:
            progress("Waiting until the services of last time have ended ...")
            told = 0.0
        yield None
    yield lock


def try_lock(home: Path) -> Lock | None:
    """Take the instance if nobody has it."""
    with writing(home):
        fd = os.open(home / "services.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return Lock(home, fd)


def owner_of(home: Path) -> Owner | None:
    """Who has services open, or is opening them, in `home`; None when nobody has.

    Services that are being closed, or whose owner is dead, are nobody's.
    """
    try:
        fd = os.open(home / "owner.lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: who only looks disturbs nobody
    except BlockingIOError:
        with suppress(ValueError, TypeError):
            return Owner(**json.loads(os.pread(fd, 4096, 0)))
    finally:
        os.close(fd)
    return None


def write_info(home: Path, info: ServicesInfo) -> None:
    """Publish where the services are."""
    write_json(home / "services.json", asdict(info))


def read_info(home: Path) -> ServicesInfo | None:
    """Read where they are; None when nobody published it, or not yet."""
    try:
        fields = json.loads((home / "services.json").read_text())
        return ServicesInfo(**{**fields, "owner": Owner(**fields["owner"]), "down": ()})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_json(path: Path, value: Any) -> None:
    """Write a small file, whole or not at all, mode 0600."""
    with writing(path.parent):
        replace_private(path, json.dumps(value, indent=1).encode() + b"\n")


def reset(home: Path, *, keep_keys: bool = False) -> None:
    """Bring an instance, and those of its notebooks, back to zero.

    Removes databases, stacks, logs and keys; nothing that was not made by us.

    Args:
        home: The instance's data directory.
        keep_keys: Keep the key ring and the stand-in's key.

    Raises:
        ServiceError: Services are open there, or a Terraform is at work.
    """
    places = [home, *sorted((home / "private").glob("*/"))]
    locks: list[Lock] = []
    try:
        for place in places:
            if (place / "services.lock").exists():
                locks.append(take_blocking(place))
        for place in places:
            _refuse_while_terraform_works(place)
        kept = KEYS if keep_keys else ()
        with writing(home):
            _remove(home, kept=kept)
    finally:
        for lock in locks:
            lock.release()


def stacks_at_work(home: Path) -> list[str]:
    """Stacks of a data directory on which a Terraform is at work, whoever has started it."""
    return [path.parent.name for path in sorted(home.glob("stacks/*/lock")) if _is_held(path)]


def _is_held(lock: Path) -> bool:
    try:
        fd = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _refuse_while_terraform_works(place: Path) -> None:
    for stack in stacks_at_work(place):
        raise ServiceError(
            f"A Terraform of stack {stack!r} is still at work.",
            remedy="Wait until it has ended, then reset again.",
        )


def _remove(home: Path, *, kept: Sequence[str]) -> None:
    found = [home / name for name in _OURS] + [
        p for pattern in _OUR_FILES for p in home.glob(pattern)
    ]
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in kept:
            path.unlink(missing_ok=True)

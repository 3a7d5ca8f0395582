"""The owner's side of the guard: programs that cannot outlive this process.

`Guard` starts them through `_guard.py`, a process in a session of its own that ends them when
this process dies, however it dies. `process.run` is what most code uses; long-running services
use `Guard.spawn` itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from tprov_kernel import _guard
from tprov_kernel.errors import ToolError

REPLY_TIMEOUT = 10.0
"""Seconds within which the guard has to answer; it needs a few milliseconds."""

LOST = 1.0
"""Seconds to wait until the children of a guard that was killed are gone."""

Stream = int | IO[Any] | None
"""A file descriptor or an open file; None is the null device. The caller closes its own copy."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a child is ended: by itself, then asked, then made to.

    Attributes:
        wait: Seconds in which it may finish undisturbed.
        interrupt: Seconds that it has after SIGINT to the process itself; 0 leaves SIGINT out.
        terminate: Seconds that its group has after SIGTERM; 0 leaves SIGTERM out. Then SIGKILL.
    """

    wait: float = 0
    interrupt: float = 0
    terminate: float = 2.0

    @property
    def at_once(self) -> Ending:
        """The same without the undisturbed wait, beginning with SIGINT."""
        return replace(self, wait=0, interrupt=self.interrupt or 1.0)


@dataclass(frozen=True, kw_only=True)
class ExitRecord:
    """What the guard wrote into an exit file.

    Attributes:
        returncode: The exit status, negative for the signal that ended it.
        started: When it started, seconds since the epoch.
        ended: When it had ended, with the whole of its group.
    """

    pid: int
    returncode: int
    started: float
    ended: float


def read_exit_file(path: Path) -> ExitRecord | None:
    """Read how a program ended; None when nobody lived to tell, or it has not ended yet."""
    try:
        return ExitRecord(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


class Child:
    """A program that the guard started.

    Attributes:
        pid: Its process id, and that of its group and session.
        argv: What was started.
    """

    def __init__(self, connection: _Connection, number: int, argv: Sequence[str]) -> None:
        self.argv = tuple(argv)
        self.pid = 0
        self._connection = connection
        self._number = number
        self._started: Future[int] = Future()
        self._exited: Future[int] = Future()
        self._exited.set_running_or_notify_cancel()  # who stops waiting does not cancel it

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._exited.result() if self._exited.done() else None

    async def wait(self) -> int:
        """Wait until it, and what it left in its group, has ended; give the exit status."""
        return await asyncio.wrap_future(self._exited)

    def wait_blocking(self, timeout: float | None = None) -> int:
        """The same for threads without a loop.

        Raises:
            TimeoutError: It still runs after `timeout` seconds.
        """
        try:
            return self._exited.result(timeout)
        except TimeoutError:
            raise TimeoutError(f"{self.argv[0]} still runs after {timeout} s.") from None

    def signal(self, number: int) -> None:
        """Signal the process itself; nothing happens when it has ended."""
        self._ask("signal", signal=int(number), group=False)

    def kill_group(self) -> None:
        """Kill it and everything in its group, at once."""
        self._ask("signal", signal=int(signal.SIGKILL), group=True)

    def end(self, ending: Ending) -> None:
        """Begin to end it; replaces an ending that is under way. Use `wait` for the result."""
        self._ask("end", ending=_triple(ending))

    def drain(self) -> None:
        """Let the guard read, and throw away, what we read no more."""
        self._ask("drain")

    def _ask(self, op: str, **details: Any) -> None:
        with suppress(OSError):  # no guard, no child
            self._connection.send({"op": op, "id": self._number, **details})


class _Connection:
    """One guard process, for as long as it lives."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-S", "-X", "utf8", _guard.__file__, str(theirs.fileno())]
        kept = ("PATH", "LANG", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # no credentials
        with theirs:
            self.process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                env={name: os.environ[name] for name in kept if name in os.environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.socket = ours
        self.lock = threading.Lock()
        self.children: dict[int, Child] = {}
        self.closing = False
        self.crash = ""
        self.lost = threading.Event()
        self.count = 0
        self.reader = threading.Thread(target=self._read, name="tprov-guard", daemon=True)
        self.reader.start()

    def send(self, request: dict[str, Any], fds: Sequence[int] = ()) -> None:
        body = json.dumps(request).encode()
        header = len(body).to_bytes(4, "big")
        with self.lock:
            if fds:
                socket.send_fds(self.socket, [header], fds)
                self.socket.sendall(body)
            else:
                self.socket.sendall(header + body)

    def add(self, argv: Sequence[str]) -> Child:
        with self.lock:
            self.count += 1
            child = self.children[self.count] = Child(self, self.count, argv)
        return child

    def leave(self) -> None:
        """Tell the guard that we go; it ends every child and then itself."""
        self.closing = True
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def _read(self) -> None:
        with suppress(OSError), self.socket.makefile("rb") as reports:
            for line in reports:
                self._note(json.loads(line))
        self._lose()

    def _note(self, report: dict[str, Any]) -> None:
        if report["event"] == "crashed":
            self.crash = report["text"]
            return
        child = self.children[report["id"]]
        if report["event"] == "started":
            child.pid = report["pid"]
            child._started.set_result(child.pid)
            return
        del self.children[report["id"]]
        if report["event"] == "refused":
            child._started.set_exception(_refusal(child.argv[0], report))
        else:
            child._exited.set_result(report["returncode"])

    def _lose(self) -> None:
        """The guard ended. If it was killed, Linux killed its children; we kill their groups."""
        self.process.wait()
        self.lost.set()
        self.socket.close()
        started = [child for child in list(self.children.values()) if child.pid]
        until = time.monotonic() + LOST
        while any(_kill_group(child.pid) for child in started) and time.monotonic() < until:
            time.sleep(0.01)  # until their ports and locks are free
        for child in list(self.children.values()):
            if child.pid:
                child._exited.set_result(-signal.SIGKILL)
            else:
                reason = self.crash.strip().splitlines()[-1:] or ["it was killed"]
                error = ToolError(
                    f"The guard ended while it started {child.argv[0]}: {reason[0]}.",
                    remedy="Try again.",
                )
                child._started.set_exception(error)
        self.children.clear()


class Guard:
    """Starts programs that cannot outlive this process; one per owner, safe to use from threads.

    The guard process is started with the first program, and again should it have died (its
    children died with it). It belongs to the process that made it: a fork gets a new one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._closed = False
        _guards.add(self)

    @property
    def pid(self) -> int | None:
        """The guard's process id; None while there is none."""
        connection = self._connection
        return connection.process.pid if connection and not connection.lost.is_set() else None

    def spawn(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        ending: Ending = Ending(),
        exit_file: Path | None = None,
        hold: Sequence[int] = (),
        drain: Sequence[int] = (),
    ) -> Child:
        """Start a program and give it once it runs (a few milliseconds).

        Args:
            argv: The program, found through ``PATH`` of `env` unless it is a path, and arguments.
            cwd: Its working directory.
            env: Exactly its environment.
            stdin: What it reads.
            stdout: Where it writes.
            stderr: Where its messages go.
            ending: How it is ended when this process dies or the guard is closed.
            exit_file: Where the guard writes how it ended (`read_exit_file`), even when this
                process did not live to see it. Removed first.
            hold: Descriptors, a lock's for instance, that the guard keeps open until it and its
                group have ended.
            drain: Read ends of its output pipes: the guard reads them when this process is gone,
                so that a program which may finish its work does not die of a broken pipe.

        Raises:
            ToolError: There is no such program or directory, or it cannot be executed.
        """
        null = os.open(os.devnull, os.O_RDWR)
        try:
            streams = [
                null if s is None else s if isinstance(s, int) else s.fileno()
                for s in (stdin, stdout, stderr)
            ]
            fds = [*streams, *hold, *drain]
            if len(fds) > _guard.MAX_DESCRIPTORS:
                raise ValueError(f"too many descriptors: {len(fds)}")
            request = {
                "op": "spawn",
                "argv": [_find(argv[0], env), *argv[1:]],
                "cwd": os.fspath(cwd),
                "env": dict(env),
                "ending": _triple(ending),
                "exit_file": os.path.abspath(exit_file) if exit_file else None,  # noqa: PTH100
                "drain": len(drain),
            }
            child = self._request(argv, request, fds)
        finally:
            os.close(null)
        try:
            child._started.result(REPLY_TIMEOUT)
        except TimeoutError:
            raise ToolError(
                f"{argv[0]} did not start within {REPLY_TIMEOUT:g} s.",
                remedy="Look whether its disk answers.",
            ) from None
        return child

    def close(self, *, timeout: float = 10.0) -> None:
        """End all children, each by its own `Ending`, all at once; then the guard ends too.

        After `timeout` seconds the guard is left to go on with it by itself. Nothing can be
        spawned afterwards.
        """
        with self._lock:
            self._closed = True
            connection = self._connection
        if connection is not None:
            connection.leave()
            connection.lost.wait(timeout)

    def _request(self, argv: Sequence[str], request: dict[str, Any], fds: Sequence[int]) -> Child:
        with self._lock:
            for attempt in (1, 2):
                if self._closed:
                    raise ToolError(
                        f"{argv[0]} cannot be started: this process is closing.",
                        remedy="Open the services again.",
                    )
                if self._connection is None or self._connection.lost.is_set():
                    self._connection = _Connection()
                connection = self._connection
                child = connection.add(argv)
                try:
                    connection.send({**request, "id": child._number}, fds)
                except OSError:
                    # It died unnoticed, so nothing was started: once more, with a new one.
                    connection.lost.wait(REPLY_TIMEOUT)
                    if attempt == 2:
                        raise
                else:
                    return child
        raise AssertionError("unreachable")

    def _forget(self) -> None:
        """In a forked process: let go of the parent's guard, which would not see it die."""
        if self._connection is not None:
            self._connection.lock = threading.Lock()
            with suppress(OSError):
                os.close(self._connection.socket.detach())  # close() would wait for the reader
        self._connection, self._lock = None, threading.Lock()


_guards: weakref.WeakSet[Guard] = weakref.WeakSet()


def _forget_all() -> None:
    for guard in _guards:
        guard._forget()


os.register_at_fork(after_in_child=_forget_all)


def _kill_group(pid: int) -> bool:
    """Kill a group, and say whether there was anything left of it."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _triple(ending: Ending) -> list[float]:
    return [ending.wait, ending.interrupt, ending.terminate]


def _find(program: str, env: Mapping[str, str]) -> str:
    if "/" in program:
        return program
    if found := shutil.which(program, path=env.get("PATH", os.defpath)):
        return found
    raise ToolError(
        f"{program} cannot be started: it is not on PATH.",
        remedy="Run `tprov doctor`: it says what is missing and how to get it.",
    )


def _refusal(program: str, report: Mapping[str, Any]) -> ToolError:
    if report["directory"]:
        return ToolError(
            f"{program} cannot be started in its directory: {report['text']}.",
            remedy="Look whether the directory is there and may be entered.",
        )
    return ToolError(
        f"{program} cannot be started: {report['text']}.",
        remedy="Run `tprov doctor`: it says what is missing and how to get it.",
    )

"""The resident guard: it starts its owner's programs, and ends them when the owner is gone.

One guard per owner process, started by `process.Guard` as ``python -I -S _guard.py FD`` in a
session of its own. ``FD`` is its end of a Unix stream socket whose other end only the owner
holds: however the owner dies, the kernel closes it and the guard reads the end of the stream.
Every child is then ended as its ``ending`` says. Standard library only, one thread.

Requests are a 4-byte length (with the file descriptors as ancillary data) and that many bytes of
JSON; reports are lines of JSON::

    {"op": "spawn", "id", "argv", "cwd", "env", "ending": [wait, interrupt, terminate],
     "exit_file", "drain"}     descriptors: stdin, stdout, stderr, held ones, to be drained ones
    {"op": "end", "id", "ending"}    {"op": "signal", "id", "signal", "group"}
    {"op": "drain", "id"}
    {"event": "started", "id", "pid"}   {"event": "refused", "id", "errno", "text", "directory"}
    {"event": "exited", "id", "returncode"}   {"event": "crashed", "text"}

If the guard itself is killed with SIGKILL, Linux kills its direct children (PR_SET_PDEATHSIG) and
the owner, who reads the end of the stream, their groups. Not covered: guard and owner killed in
the same instant leave a Terraform's plug-ins behind, and on macOS, which has no such death
signal, the Terraform too.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

MAX_DESCRIPTORS = 64
EMPTYING = 1.0  # seconds to wait for a killed group to be gone
RESET = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)
Prctl = Any  # libc's prctl, or None where there is none


class Child:
    """One started program, its held descriptors, and how far its ending has come."""

    def __init__(self, request: dict[str, Any], fds: list[int]) -> None:
        drained = int(request["drain"])
        self.number: int = request["id"]
        self.ending: list[float] = request["ending"]
        self.exit_file: str | None = request["exit_file"]
        self.held, self.drained = fds[: len(fds) - drained], fds[len(fds) - drained :]
        self.draining = False
        self.pid = 0
        self.started = time.time()
        self.returncode: int | None = None
        self.emptied_by = 0.0
        self.steps: list[tuple[float, int, bool]] = []  # (when, signal, to the whole group)

    def end(self, ending: list[float]) -> None:
        """Plan the steps of an ending; a later request replaces an earlier one's steps."""
        wait, interrupt, terminate = ending
        at = time.monotonic() + wait
        self.steps = []
        if interrupt > 0:
            self.steps.append((at, signal.SIGINT, False))
        if terminate > 0:
            self.steps.append((at + interrupt, signal.SIGTERM, True))
        self.steps.append((at + interrupt + terminate, signal.SIGKILL, True))

    def signal(self, number: int, *, group: bool) -> None:
        """Signal the child, never a stranger who got its number: it is unreaped until here."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if group else os.kill)(self.pid, number)

    def group_is_empty(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # macOS says so of zombies
            return False
        return False


class Guard:
    """The loop: requests, exits, and the steps that are due."""

    def __init__(self, owner: socket.socket, wake: int, prctl: Prctl) -> None:
        self.owner, self.wake, self.prctl = owner, wake, prctl
        self.children: dict[int, Child] = {}  # by pid
        self.leaving = False

    def run(self) -> None:
        while not (self.leaving and not self.children):
            drains = {fd: c for c in self.children.values() if c.draining for fd in c.drained}
            sources = [self.wake, *drains] + ([] if self.leaving else [self.owner.fileno()])
            ready = select.select(sources, [], [], self.patience())[0]
            for fd in ready:
                if fd == self.wake:
                    os.read(fd, 4096)
                elif fd in drains:
                    drain(fd, drains[fd])
                else:
                    self.answer()
            self.collect()
            self.take_steps()
        kill_strays()

    def patience(self) -> float | None:
        """Seconds until the next step is due; None when there is none."""
        due = [c.steps[0][0] - time.monotonic() for c in self.children.values() if c.steps]
        due += [0.01 for c in self.children.values() if c.returncode is not None]
        return max(0.0, min(due)) if due else None

    def answer(self) -> None:
        message = receive(self.owner)
        if message is None:
            self.leave()
            return
        request, fds = message
        if request["op"] == "spawn":
            self.spawn(request, fds)
            return
        child = next((c for c in self.children.values() if c.number == request["id"]), None)
        if child is None:
            return  # it ended meanwhile, and the report is on its way
        if request["op"] == "end":
            child.end(request["ending"])
        elif request["op"] == "signal":
            child.signal(request["signal"], group=request["group"])
        elif request["op"] == "drain":
            child.draining = True

    def leave(self) -> None:
        """The owner is gone, or wants to be: end every child, each in its own way, all at once."""
        self.leaving = True
        for child in self.children.values():
            # A child whose pipe nobody reads would block, or die of SIGPIPE in mid-work.
            child.draining = True
            if not child.steps:
                child.end(child.ending)

    def spawn(self, request: dict[str, Any], fds: list[int]) -> None:
        number, streams = request["id"], fds[:3]
        child = Child(request, fds[3:])
        try:
            if child.exit_file:  # an earlier program's exit must not be taken for this one's
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(child.exit_file)  # noqa: PTH108 (pathlib costs start-up time)
            child.pid = start(request, streams, self.prctl)
        except OSError as error:
            close(fds)
            is_directory = error.filename == request["cwd"]
            self.report(
                "refused", number, errno=error.errno, text=error.strerror, directory=is_directory
            )
            return
        close(streams)
        self.children[child.pid] = child
        self.report("started", number, pid=child.pid)

    def collect(self) -> None:
        """Reap whoever exited, kill what remains of its group, then report it."""
        for pid, status in self.reaped():
            if pid in self.children:
                child = self.children[pid]
                child.returncode = os.waitstatus_to_exitcode(status)
                child.steps, child.emptied_by = [], time.monotonic() + EMPTYING
        for child in [c for c in self.children.values() if c.returncode is not None]:
            if child.group_is_empty() or time.monotonic() > child.emptied_by:
                del self.children[child.pid]
                write_exit_file(child)  # before its locks open: who waits for them reads it
                close(child.held + child.drained)
                self.report("exited", child.number, returncode=child.returncode)

    def reaped(self) -> Iterator[tuple[int, int]]:
        while True:
            try:
                if hasattr(os, "waitid"):
                    # Looked at first: while it is a zombie nobody else can get its number.
                    info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                    if info is None:
                        return
                    self.kill_leftovers(info.si_pid)
                    pid, status = os.waitpid(info.si_pid, 0)
                else:  # macOS before Python 3.13
                    pid, status = os.waitpid(-1, os.WNOHANG)
                    if pid == 0:
                        return
                    self.kill_leftovers(pid)
            except ChildProcessError:
                return
            yield pid, status

    def kill_leftovers(self, pid: int) -> None:
        if pid in self.children:
            self.children[pid].signal(signal.SIGKILL, group=True)

    def take_steps(self) -> None:
        for child in self.children.values():
            while child.steps and child.steps[0][0] <= time.monotonic():
                _, number, group = child.steps.pop(0)
                child.signal(number, group=group)

    def report(self, event: str, number: int, **details: Any) -> None:
        line = json.dumps({"event": event, "id": number, **details}) + "\n"
        with contextlib.suppress(OSError):  # the owner is gone: nobody to tell
            self.owner.sendall(line.encode())


def receive(owner: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Read one request; None when the owner is gone."""
    try:
        header, fds, _, _ = socket.recv_fds(owner, 4, MAX_DESCRIPTORS)
        for fd in fds:
            os.set_inheritable(fd, False)
        wanted, received = 4, header
        while header and len(received) < wanted:
            header = owner.recv(wanted - len(received))
            received += header
        wanted, body = int.from_bytes(received, "big"), b""
        while header and len(body) < wanted:
            header = owner.recv(wanted - len(body))
            body += header
    except ConnectionError:
        return None
    return (json.loads(body), list(fds)) if header else None


def start(request: dict[str, Any], streams: list[int], prctl: Prctl) -> int:
    """Fork and execute; an error before or in exec is raised here, with the file it is about."""
    failed, failing = os.pipe()
    guard = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            if prctl is not None:
                prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG; cleared in what the child forks
                if os.getppid() != guard:
                    os._exit(127)
            os.umask(0o077)
            os.chdir(request["cwd"])
            for target, fd in enumerate(streams):
                os.dup2(fd, target)
            for number in RESET:
                signal.signal(number, signal.SIG_DFL)
            os.execve(request["argv"][0], request["argv"], request["env"])  # noqa: S606
        except OSError as error:
            os.write(failing, json.dumps([error.errno, error.strerror, error.filename]).encode())
        finally:
            os._exit(127)
    os.close(failing)
    with open(failed, "rb") as pipe:  # noqa: PTH123 (a descriptor)
        if text := pipe.read():
            os.waitpid(pid, 0)
            raise OSError(*json.loads(text))
    return pid


def write_exit_file(child: Child) -> None:
    """Tell how it ended, atomically; a disk that is full leaves no file: outcome unknown."""
    if child.exit_file is None:
        return
    times = {"started": child.started, "ended": time.time()}
    record = {"pid": child.pid, "returncode": child.returncode, **times}
    temporary = f"{child.exit_file}.{child.pid}"
    with contextlib.suppress(OSError):
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, json.dumps(record).encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, child.exit_file)  # noqa: PTH105


def drain(fd: int, child: Child) -> None:
    """Throw away what nobody reads any more."""
    with contextlib.suppress(BlockingIOError):
        if not os.read(fd, 1 << 16):
            child.drained.remove(fd)
            os.close(fd)


def kill_strays() -> None:
    """Kill what left its group and was handed to us as the subreaper (Linux)."""
    pid, until = os.getpid(), time.monotonic() + EMPTYING
    with contextlib.suppress(OSError):
        while time.monotonic() < until:
            with open(f"/proc/{pid}/task/{pid}/children") as listing:  # noqa: PTH123
                strays = [int(text) for text in listing.read().split()]
            if not strays:
                return
            for stray in strays:  # each is our own child, a zombie at worst
                os.kill(stray, signal.SIGKILL)
                os.waitpid(stray, 0)  # its own children are handed to us in turn


def close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def load_prctl() -> Prctl:
    """Load libc's prctl, and make this process the one that orphans are handed to (Linux)."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
    return prctl


def main() -> None:
    """Guard until the owner is gone and every child has ended."""
    owner = socket.socket(fileno=int(sys.argv[1]))
    owner.set_inheritable(False)
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    guard = Guard(owner, wake, load_prctl())
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)  # a handler, not SIG_IGN, which children inherit
    signal.signal(signal.SIGTERM, lambda *_: guard.leave())
    try:
        guard.run()
    except Exception:
        import traceback

        for child in guard.children.values():
            child.signal(signal.SIGKILL, group=True)
        guard.report("crashed", 0, text=traceback.format_exc())
        raise


if __name__ == "__main__":
    main()

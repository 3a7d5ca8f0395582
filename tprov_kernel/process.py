"""Every program we run: one async runner, and the environment that it gives.

Nothing outlives its owner: programs are started by one resident guard (`guard.py`), which ends
them when this process dies, however it dies. `run` streams lines, bounds output and time, and
interrupts the process itself before anybody is killed. A child gets exactly the environment that
it is given (`clean_environment`), umask 077, and a session of its own.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from tprov_kernel.errors import ToolError
from tprov_kernel.guard import Child, Ending, ExitRecord, Guard, read_exit_file

__all__ = [
    "GRACE",
    "KEPT_VARIABLES",
    "Child",
    "Completed",
    "Ending",
    "ExitRecord",
    "Guard",
    "clean_environment",
    "read_exit_file",
    "run",
]

GRACE = Ending(interrupt=10.0, terminate=2.0)
"""Ten seconds after SIGINT, two after SIGTERM."""


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A program that ended.

    Attributes:
        returncode: The exit status, negative for the signal that ended it.
        stdout: What it wrote, or its last `max_output` bytes.
        stderr: The same of its messages.
        seconds: How long it took.
        truncated: Something was left out of `stdout` or `stderr`.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes
    seconds: float
    truncated: bool = False


class _Output(asyncio.Protocol):
    """Keeps the tail of one output stream, and hands on its lines while they are wanted."""

    def __init__(self, limit: int, on_line: Callable[[str], None] | None) -> None:
        self.limit = limit
        self.on_line = on_line
        self.kept = bytearray()
        self.total = 0
        self.heard = time.monotonic()
        self.partial = b""
        self.error: BaseException | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.total += len(data)
        self.heard = time.monotonic()
        self.kept += data
        if len(self.kept) > 2 * self.limit:
            del self.kept[: -self.limit]
        if self.on_line is not None:
            *lines, self.partial = (self.partial + data).split(b"\n")
            if len(self.partial) > self.limit:  # a line without end is handed on in pieces
                lines, self.partial = [*lines, self.partial], b""
            for line in lines:
                self._hand_on(line)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.partial:
            self._hand_on(self.partial)
        if not self.ended.done():
            self.ended.set_result(None)

    def _hand_on(self, line: bytes) -> None:
        if self.on_line is None:
            return
        try:
            self.on_line(line.rstrip(b"\r").decode(errors="replace"))
        except Exception as error:
            # The program is not to blame: it goes on, and run() raises this when it ended.
            self.error, self.on_line = error, None

    @property
    def tail(self) -> bytes:
        return bytes(self.kept[-self.limit :])


class _Running:
    """A program with its pipes, from spawn until its outcome is known."""

    def __init__(self, limit: int, on_line: Callable[[str], None] | None) -> None:
        self.stdout = _Output(limit, on_line)
        self.stderr = _Output(limit, None)
        self.transports: list[asyncio.BaseTransport] = []
        self.began = time.monotonic()

    async def start(
        self, guard: Guard, argv: Sequence[str], stdin: bytes, **options: Any
    ) -> asyncio.Task[Completed]:
        """Connect the pipes, spawn, and hand back the task that waits for the outcome."""
        loop = asyncio.get_running_loop()
        theirs: list[int] = []
        drain: list[int] = []
        feed: asyncio.WriteTransport | None = None
        try:
            if stdin:
                reader, writer = os.pipe()
                theirs.append(reader)
                feed, _ = await loop.connect_write_pipe(
                    asyncio.BaseProtocol, os.fdopen(writer, "wb")
                )
                self.transports.append(feed)
            for output in (self.stdout, self.stderr):
                reader, writer = os.pipe()
                theirs.append(writer)
                drain.append(reader)
                await self._read(os.fdopen(reader, "rb", 0), output)
            given, out, err = theirs if stdin else [None, *theirs]
            child = guard.spawn(argv, stdin=given, stdout=out, stderr=err, drain=drain, **options)
        except BaseException:
            self._close()
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        self.child = child
        if feed is not None:
            feed.write(stdin)
            feed.close()  # when all is written
        # No await since the spawn: nobody can be cancelled while nobody knows the child.
        return loop.create_task(self._finish(), name=f"run {argv[0]}")

    async def _read(self, pipe: IO[bytes], output: _Output) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: output, pipe)
        self.transports.append(transport)

    async def _finish(self) -> Completed:
        try:
            returncode = await self.child.wait()
            seconds = time.monotonic() - self.began
            # A stray that left the group may hold the pipes open; what it says is not waited for.
            await asyncio.wait((self.stdout.ended, self.stderr.ended), timeout=1.0)
        except asyncio.CancelledError:
            self.child.drain()  # our loop is going: the guard reads on
            raise
        finally:
            self._close()
        if error := self.stdout.error:
            raise error
        return Completed(
            argv=self.child.argv,
            returncode=returncode,
            stdout=self.stdout.tail,
            stderr=self.stderr.tail,
            seconds=seconds,
            truncated=max(self.stdout.total, self.stderr.total) > self.stdout.limit,
        )

    def _close(self) -> None:
        for transport in self.transports:
            transport.close()


_left: set[asyncio.Task[Completed]] = set()
"""Programs that nobody awaits any more; their output is still read until they end."""


def _leave(outcome: asyncio.Task[Completed]) -> None:
    _left.add(outcome)

    def forget(task: asyncio.Task[Completed]) -> None:
        _left.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that nobody complains: there is nobody to tell

    outcome.add_done_callback(forget)


async def run(
    guard: Guard,
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: bytes = b"",
    on_line: Callable[[str], None] | None = None,
    timeout: float | None = None,
    quiet: float | None = None,
    interrupt: asyncio.Event | None = None,
    kill: asyncio.Event | None = None,
    on_cancel: Literal["interrupt", "leave"] = "leave",
    ending: Ending = GRACE,
    exit_file: Path | None = None,
    hold: Sequence[int] = (),
    max_output: int = 32 << 20,
) -> Completed:
    """Run a program to its end and give what it wrote; any exit status is a result.

    Cancelling the task that awaits this does not touch the program unless `on_cancel` says so: an
    activity is cancelled when the server missed its heartbeats, and a healthy Terraform must
    finish all the same. It then goes on, its output is read, its `exit_file` is written.

    Args:
        guard: Who starts it.
        argv: The program and its arguments.
        cwd: Its working directory.
        env: Exactly its environment.
        stdin: What it reads.
        on_line: Called on this loop with each line of stdout as it arrives, undecodable bytes
            replaced. Should it raise, it is called no more, and the error is raised at the end.
        timeout: Seconds after which the program is ended and a `ToolError` raised.
        quiet: The same of seconds in which it wrote nothing to its stdout.
        interrupt: When set, SIGINT goes to the process itself, then it has `ending`'s grace.
        kill: When set during that grace, SIGKILL goes to the whole group at once.
        on_cancel: Whether cancelling interrupts it (and waits for its end) or leaves it alone.
        ending: Its grace, and how it is ended when this process dies.
        exit_file: Where the guard writes how it ended, see `Guard.spawn`.
        hold: Descriptors the guard keeps open until it has ended.
        max_output: How many bytes of each stream are kept, the last ones.

    Raises:
        ToolError: It cannot be started, did not end within `timeout`, or hung.
    """
    running = _Running(max_output, on_line)
    outcome = await running.start(
        guard, argv, stdin, cwd=cwd, env=env, ending=ending, exit_file=exit_file, hold=hold
    )
    interrupted = asyncio.ensure_future(interrupt.wait()) if interrupt is not None else None
    try:
        awaited: set[asyncio.Future[Any]] = {outcome, interrupted} if interrupted else {outcome}
        late = await _too_late(awaited, running.stdout, timeout, quiet)
        if not outcome.done():
            running.child.end(ending.at_once)
            await _ended_or_killed(outcome, running.child, kill)
    except asyncio.CancelledError:
        _leave(outcome)
        if on_cancel == "interrupt":
            running.child.end(ending.at_once)
            await asyncio.wait({outcome})
        raise
    finally:
        if interrupted:
            interrupted.cancel()
    if late:
        raise ToolError(
            f"{Path(argv[0]).name} {late} and was ended.",
            remedy="Look whether it waits for a network or a disk that does not answer.",
        )
    return outcome.result()


async def _too_late(
    awaited: set[asyncio.Future[Any]],
    stdout: _Output,
    timeout: float | None,
    quiet: float | None,
) -> str:
    """Wait for the first of some; say what it was too late for, empty when it was not."""
    began = time.monotonic()
    while True:
        now = time.monotonic()
        left = [began + timeout - now] if timeout is not None else []
        left += [stdout.heard + quiet - now] if quiet is not None else []
        wait = max(0.0, min(left)) if left else None
        done, _ = await asyncio.wait(awaited, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return ""
        now = time.monotonic()
        if timeout is not None and now >= began + timeout:
            return f"did not end within {timeout:g} s"
        if quiet is not None and now >= stdout.heard + quiet:
            return f"said nothing for {quiet:g} s"


async def _ended_or_killed(
    outcome: asyncio.Task[Completed], child: Child, kill: asyncio.Event | None
) -> None:
    """Wait for the end of a program that was asked to end; make it end when told so."""
    impatient = asyncio.ensure_future(kill.wait() if kill is not None else asyncio.Future())
    try:
        await asyncio.wait({outcome, impatient}, return_when=asyncio.FIRST_COMPLETED)
        if not outcome.done():
            child.kill_group()
            await asyncio.wait({outcome})
    finally:
        impatient.cancel()


KEPT_VARIABLES = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)
"""What programs get of our own environment."""


def clean_environment(
    *, keep: Iterable[str] = KEPT_VARIABLES, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Build a program's environment: the variables in `keep` that are set, and `extra`.

    What steers Terraform or Temporal (``TF_*``, ``TEMPORAL_*``) is never taken over from our own
    environment: it has to be in `extra`.
    """
    kept = (n for n in keep if n in os.environ and not n.startswith(("TF_", "TEMPORAL_")))
    return {**{name: os.environ[name] for name in kept}, **(extra or {})}

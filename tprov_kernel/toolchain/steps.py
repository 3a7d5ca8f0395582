"""Long steps that people can watch: progress, a lock, results that appear whole or not at all.

Standard library only: `tools/bootstrap.py` uses this module before anything is installed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from tprov_kernel.errors import ToolError
from tprov_kernel.files import private_directory
from tprov_kernel.settings import without_keys

Progress = Callable[[str], None]
"""Takes a line for people: ``label … 12 s`` while a step runs, else a sentence."""

NETWORK_WORDS = (
    "error sending request",
    "dns error",
    "connection refused",
    "failed to establish a new connection",
    "max retries exceeded",
    "newconnectionerror",
    "could not find a version",
    "dial tcp",
    "proxyconnect",
    "i/o timeout",
    "no such host",
    "network is unreachable",
    "timed out",
    "certificate",
)
"""How uv, pip and Go say, among much else, that they could not reach what they need."""


class StepFailed(ToolError):
    """A program of a step failed; `output` holds what it said."""

    def __init__(self, message: str, *, remedy: str = "", output: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.output = output


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Runs programs as steps.

    Attributes:
        progress: Is told what is going on, once a second while a program runs.
        logs: The directory for the programs' own output; made when needed.
        again: The command that goes on from where this stopped.
        held: Descriptors of the locks that every program inherits: a lock is free only when the
            last of them has ended, even after this process was killed.
    """

    progress: Progress
    logs: Path
    again: str = "make setup"
    held: tuple[int, ...] = ()

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        label: str,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
        limit: float = 1800,
        sign: tuple[str, float] | None = None,
    ) -> str:
        """Run a program to its end and give what it said.

        Args:
            argv: The program and its arguments.
            label: What it does, as people read it.
            cwd: Its working directory.
            environ: Its environment; None for ours.
            limit: Seconds after which it is ended.
            sign: A text, and the seconds within which its output must contain it; else it is
                ended. For a program whose own patience is too long.

        Raises:
            StepFailed: It failed or was ended; the sentence says why as far as can be told.
        """
        private_directory(self.logs)
        log = self.logs / f"{Path(argv[0]).name}.log"
        started = time.monotonic()
        self.progress(f"{label} …")
        with log.open("wb") as sink:
            child = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=without_keys(os.environ if environ is None else environ),
                # its own group: whatever interrupts us, we are the ones who end all of it
                start_new_session=True,
                pass_fds=self.held,
            )
        try:
            ended_by_us = self._watch(child, label=label, log=log, limit=limit, sign=sign)
        finally:
            end_group(child)
        output = log.read_text(encoding="utf-8", errors="replace")
        if child.returncode or ended_by_us:
            raise self._failure(label, ended_by_us or output, output=output, log=log)
        log.unlink()
        self.progress(f"{label}: done, {time.monotonic() - started:.0f} s")
        return output

    def _watch(
        self,
        child: subprocess.Popen[bytes],
        *,
        label: str,
        log: Path,
        limit: float,
        sign: tuple[str, float] | None,
    ) -> str:
        """Wait for the program; give the reason when it has to be ended, else nothing."""
        started = time.monotonic()
        while True:
            with suppress(subprocess.TimeoutExpired):
                child.wait(timeout=1)
                return ""
            seconds = time.monotonic() - started
            self.progress(f"{label} … {seconds:.0f} s")
            if seconds > limit:
                return f"it timed out after {limit:.0f} s"
            if sign and seconds > sign[1] and sign[0] not in log.read_text(errors="replace"):
                return f"it timed out: nothing useful within {sign[1]:.0f} s"

    def _failure(self, label: str, reason: str, *, output: str, log: Path) -> StepFailed:
        words = reason.lower()
        again = f"then run `{self.again}` again"
        if "no space left" in words or "disk quota" in words:
            what, remedy = "the disk is full", f"Free about 3 GB, {again}"
        elif ("hash" in words and "mismatch" in words) or "checksum mismatch" in words:
            what = "a downloaded file is not the one we pinned"
            remedy = f"Find out what altered it (a proxy, a mirror), {again}"
        elif any(word in words for word in NETWORK_WORDS):
            what = f"what it needs could not be reached ({_telling_line(reason)})"
            remedy = (
                "Connect this machine, or name a mirror (PIP_INDEX_URL or UV_DEFAULT_INDEX for"
                f" Python packages, GOPROXY for Go modules, HTTPS_PROXY for a proxy), {again}"
            )
        else:
            what, remedy = _telling_line(reason), f"Read the whole output, {again}"
        return StepFailed(
            f"{label} failed: {what}.", remedy=f"{remedy}. The output is in {log}.", output=output
        )

    @contextmanager
    def lock(self, path: Path, *, label: str) -> Iterator[Steps]:
        """Do something that only one process may do at a time; waits, and says so, for the other.

        Args:
            path: The lock's file; it stays, and means nothing by being there.
            label: Who may be waited for, as people read it.
        """
        private_directory(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._acquire(descriptor, label=label)
            yield replace(self, held=(*self.held, descriptor))
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int, *, label: str) -> None:
        started = time.monotonic()
        while True:
            with suppress(BlockingIOError):
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.progress(f"Waiting for {label} … {time.monotonic() - started:.0f} s")
            time.sleep(0.2)


def _telling_line(text: str) -> str:
    """Give the line that says most: the innermost cause, else the last error, else the last."""
    lines = [line.strip(" │╵╷\t") for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("hint:")]
    for word in ("cause", "error"):
        found = [line for line in lines if word in line.lower()]
        if found:
            return found[-1].rstrip(".")[:300]
    return lines[-1].rstrip(".")[:300] if lines else "it said nothing"


def end_group(child: subprocess.Popen[bytes]) -> None:
    """End a program that leads its own group, and all that it started."""
    if child.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=5)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@contextmanager
def appearing(place: Path) -> Iterator[Path]:
    """Make a directory that is there either whole or not at all; call it under a lock.

    Yields:
        A temporary directory beside `place`, moved there if the block ends well. What an earlier,
        killed attempt left is removed first.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    for leftover in place.parent.glob(f".{place.name}.*.part"):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".part", dir=place.parent))
    try:
        yield fresh
        fresh.chmod(0o755)
        if place.exists():
            shutil.rmtree(place)
        fresh.rename(place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


class Printer:
    """Shows progress on a stream: one line that moves on a terminal, plain lines elsewhere.

    Elsewhere (a log, CI) a step prints when it starts, every ten seconds, and when it is over.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.clock = clock
        self.terminal = stream.isatty()
        self.label = ""
        self.printed = 0.0

    def __call__(self, line: str) -> None:
        """Show a line; one with ` …` in it is replaced by the next."""
        label, moving, _ = line.partition(" …")
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write(f"\r\x1b[K{line[:width] if moving else line + chr(10)}")
        elif not moving or label != self.label or self.clock() - self.printed >= 9.5:
            self.stream.write(f"{line}\n")
            self.printed = self.clock()
        self.label = label if moving else ""
        self.stream.flush()

    def failed(self, error: ToolError) -> None:
        """Print a failure: the sentence, then the remedy on its own line."""
        start = "\r\x1b[K" if self.terminal else ""
        self.stream.write(f"{start}\n{error.message}\n  {error.remedy}\n")
        self.stream.flush()


def guarded_main(work: Callable[[Printer], None], *, stream: TextIO, again: str) -> int:
    """Run a command's work; turn what people can meet into a sentence and an exit code.

    Returns:
        0, 1 after a failure, 130 after an interrupt (TERM and HUP are treated like Ctrl-C).
    """
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    printer = Printer(stream)
    try:
        work(printer)
    except ToolError as error:
        printer.failed(error)
        return 1
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        printer.failed(
            ToolError(
                f"The set-up was stopped by the file system: {error.strerror}{place}.",
                remedy="Make room or make it writable (TPROV_TOOLS names another directory for the"
                f" tools), then run `{again}` again.",
            )
        )
        return 1
    except KeyboardInterrupt:
        printer.failed(ToolError("Stopped.", remedy=f"`{again}` goes on from here."))
        return 130
    return 0

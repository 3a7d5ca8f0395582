"""Commands as a person types them: real processes, and what is left of them."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.conftest import ROOT
from tprov_kernel.cli import command

TPROV = (sys.executable, "-m", "tprov_kernel.cli")


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """Of stdout."""
        return self.out.splitlines()[-1] if self.out.strip() else ""


@dataclass(frozen=True)
class Terminal:
    """A terminal in a workspace.

    Attributes:
        home: Data of its instance.
        root: The workspace.
    """

    home: Path
    root: Path = ROOT

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What its commands inherit."""
        places = {"TPROV_HOME": str(self.home), "TPROV_ROOT": str(self.root)}
        return {**os.environ, **places, "COLUMNS": "100", **(more or {})}

    def type(self, *words: str, env: Mapping[str, str] | None = None) -> Said:
        """Type a tprov command; it runs in this process, which saves a second of imports."""
        out, err = io.StringIO(), io.StringIO()
        before = dict(os.environ)
        os.environ.update(self.environment(env))
        try:
            with redirect_stdout(out), redirect_stderr(err), _nobody_there():
                code = command(words)
        finally:
            os.environ.clear()
            os.environ.update(before)
        return Said(code, out.getvalue(), err.getvalue())

    def run(
        self, *words: str, env: Mapping[str, str] | None = None, limit: float = 60, stdin: str = ""
    ) -> Said:
        """Type any command and wait for its end, in a process of its own."""
        done = subprocess.run(
            words,
            cwd=self.root,
            env=self.environment(env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def runs(
        self, *words: str, log: Path, env: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A tprov command that runs beside the block; it is killed if it does not end by itself."""
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [*TPROV, *words],
                cwd=self.root,
                env=self.environment(env),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # As on a terminal: a shell's background job ignores Ctrl-C, and hands that down.
                preexec_fn=_hears_ctrl_c,
            )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)


@contextmanager
def _nobody_there() -> Iterator[None]:
    """Nothing to read from, and no terminal."""
    before, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = before


def _hears_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def until_said(log: Path, words: str, *, process: subprocess.Popen[bytes], limit: float) -> str:
    """Wait until a log has these words; give all of it."""
    deadline = time.monotonic() + limit
    while words not in (text := log.read_text(errors="replace")):
        assert process.poll() is None, f"it ended before it said {words!r}:\n{text}"
        assert time.monotonic() < deadline, f"it did not say {words!r} within {limit} s:\n{text}"
        time.sleep(0.05)
    return text


def left_over(mark: Path, *, limit: float = 10) -> list[str]:
    """What `naming` still finds after some seconds."""
    deadline = time.monotonic() + limit
    while (found := naming(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def naming(mark: Path) -> list[str]:
    """Processes that name a path on their command line, or inherited it as `TPROV_HOME`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                continue
            line = " ".join(process.cmdline())
            if str(mark) in f"{line} {process.environ().get('TPROV_HOME', '')}":
                found.append(f"{process.pid} {line[:200]}")
    return found

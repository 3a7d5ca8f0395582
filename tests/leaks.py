"""Looks for canaries: in files, in what was said, in the arguments and environments of processes.

A canary is a secret with a core of letters and digits, which no escaping changes: JSON, HTML and
URL forms are found by it. Its hexadecimal form and base64 at each alignment are looked for besides,
and what is compressed is looked into.
"""

from __future__ import annotations

import base64
import functools
import re
import secrets
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tprov_kernel.toolchain.running import program_of

_COMPRESSED = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08|PK\x03\x04")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{200,}={0,2}")
_UNPACKED = 1 << 22


def canary(name: str, *, odd: bool = False) -> str:
    """A secret of its own; an odd one has characters that every format escapes."""
    core = f"{name}{secrets.token_hex(10)}"
    return f'<"{core}\\&+/é>' if odd else f"canary-{core}"


def core(secret: str) -> bytes:
    """The part of a canary that looks the same in every escaped form."""
    runs: list[str] = re.findall(r"[A-Za-z0-9]+", secret)
    return max(runs, key=len).encode()


@functools.cache
def forms(secret: str) -> tuple[bytes, ...]:
    """What to look for."""
    whole, inner = secret.encode(), core(secret)
    found = [inner, inner.hex().encode(), inner.hex().upper().encode()]
    for text in {whole, inner}:
        for before in range(3):
            first, last = -(-8 * before // 6), 8 * (before + len(text)) // 6
            padded = b"\0" * before + text + b"\0\0"
            found.append(base64.b64encode(padded)[first:last])
            found.append(base64.urlsafe_b64encode(padded)[first:last])
    return tuple(dict.fromkeys(found))


def found_in(data: bytes, canaries: Mapping[str, str], *, depth: int = 2) -> set[str]:
    """Names of the canaries that are in some bytes, in whatever form."""
    found = {n for n, secret in canaries.items() if any(f in data for f in forms(secret))}
    if depth:
        for inner in _inside(data):
            found |= found_in(inner, canaries, depth=depth - 1)
    return found


def _inside(data: bytes) -> Iterator[bytes]:
    """What is compressed, or is a long base64 text, somewhere in the bytes."""
    for match in _COMPRESSED.finditer(data):
        start, window = match.start(), 47
        if match[0] == b"PK\x03\x04" and len(data) > start + 30:
            name, extra = (
                int.from_bytes(data[start + n : start + n + 2], "little") for n in (26, 28)
            )
            start, window = start + 30 + name + extra, -15
        with suppress(zlib.error):
            inner = zlib.decompressobj(window).decompress(data[start:], _UNPACKED)
            if len(inner) > 20:
                yield inner
    for match in _BASE64.finditer(data):
        with suppress(ValueError):
            text = match[0].rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
            yield base64.b64decode(text + b"=" * (-len(text) % 4))


def files_with(
    folder: Path, canaries: Mapping[str, str], *, but: Mapping[str, set[str]]
) -> dict[str, set[str]]:
    """Every file below a folder that holds canaries: its path to their names.

    Args:
        folder: Where to look.
        canaries: Name to secret.
        but: A pattern for paths to the names that may be there.
    """
    hits: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        allowed = {
            n for pattern, names in but.items() if re.fullmatch(pattern, name) for n in names
        }
        if found := found_in(path.read_bytes(), canaries) - allowed:
            hits[name] = found
    return hits


@dataclass
class Processes:
    """What the processes of a family had in their arguments and environments while watched.

    Attributes:
        seen: Words that name a process, and where it was, to canaries.
        names: Every program that was seen.
    """

    canaries: Mapping[str, str]
    seen: dict[str, set[str]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    _known: set[tuple[object, ...]] = field(default_factory=set)

    @contextmanager
    def watched(self, *roots: int) -> Iterator[Processes]:
        """Look at what these processes started, again and again, until the block ends."""
        stop = threading.Event()

        def look() -> None:
            while not stop.wait(0.02):
                for root in roots:
                    with suppress(psutil.Error):
                        for process in psutil.Process(root).children(recursive=True):
                            self.look_at(process)

        thread = threading.Thread(target=look, name="leaks", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join(10)

    def look_at(self, process: psutil.Process) -> None:
        """Note what this process shows."""
        with suppress(psutil.Error, OSError):
            line = process.cmdline()
            one = (process.pid, process.create_time(), *line)
            if not line or one in self._known:  # without one it is about to begin, or to end
                return
            self._known.add(one)
            program = program_of(line)
            if "terraform-provider" in program:
                program = "provider"
            if program.startswith("python"):
                program = " ".join(["python", *line[1:4]])
            self.names.add(program)
            argued = found_in("\0".join(line).encode(), self.canaries, depth=0)
            # As the system tells it: what the process itself made of it does not matter.
            environ = Path(f"/proc/{process.pid}/environ")
            had = environ.read_bytes() if environ.exists() else str(process.environ()).encode()
            inherited = found_in(had, self.canaries, depth=0)
            for where, names in (("arguments", argued), ("environment", inherited)):
                if names:
                    self.seen.setdefault(f"{where} of {program}", set()).update(names)

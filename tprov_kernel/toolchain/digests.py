"""What programs are, by their contents: a version is only what a program says of itself."""

from __future__ import annotations

import hashlib
import os
import shlex
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

MAX_SCRIPT = 100_000
"""Bytes of a script that is read for what it starts."""

LIBRARIES = frozenset({".so", ".dylib", ".py"})
"""Suffixes of what a script starts though it is not executable: the wheel's Terraform is one."""


def programs_digest(*programs: Path) -> str:
    """Give one digest over programs, and over what they start if they are scripts.

    What a script starts are the programs and libraries that it names by an absolute path. A version
    manager's shim names none: of what it chooses only the version is known (`as_it_is_now`).

    A file is read once; while its inode, times and size stay, its digest is remembered in this
    process. Never raises: a program that is not there is another one than the one that was.

    Returns:
        SHA-256, hex.
    """
    digests: list[str] = []
    seen: set[Path] = set()
    ahead = list(reversed(programs))
    while ahead:
        path = ahead.pop()
        try:
            real = path.resolve()
            status = real.stat()
            if real in seen:
                continue
            seen.add(real)
            times = (status.st_mtime_ns, status.st_ctime_ns)
            digest, starts = _read(real, status.st_ino, times, status.st_size)
        except OSError as error:
            digests.append(f"cannot be read: {error.errno}")
            continue
        digests.append(digest)
        ahead += reversed(starts)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


@lru_cache(maxsize=64)
def _read(
    path: Path, inode: int, times: tuple[int, int], size: int
) -> tuple[str, tuple[Path, ...]]:
    """Give a file's digest, and what it starts; all arguments together say which file it is."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        script = file.read(MAX_SCRIPT) if file.read(2) == b"#!" else b""
    return digest, tuple(_named_in(script.decode(errors="replace")))


def _named_in(script: str) -> list[Path]:
    """The programs and libraries that a script names by an absolute path."""
    found: list[Path] = []
    for line in script.splitlines():
        with suppress(ValueError):  # a quotation that goes on in the next line
            for word in shlex.split(line, comments=True):
                path = Path(word.rpartition("=")[2])
                if path.is_absolute() and path.is_file() and _is_run(path):
                    found.append(path)
    return found


def _is_run(path: Path) -> bool:
    return path.suffix in LIBRARIES or os.access(path, os.X_OK)

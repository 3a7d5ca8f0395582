"""Files that only their owner may read, whole or not at all where somebody else reads them too."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tprov_kernel.errors import StorageError, TooLarge

_WHY = {
    errno.ENOSPC: ("the disk is full", "Free some space."),
    errno.EDQUOT: ("your quota is used up", "Free some space."),
    errno.EFBIG: ("no file may grow that large here", "Raise the limit: `ulimit -f` shows it."),
    errno.EROFS: ("the disk is read-only", "Use a place elsewhere."),
    errno.EACCES: ("it is not yours to use", "Give yourself the right, or use another place."),
    errno.EPERM: ("it is not yours to use", "Give yourself the right, or use another place."),
    errno.EISDIR: ("it is a directory", "Name a file."),
    errno.ENOTDIR: ("a file is in its way", "Use another place."),
    errno.EEXIST: ("a file is in its way", "Use another place."),
    errno.ENOENT: ("there is no such place", "Make its directory first."),
}


MAX_FILES = 10_000
"""Files below a directory that is read whole; a link to `/` has more, and is found out early."""


def walk(directory: Path, *, skip: Callable[[str], bool]) -> Iterator[Path]:
    """Every file below a directory, through links to directories too, each under the link's name.

    A link that leads back to a directory it lies in is not entered again: its content is there
    already. A link to nowhere is among the files; see `leads_nowhere`.

    Args:
        directory: Where to begin.
        skip: Whether a file or directory of this name is left out.

    Raises:
        OSError: A directory cannot be read.
        TooLarge: There are more than `MAX_FILES`.
    """
    for count, file in enumerate(_below(directory, skip, (directory.resolve(),)), 1):
        if count > MAX_FILES:
            raise TooLarge(
                f"{directory} holds more than {MAX_FILES} files, links followed.",
                remedy="Move what is not needed out of it; look for a link to a large directory.",
            )
        yield file


def _below(directory: Path, skip: Callable[[str], bool], above: tuple[Path, ...]) -> Iterator[Path]:
    for entry in sorted(directory.iterdir()):
        if skip(entry.name):
            continue
        if entry.is_dir():
            real = entry.resolve()
            if real not in above:
                yield from _below(entry, skip, (*above, real))
        elif entry.is_file() or entry.is_symlink():
            yield entry


def leads_nowhere(file: Path) -> bool:
    """Whether it is a link to nothing; a hidden one is an editor's lock, and does not count."""
    return file.is_symlink() and not file.exists() and not file.name.startswith(".")


def storage_error(error: OSError, path: Path | str | None = None) -> StorageError:
    """The sentence for a disk or a file that does not do what is asked of it.

    Args:
        error: What the system said.
        path: What it is about; the error's own file unless given.
    """
    named = path or error.filename
    place = os.fspath(named) if isinstance(named, (str, Path)) else "a file"
    usual = (error.strerror or str(error), "Look whether the disk is well.")
    why, remedy = _WHY.get(error.errno or 0, usual)
    return StorageError(f"{place} cannot be used: {why}.", remedy=remedy)


@contextmanager
def using(path: Path) -> Iterator[None]:
    """Turn the troubles with a file into a sentence about it.

    Raises:
        StorageError: In place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def private_directory(path: Path) -> None:
    """Make a directory of mode 0700, and so those above it that are missing.

    With `parents=True`, `mkdir` gives its mode to the last one only.
    """
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600, in place of the one that may be there.

    Raises:
        StorageError: It cannot be written.
    """
    with using(path):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)


def replace_private(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file so that whoever reads it meanwhile has all of it, or all of the former one.

    Does nothing when the file says so already.
    """
    if path.exists() and path.read_bytes() == content:
        return
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(draft).chmod(mode)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise

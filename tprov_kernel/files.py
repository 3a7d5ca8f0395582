"""Files that only their owner may read, whole or not at all where somebody else reads them too."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tprov_kernel.errors import StorageError

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

"""A key ring as a JSON document; its file has mode 0600 and is replaced as a whole under a lock."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tprov_kernel.errors import SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_ID = re.compile(r"k[0-9a-f]{12}")

Version = tuple[int, int, int]
"""What tells one version of the file from another: inode, modification time, size."""


@dataclass(frozen=True)
class Keys:
    """What one version of the file says; swapped as a whole, so readers need no lock."""

    active: str
    keys: Mapping[str, bytes] = field(repr=False)
    created: Mapping[str, str]
    mac_key: bytes = field(repr=False)
    ciphers: dict[str, AESGCM] = field(default_factory=dict, repr=False)

    def cipher(self, key_id: str) -> AESGCM | None:
        """The cipher of one key; None for a key that is not here."""
        found = self.ciphers.get(key_id)
        if found is None and key_id in self.keys:
            # Imported here: whoever only asks for a digest or a path does not pay for OpenSSL.
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            found = self.ciphers[key_id] = AESGCM(self.keys[key_id])
        return found

    def with_new_key(self) -> Keys:
        """The same keys and a new one, which is active. Ids are random: they tell nothing."""
        key_id = f"k{secrets.token_hex(6)}"
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Keys(
            active=key_id,
            keys={**self.keys, key_id: secrets.token_bytes(32)},
            created={**self.created, key_id: now},
            mac_key=self.mac_key,
        )

    def without(self, key_id: str) -> Keys:
        """The same keys but one, which is not the active one."""
        return Keys(
            active=self.active,
            keys={k: key for k, key in self.keys.items() if k != key_id},
            created={k: at for k, at in self.created.items() if k != key_id},
            mac_key=self.mac_key,
        )

    def besides(self, others: Keys) -> Keys:
        """The same keys, and those of another ring for reading."""
        return Keys(
            active=self.active,
            keys={**others.keys, **self.keys},
            created={**others.created, **self.created},
            mac_key=self.mac_key,
        )


NONE = Keys(active="", keys={}, created={}, mac_key=b"")
"""Of a key ring that is not there yet."""


def fresh() -> Keys:
    """Generate a MAC key and a first key."""
    empty = Keys(active="", keys={}, created={}, mac_key=secrets.token_bytes(32))
    return empty.with_new_key()


def version_of(of: os.stat_result) -> Version:
    """Tell this version of the file from any other."""
    return of.st_ino, of.st_mtime_ns, of.st_size


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's lock; wait for it at most ten seconds."""
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(path.name + ".lock"), timeout=10, mode=0o600)
    try:
        with lock:
            yield
    except Timeout as error:
        raise SettingsError(
            f"Another process has held the lock of the key ring {path} for ten seconds.",
            remedy="Look for a tprov that hangs, and end it.",
        ) from error
    except OSError as error:
        raise unwritable(path, error) from error


def document_of(keys: Keys) -> dict[str, Any]:
    """What a key ring's file holds, as JSON has it. It is secret."""
    return {
        "format": 1,
        "active": keys.active,
        "keys": {
            key_id: {"key": base64.b64encode(key).decode(), "created": keys.created[key_id]}
            for key_id, key in keys.keys.items()
        },
        "mac_key": base64.b64encode(keys.mac_key).decode(),
    }


def write(path: Path, keys: Keys) -> None:
    """Write the file as a whole or not at all; a key that is lost is a run that is lost."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(document_of(keys), file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def read(path: Path) -> tuple[Keys, Version]:
    """Read the file; a `SettingsError` says what is wrong with it."""
    try:
        with path.open(encoding="utf-8") as file:
            of = os.fstat(file.fileno())
            if stat.S_IMODE(of.st_mode) & 0o077:
                raise SettingsError(
                    f"Others may read the key ring {path} (mode {stat.S_IMODE(of.st_mode):o}).",
                    remedy=f"Run `chmod 600 {path}`, then `tprov keys rotate`.",
                )
            document = json.load(file)
    except FileNotFoundError as error:
        raise missing(path) from error
    except (OSError, ValueError) as error:
        raise _unusable(path) from error
    try:
        return _parse(document), version_of(of)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unusable(path) from error


def parse(document: Mapping[str, Any] | str | bytes, *, name: str, remedy: str) -> Keys:
    """Read the same document from somewhere else; what is wrong with it never quotes it.

    Args:
        document: It, or its JSON.
        name: What people call it.
        remedy: What to do when it is none.

    Raises:
        SettingsError: It is no key ring.
    """
    try:
        return _parse(json.loads(document) if isinstance(document, str | bytes) else document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # Not "from error": that of the JSON module holds the whole text.
        raise SettingsError(f"{name} is no key ring.", remedy=remedy) from None


def is_key_id(text: str) -> bool:
    """Whether a key of ours may have this id."""
    return _KEY_ID.fullmatch(text) is not None


def _parse(document: Any) -> Keys:
    keys = {k: _key(entry["key"]) for k, entry in document["keys"].items()}
    if document["format"] != 1 or document["active"] not in keys:
        raise ValueError("another format, or no active key")
    if not all(_KEY_ID.fullmatch(key_id) for key_id in keys):
        raise ValueError("not a key id")
    created = {k: str(entry["created"]) for k, entry in document["keys"].items()}
    return Keys(
        active=document["active"],
        keys=keys,
        created=created,
        mac_key=_key(document["mac_key"]),
    )


def _key(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != 32:
        raise ValueError("a key has 32 bytes")
    return key


def missing(path: Path) -> SettingsError:
    """The sentence for a key ring that somebody should have made."""
    return SettingsError(
        f"There is no key ring at {path}.",
        remedy="Start the services once (`tprov up`): they make one. Or set TPROV_KEYS.",
    )


def gone(path: Path) -> SettingsError:
    """The sentence for a key ring that was there, and that a new one must not hide."""
    return SettingsError(
        f"There is no key ring at {path}, and what is in {path.parent} was encrypted with one: a"
        " new one could not read it.",
        remedy="Put its copy back, or set TPROV_KEYS. If nothing of it is needed any more, `tprov"
        f" reset` begins anew; with the remote target, move {path.parent} away.",
    )


def _unusable(path: Path) -> SettingsError:
    return SettingsError(
        f"The file {path} is no key ring.",
        remedy="Put the right one back; without it, what it encrypted cannot be read again.",
    )


def unwritable(path: Path, error: OSError) -> SettingsError:
    """The sentence for a folder that takes no key ring."""
    return SettingsError(
        f"The key ring {path} cannot be written: {error.strerror}.",
        remedy="Make the folder writable, or set TPROV_HOME to one that is.",
    )

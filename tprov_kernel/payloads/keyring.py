"""The keys of a workspace: several AES-256 keys of which one is active, and one for digests.

They are generated, never shipped, and live in one JSON file of mode 0600. A `KeyRing` notices when
another process rotated or dropped a key: it looks whether the file is another one at every use,
which takes about a microsecond. The MAC key is never rotated, so that digests stay comparable.

Every value is encrypted with AES-256-GCM under a fresh random nonce. What it is for, and its key's
id, are authenticated, so a value sealed for one purpose does not open as another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import zlib
from pathlib import Path
from typing import NamedTuple

from tprov_kernel.errors import SealBroken, SettingsError, TooLarge
from tprov_kernel.payloads import keyfile
from tprov_kernel.payloads.keyfile import Keys, Version

MAX_UNSEALED = 64 * 1024 * 1024
"""Bytes that a sealed value may unpack to; also the most that `KeyRing.seal` takes."""

_NONCE = 12
_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}")
_SEALED = re.compile(r"tprov1\.(?P<kind>[a-z0-9-]{1,32})\.(?P<key_id>[a-z0-9]{1,32})\.")
_LOST = "Put back the key ring that holds it (a copy of keys.json), or let the value be made again."


class Box(NamedTuple):
    """An encrypted value: the key it needs, its nonce, and AES-256-GCM's output."""

    key_id: str
    nonce: bytes
    data: bytes


class KeyRing:
    """Seals, opens, and makes digests with the keys of one workspace.

    Made by `KeyRing.load_or_create`, `KeyRing.load` or, without a file, `KeyRing.in_memory`. Safe
    to use from several threads.
    """

    def __init__(
        self, keys: Keys, *, path: Path | None = None, version: Version | None = None
    ) -> None:
        self._keys = keys
        self._path = path
        self._version = version

    def __repr__(self) -> str:
        return f"KeyRing(path={self._path}, active={self._keys.active!r})"

    # --- where keys come from ----------------------------------------------------------------

    @classmethod
    def in_memory(cls) -> KeyRing:
        """Make a key ring that no file holds: its values cannot be read by anybody else."""
        return cls(keyfile.fresh())

    @classmethod
    def load_or_create(cls, path: Path) -> KeyRing:
        """Load the key ring, or generate it; of two processes at once, one generates.

        Raises:
            SettingsError: The file cannot be written, or is there and is no private key ring.
        """
        if not path.exists():
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise keyfile.unwritable(path, error) from error
            with keyfile.locked(path):
                if not path.exists():
                    keyfile.write(path, keyfile.fresh())
        return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        """Load an existing key ring.

        Raises:
            SettingsError: There is none, others may read it, or it is no key ring.
        """
        keys, version = keyfile.read(path)
        return cls(keys, path=path, version=version)

    def rotate(self) -> str:
        """Generate a new key, make it the active one, keep the old ones; give the new key's id.

        Raises:
            SettingsError: The file cannot be read or written.
        """
        if self._path is None:
            self._keys = self._keys.with_new_key()
            return self._keys.active
        with keyfile.locked(self._path):
            keys, _ = keyfile.read(self._path)
            keyfile.write(self._path, keys.with_new_key())
            self._keys, self._version = keyfile.read(self._path)
        return self._keys.active

    def drop(self, key_id: str) -> None:
        """Forget a key for good: what it encrypted cannot be read again.

        Asks nobody who needs it: `tprov_kernel.keys.drop` does.

        Raises:
            SettingsError: There is no such key, it is the active one, or the file cannot be
                written.
        """
        if self._path is None:
            self.check_may_go(key_id)
            self._keys = self._keys.without(key_id)
            return
        with keyfile.locked(self._path):
            self._keys, _ = keyfile.read(self._path)
            self.check_may_go(key_id)
            keyfile.write(self._path, self._keys.without(key_id))
            self._keys, self._version = keyfile.read(self._path)

    def check_may_go(self, key_id: str) -> None:
        """Refuse to drop the active key, and one that is not there.

        Raises:
            SettingsError: It is either.
        """
        keys = self._keys
        if key_id not in keys.keys:
            raise SettingsError(
                f"The key ring holds no key {key_id[:40]!r}.",
                remedy="`tprov keys list` shows those that it holds.",
            )
        if key_id == keys.active:
            raise SettingsError(
                f"{key_id} is the active key: what is encrypted now is encrypted with it.",
                remedy="Run `tprov keys rotate` first.",
            )

    def refresh(self) -> None:
        """Read the file again if it changed; one that is gone or broken changes nothing."""
        if self._path is None:
            return
        try:
            if keyfile.version_of(self._path.stat()) != self._version:
                self._keys, self._version = keyfile.read(self._path)
        except (OSError, SettingsError):
            return

    @property
    def path(self) -> Path | None:
        """The file; None for a key ring in memory."""
        return self._path

    @property
    def active(self) -> str:
        """The id of the key that new values are sealed with."""
        return self._keys.active

    @property
    def created(self) -> dict[str, str]:
        """Each key's id and when it was made (RFC 3339), the oldest first."""
        return dict(self._keys.created)

    # --- sealing -----------------------------------------------------------------------------

    def seal(self, data: bytes, *, kind: str) -> str:
        """Compress, encrypt and authenticate; takes about 6 ms a MB, so call it off an event loop.

        Args:
            data: What to seal.
            kind: What it is, e.g. ``plan``; needed again to open it.

        Raises:
            TooLarge: More than `MAX_UNSEALED` bytes.
        """
        if not _KIND.fullmatch(kind):
            raise ValueError(f"a kind is lower-case letters, digits and dashes, not {kind!r}")
        if len(data) > MAX_UNSEALED:
            raise TooLarge(
                f"The {kind} has {len(data):,} bytes; at most {MAX_UNSEALED:,} can be sealed.",
                remedy="Make it smaller.",
            )
        box = self.encrypt(zlib.compress(data, 1), about=_about(kind))
        return f"tprov1.{kind}.{box.key_id}.{base64.b64encode(box.nonce + box.data).decode()}"

    def unseal(self, text: str, *, kind: str) -> bytes:
        """Open what `seal` made.

        Raises:
            SealBroken: It is no sealed value, was changed, is of another kind, was sealed with a
                key that is not here, or unpacks to more than `MAX_UNSEALED` bytes.
        """
        head = _SEALED.match(text)
        if head is None:
            raise SealBroken("This is no sealed value.", remedy="Let it be made again.")
        if head["kind"] != kind:
            raise SealBroken(
                f"The value was sealed as a {head['kind']}, and cannot be opened as a {kind}.",
                remedy="Hand in the value that belongs here.",
            )
        try:
            raw = base64.b64decode(text[head.end() :], validate=True)
        except (binascii.Error, ValueError) as error:
            raise _changed(kind) from error
        box = Box(head["key_id"], raw[:_NONCE], raw[_NONCE:])
        return _decompress(self.decrypt(box, about=_about(kind), name=kind), kind)

    def mac(self, data: bytes) -> str:
        """HMAC-SHA-256 of data, hex; the same before and after a rotation."""
        return hmac.new(self._keys.mac_key, data, hashlib.sha256).hexdigest()

    # --- the primitives, which the codec uses too ----------------------------------------------

    def encrypt(self, data: bytes, *, about: bytes) -> Box:
        """Encrypt with the active key.

        Args:
            data: The clear text.
            about: Authenticated besides, with the key's id; needed again to decrypt.
        """
        self.refresh()
        keys = self._keys
        cipher = keys.cipher(keys.active)
        assert cipher is not None, "a key ring holds its active key"
        nonce = os.urandom(_NONCE)
        data = cipher.encrypt(nonce, data, _bound(about, keys.active))
        return Box(keys.active, nonce, data)

    def decrypt(self, box: Box, *, about: bytes, name: str = "value") -> bytes:
        """Decrypt.

        Raises:
            SealBroken: The key is not here, or box, key id or `about` are not what they were.
        """
        from cryptography.exceptions import InvalidTag

        self.refresh()
        cipher = self._keys.cipher(box.key_id)
        if cipher is None:
            raise SealBroken(
                f"The {name} was encrypted with the key {box.key_id[:40]!r},"
                " which the key ring lacks.",
                remedy=_LOST,
            )
        try:
            return cipher.decrypt(box.nonce, box.data, _bound(about, box.key_id))
        except (InvalidTag, ValueError) as error:  # ValueError: too short to be a box
            raise _changed(name) from error


def _about(kind: str) -> bytes:
    return b"seal\0" + kind.encode()


def _bound(about: bytes, key_id: str) -> bytes:
    # A key id holds no NUL (it is in the key ring, or was just generated): no two pairs collide.
    return b"tprov1\0" + key_id.encode() + b"\0" + about


def _changed(name: str) -> SealBroken:
    return SealBroken(
        f"The {name} was changed, or was encrypted with another key of the same name.",
        remedy="Let it be made again.",
    )


def _decompress(packed: bytes, kind: str) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, MAX_UNSEALED)
    except zlib.error as error:
        raise _changed(kind) from error
    if not unpacker.eof:
        raise SealBroken(f"The {kind} unpacks to more than {MAX_UNSEALED:,} bytes.")
    return data

"""The keys of a workspace: several AES-256 keys of which one is active, and one for digests.

They are generated, never shipped, and live in one JSON file of mode 0600, in a variable, or with a
function that somebody hands in (`keysource.py`). A `KeyRing` notices when another process rotated
or dropped a key of the file: it looks whether the file is another one at every use, which takes
about a microsecond. The MAC key is never rotated, so that digests stay comparable.

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
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tprov_kernel.errors import SealBroken, SettingsError, TooLarge
from tprov_kernel.payloads import keyfile
from tprov_kernel.payloads.keyfile import Keys
from tprov_kernel.payloads.keysource import (
    DROP,
    ROTATE,
    AskForKeys,
    File,
    Function,
    KeySource,
    find_source,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAX_UNSEALED = 64 * 1024 * 1024
"""Bytes that a sealed value may unpack to; also the most that `KeyRing.seal` takes."""

_NONCE = 12
_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}")
_SEALED = re.compile(r"tprov1\.(?P<kind>[a-z0-9-]{1,32})\.(?P<key_id>[a-z0-9]{1,32})\.")
_LOST = (
    "Put back the key ring that holds it (a copy of keys.json, or TPROV_KEYS), or let the value be"
    " made again."
)
_NONE = "Bring the one of the worker here (a copy of its keys.json), or set TPROV_KEYS."


class Box(NamedTuple):
    """An encrypted value: the key it needs, its nonce, and AES-256-GCM's output."""

    key_id: str
    nonce: bytes
    data: bytes


class KeyRing:
    """Seals, opens, and makes digests with the keys of one workspace.

    Made by `KeyRing.find`; by `KeyRing.load_or_create` or `KeyRing.load` from a file; without one
    by `KeyRing.in_memory`. Safe to use from several threads.
    """

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._keys = source.read()

    def __repr__(self) -> str:
        return f"KeyRing({self.name}, active={self._keys.active!r})"

    # --- where keys come from ----------------------------------------------------------------

    @classmethod
    def find(
        cls,
        path: Path,
        *,
        environ: Mapping[str, str] | None = None,
        function: AskForKeys | None = None,
    ) -> KeyRing:
        """The key ring of an instance: a function's, that of `TPROV_KEYS`, else its file's.

        A file that is not there is made when something is encrypted, and not for who only looks.

        Args:
            path: The instance's file.
            environ: The environment whose `TPROV_KEYS` counts; None for ours.
            function: Gives the document of a keys.json. It is called here, and again when a
                payload names a key that is not among its keys.

        Raises:
            SettingsError: Two of them contradict each other, or what one holds is no key ring.
        """
        return cls(find_source(path, environ=environ, function=function))

    @classmethod
    def in_memory(cls) -> KeyRing:
        """Make a key ring that no file holds: its values cannot be read by anybody else."""
        return cls(KeySource(keyfile.fresh()))

    @classmethod
    def load_or_create(cls, path: Path) -> KeyRing:
        """Load the key ring, or generate it; of two processes at once, one generates.

        Raises:
            SettingsError: The file cannot be written, or is there and is no private key ring.
        """
        ring = cls(File(path))
        ring.make()
        return ring

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        """Load an existing key ring.

        Raises:
            SettingsError: There is none, others may read it, or it is no key ring.
        """
        ring = cls(File(path))
        ring.check_exists()
        return ring

    def make(self) -> Keys:
        """Generate a first key where there is none yet; give the keys.

        Raises:
            SettingsError: The file cannot be written, or is lost.
        """
        if not self._keys.active:
            self._keys = self._source.make()
        return self._keys

    def check_may_be_made(self) -> None:
        """Refuse a key ring that is lost; one that is there, or was never, is fine.

        Raises:
            SettingsError: It is lost.
        """
        if not self._keys.active:
            self._source.check_may_be_made()

    def check_exists(self) -> None:
        """Refuse a key ring that is not there yet.

        Raises:
            SettingsError: It is not.
        """
        if not self._keys.active and self.path is not None:
            raise keyfile.missing(self.path)

    def rotate(self) -> str:
        """Generate a new key, make it the active one, keep the old ones; give the new key's id.

        Raises:
            SettingsError: The keys are not ours to write, or their file cannot be.
        """
        self.check_is_ours(ROTATE)
        self._keys = self._source.change(Keys.with_new_key)
        return self._keys.active

    def with_new_key(self) -> Keys:
        """What a rotation would make of these keys, to be kept elsewhere; nothing is changed."""
        return self._keys.with_new_key() if self._keys.active else keyfile.fresh()

    def drop(self, key_id: str) -> None:
        """Forget a key for good: what it encrypted cannot be read again.

        Asks nobody who needs it: `tprov_kernel.keys.drop` does.

        Raises:
            SettingsError: There is no such key, it is the active one, or the keys are not ours to
                write.
        """

        def without(keys: Keys) -> Keys:
            self._keys = keys
            self.check_may_go(key_id)
            return keys.without(key_id)

        self.check_is_ours(DROP)
        self._keys = self._source.change(without)

    def check_is_ours(self, doing: str) -> None:
        """Refuse to write keys that come from a variable or a function.

        Args:
            doing: `keysource.ROTATE` or `keysource.DROP`.

        Raises:
            SettingsError: They do.
        """
        self._source.check_is_ours(doing)

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
        if (keys := self._source.renewed()) is not None:
            self._keys = keys

    def may_take_time(self, key_ids: Iterable[str]) -> bool:
        """Whether opening what was encrypted with these keys may have to wait for an answer."""
        return self._source.takes_time and any(k not in self._keys.keys for k in key_ids)

    @property
    def path(self) -> Path | None:
        """The file; None for a key ring that comes from elsewhere."""
        return self._source.path

    @property
    def is_function(self) -> bool:
        """Whether the keys come from a function of this process."""
        return isinstance(self._source, Function)

    @property
    def name(self) -> str:
        """Where the keys come from, in words: the file's path, ``TPROV_KEYS``."""
        return self._source.name

    @property
    def active(self) -> str:
        """The id of the key that new values are sealed with; empty where there is none yet."""
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
        self.refresh()
        return hmac.new(self.make().mac_key, data, hashlib.sha256).hexdigest()

    # --- the primitives, which the codec uses too ----------------------------------------------

    def encrypt(self, data: bytes, *, about: bytes) -> Box:
        """Encrypt with the active key.

        Args:
            data: The clear text.
            about: Authenticated besides, with the key's id; needed again to decrypt.
        """
        self.refresh()
        keys = self.make()
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
        cipher = self._keys.cipher(box.key_id) or self._looked_for(box.key_id)
        if cipher is None:
            raise self._lacks(box.key_id[:40], name)
        try:
            return cipher.decrypt(box.nonce, box.data, _bound(about, box.key_id))
        except (InvalidTag, ValueError) as error:  # ValueError: too short to be a box
            raise _changed(name) from error

    def _looked_for(self, key_id: str) -> AESGCM | None:
        """The cipher of a key that may have come to the keys meanwhile, elsewhere."""
        if (keys := self._source.look_for(key_id)) is None:
            return None
        self._keys = keys
        return keys.cipher(key_id)

    def _lacks(self, key_id: str, name: str) -> SealBroken:
        what = f"The {name} was encrypted with the key {key_id!r},"
        if self._keys.active:
            return SealBroken(f"{what} which the key ring lacks.", remedy=_LOST)
        return SealBroken(f"{what} and there is no key ring at {self.name}.", remedy=_NONE)


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

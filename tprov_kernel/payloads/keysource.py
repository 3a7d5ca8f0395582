"""Where a key ring's keys come from.

    File        keys.json: made when a first key is needed, looked at at every use
    Variable    TPROV_KEYS: read once, as an environment is; not ours to write
    Function    handed in, for a KMS: called once, and again when a payload names a key that is not
                here, for it was rotated elsewhere; not ours to write

All hold the same document, that of keys.json. `find_source` chooses; two that contradict each other
are refused by name.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tprov_kernel.errors import SettingsError
from tprov_kernel.files import private_directory
from tprov_kernel.payloads import keyfile
from tprov_kernel.payloads.keyfile import Keys, Version
from tprov_kernel.settings import KEYS_VARIABLE

AskForKeys = Callable[[], Mapping[str, Any] | str | bytes]
"""Gives the document of a keys.json, as a mapping or as JSON; may take its time, and may fail."""

ASK_AGAIN = 5.0
"""Seconds before a function is asked again for the same key in vain."""

IN_VAIN = 10
"""Unknown keys for which a function is asked in that time: a stranger can name many."""

ROTATE, DROP = "rotate it", "drop a key"

_INSTEAD = {
    ROTATE: "`tprov keys new` prints it with a new active key besides: put that",
    DROP: "`tprov keys list` shows who needs which: take one out",
}


class KeySource:
    """Keys that nothing holds but this process, and what a `KeyRing` needs of any others.

    Attributes:
        name: What people call it: a file's path, a variable.
        path: The file; None for all others.
        takes_time: Whether `look_for` may take longer than an event loop should wait.
    """

    path: Path | None = None
    takes_time = False

    def __init__(self, keys: Keys, *, name: str = "memory") -> None:
        self.name = name
        self._keys = keys

    def read(self) -> Keys:
        """The keys; none where there is no key ring yet.

        Raises:
            SettingsError: What is there is no key ring.
        """
        return self._keys

    def renewed(self) -> Keys | None:
        """The keys if they are others than last time; asked at every use, so it is cheap."""
        return None

    def look_for(self, key_id: str) -> Keys | None:
        """The keys if this one may have come to them."""
        return None

    def check_may_be_made(self) -> None:
        """Refuse to generate a first key where there was one.

        Raises:
            SettingsError: There was.
        """

    def make(self) -> Keys:
        """Generate a first key, because one is needed.

        Raises:
            SettingsError: It cannot be kept.
        """
        return self._keys

    def check_is_ours(self, doing: str) -> None:
        """Refuse to `ROTATE` or `DROP` what is not ours to write.

        Raises:
            SettingsError: It is not; the remedy is where it comes from.
        """

    def change(self, how: Callable[[Keys], Keys]) -> Keys:
        """Keep other keys in place of these.

        Raises:
            SettingsError: They cannot be written.
        """
        self._keys = how(self._keys)
        return self._keys


class File(KeySource):
    """A file of ours. Another process may rotate or make it: each use looks, which takes 1 µs."""

    def __init__(self, path: Path) -> None:
        super().__init__(keyfile.NONE, name=str(path))
        self.path: Path = path
        self._version: Version | None = None

    def read(self) -> Keys:
        """What it holds, if it is there."""
        if self.path.exists():
            self._keys, self._version = keyfile.read(self.path)
        return self._keys

    def renewed(self) -> Keys | None:
        """One that is gone or broken changes nothing, and another ring only adds to ours."""
        try:
            if keyfile.version_of(self.path.stat()) == self._version:
                return None
            found, self._version = keyfile.read(self.path)
        except (OSError, SettingsError):
            return None
        self._keys = self._keys.besides(found) if self._is_another(found) else found
        return self._keys

    def _is_another(self, found: Keys) -> bool:
        """Whether another ring took the place of ours, which no rotation does."""
        return bool(self._keys.keys) and found.mac_key != self._keys.mac_key

    def check_may_be_made(self) -> None:
        """Refuse where one was: its stacks and audits are there, and it is not."""
        places = (self.path.parent / name for name in ("stacks", "audits"))
        if not self.path.exists() and any(any(p.iterdir()) for p in places if p.is_dir()):
            raise keyfile.gone(self.path)

    def make(self) -> Keys:
        """Make the file, or read it; of two processes at once, one generates."""
        if not self.path.exists():
            self.check_may_be_made()
            try:
                private_directory(self.path.parent)
            except OSError as error:
                raise keyfile.unwritable(self.path, error) from error
            with keyfile.locked(self.path):
                if not self.path.exists():
                    keyfile.write(self.path, keyfile.fresh())
        return self.read()

    def change(self, how: Callable[[Keys], Keys]) -> Keys:
        """Under its lock: what another process has just written is not lost."""
        with keyfile.locked(self.path):
            keys, _ = keyfile.read(self.path)
            if self._is_another(keys):
                raise SettingsError(
                    f"The file {self.path} is another key ring than the one we work with.",
                    remedy="Put the right one back.",
                )
            keyfile.write(self.path, how(keys))
            return self.read()


class Variable(KeySource):
    """The document in an environment variable."""

    def __init__(self, name: str, text: str) -> None:
        remedy = f"Set {name} to what `tprov keys new` prints, or to the content of a keys.json."
        super().__init__(keyfile.parse(text, name=name, remedy=remedy), name=name)

    def check_is_ours(self, doing: str) -> None:
        """Never: whoever set it has to set it again, for everybody."""
        raise SettingsError(
            f"The key ring is in {self.name}, which is not ours to write: we cannot {doing}.",
            remedy=f"{_INSTEAD[doing]} where {self.name} comes from, and start workers, then"
            " everything else, with it.",
        )


class Function(KeySource):
    """What a function says, for a KMS; several threads may ask."""

    takes_time = True

    def __init__(self, ask: AskForKeys) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._in_vain: dict[str, float] = {}
        name = f"the function {getattr(ask, '__qualname__', type(ask).__name__)}"
        super().__init__(self._asked(name), name=name)

    def _asked(self, name: str) -> Keys:
        try:
            told = self._ask()
        except Exception as error:
            raise SettingsError(  # its own text might quote what it asked with
                f"The keys cannot be had: {name} raised {type(error).__name__}.",
                remedy="Call it by itself, and mend what it says.",
            ) from error
        remedy = "Have it give what a keys.json holds."
        return keyfile.parse(told, name=f"What {name} gives", remedy=remedy)

    def look_for(self, key_id: str) -> Keys | None:
        """Ask again, but not for every payload of a stranger; one that fails changes nothing."""
        if not keyfile.is_key_id(key_id):
            return None
        with self._lock:
            if key_id in self._keys.keys:  # another thread has just asked
                return self._keys
            now = time.monotonic()
            self._in_vain = {k: at for k, at in self._in_vain.items() if now - at < ASK_AGAIN}
            if key_id in self._in_vain or len(self._in_vain) >= IN_VAIN:
                return None
            with suppress(SettingsError):
                self._keys = self._asked(self.name)
            if key_id not in self._keys.keys:
                self._in_vain[key_id] = now
            return self._keys

    def check_is_ours(self, doing: str) -> None:
        """Never: it only gives."""
        raise SettingsError(
            f"The key ring comes from {self.name}, and is not ours to write: we cannot {doing}.",
            remedy="Do it where the function takes it from: with TPROV_KEYS set to the key ring,"
            " `tprov keys new` prints it with a new active key besides.",
        )


def find_source(
    path: Path, *, environ: Mapping[str, str] | None = None, function: AskForKeys | None = None
) -> KeySource:
    """Where the keys of an instance are: with a function, in `TPROV_KEYS`, else in its file.

    Args:
        path: The instance's file, which need not be there.
        environ: The environment whose `TPROV_KEYS` counts; None for ours.
        function: Handed in by whoever has a KMS.

    Raises:
        SettingsError: Two of them contradict each other, or what one holds is no key ring.
    """
    text = (os.environ if environ is None else environ).get(KEYS_VARIABLE, "").strip()
    if function is not None and text:
        raise SettingsError(
            f"{KEYS_VARIABLE} is set, and a function is handed in for the keys.",
            remedy=f"Unset {KEYS_VARIABLE}, or leave the function out.",
        )
    file = File(path)
    if function is None and not text:
        return file
    source = Function(function) if function else Variable(KEYS_VARIABLE, text)
    left, used = file.read(), source.read()
    if left.keys and (left.mac_key != used.mac_key or left.keys.keys() - used.keys.keys()):
        raise SettingsError(
            f"{source.name[0].upper()}{source.name[1:]} and the file {path} are two different key"
            " rings, and what the file's keys encrypted could not be read.",
            remedy=f"Move the file away if nothing needs it any more (`env -u {KEYS_VARIABLE} tprov"
            " keys list` tells), or leave the other one out.",
        )
    return source

"""Words for a setting that is wrong, none of which shows what it was set to.

A key that was pasted into the wrong variable, or a quotation mark that was forgotten before one,
must not end in a terminal's scroll-back or in a notebook's output. So a variable is named, and what
it has to look like; a value is shown only where its shape is that of a path or an address.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from tprov_kernel.errors import SettingsError
from tprov_kernel.texts import looks_secret

ADDRESS = re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}")
"""``host:port``."""

NAMES = (
    "TEMPORAL_NAMESPACE",
    "TEMPORAL_TLS_SERVER_NAME",
    "TEMPORAL_PROFILE",
    "TEMPORAL_CLOUD_ALLOWED_ACCOUNT_ID",
    "TEMPORAL_INFRA_PROVISION_TASK_QUEUE",
)
"""Variables that hold names, which are shown everywhere."""

KEYS = ("TEMPORAL_API_KEY", "TEMPORAL_CLOUD_API_KEY")
"""Variables that hold a secret."""

Pairs = Iterable[tuple[str, str]]

_MOST = 300
_PATH = re.compile(
    r"(?:~|\.{0,2}/|[A-Za-z]:\\)[^\x00-\x1f\x7f]*|[\w./ -]+\.(?:pem|key|crt|cer|toml)"
)
_LINE = re.compile(r"at line (\d+), column (\d+)")
_BOTH = re.compile(r"both (TEMPORAL_\w+|\w+_path) and (TEMPORAL_\w+|\w+_data)")
_KINDS = (
    (r"invalid .*string, expected", "a text has no quotation mark at its end"),
    (r"string values must be quoted", "a text has no quotation marks"),
    (r"invalid type: map", "a table where a text belongs"),
    (r"invalid type: sequence", "a list where a text belongs"),
    (r"invalid type: (integer|float)", "a number where a text belongs"),
    (r"invalid type: boolean", "true or false where a text belongs"),
    (r"invalid type: string", "a text where a table belongs"),
    (r"duplicate key", "a name is set twice"),
    (r"key with no value", "a name without = and a value"),
    (r"TOML parse error", "it is no TOML"),
    (r"utf-8", "it is no UTF-8"),
    (r"os error 21", "it is a directory"),
    (r"os error 13", "it may not be read by you"),
)
"""What the SDK says, told by its beginning: it quotes the line, and the value, after it."""


def no_address(name: str, value: str) -> SettingsError:
    """A server's address that is none."""
    faults = [
        ("://" in value, "it begins as a web address does"),
        ("@" in value, "there is a name or a password in it"),
        (not re.search(r":[0-9]{1,5}(/|$)", value), "it has no port"),
        ("/" in value.rpartition("://")[2], "there is a path in it"),
    ]
    why = ", and ".join(words for is_so, words in faults if is_so)
    return SettingsError(
        f"{name} has to be host:port{f'; {why}' if why else ', and is not'}.",
        remedy="Give it without http:// or a path: localhost:7233, for instance.",
    )


def no_file(name: str, value: str | os.PathLike[str]) -> SettingsError:
    """A variable that names a file which is not there."""
    text = os.fspath(value)
    harmless = len(text) <= _MOST and _PATH.fullmatch(text) and not looks_secret(text)
    if harmless:
        return SettingsError(f"{name} names {text}, which is no file.", remedy=f"Correct {name}.")
    return SettingsError(
        f"{name} names no file, and what it holds does not look like a path; it is not shown,"
        " because it may be a secret.",
        remedy=f"Set {name} to the path of a file, such as ./client.pem.",
    )


def is_file(path: Path) -> bool:
    """Whether there is such a file; a text that is too long to be a path names none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_there(path: Path) -> bool:
    """The same for anything that can be read, such as `/dev/null`."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def refuse_secrets(names: Pairs, *, keys: Pairs) -> None:
    """Refuse a secret where a name belongs, which is shown, and sent in the clear.

    Args:
        names: What each is called, and what it says.
        keys: The same for the secrets that are known.

    Raises:
        SettingsError: One of ``names`` looks like a key, or is the same as one of ``keys``.
    """
    for name, value in names:
        same = next((called for called, key in keys if value and value == key), "")
        if why := f"is the same as {same}" if same else looks_secret(value):
            raise SettingsError(
                f"{name} {why}, and it is a name, shown and sent in the clear.",
                remedy=f"Correct it; a key belongs into {' or '.join(KEYS)}."
                " If this one was shown anywhere, make a new one.",
            )


def misread(error: BaseException, file: str, *, profile: str) -> SettingsError:
    """What the SDK does not like about the configuration: file, line, column and kind.

    Args:
        error: What it raised; its text quotes the file.
        file: As people know it.
        profile: The one that was asked for by name; empty for the default one.
    """
    text = str(error)
    remedy = "Correct the file, TEMPORAL_PROFILE or TEMPORAL_CONFIG_FILE."
    if both := _BOTH.search(text):
        return SettingsError(f"{both[1]} and {both[2]} are both set.", remedy="Unset one of them.")
    if profile and re.search(r"Profile .*not found", text, re.DOTALL):
        there = _profiles(file)
        known = f" It has {', '.join(there)}." if there else ""
        return SettingsError(
            f"There is no profile of the name that TEMPORAL_PROFILE says in {file}.{known}",
            remedy=remedy,
        )
    place = _LINE.search(text)
    where = f", line {place[1]}, column {place[2]}" if place else ""
    said = text.rstrip().rpartition("\n")[2] if place else text
    known_kinds = (kind for shape, kind in _KINDS if re.match(f".*?{shape}", said))
    kind = next(known_kinds, "it is no TOML" if place else "it is not what the SDK understands")
    return SettingsError(f"The SDK cannot read {file}{where}: {kind}.", remedy=remedy)


def _profiles(file: str) -> list[str]:
    try:
        told = tomllib.loads(Path(file).read_text()).get("profile")
    except (OSError, ValueError):
        return []
    return sorted(name for name in told if not looks_secret(name)) if isinstance(told, dict) else []

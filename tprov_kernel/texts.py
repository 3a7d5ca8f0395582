"""Makes foreign text harmless before it is stored or shown; pure, for the workflow too."""

from __future__ import annotations

import re
import unicodedata

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
# Not allowed in XML even when escaped (a stored timeline is an SVG picture), or invisible; and
# halves of characters, which JSON may hold and UTF-8 cannot.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Me"))
# Fillers and blanks that are letters or symbols to Unicode, and what replaces the unreadable.
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufffd")


def plain(text: str) -> str:
    """Take terminal sequences out, and replace control characters and what UTF-8 cannot hold."""
    return _CONTROL.sub("\ufffd", _ANSI.sub("", text.replace("\r\n", "\n")))


def says_nothing(text: str) -> bool:
    """Whether there is nothing to read in it: empty, white space, characters nobody sees."""
    return all(char in _BLANK or unicodedata.category(char) in _UNSEEN for char in text)

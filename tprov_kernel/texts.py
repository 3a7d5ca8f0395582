"""Makes foreign text harmless before it is stored or shown; pure, for the workflow too."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
# Not allowed in XML even when escaped (a stored timeline is an SVG picture), or invisible; and
# halves of characters, which JSON may hold and UTF-8 cannot.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Me"))
# Fillers and blanks that are letters or symbols to Unicode, and what replaces the unreadable.
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufffd")
_SHAPES = {
    "a key or a certificate": re.compile(r"-----BEGIN "),
    "a JSON web token": re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}"),
    "an API key": re.compile(
        r"\b(?:tprov_[\w-]{40,}|tprovkey\w*[_.-][\w.-]{20,}|(?:AKIA|ASIA)[A-Z0-9]{16}"
        r"|(?:gh[oprsu]_|github_pat_|glpat-|xox[abprs]-|sk-)[\w-]{16,})"
    ),
    "a password in an address": re.compile(r"://[^/\s:@]*:[^/\s@]+@"),
    "a secret with its name": re.compile(
        r"(?:passw(?:or)?d|secret|token|api[_-]?key)\s*[=:]\s*\S", re.IGNORECASE
    ),
}
_RUN = re.compile(r"[A-Za-z0-9+]{20,}")


def plain(text: str) -> str:
    """Take terminal sequences out, and replace control characters and what UTF-8 cannot hold."""
    return _CONTROL.sub("\ufffd", _ANSI.sub("", text.replace("\r\n", "\n")))


def says_nothing(text: str) -> bool:
    """Whether there is nothing to read in it: empty, white space, characters nobody sees."""
    return all(char in _BLANK or unicodedata.category(char) in _UNSEEN for char in text)


def looks_secret(text: str) -> str:
    """Whether a text looks like a secret, as the rest of a sentence that does not show it.

    Returns:
        'looks like a JSON web token' or the like; empty where it does not.
    """
    for what, shape in _SHAPES.items():
        if shape.search(text):
            return f"looks like {what}"
    return "contains what looks like a key" if any(map(_is_random, _RUN.findall(text))) else ""


def _is_random(text: str) -> bool:
    """Whether capitals, small letters and digits are mixed as chance mixes them.

    In a random text 6 of 10 neighbours are of different kinds; in CamelCase with a number 3.
    """
    kinds = ["A" if sign.isupper() else "a" if sign.islower() else "0" for sign in text]
    changes = sum(one != other for one, other in pairwise(kinds))
    return {"A", "a", "0"} <= set(kinds) and changes >= 0.42 * len(text)

"""Takes the exact values of known secrets out of text and data, in every form they may have."""

from __future__ import annotations

import base64
import html
import json
import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

from tprov_kernel.redaction.vocabulary import is_public_word

SENSITIVE = "(sensitive value)"
"""What stands where a secret stood; Terraform's own words."""

MIN_LENGTH = 8
"""Characters a secret must have to be looked for: shorter ones would hit everywhere."""

_URL = re.compile(rf"[A-Za-z][\w+.-]*://(?:{re.escape(SENSITIVE)}|[^\s\"'<>])*")
_USER_INFO = re.compile(r"(?<=://)[^/?#]*@")
_QUERY = re.compile(r"(?<=[?&;])([^=&;#]+)=(?!\(sensitive)([^&;#]+)")
_PLAIN_QUERIES = frozenset({"ref", "depth", "archive", "version"})
"""What module sources say there: nothing of it is secret."""

_PEM_FRAME = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]+-----")


class Scrubber:
    """Replaces known secrets in texts, and in the strings, keys and numbers of data.

    Args:
        secrets: The known secrets; those shorter than `MIN_LENGTH` characters and those that are
            vocabulary are left out.
        vocabulary: More words that are never taken for a secret, whatever their case.
    """

    def __init__(self, secrets: Iterable[str], *, vocabulary: Iterable[str] = ()) -> None:
        words = {word.casefold() for word in vocabulary}
        self._vocabulary = frozenset(words)
        self._exact = {s for s in secrets if is_worth_hiding(s, words)}
        forms = {form for s in self._exact for form in _forms(s) if is_worth_hiding(form, words)}
        # Every form by its first characters, the longest first: a text is then looked through
        # once, however many secrets there are (an alternation of a thousand took 2.5 s for 5 MB).
        self._by_start: dict[str, list[str]] = {}
        for form in sorted(forms, key=len, reverse=True):
            self._by_start.setdefault(form[:MIN_LENGTH], []).append(form)

    def joined_with(self, other: Scrubber) -> Scrubber:
        """Give one that knows the secrets of both."""
        vocabulary = self._vocabulary | other._vocabulary
        return Scrubber(self._exact | other._exact, vocabulary=vocabulary)

    def __repr__(self) -> str:
        return f"Scrubber(<{len(self._exact)} secrets>)"

    def text(self, text: str) -> str:
        """Give the text with `SENSITIVE` for each secret; overlapping ones become one."""
        spans = self._spans(text)
        if not spans:
            return text
        parts, done = [], 0
        for start, end in spans:
            parts += [text[done:start], SENSITIVE]
            done = end
        return "".join([*parts, text[done:]])

    def value(self, value: Any) -> Any:
        """Give a copy of JSON-like data with each secret replaced, in keys and numbers too."""
        return self.replace(value, whole=lambda _: SENSITIVE)

    def replace(self, value: Any, *, whole: Callable[[Any], Any]) -> Any:
        """Like `value`, but ask `whole` what stands for a leaf that is nothing but a secret."""
        if isinstance(value, str):
            spans = self._spans(value)
            if spans == [(0, len(value))]:
                return whole(value)
            return self.text(value) if spans else value
        if isinstance(value, dict):
            return self._mapping(value, whole)
        if isinstance(value, list | tuple):
            return [self.replace(item, whole=whole) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return whole(value) if json.dumps(value) in self._exact else value
        return value

    def _mapping(self, value: dict[Any, Any], whole: Callable[[Any], Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, item in value.items():
            name = clean = self.text(str(key))
            number = 2
            while name in result:  # two secret keys look the same: neither may vanish
                name, number = f"{clean} {number}", number + 1
            result[name] = self.replace(item, whole=whole)
        return result

    def _spans(self, text: str) -> list[tuple[int, int]]:
        starts, size = self._by_start, MIN_LENGTH
        if not starts:
            return []
        found: list[tuple[int, int]] = []
        for at in [i for i in range(len(text) - size + 1) if text[i : i + size] in starts]:
            for form in starts[text[at : at + size]]:
                if text.startswith(form, at):
                    end = at + len(form)
                    if found and at <= found[-1][1]:
                        found[-1] = (found[-1][0], max(end, found[-1][1]))
                    else:
                        found.append((at, end))
                    break
        return found


def without_credentials(text: str) -> str:
    """Take user info and the values of queries out of every URL in a text."""
    return _URL.sub(lambda url: _QUERY.sub(_hidden, _USER_INFO.sub("", url[0])), text)


def _hidden(query: re.Match[str]) -> str:
    return query[0] if query[1] in _PLAIN_QUERIES else f"{query[1]}={SENSITIVE}"


def is_worth_hiding(text: str, vocabulary: Container[str] = ()) -> bool:
    """Whether a value is long enough, and not a word of the vocabulary."""
    bare = text.strip()
    if len(bare) < MIN_LENGTH or _PEM_FRAME.fullmatch(bare):
        return False
    return bare.casefold() not in vocabulary and not is_public_word(bare)


def _forms(secret: str) -> Iterator[str]:
    """Every way in which a secret may be written; each line of it may stand alone, indented.

    A text for people is folded into one line, with one blank for many; and Terraform normalises
    what it reads.
    """
    wholes = {secret, unicodedata.normalize("NFC", secret)}
    parts = {line.strip() for whole in wholes for line in whole.splitlines()}
    parts |= {whole.strip() for whole in wholes} | {" ".join(whole.split()) for whole in wholes}
    for part in wholes | parts:
        if len(part) >= MIN_LENGTH:
            yield part
            yield from _escaped(part)
            yield from _encoded(part.encode("utf-8", "surrogatepass"))


def _escaped(text: str) -> Iterator[str]:
    for ascii_only in (True, False):
        plain = _in_json(text, ascii_only)
        # Go's encoder, and so Terraform's jsonencode, escapes these three besides.
        go = plain
        for sign in "<>&":
            go = go.replace(sign, f"\\u{ord(sign):04x}")
        for once in (plain, go):
            yield once
            yield once.replace("${", "$${").replace("%{", "%%{")  # a quoted string in HCL
            yield _in_json(once, ascii_only)  # JSON in a string of JSON
    for safe in ("", "/"):
        for url in (quote(text, safe=safe, errors="replace"), quote_plus(text, errors="replace")):
            yield url
            yield re.sub(r"%[0-9A-F]{2}", lambda m: m[0].lower(), url)
    yield html.escape(text)


def _in_json(text: str, ascii_only: bool) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1]


def _encoded(data: bytes) -> Iterator[str]:
    yield data.hex()
    yield data.hex().upper()
    for before in range(3):
        # The characters that depend on the secret's bytes alone, wherever in a longer text it is.
        first, last = -(-8 * before // 6), 8 * (before + len(data)) // 6
        padded = b"\0" * before + data + b"\0" * 2
        yield base64.b64encode(padded).decode()[first:last]
        yield base64.urlsafe_b64encode(padded).decode()[first:last]

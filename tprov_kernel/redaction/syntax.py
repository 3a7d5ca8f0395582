"""Reads Terraform's own language just as far as to tell texts, names and blocks apart.

No expression is evaluated. What does not follow the grammar is `Unreadable`: the caller then takes
everything in it for secret.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

NAME = r"(?:[0-9A-Za-z_]|[^\x00-\x7f])(?:[0-9A-Za-z_-]|[^\x00-\x7f])*"
"""A name: letters of any script, combining signs too."""

_CODE = re.compile(
    rf"""
    (?P<skipped> [ \t\r]+ | \#[^\n]* | //[^\n]* | /\*.*?\*/ )
    | (?P<wrong> /\* )
    | (?P<heredoc> <<(?P<flush>-?)(?P<tag>{NAME})\r?\n )
    | (?P<quote> " )
    | (?P<word> {NAME} )
    | (?P<sign> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_SIMPLE = re.compile(r'[^"\\$%\n]*"')
_IN_QUOTES = re.compile(
    r"""
    (?P<plain> [^"\\$%\n]+ )
    | \\ (?: u(?P<four>[0-9A-Fa-f]{4}) | U(?P<eight>[0-9A-Fa-f]{8}) | (?P<sign>[^\n]) )
    | (?P<doubled> \$\$\{ | %%\{ )
    | (?P<open> [$%]\{ )
    | (?P<end> " )
    | (?P<alone> [$%] )
    """,
    re.VERBOSE,
)
_IN_TEMPLATE = re.compile(
    r"(?P<plain>[^$%\n]+|\n)|(?P<doubled>\$\$\{|%%\{)|(?P<open>[$%]\{)|(?P<alone>[$%])"
)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class Unreadable(Exception):
    """This is not the language that Terraform reads, or more of it than is understood here."""


class Token(NamedTuple):
    """A part of a source; a text is what stands between quotes, unescaped, or in a heredoc."""

    kind: Literal["text", "word", "sign"]
    text: str


@dataclass(frozen=True)
class Attribute:
    """``name = value``."""

    name: str
    value: Sequence[Token]


@dataclass(frozen=True)
class Block:
    """``type "label" { body }``."""

    type: str
    labels: Sequence[str]
    body: Sequence[Token]


def tokens_of(source: str) -> list[Token]:
    """Cut a source into its tokens, line ends included, comments left out.

    The expressions in a template stand between two texts, in braces.

    Raises:
        Unreadable: A text, a comment or a template has no end.
    """
    reader = _Reader(source.removeprefix("\ufeff"))
    reader.code(inner=False)
    return reader.tokens


def template_tokens(source: str) -> list[Token]:
    """The same for a text of the JSON syntax, which is a template as a whole."""
    reader = _Reader(source)
    reader.template(end=None)
    return reader.tokens


def items(tokens: Sequence[Token]) -> Iterator[Attribute | Block]:
    """Give the attributes and blocks of a body.

    Raises:
        Unreadable: There is something else.
    """
    at = 0
    while at < len(tokens):
        if tokens[at] == _LINE:
            at += 1
            continue
        head = at
        while at < len(tokens) and tokens[at].kind != "sign":
            at += 1
        names = [token.text for token in tokens[head:at]]
        sign = tokens[at].text if at < len(tokens) else ""
        if len(names) == 1 and sign == "=":
            end = _end(tokens, at + 1, line=True)
            yield Attribute(names[0], tokens[at + 1 : end])
            at = end
        elif names and sign == "{":
            end = _end(tokens, at + 1, line=False)
            yield Block(names[0], names[1:], tokens[at + 1 : end])
            at = end + 1
        else:
            raise Unreadable


def _end(tokens: Sequence[Token], at: int, *, line: bool) -> int:
    """Where an expression ends with its line, or a body with its brace."""
    awaited: list[str] = []
    while at < len(tokens):
        kind, text = tokens[at]
        if kind == "sign":
            if not awaited and text == ("\n" if line else "}"):
                return at
            if text in _CLOSING:
                awaited.append(_CLOSING[text])
            elif text in ")]}" and (not awaited or awaited.pop() != text):
                raise Unreadable
        at += 1
    if line and not awaited:
        return at
    raise Unreadable


_LINE = Token("sign", "\n")


class _Reader:
    """Reads from the beginning on; each method up to the end of what it is about."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self.tokens: list[Token] = []

    def code(self, *, inner: bool) -> None:
        depth, append = 0, self.tokens.append
        while match := _CODE.match(self._source, self._at):
            self._at = match.end()
            kind = match.lastgroup
            if kind == "skipped":
                continue
            if kind == "word":
                append(Token("word", match[0]))
            elif kind == "quote":
                self._quoted()
            elif kind == "sign":
                sign = match[0]
                if sign == "}":
                    if inner and depth == 0:
                        return
                    depth -= 1
                elif sign == "{":
                    depth += 1
                append(Token("sign", sign))
            elif kind == "heredoc":
                self.template(end=match["tag"], flush=bool(match["flush"]))
            else:
                raise Unreadable
        if inner:
            raise Unreadable

    def _inner(self) -> None:
        self.tokens.append(Token("sign", "{"))
        self.code(inner=True)
        self.tokens.append(Token("sign", "}"))

    def _quoted(self) -> None:
        if simple := _SIMPLE.match(self._source, self._at):
            self._at = simple.end()
            self.tokens.append(Token("text", simple[0][:-1]))
            return
        part: list[str] = []
        while match := _IN_QUOTES.match(self._source, self._at):
            self._at = match.end()
            if match["open"] or match["end"]:
                self.tokens.append(Token("text", "".join(part)))
                part = []
                if match["end"]:
                    return
                self._inner()
            elif code := match["four"] or match["eight"]:
                if int(code, 16) > 0x10FFFF:
                    raise Unreadable
                part.append(chr(int(code, 16)))
            elif sign := match["sign"]:
                part.append(_ESCAPED.get(sign, sign))
            else:
                part.append(_plain(match))
        raise Unreadable

    def template(self, *, end: str | None, flush: bool = False) -> None:
        """A heredoc up to its last line, or a template to the end of the source."""
        last = re.compile(rf"[ \t]*{re.escape(end)}(?=\r?\n|\Z)") if end is not None else None
        part: list[str] = []
        whole, fresh = True, True
        while self._at < len(self._source) or last is not None:
            if last is not None and fresh and (match := last.match(self._source, self._at)):
                self._at = match.end()
                break
            match = _IN_TEMPLATE.match(self._source, self._at)
            if match is None:
                raise Unreadable
            self._at = match.end()
            fresh = match[0] == "\n"
            if match["open"]:
                self.tokens.append(Token("text", "".join(part)))
                part, whole = [], False
                self._inner()
            else:
                part.append(_plain(match))
        text = "".join(part)
        if end is not None:
            text = text.removesuffix("\n").removesuffix("\r")
        self.tokens.append(Token("text", textwrap.dedent(text) if flush and whole else text))


def _plain(match: re.Match[str]) -> str:
    return match[0][1:] if match["doubled"] else match[0]

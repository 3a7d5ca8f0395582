"""List filters as text: the clauses of one, and the same filter with another choice in it.

A filter is what `temporal workflow list --query` takes. Drop-down lists change one clause of it and
leave the rest as somebody typed it; whether it is right, only the server knows.
"""

from __future__ import annotations

import re

from tprov_kernel.messages import WORKFLOW_TYPE

ALL_RUNS = f"WorkflowType='{WORKFLOW_TYPE}'"
"""Every run on the server, whoever started it."""

# A quote inside a text is doubled or escaped; the server's parser knows both (measured).
_TOKEN = re.compile(r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|\w+|.""", re.DOTALL)
_CHOICE = re.compile(
    r"""(\w+)\s*=\s*(?:'((?:[^'\\]|\\.|'')*)'|"((?:[^"\\]|\\.|"")*)")""", re.DOTALL
)


def quoted(text: str) -> str:
    """A text as a filter's value."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def split(query: str) -> list[str]:
    """The clauses that AND connects; a filter with an OR outside of brackets is one clause."""
    parts, depth, between = [""], 0, False
    for token in _TOKEN.findall(query):
        word = token.lower()
        if depth == 0 and word == "or":
            return [query.strip()]
        if depth == 0 and word == "and" and not between:
            parts.append("")
            continue
        if word in ("between", "and"):  # BETWEEN a AND b is one clause
            between = word == "between"
        depth += (token == "(") - (token == ")")  # noqa: S105  (brackets, no passwords)
        parts[-1] += token
    return [part.strip() for part in parts if part.strip()]


def choices(query: str) -> dict[str, str]:
    """What a filter asks of single attributes: those of its clauses that are ``name='value'``."""
    found = (_CHOICE.fullmatch(clause) for clause in split(query))
    return {match[1]: _plain(match) for match in found if match}


def with_choice(query: str, name: str, value: str) -> str:
    """The filter with this value for an attribute; without the attribute when it is empty."""
    rest = [c for c in split(query) if not ((m := _CHOICE.fullmatch(c)) and m[1] == name)]
    if value:
        rest = [_bracketed(clause) for clause in rest] + [f"{name}={quoted(value)}"]
    return " AND ".join(rest)


def narrowed(query: str, clause: str) -> str:
    """The filter and one clause more."""
    return f"({query}) AND {clause}" if query.strip() else clause


def _bracketed(clause: str) -> str:
    depth = 0
    for token in _TOKEN.findall(clause):
        depth += (token == "(") - (token == ")")  # noqa: S105
        if depth == 0 and token.lower() == "or":
            return f"({clause})"
    return clause


def _plain(match: re.Match[str]) -> str:
    text, quote = (match[2], "'") if match[2] is not None else (match[3], '"')
    return re.sub(r"\\(.)", r"\1", text.replace(quote * 2, quote))

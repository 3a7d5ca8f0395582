"""Finds a configuration's ephemeral variables, which the plan's JSON does not tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

_SKIPPED = re.compile(
    r"""
    (?P<comment> \#[^\n]* | //[^\n]* | /\*.*?\*/ )
    | (?P<heredoc> <<-?(?P<tag>[A-Za-z_][\w-]*)\n.*?\n[ \t]*(?P=tag)(?=\n|\Z) )
    | (?P<string> "(?:\\.|[^"\\])*" )
    """,
    re.VERBOSE | re.DOTALL,
)
_VARIABLE = re.compile(r'\bvariable\s+"?(?P<name>[A-Za-z_][\w-]*)"?\s*\{')
_EPHEMERAL = re.compile(r"(?m)^\s*ephemeral\s*=\s*(?!false\b)")


def ephemeral_variables(sources: Iterable[str]) -> frozenset[str]:
    """Give the names of the variables that are declared ephemeral, or may be.

    Args:
        sources: Contents of the root module's `.tf` and `.tf.json` files.
    """
    names: set[str] = set()
    for source in sources:
        names |= _in_json(source) if source.lstrip().startswith("{") else _in_hcl(source)
    return frozenset(names)


def _in_json(source: str) -> set[str]:
    try:
        blocks = json.loads(source).get("variable", {})
    except (ValueError, AttributeError):
        return set()
    found = blocks if isinstance(blocks, list) else [blocks]
    return {
        name
        for block in found
        if isinstance(block, dict)
        for name, body in block.items()
        if "ephemeral" in json.dumps(body)
    }


def _in_hcl(source: str) -> set[str]:
    bare = _SKIPPED.sub(_blank, source)
    names = set()
    for head in _VARIABLE.finditer(bare):
        if _EPHEMERAL.search(_body(bare, head.end())):
            names.add(head["name"])
    return names


def _blank(match: re.Match[str]) -> str:
    """Keep a plain label, since it names the variable; drop comments and all other text."""
    label = re.fullmatch(r'"[A-Za-z_][\w-]*"', match[0])
    return match[0] if label else " "


def _body(source: str, start: int) -> str:
    depth = 1
    for at in range(start, len(source)):
        depth += {"{": 1, "}": -1}.get(source[at], 0)
        if depth == 0:
            return source[start:at]
    return source[start:]

"""Finds the variables that a configuration marks; of an ephemeral one the plan does not tell."""

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
_LABEL = re.compile(r'"[A-Za-z_][\w-]*"')


def ephemeral_variables(sources: Iterable[str]) -> frozenset[str]:
    """Give the names of the variables that are declared ephemeral, or may be.

    Args:
        sources: Contents of the root module's `.tf` and `.tf.json` files.
    """
    return _marked(sources, "ephemeral")


def sensitive_variables(sources: Iterable[str]) -> frozenset[str]:
    """Give the names of the variables that are declared sensitive, or may be.

    Before there is a plan, the values given for them are what must be kept out of errors.
    """
    return _marked(sources, "sensitive")


def _marked(sources: Iterable[str], mark: str) -> frozenset[str]:
    # Declarations are read, not expressions: a mark that is written is believed unless it says
    # `false`. What cannot be read marks nothing, and Terraform refuses it as well.
    names: set[str] = set()
    for source in sources:
        names |= (_in_json if source.lstrip().startswith("{") else _in_hcl)(source, mark)
    return frozenset(names)


def _in_json(source: str, mark: str) -> set[str]:
    try:
        blocks = json.loads(source).get("variable", {})
    except (ValueError, AttributeError):
        return set()
    return {
        name
        for block in _listed(blocks)
        for name, bodies in block.items()
        if any(body.get(mark, False) is not False for body in _listed(bodies))
    }


def _listed(value: object) -> list[dict[str, object]]:
    """JSON syntax lets a block be an object or a list of them."""
    return [
        item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)
    ]


def _in_hcl(source: str, mark: str) -> set[str]:
    bare = _SKIPPED.sub(_blank, source)
    said = re.compile(rf"(?:^|[\n{{])\s*{mark}\s*=(?!\s*false\b)")
    return {
        head["name"] for head in _VARIABLE.finditer(bare) if said.search(_body(bare, head.end()))
    }


def _blank(match: re.Match[str]) -> str:
    """Keep a plain label, since it names the variable; drop comments and all other text."""
    return match[0] if _LABEL.fullmatch(match[0]) else " "


def _body(source: str, start: int) -> str:
    """The text of a block from its opening brace to the closing one."""
    depth = 1
    for brace in re.compile(r"[{}]").finditer(source, start):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return source[start - 1 : brace.start()]
    return source[start - 1 :]

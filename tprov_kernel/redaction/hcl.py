"""Finds what a configuration's variables say of themselves: marks, and defaults that are secret.

The plan's JSON does not tell that a variable is ephemeral, and before there is a plan nothing else
tells which are sensitive. Declarations are read, not expressions: a mark that is written is
believed unless it says ``false``. What cannot be read marks nothing; Terraform refuses it as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_SKIPPED = re.compile(
    r"""
    (?P<comment> \#[^\n]* | //[^\n]* | /\*.*?\*/ )
    | (?P<heredoc> <<-?(?P<tag>[A-Za-z_][\w-]*)\n(?P<lines>.*?)\n?[ \t]*(?P=tag)(?=\n|\Z) )
    | "(?P<string> (?:\\.|[^"\\])* )"
    """,
    re.VERBOSE | re.DOTALL,
)
_VARIABLE = re.compile(r'\bvariable\s+"?(?P<name>[A-Za-z_][\w-]*)"?\s*\{')
_LABEL = re.compile(r'"[A-Za-z_][\w-]*"')
_BRACE = re.compile(r"[{}]")
_DEFAULT = re.compile(r"(?:^|[\n{])\s*default\s*=")
_NESTING = re.compile(r"[\[({]|[\])}]|\n")


@dataclass(frozen=True)
class _Variable:
    """One declaration, as far as it matters here."""

    name: str
    sensitive: bool
    ephemeral: bool
    default: Any
    """Its texts; in whatever nesting."""


def ephemeral_variables(sources: Iterable[str]) -> frozenset[str]:
    """Give the names of the variables that are declared ephemeral, or may be.

    Args:
        sources: Contents of the root module's `.tf` and `.tf.json` files.
    """
    return frozenset(v.name for v in _variables(sources) if v.ephemeral)


def sensitive_variables(sources: Iterable[str]) -> frozenset[str]:
    """Give the names of the variables that are declared sensitive, or may be."""
    return frozenset(v.name for v in _variables(sources) if v.sensitive)


def secret_defaults(sources: Iterable[str]) -> list[Any]:
    """Give the texts in the defaults of sensitive and ephemeral variables."""
    return [v.default for v in _variables(sources) if v.sensitive or v.ephemeral]


def _variables(sources: Iterable[str]) -> Iterator[_Variable]:
    for source in sources:
        yield from _in_json(source) if source.lstrip().startswith("{") else _in_hcl(source)


# --- JSON syntax ---------------------------------------------------------------------------------


def _in_json(source: str) -> Iterator[_Variable]:
    try:
        blocks = json.loads(source).get("variable", {})
    except (ValueError, AttributeError, RecursionError):
        return
    for block in _listed(blocks):
        for name, bodies in block.items():
            for body in _listed(bodies):
                yield _Variable(
                    name=name,
                    sensitive=body.get("sensitive", False) is not False,
                    ephemeral=body.get("ephemeral", False) is not False,
                    default=body.get("default"),
                )


def _listed(value: Any) -> list[dict[str, Any]]:
    """JSON syntax lets a block be an object or a list of them."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


# --- HCL -----------------------------------------------------------------------------------------


def _in_hcl(source: str) -> Iterator[_Variable]:
    # Comments and texts become blanks of the same length: places stay comparable.
    bare = _SKIPPED.sub(_blank, source)
    for head in _VARIABLE.finditer(bare):
        start, end = head.end() - 1, _end_of_block(bare, head.end())
        yield _Variable(
            name=head["name"],
            sensitive=_says(bare[start:end], "sensitive"),
            ephemeral=_says(bare[start:end], "ephemeral"),
            default=_texts(source, _default(bare, start, end)),
        )


def _blank(match: re.Match[str]) -> str:
    """Keep a plain label, since it names the variable."""
    text = match[0]
    return text if _LABEL.fullmatch(text) else re.sub(r"[^\n]", " ", text)


def _end_of_block(bare: str, start: int) -> int:
    depth = 1
    for brace in _BRACE.finditer(bare, start):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    return len(bare)


def _says(body: str, mark: str) -> bool:
    return re.search(rf"(?:^|[\n{{])\s*{mark}\s*=(?!\s*false\b)", body) is not None


def _default(bare: str, start: int, end: int) -> slice:
    """Where the default's expression is: to the end of its line, or of its brackets."""
    found = _DEFAULT.search(bare, start, end)
    if found is None:
        return slice(0, 0)
    depth = 0
    for sign in _NESTING.finditer(bare, found.end(), end):
        depth += {"\n": 0}.get(sign[0], 1 if sign[0] in "[({" else -1)
        if depth < 0 or (depth == 0 and sign[0] == "\n"):
            return slice(found.end(), sign.start())
    return slice(found.end(), end)


def _texts(source: str, where: slice) -> list[str]:
    """The texts that are written there; a heredoc may go on beyond the line."""
    found = []
    for match in _SKIPPED.finditer(source, where.start):
        if match.start() >= where.stop:
            break
        if match["lines"] is not None:
            found.append(match["lines"])
        elif match["string"] is not None:
            found.append(_unescaped(match["string"]))
    return found


def _unescaped(text: str) -> str:
    text = text.replace("$${", "${").replace("%%{", "%{")
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text

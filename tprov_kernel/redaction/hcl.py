"""Finds what a configuration says of secrets: marks, and the texts that are secret by them.

The plan's JSON does not tell that a variable is ephemeral, and before there is a plan nothing else
tells which are sensitive, or which literals are. Declarations are read, not expressions: a mark
that is written is believed unless it says ``false``. A file that cannot be read for sure
(`syntax.Unreadable`) counts as secret: every variable in it, and every text.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tprov_kernel.redaction.syntax import (
    NAME,
    Attribute,
    Block,
    Token,
    Unreadable,
    items,
    template_tokens,
    tokens_of,
)

CREDENTIAL = re.compile(
    r"key(?!$)|.key$|token|secret|passw|credential|auth|conn_str|sas", re.IGNORECASE
)
"""Names of arguments of providers and backends whose values are credentials (`key` alone is not:
the place of a state in a bucket)."""

_VARIABLE = re.compile(rf'\bvariable"?\s*:?\s*\{{?\s*"?(?P<name>{NAME})"?')
_OF_INTEREST = re.compile(r"\b(?:variable|sensitive|module|locals|terraform|provider|output)\b")
"""A file without any of these words says nothing of secrets: most resources are in such ones."""

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_LEVELS = 32


@dataclass(frozen=True)
class _Value:
    """The texts and numbers that an expression writes down, and what it refers to."""

    texts: tuple[Any, ...] = ()
    locals: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()

    def __add__(self, other: _Value) -> _Value:
        return _Value(
            (*self.texts, *other.texts),
            self.locals | other.locals,
            self.variables | other.variables,
        )


@dataclass(frozen=True)
class _Variable:
    """One declaration, as far as it matters here."""

    name: str
    sensitive: bool
    ephemeral: bool
    default: _Value = field(default=_Value(), repr=False)
    type: str = ""


@dataclass(frozen=True)
class _File:
    """What one file says."""

    variables: tuple[_Variable, ...] = ()
    secret: _Value = field(default=_Value(), repr=False)
    locals: tuple[tuple[str, _Value], ...] = field(default=(), repr=False)
    arguments: tuple[tuple[str, _Value], ...] = field(default=(), repr=False)


def declared_variables(sources: Iterable[str]) -> frozenset[str]:
    """Give the names of all variables that are declared."""
    return frozenset(v.name for v in _variables(sources))


def declared_types(sources: Iterable[str]) -> dict[str, str]:
    """Give the type of each variable that declares one, as it is written, without blanks."""
    return {v.name: v.type for v in _variables(sources) if v.type}


def ephemeral_variables(sources: Iterable[str]) -> frozenset[str]:
    """Give the names of the variables that are declared ephemeral, or may be.

    Args:
        sources: Contents of the root module's `.tf` and `.tf.json` files.
    """
    return frozenset(v.name for v in _variables(sources) if v.ephemeral)


def sensitive_variables(sources: Iterable[str]) -> frozenset[str]:
    """Give the names of the variables that are declared sensitive, or may be."""
    return frozenset(v.name for v in _variables(sources) if v.sensitive)


def secrets_written(
    sources: Iterable[str], modules: Iterable[str], values: Mapping[str, Any]
) -> list[Any]:
    """Give the values and literals that are secret by what the sources say, in whatever nesting.

    Values and defaults of sensitive and ephemeral variables; what stands in `sensitive(...)`; the
    arguments of module calls whose variable is secret in any module; credentials of providers and
    backends; and of locals and variables what these refer to.

    Args:
        sources: Contents of the root module's `.tf` and `.tf.json` files.
        modules: The same of other modules.
        values: Values of the root module's variables.
    """
    root, others = [_read(s) for s in sources], [_read(s) for s in modules]
    files, own = [*root, *others], [v for file in root for v in file.variables]
    of_root = frozenset(v.name for v in own if v.sensitive or v.ephemeral)
    of_modules = {v.name for f in others for v in f.variables if v.sensitive or v.ephemeral}
    found = _Value(variables=of_root)
    for file in files:
        found += file.secret
    for file in others:
        for variable in file.variables:
            found += variable.default if variable.name in of_modules else _Value()
    while True:  # what is referred to may refer on
        more, inputs = found, of_modules | (found.variables - of_root)
        for file in files:
            for name, value in file.locals:
                more += value if name in found.locals else _Value()
            for name, value in file.arguments:
                more += value if name in inputs else _Value()
            for variable in file.variables:
                more += variable.default if variable.name in found.variables else _Value()
        more = _Value(tuple(dict.fromkeys(more.texts)), more.locals, more.variables)
        if more == found:
            break
        found = more
    return [*found.texts, *(values.get(v.name) for v in own if v.name in found.variables)]


def assigned_values(text: str) -> dict[str, Any]:
    """Read a `.tfvars` file: a text as it is, of anything else the texts and numbers in it.

    One that cannot be read for sure gives every text in it for every name.
    """
    try:
        given = [item for item in items(tokens_of(text)) if isinstance(item, Attribute)]
    except (Unreadable, RecursionError):
        names = re.findall(rf'^\s*"?({NAME})"?\s*=', text, re.MULTILINE)
        return dict.fromkeys(names, _every_text(text))
    return {item.name: _assigned(item.value) for item in given}


def _assigned(value: Sequence[Token]) -> Any:
    if len(value) == 1 and value[0].kind == "text":
        return value[0].text
    return list(_value(value).texts)


def _variables(sources: Iterable[str]) -> Iterator[_Variable]:
    for source in sources:
        yield from _read(source).variables


@functools.lru_cache(maxsize=256)
def _read(source: str) -> _File:
    source = source.removeprefix("\ufeff")
    if _OF_INTEREST.search(source) is None:
        return _File()
    try:
        if source.lstrip()[:1] in ("{", "["):
            return _in_json(source)
        return _in_hcl(tokens_of(source))
    except (Unreadable, RecursionError):
        names = dict.fromkeys(m["name"] for m in _VARIABLE.finditer(source))
        return _File(
            variables=tuple(_Variable(name, sensitive=True, ephemeral=True) for name in names),
            secret=_Value(tuple(_every_text(source))),
        )


def _every_text(source: str) -> list[str]:
    """Every quoted text, and every line: a heredoc's, for instance."""
    lines = [line.strip() for line in source.splitlines()]
    return [*_QUOTED.findall(source), *(line for line in lines if '"' not in line)]


# --- HCL -----------------------------------------------------------------------------------------


def _in_hcl(tokens: Sequence[Token]) -> _File:
    variables, named, arguments = [], [], []
    secret = _sensitive_calls(tokens)
    for item in items(tokens):
        if isinstance(item, Attribute):
            continue
        body = list(items(item.body))
        here = {i.name: i.value for i in body if isinstance(i, Attribute)}
        match item.type:
            case "variable" if item.labels:
                variables.append(
                    _Variable(
                        item.labels[0],
                        sensitive=_says(here.get("sensitive")),
                        ephemeral=_says(here.get("ephemeral")),
                        default=_value(here.get("default", ())),
                        type="".join(t.text for t in here.get("type", ())).strip(),
                    )
                )
            case "locals":
                named += [(name, _value(value)) for name, value in here.items()]
            case "module":
                arguments += [(name, _value(value)) for name, value in here.items()]
            case "provider":
                secret += _credentials(here)
            case "terraform":
                for inner in body:
                    if isinstance(inner, Block) and inner.type in ("backend", "cloud"):
                        written = items(inner.body)
                        secret += _credentials(
                            {i.name: i.value for i in written if isinstance(i, Attribute)}
                        )
            case "output" if _says(here.get("sensitive")):
                secret += _value(here.get("value", ()))
    return _File(tuple(variables), secret, tuple(named), tuple(arguments))


def _says(value: Sequence[Token] | None) -> bool:
    return value is not None and [t.text for t in value] != ["false"]


def _credentials(arguments: Mapping[str, Sequence[Token]]) -> _Value:
    found = _Value()
    for name, value in arguments.items():
        found += _value(value) if CREDENTIAL.search(name) else _Value()
    return found


def _value(tokens: Sequence[Token]) -> _Value:
    """What an expression writes down; names of an object's attributes are public."""
    texts: list[Any] = []
    references: dict[str, set[str]] = {"local": set(), "var": set()}
    for at, token in enumerate(tokens):
        if token.kind == "text":
            before = tokens[at - 1].text if at else ""
            after = [t.text for t in tokens[at + 1 : at + 3]]
            names = before in ("{", ",", "\n") and after[:1] in (["="], [":"])
            if not names or after == ["=", "="]:
                texts.append(token.text)
        elif token.kind == "word":
            if token.text[0].isdecimal():
                texts.append(token.text)
            elif token.text in references and [t.text for t in tokens[at + 1 : at + 2]] == ["."]:
                references[token.text].update(t.text for t in tokens[at + 2 : at + 3])
    return _Value(tuple(texts), frozenset(references["local"]), frozenset(references["var"]))


def _sensitive_calls(tokens: Sequence[Token]) -> _Value:
    """What stands between the brackets of `sensitive(...)`, wherever."""
    found, at = _Value(), 0
    while at < len(tokens):
        if tokens[at].kind == "word" and tokens[at].text == "sensitive":
            begin = at + 1
            if begin < len(tokens) and tokens[begin].text == "(" and tokens[begin].kind == "sign":
                depth, at = 1, begin + 1
                while at < len(tokens) and depth:
                    if tokens[at].kind == "sign":
                        depth += {"(": 1, ")": -1}.get(tokens[at].text, 0)
                    at += 1
                found += _value(tokens[begin:at])
                continue
        at += 1
    return found


# --- JSON syntax ---------------------------------------------------------------------------------


def _in_json(source: str) -> _File:
    try:
        root = json.loads(source, object_pairs_hook=_with_repeated, strict=False)
    except ValueError as error:
        raise Unreadable from error
    variables, named, arguments = [], [], []
    secret = _Value()
    for text in _leaves(root):
        if isinstance(text, str) and "sensitive" in text:
            secret += _sensitive_calls(template_tokens(text))
    for top in _listed(root):
        for name, body in _named(top.get("variable")):
            variables.append(
                _Variable(
                    name,
                    sensitive=body.get("sensitive", False) is not False,
                    ephemeral=body.get("ephemeral", False) is not False,
                    default=_Value(tuple(_leaves(body.get("default")))),
                    type=str(body.get("type", "")).replace(" ", ""),
                )
            )
        for body in _listed(top.get("locals")):
            named += [(name, _json_value(value)) for name, value in body.items()]
        for _, body in _named(top.get("module")):
            arguments += [(name, _json_value(value)) for name, value in body.items()]
        configured = [body for _, body in _named(top.get("provider"))]
        for settings in _listed(top.get("terraform")):
            for _, body in _named(settings.get("backend")):
                configured.append(body)
        for body in configured:
            for name, value in body.items():
                secret += _json_value(value) if CREDENTIAL.search(name) else _Value()
        for _, body in _named(top.get("output")):
            if body.get("sensitive", False) is not False:
                secret += _json_value(body.get("value"))
    return _File(tuple(variables), secret, tuple(named), tuple(arguments))


def _with_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Terraform takes a name that is repeated for more blocks of the same type."""
    found: dict[str, Any] = {}
    repeated = set()
    for name, value in pairs:
        if name not in found:
            found[name] = value
        else:
            former = found[name]
            if name not in repeated and not isinstance(former, list):
                former = [former]
            repeated.add(name)
            found[name] = [*former, *(value if isinstance(value, list) else [value])]
    return found


def _listed(value: Any) -> list[dict[str, Any]]:
    """JSON syntax lets a block be an object or a list of them."""
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, dict)]


def _named(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for block in _listed(value):
        for name, bodies in block.items():
            for body in _listed(bodies):
                yield name, body


def _leaves(value: Any, depth: int = 0) -> Iterator[Any]:
    if depth > _LEVELS:
        raise Unreadable
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item, depth + 1)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield value


def _json_value(value: Any) -> _Value:
    found = _Value()
    for leaf in _leaves(value):
        if isinstance(leaf, str) and ("${" in leaf or "%{" in leaf):
            found += _value(template_tokens(leaf))
        else:
            found += _Value((leaf,))
    return found

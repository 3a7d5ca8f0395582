"""What a run was given for its variables, and which of it is secret.

The value of a variable that the configuration marks sensitive or ephemeral does not rest in the
stack's directory: it travels inside the sealed snapshot, and lies on disk (mode 0600) only while
Terraform plans or applies, as a plan file does. Instead of a value, ``env:NAME`` or ``file:PATH``
may be given for such a variable: then only the name travels, and the worker looks the value up.
What is found is a text where the variable is one (or a number, or true or false, which Terraform
reads from a text); for a list, a map or an object it has to be JSON.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tprov_kernel.errors import ConfigurationError, ReferenceMissing
from tprov_kernel.files import write_private
from tprov_kernel.redaction import (
    assigned_values,
    declared_types,
    ephemeral_variables,
    sensitive_variables,
)
from tprov_kernel.settings import KEYS_VARIABLE

VARIABLES_FILE = "zz_tprov.auto.tfvars.json"
"""Where the values lie that were given with a run, beside the configuration's own tfvars."""

PRIVATE_FILE = "zz_tprov_private.auto.tfvars.json"
"""The same for the secret ones among them, while Terraform needs them."""

MAX_REFERENCED = 100_000
"""Bytes of a file that a reference may name."""

_SCALARS = ("", "string", "number", "bool")
"""Types that Terraform reads from a text; a variable without one is as good as a text."""

_REFERENCE = re.compile(r"(?P<kind>env|file):(?P<name>\S.*)")


@dataclass(frozen=True, kw_only=True)
class Given:
    """The files of a snapshot, apart: what may rest on a worker, and what may not.

    Attributes:
        root: The root module's directory within the snapshot.
        public: Path within the snapshot to content: what may rest in the stack's directory.
        private: The same for files with values of sensitive and ephemeral variables, tfvars files
            in other directories than the root module's among them.
        secret: Names of those variables.
        values: Variable name to the value that was given, references as they are.
        types: Variable name to the type that it declares, if it does.
    """

    root: str
    public: Mapping[str, bytes]
    private: Mapping[str, bytes]
    secret: frozenset[str]
    values: Mapping[str, Any]
    types: Mapping[str, str]

    @classmethod
    def of(cls, files: Mapping[str, bytes], *, root: str) -> Given:
        """Tell a snapshot's files apart."""
        here = {
            PurePosixPath(n): n for n in files if PurePosixPath(n).parent == PurePosixPath(root)
        }
        sources = [_text(files[n]) for p, n in here.items() if p.name.endswith((".tf", ".tf.json"))]
        secret = sensitive_variables(sources) | ephemeral_variables(sources)
        public, private, values = dict(files), dict[str, bytes](), dict[str, Any]()
        named = _secret_names(files) | secret
        for place, name in sorted((PurePosixPath(n), n) for n in files):
            if not place.name.endswith((".tfvars", ".tfvars.json")):
                continue
            if place not in here:  # Terraform reads it only if it is told to, by `file()`
                if _names_one_of(_text(files[name]), named):
                    private[name] = public.pop(name)
                continue
            found = _values(place.name, files[name])
            values |= found
            if place.name == VARIABLES_FILE:
                public[name] = _dump({n: v for n, v in found.items() if n not in secret})
                hidden = {n: v for n, v in found.items() if n in secret}
                if hidden:
                    private[place.with_name(PRIVATE_FILE).as_posix()] = _dump(hidden)
            elif _names_one_of(_text(files[name]), secret):
                private[name] = public.pop(name)
        return cls(
            root=root,
            public=public,
            private=private,
            secret=secret,
            values=values,
            types=declared_types(sources),
        )

    def known(self, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
        """The values for redaction: references looked up, those that lead nowhere left out."""
        known = dict(self.values)
        for name in self.secret & known.keys():
            with suppress(ConfigurationError):
                known[name] = self._resolved(name, known[name], environ)
        return known

    @contextmanager
    def on_disk(self, directory: Path, environ: Mapping[str, str] = os.environ) -> Iterator[None]:
        """Put the private files into a directory while the block runs.

        Raises:
            ReferenceMissing: A reference leads nowhere on this worker.
        """
        files = dict(self.private)
        for name in files:
            if PurePosixPath(name).name == PRIVATE_FILE:
                values = json.loads(files[name])
                found = {n: self._resolved(n, v, environ) for n, v in values.items()}
                files[name] = _dump(found)
        try:
            for name, content in files.items():
                (directory / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_private(directory / name, content)
            yield
        finally:
            self.clear(directory)

    def _resolved(self, variable: str, value: Any, environ: Mapping[str, str]) -> Any:
        return resolve(variable, value, environ, type_=self.types.get(variable, ""))

    def clear(self, directory: Path) -> None:
        """Remove what a worker that died may have left there."""
        for name in self.private:
            (directory / name).unlink(missing_ok=True)


def resolve(variable: str, value: Any, environ: Mapping[str, str], *, type_: str = "") -> Any:
    """Look up a reference on this machine; anything else is the value itself.

    Args:
        variable: Whose value it is.
        value: What was given for it.
        environ: Where ``env:`` looks.
        type_: The type that the variable declares; empty where it declares none.

    Raises:
        ReferenceMissing: There is no such environment variable, no such file to be read, it is
            larger than `MAX_REFERENCED`, or no JSON where the type asks for it.
        ConfigurationError: It names our own key ring.
    """
    reference = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if reference is None:
        return value
    return _as_declared(variable, _looked_up(variable, reference, environ), value, type_)


def _as_declared(variable: str, text: str, reference: str, type_: str) -> Any:
    """What Terraform's own ``-var`` would make of a text, JSON in place of its language."""
    if type_ in _SCALARS:
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if type_ == "any":
        return value if isinstance(value, dict | list) else text
    if value is None and text.strip() != "null":  # what is wrong with it would quote it
        raise ReferenceMissing(
            f"The variable {variable!r} is given as {reference}, and what is there is no JSON,"
            " which its type asks for.",
            remedy='Write it as JSON: {"user": "ada"} or ["a", "b"].',
        )
    return value


def _looked_up(variable: str, reference: re.Match[str], environ: Mapping[str, str]) -> str:
    name = reference["name"]
    if reference["kind"] == "env":
        if name == KEYS_VARIABLE:
            raise ConfigurationError(
                f"The variable {variable!r} is given as env:{name}, which holds the keys that runs"
                " are encrypted with, and is for no configuration.",
                remedy="Give it by another name.",
            )
        if name in environ:
            return environ[name]
        raise ReferenceMissing(
            f"The variable {variable!r} is given as env:{name}, and this worker has no {name} in"
            " its environment.",
            remedy=f"Set {name} where the worker runs, and start the worker again.",
        )
    try:
        with Path(name).expanduser().open("rb") as file:
            content = file.read(MAX_REFERENCED + 1)
        if len(content) > MAX_REFERENCED:  # cut, it would be another secret
            raise ReferenceMissing(
                f"The variable {variable!r} is given as file:{name}, which is larger than"
                f" {MAX_REFERENCED:,} bytes.",
                remedy="Give a file that holds this value alone.",
            )
        return content.decode().removesuffix("\n")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ReferenceMissing(
            f"The variable {variable!r} is given as file:{name}, which this worker cannot read:"
            f" {why}.",
            remedy="Put the file where the worker runs; a relative path counts from there.",
        ) from error


def is_reference(value: object) -> bool:
    """Whether a value is ``env:NAME`` or ``file:PATH``."""
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def plainly_given(directory: Path, variables: Mapping[str, Any]) -> list[str]:
    """Names of sensitive variables whose value was given as such, not by reference."""
    files = [*directory.glob("*.tf"), *directory.glob("*.tf.json")]
    sources = [file.read_text("utf-8", errors="replace") for file in sorted(files)]
    secret = sensitive_variables(sources) | ephemeral_variables(sources)
    return sorted(n for n, v in variables.items() if n in secret and not is_reference(v))


def warning_about(names: Sequence[str], *, where: str) -> tuple[str, str]:
    """What to say of sensitive values that were given plainly, and the remedy.

    Args:
        names: The variables.
        where: Where the value can be read now: 'on a command line, ...'.
    """
    verb = "is" if len(names) == 1 else "are"
    return (
        f"{', '.join(names)} {verb} sensitive, and given {where}. With the run it travels sealed.",
        f"Give a reference instead, looked up on the worker: {names[0]}=env:NAME or"
        f" {names[0]}=file:PATH.",
    )


def _values(name: str, content: bytes) -> dict[str, Any]:
    """Values in a tfvars file: a JSON one's all, of the other kind what `assigned_values` sees."""
    text = _text(content)
    if not name.endswith(".json"):
        return assigned_values(text)
    with suppress(ValueError, TypeError):
        return dict(json.loads(text))
    return {}


def _secret_names(files: Mapping[str, bytes]) -> frozenset[str]:
    """Names of the sensitive and ephemeral variables of every module."""
    sources = [_text(text) for name, text in files.items() if name.endswith((".tf", ".tf.json"))]
    return sensitive_variables(sources) | ephemeral_variables(sources)


def _names_one_of(text: str, names: frozenset[str]) -> bool:
    """Whether a file says something of one of these variables, as far as a look can tell."""
    return any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) for name in names)


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


def _dump(values: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(values), sort_keys=True, indent=2).encode()

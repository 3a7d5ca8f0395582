"""What a reader typed into a cell, looked at before anything happens: a typo is one sentence."""

from __future__ import annotations

import difflib
import re
from typing import Any, get_args

from tprov_kernel.errors import SettingsError, TprovError
from tprov_kernel.messages import Status
from tprov_kernel.observe import STEPS, StepName
from tprov_kernel.settings import KEYS_VARIABLE, Target, check_seconds

OURS = ("Lab", "Run", "CloudApi")
"""What cells hold of ours, by class."""

_CALLED = re.compile(rf"(?:{'|'.join(OURS)})\.(\w+)\(\) (.+)|open_lab\(\) (.+)")
_LONGEST_PACE = 600.0
_NOTEBOOK = re.compile(r"[A-Za-z0-9_-]{1,80}")
_VIAS = ("signal", "update")


class Mistyped(TprovError):
    """A call in a cell that is not one of ours."""


def status(text: str) -> Status:
    """The status of this name.

    Raises:
        Mistyped: There is none.
    """
    known = [s.value for s in Status]
    if text in known:
        return Status(text)
    near = difflib.get_close_matches(str(text), known, n=1)
    raise Mistyped(
        f"There is no status {text!r}.",
        remedy=f"Did you mean {near[0]!r}?" if near else f"One of: {', '.join(known)}.",
    )


def step(text: str) -> StepName:
    """The step of this name.

    Raises:
        Mistyped: There is none.
    """
    for name in STEPS:
        if name == text:
            return name
    raise Mistyped(f"There is no step {text!r}.", remedy=f"One of: {', '.join(STEPS)}.")


def timeout(seconds: float) -> float:
    """Seconds to wait.

    Raises:
        SettingsError: That is no time to wait.
    """
    return check_seconds("timeout", seconds, least=0, most=366 * 86_400)


def via(text: str) -> None:
    """Check how the card's buttons are to decide.

    Raises:
        Mistyped: There is no such way.
    """
    if text not in _VIAS:
        raise Mistyped(f"via={text!r} is no way to decide.", remedy="Give 'signal' or 'update'.")


def opening(notebook: str, target: str, pace: float | None) -> None:
    """Check what `open_lab` was called with.

    Raises:
        SettingsError: One of them is not as it should be.
    """
    if notebook and not _NOTEBOOK.fullmatch(notebook):
        raise SettingsError(
            f"{notebook!r} is no notebook's name.",
            remedy="Use letters, digits, hyphens and underscores: it names a directory.",
        )
    if target not in get_args(Target):
        raise SettingsError(f"There is no target {target!r}.", remedy="Give 'local' or 'remote'.")
    if pace is not None:
        check_seconds("pace", pace, least=0, most=_LONGEST_PACE)


def keys(function: object, target: str) -> None:
    """Check where `open_lab` was told that keys come from.

    Raises:
        SettingsError: It is no function, or the services of this machine could not read with it.
    """
    if function is None:
        return
    if not callable(function):
        raise SettingsError(
            f"keys is a {type(function).__name__}, and no function.",
            remedy="Give a function that gives the key ring; `help(open_lab)` tells.",
        )
    if target == "local":
        raise SettingsError(
            "A function for keys is for target='remote': the codec server that is opened here is a"
            " process of its own, and could not call it.",
            remedy=f"Leave keys out; {KEYS_VARIABLE} works with both.",
        )


def mistyped(error: TypeError | AttributeError) -> Mistyped | None:
    """The sentence for a call of ours that is wrong in its form; None for anything else."""
    if isinstance(error, AttributeError):
        return _no_such_name(error.obj, error.name or "")
    found = _CALLED.match(str(error))
    if found is None:
        return None
    name = f"{'run' if str(error).startswith('Run.') else 'lab'}.{found[1]}"
    name, problem = (name, found[2]) if found[1] else ("open_lab", found[3])
    return Mistyped(f"{name}() {problem}.", remedy=f"`help({name})` shows how it is called.")


def _no_such_name(holder: Any, name: str) -> Mistyped | None:
    kind = type(holder).__name__
    if kind not in OURS or not type(holder).__module__.startswith("tprov_kernel.lab."):
        return None
    known = [n for n in dir(holder) if not n.startswith("_")]
    near = difflib.get_close_matches(name, known, n=1)
    return Mistyped(
        f"A {kind.lower()} has no {name!r}.",
        remedy=f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(known)}.",
    )

"""What the commands say: answers on stdout; errors, asides and questions on stderr.

rich and asyncio are imported when they are needed: most of `--help`'s time would be theirs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

    from tprov_kernel.errors import TprovError
    from tprov_kernel.settings import Settings

T = TypeVar("T")


class Usage(Exception):
    """The command line is not one of ours."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class Interrupted(Exception):
    """Ctrl-C where there is something to say about it."""


def to_its_end(work: Coroutine[Any, Any, T], *, interrupted: str = "Interrupted.") -> T:
    """Run a command's coroutine; Ctrl-C cancels it.

    Raises:
        Interrupted: With this sentence.
    """
    import asyncio

    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise Interrupted(interrupted) from None


@cache
def out() -> Console:
    """Where answers go."""
    from rich.console import Console

    return Console(highlight=False)


@cache
def err() -> Console:
    """Where everything else goes."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def error(error: TprovError) -> None:
    """Say what went wrong, and what to do about it."""
    sentence(error.message, remedy=error.remedy)


def sentence(message: str, *, remedy: str = "") -> None:
    """One red sentence, and its remedy below it."""
    _say(message, "bold red")
    if remedy:
        _say(remedy)


def warning(message: str, *, remedy: str = "") -> None:
    """One yellow sentence: it goes on all the same."""
    _say(message, "yellow")
    if remedy:
        _say(remedy)


def doubts(settings: Settings) -> None:
    """What others could read on the way to a remote server, or there."""
    from tprov_kernel.announce import doubts as found

    for doubt in found(settings):
        warning(doubt.message, remedy=doubt.remedy)


def aside(message: str) -> None:
    """Something in passing."""
    _say(message, "dim")


def ignored(names: Iterable[str]) -> None:
    """Say that a local command does not use what the environment says about connections."""
    listed = ", ".join(names)
    if listed:
        aside(f"Local: {listed} ignored. --target remote would use them.")


def progress(message: str) -> None:
    """A line about a long step; on a terminal it replaces the one before it when that goes on."""
    _say(message, "dim")


def answer(message: str) -> None:
    """A plain line on stdout, for people and for scripts: neither wrapped nor coloured."""
    sys.stdout.write(message + "\n")
    sys.stdout.flush()


def confirmed(question: str, *, option: str = "--yes") -> bool:
    """Ask on the terminal; without one nobody can answer.

    Args:
        question: What is about to happen, as a question.
        option: What says yes beforehand.

    Raises:
        TprovError: Nobody is there to be asked.
    """
    if not sys.stdin.isatty():
        from tprov_kernel.errors import TprovError

        raise TprovError("Nobody is here to be asked.", remedy=f"Give {option} if you mean it.")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


_CODES = {"bold red": "1;31", "yellow": "33", "dim": "2"}


def _say(text: str, style: str = "") -> None:
    from tprov_kernel.widgets.words import clean

    # Without rich: this is all that most commands say, and importing it takes longer than they do.
    coloured = style and sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    plain = clean(text)
    sys.stderr.write(f"\x1b[{_CODES[style]}m{plain}\x1b[0m\n" if coloured else f"{plain}\n")
    sys.stderr.flush()

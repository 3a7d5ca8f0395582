"""`tprov cloud`: told to fail, looked into, mended; over the session's stand-in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from tests.cli.typed import Terminal
from tests.conftest import Platform
from tprov_kernel.cloud import CloudClient
from tprov_kernel.errors import CloudUnavailable


@pytest.fixture
def terminal(platform: Platform) -> Iterator[Terminal]:
    """A terminal that meets the session's services; whatever was broken is mended."""
    terminal = Terminal(platform.settings.home)
    yield terminal
    assert terminal.type("cloud", "mend").code == 0


async def _account(platform: Platform) -> str:
    return (await CloudClient(platform.settings.cloud).check()).id


def test_it_fails_as_often_as_it_was_told(platform: Platform, terminal: Terminal) -> None:
    """Three times unavailable, then well again; the fault is listed meanwhile."""
    said = terminal.type("cloud", "fail", "GetAccount", "UNAVAILABLE", "--times", "3")
    assert "GetAccount answers UNAVAILABLE 3 times." in said.out + said.err
    listed = " ".join(terminal.type("cloud", "status").out.split())
    assert "faults GetAccount answers UNAVAILABLE 3 times" in listed
    for _ in range(3):
        with pytest.raises(CloudUnavailable, match="UNAVAILABLE"):
            asyncio.run(_account(platform))
    assert asyncio.run(_account(platform))
    assert json.loads(terminal.type("cloud", "status", "--json").out)["faults"] == []


def test_what_it_holds_is_listed(terminal: Terminal) -> None:
    """A table for people, JSON for programs, the same objects."""
    objects = json.loads(terminal.type("cloud", "list", "--json").out)
    assert {"account", "user"} <= {item["type"] for item in objects}
    table = terminal.type("cloud", "list").out
    assert "owner@example.com" in table


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("fail", "Nope"), "'Nope' is none"),
        (("fail", "GetAccount", "BAD"), "'BAD' is none"),
        (("fail",), "Missing argument"),
    ],
)
def test_a_mistake_gets_a_sentence(
    terminal: Terminal, words: tuple[str, ...], sentence: str
) -> None:
    """No method, no such code, nothing said."""
    said = terminal.type("cloud", *words)
    assert said.code != 0
    assert sentence in said.err

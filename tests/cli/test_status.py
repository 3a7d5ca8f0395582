"""`tprov status` over many runs: found by a filter, counted per status."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.cli.typed import Said, Terminal
from tests.conftest import Platform

NAMESPACE = "terraform/tcloud_namespace"
MINE = "tprovStack STARTS_WITH 'many-'"


@pytest.fixture(scope="module")
def terminal(platform: Platform) -> Iterator[Terminal]:
    """A terminal with two runs that nobody serves, and one that ended without a status of ours."""
    terminal = Terminal(platform.settings.home)
    for stack in ("many-a", "many-b"):
        said = terminal.type("start", stack, "-c", NAMESPACE, "--task-queue", "nobody's")
        assert said.code == 0, said.err
    client = platform.runtime.call(platform.client())
    told(terminal, "--query", MINE, until="many-b")
    platform.runtime.call(client.get_workflow_handle("stack-many-b").terminate("by a test"))
    told(terminal, "--query", MINE, until="terminated")
    yield terminal
    platform.runtime.call(client.get_workflow_handle("stack-many-a").terminate("by a test"))


def told(terminal: Terminal, *options: str, until: str) -> Said:
    """Ask until visibility knows, which is told a moment later."""
    deadline = time.monotonic() + 20
    while until not in (said := terminal.type("status", *options)).out:
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
    return said


def test_a_filter_finds_runs(terminal: Terminal) -> None:
    """Those and no others, open ones first; as many as there are, not one per stack."""
    said = terminal.type("status", "--query", f"{MINE} AND ExecutionStatus='Running'")
    assert said.code == 0
    assert "many-a" in said.out
    assert "● uninitialized" in said.out
    assert "many-b" not in said.out
    both = terminal.type("status", "--query", MINE).out
    assert both.index("many-a") < both.index("many-b")
    assert "✕ terminated" in both


def test_nothing_found_is_said(terminal: Terminal) -> None:
    """An empty table would look like a failure."""
    said = terminal.type("status", "--query", "tprovStack='there-is-none'")
    assert (said.code, said.out.strip()) == (
        0,
        "No run matches. tprov status --count counts all there are.",
    )


def test_counts_are_words_and_a_bar(terminal: Terminal) -> None:
    """Per status; Temporal's word for what ended without one."""
    said = terminal.type("status", "--count", "--query", MINE)
    assert said.code == 0
    bar, words = said.out.strip().splitlines()
    assert words == "2 runs: 1 uninitialized, 1 terminated."
    assert set(bar) == {"█"}
    assert terminal.type("status", "--count").out.strip()


def test_programs_get_json(terminal: Terminal) -> None:
    """The runs as `status STACK --json` tells them; the counts by status."""
    counted = terminal.type("status", "--count", "--query", MINE, "--json")
    assert json.loads(counted.out) == {"uninitialized": 1, "terminated": 1}
    found = terminal.type("status", "--query", MINE, "--json")
    assert {run["stack"] for run in json.loads(found.out)} == {"many-a", "many-b"}


def test_a_wrong_filter_is_a_sentence_and_a_remedy(terminal: Terminal) -> None:
    """The same as at the table's field; nothing on stdout."""
    for more in ([], ["--count"], ["--json"]):
        said = terminal.type("status", "--query", "tprovSatus='x'", *more)
        assert (said.code, said.out) == (1, "")
        assert "does not understand this filter: invalid search attribute: tprovSatus." in said.err
        assert "Did you mean `tprovStatus`?" in said.err or "Did you mean tprovStatus?" in said.err


def test_a_stack_and_a_filter_contradict_each_other(terminal: Terminal) -> None:
    """The remedy is the filter that was meant."""
    said = terminal.type("status", "many-a", "--query", MINE)
    assert said.code == 2
    assert "One stack, or a filter: not both." in said.err
    assert "tprov status --query \"tprovStack='many-a'\"" in said.err

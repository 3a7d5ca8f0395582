"""The description's own `temporal` commands, in a plain terminal that `tprov env` has set up."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.cli.typed import TPROV, Said, Terminal
from tests.conftest import Platform

ADMIN = "terraform/tcloud_admin_user"

pytestmark = pytest.mark.timeout(90)


@dataclass(frozen=True)
class Shell:
    """A shell that has evaluated what `tprov env` prints."""

    terminal: Terminal
    exported: Mapping[str, str]

    def type(self, line: str) -> Said:
        """Type a line; it is read by a shell, quotes and all."""
        return self.terminal.run("bash", "-c", line, env=self.exported)

    def query(self, kind: str, stack: str = "adm") -> Any:
        """What the description's own query answers."""
        said = self.type(
            f'temporal workflow query --workflow-id="stack-{stack}" --type="{kind}" --output json'
        )
        assert said.code == 0, said.err
        (answer,) = json.loads(said.out)["queryResult"]
        return answer

    def until(self, kind: str, wanted: Any, stack: str = "adm") -> None:
        """Ask until this is the answer."""
        for _ in range(60):
            if (answer := self.query(kind, stack)) == wanted:
                return
        raise AssertionError(f"{kind} answers {answer!r}, not {wanted!r}")

    def decisions(self, count: int, stack: str = "adm") -> list[Mapping[str, str]]:
        """All decisions, when there are so many."""
        for _ in range(60):
            if len(told := self.query("get_decisions", stack)) == count:
                return list(told)
        raise AssertionError(f"{len(told)} decisions, not {count}")


@pytest.fixture(scope="module")
def shell(platform: Platform) -> Iterator[Shell]:
    """After `eval "$(tprov env)"`; a worker polls the usual queue."""
    terminal = Terminal(platform.settings.home)
    said = terminal.run("bash", "-c", f'eval "$({shlex.join(TPROV)} env)" && env -0')
    assert said.code == 0, said.err
    lines = [line.partition("=") for line in said.out.split("\0") if "=" in line]
    with platform.serves():
        yield Shell(terminal, {name: value for name, _, value in lines})


def test_a_run_is_asked_about_ignored_refused_approved_and_told(shell: Shell) -> None:
    """Queries answer; a signal without a reason is ignored, with why; one with a reason approves.

    The audit names both, and a third, but not the update that was refused.
    """
    said = shell.type(f"tprov start adm --config {ADMIN}")
    assert (said.code, said.out) == (0, "stack-adm\n"), said.err
    shell.until("get_current_status", "awaiting_approval")
    assert shell.query("get_progress") == 60
    plan = shell.query("get_plan")
    assert (plan["add"], plan["changes"][0]["address"]) == (1, "temporalcloud_user.admin")
    assert shell.query("get_signal_reason") == ""
    review = shell.query("get_review")

    times = [datetime.now(UTC)]
    signal = 'temporal workflow signal --workflow-id="stack-adm" --name approve_apply'
    assert shell.type(signal).code == 0
    (first,) = shell.decisions(1)
    assert (first["outcome"], first["via"]) == ("ignored", "signal")
    assert first["why"] == "an approval needs a reason."
    times.append(datetime.now(UTC))
    assert shell.type(f'{signal} --input \'{{"review": "00000000"}}\'').code == 0
    second = shell.decisions(2)[1]
    assert "review 00000000 is not the one that waits" in second["why"]
    assert shell.query("get_current_status") == "awaiting_approval"

    refused = shell.type(
        'temporal workflow update execute --workflow-id="stack-adm" --name approve_apply'
        """ --input '{"reviewer": "refused-person"}'"""
    )
    assert refused.code == 1
    assert "Refused: an approval needs a reason. Nothing was recorded." in refused.err
    assert len(shell.decisions(2)) == 2
    times.append(datetime.now(UTC))

    assert shell.type(f"{signal} --input '\"a reason\"'").code == 0
    shell.until("get_current_status", "applied")
    times.append(datetime.now(UTC))
    assert shell.query("get_signal_reason") == "a reason"
    assert shell.query("get_progress") == 100

    audit = shell.type("tprov audit adm --json")
    assert audit.code == 0, audit.err
    told = json.loads(audit.out)
    assert [(d["outcome"], d["via"], d["reason"]) for d in told["decisions"]] == [
        ("ignored", "signal", ""),
        ("ignored", "signal", ""),
        ("approved", "signal", "a reason"),
    ]
    assert told["reviews"][0]["review"]["digest"] == review["digest"]
    for decided, (before, after) in zip(told["decisions"], pairwise(times), strict=True):
        assert before <= datetime.fromisoformat(decided["at"]) <= after
    markdown = shell.type("tprov audit adm").out
    for words in ("an approval needs a reason", "is not the one that waits", "a reason"):
        assert words in markdown
    assert "refused-person" not in markdown + audit.out


def test_an_update_denies(shell: Shell) -> None:
    """It answers with the decision; the run is rejected; afterwards there is nothing to decide."""
    assert shell.type(f"tprov start adm-2 --config {ADMIN} --expires 600").code == 0
    shell.until("get_current_status", "awaiting_approval", "adm-2")
    review = shell.query("get_review", "adm-2")
    asked, expires = (datetime.fromisoformat(review[at]) for at in ("asked_at", "expires_at"))
    assert (expires - asked).total_seconds() == 600
    update = 'temporal workflow update execute --workflow-id="stack-adm-2" --name deny_apply'
    given = """--input '{"reason": "use a namespace permission"}'"""
    said = shell.type(f"{update} {given} --output json")
    assert said.code == 0, said.err
    answer = json.loads(said.out)["result"]
    assert (answer["outcome"], answer["via"]) == ("denied", "update")
    shell.until("get_current_status", "rejected", "adm-2")
    assert shell.query("get_signal_reason", "adm-2") == "use a namespace permission"
    late = shell.type(f"{update} {given}")
    assert late.code == 1
    assert "completed" in late.err, "the server's own words: nobody of ours is asked"

"""audit, policy try and policy explain, as a person types them."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_runs import ADMIN, waits
from tests.cli.typed import Terminal, until_said
from tests.conftest import ROOT, Platform
from tprov_kernel.cli import command

QUEUE = "typed-gate"


@pytest.fixture(scope="module")
def terminal(platform: Platform) -> Terminal:
    """A terminal that meets the session's services."""
    return Terminal(platform.settings.home)


@pytest.fixture(scope="module")
def asked(terminal: Terminal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A stack that waits for a decision; a worker polls for it."""
    log = tmp_path_factory.mktemp("worker") / "log"
    with terminal.runs("worker", "--task-queue", QUEUE, log=log) as process:
        until_said(log, "Polling", process=process, limit=30)
        said = terminal.type("start", "gate", "--config", ADMIN, "--task-queue", QUEUE)
        assert said.code == 0, said.err
        waits(terminal, "gate")
        yield "gate"
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.mark.parametrize("name", ["try", "explain"])
def test_help_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An example that begins with the command, and what to do next."""
    assert command(["policy", name, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"tprov policy {name}" in said.split("Example:")[1]
    assert "Next:" in said


def test_a_level_is_mistyped(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and the form."""
    assert command(["policy", "try", "demo", "--level", "account_admin"]) == 2
    assert "is not RULE=LEVEL" in capsys.readouterr().err


def test_the_exit_code_is_the_verdict(terminal: Terminal, asked: str, tmp_path: Path) -> None:
    """3 a human has to decide, 4 forbidden, 0 allowed, 1 cannot be judged."""
    human = terminal.type("policy", "try", asked)
    assert human.code == 3, human.err
    assert "soft-mandatory" in human.out
    assert "gets account-wide admin access" in human.out
    assert "It would be up to a human." in human.out
    assert "Nothing was decided" in human.err

    level = ("--level", "account_admin=hard-mandatory")
    forbidden = terminal.type("policy", "try", asked, *level)
    assert forbidden.code == 4
    assert "forbidden" in forbidden.out

    bundle = tmp_path / "policies"
    shutil.copytree(ROOT / "policies", bundle)
    (bundle / "rules" / "account_admin.rego").unlink()
    allowed = terminal.type("policy", "try", asked, "--bundle", str(bundle), "--json")
    assert allowed.code == 0, allowed.err
    assert json.loads(allowed.out)["outcome"] == "allowed"
    assert json.loads(allowed.out)["findings"] == []

    (bundle / "rules" / "broken.rego").write_text("package tprov.rules.broken\n\nno rego\n")
    broken = terminal.type("policy", "try", asked, "--bundle", str(bundle))
    assert (broken.code, broken.out) == (1, "")
    assert "rules/broken.rego:3" in broken.err
    assert terminal.type("policy", "try", asked).code == 3, "the run waits as before"


def test_a_rule_is_explained(terminal: Terminal, asked: str) -> None:
    """By OPA, with file and line; an unknown rule is a sentence that names the others."""
    told = terminal.type("policy", "explain", asked, "account_admin")
    assert told.code == 0, told.err
    assert "rules/account_admin.rego:17" in told.out
    unknown = terminal.type("policy", "explain", asked, "acount")
    assert unknown.code == 1
    assert "There is no rule 'acount'" in unknown.err
    assert "account_admin" in unknown.err


def test_an_audit_on_stdout_and_in_a_file(terminal: Terminal, asked: str, tmp_path: Path) -> None:
    """Markdown or JSON; while the run waits, and when it is over."""
    waiting = terminal.type("audit", asked)
    assert waiting.code == 0, waiting.err
    assert waiting.out.startswith("# Audit of stack `gate`: awaiting approval, not over yet")
    assert terminal.type("deny", asked, "--reason", "not today").code == 0
    assert terminal.type("status", asked, "--watch").code == 1
    file = tmp_path / "audit.json"
    saved = terminal.type("audit", asked, "--json", "--output", str(file))
    assert saved.code == 0, saved.err
    assert "is in" in saved.out
    told = json.loads(file.read_text())
    assert (told["status"], told["decisions"][0]["reason"]) == ("rejected", "not today")
    never = terminal.type("audit", "never-there")
    assert never.code == 1
    assert "There was never a run" in never.err

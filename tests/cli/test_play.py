"""`tprov play`: did the story come true? Small notebooks, and a real one that is killed once."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.typed import TPROV, Terminal, left_over, naming, until_said
from tests.conftest import ROOT
from tprov_kernel.observe import STEPS

STORY = {"stack": "demo", "status": "applied"}


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A workspace with folders, no notebook yet; no process may be left that names it."""
    for folder in ("terraform", "policies", "notebooks"):
        (tmp_path / "work" / folder).mkdir(parents=True)
    terminal = Terminal(tmp_path / "work" / ".tprov", root=tmp_path / "work")
    yield terminal
    assert left_over(tmp_path, limit=10) == []


def write(terminal: Terminal, name: str, *cells: str, story: object = STORY) -> Path:
    """Write a notebook."""
    path = terminal.root / "notebooks" / name
    made: list[dict[str, object]] = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell-{n}",
            "metadata": {},
            "outputs": [],
            "source": source,
        }
        for n, source in enumerate(cells)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, **({"tprov": {"story": story}} if story else {})}
    notebook = {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook))
    return path


def reports(status: str, *, stack: str = "demo", closed: bool = True) -> str:
    """A cell that says of a run what a lab's watcher would."""
    step = {"state": "done", "attempts": 1, "seconds": 0.5, "doing": "", "note": "", "failure": ""}
    line = {
        "workflow_id": f"stack-{stack}",
        "run_id": f"run-{stack}",
        "stack": stack,
        "action": "provision",
        "status": status,
        "closed": closed,
        "progress": 100,
        "seconds": 1.5,
        "failure": "",
        "remedy": "",
        "steps": [{"name": name, **step} for name in STEPS],
        "outputs": {"id": '"demo.acct"', "token": "(sensitive)"},
    }
    return (
        "import os\nwith open(os.environ['TPROV_PLAY_REPORT'], 'a') as report:\n"
        f"    report.write({json.dumps(line)!r} + chr(10))"
    )


def played(terminal: Terminal, scenario: str) -> tuple[int, dict[str, Any], str]:
    """Play with --json: exit code, the one line, what else was said."""
    said = terminal.run(*TPROV, "play", scenario, "--json")
    (line,) = said.out.splitlines()
    return said.code, json.loads(line), said.err


def test_a_story_that_comes_true(terminal: Terminal) -> None:
    """Exit code 0; one line of JSON with status, steps and the outputs as values."""
    path = write(terminal, "01_tale.ipynb", "x = 1", reports("applied"))
    before = path.read_bytes()
    code, answer, _ = played(terminal, "tale")
    assert code == 0
    assert [answer[n] for n in ("scenario", "status", "workflow_id")] == [
        "tale",
        "applied",
        "stack-demo",
    ]
    assert [step["name"] for step in answer["steps"]] == list(STEPS)
    assert answer["outputs"] == {"id": "demo.acct", "token": "(sensitive)"}
    assert answer["seconds"] > 0
    assert "error" not in answer
    assert path.read_bytes() == before, "a play only reads"


def test_a_story_may_end_in_a_failure_on_purpose(terminal: Terminal) -> None:
    """The status that was promised counts, and a cell that has to fail is tagged as such."""
    story = {"stack": "demo", "status": "policy_hard_failed"}
    path = write(terminal, "06_tale.ipynb", reports("policy_hard_failed"), "1 / 0", story=story)
    notebook = json.loads(path.read_text())
    notebook["cells"][1]["metadata"]["tags"] = ["raises-exception"]
    path.write_text(json.dumps(notebook))
    code, answer, _ = played(terminal, "tale")
    assert (code, answer["status"]) == (0, "policy_hard_failed")
    assert "error" not in answer


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([reports("rejected")], "stack-demo ended as rejected, not applied"),
        ([reports("applying", closed=False)], "stack-demo is applying, not applied"),
        ([reports("applied", stack="other")], "started no run on stack 'demo'"),
        ([reports("applied"), "raise ValueError('so bad')"], "Cell 2 of 2 failed: so bad"),
        (["import os; os._exit(3)"], "The kernel died"),
    ],
)
def test_a_story_that_does_not(terminal: Terminal, cells: list[str], words: str) -> None:
    """Exit code 1, and why, in the line and as a sentence."""
    write(terminal, "01_tale.ipynb", *cells)
    code, answer, err = played(terminal, "tale")
    assert code == 1
    assert words in answer["error"]
    assert words in err


def test_a_stack_that_was_left_alone_has_a_number(terminal: Terminal) -> None:
    """A lab gives the run to demo-2 when demo still holds something: that is the story's run."""
    write(terminal, "01_tale.ipynb", reports("applied", stack="demo-2"))
    code, answer, _ = played(terminal, "tale")
    assert (code, answer["workflow_id"]) == (0, "stack-demo-2")


def test_a_notebook_without_a_story_has_to_run(terminal: Terminal) -> None:
    """Its environment says that nobody is there; it is told in words."""
    autopilot = "import os; assert os.environ['TPROV_AUTOPILOT'] == '1'"
    place = "assert os.getcwd().endswith('notebooks')"
    write(terminal, "00_first.ipynb", f"{autopilot}\n{place}", story=None)
    said = terminal.run(*TPROV, "play", "first")
    assert said.code == 0, said.err
    assert "cell 1 of 1" in said.out
    assert "✓ first ran to its end" in said.out


def test_an_unknown_scenario_lists_what_there_is(terminal: Terminal) -> None:
    """The names are the notebooks' without their numbers."""
    write(terminal, "01_tale.ipynb", "1")
    write(terminal, "02_sequel.ipynb", "1")
    said = terminal.type("play", "prequel")
    assert said.code == 1
    assert "There are: tale, sequel." in said.err


SLEEP = "import os, time; open('kernel.pid', 'w').write(str(os.getpid())); time.sleep(600)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ended_in_the_middle_it_leaves_no_process(
    terminal: Terminal, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C is answered with a line and 130; however it ends, the kernel ends with it."""
    write(terminal, "01_tale.ipynb", SLEEP)
    log, pid = tmp_path / "log", terminal.root / "notebooks" / "kernel.pid"
    with terminal.runs("play", "tale", log=log) as process:
        until_said(log, "cell 1 of 1", process=process, limit=30)
        deadline = time.monotonic() + 10
        while not (pid.exists() and pid.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        kernel = int(pid.read_text())
        assert any(line.startswith(f"{kernel} ") for line in naming(tmp_path))
        process.send_signal(number)
        code = process.wait(10)
        assert code == (130 if number == signal.SIGINT else -number)
        assert left_over(tmp_path, limit=5) == []
    if number == signal.SIGINT:
        assert "tale was interrupted" in log.read_text()


@pytest.mark.timeout(240)
def test_the_happy_path_comes_true_after_a_kill(tmp_path: Path) -> None:
    """A real run is killed while it applies; the next play of it ends applied, without cleaning."""
    terminal = Terminal(tmp_path / "home", root=ROOT)
    log = tmp_path / "log"
    with terminal.runs("play", "happy_path", log=log) as process:
        until_said(log, "stack-happy applying", process=process, limit=90)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    assert left_over(terminal.home, limit=25) == [], "a Terraform at work may use its grace"
    said = terminal.run(*TPROV, "play", "happy_path", "--json", limit=120)
    assert said.code == 0, said.err
    answer = json.loads(said.last_line)
    assert answer["status"] == "applied"
    assert answer["outputs"]["namespace_id"]
    assert left_over(terminal.home, limit=10) == []

"""What the command says before it does anything: help, mistypings, sentences, pictures."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter

from tests.cli.typed import Terminal
from tests.conftest import ROOT
from tests.widgets import views
from tprov_kernel.cli import command, render, say
from tprov_kernel.cli.app import app
from tprov_kernel.errors import StackError
from tprov_kernel.history import Fold

COMMANDS = sorted(c.name or c.callback.__name__ for c in app.registered_commands if c.callback)


# --- help ------------------------------------------------------------------------------------


def test_the_commands_are_those_that_readers_know() -> None:
    """A command that disappears would break a reader's script."""
    assert COMMANDS == [
        "approve",
        "audit",
        "cancel",
        "codec-server",
        "deny",
        "destroy",
        "doctor",
        "down",
        "env",
        "export-history",
        "interrupt",
        "lab",
        "play",
        "recheck",
        "replan",
        "reset",
        "retry",
        "setup",
        "start",
        "status",
        "up",
        "worker",
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each help has a sentence, an example that begins with the command, and what to do next."""
    assert command([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"Usage: tprov {name}" in said
    assert f"tprov {name}" in said.split("Example:")[1]
    assert "Next:" in said


def test_help_imports_nothing_heavy() -> None:
    """`--help` answers at once: no SDK, no Jupyter, no cryptography is imported for it."""
    heavy = ("temporalio", "jupyterlab", "aiohttp", "cryptography", "grpc", "IPython", "psutil")
    script = (
        "import sys; from tprov_kernel.cli import command; command(['--help']);"
        f"print('heavy:', [n for n in {heavy} if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "heavy: []" in done.stdout


# --- mistyped --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["strat"], "No such command 'strat'. Did you mean 'start'"),
        (["start", "demo"], "Missing option '--config'"),
        (["start"], "Missing argument"),
        (["start", "demo", "--config", ".", "--var", "retention"], "is not KEY=VALUE"),
        (
            ["start", "demo", "--config", ".", "--var", "regions=[eu"],
            "looks like JSON, but is none",
        ),
        (["status", "--target", "mars"], "mars"),
        (["up", "--port", "1"], "No such option"),
    ],
)
def test_a_mistyped_command_is_a_sentence_and_a_remedy(
    typed: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, nothing on stdout, no stack trace; the remedy is a command's help or a form."""
    assert command(typed) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 2
    assert "Traceback" not in said.err


def test_without_a_command_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    """`tprov` alone teaches, and does nothing."""
    assert command([]) == 2
    assert "Begin with tprov lab" in capsys.readouterr().out


# --- nothing there ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    [
        ["status"],
        ["status", "demo"],
        ["approve", "demo", "--reason", "because"],
        ["cancel", "demo"],
        ["destroy", "demo", "--yes"],
        ["worker"],
        ["env"],
        ["export-history", "demo", "x.json"],
    ],
)
def test_without_services_each_command_says_how_to_open_them(
    typed: list[str], tmp_path: Path
) -> None:
    """One sentence and `tprov up`; exit code 1; nothing is made that was not there."""
    said = Terminal(tmp_path / "home").type(*typed)
    assert said.code == 1
    assert said.out == ""
    assert "No services are open" in said.err
    assert "tprov up" in said.err
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", ["up", "down", "reset", "lab"])
def test_what_is_about_local_services_refuses_the_remote_target(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody opens or removes anything local while thinking of a remote server."""
    assert command(["--target", "remote", name]) == 1
    assert "local services" in capsys.readouterr().err


def test_down_and_reset_have_nothing_to_do_where_nothing_is(tmp_path: Path) -> None:
    """Both say so, and that is no failure."""
    terminal = Terminal(tmp_path / "home")
    assert (said := terminal.type("down")).code == 0
    assert "nothing to close" in said.out
    assert (said := terminal.type("reset", "--yes")).code == 0
    assert "There is nothing" in said.out


def test_a_name_that_is_none_is_refused_before_anything_else(tmp_path: Path) -> None:
    """Even with no services open: the sentence is about the name."""
    said = Terminal(tmp_path / "home").type("start", "My_Stack", "--config", "terraform")
    assert said.code == 1
    assert "is no name for a stack" in said.err


def test_remote_without_an_address_says_what_to_set(tmp_path: Path) -> None:
    """The description's variable is named, and the way back to local."""
    terminal = Terminal(tmp_path / "home")
    said = terminal.type("status", "--target", "remote", env={"HOME": str(tmp_path)})
    assert said.code == 1
    assert "TEMPORAL_HOST_URL" in said.err


# --- errors ----------------------------------------------------------------------------------


def test_an_error_of_ours_is_a_sentence_and_its_remedy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Control characters from elsewhere do not reach the terminal."""
    say.error(StackError("There is no \x1b[2Jstack.", remedy="Make one."))
    assert capsys.readouterr().err == "There is no stack.\nMake one.\n"


def test_a_folder_that_takes_nothing_is_a_sentence(tmp_path: Path) -> None:
    """A file where the data directory's parent should be: no stack trace, exit code 1."""
    (tmp_path / "file").write_text("")
    said = Terminal(tmp_path / "file" / "home").type("up")
    assert said.code == 1
    assert "Traceback" not in said.err
    assert "TPROV_HOME" in said.err


# --- pictures --------------------------------------------------------------------------------


def drawn(name: str, *, width: int = 100, detail: bool = True) -> str:
    """A hand-made run as a terminal without colours shows it."""
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(render.run(views.EVERY[name](), now=views.at(72), detail=detail))
    return captured.get()


@pytest.mark.parametrize("name", sorted(views.EVERY))
@pytest.mark.parametrize("width", [60, 80, 160])
def test_every_state_of_a_run_can_be_drawn(name: str, width: int) -> None:
    """All six steps are there, and no line is longer than the terminal."""
    picture = drawn(name, width=width)
    for step in ("Init", "Plan", "Policy", "Approval", "Apply", "Output"):
        assert step in picture
    assert all(len(line) <= width for line in picture.splitlines())


def test_a_question_says_what_why_and_how_to_answer() -> None:
    """The finding, its remedy, the review's digest, and the two commands."""
    picture = drawn("asking", detail=False)
    assert "soft-mandatory" in picture
    assert "give developer access" in picture
    assert "7f3a·91c2" in picture
    assert 'tprov approve adm-7c2f --reason "..."' in picture
    assert 'tprov deny adm-7c2f --reason "..."' in picture


def test_a_denial_without_a_reason_ends_with_its_review() -> None:
    """A reason is optional for a denial: nothing dangles where there is none."""
    denied = replace(views.decision(), verb="deny", outcome="denied", reason="")
    view = replace(views.applying(), decisions=(denied,))
    console = Console(width=100, color_system=None)
    with console.capture() as captured:
        console.print(render.run(view, now=views.at(72), detail=True))
    said = captured.get()
    line = next(line for line in said.splitlines() if "denied by grace" in line)
    assert line.rstrip().endswith("review 7f3a·91c2")


def test_trouble_is_said_in_words() -> None:
    """A server that does not answer, a worker that is missing, a bug in the workflow's code."""
    assert "does not answer" in drawn("out_of_touch")
    assert "tprov worker --task-queue infra-provisioning-07" in drawn("no_worker")
    assert "NameError" in drawn("task_failing")
    assert "attempt 3 in 4 s" in drawn("retrying")


def test_a_line_names_the_attempt_that_failed() -> None:
    """While attempt 3 runs, the error is that of attempt 2: it is told once, with that number."""
    retrying = views.retrying()
    step = replace(retrying.step("plan"), state="running", attempts=3)
    steps = tuple(step if s.name == "plan" else s for s in retrying.steps)
    running = replace(retrying, steps=steps)
    assert render.changes(retrying, running) == []
    assert render.changes(None, running) == render.changes(None, retrying)


@pytest.mark.parametrize("name", ["recovered", "interrupted", "asked", "cancelled"])
async def test_an_apply_that_is_looked_into_failed_at_its_first_attempt(name: str) -> None:
    """Whoever looks meanwhile is told so; what a person has to settle comes with its own remedy."""
    text = (ROOT / "tests" / "histories" / f"{name}.json").read_text()
    history = WorkflowHistory.from_json("stack-x", json.loads(text))
    fold, said = Fold(DataConverter.default, workflow_id="stack-x", run_id="x"), set()
    for event in history.events:
        await fold.feed(event)
        said |= {line for line in render.changes(None, fold.view) if "attempt" in line}
    assert said
    assert all(line.startswith("apply, attempt 1: ") for line in said)
    assert [line for line in said if "`tprov recheck`" in line] == [
        line for line in said if line.endswith("look again: `tprov recheck`.")
    ]


def test_what_is_sensitive_stays_hidden() -> None:
    """The picture is made of the redacted plan."""
    assert "(sensitive value)" in drawn("applied")


def test_without_a_terminal_each_change_is_a_line() -> None:
    """Status, attempts with their error, Terraform's progress: only what is new."""
    asking, applying, applied = views.asking(), views.applying(), views.applied()
    assert render.changes(None, asking) == ["awaiting approval"]
    assert render.changes(asking, asking) == []
    assert render.changes(asking, applying) == [
        "applying",
        "apply: creating temporalcloud_namespace.this (3 s), 0 of 2 done",
    ]
    assert render.changes(applying, applied) == ["applied"]
    assert render.changes(None, views.retrying()) == [
        "planning",
        "plan, attempt 2: The Temporal Cloud API does not answer (503).",
    ]


@pytest.mark.parametrize(
    ("name", "good"), [("applied", True), ("failed", False), ("asking", False)]
)
def test_only_a_good_end_counts_as_one(name: str, good: bool) -> None:
    """It decides on the exit code of --watch."""
    assert render.came_well(views.EVERY[name]()) is good


def test_foreign_text_cannot_move_the_cursor() -> None:
    """A failure that carries terminal sequences is shown without them."""
    view = replace(views.failed(), failure="bad \x1b[2J\x1b]0;title\x07 text")
    console = Console(width=100, color_system=None)
    with console.capture() as captured:
        console.print(render.run(view, now=views.at(72)))
    assert "\x1b" not in captured.get()
    assert re.search(r"bad .*text", captured.get())


def test_lines_about_a_missing_worker_name_the_command() -> None:
    """It can be copied as it stands."""
    lines = [line.plain if isinstance(line, Text) else line for line in render.nobody_polls("q")]
    assert lines[1].endswith("tprov worker --task-queue q")


def test_what_is_ignored_is_named_without_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    """Staying local is said; a key's value is not."""
    say.ignored(["TEMPORAL_API_KEY", "TEMPORAL_HOST_URL"])
    assert "TEMPORAL_API_KEY, TEMPORAL_HOST_URL ignored" in capsys.readouterr().err
    say.ignored([])
    assert capsys.readouterr().err == ""

"""A run from a terminal: started, looked at, decided, exported, destroyed; over real services."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.update.v1 import Request
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tests.cli.typed import TPROV, Said, Terminal, until_said
from tests.conftest import ROOT, Platform
from tprov_kernel.workflow import ProvisionInfraWorkflow

QUEUE = "typed"
ADMIN = "terraform/tcloud_admin_user"
NAMESPACE = "terraform/tcloud_namespace"


@pytest.fixture(scope="module")
def terminal(platform: Platform) -> Terminal:
    """A terminal that meets the session's services."""
    return Terminal(platform.settings.home)


@pytest.fixture(scope="module")
def worker(terminal: Terminal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`tprov worker` on a queue of its own; SIGTERM ends it in order."""
    log = tmp_path_factory.mktemp("worker") / "log"
    with terminal.runs("worker", "--task-queue", QUEUE, log=log) as process:
        assert f"Polling {QUEUE}" in until_said(log, "Polling", process=process, limit=30)
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert "Stopping" in log.read_text()


def start(terminal: Terminal, stack: str, config: str, *more: str) -> Said:
    """Start a run on the tests' queue."""
    return terminal.type("start", stack, "--config", config, "--task-queue", QUEUE, *more)


def told(terminal: Terminal, stack: str) -> dict[str, object]:
    """What `status --json` says of a stack."""
    said = terminal.type("status", stack, "--json")
    assert said.code == 0, said.err
    (run,) = json.loads(said.out)
    assert isinstance(run, dict)
    return run


def waits(terminal: Terminal, stack: str) -> dict[str, object]:
    """Wait until a run asks somebody."""
    for _ in range(40):
        if (run := told(terminal, stack))["status"] == "awaiting_approval":
            return run
    raise AssertionError(f"{stack} does not ask: {run}")


def test_nobody_polls(terminal: Terminal) -> None:
    """The run starts all the same; a warning names the command that would serve it."""
    said = terminal.type("start", "lonely", "-c", NAMESPACE, "--task-queue", "nobody's")
    assert said.code == 0
    assert said.out == "stack-lonely\n"
    assert "Nobody polls the task queue nobody's." in said.err
    again = terminal.type("start", "lonely", "-c", NAMESPACE)
    assert again.code == 1
    assert "Stack 'lonely' is busy" in again.err
    cancelled = terminal.type("cancel", "lonely")
    assert cancelled.code == 0
    assert "Asked stack-lonely to stop" in cancelled.out


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--config", "nowhere"], "There is no directory nowhere"),
        (["--config", "terraform"], "holds no Terraform configuration"),
        (["--config", NAMESPACE, "--var", "name_prefx=a"], "Did you mean 'name_prefix'?"),
    ],
)
def test_what_cannot_be_started_is_a_sentence(
    terminal: Terminal, typed: list[str], words: str
) -> None:
    """Nothing was started, and nothing but the sentence is said."""
    said = terminal.type("start", "never", *typed)
    assert (said.code, said.out) == (1, "")
    assert words in said.err
    assert terminal.type("status", "never").code == 1


@pytest.mark.usefixtures("worker")
def test_watching_a_run_to_a_good_end(terminal: Terminal) -> None:
    """The id is all of stdout; the story is told on stderr; the exit code says how it ended."""
    said = start(terminal, "watched", NAMESPACE, "--var", "name_prefix=typed", "--watch")
    assert said.code == 0, said.err
    assert said.out == "stack-watched\n"
    for words in ("planning", "applying", "stack-watched applied after", "typed-"):
        assert words in said.err
    run = told(terminal, "watched")
    assert (run["status"], run["closed"], run["progress"]) == ("applied", True, 100)
    listed = terminal.type("status")
    assert "watched" in listed.out
    assert "✓ applied" in listed.out


@pytest.mark.usefixtures("worker")
def test_a_decision_is_answered(terminal: Terminal, tmp_path: Path) -> None:
    """Refused without a reason and for another review; recorded with one; too late afterwards."""
    assert start(terminal, "asked", ADMIN).code == 0
    waits(terminal, "asked")
    shown = terminal.type("status", "asked").out
    for words in ("account_admin", "+ temporalcloud_user.admin", "tprov approve asked"):
        assert words in shown

    refused = terminal.type("approve", "asked")
    assert refused.code == 1
    assert "Nothing was recorded" in refused.err
    other = terminal.type("approve", "asked", "--reason", "fine", "--review", "00000000")
    assert other.code == 1
    assert "Nothing was recorded" in other.err
    taken = terminal.type("approve", "asked", "--reason", "agreed with the team")
    assert taken.code == 0, taken.err
    assert "Recorded: approved" in taken.out
    ended = terminal.type("status", "asked", "--watch")
    assert ended.code == 0, ended.err
    assert "stack-asked applied" in ended.out
    late = terminal.type("deny", "asked", "--reason", "no")
    assert late.code == 1
    assert "the run is over" in late.err
    assert "agreed with the team" in terminal.type("status", "asked").out

    exported = tmp_path / "history.json"
    assert terminal.type("export-history", "asked", str(exported)).code == 0
    assert_portable(exported)


def assert_portable(file: Path) -> None:
    """An exported history names no machine, and replays without a key."""
    text = file.read_text()
    assert "agreed with the team" not in text, "payloads are base64 in the JSON form"
    history = WorkflowHistory.from_json("stack-asked", json.loads(text))
    identities = {
        attributes.identity
        for event in history.events
        for _, attributes in event.ListFields()
        if getattr(attributes, "identity", "")
    }
    assert identities == {"somebody"}
    assert "@" not in text
    clear = b"".join(
        p.data for event in history.events for p in _request(event).input.args.payloads
    )
    assert b"agreed with the team" in clear


def _request(event: HistoryEvent) -> Request:
    return event.workflow_execution_update_accepted_event_attributes.accepted_request


async def test_an_exported_history_replays_without_a_key(
    platform: Platform, terminal: Terminal, tmp_path: Path
) -> None:
    """Today's workflow makes the same decisions from it; a run that is over is enough."""
    client = await platform.client()
    async with platform.worker(client, task_queue="exported"):
        said = await _typed(
            terminal, "start", "exported", "-c", NAMESPACE, "--task-queue", "exported", "--watch"
        )
        assert said.code == 0, said.err
    file = tmp_path / "history.json"
    assert (await _typed(terminal, "export-history", "exported", str(file))).code == 0
    history = WorkflowHistory.from_json("stack-exported", json.loads(file.read_text()))
    await Replayer(workflows=[ProvisionInfraWorkflow]).replay_workflow(history)


async def _typed(terminal: Terminal, *words: str) -> Said:
    return await asyncio.to_thread(terminal.type, *words)


@pytest.mark.usefixtures("worker")
def test_a_directory_that_moved_on_is_planned_anew_when_asked(
    terminal: Terminal, tmp_path: Path
) -> None:
    """The run keeps to its copy; `replan` makes a new review, and the old one decides nothing."""
    config = tmp_path / "config"
    shutil.copytree(ROOT / ADMIN, config)
    assert start(terminal, "moved", str(config)).code == 0
    waits(terminal, "moved")
    first = review_of(terminal, "moved")
    variables = config / "terraform.tfvars"
    variables.write_text('email = "ada@example.test"\n')
    assert review_of(terminal, "moved") == first
    asked = terminal.type("replan", "moved")
    assert asked.code == 0, asked.err
    for _ in range(40):
        if (second := review_of(terminal, "moved")) not in ("", first):
            break
    assert second not in ("", first)
    assert "ada" in terminal.type("status", "moved").out
    stale = terminal.type("approve", "moved", "--reason", "fine", "--review", first)
    assert stale.code == 1
    assert terminal.type("deny", "moved", "--reason", "enough").code == 0
    late = terminal.type("replan", "moved")
    assert (late.code, late.out) == (1, "")


def review_of(terminal: Terminal, stack: str) -> str:
    """The first eight digits of the review that waits; empty when none does."""
    shown = terminal.type("status", stack).out
    found = re.search(r"Review ([0-9a-f]{4})·([0-9a-f]{4}) waits", shown)
    return f"{found[1]}{found[2]}" if found else ""


@pytest.mark.usefixtures("worker")
def test_a_denied_run_changes_nothing(terminal: Terminal) -> None:
    """By signal, which tells nothing back; watching it ends with exit code 1."""
    assert start(terminal, "denied", ADMIN).code == 0
    waits(terminal, "denied")
    sent = terminal.type("deny", "denied", "--signal", "--reason", "not today")
    assert sent.code == 0
    assert "tells nothing back" in sent.out
    ended = terminal.type("status", "denied", "--watch")
    assert ended.code == 1
    assert "rejected" in ended.out
    assert "holds nothing" in terminal.type("destroy", "denied", "--yes").out


@pytest.mark.usefixtures("worker")
def test_destroying_shows_and_asks_first(terminal: Terminal) -> None:
    """What goes is listed; 'no', and nobody to ask, leave it alone; --yes does it."""
    assert start(terminal, "doomed", NAMESPACE, "--watch").code == 0
    nobody = terminal.type("destroy", "doomed")
    assert nobody.code == 1
    assert "- temporalcloud_namespace.this" in nobody.out
    assert "Give --yes" in nobody.err
    done = terminal.type("destroy", "doomed", "--yes")
    assert done.code == 0, done.err
    assert "destroyed" in done.err
    again = terminal.type("destroy", "doomed", "--yes")
    assert again.code == 0
    assert "nothing to destroy" in again.out
    never = terminal.type("destroy", "never-there", "--yes")
    assert never.code == 1
    assert "There was never a run" in never.err


@pytest.mark.usefixtures("worker")
def test_a_terminal_that_was_set_up_meets_the_same_place(terminal: Terminal) -> None:
    """eval, then the description's own commands, and a plain Terraform on the stack."""
    assert start(terminal, "plain", NAMESPACE, "--watch").code == 0
    script = f"""
    set -e
    eval "$({shlex.join(TPROV)} env plain)"
    temporal workflow query --workflow-id stack-plain --type get_current_status
    temporal workflow query --workflow-id stack-plain --type get_progress
    temporal workflow show --workflow-id stack-plain --codec-endpoint "$TEMPORAL_CODEC_ENDPOINT"
    temporal workflow list --query 'provisionStatus="applied"'
    tprov status plain
    terraform -chdir="$TPROV_STACK_DIR" plan -input=false -detailed-exitcode -no-color
    echo yes | terraform -chdir="$TPROV_STACK_DIR" destroy -no-color
    echo "left: ${{TEMPORAL_HOST_URL-}}${{TEMPORAL_MTLS_TLS_CERT-}}"
    """
    ambient = {
        "TEMPORAL_HOST_URL": "ns.acct.tmprl.cloud:7233",
        "TEMPORAL_MTLS_TLS_CERT": "/no/such/file",
        "TEMPORAL_API_KEY": "a-real-key",
        "TEMPORAL_CLOUD_API_KEY": "a-real-cloud-key",
    }
    said = terminal.run("bash", "-c", script, env=ambient, limit=90)
    assert said.code == 0, said.out + said.err
    assert '"applied"' in said.out
    assert "QueryResult  100" in said.out
    assert '"namespace_name"' in said.out, "the codec server decodes"
    assert "No changes" in said.out
    assert "Destroy complete! Resources: 1 destroyed." in said.out
    assert said.last_line == "left: "
    assert "TEMPORAL_HOST_URL" in said.err
    assert "a-real" not in said.out + said.err


def test_lines_for_eval_are_quoted(terminal: Terminal, platform: Platform) -> None:
    """Each is an export or an unset that a shell reads back exactly; no key but the stand-in's."""
    said = terminal.type("env", env={"TEMPORAL_API_KEY": "a-real-key"})
    assert said.code == 0
    for line in said.out.splitlines():
        word, assignment = shlex.split(line)
        assert word in ("export", "unset")
        assert (word == "unset") is ("=" not in assignment)
    assert "a-real-key" not in said.out + said.err
    assert f"TEMPORAL_ADDRESS={platform.settings.address}" in said.out


def test_remote_prints_no_key(terminal: Terminal, platform: Platform) -> None:
    """With the remote target keys stay where they are, whatever they are."""
    remote = {
        "TEMPORAL_HOST_URL": platform.settings.address,
        "TEMPORAL_API_KEY": "a-real-key",
        "TEMPORAL_CLOUD_API_KEY": "a-real-cloud-key",
    }
    said = terminal.type("env", "--target", "remote", env=remote)
    assert said.code == 0, said.err
    assert f"export TEMPORAL_ADDRESS={platform.settings.address}" in said.out
    assert "a-real" not in said.out + said.err
    unknown = terminal.type("env", "never-there")
    assert unknown.code == 1
    assert unknown.out == ""


def test_a_stack_with_an_open_run_is_not_destroyed(terminal: Terminal, worker: None) -> None:
    """Its state is empty as yet; still it is busy, and not 'nothing to destroy'."""
    assert start(terminal, "parked", ADMIN).code == 0
    waits(terminal, "parked")
    said = terminal.type("destroy", "parked", "--yes")
    assert said.code == 1
    assert "busy" in said.err
    assert terminal.type("deny", "parked").code == 0

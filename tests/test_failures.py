"""Failures that are real: a step tried again now, a worker of another place, a bad minute."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from tests.cli.typed import Terminal
from tests.conftest import Platform
from tests.kernels import SET_UP, Kernel, environment, kernel
from tests.standin.parts import Place, opened_here
from tests.test_lab import is_one_sentence
from tests.test_workflow import ADMIN, NAMESPACE, start, until
from tprov_kernel import runs
from tprov_kernel.cloud import CloudClient, patiently
from tprov_kernel.errors import CloudUnavailable, DecisionRefused
from tprov_kernel.lab.elsewhere import Elsewhere
from tprov_kernel.messages import Status
from tprov_kernel.retries import retry_now
from tprov_kernel.standin.control import StandinControl

pytestmark = pytest.mark.timeout(120)

PATIENT = 10.0
"""Seconds that a wait for the next attempt is at most (`workflow.RETRY`)."""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel whose set-up cell was run; nobody presses its buttons."""
    home = tmp_path_factory.mktemp("failures") / "home"
    with kernel(environment(home, notebook="05_recoverable_failure")) as made:
        assert made.run(SET_UP).status == "ok"
        yield made


@pytest.fixture
async def control(platform: Platform) -> AsyncIterator[StandinControl]:
    """The stand-in's control; whatever was broken is mended."""
    made = StandinControl(platform.settings.cloud.endpoint, platform.settings.cloud.api_key)
    yield made
    await made.mend()


# --- a bug, and trying again now -------------------------------------------------------------


def test_an_attempt_that_fails_without_a_word_has_failed(opened: Kernel) -> None:
    """`raise RuntimeError`: the card shows an attempt, its kind, and the next one's countdown."""
    opened.run(
        "def terraform_plan(job):\n    raise RuntimeError\n"
        "_said = lab.restart_worker(terraform_plan=terraform_plan)\n"
        'run = lab.start("silent", config="terraform/tcloud_namespace")'
    )
    assert opened.run("_said").text == "The worker runs again, with your terraform_plan."
    said = opened.run('run.wait_attempts("plan", 2)').text
    assert said.startswith("Plan: attempt ")
    assert "failed: RuntimeError, without a word. Attempt " in said


def test_it_is_tried_again_now_with_its_count_and_no_log_in_a_cell(opened: Kernel) -> None:
    """In place of waiting; the attempts go on counting, and a stack trace is in no cell."""
    before = opened.value('run.view.step("plan").attempts')
    opened.run(f'run.wait_attempts("plan", {before + 1})')
    assert "is made now." in opened.run("run.retry_now()").text
    assert opened.run("lab.restart_worker()").text == "The worker runs again."
    ended = opened.run("run.retry_now()\nrun.wait()")
    assert ended.text.startswith("stack-silent: applied after")
    assert opened.value('run.view.step("plan").attempts') > before
    nothing = "No step waits for another attempt: nothing was done."
    assert opened.run("run.retry_now()").text == nothing
    assert opened.run('run.wait_attempts("plan", 99)').text.startswith("Plan: done after")
    started = opened.run('run.events(only="ActivityTaskStarted")').text
    assert started.count("attempt ") == 1


async def test_a_terminal_has_a_step_tried_again_too(
    platform: Platform, control: StandinControl
) -> None:
    """`tprov retry`, where a wait is on; and also when somebody paused the step before."""
    client = await platform.client()
    terminal = Terminal(platform.settings.home)
    await control.fail("GetAccount", times=None)
    async with platform.worker(client, task_queue="retried") as settings:
        handle = await start(client, settings, platform, "retried", NAMESPACE)
        await until(client, handle, lambda view: view.step("plan").attempts >= 3)
        said = await asyncio.to_thread(terminal.type, "retry", "retried")
        assert said.out.startswith("terraform_plan: attempt "), said.err
        await control.mend()
        assert (await handle.result()).status == Status.APPLIED
        assert await retry_now(client, handle) == (
            "No step waits for another attempt: nothing was done."
        )


# --- a rule that nobody may override -----------------------------------------------------------


async def test_a_level_table_decides_what_may_be_overridden(
    platform: Platform, tmp_path: Path
) -> None:
    """One line of data: status, a failure that no retry policy tries again, and no decision."""
    client = await platform.client()
    strict = Elsewhere(levels={"account_admin": "hard-mandatory"})
    there = strict.settings(replace(platform.settings, home=tmp_path))
    assert there.policies != platform.settings.policies
    settings = replace(platform.settings, policies=there.policies)
    async with platform.worker(client, settings=settings, task_queue="strict") as settings:
        handle = await start(client, settings, platform, "strict", ADMIN)
        with pytest.raises(WorkflowFailureError) as ended:
            await handle.result()
        failure = ended.value.cause
        assert isinstance(failure, ApplicationError)
        assert (failure.type, failure.non_retryable) == ("PolicyViolation", True)
        assert "Policy account_admin forbids this, nobody may override it" in failure.message
        assert failure.details == ("Give `developer` access and a namespace permission.",)
        view = await until(client, handle, lambda view: view.closed)
        assert view.status == Status.POLICY_HARD_FAILED
        approval = view.step("approval")
        assert (approval.state, approval.note) == ("skipped", "nobody may")
        for via in ("update", "signal"):
            with pytest.raises(DecisionRefused, match="the run is over"):
                await runs.decide(handle, "approve", reason="all the same", via=via)


def test_a_rule_that_there_is_not_is_a_sentence(opened: Kernel) -> None:
    """With the rules that there are; the worker goes on as it was."""
    cell = opened.run('lab.restart_worker(levels={"account_admn": "advisory"})')
    assert is_one_sentence(cell)
    assert "There is no rule 'account_admn'" in cell.text
    assert opened.value("lab.worker_runs")


# --- the key, and the address ------------------------------------------------------------------


def test_a_missing_or_wrong_key_ends_a_run_before_terraform_plans(opened: Kernel) -> None:
    """One attempt, one sentence with what to do; the key itself is in none."""
    for stack, key, said in (
        ("keyless", "", "There is no key for the Cloud API stand-in at"),
        ("wrong", "a-key-of-mine", "does not accept the key of the worker"),
    ):
        cell = opened.run(
            f"lab.restart_worker(cloud_key={key!r})\n"
            f'run = lab.start("{stack}", config="terraform/tcloud_namespace")\n'
            'run.wait("failed")'
        )
        assert said in cell.text
        assert "Restart the worker: in a notebook lab.restart_worker()" in cell.text
        assert "a-key-of-mine" not in cell.text
        assert opened.value('run.view.step("plan").attempts') == 1
        assert opened.value("run.view.plan is None")
    shown = opened.run("lab.restart_worker(cloud_key='a-key-of-mine')").text
    assert shown == "The worker runs again, with another key for the Cloud API."


def test_an_address_where_nobody_listens_is_tried_until_somebody_does(opened: Kernel) -> None:
    """The run waits for the address, and goes on with the right one."""
    opened.run(
        'lab.restart_worker(cloud_endpoint="127.0.0.1:1")\n'
        'run = lab.start("away", config="terraform/tcloud_namespace")'
    )
    said = opened.run('run.wait_attempts("plan", 2)').text
    assert "at 127.0.0.1:1 cannot be reached: nothing listens there. Attempt" in said
    ended = opened.run("lab.restart_worker()\nrun.retry_now()\nrun.wait()")
    assert ended.text.startswith("stack-away: applied after")


@contextmanager
def black_hole() -> Iterator[str]:
    """An address that swallows what is sent to it: its queue of connections is full."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for guest in crowd:
            guest.setblocking(False)
            guest.connect_ex(hole.getsockname())
        yield f"127.0.0.1:{hole.getsockname()[1]}"
        for guest in crowd:
            guest.close()


async def test_an_address_that_swallows_everything_is_told_in_time(platform: Platform) -> None:
    """No refusal, no answer: people are told all the same, and another attempt may succeed."""
    with black_hole() as endpoint:
        cloud = replace(platform.settings.cloud, endpoint=endpoint)
        with pytest.raises(CloudUnavailable, match=r"does not answer within 1\.8 seconds") as said:
            await CloudClient(cloud).check()
        assert said.value.retryable


# --- the cloud has a bad minute ----------------------------------------------------------------


def test_three_failures_are_three_attempts_and_the_fourth_succeeds(opened: Kernel) -> None:
    """The waits between them grow, and are drawn."""
    assert opened.run("cloud = lab.cloud_api()\ncloud.fail(times=3)").text == (
        "GetAccount answers UNAVAILABLE 3 times."
    )
    ended = opened.run('run = lab.start("minute", config="terraform/tcloud_namespace")\nrun.wait()')
    assert ended.text.startswith("stack-minute: applied after")
    drawn = opened.run("run.timeline()").outputs[0]["data"]["text/plain"]
    assert "attempt 4 of 4, waits 1 s, 2 s, 4 s" in drawn


@pytest.mark.parametrize(
    ("stack", "fault"),
    [
        ("slow", "cloud.slow(2.5, times=2)"),
        ("flapping", 'cloud.fail("GetAccount", every=2, times=None)'),
        ("flickering", 'cloud.fail("*", every=3, times=None)'),
        ("half-way", 'cloud.fail("GetAsyncOperation", "INTERNAL")'),
        ("lost", 'cloud.lose("CreateNamespace", "INTERNAL")'),
    ],
)
def test_whatever_else_is_wrong_with_it_the_run_ends_well(
    opened: Kernel, stack: str, fault: str
) -> None:
    """Slow, on and off, failing half-way through a create, its answer lost: one namespace."""
    opened.run(f"cloud = lab.cloud_api()\n{fault}")
    ended = opened.run(
        f'run = lab.start("{stack}", config="terraform/tcloud_namespace")\nrun.wait()'
    )
    assert ended.text.startswith(f"stack-{stack}: applied after"), ended.text
    assert opened.run("cloud.mend()").text == "The Cloud API is well again."
    assert opened.value(f"lab.leftovers()['{stack}']") == ["temporalcloud_namespace.this"]


async def test_an_apply_asks_a_few_times_before_it_gives_up(tmp_path: Path) -> None:
    """One bad moment costs no plan that was approved; a longer one is told, and is an error."""
    told: list[str] = []
    async with opened_here(tmp_path) as standin:
        client = CloudClient(standin.settings)
        assert await _asked(standin, client, told, failures=3) == "tprov"
        assert len(told) == 3
        assert "GetAccount was told to fail. It is asked again." in told[0]
        with pytest.raises(CloudUnavailable, match="UNAVAILABLE"):
            await _asked(standin, client, told, failures=4)


async def _asked(standin: Place, client: CloudClient, told: list[str], *, failures: int) -> str:
    await standin.control.fail("GetAccount", times=failures)
    return (await patiently(client.check, tell=told.append, pause=0.01)).id


async def test_a_fault_may_let_calls_through(tmp_path: Path) -> None:
    """Every second one, beginning with a failure."""
    async with opened_here(tmp_path) as standin:
        await standin.control.fail("GetAccount", times=2, every=2)
        client, came = CloudClient(standin.settings), []
        for _ in range(5):
            try:
                came.append((await client.check()).id)
            except CloudUnavailable:
                came.append("")
        assert came == ["", "tprov", "", "tprov", "tprov"]
        assert (await standin.control.status())["faults"] == []

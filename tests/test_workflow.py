"""A run, from its request to its end, over real services, Terraform, provider and OPA."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from tests.conftest import ROOT, Platform
from tprov_kernel import runs
from tprov_kernel.errors import ConfigurationError, DecisionRefused, StackBusy
from tprov_kernel.messages import Decision, PlanView, Review, RunResult, Status
from tprov_kernel.observe import RunView
from tprov_kernel.settings import CloudSettings, Settings
from tprov_kernel.stacks import held_objects
from tprov_kernel.watch import Watcher

NAMESPACE = ROOT / "terraform" / "tcloud_namespace"
ADMIN = ROOT / "terraform" / "tcloud_admin_user"

PROVIDER = """
terraform {
  required_providers {
    temporalcloud = {
      source  = "temporalio/temporalcloud"
      version = "~> 1.3"
    }
  }
}

variable "name_suffix" {}
"""
"""How a configuration of a test's own begins."""

pytestmark = pytest.mark.timeout(90)


async def start(
    client: Client, settings: Settings, platform: Platform, stack: str, directory: Path, **more: Any
) -> runs.RunHandle:
    """Start a run, and give a handle that is bound to it."""
    handle = await runs.start_run(
        client,
        stack=stack,
        directory=directory,
        key_ring=platform.keys,
        task_queue=settings.task_queue,
        **more,
    )
    return runs.bound(client, handle)


async def until(
    client: Client, handle: runs.RunHandle, is_it: Callable[[RunView], bool]
) -> RunView:
    """Follow a run until it looks as wanted, or is over."""
    watcher = Watcher(client, workflow_id=handle.id, run_id=handle.run_id or "")
    view = None
    try:
        async with asyncio.timeout(60):
            async for view in watcher.views():
                if is_it(view) or view.closed:
                    return view
    except TimeoutError:
        pytest.fail(f"It did not come to that within 60 s; seen last: {view}")
    raise AssertionError("unreachable")


def _is(status: Status) -> Callable[[RunView], bool]:
    return lambda view: view.status == status


def asks(view: RunView) -> bool:
    """Whether the run waits for a decision, and the review is there."""
    return view.status == Status.AWAITING_APPROVAL and view.review is not None


def to_mend(view: RunView) -> bool:
    """Whether the run waits for somebody to mend something."""
    return view.repair is not None


async def _failure(handle: runs.RunHandle) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert isinstance(raised.value.cause, ApplicationError)
    return raised.value.cause


async def _forget(client: Client, settings: Settings, stack: str) -> RunResult:
    """Destroy what a stack holds, by a run of the same workflow."""
    handle = await runs.start_destroy(client, stack=stack, task_queue=settings.task_queue)
    return await handle.result()


async def test_the_happy_path_makes_a_namespace_and_takes_it_away(platform: Platform) -> None:
    """The Cloud has it, the outputs name it, the next run has nothing to do."""
    client = await platform.client()
    async with platform.worker(client, task_queue="happy") as settings:
        handle = await start(client, settings, platform, "happy", NAMESPACE)
        result = await handle.result()
        name = json.loads(result.outputs["namespace_name"])
        assert result.status == Status.APPLIED
        assert result.summary == "1 added, 0 changed, 0 destroyed"
        assert await platform.cloud.find_namespace(name) is not None
        assert held_objects(settings.stacks, "happy") == ["temporalcloud_namespace.this"]

        again = await start(client, settings, platform, "happy", NAMESPACE)
        assert (await again.result()).status == Status.NO_CHANGES

        assert (await _forget(client, settings, "happy")).status == Status.DESTROYED
        assert await platform.cloud.find_namespace(name) is None


async def test_queries_answer_as_the_description_says(platform: Platform) -> None:
    """Status, progress, plan and reason, also after the end."""
    client = await platform.client()
    async with platform.worker(client, task_queue="queries") as settings:
        handle = await start(client, settings, platform, "queries", NAMESPACE)
        await handle.result()
        assert await handle.query("get_current_status") == "applied"
        assert await handle.query("get_progress") == 100
        assert await handle.query("get_signal_reason") == ""
        plan = await handle.query("get_plan", result_type=PlanView)
        assert plan.sentence == "1 to add, 0 to change, 0 to destroy"
        assert [c.address for c in plan.changes] == ["temporalcloud_namespace.this"]


async def test_a_watcher_tells_the_whole_story(platform: Platform) -> None:
    """Folded from history and pending activities: steps in order, heartbeats, the end."""
    client = await platform.client()
    async with platform.worker(client, task_queue="watch") as settings:
        handle = await start(client, settings, platform, "watch", NAMESPACE, pace=0.2)
        watcher = Watcher(client, workflow_id=handle.id, run_id=handle.run_id or "")
        views = [view async for view in watcher.views()]
        last = views[-1]
        assert last.closed
        assert last.status == Status.APPLIED
        states = {s.name: s.state for s in last.steps}
        done = {"init", "plan", "policy", "apply", "output"}
        assert {n for n, s in states.items() if s == "done"} == done
        assert states["approval"] == "skipped"
        assert last.step("init").spans[0].note == "local activity"
        assert any("creating temporalcloud_namespace.this" in v.step("apply").doing for v in views)
        assert [v.progress for v in views] == sorted(v.progress for v in views)


async def test_an_admin_user_waits_for_a_human(platform: Platform) -> None:
    """By update a bad decision is refused and leaves no trace, a good one goes on."""
    client = await platform.client()
    async with platform.worker(client, task_queue="update") as settings:
        handle = await start(client, settings, platform, "update", ADMIN)
        view = await until(client, handle, asks)
        assert view.review is not None
        assert view.review.findings[0].level == "soft-mandatory"
        before = (await handle.describe()).history_length
        with pytest.raises(DecisionRefused, match=r"needs a reason\. Nothing was recorded"):
            await runs.decide(handle, "approve", reason=" ")
        with pytest.raises(DecisionRefused, match="is not the one that waits"):
            await runs.decide(handle, "approve", reason="x", review="0" * 64)
        assert (await handle.describe()).history_length == before
        taken = await runs.decide(
            handle, "approve", reason="she is new", review=view.review.digest, reviewer="ada"
        )
        assert taken is not None
        assert (taken.outcome, taken.reviewer) == ("approved", "ada")
        result = await handle.result()
        assert result.status == Status.APPLIED
        assert await handle.query("get_signal_reason") == "she is new"
        with pytest.raises(DecisionRefused):
            await runs.decide(handle, "deny", reason="too late")


async def test_a_denied_review_applies_nothing(platform: Platform) -> None:
    """Deny needs no reason; the run is rejected and the Cloud untouched."""
    client = await platform.client()
    async with platform.worker(client, task_queue="deny") as settings:
        users = len(await platform.cloud.list_users())
        handle = await start(client, settings, platform, "deny", ADMIN)
        await until(client, handle, asks)
        await runs.decide(handle, "deny", reason="")
        assert (await handle.result()).status == Status.REJECTED
        approval = (await until(client, handle, lambda view: view.closed)).step("approval")
        assert (approval.state, approval.note) == ("failed", "denied"), "no check mark for a no"
        assert len(await platform.cloud.list_users()) == users


async def test_signals_never_wedge_a_run(platform: Platform) -> None:
    """Whatever a signal carries, it is taken or recorded as ignored, with why."""
    client = await platform.client()
    async with platform.worker(client, task_queue="signal") as settings:
        handle = await start(client, settings, platform, "signal", ADMIN)
        await until(client, handle, asks)
        await handle.signal("approve_apply")
        await handle.signal("approve_apply", args=["a", "b"])
        await handle.signal("approve_apply", 7)
        await handle.signal("dance", "now")
        await handle.signal("approve_apply", {"reason": ["x"]})
        await handle.signal("approve_apply", "a reason")
        assert (await handle.result()).status == Status.APPLIED
        decisions = await handle.query("get_decisions", result_type=list[Decision])
        assert [d.outcome for d in decisions] == ["ignored"] * 5 + ["approved"]
        whys = [d.why for d in decisions]
        assert "needs a reason" in whys[0]
        assert "2 inputs" in whys[1]
        assert "neither a reason nor a decision object" in whys[2]
        assert "is no decision" in whys[3]
        assert "'reason' is no text" in whys[4]


async def test_an_early_decision_is_ignored(platform: Platform) -> None:
    """An approval sent before there is anything to approve approves nothing."""
    client = await platform.client()
    handle = await start(client, platform.settings, platform, "early", ADMIN)
    await handle.signal("approve_apply", "in advance")
    async with platform.worker(client):
        view = await until(client, handle, lambda v: asks(v) and bool(v.decisions))
        assert view.decisions[0].outcome == "ignored"
        assert "not waiting" in view.decisions[0].why
        await runs.decide(handle, "deny", reason="")
        await handle.result()


async def test_a_review_that_nobody_decides_on_expires(platform: Platform) -> None:
    """A durable timer ends the wait; nothing is applied."""
    client = await platform.client()
    async with platform.worker(client, task_queue="expire") as settings:
        handle = await start(client, settings, platform, "expire", ADMIN, approval_expires=0.5)
        assert (await handle.result()).status == Status.EXPIRED
        assert held_objects(settings.stacks, "expire") == []


async def test_a_second_run_on_an_open_stack_is_refused(platform: Platform) -> None:
    """Stack busy: a sentence that names the stack and where to look."""
    client = await platform.client()
    handle = await start(client, platform.settings, platform, "busy", NAMESPACE)
    with pytest.raises(StackBusy, match="'busy' is busy") as raised:
        await start(client, platform.settings, platform, "busy", NAMESPACE)
    assert "tprov status busy" in raised.value.remedy
    await handle.terminate()


async def test_what_exists_already_is_a_finding_not_a_failed_apply(
    platform: Platform, tmp_path: Path
) -> None:
    """Two stacks that want the same name: the second one learns it before it applies."""
    fixed = tmp_path / "fixed"
    shutil.copytree(NAMESPACE, fixed)
    main = fixed / "main.tf"
    name = 'join("-", compact([var.name_prefix, var.name_suffix]))'
    assert name in main.read_text()
    main.write_text(main.read_text().replace(name, '"tprov-fixed"'))
    client = await platform.client()
    async with platform.worker(client, task_queue="exists") as settings:
        first = await start(client, settings, platform, "exists", fixed)
        assert (await first.result()).status == Status.APPLIED
        second = await start(client, settings, platform, "exists-2", fixed)
        failure = await _failure(second)
        assert failure.type == "AlreadyExists"
        assert "'tprov-fixed', which exists already" in failure.message


@pytest.mark.parametrize(
    ("key", "kind"), [("", "KeyMissing"), ("wrong-key-wrong-key", "KeyRejected")]
)
async def test_a_key_that_is_no_good_fails_at_once(platform: Platform, key: str, kind: str) -> None:
    """Found by our own call before Terraform starts; never retried, one sentence with a remedy."""
    client = await platform.client()
    wrong: CloudSettings = replace(platform.settings.cloud, api_key=key)
    queue = f"key-{kind.lower()}"
    async with platform.worker(client, cloud=wrong, task_queue=queue) as settings:
        handle = await start(client, settings, platform, queue, NAMESPACE)
        failure = await _failure(handle)
        assert failure.type == kind
        assert "key" in failure.message
        assert failure.details
        assert await handle.query("get_current_status") == "failed"


async def test_an_address_that_does_not_answer_is_tried_again(platform: Platform) -> None:
    """A dead endpoint may come back: attempts climb, in words; the repaired worker goes on."""
    client = await platform.client()
    dead = replace(platform.settings.cloud, endpoint="127.0.0.1:9")
    async with platform.worker(client, cloud=dead, task_queue="dead") as settings:
        handle = await start(client, settings, platform, "dead", NAMESPACE, heartbeat=5)
        view = await until(client, handle, lambda v: v.step("plan").attempts >= 2)
        assert "127.0.0.1:9" in view.step("plan").failure
    async with platform.worker(client, task_queue="dead"):
        assert (await handle.result()).status == Status.APPLIED


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('resource "temporalcloud_namespace" "x" {', "terraform init failed"),
        ('locals {\n  a = nope.b\n}\noutput "o" { value = local.a }\n', "main.tf"),
        ('variable "needed" {}\noutput "o" { value = var.needed }\n', "needed"),
    ],
)
async def test_a_wrong_configuration_fails_once_and_says_where(
    platform: Platform, tmp_path: Path, change: str, words: str
) -> None:
    """Invalid HCL, an unknown reference, a variable without a value: nothing is tried again."""
    wrong = tmp_path / "wrong"
    shutil.copytree(NAMESPACE, wrong)
    with (wrong / "main.tf").open("a") as file:
        file.write(f"\n{change}")
    client = await platform.client()
    async with platform.worker(client, task_queue="wrong") as settings:
        stack = f"wrong-{abs(hash(change)) % 1000}"
        handle = await start(client, settings, platform, stack, wrong)
        failure = await _failure(handle)
        assert failure.type == "ConfigurationError"
        assert words in failure.message


async def test_an_undeclared_variable_starts_nothing(platform: Platform) -> None:
    """Refused before there is a run."""
    client = await platform.client()
    with pytest.raises(ConfigurationError, match="declares no variable 'regoin'"):
        await start(
            client, platform.settings, platform, "vars", NAMESPACE, variables={"regoin": "x"}
        )
    assert await runs.describe(client, "vars") is None


async def test_variables_travel_in_the_snapshot(platform: Platform) -> None:
    """A value given at the start is in the plan; it is in no workflow input in the clear."""
    client = await platform.client()
    async with platform.worker(client, task_queue="variables") as settings:
        handle = await start(
            client, settings, platform, "variables", NAMESPACE, variables={"retention_days": 11}
        )
        view = await until(client, handle, lambda v: v.plan is not None)
        assert view.plan is not None
        attributes = {a.name: a.after for a in view.plan.changes[0].attributes}
        assert attributes["retention_days"] == "11"
        await handle.result()


async def test_the_directory_may_move_on_while_a_run_waits(
    platform: Platform, tmp_path: Path
) -> None:
    """A run plans and applies its snapshot: nothing sneaks in."""
    directory = tmp_path / "admin"
    shutil.copytree(ADMIN, directory)
    client = await platform.client()
    async with platform.worker(client, task_queue="sneak") as settings:
        handle = await start(client, settings, platform, "sneak", directory)
        await until(client, handle, asks)
        shutil.copy(NAMESPACE / "main.tf", directory / "main.tf")
        await runs.decide(handle, "approve", reason="as reviewed")
        await handle.result()
        assert held_objects(settings.stacks, "sneak") == ["temporalcloud_user.admin"]


async def test_a_state_that_moved_on_is_planned_anew(platform: Platform) -> None:
    """What was reviewed was planned from another state: what is still the same goes on."""
    client = await platform.client()
    async with platform.worker(client, task_queue="moved-state") as settings:
        handle = await start(client, settings, platform, "moved-state", ADMIN)
        await until(client, handle, asks)
        state = {"version": 4, "serial": 3, "lineage": "other", "resources": [], "outputs": {}}
        (settings.stacks / "moved-state" / "config" / "terraform.tfstate").write_text(
            json.dumps(state)
        )
        await runs.decide(handle, "approve", reason="because")
        result = await handle.result()
        assert result.status == Status.APPLIED
        assert [d.outcome for d in result.decisions] == ["approved"]


async def test_policies_that_changed_judge_anew(platform: Platform, tmp_path: Path) -> None:
    """The bundle is part of what was approved: a new finding makes it another review."""
    policies = tmp_path / "policies"
    shutil.copytree(ROOT / "policies", policies)
    client = await platform.client()
    async with platform.worker(client, task_queue="bundle", policies=policies) as settings:
        handle = await start(client, settings, platform, "bundle", ADMIN)
        first = await until(client, handle, asks)
        data = json.loads((policies / "data.json").read_text())
        data["settings"]["resource_types"] = ["temporalcloud_namespace"]
        (policies / "data.json").write_text(json.dumps(data))
        assert first.review is not None
        await runs.decide(handle, "approve", reason="because")
        second = await until(
            client,
            handle,
            lambda v: asks(v) and v.review is not None and v.review.supersedes != "",
        )
        assert second.review is not None
        assert second.review.supersedes == first.review.digest
        assert held_objects(settings.stacks, "bundle") == []
        with pytest.raises(DecisionRefused, match="was superseded"):
            await runs.decide(handle, "approve", reason="x", review=first.review.digest)
        await runs.decide(handle, "deny", reason="")
        await handle.result()


async def test_a_review_is_what_get_review_tells(platform: Platform) -> None:
    """The card, a terminal and an audit see the same digest."""
    client = await platform.client()
    async with platform.worker(client, task_queue="review") as settings:
        handle = await start(client, settings, platform, "review", ADMIN, requested_by="ada")
        view = await until(client, handle, asks)
        review = await handle.query("get_review", result_type=Review)
        assert review == view.review
        assert review.requested_by == "ada"
        assert review.short == f"{review.digest[:4]}·{review.digest[4:8]}"
        await runs.decide(handle, "deny", reason="", review=review.short)
        await handle.result()


async def test_a_cancelled_run_says_so(platform: Platform) -> None:
    """While it waits: cancelled, and nothing was applied."""
    client = await platform.client()
    async with platform.worker(client, task_queue="cancel") as settings:
        handle = await start(client, settings, platform, "cancel", ADMIN)
        await until(client, handle, asks)
        await handle.cancel()
        view = await until(client, handle, lambda v: v.closed)
        assert (view.close_state, view.status) == ("CANCELED", Status.CANCELLED)
        assert held_objects(settings.stacks, "cancel") == []


SECRET = "canary-7f3a91c2-secret"
LEAKY = """
variable "password" {
  type      = string
  sensitive = true
  validation {
    condition     = length(var.password) > %d
    error_message = "Too short."
  }
}
resource "terraform_data" "a" { input = var.password }
resource "terraform_data" "b" { input = terraform_data.a.output }
output "echo" { value = terraform_data.b.output }
"""


@pytest.mark.parametrize("too_short", [False, True], ids=["an output echoes it", "it is refused"])
async def test_a_sensitive_value_leaves_no_activity(
    platform: Platform, tmp_path: Path, too_short: bool
) -> None:
    """Nor through an unmarked output, nor through the error that quotes it."""
    (tmp_path / "main.tf").write_text(LEAKY % (100 if too_short else 3))
    client, stack = await platform.client(), f"leaky-{too_short}".lower()
    async with platform.worker(client, task_queue=stack) as settings:
        handle = await start(
            client, settings, platform, stack, tmp_path, variables={"password": SECRET}
        )
        view = await until(client, handle, asks)
        if not too_short:  # a resource type outside the allow-list asks
            await runs.decide(handle, "approve", reason="to see what it shows")
            view = await until(client, handle, lambda v: v.closed)
        assert view.status == (Status.FAILED if too_short else Status.APPLIED)
        exported = await runs.export_history(client, handle)
    payloads = re.findall(r'"data": "([^"]*)"', exported)
    readable = b"".join(base64.b64decode(payload) for payload in payloads)
    assert SECRET.encode() not in readable
    assert SECRET not in str(view)

"""The gate: what was reviewed is what is applied, whatever happens meanwhile."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue

from tests.conftest import ROOT, Platform
from tests.test_workflow import ADMIN, asks, start, until
from tprov_kernel import runs
from tprov_kernel.activities import Activities
from tprov_kernel.connect import build_worker
from tprov_kernel.errors import DecisionRefused
from tprov_kernel.messages import Decision, Review, Status
from tprov_kernel.observe import RunView
from tprov_kernel.stacks import has_moved_on, variables_in

pytestmark = pytest.mark.timeout(90)


def _asks_anew(view: RunView) -> bool:
    return asks(view) and view.review is not None and view.review.supersedes != ""


async def test_a_replan_takes_the_place_of_what_waits(platform: Platform, tmp_path: Path) -> None:
    """A new snapshot, a new review that says what differs; the old digest approves nothing."""
    directory = tmp_path / "admin"
    shutil.copytree(ADMIN, directory)
    client = await platform.client()
    async with platform.worker(client, task_queue="replan") as settings:
        handle = await start(client, settings, platform, "replan", directory)
        first = (await until(client, handle, asks)).review
        assert first is not None
        request = await runs.last_request(client, "replan")
        assert not has_moved_on(request.snapshot, directory, platform.keys)
        (directory / "terraform.tfvars").write_text('email = "ada@example.test"\n')
        assert has_moved_on(request.snapshot, directory, platform.keys)

        await runs.replan(client, handle, directory=directory, key_ring=platform.keys)
        view = await until(client, handle, _asks_anew)
        assert view.review is not None
        assert view.review.supersedes == first.digest
        assert any("email" in sentence and "ada" in sentence for sentence in view.review.differs)
        with pytest.raises(DecisionRefused, match=r"was superseded, .* waits now"):
            await runs.decide(handle, "approve", reason="the old one", review=first.digest)
        await runs.decide(handle, "approve", reason="the new one", review=view.review.digest)
        result = await handle.result()
        assert json.loads(result.outputs["user_email"]).startswith("ada+")


async def test_variables_stay_with_the_last_plan_that_was_asked_for(
    platform: Platform, tmp_path: Path
) -> None:
    """A re-plan's values are kept by the next one, and by the run that destroys it all."""
    directory = tmp_path / "admin"
    shutil.copytree(ADMIN, directory)
    client = await platform.client()
    async with platform.worker(client, task_queue="values") as settings:
        handle = await start(
            client, settings, platform, "values", directory, variables={"email": "a@example.test"}
        )
        first = (await until(client, handle, asks)).review
        again: dict[str, Any] = {"directory": directory, "key_ring": platform.keys}
        await runs.replan(client, handle, **again, variables={"email": "b@example.test"})
        second = (await until(client, handle, _asks_anew)).review
        assert first is not None
        assert second is not None
        await runs.replan(client, handle, **again)
        third = (await until(client, handle, lambda v: _replaces(v, second))).review
        assert third is not None
        assert third.snapshot_digest == second.snapshot_digest != first.snapshot_digest
        request = await runs.last_request(client, "values")
        assert variables_in(request.snapshot, platform.keys) == {"email": "b@example.test"}
        await runs.decide(handle, "deny", reason="")
        await handle.result()


def _replaces(view: RunView, former: Review) -> bool:
    return asks(view) and view.review is not None and view.review.supersedes == former.digest


async def test_only_what_waits_is_planned_anew(platform: Platform) -> None:
    """Before and after, a re-plan is refused in words."""
    client = await platform.client()
    async with platform.worker(client, task_queue="replan-2") as settings:
        handle = await start(client, settings, platform, "replan-2", ADMIN)
        await until(client, handle, asks)
        await runs.decide(handle, "deny", reason="")
        await handle.result()
        with pytest.raises(DecisionRefused):
            await runs.replan(client, handle, directory=ADMIN, key_ring=platform.keys)


async def test_strange_payloads_do_not_wedge_a_run(platform: Platform) -> None:
    """Garbage said to be encrypted, and an encoding that nobody knows, are ignored with why."""
    client = await platform.client()
    async with platform.worker(client, task_queue="strange") as settings:
        handle = await start(client, settings, platform, "strange", ADMIN)
        await until(client, handle, asks)
        plain = Client(client.service_client, namespace=client.namespace)
        stranger = plain.get_workflow_handle(handle.id, run_id=handle.run_id)
        for encoding in (b"binary/encrypted", b"binary/unheard-of"):
            payload = Payload(metadata={"encoding": encoding}, data=b"\x00garbage")
            await stranger.signal("approve_apply", RawValue(payload))
        await runs.decide(handle, "approve", reason="a good one")
        result = await handle.result()
        assert [d.outcome for d in result.decisions] == ["ignored", "ignored", "approved"]
        assert all("cannot be" in d.why for d in result.decisions[:2])


async def test_another_terraform_plans_anew(platform: Platform) -> None:
    """Only the Terraform that wrote a plan can read it: another one's plan has to be covered."""
    client = await platform.client()
    async with platform.worker(client, task_queue="other-tf") as settings:
        handle = await start(client, settings, platform, "other-tf", ADMIN)
        await until(client, handle, asks)
    other = replace(
        platform.toolchain, terraform=replace(platform.toolchain.terraform, version="1.99.0")
    )
    activities = Activities(
        settings=settings, toolchain=other, key_ring=platform.keys, guard=platform.guard
    )
    async with build_worker(client, activities, task_queue="other-tf"):
        await runs.decide(handle, "approve", reason="as planned")
        result = await handle.result()
        assert result.status == Status.APPLIED
        assert [d.outcome for d in result.decisions] == ["approved"]


async def test_decisions_are_seen_without_a_worker(platform: Platform) -> None:
    """Reviews and decisions rest in the history: nobody has to poll to show them."""
    client = await platform.client()
    async with platform.worker(client, task_queue="seen") as settings:
        handle = await start(client, settings, platform, "seen", ADMIN)
        await until(client, handle, asks)
        await handle.signal("approve_apply")
        decisions = await handle.query("get_decisions", result_type=list[Decision])
    view = await until(client, handle, lambda v: asks(v) and bool(v.decisions))
    assert list(view.decisions) == decisions
    await handle.terminate()


async def test_policies_with_a_mistake_are_mended_and_the_run_goes_on(
    platform: Platform, tmp_path: Path
) -> None:
    """File, line and what is wrong; nothing is tried in vain; after the repair it is judged."""
    policies = tmp_path / "policies"
    shutil.copytree(ROOT / "policies", policies)
    (policies / "mistake.rego").write_text("package tprov.mistake\n\nthis is no rego\n")
    client = await platform.client()
    async with platform.worker(client, task_queue="mend", policies=policies) as settings:
        handle = await start(client, settings, platform, "mend", ADMIN)
        view = await until(client, handle, lambda v: v.repair is not None)
        assert view.repair is not None
        assert (view.repair.step, view.step("policy").state) == ("policy", "failed")
        assert "mistake.rego:3" in view.repair.failure
        assert view.repair.remedy
        with pytest.raises(DecisionRefused, match="not waiting for a decision"):
            await runs.decide(handle, "approve", reason="never mind")
        (policies / "mistake.rego").unlink()
        await runs.recheck(handle)
        view = await until(client, handle, asks)
        assert view.review is not None
        assert view.repair is None
        with pytest.raises(DecisionRefused, match="nothing waits to be mended"):
            await runs.recheck(handle)
        await runs.decide(handle, "deny", reason="")
        await handle.result()

"""People who stop an apply, and runs that begin where another was cut off: nothing is orphaned."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.api.cloud.cloudservice.v1 import (
    DeleteApiKeyRequest,
    DeleteNamespaceRequest,
    GetApiKeyRequest,
    GetNamespaceRequest,
)
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, CloudOperationsClient, WorkflowFailureError
from temporalio.exceptions import CancelledError

from tests.conftest import Platform
from tests.test_recovery import appears, terraform_of
from tests.test_workflow import ADMIN, NAMESPACE, PROVIDER, asks, start, until
from tprov_kernel import runs
from tprov_kernel.audit import audit, to_markdown
from tprov_kernel.errors import DecisionRefused
from tprov_kernel.messages import Status
from tprov_kernel.observe import RunView
from tprov_kernel.stacks import held_objects
from tprov_kernel.standin.control import StandinControl
from tprov_kernel.workflow import ProvisionInfraWorkflow

pytestmark = pytest.mark.timeout(120)

NAMESPACE_ADDRESS = ["temporalcloud_namespace.this"]


@asynccontextmanager
async def in_the_middle(
    platform: Platform, client: Client, control: StandinControl, stack: str
) -> AsyncIterator[runs.RunHandle]:
    """A run whose namespace is created at the Cloud, while Terraform still waits for it."""
    before = {n.id for n in await platform.cloud.list_namespaces()}

    async def exists() -> bool:
        return bool({n.id for n in await platform.cloud.list_namespaces()} - before)

    await control.hold("CreateNamespace")
    settings = replace(platform.settings, task_queue=stack)
    handle = await start(client, settings, platform, stack, NAMESPACE)
    await appears(exists)
    yield handle


async def is_made_once(platform: Platform, stack: str) -> None:
    """One namespace of the stack's at the Cloud, and in the state."""
    state = platform.settings.stacks / stack
    assert held_objects(platform.settings.stacks, stack) == NAMESPACE_ADDRESS
    (found,) = [
        resource["instances"][0]["attributes"]
        for path in state.rglob("terraform.tfstate")
        for resource in json.loads(path.read_text())["resources"]
    ]
    named = [n.id for n in await platform.cloud.list_namespaces() if n.name == found["name"]]
    assert named == [found["id"]]


async def test_a_person_stops_an_apply_and_is_asked_about_the_rest(
    platform: Platform, control: StandinControl
) -> None:
    """Terraform saves its state and ends; what was in flight is taken over, and that was all."""
    client = await platform.client()
    async with platform.worker(client, task_queue="stop-1") as settings:
        async with in_the_middle(platform, client, control, "stop-1") as handle:
            terraform = await terraform_of(platform, "stop-1")
            assert "asked to stop" in await runs.interrupt(handle, by="ada")
            view = await until(client, handle, lambda v: asks(v) or v.closed)
            assert not terraform.is_running()
        assert view.status == Status.APPLIED, "the namespace was all there was to do"
        assert (await handle.result()).summary == "1 added, 0 changed, 0 destroyed"
        assert view.story[0] == "ada asked to stop the apply."
        assert any("taken over" in sentence for sentence in view.story)
        assert view.step("apply").note == "1 added"
        await is_made_once(platform, "stop-1")
        again = await start(client, settings, platform, "stop-1", NAMESPACE)
        assert (await again.result()).status == Status.NO_CHANGES
        told = to_markdown(await audit(client, handle))
        assert "ada asked to stop the apply" in told
        assert "is ours, and is taken over" in told


TWO = """
resource "temporalcloud_namespace" "second" {
  name           = "${temporalcloud_namespace.this.name}-2"
  regions        = var.regions
  retention_days = var.retention_days
  api_key_auth   = true
}
"""


def two_namespaces(place: Path) -> Path:
    """A configuration of two namespaces, one after the other."""
    place.mkdir()
    for file in NAMESPACE.glob("*.tf"):
        (place / file.name).write_text(file.read_text())
    (place / "second.tf").write_text(TWO)
    return place


async def test_what_was_done_is_told_although_the_rest_is_given_up(
    platform: Platform, control: StandinControl, tmp_path: Path
) -> None:
    """One of two is made; what is asked about the other is planned anew without it."""
    client, place = await platform.client(), two_namespaces(tmp_path / "two")
    before = {n.id for n in await platform.cloud.list_namespaces()}

    async def exists() -> bool:
        return bool({n.id for n in await platform.cloud.list_namespaces()} - before)

    async with platform.worker(client, task_queue="half-way") as settings:
        await control.hold("CreateNamespace")
        handle = await start(client, settings, platform, "half-way", place)
        await appears(exists)
        await runs.interrupt(handle, by="ada")
        await until(client, handle, asks)
        await control.mend()
        assert held_objects(settings.stacks, "half-way") == NAMESPACE_ADDRESS
        (place / "second.tf").unlink()
        await runs.replan(client, handle, directory=place, key_ring=platform.keys)
        result = await handle.result()
        assert result.status == Status.APPLIED
        assert result.summary == "1 added, 0 changed, 0 destroyed"


@pytest.mark.parametrize("decision", ["approve", "deny"])
async def test_what_remains_is_a_question_to_a_human(
    platform: Platform, control: StandinControl, tmp_path: Path, decision: str
) -> None:
    """No policy asks, and the plan is the same: somebody stopped it, so somebody says go on."""
    client, stack = await platform.client(), f"stop-{decision}"
    async with platform.worker(client, task_queue=stack) as settings:
        await control.hold("CreateNamespace")
        handle = await start(client, settings, platform, stack, two_namespaces(tmp_path / "two"))
        terraform = await terraform_of(platform, stack)
        await until(client, handle, lambda v: "creating" in v.step("apply").doing)
        await runs.interrupt(handle, by="ada")
        view = await until(client, handle, asks)
        assert not terraform.is_running()
        assert view.review is not None
        assert view.review.differs[0] == "ada stopped the apply; this is what is left of it."
        held = held_objects(settings.stacks, stack)
        assert "ada stopped the apply; this is what" in to_markdown(await audit(client, handle))
        await runs.decide(handle, decision, reason="as ada says")  # type: ignore[arg-type]
        result = await handle.result()
        if decision == "approve":
            assert result.status == Status.APPLIED
            assert result.summary == "2 added, 0 changed, 0 destroyed"
            assert len(held_objects(settings.stacks, stack)) == 2
        else:
            assert result.status == Status.REJECTED
            assert held_objects(settings.stacks, stack) == held


async def test_a_second_press_kills(platform: Platform, control: StandinControl) -> None:
    """A Terraform that does not listen is killed with its plug-ins; recovery is the same."""
    client = await platform.client()
    async with platform.worker(client, task_queue="stop-2"):
        async with in_the_middle(platform, client, control, "stop-2") as handle:
            terraform = await terraform_of(platform, "stop-2")
            plugins = terraform.children()
            terraform.suspend()  # deaf to SIGINT; ten seconds of grace begin
            await handle.execute_update("interrupt")  # as the temporal command does, without a name
            assert "killed" in await runs.interrupt(handle)
            async with asyncio.timeout(8):
                while terraform.is_running():  # noqa: ASYNC110 (another process makes it true)
                    await asyncio.sleep(0.05)
            view = await until(client, handle, lambda v: asks(v) or v.closed)
            assert not any(plugin.is_running() for plugin in plugins)
        assert view.status == Status.APPLIED
        assert any("signal 9" in sentence for sentence in view.story)
        await is_made_once(platform, "stop-2")


async def test_only_an_apply_can_be_interrupted(platform: Platform) -> None:
    """While a person is asked there is nothing to stop; after the end neither."""
    client = await platform.client()
    async with platform.worker(client, task_queue="stop-3") as settings:
        handle = await start(client, settings, platform, "stop-3", ADMIN)
        await until(client, handle, asks)
        with pytest.raises(DecisionRefused, match="no apply is at work, the run is awaiting"):
            await runs.interrupt(handle)
        await runs.decide(handle, "deny", reason="")
        await handle.result()
        with pytest.raises(DecisionRefused, match="the run is over"):
            await runs.interrupt(handle)


async def test_a_cancelled_run_leaves_no_orphan(
    platform: Platform, control: StandinControl
) -> None:
    """Terraform is interrupted, what was in flight is in the state, and the run is cancelled."""
    client = await platform.client()
    async with platform.worker(client, task_queue="cancel-midway") as settings:
        async with in_the_middle(platform, client, control, "cancel-midway") as handle:
            terraform = await terraform_of(platform, "cancel-midway")
            await handle.cancel()
            view = await until(client, handle, lambda v: v.closed)
            assert not terraform.is_running()
        assert view.status == Status.CANCELLED
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
        assert isinstance(raised.value.cause, CancelledError)
        assert any("taken over" in sentence for sentence in view.story)
        await is_made_once(platform, "cancel-midway")
        again = await start(client, settings, platform, "cancel-midway", NAMESPACE)
        assert (await again.result()).status == Status.NO_CHANGES


async def test_terminated_in_the_middle_then_started_anew(
    platform: Platform, control: StandinControl
) -> None:
    """The Terraform of the first run finishes; the second run waits for it, and does nothing."""
    client = await platform.client()
    async with platform.worker(client, task_queue="ended") as settings:
        async with in_the_middle(platform, client, control, "ended") as handle:
            await handle.terminate("somebody is in a hurry")
            again = await start(client, settings, platform, "ended", NAMESPACE)
            await until(client, again, lambda v: v.step("init").state != "waiting")
            await control.mend()
        assert (await again.result()).status == Status.NO_CHANGES
        await is_made_once(platform, "ended")


async def test_a_killed_and_terminated_run_is_picked_up_by_the_next(
    platform: Platform, control: StandinControl
) -> None:
    """Nobody recovers a terminated run: the next one finds in the journal that it was cut off."""
    client = await platform.client()
    async with platform.worker(client, task_queue="next") as settings:
        async with in_the_middle(platform, client, control, "next") as handle:
            await handle.terminate()
            (await terraform_of(platform, "next")).kill()
            again = await start(client, settings, platform, "next", NAMESPACE)
            view = await until(client, again, lambda v: v.closed)
        assert view.status == Status.NO_CHANGES
        assert (await again.result()).summary.startswith("1 taken over, 0 to add")
        assert any("taken over" in sentence for sentence in view.story)
        assert "is ours, and is taken over" in to_markdown(await audit(client, again))
        await is_made_once(platform, "next")


async def cloud_of(platform: Platform) -> CloudOperationsClient:
    """The Cloud API, as a person's own tool calls it."""
    there = platform.settings.cloud
    return await CloudOperationsClient.connect(
        api_key=there.api_key, target_host=there.endpoint, tls=False
    )


async def remove_namespace(platform: Platform, id: str) -> None:
    """What `tcld namespace delete` does."""
    service = (await cloud_of(platform)).cloud_service
    found = (await service.get_namespace(GetNamespaceRequest(namespace=id))).namespace
    version = found.resource_version
    await service.delete_namespace(DeleteNamespaceRequest(namespace=id, resource_version=version))


@pytest.mark.parametrize("way_out", ["recheck", "replan"])
async def test_what_the_configuration_no_longer_has_is_a_question(
    platform: Platform, control: StandinControl, tmp_path: Path, way_out: str
) -> None:
    """Cut off, then written anew under another address: it cannot be taken over, so it is told.

    The run waits until it is removed, or until the configuration has a place for it again.
    """
    other = tmp_path / "other"
    other.mkdir()
    for file in NAMESPACE.glob("*.tf"):
        text = file.read_text().replace("_namespace.this", "_namespace.other")
        text = text.replace('"temporalcloud_namespace" "this"', '"temporalcloud_namespace" "other"')
        (other / file.name).write_text(text.replace("[var.name_prefix,", '["moved",'))
    client, stack = await platform.client(), f"moved-{way_out}"
    async with platform.worker(client, task_queue=stack) as settings:
        before = {n.id for n in await platform.cloud.list_namespaces()}
        async with in_the_middle(platform, client, control, stack) as handle:
            await handle.terminate()
            (await terraform_of(platform, stack)).kill()
            await control.mend()
            again = await start(client, settings, platform, stack, other)
            view = await until(client, again, lambda v: v.repair is not None)
        assert view.repair is not None, view.failure
        assert view.repair.failure.startswith("An apply that was cut off made")
        assert f"has no {NAMESPACE_ADDRESS[0]} any more" in view.repair.failure
        assert view.repair.remedy.startswith("Remove it, or put back")
        assert (view.repair.step, view.step("plan").state) == ("plan", "failed")
        if way_out == "replan":
            await runs.replan(client, again, directory=NAMESPACE, key_ring=platform.keys)
            assert (await again.result()).status == Status.NO_CHANGES
            await is_made_once(platform, stack)
            return
        (left,) = {n.id for n in await platform.cloud.list_namespaces()} - before
        await remove_namespace(platform, left)

        async def is_gone() -> bool:
            return left not in {n.id for n in await platform.cloud.list_namespaces()}

        await appears(is_gone)
        await runs.recheck(again)
        assert (await again.result()).status == Status.APPLIED
        assert held_objects(settings.stacks, stack) == ["temporalcloud_namespace.other"]


async def test_a_destroy_finds_what_was_cut_off(
    platform: Platform, control: StandinControl
) -> None:
    """The state is empty, the Cloud is not: the destroy takes it over, and destroys it."""
    client = await platform.client()
    async with platform.worker(client, task_queue="undo") as settings:
        before = {n.id for n in await platform.cloud.list_namespaces()}
        async with in_the_middle(platform, client, control, "undo") as handle:
            await handle.terminate()
            (await terraform_of(platform, "undo")).kill()
            await control.mend()
            undo = await runs.start_destroy(client, stack="undo", task_queue=settings.task_queue)
            undo = runs.bound(client, undo)
            view = await until(client, undo, lambda v: asks(v) or v.closed)
            if not view.closed:
                await runs.decide(undo, "approve", reason="away with it")
            assert (await undo.result()).status == Status.DESTROYED
        assert {n.id for n in await platform.cloud.list_namespaces()} == before


async def reset_to_before_the_apply(client: Client, handle: runs.RunHandle) -> runs.RunHandle:
    """What `temporal workflow reset` does: back to the workflow task that scheduled the apply."""
    task = 0
    async for event in handle.fetch_history_events():
        scheduled = event.activity_task_scheduled_event_attributes
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            task = event.event_id
        elif scheduled.activity_type.name == "terraform_apply":
            break
    answer = await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=handle.run_id or ""),
            workflow_task_finish_event_id=task,
            request_id="once",
            reason="a test",
        )
    )
    return client.get_workflow_handle_for(
        ProvisionInfraWorkflow.run, handle.id, run_id=answer.run_id
    )


@pytest.mark.parametrize("killed", [False, True], ids=["terraform lives", "terraform is killed"])
async def test_reset_to_before_the_apply(
    platform: Platform, control: StandinControl, killed: bool
) -> None:
    """The same saved plan comes again, and is not applied again: it could create things twice."""
    client, stack = await platform.client(), f"reset-{killed}".lower()
    async with platform.worker(client, task_queue=stack) as settings:
        async with in_the_middle(platform, client, control, stack) as handle:
            terraform = await terraform_of(platform, stack)
            anew = await reset_to_before_the_apply(client, handle)
            if killed:
                terraform.kill()
            else:
                await control.mend()
            result = await anew.result()
        assert result.status == Status.APPLIED
        assert result.summary == "1 added, 0 changed, 0 destroyed"
        await is_made_once(platform, stack)
        again = await start(client, settings, platform, stack, NAMESPACE)
        assert (await again.result()).status == Status.NO_CHANGES


KEY = (
    PROVIDER
    + """
resource "temporalcloud_service_account" "robot" {
  name           = "robot-${var.name_suffix}"
  account_access = "read"
}

resource "temporalcloud_apikey" "robot" {
  display_name = "robot-${var.name_suffix}"
  owner_type   = "service-account"
  owner_id     = temporalcloud_service_account.robot.id
  expiry_time  = "2027-02-01T00:00:00Z"
}
"""
)


async def revoke(platform: Platform, key: str) -> None:
    """What `tcld apikey delete` does."""
    client = await cloud_of(platform)
    found = await client.cloud_service.get_api_key(GetApiKeyRequest(key_id=key))
    version = found.api_key.resource_version
    request = DeleteApiKeyRequest(key_id=key, resource_version=version)
    await client.cloud_service.delete_api_key(request)


async def test_an_api_key_whose_token_is_lost_is_a_question(
    platform: Platform, control: StandinControl, tmp_path: Path
) -> None:
    """It cannot be imported: the run names it and waits until somebody has revoked it."""
    (tmp_path / "main.tf").write_text(KEY)

    def asked(times: int) -> Callable[[RunView], bool]:
        return lambda v: (
            v.status == Status.OUTCOME_UNKNOWN
            and sum("a person has to decide" in sentence for sentence in v.story) == times
            and v.repair is not None
        )

    async def keys() -> list[str]:
        objects = await control.objects()
        return [o["id"] for o in objects if o["type"] == "API key" and "robot-" in o["name"]]

    client = await platform.client()
    async with platform.worker(client, task_queue="key") as settings:
        await control.hold("CreateApiKey")
        handle = await start(client, settings, platform, "key", tmp_path)
        await appears(keys)
        (await terraform_of(platform, "key")).kill()
        view = await until(client, handle, asked(1))
        await control.mend()
        assert not view.closed
        assert view.status == Status.OUTCOME_UNKNOWN
        assert view.repair is not None
        assert (view.repair.step, "revoke the key" in view.repair.failure) == ("apply", True)
        assert "revoke the key" in view.step("apply").failure
        assert "temporalcloud_apikey.robot" in view.step("apply").failure
        (lost,) = await keys()
        assert lost in view.step("apply").failure
        await runs.recheck(handle)
        still = await until(client, handle, asked(2))
        assert not still.closed, "as long as the key is there it asks"
        await revoke(platform, lost)
        await runs.recheck(handle)
        assert (await handle.result()).status == Status.APPLIED
        (made,) = await keys()
        assert made != lost

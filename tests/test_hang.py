"""A Terraform that says nothing any more: people see it, can stop it, and nothing is lost."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Platform
from tests.test_interrupt import in_the_middle, is_made_once
from tests.test_recovery import appears, terraform_of, worker_process
from tests.test_workflow import NAMESPACE, asks, start, until
from tprov_kernel import runs
from tprov_kernel.activities import Activities
from tprov_kernel.connect import build_worker
from tprov_kernel.messages import Status
from tprov_kernel.standin.control import StandinControl

pytestmark = pytest.mark.timeout(240)


async def test_a_terraform_that_stands_still_is_seen_and_can_be_stopped(
    platform: Platform, control: StandinControl
) -> None:
    """One press is enough: it does not hear SIGINT, so after its grace it is killed."""
    client = await platform.client()
    async with platform.worker(client, task_queue="still"):
        async with in_the_middle(platform, client, control, "still") as handle:
            terraform = await terraform_of(platform, "still")
            terraform.suspend()
            silent = "no word from Terraform for "
            view = await until(client, handle, lambda v: silent in v.step("apply").doing)
            assert view.step("apply").doing.startswith("creating temporalcloud_namespace.this")
            await runs.interrupt(handle, by="ada")
            view = await until(client, handle, lambda v: asks(v) or v.closed)
            assert not terraform.is_running()
        assert view.status == Status.APPLIED
        assert any("taken over" in sentence for sentence in view.story)
        await is_made_once(platform, "still")


async def test_a_terraform_that_lost_its_heartbeats_can_be_stopped_too(
    platform: Platform, control: StandinControl, tmp_path: Path
) -> None:
    """It is left to finish, and does not: recovery waits for it, and a person need not."""
    client = await platform.client()
    async with worker_process(platform, "left", tmp_path / "worker.log") as worker:
        await control.hold("CreateNamespace")
        settings = replace(platform.settings, task_queue="left")
        handle = await start(client, settings, platform, "left", NAMESPACE, heartbeat=2)
        terraform = await terraform_of(platform, "left")
        await until(client, handle, lambda v: "creating" in v.step("apply").doing)
        terraform.suspend()

        async def is_given_up() -> bool:
            events = handle.fetch_history_events()
            return any(
                [e.HasField("activity_task_timed_out_event_attributes") async for e in events]
            )

        worker.send_signal(signal.SIGSTOP)
        await appears(is_given_up)
        worker.send_signal(signal.SIGCONT)
        waits = "waiting for the Terraform before to end"
        view = await until(client, handle, lambda v: waits in v.step("apply").doing)
        assert view.status == Status.RECOVERING
        assert terraform.is_running(), "a lost heartbeat is no order to stop"
        await runs.interrupt(handle, by="ada")
        await runs.interrupt(handle, by="ada")
        view = await until(client, handle, lambda v: asks(v) or v.closed)
        assert not terraform.is_running()
        assert view.status == Status.APPLIED
        await is_made_once(platform, "left")


async def test_a_plan_that_hangs_is_ended_and_tried_again(
    platform: Platform, control: StandinControl
) -> None:
    """The Cloud API takes a call and never answers: a sentence, and the next attempt succeeds."""
    client = await platform.client()
    settings = replace(platform.settings, task_queue="hung")
    activities = Activities(
        settings=settings,
        toolchain=platform.toolchain,
        key_ring=platform.keys,
        guard=platform.guard,
        plan_quiet=4,
    )
    async with build_worker(client, activities, task_queue="hung"):
        await (await start(client, settings, platform, "hung", NAMESPACE)).result()
        await control.slow("GetNamespace", 3600, times=None)
        handle = await start(client, settings, platform, "hung", NAMESPACE)
        reading = "reading temporalcloud_namespace.this"
        await until(client, handle, lambda v: reading in v.step("plan").doing)
        view = await until(client, handle, lambda v: bool(v.step("plan").failure))
        assert view.step("plan").failure == "terraform said nothing for 4 s and was ended."
        assert "a network or a disk that does not answer" in view.step("plan").remedy
        await control.mend()
        assert (await handle.result()).status == Status.NO_CHANGES

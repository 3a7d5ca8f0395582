"""The worst moments of an apply: afterwards there is exactly what was wanted, once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from tests.conftest import ROOT, Platform
from tests.test_workflow import ADMIN, NAMESPACE, start, until
from tprov_kernel import opa, runs
from tprov_kernel.activities import Activities
from tprov_kernel.messages import ApplyJob, PlanJob, Status
from tprov_kernel.observe import RunView
from tprov_kernel.process import clean_environment
from tprov_kernel.stacks import held_objects, take_snapshot
from tprov_kernel.standin.control import StandinControl

pytestmark = pytest.mark.timeout(120)


def _creates(view: RunView) -> bool:
    return "creating" in view.step("apply").doing


async def terraform_of(platform: Platform, stack: str) -> psutil.Process:
    """The Terraform that applies a stack, once it is there."""
    place = str(platform.settings.stacks / stack)
    async with asyncio.timeout(20):
        while True:
            for process in psutil.process_iter():
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                    if process.cwd().startswith(place) and "apply" in process.cmdline():
                        return process
            await asyncio.sleep(0.01)


async def appears(is_there: Callable[[], Any]) -> None:
    """Wait until something is there."""
    async with asyncio.timeout(20):
        while not await is_there():  # noqa: ASYNC110 (another process makes it true)
            await asyncio.sleep(0.02)


async def _is_applied_once(platform: Platform, handle: runs.RunHandle, stack: str) -> str:
    result = await handle.result()
    assert result.status == Status.APPLIED
    name: str = json.loads(result.outputs["namespace_name"])
    named = [n for n in await platform.cloud.list_namespaces() if n.name == name]
    assert len(named) == 1
    assert held_objects(platform.settings.stacks, stack) == ["temporalcloud_namespace.this"]
    return name


async def _has_nothing_left_to_do(
    platform: Platform, client: Client, queue: str, stack: str
) -> None:
    async with platform.worker(client, task_queue=queue) as settings:
        again = await start(client, settings, platform, stack, NAMESPACE)
        assert (await again.result()).status == Status.NO_CHANGES


async def test_terraform_killed_after_the_create_leaves_one_namespace(platform: Platform) -> None:
    """Created, not in the state, no Terraform any more: it is found, adopted, and that is all."""
    client = await platform.client()
    async with platform.worker(client, task_queue="killed") as settings:
        before = {n.id for n in await platform.cloud.list_namespaces()}

        async def exists() -> bool:
            return bool({n.id for n in await platform.cloud.list_namespaces()} - before)

        handle = await start(client, settings, platform, "killed", NAMESPACE)
        await until(client, handle, _creates)
        await appears(exists)
        (await terraform_of(platform, "killed")).kill()
        view = await until(client, handle, lambda v: v.closed)
        assert any("exists" in sentence for sentence in view.story)
        await _is_applied_once(platform, handle, "killed")
    await _has_nothing_left_to_do(platform, client, "killed", "killed")


async def test_a_recovery_that_people_watch_asks_nobody_anything(platform: Platform) -> None:
    """Its steps wait a moment for the audience: that is no question, and has no buttons."""
    client = await platform.client()
    async with platform.worker(client, task_queue="seen-recovering") as settings:
        before = {n.id for n in await platform.cloud.list_namespaces()}

        async def exists() -> bool:
            return bool({n.id for n in await platform.cloud.list_namespaces()} - before)

        handle = await start(client, settings, platform, "seen-recovering", NAMESPACE, pace=0.5)
        await until(client, handle, _creates)
        await appears(exists)
        (await terraform_of(platform, "seen-recovering")).kill()
        view = await until(client, handle, lambda v: v.repair is not None)
        assert view.repair is None
        assert view.status == Status.APPLIED


async def test_terraform_killed_before_the_create_is_planned_anew(platform: Platform) -> None:
    """Nothing was made: the same plan again is covered by what was decided, and is applied."""
    client = await platform.client()
    async with platform.worker(client, task_queue="early-kill") as settings:
        handle = await start(client, settings, platform, "early-kill", ADMIN)
        await until(client, handle, lambda v: v.review is not None)
        await runs.decide(handle, "approve", reason="once is enough")
        await until(client, handle, lambda v: v.step("apply").doing == "starting terraform")
        (await terraform_of(platform, "early-kill")).kill()
        result = await handle.result()
        assert result.status == Status.APPLIED
        assert [d.outcome for d in result.decisions] == ["approved"]
        email = json.loads(result.outputs["user_email"])
        assert len([u for u in await platform.cloud.list_users() if u.name == email]) == 1


@asynccontextmanager
async def worker_process(
    platform: Platform, queue: str, log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker of its own, as `tprov worker` starts one."""
    environment = clean_environment(
        extra={"TPROV_HOME": str(platform.settings.home), "TPROV_ROOT": str(ROOT)}
    )
    command = [sys.executable, "-m", "tprov_kernel.cli", "worker", "--task-queue", queue]
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=environment, stdout=sink, stderr=sink
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await process.wait()


async def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(
    platform: Platform, tmp_path: Path
) -> None:
    """Its Terraform may finish; the journal tells the next worker, and the run goes on."""
    client, queue = await platform.client(), "worker-kill"
    async with worker_process(platform, queue, tmp_path / "worker.log") as process:
        settings = replace(platform.settings, task_queue=queue)
        handle = await start(client, settings, platform, queue, NAMESPACE, heartbeat=3)
        await until(client, handle, _creates)
        os.kill(process.pid, signal.SIGKILL)
    async with platform.worker(client, task_queue=queue):
        await _is_applied_once(platform, handle, queue)
    await _has_nothing_left_to_do(platform, client, queue, queue)


async def test_a_server_that_is_away_is_no_crash(platform: Platform) -> None:
    """Stopped for longer than a heartbeat's time-out: Terraform finishes, nobody is asked."""
    client = await platform.client()
    async with platform.worker(client, task_queue="away") as settings:
        handle = await start(client, settings, platform, "away", NAMESPACE, heartbeat=2)
        await until(client, handle, _creates)
        services, runtime = platform.services, platform.runtime
        await asyncio.wrap_future(runtime.submit(services.stop("temporal", kill=True)))
        await asyncio.sleep(8)  # the point of the test: a while without a server
        await asyncio.wrap_future(runtime.submit(services.start("temporal")))
        await _is_applied_once(platform, handle, "away")
        assert await handle.query("get_decisions") == []


async def test_a_cancelled_apply_is_interrupted_and_told(platform: Platform) -> None:
    """A real request to cancel stops Terraform; the run is cancelled, and no process is left."""
    client = await platform.client()
    async with platform.worker(client, task_queue="stop") as settings:
        handle = await start(client, settings, platform, "stop", NAMESPACE)
        await until(client, handle, _creates)
        terraform = await terraform_of(platform, "stop")
        await handle.cancel()
        view = await until(client, handle, lambda v: v.closed)
        assert view.status in (Status.CANCELLED, Status.APPLIED)
        assert not terraform.is_running()


async def test_an_apply_that_failed_is_shown_as_failed(platform: Platform) -> None:
    """The Cloud takes the operation and fails it: no tick on the step, and the run says why."""
    client = await platform.client()
    there = platform.settings.cloud
    control = StandinControl(there.endpoint, there.api_key)
    async with platform.worker(client, task_queue="doomed-create") as settings:
        await control.doom("CreateNamespace", "No room left.", times=None)
        try:
            handle = await start(client, settings, platform, "doomed-create", NAMESPACE)
            view = await until(client, handle, lambda v: v.closed)
        finally:
            await control.mend()
        assert view.status == Status.FAILED
        assert view.step("apply").state == "failed"
        assert view.step("output").state == "skipped"
        assert "No room left" in view.failure


SMALL = 'variable "name_suffix" {}\nresource "terraform_data" "a" {\n  input = "x"\n}\n'


async def test_a_worker_that_wakes_up_late_applies_nothing(
    platform: Platform, tmp_path: Path
) -> None:
    """It slept for longer than a heartbeat, and the run is over: what it holds is not wanted."""
    (tmp_path / "main.tf").write_text(SMALL)
    client = await platform.client()
    over = await start(client, platform.settings, platform, "late", tmp_path)
    await over.terminate()
    steps = Activities(
        settings=platform.settings,
        toolchain=platform.toolchain,
        key_ring=platform.keys,
        guard=platform.guard,
    )
    late = ActivityEnvironment(client=client)
    late.info = replace(late.info, workflow_id=over.id, workflow_run_id=over.run_id)
    snapshot = take_snapshot(tmp_path, variables={}, key_ring=platform.keys)
    asked: dict[str, Any] = {
        "stack": "late",
        "snapshot": snapshot,
        "suffix": "x",
        "heartbeat": 30.0,
    }
    plan = await late.run(steps.terraform_plan, PlanJob(action="provision", **asked))
    digest = opa.bundle_digest(platform.settings.policies)
    job = ApplyJob(plan=plan.plan, bundle_digest=digest, **asked)
    with pytest.raises(ApplicationError, match="does not wait for this apply any more"):
        await late.run(steps.terraform_apply, job)
    assert held_objects(platform.settings.stacks, "late") == []
    assert (await ActivityEnvironment().run(steps.terraform_apply, job)).added == 1
    with pytest.raises(ApplicationError, match="never is twice"):
        await ActivityEnvironment().run(steps.terraform_apply, job)

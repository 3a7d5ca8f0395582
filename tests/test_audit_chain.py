"""An audit along the continue-as-new chain: a long wait with many re-plans loses nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import SearchAttributeKey
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from tests.conftest import ROOT
from tprov_kernel import runs
from tprov_kernel.attributes import ATTRIBUTES
from tprov_kernel.audit import audit, fold, to_markdown
from tprov_kernel.audit.chain import histories
from tprov_kernel.messages import (
    ApplyJob,
    ApplyResult,
    Finding,
    InitJob,
    InitResult,
    OutputJob,
    OutputResult,
    PlanJob,
    PlanResult,
    PlanView,
    PolicyJob,
    SavedPlan,
    Status,
    Verdict,
)
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.toolchain import Toolchain
from tprov_kernel.workflow import ProvisionInfraWorkflow

pytestmark = pytest.mark.timeout(90)

QUEUE = "chain"
SOON = "limit.historyCount.suggestContinueAsNew=40"
"""The server's own setting: after so many events it suggests to continue as new."""


@activity.defn(name="terraform_init")
async def init(job: InitJob) -> InitResult:
    """There is nothing to get ready."""
    return InitResult(done=True)


@activity.defn(name="terraform_plan")
async def plan(job: PlanJob) -> PlanResult:
    """A plan that is told by its snapshot."""
    digest = hashlib.sha256(job.snapshot.digest.encode()).hexdigest()
    return PlanResult(
        has_changes=True,
        plan=SavedPlan(
            sealed="",
            file_digest=digest,
            meaning_digest=digest,
            state_lineage="",
            state_serial=0,
            terraform_version="1.11.4",
        ),
        view=PlanView(add=1),
    )


@activity.defn(name="evaluate_policy")
async def judge(job: PolicyJob) -> Verdict:
    """Somebody has to decide."""
    found = Finding(rule="r", level="soft-mandatory", address="a.b", message="Hm.", remedy="Ask.")
    return Verdict(findings=[found], bundle_digest="b" * 64, opa_version="1")


@activity.defn(name="terraform_apply")
async def apply(job: ApplyJob) -> ApplyResult:
    """Done."""
    return ApplyResult(added=1, changed=0, destroyed=0)


@activity.defn(name="terraform_output")
async def output(job: OutputJob) -> OutputResult:
    """None."""
    return OutputResult(outputs={})


@pytest.fixture
async def client(toolchain: Toolchain) -> AsyncIterator[Client]:
    """A server that suggests soon to continue as new, and a worker with these steps."""
    makers: dict[str, Callable[[str], SearchAttributeKey[Any]]] = {
        "Text": SearchAttributeKey.for_text,
        "Keyword": SearchAttributeKey.for_keyword,
    }
    async with (
        await WorkflowEnvironment.start_local(
            dev_server_existing_path=toolchain.temporal.argv[0],
            dev_server_extra_args=["--dynamic-config-value", SOON],
            search_attributes=[makers[kind](name) for name, kind in ATTRIBUTES.items()],
        ) as environment,
        Worker(
            environment.client,
            task_queue=QUEUE,
            workflows=[ProvisionInfraWorkflow],
            activities=[init, plan, judge, apply, output],
        ),
    ):
        yield environment.client


@asynccontextmanager
async def soon() -> AsyncIterator[None]:
    """No wait is for ever."""
    async with asyncio.timeout(30):
        yield


async def _current(client: Client) -> WorkflowHandle[Any, Any]:
    """The execution of the chain that is open, or the last one."""
    description = await client.get_workflow_handle("stack-long").describe()
    return client.get_workflow_handle("stack-long", run_id=description.run_id)


async def _asks(client: Client, reviews: int) -> WorkflowHandle[Any, Any]:
    """Wait for the review of that number."""
    async with soon():
        while True:
            handle = await _current(client)
            told = await audit(client, handle)
            if told.status == Status.AWAITING_APPROVAL and len(told.reviews) == reviews:
                return handle
            await asyncio.sleep(0.05)


async def _a_long_wait(client: Client, folder: Path) -> WorkflowHandle[Any, Any]:
    """Three reviews, a decision that is ignored about each, then an approval; gives the first."""
    keys = KeyRing.in_memory()
    source = (ROOT / "terraform" / "tcloud_admin_user" / "variables.tf").read_text()
    (folder / "main.tf").write_text(source)
    started = await runs.start_run(
        client, stack="long", directory=folder, key_ring=keys, task_queue=QUEUE, requested_by="ada"
    )
    for number in (1, 2, 3):
        handle = await _asks(client, number)
        await handle.signal("approve_apply", {"reviewer": f"reviewer-{number}"})
        if number < 3:
            (folder / "main.tf").write_text(f"{source}\n# {number}\n")
            bound: Any = handle
            await runs.replan(
                client, bound, directory=folder, key_ring=keys, requested_by=f"asker-{number}"
            )
    await handle.signal("approve_apply", "at last")
    async with soon():
        await handle.result()
    return client.get_workflow_handle("stack-long", run_id=started.first_execution_run_id)


async def test_a_chain_is_told_as_one_run(client: Client, tmp_path: Path) -> None:
    """Whichever execution one asks about: every review and decision, each once, and one request.

    Past the first one's retention the decisions, which travelled along, are told, and the gap.
    """
    first = await _a_long_wait(client, tmp_path)
    assert (await first.describe()).status == WorkflowExecutionStatus.CONTINUED_AS_NEW
    told = await audit(client, await _current(client))
    assert told == await audit(client, first)
    assert told == await audit(client, client.get_workflow_handle("stack-long"))
    assert len(told.run_ids) >= 2
    assert told.asked is not None
    assert told.asked.by == "ada"
    assert [r.became for r in told.reviews] == ["superseded", "superseded", "approved"]
    assert [r.plan for r in told.reviews] == [1, 2, 3]
    assert all(r.matches for r in told.reviews)
    assert [p.why for p in told.plans[1:]] == [
        f"of the new snapshot that asker-{number} asked for" for number in (1, 2)
    ]
    assert [(d.outcome, d.reviewer) for d in told.decisions] == [
        ("ignored", "reviewer-1"),
        ("ignored", "reviewer-2"),
        ("ignored", "reviewer-3"),
        ("approved", ""),
    ]
    assert all(d.sender for d in told.decisions)
    assert (told.status, told.gaps) == ("applied", [])
    assert "continued as" in to_markdown(told)

    chain = await histories(client, first)
    late = await fold(chain[-1:], client.data_converter)  # as after the first one's retention
    assert late.gaps == ["Its earlier executions are no longer on the server."]
    assert late.asked is None
    assert [(d.outcome, d.reviewer) for d in late.decisions] == [
        (d.outcome, d.reviewer) for d in told.decisions
    ]
    assert "## Gaps" in to_markdown(late)

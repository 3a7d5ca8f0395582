"""An audit along the continue-as-new chain: a long wait with many re-plans loses nothing."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import SearchAttributeKey
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker

from tests.conftest import ROOT
from tprov_kernel import runs
from tprov_kernel.attributes import ATTRIBUTES
from tprov_kernel.audit import audit, fold, to_markdown
from tprov_kernel.audit.chain import histories
from tprov_kernel.decisions import MAX_CARRIED
from tprov_kernel.errors import DecisionRefused
from tprov_kernel.messages import (
    APPROVAL_EXPIRES,
    ApplyJob,
    ApplyResult,
    AttributeChange,
    Decision,
    Finding,
    InitJob,
    InitResult,
    OutputJob,
    OutputResult,
    PlanJob,
    PlanResult,
    PlanView,
    PolicyJob,
    ResourceChange,
    Review,
    SavedPlan,
    Status,
    Verdict,
)
from tprov_kernel.observe import RunView
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.toolchain import Toolchain
from tprov_kernel.watch import Watcher
from tprov_kernel.workflow import ProvisionInfraWorkflow

pytestmark = pytest.mark.timeout(90)

QUEUE = "chain"
SOON = "limit.historyCount.suggestContinueAsNew=40"
"""The server's own setting: after so many events it suggests to continue as new."""


@activity.defn(name="terraform_init")
async def init(job: InitJob) -> InitResult:
    """There is nothing to get ready."""
    return InitResult(done=True)


SEALED_BY = {"plan": ""}
"""What a plan file is like."""

PLANNED: list[str] = []
"""The file digest of each plan that was made."""


@activity.defn(name="terraform_plan")
async def plan(job: PlanJob) -> PlanResult:
    """A plan that is told by its snapshot, in a file that is another one each time."""
    digest = hashlib.sha256(job.snapshot.digest.encode()).hexdigest()
    PLANNED.append(secrets.token_hex(32))
    return PlanResult(
        has_changes=True,
        plan=SavedPlan(
            sealed=SEALED_BY["plan"],
            file_digest=PLANNED[-1],
            meaning_digest=digest,
            state_lineage="",
            state_serial=0,
            terraform_version="1.11.4",
        ),
        view=PlanView(
            add=1,
            changes=[
                ResourceChange(
                    address="a.b",
                    type="a",
                    change="create",
                    attributes=[AttributeChange(name="digest", after=digest[:8])],
                )
            ],
        ),
    )


@activity.defn(name="evaluate_policy")
async def judge(job: PolicyJob) -> Verdict:
    """Somebody has to decide."""
    return Verdict(findings=FINDINGS_BY["findings"], bundle_digest="b" * 64, opa_version="1")


ASK = Finding(rule="r", level="soft-mandatory", address="a.b", message="Hm.", remedy="Ask.")
FINDINGS_BY = {"findings": [ASK]}
"""What the plain policies find."""


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


async def test_a_continued_run_forgets_nothing(client: Client, tmp_path: Path) -> None:
    """It tells what differs from the review before, and knows those that were superseded."""
    chain = Chain(client, tmp_path)
    first = await chain.start()
    reviews = [await chain.review(await _asks(client, 1))]
    while (current := await _current(client)).run_id == first.first_execution_run_id:
        reviews.append(await chain.asks_anew(reviews[-1]))
    assert len(reviews) >= 3
    assert reviews[-1].supersedes == reviews[-2].digest
    (told,) = reviews[-1].differs
    assert told.startswith("a.b: digest = ")
    bound: Any = current
    for former in reviews[:-1]:
        with pytest.raises(DecisionRefused, match=r"was superseded, .* waits now"):
            await runs.decide(bound, "approve", reason="x", review=former.digest)
    with pytest.raises(DecisionRefused, match="is not the one that waits"):
        await runs.decide(bound, "approve", reason="x", review="12345678")
    with pytest.raises(DecisionRefused, match="goes on in a new execution") as raised:
        await runs.decide(runs.bound(client, first), "approve", reason="where it began")
    assert "tprov status long" in raised.value.remedy
    decisions = await current.query("get_decisions", result_type=list[Decision])
    assert [d.reviewer for d in decisions] == [f"reviewer-{n}" for n in range(1, len(reviews))]

    await runs.decide(bound, "deny", reason="enough")
    async with soon():
        await current.result()
    destroyed = await runs.start_destroy(client, stack="long", task_queue=QUEUE)
    async with soon():
        handle = client.get_workflow_handle("stack-long")
        while not await handle.query("get_review"):  # noqa: ASYNC110 (the server makes it true)
            await asyncio.sleep(0.05)
    review = await handle.query("get_review", result_type=Review)
    assert review.supersedes == "", "a destroy is another run: nothing of the former one is its own"
    assert await handle.query("get_decisions") == []
    await destroyed.terminate()


async def test_a_continued_run_asks_even_if_the_policies_no_longer_mind(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is not continued does: whoever was asked is told what became of it."""
    chain = Chain(client, tmp_path)
    first = await chain.start()
    review = await chain.review(await _asks(client, 1))
    monkeypatch.setitem(FINDINGS_BY, "findings", [])
    while (current := await _current(client)).run_id == first.first_execution_run_id:
        review = await chain.asks_anew(review)
    assert review.findings == []
    assert await current.query("get_current_status") == Status.AWAITING_APPROVAL
    await current.terminate()


async def test_a_flood_of_signals_goes_on_in_a_new_execution(
    client: Client, tmp_path: Path
) -> None:
    """The history is short again, and what waits is the same: whoever read it may decide on it.

    Nothing is planned or judged anew, it expires when it said, and each signal is told once.
    """
    chain = Chain(client, tmp_path)
    first = await chain.start()
    review = await chain.review(await _asks(client, 1))
    asked = len(PLANNED)
    sent = await chain.flood(first)
    current = await _asks(client, 1)
    assert current.run_id != first.first_execution_run_id
    assert await chain.review(current) == review
    assert len(PLANNED) == asked
    described = await current.describe()
    memo = await described.memo()
    assert set(memo) == {"suffix", "review", "decisions"}
    assert memo["review"]["digest"] == review.digest
    found = described.typed_search_attributes
    assert found.get(SearchAttributeKey.for_keyword("tprovVerdict")) == "soft-mandatory"
    bound: Any = current
    await runs.decide(bound, "approve", reason="as I read it", review=review.digest)
    async with soon():
        result = await bound.result()
    assert (result["status"], result["review"]) == (Status.APPLIED, review.digest)
    told = await audit(client, current)
    assert [d.outcome for d in told.decisions] == ["ignored"] * sent + ["approved"]
    assert all(d.sender for d in told.decisions)
    assert [(r.became, r.plan, r.matches) for r in told.reviews] == [("approved", 1, True)]
    assert (len(told.plans), len(told.judgements), len(told.applies)) == (1, 1, 1)
    chained = await histories(client, current)
    for history in chained:
        await Replayer(workflows=[ProvisionInfraWorkflow]).replay_workflow(history)
    (timer,) = [e for e in chained[-1].events if e.HasField("timer_started_event_attributes")]
    left = timer.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
    assert left < timedelta(seconds=APPROVAL_EXPIRES)
    assert timer.event_time.ToDatetime(UTC) + left >= datetime.fromisoformat(review.expires_at)
    late = await fold(chained[-1:], client.data_converter)  # as after the first one's retention
    assert [(r.became, r.plan, r.review) for r in late.reviews] == [("approved", 0, review)]


async def test_a_flood_that_does_not_end_changes_nothing_for_whoever_decides(
    client: Client, tmp_path: Path
) -> None:
    """Execution after execution waits for a decision on the first review; then it is planned anew.

    What is planned then supersedes that one, and tells what differs.
    """
    chain = Chain(client, tmp_path)
    await chain.start()
    review = await chain.review(await _asks(client, 1))
    for _ in range(3):
        await chain.flood(await _current(client))
    assert await chain.review(await _asks(client, 1)) == review
    anew = await chain.asks_anew(review)
    assert anew.supersedes == review.digest
    assert anew.differs
    bound: Any = await _current(client)
    with pytest.raises(DecisionRefused, match=r"was superseded, .* waits now"):
        await runs.decide(bound, "deny", reason="no", review=review.digest)
    await runs.decide(bound, "deny", reason="no", review=anew.digest)


async def test_whoever_watches_a_flood_sees_the_question_all_the_time(
    client: Client, tmp_path: Path
) -> None:
    """Plan, verdict and review of an execution that goes on waiting are known at its beginning."""
    chain = Chain(client, tmp_path)
    first = await chain.start()
    review = await chain.review(await _asks(client, 1))
    await chain.flood(first)
    current = await _asks(client, 1)
    watcher = Watcher(client, workflow_id="stack-long", run_id=current.run_id or "")
    async with soon():
        async for view in watcher.views():
            assert view.review == review
            assert view.plan is not None
            assert view.verdict is not None
            if view.status == Status.AWAITING_APPROVAL:
                states = {step.name: step.state for step in view.steps}
                assert list(states.values()) == [*["done"] * 3, "asking", *["waiting"] * 2]
                break
    await current.terminate()


async def test_what_is_too_large_to_travel_is_planned_anew(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A payload has a limit: then the plan is made again, and asked about as a new review."""
    monkeypatch.setitem(SEALED_BY, "plan", "x" * MAX_CARRIED)
    chain = Chain(client, tmp_path)
    first = await chain.start()
    review = await chain.review(await _asks(client, 1))
    await chain.flood(first)
    current = await _asks(client, 2)
    assert (await chain.review(current)).supersedes == review.digest
    await current.terminate()


async def test_whoever_watches_goes_along(client: Client, tmp_path: Path) -> None:
    """A card does not end where an execution does: the next one is the same run."""
    chain = Chain(client, tmp_path)
    first = await chain.start()
    watcher = Watcher(client, workflow_id="stack-long", run_id=first.first_execution_run_id or "")
    seen: list[RunView] = []

    async def watch() -> None:
        async for view in watcher.views():
            seen.append(view)

    watching = asyncio.create_task(watch())
    review = await chain.review(await _asks(client, 1))
    while (current := await _current(client)).run_id == first.first_execution_run_id:
        review = await chain.asks_anew(review)
    bound: Any = current
    await runs.decide(bound, "deny", reason="enough", review=review.digest)
    async with soon():
        await watching
    assert [v.close_state for v in seen if v.closed] == ["COMPLETED"]
    last = seen[-1]
    assert (last.status, last.run_id) == (Status.REJECTED, current.run_id)
    assert last.started == seen[0].started
    assert [d.outcome for d in last.decisions][-1] == "denied"
    carried = [v for v in seen if v.run_id == current.run_id]
    assert carried[0].decisions, "what was decided before is known from its first moment"


class Chain:
    """A run that is planned anew until it continues as new."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._client, self._folder, self._keys = client, folder, KeyRing.in_memory()
        self._source = (ROOT / "terraform" / "tcloud_admin_user" / "variables.tf").read_text()
        self._number = 0
        (folder / "main.tf").write_text(self._source)

    async def start(self) -> runs.RunHandle:
        """Start it."""
        return await runs.start_run(
            self._client,
            stack="long",
            directory=self._folder,
            key_ring=self._keys,
            task_queue=QUEUE,
        )

    async def flood(self, handle: WorkflowHandle[Any, Any]) -> int:
        """Send signals that decide nothing until the run goes on as another execution."""
        begun = handle.run_id or handle.first_execution_run_id
        sent = 0
        async with soon():
            while (await _current(self._client)).run_id == begun:
                await self._client.get_workflow_handle(handle.id).signal("approve_apply")
                sent += 1
        return sent

    async def review(self, handle: WorkflowHandle[Any, Any]) -> Review:
        """What waits."""
        told: Review = await handle.query("get_review", result_type=Review)
        return told

    async def asks_anew(self, former: Review) -> Review:
        """Send a decision that is ignored, change something, re-plan; give the next review."""
        handle: Any = await _current(self._client)
        self._number += 1
        await handle.signal("approve_apply", {"reviewer": f"reviewer-{self._number}"})
        (self._folder / "main.tf").write_text(f"{self._source}\n# {self._number}\n")
        await runs.replan(
            self._client, handle, directory=self._folder, key_ring=self._keys, variables={}
        )
        async with soon():
            while True:
                handle = await _current(self._client)
                status = await handle.query("get_current_status")
                review = await self.review(handle)
                if status == Status.AWAITING_APPROVAL and review.digest != former.digest:
                    return review
                await asyncio.sleep(0.05)

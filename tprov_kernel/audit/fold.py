"""Events in, audit out: what each event of a run's history says to whoever looks at it later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.common import RawValue
from temporalio.converter import DataConverter

from tprov_kernel.audit.gate import Arrived, Gate
from tprov_kernel.audit.read import Reader, time_of
from tprov_kernel.audit.record import Asked, Audit, Ended, Happening, Replanned
from tprov_kernel.audit.steps import Step, Steps
from tprov_kernel.decisions import read_decision
from tprov_kernel.messages import (
    Decision,
    DecisionInput,
    InterruptInput,
    ReplanInput,
    Review,
    RunRequest,
    RunResult,
    Status,
)

_CLOSED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: "COMPLETED",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: "FAILED",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "CANCELED",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: "TERMINATED",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: "TIMED_OUT",
}
_HARMLESS = {
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
}


async def fold(histories: Sequence[WorkflowHistory], converter: DataConverter) -> Audit:
    """Fold the histories of a run and of its continuations into an audit.

    Args:
        histories: One an execution, the oldest first.
        converter: Decodes payloads; what it cannot decode is told as a gap.
    """
    folding = _Fold(converter, histories[0].workflow_id)
    for history in histories:
        for event in history.events:
            await folding.feed(event)
    return await folding.audit()


SEALED = "It was encrypted with a key that is not here."
"""The gap of a run whose request a key is missing for."""


class _Fold:
    def __init__(self, converter: DataConverter, workflow_id: str) -> None:
        self._workflow_id = workflow_id
        self._run_ids: list[str] = []
        self._stack = workflow_id.removeprefix("stack-")
        self._status = Status.UNINITIALIZED.value
        self._request: RunRequest | None = None
        self._asked: Asked | None = None
        self._open: dict[int, Step] = {}
        self._replans: list[Replanned] = []
        self._outputs: dict[str, str] = {}
        self._ended: Ended | None = None
        self._chronicle: list[Happening] = []
        self._gaps: list[str] = []
        self._code_failures: set[str] = set()
        self._read = Reader(converter)
        self._steps = Steps(self._read, self._tell, self._gaps.append)
        self._gate = Gate(self._tell)

    def _tell(self, at: datetime, words: str) -> None:
        self._chronicle.append(Happening(at=at, words=words))

    async def feed(self, event: HistoryEvent) -> None:
        """Take the next event."""
        at = time_of(event)
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
                await self._on_started(event, at)
            case EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
                self._on_status(event, at)
            case EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED:
                await self._on_memo(event, at)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                self._on_signal(event, at)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
                await self._on_update(event, at)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
                self._on_cancel_requested(event, at)
            case EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                await self._on_code_failed(event, at)
            case _ if event.event_type in _CLOSED:
                await self._on_closed(event, at)
            case _:
                await self._on_step(event, at)

    # --- the request -------------------------------------------------------------------------

    async def _on_started(self, event: HistoryEvent, at: datetime) -> None:
        started = event.workflow_execution_started_event_attributes
        self._open.clear()  # an execution numbers its events anew
        self._run_ids.append(started.original_execution_run_id)
        is_first_seen = self._request is None
        self._request = request = await self._read.value(started.input.payloads, RunRequest)
        if request is None:
            self._gaps.append("What was asked for cannot be read.")
            if self._read.lacks_a_key:
                self._gaps.append(SEALED)
            return
        self._stack = request.stack
        if started.continued_execution_run_id:
            self._tell(at, "The run went on as a new execution, with a short history.")
            if is_first_seen:
                self._gaps.append("Its earlier executions are no longer on the server.")
            if (carried := request.carried) is not None:
                if is_first_seen and carried.judged and carried.former:
                    self._gate.review(carried.former, plan=0, matches=None, at=at)
                self._gate.goes_on(carried.decisions, at)
            return
        self._tell(at, f"{request.requested_by} asked to {request.action} {request.directory}.")
        self._asked = Asked(
            at=at,
            by=request.requested_by,
            sender=started.identity,
            action=request.action,
            directory=request.directory,
            task_queue=started.task_queue.name,
            snapshot=request.snapshot.digest,
            files=request.snapshot.files,
            patience=request.approval_expires,
        )

    def _on_status(self, event: HistoryEvent, at: datetime) -> None:
        attributes = event.upsert_workflow_search_attributes_event_attributes.search_attributes
        payload = attributes.indexed_fields.get("provisionStatus")
        if payload is None:
            return
        with suppress(ValueError):
            self._status = str(json.loads(payload.data))
        if self._status == Status.EXPIRED.value:
            self._gate.became("expired")
            self._tell(at, "Nobody decided in time: the review expired.")

    # --- steps -------------------------------------------------------------------------------

    async def _on_step(self, event: HistoryEvent, at: datetime) -> None:
        match event.event_type:
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                scheduled = event.activity_task_scheduled_event_attributes
                step = Step(name=scheduled.activity_type.name, job=scheduled.input.payloads)
                self._open[event.event_id] = step
            case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                await self._on_begun(event, at)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                done = event.activity_task_completed_event_attributes
                step = self._close(done.scheduled_event_id)
                await self._steps.done(step, done.result.payloads, at)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
                failed = event.activity_task_failed_event_attributes
                said = await self._read.failure(failed.failure)
                await self._steps.failed(self._close(failed.scheduled_event_id), said, at)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
                late = event.activity_task_timed_out_event_attributes
                said = await self._read.failure(late.failure)
                await self._steps.failed(self._close(late.scheduled_event_id), said, at)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
                gone = event.activity_task_canceled_event_attributes.scheduled_event_id
                await self._steps.cut_off(self._close(gone), "cancelled", at)

    async def _on_begun(self, event: HistoryEvent, at: datetime) -> None:
        begun = event.activity_task_started_event_attributes
        former = ""
        if begun.HasField("last_failure"):
            former = (await self._read.failure(begun.last_failure)).words
        self._open[begun.scheduled_event_id] = replace(
            self._open.get(begun.scheduled_event_id, Step()),
            began=at,
            worker=begun.identity,
            attempts=begun.attempt,
            former_failure=former,
        )

    def _close(self, scheduled: int) -> Step:
        return self._open.pop(scheduled, Step())

    # --- people ------------------------------------------------------------------------------

    async def _on_memo(self, event: HistoryEvent, at: datetime) -> None:
        fields = event.workflow_properties_modified_event_attributes.upserted_memo.fields
        if "review" in fields:
            review = await self._read.value([fields["review"]], Review)
            if review is None:
                self._gaps.append("A review cannot be read.")
            else:
                matches = self._steps.is_about_its_plan(review, self._request)
                plan = self._steps.number_of(review.file_digest)
                self._gate.review(review, plan=plan, matches=matches, at=at)
        if "decisions" in fields:
            decisions = await self._read.value([fields["decisions"]], list[Decision])
            if decisions is None:
                self._gaps.append("A decision cannot be read.")
            self._gate.take(decisions or [], at)
            for arrived in self._gate.left_out():
                given, problem = await self._given(arrived)
                self._gate.ignored(arrived, given, problem, at)

    def _on_signal(self, event: HistoryEvent, at: datetime) -> None:
        signal = event.workflow_execution_signaled_event_attributes
        self._gate.arrive(
            Arrived(
                at=at,
                via="signal",
                name=signal.signal_name,
                sender=signal.identity,
                args=signal.input.payloads,
            )
        )

    async def _on_update(self, event: HistoryEvent, at: datetime) -> None:
        request = event.workflow_execution_update_accepted_event_attributes.accepted_request
        name, sender, args = request.input.name, request.meta.identity, request.input.args.payloads
        if name == "replan":
            wanted = await self._read.value(args, ReplanInput)
            by = wanted.requested_by if wanted else ""
            digest = wanted.snapshot.digest if wanted else ""
            self._replans.append(Replanned(at=at, by=by, sender=sender, snapshot=digest))
            self._steps.why = f"of the new snapshot that {by or 'somebody'} asked for"
            self._tell(at, f"{by or 'Somebody'} asked for a plan of a new snapshot.")
        elif name == "recheck":
            self._tell(at, f"{sender or 'Somebody'} had the step that failed taken again.")
        elif name == "interrupt":
            stop = await self._read.value(args, InterruptInput)
            self._tell(at, f"{(stop and stop.by) or sender or 'Somebody'} asked to stop the apply.")
        else:
            arrived = Arrived(at=at, via="update", name=name, sender=sender, args=args)
            self._gate.arrive(arrived)

    # --- the end -----------------------------------------------------------------------------

    def _on_cancel_requested(self, event: HistoryEvent, at: datetime) -> None:
        asked = event.workflow_execution_cancel_requested_event_attributes
        why = f": {asked.cause}" if asked.cause else ""
        self._tell(at, f"{asked.identity or 'Somebody'} asked the run to stop{why}.")

    async def _on_code_failed(self, event: HistoryEvent, at: datetime) -> None:
        failed = event.workflow_task_failed_event_attributes
        if failed.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW:
            self._run_ids[-1] = failed.new_run_id
            self._tell(at, f"The run was reset; until here it was {failed.base_run_id}.")
        elif failed.cause not in _HARMLESS:
            words = (await self._read.failure(failed.failure)).words
            if words not in self._code_failures:  # Temporal repeats it until the code is mended
                self._code_failures.add(words)
                self._tell(at, f"The workflow's own code failed, Temporal tried again: {words}")

    async def _on_closed(self, event: HistoryEvent, at: datetime) -> None:
        state = _CLOSED[event.event_type]
        self._ended = ended = Ended(at=at, state=state, words="")
        if state == "COMPLETED":
            payloads = event.workflow_execution_completed_event_attributes.result.payloads
            result = await self._read.value(payloads, RunResult)
            if result is not None:
                self._status, self._outputs = result.status.value, result.outputs
                self._gate.take(result.decisions, at)
                self._ended = replace(ended, words=result.summary)
        elif state == "FAILED":
            failure = event.workflow_execution_failed_event_attributes.failure
            said = await self._read.failure(failure)
            self._ended = replace(ended, words=said.words, remedy=said.remedy)
        elif state == "TERMINATED":
            killed = event.workflow_execution_terminated_event_attributes
            self._ended = replace(ended, words=killed.reason, by=killed.identity)
        self._tell(at, f"The end: {self._ended.sentence(self._status)}")

    async def audit(self) -> Audit:
        """Give the audit, after the last event."""
        over = self._ended is not None
        for step in self._open.values():
            await self._steps.cut_off(step, "no answer" if over else "under way", None)
        if over:
            await self._close_the_gate()
        return Audit(
            stack=self._stack,
            workflow_id=self._workflow_id,
            run_ids=self._run_ids,
            status=self._status,
            asked=self._asked,
            plans=self._steps.plans,
            judgements=self._steps.judgements,
            reviews=self._gate.reviews,
            decisions=sorted(self._gate.decisions, key=lambda decided: decided.at),
            replans=self._replans,
            applies=self._steps.applies,
            recoveries=self._steps.recoveries,
            outputs=self._outputs,
            ended=self._ended,
            chronicle=sorted(self._chronicle, key=lambda happening: happening.at),
            gaps=list(dict.fromkeys(self._gaps)),
        )

    async def _close_the_gate(self) -> None:
        if self._gate.reviews and self._gate.reviews[-1].became == "open":
            self._gate.became("abandoned")
        for arrived in self._gate.waiting:
            given, _ = await self._given(arrived)
            self._gate.never_taken(arrived, given)

    async def _given(self, arrived: Arrived) -> tuple[DecisionInput, str]:
        raw = [RawValue(payload) for payload in await self._read.decoded(arrived.args)]
        return read_decision(arrived.name, raw, self._read.payload_converter)

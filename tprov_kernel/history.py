"""Folds a run's history, and what is pending, into the `RunView` that people look at.

Both need a server but no worker, so they tell the truth when nobody works on the run.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, get_origin

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import (
    EventType,
    PendingActivityState,
    PendingWorkflowTaskState,
    WorkflowTaskFailedCause,
)
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.converter import DataConverter
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError

from tprov_kernel.errors import SealBroken
from tprov_kernel.messages import (
    ApplyProgress,
    ApplyResult,
    Decision,
    InterruptInput,
    Judged,
    PlanResult,
    RecoverResult,
    Review,
    RunRequest,
    RunResult,
    Status,
    Verdict,
    progress_of,
)
from tprov_kernel.observe import RECOVERY, Repair, RunView, Span, StepName, StepState

STUCK_AFTER = 1.5
"""Seconds that a task may wait for a worker before people are told."""

QUIET_AFTER = 15
"""Seconds without a word from Terraform after which people are told; at work it speaks every 10."""

_STEP_OF_ACTIVITY: dict[str, StepName] = {
    "terraform_init": "init",
    "terraform_plan": "plan",
    "evaluate_policy": "policy",
    "terraform_apply": "apply",
    "recover_apply": "apply",
    "terraform_output": "output",
}
_STEP_OF_STATUS: dict[Status, StepName] = {
    Status.INITIALIZING: "init",
    Status.PLANNING: "plan",
    Status.POLICY_CHECKING: "policy",
    Status.AWAITING_APPROVAL: "approval",
    Status.APPLYING: "apply",
    Status.DESTROYING: "apply",
    Status.RECOVERING: "apply",
}
_MENDED_IN: dict[Status, StepName] = {
    Status.PLANNING: "plan",
    Status.PLANNED: "plan",
    Status.POLICY_CHECKING: "policy",
    Status.APPLYING: "apply",
    Status.DESTROYING: "apply",
    Status.RECOVERING: "apply",
    Status.OUTCOME_UNKNOWN: "apply",
}
_AFTER_ASKING: dict[Status, tuple[StepState, str]] = {
    Status.APPLYING: ("done", "approved"),
    Status.DESTROYING: ("done", "approved"),
    Status.NO_CHANGES: ("skipped", ""),
    Status.REJECTED: ("failed", "denied"),
    Status.EXPIRED: ("failed", "expired"),
    Status.CANCELLED: ("failed", "cancelled"),
    Status.FAILED: ("failed", ""),
}
"""How the approval step ends, by the status that comes next; planned anew, it is yet to come."""
_CLOSE = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: "COMPLETED",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: "FAILED",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "CANCELED",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: "TERMINATED",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: "TIMED_OUT",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: "CONTINUED_AS_NEW",
}
_HARMLESS = {
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
}

_WORDLESS = "Application error"
"""What the SDK puts in place of an empty message."""

T = TypeVar("T")


class Fold:
    """Folds events, then pending activities, into `view`.

    Args:
        converter: Decodes payloads; what it cannot decode leaves its part of the view empty.
        workflow_id: The run's workflow id.
        run_id: The run.
    """

    def __init__(self, converter: DataConverter, *, workflow_id: str, run_id: str) -> None:
        self._converter = converter
        self._scheduled: dict[int, str] = {}
        self._ids: dict[int, str] = {}
        self._open: set[str] = set()
        self._began: dict[int, tuple[datetime, int]] = {}
        self._remedy = ""
        self._pace = timedelta()
        self.view = RunView(
            workflow_id=workflow_id, run_id=run_id, stack=workflow_id.removeprefix("stack-")
        )

    # --- history -----------------------------------------------------------------------------

    async def feed(self, event: HistoryEvent) -> None:
        """Take the next event of the history."""
        at = _time(event.event_time)
        self._set(history_length=event.event_id)
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
                await self._on_started(event, at)
            case EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
                self._on_status(event, at)
            case EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED:
                await self._on_memo(event)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
                await self._on_update(event)
            case EventType.EVENT_TYPE_MARKER_RECORDED:
                self._on_local_activity(event, at)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                scheduled = event.activity_task_scheduled_event_attributes
                self._scheduled[event.event_id] = scheduled.activity_type.name
                if scheduled.activity_type.name == "terraform_output":
                    self._apply_is_done(at)
                self._goes_on(scheduled.activity_type.name, at)
                self._open.add(scheduled.activity_id)
                self._ids[event.event_id] = scheduled.activity_id
            case EventType.EVENT_TYPE_TIMER_STARTED:
                wait = event.timer_started_event_attributes.start_to_fire_timeout
                if wait.ToTimedelta() != self._pace:  # that one lets an audience read
                    self._waits_for_repair(at + wait.ToTimedelta())
            case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                begun = event.activity_task_started_event_attributes
                self._began[begun.scheduled_event_id] = (at, begun.attempt)
                self._contact(worker=begun.identity)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                done = event.activity_task_completed_event_attributes
                await self._on_done(done.scheduled_event_id, at, done.result.payloads)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
                failed = event.activity_task_failed_event_attributes
                await self._on_failed(failed.scheduled_event_id, at, failed.failure)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
                late = event.activity_task_timed_out_event_attributes
                await self._on_failed(late.scheduled_event_id, at, late.failure)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
                gone = event.activity_task_canceled_event_attributes.scheduled_event_id
                self._close_attempt(gone, at, failed="cancelled")
            case EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                self._set(task_failure="")
                self._contact(worker=event.workflow_task_completed_event_attributes.identity)
            case EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                await self._on_task_failed(event)
            case _ if event.event_type in _CLOSE:
                await self._on_closed(event, at)

    async def _on_started(self, event: HistoryEvent, at: datetime) -> None:
        started = event.workflow_execution_started_event_attributes
        self._set(started=at)
        self._contact(task_queue=started.task_queue.name)
        request = await self._decode(started.input.payloads, RunRequest)
        if request is not None and request.carried is not None:
            self._set(decisions=tuple(request.carried.decisions), review=request.carried.former)
            if request.carried.judged is not None:
                self._still_waits(request.carried.judged, at)
        if request is not None:
            self._pace = timedelta(seconds=request.pace)
            self._set(
                stack=request.stack,
                directory=request.directory,
                action=request.action,
                requested_by=request.requested_by,
            )

    def _still_waits(self, judged: Judged, at: datetime) -> None:
        """The execution before has planned and asked: this one only goes on waiting."""
        self._set(plan=judged.plan.view)
        self._on_verdict(judged.verdict)
        done: tuple[StepName, ...] = ("init", "plan", "policy")
        for name in done:
            self._step(name, state="done")
        self._enter(Status.AWAITING_APPROVAL, at)

    def _on_verdict(self, verdict: Verdict) -> None:
        count = len(verdict.findings)
        note = "allowed" if not count else f"{count} finding{'s' * (count > 1)}"
        self._set(verdict=verdict)
        self._step("policy", note=note)

    def _on_status(self, event: HistoryEvent, at: datetime) -> None:
        attributes = event.upsert_workflow_search_attributes_event_attributes.search_attributes
        payload = attributes.indexed_fields.get("provisionStatus")
        if payload is None:
            return
        with contextlib.suppress(ValueError):
            self._enter(Status(json.loads(payload.data)), at)

    def _enter(self, status: Status, at: datetime) -> None:
        former = self.view.status
        if status == former == Status.AWAITING_APPROVAL:
            return  # it goes on in a new execution
        self._no_more_repair(at, mended=not status.is_final)
        self._set(status=status, progress=progress_of(status))
        if status in (Status.APPLIED, Status.DESTROYED):
            self._apply_is_done(at)
        if former == Status.AWAITING_APPROVAL:
            self._no_more_asking(status, at)
        going_on = status in (Status.APPLYING, Status.DESTROYING)
        if going_on and self.view.step("approval").state == "waiting":
            self._step("approval", state="skipped")  # nobody had to be asked
        name = _STEP_OF_STATUS.get(status)
        if name is None:
            return
        step = self.view.step(name)
        if status == Status.AWAITING_APPROVAL:
            asked = Span(kind="human", start=at, end=None, note="waiting for a person")
            self._step(name, state="asking", started=at, ended=None, spans=(*step.spans, asked))
        else:
            self._step(name, state="running", started=step.started or at, ended=None)

    def _waits_for_repair(self, until: datetime) -> None:
        """A timer after a failed step: the run does not end of it, a person may mend it."""
        name = _MENDED_IN.get(self.view.status)
        step = self.view.step(name) if name else None
        if step is not None and step.state == "failed":
            wait = Span(kind="human", start=step.ended or until, end=None, note="to be mended")
            self._step(step.name, spans=(*step.spans, wait))
            failure = step.failure.removesuffix(self._remedy).strip()
            repair = Repair(step=step.name, failure=failure, remedy=self._remedy, until=until)
            self._set(repair=repair)

    def _goes_on(self, activity: str, at: datetime) -> None:
        """An activity is scheduled: what was to be mended is tried again."""
        name = _STEP_OF_ACTIVITY.get(activity)
        if self.view.repair is not None and name is not None:
            self._no_more_repair(at, mended=True)
            self._step(name, state="running", ended=None)

    def _no_more_repair(self, at: datetime, *, mended: bool) -> None:
        """The run no longer waits for a repair: it goes on, or it gives up."""
        if (repair := self.view.repair) is None:
            return
        spans = self.view.step(repair.step).spans
        spans = tuple(replace(s, end=at) if s.end is None else s for s in spans)
        self._set(repair=None)
        self._step(repair.step, spans=spans)
        if mended:
            self._step(repair.step, state="waiting", failure="")

    def _no_more_asking(self, status: Status, at: datetime) -> None:
        """The wait for a person is over: by a decision, or because what was asked is no more."""
        state, note = _AFTER_ASKING.get(status, ("waiting", ""))
        spans = self.view.step("approval").spans
        spans = tuple(replace(s, end=at) if s.end is None else s for s in spans)
        self._step("approval", state=state, note=note, ended=at, spans=spans, attempts=1)
        if state == "waiting":  # planned anew: what comes after the plan is yet to come
            self._step("policy", state="waiting", note="")

    async def _on_memo(self, event: HistoryEvent) -> None:
        fields = event.workflow_properties_modified_event_attributes.upserted_memo.fields
        if "review" in fields:
            self._set(review=await self._decode([fields["review"]], Review))
        if "decisions" in fields:
            decisions = await self._decode([fields["decisions"]], list[Decision])
            self._set(decisions=tuple(decisions or ()))

    async def _on_update(self, event: HistoryEvent) -> None:
        asked = event.workflow_execution_update_accepted_event_attributes.accepted_request.input
        if asked.name == "interrupt":
            wanted = await self._decode(asked.args.payloads, InterruptInput)
            who = (wanted and wanted.by) or "Somebody"
            self._set(story=(*self.view.story, f"{who} asked to stop the apply."))

    def _apply_is_done(self, at: datetime) -> None:
        """After a recovery, only what comes next tells that the apply came to its end."""
        if self.view.step("apply").state == "running":
            self._step("apply", state="done", ended=at, failure="", remedy="", doing="")

    def _on_local_activity(self, event: HistoryEvent, at: datetime) -> None:
        marker = event.marker_recorded_event_attributes
        if marker.marker_name != "core_local_activity":
            return
        with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):
            data = json.loads(marker.details["data"].payloads[0].data)
            name = _STEP_OF_ACTIVITY[data["activity_type"]]
            step = self.view.step(name)
            # The marker is written with the next workflow task: the worker noted when it ran.
            start, end = _moment(data["original_schedule_time"]), _moment(data["complete_time"])
            ok = not marker.HasField("failure")
            span = Span(kind="ok" if ok else "failed", start=start, end=end, note="local activity")
            self._step(name, attempts=int(data.get("attempt", 1)), spans=(*step.spans, span))
            if ok:
                self._step(name, state="done", ended=at)

    async def _on_done(self, scheduled: int, at: datetime, payloads: Sequence[Payload]) -> None:
        activity = self._scheduled.get(scheduled, "")
        self._close_attempt(scheduled, at)
        match activity:
            case "terraform_plan":
                plan = await self._decode(payloads, PlanResult)
                if plan is not None:
                    self._set(plan=plan.view, story=(*self.view.story, *plan.story))
                    if plan.existing:  # the run fails of it, or waits for somebody to settle it
                        words, self._remedy = plan.question, plan.remedy
                        self._step("plan", state="failed", failure=words, remedy=plan.remedy)
            case "evaluate_policy":
                verdict = await self._decode(payloads, Verdict)
                if verdict is not None:
                    self._on_verdict(verdict)
            case "terraform_apply":
                result = await self._decode(payloads, ApplyResult)
                if result is not None:
                    self._step("apply", note=_count(result))
            case "recover_apply":
                found = await self._decode(payloads, RecoverResult)
                if found is not None:
                    self._set(story=(*self.view.story, *found.story))
                    if found.question:  # the run waits for somebody to settle it
                        words, self._remedy = f"{found.question} {found.remedy}", found.remedy
                        self._step("apply", state="failed", ended=at, failure=words, remedy="")

    async def _on_failed(self, scheduled: int, at: datetime, failure: Failure) -> None:
        words, self._remedy = await self._words(failure)
        self._close_attempt(scheduled, at, failed=words, remedy=self._remedy)

    def _close_attempt(
        self, scheduled: int, at: datetime, failed: str = "", remedy: str = ""
    ) -> None:
        self._open.discard(self._ids.get(scheduled, ""))
        activity = self._scheduled.get(scheduled, "")
        name = _STEP_OF_ACTIVITY.get(activity)
        if name is None:
            return
        # What recovery found out is no end of the apply yet: see `_apply_is_done`.
        well: StepState = "running" if activity == "recover_apply" else "done"
        started, attempt = self._began.get(scheduled, (at, 1))
        step = self.view.step(name)
        spans = _before(step.spans, started)
        note = failed or (RECOVERY if activity == "recover_apply" else "")
        kind = Span(kind="failed" if failed else "ok", start=started, end=at, note=note)
        self._step(
            name,
            state="failed" if failed else well,
            attempts=attempt,
            started=step.started or started,
            ended=None if well == "running" and not failed else at,
            failure=failed or (step.failure if well == "running" else ""),
            remedy=remedy or (step.remedy if well == "running" else ""),
            next_attempt=None,
            doing="",
            scheduled_without_worker=False,
            spans=(*spans, kind),
        )

    async def _on_task_failed(self, event: HistoryEvent) -> None:
        failed = event.workflow_task_failed_event_attributes
        if failed.cause not in _HARMLESS:
            words, _ = await self._words(failed.failure)
            cause = WorkflowTaskFailedCause.Name(failed.cause)
            short = cause.removeprefix("WORKFLOW_TASK_FAILED_CAUSE_").replace("_", " ").lower()
            self._set(task_failure=words or short)

    async def _on_closed(self, event: HistoryEvent, at: datetime) -> None:
        self._set(closed=True, ended=at, close_state=_CLOSE[event.event_type])
        self._set(task_failure="", repair=None)
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
            payloads = event.workflow_execution_completed_event_attributes.result.payloads
            result = await self._decode(payloads, RunResult)
            if result is not None:
                decisions = tuple(result.decisions)
                self._set(status=result.status, outputs=result.outputs, decisions=decisions)
                if result.status in (Status.APPLIED, Status.DESTROYED):
                    self._step("apply", note=_short(result.summary))
        elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            failure = event.workflow_execution_failed_event_attributes.failure
            words, remedy = await self._words(failure)
            self._set(failure=words, remedy=remedy)
        elif self.view.close_state == "CONTINUED_AS_NEW":
            later = event.workflow_execution_continued_as_new_event_attributes
            self._set(continued_as=later.new_execution_run_id)
        elif self.view.close_state == "TERMINATED":
            reason = event.workflow_execution_terminated_event_attributes.reason
            self._set(failure=f"The run was terminated{f': {reason}' if reason else ''}.")
        ended = {"COMPLETED": "done"}.get(self.view.close_state, "failed")
        for step in self.view.steps:
            spans = tuple(replace(s, end=at) if s.end is None else s for s in step.spans)
            if step.state in ("running", "retrying", "asking"):
                self._step(step.name, state=ended, ended=at, next_attempt=None, spans=spans)
            elif step.state == "waiting":
                forbidden = self.view.status == Status.POLICY_HARD_FAILED
                note = "nobody may" if forbidden and step.name == "approval" else ""
                self._step(step.name, state="skipped", note=note)
        self._set(progress=100)

    # --- what is pending ---------------------------------------------------------------------

    async def pending(self, described: DescribeWorkflowExecutionResponse, now: datetime) -> None:
        """Take what is under way: attempts, heartbeats, and whether a worker is missing."""
        stuck = False
        for activity in described.pending_activities:
            name = _STEP_OF_ACTIVITY.get(activity.activity_type.name)
            if name is not None and not self.view.closed:
                stuck = await self._pending_activity(name, activity, now) or stuck
        task = described.pending_workflow_task
        if task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED:
            stuck = stuck or _seconds_since(task.scheduled_time, now) > STUCK_AFTER
        self._contact(pollers=0 if stuck else None)

    async def _pending_activity(
        self, name: StepName, activity: PendingActivityInfo, now: datetime
    ) -> bool:
        """Show an activity that is not over; tell whether it waits in vain for a worker."""
        running = activity.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
        started = _time(activity.last_started_time) if activity.last_started_time.seconds else None
        failure = remedy = ""
        if activity.HasField("last_failure"):
            failure, remedy = await self._words(activity.last_failure)
        elif activity.attempt > 1 and not running:
            former = self.view.step(name)  # unpaused, the server tells it no more
            failure, remedy = former.failure, former.remedy
        due = _time(activity.scheduled_time)
        spans = self.view.step(name).spans
        if running and started:
            spans = (*_before(spans, started), Span(kind="running", start=started, end=None))
        elif failure and activity.last_attempt_complete_time.seconds:
            ended = _time(activity.last_attempt_complete_time)
            spans = _failed(spans, ended=ended, due=due, note=failure)
        in_vain = not running and (now - due).total_seconds() > STUCK_AFTER
        doing = await self._doing(activity) if running else ""
        if activity.activity_id not in self._open:
            return False  # its end was read from the history while we looked at an older answer
        self._step(
            name,
            state="retrying" if failure and not running else "running",
            attempts=activity.attempt if running else activity.attempt - 1,
            failure=failure,
            remedy=remedy,
            next_attempt=due if failure and not running else None,
            doing=doing,
            scheduled_without_worker=in_vain,
            spans=spans,
        )
        if running and activity.last_worker_identity:
            self._contact(worker=activity.last_worker_identity)
        return in_vain

    async def _doing(self, activity: PendingActivityInfo) -> str:
        progress = await self._decode(activity.heartbeat_details.payloads, ApplyProgress)
        if progress is None:
            return ""
        if progress.total:
            done = 70 + 25 * progress.done // progress.total
            self._set(progress=max(self.view.progress, done))
        if progress.silent < QUIET_AFTER:
            return progress.current
        silent = progress.silent
        since = f"{silent} s" if silent < 120 else f"{silent // 60} min"
        lead = f"{progress.current}; " if progress.current else ""
        return f"{lead}no word from Terraform for {since}"

    # --- helpers -----------------------------------------------------------------------------

    async def _decode(self, payloads: Sequence[Payload], kind: type[T]) -> T | None:
        if not payloads:
            return None
        try:
            values = await self._converter.decode(payloads, [kind])
        except SealBroken as error:  # a key that is gone, or a payload that was changed
            self._set(unreadable=self.view.unreadable or str(error))
            return None
        except Exception:  # a stranger's payload: the view goes without it
            return None
        value: T = values[0]
        return value if isinstance(value, get_origin(kind) or kind) else None

    async def _words(self, failure: Failure) -> tuple[str, str]:
        """What a failure says to people, and its remedy."""
        copy = Failure()
        copy.CopyFrom(failure)
        try:
            error: BaseException | None = await self._converter.decode_failure(copy)
        except Exception:
            return failure.message, ""
        if isinstance(error, ActivityError):
            error = error.cause
        if isinstance(error, TimeoutError):
            kind = (error.type.name if error.type else "TIMEOUT").replace("_", " ").lower()
            return f"No sign of life from its worker ({kind} time-out).", ""
        if isinstance(error, ApplicationError):
            remedy = error.details[0] if error.details else ""
            silent = error.message == _WORDLESS and error.type  # `raise RuntimeError`
            said = f"{error.type}, without a word" if silent else error.message
            return said, remedy if isinstance(remedy, str) else ""
        return str(error), ""

    def _set(self, **changes: Any) -> None:
        self.view = replace(self.view, **changes)

    def _step(self, name: StepName, **changes: Any) -> None:
        steps = tuple(replace(s, **changes) if s.name == name else s for s in self.view.steps)
        self._set(steps=steps)

    def _contact(self, **changes: Any) -> None:
        self._set(contact=replace(self.view.contact, **changes))


def _before(spans: Sequence[Span], moment: datetime) -> tuple[Span, ...]:
    """The spans that began before a moment, the last wait cut off there."""
    kept = [s for s in spans if s.start < moment]
    if kept and (kept[-1].end is None or kept[-1].end > moment):
        kept[-1] = replace(kept[-1], end=moment)
    return tuple(kept)


def _failed(
    spans: tuple[Span, ...], *, ended: datetime, due: datetime, note: str
) -> tuple[Span, ...]:
    """Add an attempt that failed and the wait after it, unless they were seen before.

    The server no longer tells when such an attempt began: it did where it was seen to run, else
    when the wait before it was over.
    """
    if any(s.kind == "failed" and s.end == ended for s in spans):
        return spans
    last = spans[-1] if spans else None
    begun = ended
    if last is not None:
        begun = min(ended, last.start if last.kind == "running" else last.end or ended)
    failed = Span(kind="failed", start=begun, end=ended, note=note)
    wait = Span(kind="backoff", start=ended, end=max(due, ended))
    return (*_before(spans, begun), failed, wait)


def _moment(stamp: dict[str, int]) -> datetime:
    return datetime.fromtimestamp(stamp["seconds"] + stamp["nanos"] / 1e9, UTC)


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)


def _seconds_since(stamp: Timestamp, now: datetime) -> float:
    return (now - _time(stamp)).total_seconds()


def _short(summary: str) -> str:
    """The counts of a run's summary that are not zero."""
    return ", ".join(c for c in summary.split(", ") if not c.startswith("0 ")) or "nothing to do"


def _count(result: ApplyResult) -> str:
    counts = {
        "imported": result.imported,
        "added": result.added,
        "changed": result.changed,
        "destroyed": result.destroyed,
    }
    return ", ".join(f"{n} {word}" for word, n in counts.items() if n) or "nothing to do"

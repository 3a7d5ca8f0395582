"""A run: init, plan, policy, a human if need be, apply, output; and what happens when it breaks.

Read `run` and `_provision` from top to bottom: they are the list of steps. Everything here is
deterministic and does no input or output; the steps' work is in `activities.py`. Each decision and
each review is put into the workflow's memo, so that people see them although no worker runs, and
an audit finds them in the history.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy, SearchAttributeKey
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from tprov_kernel.coverage import covers, differences, done_between
    from tprov_kernel.decisions import (
        MAX_IGNORED,
        VERBS,
        bounded,
        brief,
        fits,
        last_number,
        names_another,
        read_decision,
        read_input,
        spoken,
    )
    from tprov_kernel.messages import (
        WORKFLOW_TYPE,
        ApplyJob,
        ApplyResult,
        Carried,
        Decision,
        DecisionInput,
        InitJob,
        InitResult,
        InterruptInput,
        Job,
        Judged,
        OutputJob,
        OutputResult,
        PlanJob,
        PlanResult,
        PlanView,
        PolicyJob,
        RecoverJob,
        RecoverResult,
        ReplanInput,
        Review,
        RunRequest,
        RunResult,
        Status,
        Verdict,
        make_review,
        progress_of,
    )
    from tprov_kernel.texts import plain

STATUS_TEXT = SearchAttributeKey.for_text("provisionStatus")
STATUS_KEYWORD = SearchAttributeKey.for_keyword("tprovStatus")
VERDICT_KEYWORD = SearchAttributeKey.for_keyword("tprovVerdict")

RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=10),
)
"""Retried until it works or says that trying again is pointless; each attempt shows."""
NEVER = RetryPolicy(maximum_attempts=1)
"""An apply: a second attempt could create things twice."""

MENDABLE = "what-can-be-mended-waits"
"""Patch: before it, a run ended of what a later one waits for."""

MAX_APPLIES = 5
"""Applies per run: the first one, and what recovery finds to be left to do."""
LOOK_ONCE_MORE = timedelta(minutes=5)
"""How long a run that was cancelled in the middle of an apply looks after what that had made."""
FLOOD = 10
"""Decisions in one execution from which on a wait goes on in a new one when the server suggests it;
a few are not worth it."""
MAX_SUPERSEDED = 50
"""Digests of superseded reviews that a new execution takes along."""

T = TypeVar("T")
J = TypeVar("J", bound="Job")


@workflow.defn(name=WORKFLOW_TYPE)
class ProvisionInfraWorkflow:
    """One run on one stack."""

    @workflow.init
    def __init__(self, request: RunRequest) -> None:
        carried = request.carried or Carried(decisions=[])
        self._request = request
        self._waits = waits = carried.judged
        # What a former execution asks about can be decided on from the first moment of this one.
        self._status = Status.AWAITING_APPROVAL if waits else Status.UNINITIALIZED
        self._plan: PlanResult | None = waits.plan if waits else None
        self._review: Review | None = carried.former
        self._former: list[str] = list(carried.superseded)
        self._reviewed: PlanView | None = waits.plan.view if waits else carried.shown
        self._reviews = carried.reviews
        self._decision: Decision | None = None
        self._decisions: list[Decision] = list(carried.decisions)
        self._telling: asyncio.Task[None] | None = None
        self._taken = 0
        self._effective_reason = carried.reason
        self._replan: ReplanInput | None = None
        self._broken = False
        self._applying: workflow.ActivityHandle[ApplyResult] | None = None
        self._has_applied = False
        self._recovering = False
        self._interrupts = 0
        self._stopped_by = ""
        self._done = carried.done or ApplyResult(added=0, changed=0, destroyed=0)
        # A tenth less: after a worker's death its own queue takes a second to be given up, and the
        # run is to go on after what was asked for, not later.
        self._heartbeat = timedelta(seconds=0.9 * request.heartbeat)

    @workflow.run
    async def run(self, request: RunRequest) -> RunResult:
        """Run to one of the final statuses; the status is upserted before the workflow ends."""
        try:
            return await self._provision()
        except (ActivityError, ApplicationError) as error:
            if is_cancelled_exception(error):
                self._set_status(Status.CANCELLED)
                raise
            self._set_status(
                Status.POLICY_HARD_FAILED if _type(error) == "PolicyViolation" else Status.FAILED
            )
            raise _as_final(error) from error
        except (CancelledError, asyncio.CancelledError):
            self._set_status(Status.CANCELLED)
            raise

    async def _provision(self) -> RunResult:
        approved: Judged | None = None
        if (waits := self._waits) is None:
            await self._init()
        plan = waits.plan if waits else await self._make_plan()
        for _ in range(MAX_APPLIES):
            if not plan.has_changes:
                return await self._nothing_left(plan)
            judged, waits = waits or await self._judge(plan), None
            if self._needs_a_human(judged, approved):
                decided = await self._ask_until_decided(judged)
                if decided is None:
                    return await self._end(Status.EXPIRED, "Nobody decided in time.")
                if self._decision and self._decision.outcome == "denied":
                    return await self._end(Status.REJECTED, self._decision.reason)
                judged = approved = decided
            if not judged.plan.has_changes:
                return await self._nothing_left(judged.plan)
            outcome = await self._apply(judged)
            if isinstance(outcome, str):
                return await self._done_with(outcome)
            plan = outcome
        raise ApplicationError(
            f"{MAX_APPLIES} applies did not get to the end of this plan.",
            "Look at the last error, then start again: the state is honest.",
            type="OutcomeUnknown",
            non_retryable=True,
        )

    async def _nothing_left(self, plan: PlanResult) -> RunResult:
        """A plan that changes nothing; that may be because this run has done it all."""
        done = self._done != ApplyResult(added=0, changed=0, destroyed=0)
        if done and workflow.patched(MENDABLE):
            return await self._done_with(_summary(self._done))
        taken = f"{len(plan.adopted)} taken over, " if plan.adopted else ""
        return await self._end(Status.NO_CHANGES, f"{taken}{plan.view.sentence}")

    async def _done_with(self, summary: str) -> RunResult:
        destroys = self._request.action == "destroy"
        return await self._end(Status.DESTROYED if destroys else Status.APPLIED, summary)

    # --- init, plan, policy ------------------------------------------------------------------

    async def _init(self) -> None:
        await self._step(Status.INITIALIZING)
        job = self._job(InitJob)
        # Nearly instant when the providers are at hand: then a local activity saves the server
        # three events. Otherwise it may take minutes, and has to be seen and retried as such.
        try:
            warm = await workflow.execute_local_activity(
                "terraform_init",
                replace(job, only_if_warm=True),
                result_type=InitResult,
                schedule_to_close_timeout=timedelta(seconds=20),
                retry_policy=RetryPolicy(maximum_attempts=2),
            )
        except (ActivityError, ApplicationError) as error:
            # What may pass is tried again where people see it, as in every other step.
            pointless = is_cancelled_exception(error) or _is_permanent(error)
            if pointless or not workflow.patched("init-is-tried-again"):
                raise
            warm = InitResult(done=False)
        if not warm.done:
            await self._activity("terraform_init", job, InitResult)
        self._set_status(Status.INITIALIZED)

    async def _make_plan(self) -> PlanResult:
        """Plan; what is in the way of it is a person's question where a decision would be lost.

        So is what an apply that was cut off has made, and has no place any more.
        """
        while True:
            await self._step(Status.PLANNING)
            plan = self._plan = await self._plan_until_mended()
            self._set_status(Status.PLANNED)
            if not plan.existing:
                return plan
            in_the_way = ApplicationError(
                plan.question, plan.remedy, type="AlreadyExists", non_retryable=True
            )
            asks = self._is_late or any(found.why for found in plan.existing)
            if not asks or not workflow.patched(MENDABLE):
                raise in_the_way
            await self._repaired(in_the_way)
            self._take_replan()

    async def _plan_until_mended(self) -> PlanResult:
        while True:
            job = self._job(PlanJob, action=self._request.action)
            try:
                return await self._activity("terraform_plan", job, PlanResult)
            except ActivityError as error:
                await self._wait_for_repair(error)
                self._take_replan()

    async def _judge(self, plan: PlanResult) -> Judged:
        """Have a plan judged, or the one that a person has put in its place meanwhile."""
        await self._step(Status.POLICY_CHECKING)
        while True:
            job = self._job(PolicyJob, plan=plan.plan)
            try:
                verdict = await self._activity("evaluate_policy", job, Verdict)
                break
            except ActivityError as error:
                await self._wait_for_repair(error)
                if self._take_replan():
                    plan = await self._make_plan()
                    await self._step(Status.POLICY_CHECKING)
        worst = verdict.findings[0].level if verdict.findings else "allowed"
        workflow.upsert_search_attributes([VERDICT_KEYWORD.value_set(worst)])
        self._set_status(Status.POLICY_CHECKED)
        if hard := verdict.at("hard-mandatory"):
            raise ApplicationError(
                f"Policy {hard[0].rule} forbids this, nobody may override it: {hard[0].message}",
                hard[0].remedy,
                type="PolicyViolation",
                non_retryable=True,
            )
        return Judged(plan, verdict)

    async def _wait_for_repair(self, error: ActivityError | ApplicationError) -> None:
        """Wait until somebody has mended what a step failed of; raise what nobody can mend.

        Trying again by itself cannot help, and a run must not die of a typing mistake in a policy:
        it waits for the update `recheck` or `replan`, as long as a review would for a decision.
        """
        # What was planned anew can be put right again: the review before it must not be lost.
        mendable = _FOR_A_PERSON | (_OF_A_REPLAN if self._reviews else frozenset())
        if _type(error) not in mendable:
            late = self._is_late and _type(error) in _OF_A_REPLAN | _OF_A_WORKER
            if not late or not workflow.patched(MENDABLE):
                raise error
        await self._repaired(error)

    @property
    def _is_late(self) -> bool:
        """Whether there is a decision, or something that was begun, that must not be lost."""
        return self._has_applied or self._reviews > 0

    async def _repaired(self, error: ActivityError | ApplicationError) -> None:
        """Wait until somebody says that it is mended; in the end the run fails of it."""
        self._broken = True
        patience = timedelta(seconds=self._request.approval_expires)
        try:
            await workflow.wait_condition(lambda: not self._broken, timeout=patience)
        except TimeoutError:
            raise _as_final(error) from error

    def _take_replan(self) -> bool:
        """Go on with the snapshot that a person has asked to plan instead, if there is one."""
        if self._replan is None:
            return False
        wanted, self._replan = self._replan, None
        requester = spoken(wanted.requested_by) or self._request.requested_by
        self._request = replace(self._request, snapshot=wanted.snapshot, requested_by=requester)
        return True

    # --- a human -----------------------------------------------------------------------------

    def _needs_a_human(self, judged: Judged, approved: Judged | None) -> bool:
        """Whether somebody has to decide: a policy says so, or what was approved is not this."""
        if self._stopped_by:
            return True
        if approved is None:
            # Reviews that were carried along: somebody was asked, and is told what became of it.
            return bool(judged.verdict.at("soft-mandatory")) or self._reviews > 0
        return not covers(approved.plan, approved.verdict, judged.plan, judged.verdict)

    async def _ask_until_decided(self, judged: Judged) -> Judged | None:
        """Ask; a re-plan meanwhile is asked about in its place, if it changes anything.

        Returns:
            What was decided on, or what changes nothing any more; None when nobody decided.
        """
        while True:
            in_time = await self._ask(judged)
            if self._decision is not None:
                return judged
            anew = self._take_replan()
            if not anew and not in_time:
                return None
            if workflow.info().is_continue_as_new_suggested():
                await workflow.wait_condition(workflow.all_handlers_finished)
                self._continue_as_new(None if anew else judged)
            judged = await self._judge(await self._make_plan())
            if not judged.plan.has_changes:
                return judged

    async def _ask(self, judged: Judged) -> bool:
        """Wait for a decision on exactly this plan, for a re-plan, or until nobody decided.

        Returns:
            Whether something came in time; a history that a flood of signals made long, too.
        """
        if judged is self._waits and self._review is not None:
            review = self._review  # the same one: whoever has read it may decide on it
        else:
            review = self._new_review(judged)
            workflow.upsert_memo({"review": review})
        self._waits = None
        self._stopped_by = ""
        self._set_status(Status.AWAITING_APPROVAL)
        left = datetime.fromisoformat(review.expires_at) - workflow.now()
        try:
            await workflow.wait_condition(self._is_answered, timeout=max(left, timedelta()))
        except TimeoutError:
            return False
        self._tell()  # before whatever comes of it, which may be the end
        return True

    def _new_review(self, judged: Judged) -> Review:
        """What a person is to decide on from now on, in place of what was asked before."""
        now = workflow.now()
        patience = timedelta(seconds=self._request.approval_expires)
        former, shown = self._review, self._reviewed
        self._decision, self._reviewed = None, judged.plan.view
        self._review = make_review(
            self._request,
            judged.plan,
            judged.verdict,
            asked_at=now.isoformat(),
            expires_at=(now + patience).isoformat(),
            former=former,
            differs=self._why_anew() + (differences(shown, judged.plan.view) if shown else []),
        )
        if former is not None:
            self._former.append(former.digest)
        self._reviews += 1
        return self._review

    def _is_answered(self) -> bool:
        """Whether the wait is over, or has to go on in a new execution."""
        if self._decision is not None or self._replan is not None:
            return True
        return self._taken >= FLOOD and workflow.info().is_continue_as_new_suggested()

    def _why_anew(self) -> list[str]:
        """Why a person is asked although nothing else would have it so."""
        if not self._stopped_by:
            return []
        return [f"{self._stopped_by} stopped the apply; this is what is left of it."]

    def _continue_as_new(self, judged: Judged | None) -> None:
        """A long wait with much in it: go on with a short history, and every effective decision.

        Args:
            judged: What still waits for a decision; None where it is planned anew.
        """
        carried = Carried(
            decisions=self._decisions,
            former=self._review,
            judged=judged,
            reviews=self._reviews,
            superseded=self._former[-MAX_SUPERSEDED:],
            shown=None if judged else self._reviewed,
            reason=self._effective_reason,
            done=self._done,
        )
        goes_on = replace(self._request, carried=carried)
        if not fits(goes_on):
            goes_on = replace(goes_on, carried=replace(carried, judged=None, shown=self._reviewed))
        # Without it the server goes back to the memo that the run was started with.
        workflow.continue_as_new(goes_on, memo=workflow.memo())

    # --- apply -------------------------------------------------------------------------------

    async def _apply(self, judged: Judged) -> str | PlanResult:
        """Apply what was judged.

        Returns:
            What was done, in words; or the plan of what is left to do, or of the world as it is
            now, when that is no longer what was judged.
        """
        while True:
            outcome = await self._apply_once(judged)
            if isinstance(outcome, ApplyResult):
                return _summary(self._done.plus(outcome))
            if self._interrupts or _type(outcome) not in _NOTHING_DONE:
                break
            # It could not begin: once that is mended it may, as it was decided.
            if not workflow.patched(MENDABLE):
                raise outcome
            await self._repaired(outcome)
            if self._take_replan():
                return await self._make_plan()
        if _type(outcome) == "ReviewOutdated":
            return await self._what_is_left(judged.plan)
        found = await self._recover(judged.plan)
        if found.finished:
            view = judged.plan.view
            finished = ApplyResult(
                added=view.add,
                changed=view.change,
                destroyed=view.destroy,
                imported=view.imports,
            )
            return _summary(self._done.plus(finished))
        left = await self._what_is_left(judged.plan)
        if isinstance(left, str) or _type(outcome) == "Interrupted":
            return left
        if left.items == judged.plan.items and _is_permanent(outcome):
            raise _as_final(outcome) from outcome
        return left

    async def _what_is_left(self, before: PlanResult) -> str | PlanResult:
        """Plan what remains of a plan; in words what was done when nothing does."""
        snapshot = self._request.snapshot.digest
        plan = await self._make_plan()
        if self._request.snapshot.digest == snapshot:  # of another one it would tell nothing
            self._done = self._done.plus(done_between(before, plan))
        return plan if plan.has_changes else _summary(self._done)

    async def _apply_once(self, judged: Judged) -> ApplyResult | ActivityError:
        """Apply; an error that may have left something behind is returned, not raised."""
        self._interrupts, self._has_applied = 0, True
        destroys = self._request.action == "destroy"
        await self._step(Status.DESTROYING if destroys else Status.APPLYING)
        job = self._job(
            ApplyJob,
            plan=judged.plan.plan,
            bundle_digest=judged.verdict.bundle_digest,
            absent=judged.plan.absent,
            opa_digest=judged.verdict.opa_digest,
        )
        self._applying = workflow.start_activity(
            "terraform_apply",
            job,
            result_type=ApplyResult,
            start_to_close_timeout=timedelta(hours=12),
            heartbeat_timeout=self._heartbeat,
            retry_policy=NEVER,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        try:
            return await self._applying
        except ActivityError as error:
            if workflow.cancellation_reason() is not None:
                await self._look_once_more(judged.plan)
                raise CancelledError("The run was cancelled in the middle of an apply.") from error
            if is_cancelled_exception(error) and not self._interrupts:
                raise
            return error
        finally:
            self._applying = None

    async def _recover(self, plan: PlanResult) -> RecoverResult:
        """Find out what an apply has done; what cannot be decided safely waits for a person.

        Raises:
            ApplicationError: Nobody has settled it in time.
        """
        if workflow.patched("outcome-unknown-is-read"):
            await self._step(Status.OUTCOME_UNKNOWN)
        else:
            self._set_status(Status.OUTCOME_UNKNOWN)
        looked_after: list[str] = []
        while True:
            await self._step(Status.RECOVERING)
            job = self._job(
                RecoverJob, plan=plan.plan, absent=plan.absent, looked_after=looked_after
            )
            found = await self._look(job)
            if isinstance(found, ActivityError):
                await self._wait_for_repair(found)
                self._take_replan()
                continue
            if not found.question:
                return found
            looked_after += found.unknowable
            self._set_status(Status.OUTCOME_UNKNOWN)
            await self._wait_for_repair(
                ApplicationError(
                    found.question, found.remedy, type="OutcomeUnknown", non_retryable=True
                )
            )
            if self._take_replan():
                return found

    async def _look(self, job: RecoverJob) -> RecoverResult | ActivityError:
        self._recovering = True
        try:
            return await self._activity("recover_apply", job, RecoverResult)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return error
        finally:
            self._recovering = False

    async def _look_once_more(self, plan: PlanResult) -> None:
        """Cancelled in the middle of an apply: take over what it had made, but do not insist.

        Where that cannot be done now, the next run on the stack does it.
        """
        self._set_status(Status.OUTCOME_UNKNOWN)
        self._set_status(Status.RECOVERING)
        with contextlib.suppress(ActivityError):
            await workflow.execute_activity(
                "recover_apply",
                self._job(RecoverJob, plan=plan.plan, absent=plan.absent),
                result_type=RecoverResult,
                schedule_to_close_timeout=LOOK_ONCE_MORE,
                heartbeat_timeout=self._heartbeat,
                retry_policy=RETRY,
            )

    async def _end(self, status: Status, summary: str) -> RunResult:
        outputs: dict[str, str] = {}
        if status in (Status.APPLIED, Status.NO_CHANGES):
            job = self._job(OutputJob)
            outputs = (await self._activity("terraform_output", job, OutputResult)).outputs
        self._set_status(status)
        return RunResult(
            status=status,
            outputs=outputs,
            summary=summary,
            review=self._review.digest if self._review else "",
            decisions=self._decisions,
        )

    # --- helpers -----------------------------------------------------------------------------

    def _job(self, kind: type[J], **fields: Any) -> J:
        asked = self._request
        return kind(
            stack=asked.stack,
            snapshot=asked.snapshot,
            suffix=asked.suffix,
            heartbeat=asked.heartbeat,
            **fields,
        )

    async def _activity(self, name: str, job: object, result_type: type[T]) -> T:
        result: T = await workflow.execute_activity(
            name,
            job,
            result_type=result_type,
            start_to_close_timeout=timedelta(hours=1),
            heartbeat_timeout=self._heartbeat,
            retry_policy=RETRY,
        )
        return result

    async def _step(self, status: Status) -> None:
        """Enter a step: say so, then give an audience time to read it."""
        self._set_status(status)
        if self._request.pace > 0:
            await workflow.sleep(timedelta(seconds=self._request.pace))

    def _set_status(self, status: Status) -> None:
        self._status = status
        workflow.upsert_search_attributes(
            [STATUS_TEXT.value_set(status.value), STATUS_KEYWORD.value_set(status.value)]
        )

    # --- queries -----------------------------------------------------------------------------

    @workflow.query
    def get_current_status(self) -> str:
        """The status, as in `messages.Status`."""
        return self._status.value

    @workflow.query
    def get_progress(self) -> int:
        """0 to 100."""
        return progress_of(self._status)

    @workflow.query
    def get_plan(self) -> PlanView | None:
        """The plan, redacted; nothing before there is one."""
        return self._plan.view if self._plan else None

    @workflow.query
    def get_signal_reason(self) -> str:
        """The reason of the last decision that took effect; empty before any."""
        return self._effective_reason

    @workflow.query
    def get_review(self) -> Review | None:
        """What a human decides on, or decided on last."""
        return self._review

    @workflow.query
    def get_interrupts(self) -> int:
        """How often somebody asked to stop the apply that is at work."""
        return self._interrupts

    @workflow.query
    def get_decisions(self) -> list[Decision]:
        """Every decision, the ignored ones with why, oldest first."""
        return self._decisions

    # --- decisions ---------------------------------------------------------------------------

    @workflow.signal(dynamic=True)
    async def on_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Take any signal without ever failing: an unknown or malformed one is recorded as ignored.

        A handler with a typed argument would fail the workflow task for ever on two inputs.
        """
        if name.startswith("__") and not workflow.patched("reserved-names-are-noted"):
            return
        given, problem = read_decision(name, args, workflow.payload_converter())
        self._decide(name, given, "signal", problem or self._objection(name, given))

    @workflow.update(dynamic=True)
    async def on_update(self, name: str, args: Sequence[RawValue]) -> Decision:
        """Take a decision, and answer with it; what is refused is refused by the validator."""
        given, _ = read_decision(name, args, workflow.payload_converter())
        return self._decide(name, given, "update", self._objection(name, given))

    @on_update.validator
    def validate_update(self, name: str, args: Sequence[RawValue]) -> None:
        """Refuse, in words, before anything is written to the history."""
        given, problem = read_decision(name, args, workflow.payload_converter())
        if why := problem or self._objection(name, given):
            raise _refused(why)

    # Typed arguments would be refused by the SDK, in words for programmers: these read themselves.

    @workflow.update
    async def replan(self, *given: Any) -> str:
        """Plan another snapshot in place of the one that waits, and ask again; answers at once."""
        self._replan, _ = read_input(given, ReplanInput)
        self._broken = False
        return "Planning anew; a new review follows where a person has to decide."

    @replan.validator
    def validate_replan(self, *given: Any) -> None:
        """Only what waits for a decision, or for a repair, can be planned anew."""
        wanted, problem = read_input(given, ReplanInput)
        if problem:
            raise _refused(problem)
        if wanted is None or not wanted.snapshot.sealed.startswith("tprov1.snapshot."):
            raise _refused("it came without a snapshot; `tprov replan` takes one.")
        asks = self._status == Status.AWAITING_APPROVAL and self._decision is None
        if not asks and not self._broken:
            raise _refused(f"the run is not waiting for a decision, it is {self._status.words}.")

    @workflow.update
    async def recheck(self) -> str:
        """Take the step again that failed, after what it failed of was mended."""
        self._broken = False
        return "Trying again."

    @recheck.validator
    def validate_recheck(self) -> None:
        """Only where a step has failed of what a person has to mend."""
        if not self._broken:
            raise _refused(f"nothing waits to be mended, the run is {self._status.words}.")

    @workflow.update
    async def interrupt(self, *given: Any) -> str:
        """Stop the apply: first Terraform is asked to end, a second time it is made to."""
        wanted, _ = read_input(given, InterruptInput)
        self._interrupts += 1
        self._stopped_by = (wanted and spoken(wanted.by)) or "Somebody"
        if self._interrupts > 1:
            return "Terraform and its plug-ins are killed; then what they had made is looked up."
        if self._applying is not None:
            self._applying.cancel()
        return (
            "Terraform is asked to stop; then what it had made is looked up, and you are asked"
            " about what is left to do."
        )

    @interrupt.validator
    def validate_interrupt(self, *given: Any) -> None:
        """Only an apply can be stopped: everything else changes nothing, and can be cancelled."""
        _, problem = read_input(given, InterruptInput)
        if problem:
            raise _refused(problem)
        # A Terraform whose heartbeats were lost may be at work while recovery waits for it.
        if self._applying is None and not self._recovering:
            raise _refused(f"no apply is at work, the run is {self._status.words}.")

    def _objection(self, name: str, given: DecisionInput) -> str:
        """Why a decision cannot be taken now; empty when it can."""
        if self._decision is not None:
            return f"this review was already decided ({self._decision.outcome})."
        if self._status != Status.AWAITING_APPROVAL or self._review is None:
            return f"the run is not waiting for a decision, it is {self._status.words}."
        if self._replan is not None:
            return "the run is being planned anew; decide on the new review."
        if another := names_another(given.review, self._review, self._former):
            return another
        if name == "approve_apply" and not given.reason.strip():
            return "an approval needs a reason."
        return ""

    def _decide(
        self, name: str, given: DecisionInput, via: Literal["signal", "update"], why: str
    ) -> Decision:
        verb = VERBS.get(name, plain(name))
        taken: Literal["approved", "denied"] = "approved" if verb == "approve" else "denied"
        decision = Decision(
            verb=verb,
            outcome="ignored" if why else taken,
            reason=given.reason,
            reviewer=given.reviewer,
            review=self._review.digest if self._review else "",
            via=via,
            at=workflow.now().isoformat(),
            why=why,
            number=1 + last_number(self._decisions, via),
        )
        self._decisions.append(brief(decision))
        if len(self._decisions) > 2 * MAX_IGNORED:
            self._decisions = bounded(self._decisions)
        if not workflow.patched("decisions-are-told-once"):
            workflow.upsert_memo({"decisions": self._decisions[-MAX_IGNORED:]})
        else:
            self._taken += 1
            if self._telling is None:
                self._telling = asyncio.create_task(self._tell_when_all_are_taken())
        if not why:
            self._decision = decision
            self._effective_reason = decision.reason
        return decision

    async def _tell_when_all_are_taken(self) -> None:
        """Hundreds of signals may come in one workflow task; one each would be too large a reply.

        Conditions are looked at when every handler of the workflow task has run.
        """
        await workflow.wait_condition(workflow.all_handlers_finished)
        self._tell()

    def _tell(self) -> None:
        """Put the decisions into the memo, if that is still to be done."""
        if self._telling is not None:
            self._telling = None
            self._decisions = bounded(self._decisions)
            workflow.upsert_memo({"decisions": self._decisions})


_NOTHING_DONE = frozenset(
    {"NotBegun", "SealBroken", "ToolError", "StackBusy", "StillAtWork", "KeyMissing", "KeyRejected"}
)
"""Errors of the apply step that come before Terraform was started."""


_FOR_A_PERSON = frozenset({"PolicyError", "TooLarge", "OutcomeUnknown"})
"""Errors that a person can mend while the run waits."""

_OF_A_REPLAN = frozenset({"ConfigurationError", "SealBroken"})
"""Errors that end a run at its beginning, and are for a person to mend once somebody was asked."""

_OF_A_WORKER = frozenset({"KeyMissing", "KeyRejected"})
"""The same of errors that another worker, or this one started anew, does not have."""


def _refused(why: str) -> ApplicationError:
    words = f"Refused: {why} Nothing was recorded."
    return ApplicationError(words, type="DecisionRefused", non_retryable=True)


def _cause(error: BaseException) -> BaseException:
    return error.cause if isinstance(error, ActivityError) and error.cause else error


def _type(error: BaseException) -> str:
    cause = _cause(error)
    return cause.type or "" if isinstance(cause, ApplicationError) else ""


def _is_permanent(error: BaseException) -> bool:
    cause = _cause(error)
    return isinstance(cause, ApplicationError) and cause.non_retryable


def _as_final(error: BaseException) -> ApplicationError:
    """The run's own failure: the sentence and the remedy of what went wrong, never retried."""
    cause = _cause(error)
    if isinstance(cause, ApplicationError):
        return ApplicationError(cause.message, *cause.details, type=cause.type, non_retryable=True)
    return ApplicationError(str(cause), type=type(cause).__name__, non_retryable=True)


def _summary(applied: ApplyResult) -> str:
    words = f"{applied.added} added, {applied.changed} changed, {applied.destroyed} destroyed"
    return f"{applied.imported} imported, {words}" if applied.imported else words

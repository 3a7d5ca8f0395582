"""The part of an audit that is about the steps: plans, verdicts, applies, recoveries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from temporalio.api.common.v1 import Payload

from tprov_kernel.audit.read import Reader, Said, findings_words
from tprov_kernel.audit.record import Applied, ApplyOutcome, Judged, Planned, Recovered
from tprov_kernel.messages import (
    ApplyJob,
    ApplyResult,
    PlanJob,
    PlanResult,
    PolicyJob,
    RecoverResult,
    Review,
    RunRequest,
    SavedPlan,
    Verdict,
    make_review,
)

_NOT_BEGUN = frozenset(
    {
        "NotBegun",
        "ReviewOutdated",
        "SealBroken",
        "ToolError",
        "StackBusy",
        "StillAtWork",
        "KeyMissing",
        "KeyRejected",
        "PolicyError",
    }
)
"""What an apply says when it did not start Terraform."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """An activity that was scheduled, and who took it up."""

    name: str = ""
    job: Sequence[Payload] = ()
    began: datetime | None = None
    worker: str = ""
    attempts: int = 0
    former_failure: str = ""


@dataclass(frozen=True)
class _Made:
    """A plan as it is in the history, and the snapshot it was made from."""

    number: int
    snapshot: str
    result: PlanResult


class Steps:
    """Takes the ends of activities, in the order of the history.

    Args:
        read: Decodes payloads.
        tell: Writes a line of the chronicle.
        miss: Notes what could not be read.
    """

    def __init__(
        self, read: Reader, tell: Callable[[datetime, str], None], miss: Callable[[str], None]
    ) -> None:
        self._read, self._tell, self._miss = read, tell, miss
        self._made: dict[str, _Made] = {}
        self._verdicts: dict[str, Verdict] = {}
        self.why = "as it was asked for"
        self.plans: list[Planned] = []
        self.judgements: list[Judged] = []
        self.applies: list[Applied] = []
        self.recoveries: list[Recovered] = []

    async def done(self, step: Step, result: Sequence[Payload], at: datetime) -> None:
        """A step came to a good end."""
        match step.name:
            case "terraform_plan":
                await self._planned(step, result, at)
            case "evaluate_policy":
                await self._judged(step, result, at)
            case "terraform_apply":
                await self._applied(step, at, "applied", result=result)
            case "recover_apply":
                await self._recovered(step, result, at)

    async def failed(self, step: Step, said: Said, at: datetime) -> None:
        """A step failed for good."""
        if step.name == "terraform_apply":
            outcome: ApplyOutcome = "refused" if said.type in _NOT_BEGUN else "failed"
            outcome = "no answer" if said.is_timeout else outcome
            await self._applied(step, at, outcome, failure=said.words)
            if said.type == "ReviewOutdated":
                self.why = "because the world was no longer what was reviewed"
        elif step.name == "evaluate_policy":
            number = self.number_of(await self._plan_in(step, PolicyJob))
            judged = Judged(plan=number, at=at, worker=step.worker, failure=said.words)
            self.judgements.append(judged)
            self._tell(at, f"The policies could not judge plan {number}: {said.words}")
        else:
            self._tell(at, f"{step.name} failed: {said.words}")

    async def cut_off(self, step: Step, outcome: ApplyOutcome, at: datetime | None) -> None:
        """A step was cancelled, or has not ended; only of an apply that matters."""
        if step.name == "terraform_apply":
            await self._applied(step, at, outcome, failure=f"{outcome}." if at else "")

    async def _planned(self, step: Step, result: Sequence[Payload], at: datetime) -> None:
        plan = await self._read.value(result, PlanResult)
        job = await self._read.value(step.job, PlanJob)
        if plan is None:
            self._miss("A plan cannot be read.")
            return
        made = _Made(len(self.plans) + 1, job.snapshot.digest if job else "", plan)
        self._made[plan.plan.file_digest] = made
        self.plans.append(
            Planned(
                number=made.number,
                at=at,
                why=self.why,
                snapshot=made.snapshot,
                summary=plan.view.sentence,
                view=plan.view,
                file_digest=plan.plan.file_digest,
                meaning_digest=plan.plan.meaning_digest,
                state_lineage=plan.plan.state_lineage,
                state_serial=plan.plan.state_serial,
                terraform_version=plan.plan.terraform_version,
                account=plan.account,
                existing=plan.existing,
                worker=step.worker,
                attempts=step.attempts,
                former_failure=step.former_failure,
                tools_digest=plan.plan.tools_digest,
            )
        )
        self._tell_recovery(plan.story, plan.adopted, at)
        self._tell(at, f"Plan {made.number}, {self.why}: {plan.view.sentence}.")

    async def _judged(self, step: Step, result: Sequence[Payload], at: datetime) -> None:
        verdict = await self._read.value(result, Verdict)
        if verdict is None:
            self._miss("A verdict of the policies cannot be read.")
            return
        digest = await self._plan_in(step, PolicyJob)
        self._verdicts[digest] = verdict
        judged = Judged(
            plan=self.number_of(digest),
            at=at,
            worker=step.worker,
            findings=verdict.findings,
            bundle_digest=verdict.bundle_digest,
            opa_version=verdict.opa_version,
            opa_digest=verdict.opa_digest,
        )
        self.judgements.append(judged)
        self._tell(at, f"The policies on plan {judged.plan}: {findings_words(judged.findings)}.")

    async def _plan_in(self, step: Step, kind: type[PolicyJob] | type[ApplyJob]) -> str:
        """Digest of the plan file that a step was about."""
        job = await self._read.value(step.job, kind)
        plan: SavedPlan | None = job.plan if isinstance(job, PolicyJob | ApplyJob) else None
        return plan.file_digest if plan else ""

    def number_of(self, file_digest: str) -> int:
        """Number of a plan; 0 where the history does not tell."""
        made = self._made.get(file_digest)
        return made.number if made else 0

    def is_about_its_plan(self, review: Review, request: RunRequest | None) -> bool | None:
        """Whether a review's digest is that of the plan and the verdict in the history.

        None where one of them is missing.
        """
        made, verdict = self._made.get(review.file_digest), self._verdicts.get(review.file_digest)
        if made is None or verdict is None or request is None:
            return None
        asked = replace(request, snapshot=replace(request.snapshot, digest=made.snapshot))
        anew = make_review(asked, made.result, verdict, asked_at="", expires_at="")
        return anew.digest == review.digest

    async def _applied(
        self,
        step: Step,
        at: datetime | None,
        outcome: ApplyOutcome,
        *,
        failure: str = "",
        result: Sequence[Payload] = (),
    ) -> None:
        digest = await self._plan_in(step, ApplyJob)
        done = await self._read.value(result, ApplyResult)
        applied = Applied(
            plan=self.number_of(digest),
            file_digest=digest,
            began=step.began,
            ended=at,
            outcome=outcome,
            worker=step.worker,
            failure=failure,
            added=done.added if done else 0,
            changed=done.changed if done else 0,
            destroyed=done.destroyed if done else 0,
            imported=done.imported if done else 0,
        )
        self.applies.append(applied)
        if step.began is not None:
            self._tell(step.began, f"The apply of plan {applied.plan} began.")
        if at is not None:
            self._tell(at, f"The apply of plan {applied.plan}: {failure or applied.summary}")

    async def _recovered(self, step: Step, result: Sequence[Payload], at: datetime) -> None:
        found = await self._read.value(result, RecoverResult)
        if found is None:
            self._miss("What recovery found cannot be read.")
            return
        self.recoveries.append(
            Recovered(
                at=at,
                worker=step.worker,
                finished=found.finished,
                story=found.story,
                adopted=found.adopt,
                foreign=found.foreign,
            )
        )
        self._tell_recovery(found.story, found.adopt, at)
        if found.question:
            self._tell(at, f"Recovery asks: {found.question} {found.remedy}")
        self.why = "to find what was left to do"

    def _tell_recovery(
        self, story: Sequence[str], adopted: Mapping[str, str], at: datetime
    ) -> None:
        for words in story:
            self._tell(at, f"Recovery: {words}")
        for address, id_ in adopted.items():
            self._tell(at, f"Recovery: {address} ({id_}) is ours, and is taken over.")

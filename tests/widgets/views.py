"""Hand-made runs at every turn of the road, for tests and for looking at them in a browser."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.widgets.samples import FINDING, PLAN, VERDICT
from tprov_kernel.messages import Decision, Review, Status, progress_of
from tprov_kernel.observe import STEPS, Contact, Repair, RunView, Span, StepState, StepView

START = datetime(2025, 11, 24, 10, 40, 0, tzinfo=UTC)
WORKER = "4711@kernel"


def at(seconds: float, start: datetime = START) -> datetime:
    """A moment of the run."""
    return start + timedelta(seconds=seconds)


def step(
    number: int, state: StepState, start: datetime, begin: float, end: float | None, **more: object
) -> StepView:
    """One step with one span, unless spans are given."""
    spans = more.pop("spans", None)
    if spans is None:
        kind = {"done": "ok", "failed": "failed", "asking": "human"}.get(state, "running")
        until = at(end, start) if end is not None else None
        spans = (Span(kind=kind, start=at(begin, start), end=until),)  # type: ignore[arg-type]
    base = StepView(
        name=STEPS[number],
        state=state,
        attempts=1,
        started=at(begin, start),
        ended=at(end, start) if end is not None else None,
        spans=spans,  # type: ignore[arg-type]
    )
    return replace(base, **more)  # type: ignore[arg-type]


def run(status: Status, steps: list[StepView], start: datetime = START, **more: object) -> RunView:
    """A run of the admin user's stack with these first steps."""
    rest = [StepView(name=name) for name in STEPS[len(steps) :]]
    base = RunView(
        workflow_id="stack-adm-7c2f",
        run_id="0196f3a0-0000-7000-8000-000000000000",
        stack="adm-7c2f",
        directory="terraform/tcloud_admin_user",
        requested_by="ada",
        status=status,
        progress=progress_of(status),
        started=start,
        steps=(*steps, *rest),
        history_length=30,
        contact=Contact(
            worker=WORKER, pollers=1, task_queue="infra-provisioning", last_heard=at(71.8, start)
        ),
    )
    return replace(base, **more)  # type: ignore[arg-type]


def planned(start: datetime = START) -> list[StepView]:
    """Init, a plan that took three attempts, and the policy check."""
    spans = (
        Span(kind="failed", start=at(1.5, start), end=at(2.4, start)),
        Span(kind="backoff", start=at(2.4, start), end=at(3.4, start)),
        Span(kind="failed", start=at(3.4, start), end=at(4.3, start)),
        Span(kind="backoff", start=at(4.3, start), end=at(6.3, start)),
        Span(kind="ok", start=at(6.3, start), end=at(6.7, start)),
    )
    return [
        step(0, "done", start, 0.0, 1.2),
        step(1, "done", start, 1.5, 6.7, attempts=3, spans=spans),
        step(2, "done", start, 7.0, 7.6, note="1 finding"),
    ]


def review(start: datetime = START, *, digest: str = "7f3a91c2", minutes: float = 4319) -> Review:
    """A review that somebody has to decide on."""
    return Review(
        digest=digest + "0" * (64 - len(digest)),
        snapshot_digest="aa" * 32,
        file_digest="bb" * 32,
        meaning_digest="cc" * 32,
        state_lineage="",
        state_serial=0,
        bundle_digest=VERDICT.bundle_digest,
        terraform_version="1.11.4",
        summary=PLAN.sentence,
        findings=[FINDING],
        requested_by="ada",
        asked_at=at(8, start).isoformat(),
        expires_at=at(60 * minutes, start).isoformat(),
    )


def asking(start: datetime = START) -> RunView:
    """Somebody has to decide."""
    steps = [*planned(start), step(3, "asking", start, 8.0, None)]
    return run(
        Status.AWAITING_APPROVAL, steps, start, plan=PLAN, verdict=VERDICT, review=review(start)
    )


def retrying(start: datetime = START) -> RunView:
    """The plan failed twice; the third attempt is due 4 s after second 72."""
    spans = (
        Span(kind="failed", start=at(1.5, start), end=at(30, start)),
        Span(kind="backoff", start=at(30, start), end=at(40, start)),
        Span(kind="failed", start=at(40, start), end=at(60, start)),
        Span(kind="backoff", start=at(60, start), end=None),
    )
    error = "The Temporal Cloud API does not answer (503)."
    plan = step(1, "retrying", start, 1.5, None, attempts=2, spans=spans, failure=error)
    return run(
        Status.PLANNING,
        [step(0, "done", start, 0.0, 1.2), replace(plan, next_attempt=at(76, start))],
        start,
    )


def decision(start: datetime = START) -> Decision:
    """Grace approves, with a reason."""
    return Decision(
        verb="approve",
        outcome="approved",
        reason="It is a demo account & only for today",
        reviewer="grace",
        review=review(start).digest,
        via="update",
        at=at(60, start).isoformat(),
    )


def applying(start: datetime = START) -> RunView:
    """Approved; Terraform is at work."""
    doing = "creating temporalcloud_namespace.this (3 s), 0 of 2 done"
    steps = [
        *planned(start),
        step(3, "done", start, 8.0, 60.0, note="approved", spans=_human(start)),
        step(4, "running", start, 60.5, None, doing=doing),
    ]
    more = {"plan": PLAN, "verdict": VERDICT, "review": review(start)}
    return run(Status.APPLYING, steps, start, decisions=(decision(start),), **more)


def _human(start: datetime) -> tuple[Span, ...]:
    return (Span(kind="human", start=at(8, start), end=at(60, start)),)


def applied(start: datetime = START) -> RunView:
    """It went well."""
    before = applying(start)
    steps = [
        *before.steps[:4],
        step(4, "done", start, 60.5, 70.0, note="2 added"),
        step(5, "done", start, 70.0, 70.6),
    ]
    outputs = {"namespace_id": '"adm-7c2f.a1b2c"', "endpoint": '"adm-7c2f.tmprl.cloud:7233"'}
    closed = {"closed": True, "close_state": "COMPLETED", "ended": at(70.8, start)}
    return replace(
        before,
        status=Status.APPLIED,
        progress=100,
        steps=tuple(steps),
        outputs=outputs,
        **closed,  # type: ignore[arg-type]
    )


def failed(start: datetime = START) -> RunView:
    """It ended for a reason that trying again cannot help."""
    steps = [
        step(0, "done", start, 0.0, 1.2),
        step(1, "failed", start, 1.5, 2.5, failure="The API key is not accepted."),
    ]
    return run(
        Status.FAILED,
        steps,
        start,
        progress=100,
        closed=True,
        close_state="FAILED",
        ended=at(3, start),
        failure="The Temporal Cloud API does not accept the key.",
        remedy="Set TEMPORAL_CLOUD_API_KEY to a valid key and start the worker again.",
    )


def no_worker(start: datetime = START) -> RunView:
    """The plan waits for a worker that is not there."""
    contact = Contact(pollers=0, task_queue="infra-provisioning-07", last_heard=at(71, start))
    waits = StepView(name="plan", state="running", scheduled_without_worker=True, attempts=1)
    return run(Status.PLANNING, [step(0, "done", start, 0.0, 1.2), waits], start, contact=contact)


def out_of_touch(start: datetime = START) -> RunView:
    """The server does not answer in the middle of apply, and the workflow's code fails too."""
    before = applying(start)
    contact = replace(before.contact, in_touch=False, since=at(52, start), last_heard=at(52, start))
    return replace(before, contact=contact)


def task_failing(start: datetime = START) -> RunView:
    """A bug was shipped to a running workflow; an earlier apply was recovered."""
    return replace(
        applying(start),
        task_failure="NameError: name 'plam' is not defined (workflow.py, line 120).",
        story=(
            "The worker was lost while Terraform applied; the outcome was unknown.",
            "temporalcloud_namespace.this was found at the Cloud, created by this run: adopted.",
        ),
    )


def unjudged(start: datetime = START) -> RunView:
    """The policies cannot judge; the run waits until they are mended."""
    failure = "rules/mistake.rego:3: rego_parse_error: var cannot be used for rule name."
    repair = Repair(
        step="policy",
        failure=failure,
        remedy="Mend the policies; `tprov policy try` tells whether they judge.",
        until=at(60 * 40, start),
    )
    spans = (
        Span(kind="failed", start=at(7.0, start), end=at(7.6, start)),
        Span(kind="human", start=at(7.6, start), end=None, note="to be mended"),
    )
    steps = [
        *planned(start)[:2],
        step(2, "failed", start, 7.0, 7.6, failure=failure, spans=spans),
    ]
    return run(Status.POLICY_CHECKING, steps, start, plan=PLAN, repair=repair)


def asking_anew(start: datetime = START) -> RunView:
    """Asked again after a re-plan; a signal without a reason was ignored, and it is nearly over."""
    ignored = replace(
        decision(start),
        outcome="ignored",
        reason="",
        via="signal",
        why="an approval needs a reason.",
    )
    again = replace(
        review(start, digest="0c5d88e1", minutes=12),
        supersedes=review(start).digest,
        differs=[
            'temporalcloud_user.admin: email = "lin@example.test", was "grace@example.test".',
            "temporalcloud_namespace.second: create, was not in the former plan.",
        ],
    )
    return replace(asking(start), review=again, decisions=(ignored,))


EVERY = {
    "asking": asking,
    "asking_anew": asking_anew,
    "unjudged": unjudged,
    "retrying": retrying,
    "applying": applying,
    "applied": applied,
    "failed": failed,
    "no_worker": no_worker,
    "out_of_touch": out_of_touch,
    "task_failing": task_failing,
}

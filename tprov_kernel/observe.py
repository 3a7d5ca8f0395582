"""A run as people look at it: folded from its history, what is pending, and queries.

`RunView` is the one model behind the run card, `tprov status` and `tprov play`. It is made from
the workflow's history and its pending activities, which need no worker; only the progress figure
and details come from queries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from tprov_kernel.messages import Decision, PlanView, Review, Status, Verdict

StepName = Literal["init", "plan", "policy", "approval", "apply", "output"]
STEPS: tuple[StepName, ...] = ("init", "plan", "policy", "approval", "apply", "output")

StepState = Literal["waiting", "running", "retrying", "asking", "done", "failed", "skipped"]


RECOVERY = "recovery"
"""Note of the stretch in which a cut-off apply was looked into: no attempt to apply."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of time on the timeline: one attempt, or one wait.

    Attributes:
        kind: ``ok`` a successful attempt, ``failed`` a failed one, ``running`` not over yet,
            ``backoff`` Temporal's wait before the next attempt, ``human`` a wait for a person.
        note: What a person reads beside it.
    """

    kind: Literal["ok", "failed", "running", "backoff", "human"]
    start: datetime
    end: datetime | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class StepView:
    """One of the six steps.

    Attributes:
        state: ``retrying`` means that the last attempt failed and the next one is due at
            `next_attempt`; ``asking`` that a person has to decide.
        attempts: How many attempts were begun.
        failure: The last attempt's error, in words; empty when there was none.
        remedy: What to do about it; empty where nothing can be advised.
        doing: What it is doing at this moment, in words (Terraform's own progress).
        note: A few words below its name when it is over: '1 finding', '2 added'.
        scheduled_without_worker: It waits because nobody polls its task queue.
    """

    name: StepName
    state: StepState = "waiting"
    attempts: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    failure: str = ""
    remedy: str = ""
    next_attempt: datetime | None = None
    doing: str = ""
    note: str = ""
    scheduled_without_worker: bool = False
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Contact:
    """Whether we are in touch with the server, and who works on the run.

    Attributes:
        in_touch: The Temporal server answered the last time it was asked.
        since: Since when that is so.
        last_heard: When the server last answered.
        worker: The identity of the worker of the last activity or workflow task; empty if none yet.
        pollers: How many workers poll the run's task queue; None when it was not asked.
        task_queue: The run's task queue.
    """

    in_touch: bool = True
    since: datetime | None = None
    last_heard: datetime | None = None
    worker: str = ""
    pollers: int | None = None
    task_queue: str = ""


@dataclass(frozen=True, kw_only=True)
class Repair:
    """A step failed of what a person can mend, and the run waits for that.

    Attributes:
        step: Which one.
        failure: What is wrong, in words, of OPA or of Terraform.
        remedy: What to do.
        until: When the run gives up.
    """

    step: StepName
    failure: str
    remedy: str
    until: datetime


@dataclass(frozen=True, kw_only=True)
class RunView:
    """Everything a person may see of a run at one moment.

    Attributes:
        progress: 0 to 100.
        closed: The workflow execution is over.
        close_state: Temporal's word for how it ended: COMPLETED, FAILED, CANCELED, TERMINATED,
            TIMED_OUT, CONTINUED_AS_NEW; empty while it is open.
        continued_as: The run id of the execution that goes on where this one continued as new.
        failure: Why it failed, in one sentence; `remedy` what to do.
        task_failure: Set while Temporal keeps failing to run the workflow's own code.
        unreadable: Set when a payload of it cannot be decrypted: which key is missing, and what to
            do. What that payload would have told is not in the view.
        repair: Set while the run waits for a person to mend something.
        decisions: Every decision, ignored ones too, oldest first.
        outputs: Redacted, each as JSON text.
    """

    workflow_id: str
    run_id: str
    stack: str
    directory: str = ""
    action: str = "provision"
    requested_by: str = ""
    status: Status = Status.UNINITIALIZED
    progress: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    closed: bool = False
    close_state: str = ""
    continued_as: str = ""
    failure: str = ""
    remedy: str = ""
    task_failure: str = ""
    unreadable: str = ""
    repair: Repair | None = None
    steps: tuple[StepView, ...] = tuple(StepView(name=n) for n in STEPS)
    plan: PlanView | None = None
    verdict: Verdict | None = None
    review: Review | None = None
    decisions: tuple[Decision, ...] = ()
    outputs: dict[str, str] = field(default_factory=dict)
    story: tuple[str, ...] = ()
    """What recovery did, a sentence each."""
    history_length: int = 0
    contact: Contact = field(default_factory=Contact)

    def step(self, name: StepName) -> StepView:
        """One step by its name."""
        return next(s for s in self.steps if s.name == name)


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A run as visibility tells it.

    Attributes:
        view: What is known of it without its history.
        verdict: The worst level of its findings, or ``allowed``; empty before it was judged.
    """

    view: RunView
    verdict: str = ""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The runs that a filter finds, open ones first, then the latest to end.

    Attributes:
        rows: The first of them.
        more: How many it finds besides.
    """

    rows: tuple[RunRow, ...] = ()
    more: int = 0


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many runs have a status.

    Attributes:
        status: One of ours; of no meaning where `close_state` is set.
        close_state: Temporal's word, where a run ended without a status that ends one.
        count: How many.
    """

    status: Status = Status.UNINITIALIZED
    close_state: str = ""
    count: int

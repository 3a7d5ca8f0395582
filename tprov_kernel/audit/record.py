"""What an audit holds. Times are the server's, and UTC; names of people are claims."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Literal

from tprov_kernel.messages import ExistingObject, Finding, PlanView, Review

NOTE = (
    "Told by the run's history alone. Names of people are claimed: tprov authenticates nobody. A"
    " refused update leaves no trace in a history, and is not told here."
)

Became = Literal["open", "approved", "denied", "superseded", "expired", "abandoned"]
DecisionOutcome = Literal["approved", "denied", "ignored", "never taken up"]
ApplyOutcome = Literal["under way", "applied", "failed", "refused", "cancelled", "no answer"]


@dataclass(frozen=True, kw_only=True)
class Happening:
    """A line of the chronicle."""

    at: datetime
    words: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Who wanted what.

    Attributes:
        by: A claimed name.
        sender: How the client that started the run called itself at the Temporal server.
        snapshot: Digest of the configuration and its variables.
        files: How many files the snapshot holds.
        patience: Seconds that a review may wait for a decision.
    """

    at: datetime
    by: str
    sender: str
    action: str
    directory: str
    task_queue: str
    snapshot: str
    files: int
    patience: float


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A plan that was made.

    Attributes:
        number: Counted from 1.
        why: Why it was made.
        snapshot: What it was made from.
        summary: Terraform's counts, in words.
        view: The plan, redacted.
        meaning_digest: Equal for two plans of the same thing.
        state_serial: The state that it was planned from; `state_lineage` is empty for none yet.
        account: The Temporal Cloud account; empty where the plan is about none.
        existing: What it would create and that existed already: such a plan is not applied.
        worker: Who made it, as it called itself.
        attempts: How many it took.
        former_failure: What the attempt before said.
    """

    number: int
    at: datetime
    why: str
    snapshot: str
    summary: str
    view: PlanView
    file_digest: str
    meaning_digest: str
    state_lineage: str
    state_serial: int
    terraform_version: str
    account: str
    existing: list[ExistingObject]
    worker: str
    attempts: int
    former_failure: str = ""
    tools_digest: str = ""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the policies said of a plan.

    Attributes:
        plan: Its number; 0 where the history does not tell.
        failure: Why they could not judge; then there are no findings, and nothing was allowed.
    """

    plan: int
    at: datetime
    worker: str
    findings: list[Finding] = field(default_factory=list)
    bundle_digest: str = ""
    opa_version: str = ""
    failure: str = ""
    opa_digest: str = ""


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """A review, and what became of it.

    Attributes:
        plan: Number of the plan that it is about; 0 where the history does not tell.
        matches: Whether its digest, computed anew from the plan and the verdict in the history, is
            the one that people decided on; None where one of them is missing.
    """

    plan: int
    at: datetime
    review: Review
    matches: bool | None
    became: Became = "open"


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A decision, or an attempt at one; a refused update leaves no trace, and is not among them.

    Attributes:
        at: When it reached the server.
        taken: When the run took it up; None if it never did.
        reviewer: A claimed name.
        sender: How the client that sent it called itself at the Temporal server.
        review: Digest of the review that waited then; empty when none did.
        why: Why it was ignored.
    """

    at: datetime
    taken: datetime | None
    verb: str
    outcome: DecisionOutcome
    reviewer: str
    reason: str
    review: str
    via: Literal["signal", "update"]
    sender: str
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Replanned:
    """Somebody asked for a new plan, of another snapshot."""

    at: datetime
    by: str
    sender: str
    snapshot: str


@dataclass(frozen=True, kw_only=True)
class Applied:
    """An apply, or an attempt at one.

    Attributes:
        plan: Number of the plan that was applied; 0 where the history does not tell.
        outcome: ``applied`` Terraform finished; ``failed`` it ended with an error; ``refused`` it
            was not started, because the world was no longer what was reviewed, or the worker could
            not; ``no answer`` its worker was lost, so that recovery had to find out.
        failure: What was said, where it is not ``applied``.
    """

    plan: int
    file_digest: str
    began: datetime | None
    ended: datetime | None
    outcome: ApplyOutcome
    worker: str
    failure: str = ""
    added: int = 0
    changed: int = 0
    destroyed: int = 0
    imported: int = 0

    @property
    def summary(self) -> str:
        """'1 added, 0 changed, 0 destroyed.'."""
        words = f"{self.added} added, {self.changed} changed, {self.destroyed} destroyed."
        return f"{self.imported} imported, {words}" if self.imported else words


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What was found after an apply of unknown outcome.

    Attributes:
        finished: It was proven that Terraform had finished the plan.
        adopted: Address to id: existed, was missing in the state, and was ours.
        foreign: Existed, and could not be proven ours: nothing was done about it.
    """

    at: datetime
    worker: str
    finished: bool
    story: list[str]
    adopted: dict[str, str]
    foreign: list[ExistingObject]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run ended.

    Attributes:
        state: Temporal's word: COMPLETED, FAILED, CANCELED, TERMINATED, TIMED_OUT.
        words: What was done, or why it ended.
        by: Who terminated it, as the client called itself; empty otherwise.
    """

    at: datetime
    state: str
    words: str
    remedy: str = ""
    by: str = ""

    def sentence(self, status: str) -> str:
        """How it ended and why: 'applied: 1 added, 0 changed, 0 destroyed'."""
        known = self.state in ("COMPLETED", "FAILED", "CANCELED")
        how = status.replace("_", " ") if known else self.state.lower().replace("_", " ")
        by = f" by {self.by}" if self.by else ""
        return f"{how}{by}: {self.words}" if self.words else f"{how}{by}"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Everything that a run's history tells.

    Attributes:
        run_ids: The executions of the chain, the oldest first.
        status: The last status.
        asked: None where the history does not begin at the beginning any more.
        outputs: Redacted, each as JSON text.
        ended: None while it is open.
        chronicle: All of it in order, a sentence each.
        gaps: What could not be read, a sentence each; empty for a whole history.
    """

    stack: str
    workflow_id: str
    run_ids: list[str]
    status: str
    asked: Asked | None
    plans: list[Planned]
    judgements: list[Judged]
    reviews: list[Reviewed]
    decisions: list[Decided]
    replans: list[Replanned]
    applies: list[Applied]
    recoveries: list[Recovered]
    outputs: dict[str, str]
    ended: Ended | None
    chronicle: list[Happening]
    gaps: list[str]


def to_json(audit: Audit) -> str:
    """Give an audit as JSON: its fields under their names, times as RFC 3339, and the note."""
    whole = {"note": NOTE, **asdict(audit)}
    return json.dumps(whole, indent=1, ensure_ascii=False, default=_in_json)


def _in_json(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in an audit")

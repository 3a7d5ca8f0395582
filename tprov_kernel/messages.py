"""What travels between starter, workflow, activities and the people who look.

One dataclass per message, so that fields can grow. Nothing here imports anything of ours but the
standard library: the workflow sandbox loads it. Values named ``sealed`` are compressed, encrypted
with the workspace's key ring and base64-encoded before they enter a message, whatever
`ENCRYPT_PAYLOADS` says; everything else is redacted before it does.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Literal

WORKFLOW_TYPE = "ProvisionInfraWorkflow"
DEFAULT_TASK_QUEUE = "infra-provisioning"

APPROVAL_EXPIRES = 72 * 3600.0
"""Seconds that a review may wait for a decision, unless the request says otherwise."""

Action = Literal["provision", "destroy"]
Level = Literal["advisory", "soft-mandatory", "hard-mandatory"]
Change = Literal["create", "update", "delete", "replace", "read", "no-op", "import", "forget"]


def workflow_id(stack: str) -> str:
    """Give the id of the workflow that holds a stack: ``stack-<name>``."""
    return f"stack-{stack}"


class Status(StrEnum):
    """Where a run is, in the words people see and search for."""

    UNINITIALIZED = "uninitialized"
    INITIALIZING = "initializing"
    INITIALIZED = "initialized"
    PLANNING = "planning"
    PLANNED = "planned"
    POLICY_CHECKING = "policy_checking"
    POLICY_CHECKED = "policy_checked"
    AWAITING_APPROVAL = "awaiting_approval"
    APPLYING = "applying"
    DESTROYING = "destroying"
    OUTCOME_UNKNOWN = "outcome_unknown"
    RECOVERING = "recovering"
    APPLIED = "applied"
    DESTROYED = "destroyed"
    NO_CHANGES = "no_changes"
    REJECTED = "rejected"
    EXPIRED = "expired"
    POLICY_HARD_FAILED = "policy_hard_failed"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def words(self) -> str:
        """The status as a person reads it: 'awaiting approval'."""
        return self.value.replace("_", " ")

    @property
    def is_final(self) -> bool:
        """Whether the run ends with this status."""
        return self in FINAL


FINAL = frozenset(
    {
        Status.APPLIED,
        Status.DESTROYED,
        Status.NO_CHANGES,
        Status.REJECTED,
        Status.EXPIRED,
        Status.POLICY_HARD_FAILED,
        Status.CANCELLED,
        Status.FAILED,
    }
)

PROGRESS: dict[Status, int] = {
    Status.UNINITIALIZED: 0,
    Status.INITIALIZING: 5,
    Status.INITIALIZED: 15,
    Status.PLANNING: 20,
    Status.PLANNED: 40,
    Status.POLICY_CHECKING: 45,
    Status.POLICY_CHECKED: 55,
    Status.AWAITING_APPROVAL: 60,
    Status.APPLYING: 70,
    Status.DESTROYING: 70,
    Status.OUTCOME_UNKNOWN: 75,
    Status.RECOVERING: 80,
}
"""How far a run is, in percent; every final status is 100."""


def progress_of(status: Status) -> int:
    """How far a run with this status is, 0 to 100."""
    return PROGRESS.get(status, 100)


# --- what is asked for -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A root module with its variables, as it was when the run was asked for.

    Attributes:
        digest: HMAC-SHA-256 of the packed files, hex; equal for equal content.
        sealed: The packed files, sealed.
        files: How many files it holds.
    """

    digest: str
    sealed: str
    files: int


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What a person, a script or a button asks for.

    Attributes:
        stack: The stack's name; the workflow id follows from it.
        directory: The configuration's directory as the requester named it, for people.
        snapshot: What is planned, whatever happens to the directory meanwhile.
        action: ``provision`` or ``destroy``.
        suffix: The stack's random suffix, handed to the configuration as `var.name_suffix`.
        requested_by: A claimed name: nobody is authenticated by us.
        pace: Seconds of pause before each step, for an audience; 0 headless.
        heartbeat: Seconds without a sign of life after which an activity counts as lost.
        approval_expires: Seconds that a review may wait for a decision.
    """

    stack: str
    directory: str
    snapshot: Snapshot
    action: Action = "provision"
    suffix: str = ""
    requested_by: str = "somebody"
    pace: float = 0.0
    heartbeat: float = 30.0
    approval_expires: float = APPROVAL_EXPIRES
    carried: Carried | None = None


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What a run takes along when it continues as a new execution.

    Attributes:
        decisions: Every decision so far.
        former: The review that the next one supersedes, or that still waits.
        judged: What that review is about, where it still waits; None where it is planned anew.
        reviews: How many reviews there were.
        superseded: Digests of the reviews before that, the last ones.
        shown: The plan that the former review was about, so that the next one tells what differs;
            None where `judged` has it.
        reason: The reason of the last decision that took effect.
        done: What applies have done so far.
    """

    decisions: list[Decision]
    former: Review | None = None
    judged: Judged | None = None
    reviews: int = 0
    superseded: list[str] = field(default_factory=list)
    shown: PlanView | None = None
    reason: str = ""
    done: ApplyResult | None = None


@dataclass(frozen=True, kw_only=True)
class ReplanInput:
    """Input of the update `replan`: plan this snapshot instead, and ask again."""

    snapshot: Snapshot
    requested_by: str = ""


@dataclass(frozen=True, kw_only=True)
class InterruptInput:
    """Input of the update `interrupt`: stop the apply at work; ``by`` is a claimed name."""

    by: str = ""


# --- terraform_init --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every step is told of its run; the fields are `RunRequest`'s."""

    stack: str
    snapshot: Snapshot
    suffix: str
    heartbeat: float


@dataclass(frozen=True, kw_only=True)
class InitJob(Job):
    """Input of `terraform_init`; ``only_if_warm`` asks to do nothing that needs a network."""

    only_if_warm: bool = False


@dataclass(frozen=True, kw_only=True)
class InitResult:
    """Whether the directory is initialised, and by which Terraform and providers."""

    done: bool
    terraform_version: str = ""
    providers: dict[str, str] = field(default_factory=dict)


# --- terraform_plan --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PlanJob(Job):
    """Input of `terraform_plan`."""

    action: Action
    adopt: dict[str, str] = field(default_factory=dict)
    """Not used any more, kept for recorded histories: recovery itself adopts what is ours."""


@dataclass(frozen=True, kw_only=True)
class AttributeChange:
    """One attribute of a planned change, redacted, each value as JSON text.

    Attributes:
        name: The attribute's name.
        before: JSON text of the old value; empty when there is none.
        after: JSON text of the new value; empty when there is none.
        unknown: The new value is known only after apply.
        sensitive: The value is hidden: Terraform marks it, or it equals a known secret.
    """

    name: str
    before: str = ""
    after: str = ""
    unknown: bool = False
    sensitive: bool = False


@dataclass(frozen=True, kw_only=True)
class ResourceChange:
    """One planned change of one resource, redacted; only attributes that are set or change."""

    address: str
    type: str
    change: Change
    title: str = ""
    """What a person would call the object: its name or e-mail."""
    attributes: list[AttributeChange] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class PlanView:
    """A plan as people may see it: redacted, and bounded in size.

    Attributes:
        add: How many resources it creates (a replacement counts here too, as Terraform counts).
        change: How many it updates in place.
        destroy: How many it destroys.
        imports: How many existing objects it takes over.
        changes: Each resource that changes; read and no-op are left out unless they import.
        outputs: Outputs that change.
        hidden: How many sensitive values were hidden.
        omitted: How many changes were left out because the view would have grown too large.
    """

    add: int = 0
    change: int = 0
    destroy: int = 0
    imports: int = 0
    changes: list[ResourceChange] = field(default_factory=list)
    outputs: list[AttributeChange] = field(default_factory=list)
    hidden: int = 0
    omitted: int = 0

    @property
    def sentence(self) -> str:
        """'2 to add, 0 to change, 0 to destroy'."""
        words = f"{self.add} to add, {self.change} to change, {self.destroy} to destroy"
        return f"{self.imports} to import, {words}" if self.imports else words


IMPORT = "import it into the state (`tprov env STACK` gives a terminal its Terraform)"


@dataclass(frozen=True, kw_only=True)
class ExistingObject:
    """Something at the Cloud that the plan wants to create and that exists already.

    ``why`` says what keeps it from being ours, where that is more than 'not provable'.
    """

    address: str
    type: str
    name: str
    id: str
    created: str = ""
    """RFC 3339, as the Cloud API tells it."""
    why: str = ""
    perhaps: bool = False
    """Whether an apply that was cut off may have made it: its name was not known before that."""

    @property
    def sentence(self) -> str:
        """That it is in the way of a plan."""
        if self.why:
            return (
                f"An apply that was cut off made {self.name!r} (id {self.id}) as {self.address},"
                f" and it is not in this stack's state: {self.why}."
            )
        said = (
            f"{self.address} would create {self.name!r}, which exists already (id {self.id}) and is"
            " not in this stack's state."
        )
        return said + " An apply of this stack that was cut off may have made it." * self.perhaps


@dataclass(frozen=True, kw_only=True)
class SavedPlan:
    """A saved plan file and what it is bound to.

    Attributes:
        sealed: The plan file, sealed.
        file_digest: HMAC-SHA-256 of the plan file, hex: is this the sealed plan?
        meaning_digest: HMAC-SHA-256 over variables, changes and configuration: is this
            equivalent? Two plans of the same thing have the same one.
        state_lineage: The state's lineage when it was planned; empty for no state yet.
        state_serial: The state's serial when it was planned; 0 for no state yet.
        terraform_version: The version that wrote it; only that very version can read it.
        tools_digest: SHA-256 over the programs of Terraform and the provider, hex; empty in a plan
            of a time before that was looked at.
    """

    sealed: str
    file_digest: str
    meaning_digest: str
    state_lineage: str
    state_serial: int
    terraform_version: str
    tools_digest: str = ""


@dataclass(frozen=True, kw_only=True)
class PlanResult:
    """Output of `terraform_plan`."""

    has_changes: bool
    plan: SavedPlan
    view: PlanView
    account: str = ""
    existing: list[ExistingObject] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """Addresses whose object the look-up found to be absent before the review."""
    items: dict[str, str] = field(default_factory=dict)
    """Address to what is to happen to it and a keyed digest of how it will look: what an approval
    covers (see `reconcile.py`)."""
    present: list[str] = field(default_factory=list)
    """Addresses that are in the refreshed state."""
    adopted: dict[str, str] = field(default_factory=dict)
    """Address to id: what an earlier apply that was cut off had made, taken into the state now."""
    story: list[str] = field(default_factory=list)
    """What was found out about such an apply, a sentence each."""

    @property
    def question(self) -> str:
        """What is in the way of the plan, a sentence for each object; empty when nothing is."""
        return " ".join(found.sentence for found in self.existing)

    @property
    def remedy(self) -> str:
        """What a person does about it."""
        if any(found.why for found in self.existing):
            return (
                "Remove it, or put back what the configuration had for it; then have the run look"
                " again: `tprov recheck`, or `tprov replan`."
            )
        return f"Choose another name, remove it, or {IMPORT}."


# --- evaluate_policy -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PolicyJob(Job):
    """Input of `evaluate_policy`."""

    plan: SavedPlan


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing a policy has to say about one resource; texts are scrubbed."""

    rule: str
    level: Level
    address: str
    message: str
    remedy: str
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the policies say of a plan.

    Attributes:
        findings: Every finding, the hardest first.
        bundle_digest: SHA-256 over the policy files, hex.
        opa_version: The engine that decided.
        text: OPA's own output for people (`--format pretty`), scrubbed and bounded.
        opa_digest: SHA-256 over its program, hex; empty as `SavedPlan.tools_digest` may be.
    """

    findings: list[Finding]
    bundle_digest: str
    opa_version: str
    text: str = ""
    opa_digest: str = ""

    def at(self, level: Level) -> list[Finding]:
        """The findings of one level."""
        return [f for f in self.findings if f.level == level]


@dataclass(frozen=True)
class Judged:
    """A plan and what the policies said of it."""

    plan: PlanResult
    verdict: Verdict


# --- the decision ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Review:
    """What a human decides on; its digest binds the decision to exactly this."""

    digest: str
    snapshot_digest: str
    file_digest: str
    meaning_digest: str
    state_lineage: str
    state_serial: int
    bundle_digest: str
    terraform_version: str
    summary: str
    findings: list[Finding]
    requested_by: str
    asked_at: str
    expires_at: str
    supersedes: str = ""
    """Digest of the review that this one takes the place of; empty for a first one."""
    differs: list[str] = field(default_factory=list)
    """What is different from the superseded review, a sentence each."""
    tools_digest: str = ""
    opa_digest: str = ""

    @property
    def short(self) -> str:
        """What people read to each other: '7f3a·91c2'."""
        return short_digest(self.digest)


def short_digest(digest: str) -> str:
    """The first eight hex digits in two groups, for people: '7f3a·91c2'."""
    return f"{digest[:4]}·{digest[4:8]}" if digest else ""


def make_review(
    request: RunRequest,
    plan: PlanResult,
    verdict: Verdict,
    *,
    asked_at: str,
    expires_at: str,
    former: Review | None = None,
    differs: list[str] | None = None,
) -> Review:
    """Build the review of a plan and its verdict; pure, so that an audit can repeat it."""
    bound = {
        "snapshot_digest": request.snapshot.digest,
        "file_digest": plan.plan.file_digest,
        "meaning_digest": plan.plan.meaning_digest,
        "state_lineage": plan.plan.state_lineage,
        "state_serial": plan.plan.state_serial,
        "bundle_digest": verdict.bundle_digest,
        "terraform_version": plan.plan.terraform_version,
    }
    # Only where they are known: a review of a time before keeps its digest.
    programs = {"tools_digest": plan.plan.tools_digest, "opa_digest": verdict.opa_digest}
    bound |= {name: digest for name, digest in programs.items() if digest}
    findings = [asdict(f) for f in verdict.findings]
    text = json.dumps({**bound, "findings": findings}, sort_keys=True, separators=(",", ":"))
    return Review(
        digest=hashlib.sha256(text.encode()).hexdigest(),
        summary=plan.view.sentence,
        findings=verdict.findings,
        requested_by=request.requested_by,
        asked_at=asked_at,
        expires_at=expires_at,
        supersedes=former.digest if former else "",
        differs=differs or [],
        **bound,  # type: ignore[arg-type]  # the keys are Review's own, their types checked above
    )


@dataclass(frozen=True, kw_only=True)
class DecisionInput:
    """What a decider sends; every field may be missing, so that a bare reason is understood.

    Attributes:
        reason: Why; an approval needs one.
        reviewer: A claimed name.
        review: Digest of the review decided on, whole or its first eight hex digits or more;
            empty means the current one.
    """

    reason: str = ""
    reviewer: str = ""
    review: str = ""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A decision as it was taken or ignored.

    Attributes:
        verb: ``approve`` or ``deny``, or the name of a signal that is neither.
        outcome: ``approved``, ``denied`` or ``ignored``.
        why: Why it was ignored; empty otherwise.
        via: ``signal`` or ``update``.
        at: RFC 3339, workflow time.
        number: Which of the run's signals, or of its updates, it was, from 1: of many that were
            ignored only the last are kept. 0 where an older version has written it.
    """

    verb: str
    outcome: Literal["approved", "denied", "ignored"]
    reason: str
    reviewer: str
    review: str
    via: Literal["signal", "update"]
    at: str
    why: str = ""
    number: int = 0


# --- terraform_apply, terraform_output -------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ApplyJob(Job):
    """Input of `terraform_apply`: exactly what was reviewed, and what it was bound to."""

    plan: SavedPlan
    bundle_digest: str
    absent: list[str] = field(default_factory=list)
    """Addresses whose object the look-up found to be absent before the review."""
    opa_digest: str = ""


@dataclass(frozen=True, kw_only=True)
class ApplyResult:
    """Output of `terraform_apply`: what Terraform says it did."""

    added: int
    changed: int
    destroyed: int
    imported: int = 0

    def plus(self, more: ApplyResult) -> ApplyResult:
        """This and what was done besides."""
        return ApplyResult(
            added=self.added + more.added,
            changed=self.changed + more.changed,
            destroyed=self.destroyed + more.destroyed,
            imported=self.imported + more.imported,
        )


@dataclass(frozen=True, kw_only=True)
class ApplyProgress:
    """A heartbeat of a plan, an apply or a recovery: Terraform's own progress.

    Attributes:
        done: Resources finished.
        total: Resources the plan acts on.
        current: What Terraform is doing: 'creating temporalcloud_namespace.this (3 s)'.
        pid: Terraform's process id on its worker.
        silent: Seconds since Terraform's last word.
    """

    done: int
    total: int
    current: str
    pid: int = 0
    silent: int = 0


@dataclass(frozen=True, kw_only=True)
class OutputJob(Job):
    """Input of `terraform_output`."""


@dataclass(frozen=True, kw_only=True)
class OutputResult:
    """Output of `terraform_output`: each output as JSON text; sensitive ones read '(sensitive)'."""

    outputs: dict[str, str]


# --- the recovery of an apply whose outcome is unknown ---------------------------------------


@dataclass(frozen=True, kw_only=True)
class RecoverJob(Job):
    """Input of `recover_apply`: the approved plan, and what the look-up knew before its review."""

    plan: SavedPlan
    absent: list[str]
    looked_after: list[str] = field(default_factory=list)
    """Addresses that a person has looked after: what the state lacks of these is made again."""


@dataclass(frozen=True, kw_only=True)
class RecoverResult:
    """What was found after an apply of unknown outcome.

    Attributes:
        finished: The journal proves that Terraform finished this very plan successfully.
        adopt: Address to id: existed, was missing in the state, is ours, and is in it now.
        foreign: Exists, is missing in the state, and cannot be proven ours: a human's question.
        unknowable: Addresses that the apply may have made, and of which the Cloud API cannot be
            asked: a human's question, too.
        story: What was done, a sentence each, for card and audit.
    """

    finished: bool
    adopt: dict[str, str] = field(default_factory=dict)
    foreign: list[ExistingObject] = field(default_factory=list)
    unknowable: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    @property
    def question(self) -> str:
        """What a person has to settle, listing the objects; empty when nothing is open."""
        return " ".join(filter(None, [self._what_exists, self._what_may_exist]))

    @property
    def _what_may_exist(self) -> str:
        if not self.unknowable:
            return ""
        return (
            "An apply that was cut off may have made these, which are not in the state, and which"
            f" cannot be looked up by a name: {', '.join(self.unknowable)}."
        )

    @property
    def _what_exists(self) -> str:
        if not self.foreign:
            return ""
        listed = "; ".join(
            f"{o.address}: {o.type} {o.name!r} (id {o.id}){f', {o.why}' if o.why else ''}"
            for o in self.foreign
        )
        return (
            "After an apply that was cut off these exist, are not in the state, and cannot be"
            f" taken over safely: {listed}."
        )

    @property
    def remedy(self) -> str:
        """What the person does about it."""
        if not self.foreign:
            return (
                f"Look whether they are there; where one is, {IMPORT}. `tprov recheck` then makes"
                " what is not in it."
            )
        return f"Remove each of them, or {IMPORT}; then have the run look again: `tprov recheck`."


# --- the result ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a completed run hands back."""

    status: Status
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    review: str = ""
    decisions: list[Decision] = field(default_factory=list)

"""An audit as Markdown that reads as well where nothing renders it.

Everything that comes from a run is made harmless: it can neither draw headings or links of its own
nor turn the reading direction or write to a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

from tprov_kernel.audit.read import findings_words
from tprov_kernel.audit.record import (
    NOTE,
    Applied,
    Audit,
    Decided,
    Judged,
    Planned,
    Recovered,
    Reviewed,
)
from tprov_kernel.messages import ExistingObject, Finding, PlanView, short_digest
from tprov_kernel.widgets.plan import plan_text
from tprov_kernel.widgets.words import clean, duration, parse_time, stamp

LATE = timedelta(seconds=1)
"""A decision that was taken up later than this says so: nobody worked on the run."""

_CODE = re.compile(r"(`[^`]+`)")
# An entity could stand for a character that `clean` takes out.
_SPECIAL = re.compile(r"[\\*<\[~]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)")


def to_markdown(audit: Audit) -> str:
    """Give an audit as Markdown, for a terminal, a file and a code host."""
    blocks = [
        f"# Audit of stack {_code(audit.stack)}: {_outcome(audit)}",
        _opening(audit),
        NOTE,
        *([_section("Gaps", [_list(map(_text, audit.gaps))])] if audit.gaps else []),
        _section("What happened", [_list(_chronicle(audit))]),
        *(_section(f"Plan {plan.number}", _plan(plan, audit)) for plan in audit.plans),
        *(_section(_review_title(item), [_list(_review(item))]) for item in audit.reviews),
    ]
    if audit.decisions:
        blocks.append(_section("Decisions", [_list(map(_decision, audit.decisions))]))
    if audit.applies:
        blocks.append(_section("Applies", [_list(map(_apply, audit.applies))]))
    if audit.recoveries:
        blocks.append(_section("Recovery", [_list(_recoveries(audit.recoveries))]))
    if audit.outputs:
        outputs = (f"{_code(name)} = {_code(value)}" for name, value in audit.outputs.items())
        blocks.append(_section("Outputs", [_list(outputs)]))
    return "\n\n".join(blocks) + "\n"


# --- the head --------------------------------------------------------------------------------


def _outcome(audit: Audit) -> str:
    status = _text(audit.status.replace("_", " "))
    if audit.ended is None:
        return f"{status}, not over yet"
    known = audit.ended.state in ("COMPLETED", "FAILED", "CANCELED")
    return status if known else f"{audit.ended.state.lower().replace('_', ' ')} while {status}"


def _opening(audit: Audit) -> str:
    lines = []
    if (asked := audit.asked) is not None:
        lines += [
            f"asked for by {_person(asked.by)} on {stamp(asked.at)}, from {_code(asked.sender)}",
            f"{_text(asked.action)} {_code(asked.directory)}, snapshot {_digest(asked.snapshot)}"
            f" ({asked.files} files)",
            f"an approval may wait {duration(asked.patience)}",
        ]
    if (ended := audit.ended) is not None:
        lines.append(f"ended on {stamp(ended.at)}: {_text(ended.sentence(audit.status))}")
    if ended is not None and ended.remedy:
        lines.append(f"remedy: {_text(ended.remedy)}")
    runs = ", continued as ".join(map(_code, audit.run_ids))
    return _list([*lines, f"workflow {_code(audit.workflow_id)}, run {runs}"])


def _chronicle(audit: Audit) -> Iterator[str]:
    for happening in audit.chronicle:
        yield f"{stamp(happening.at)}: {_text(happening.words)}"


# --- plans and verdicts ----------------------------------------------------------------------


def _plan(plan: Planned, audit: Audit) -> Iterator[str]:
    state = f"state serial {plan.state_serial}, lineage {_code(plan.state_lineage)}"
    account = f", account {_code(plan.account)}" if plan.account else ""
    by = f"{_text(plan.why)}, by Terraform {_text(plan.terraform_version)}"
    lines = [
        f"made on {stamp(plan.at)}, {by} on {_code(plan.worker)}{account}",
        f"of snapshot {_digest(plan.snapshot)}, from {state if plan.state_lineage else 'no state'}",
        f"file {_digest(plan.file_digest)}, meaning {_digest(plan.meaning_digest)}",
    ]
    if plan.attempts > 1:
        lines.append(f"at attempt {plan.attempts}; the one before: {_text(plan.former_failure)}")
    lines += map(_existed, plan.existing)
    yield _list(lines)
    yield _fenced(plan_text(_flat(plan.view)))
    for judged in audit.judgements:
        if judged.plan == plan.number:
            yield from _judged(judged)


def _flat(view: PlanView) -> PlanView:
    """A title is the one text of a plan that may hold a line break: it could pose as a heading."""
    changes = [replace(change, title=" ".join(change.title.split())) for change in view.changes]
    return replace(view, changes=changes)


def _existed(found: ExistingObject) -> str:
    named = f"{_text(found.type)} {_code(found.name)} ({_code(found.id)})"
    return f"{_code(found.address)} would have created {named}, which existed already"


def _judged(judged: Judged) -> Iterator[str]:
    if judged.failure:
        yield f"The policies could not judge it on {stamp(judged.at)}: {_text(judged.failure)}"
        return
    bundle = f"policy bundle {_digest(judged.bundle_digest)}, OPA {_text(judged.opa_version)}"
    yield f"Policies, {stamp(judged.at)}: {findings_words(judged.findings)}; {bundle}"
    if judged.findings:
        yield _list(map(_finding, judged.findings))


def _finding(found: Finding) -> str:
    where = f" {_code(found.address)}" if found.address not in found.message else ""
    remedy = f" Remedy: {_text(found.remedy)}" if found.remedy else ""
    return f"{found.level} {_code(found.rule)}{where}: {_text(found.message)}{remedy}"


# --- reviews and decisions -------------------------------------------------------------------


def _review_title(item: Reviewed) -> str:
    return f"Review {_code(item.review.short)}: {item.became}"


def _review(item: Reviewed) -> Iterator[str]:
    review = item.review
    yield f"asked on {stamp(item.at)}, for {_person(review.requested_by)}, about plan {item.plan}"
    expires = parse_time(review.expires_at)
    yield f"{_text(review.summary)}; it was to expire on {stamp(expires) if expires else '?'}"
    yield f"its digest is {_code(review.digest)}{_proof(item.matches)}, and binds"
    yield f"  plan file {_code(review.file_digest)}"
    yield f"  meaning {_code(review.meaning_digest)}"
    yield f"  snapshot {_code(review.snapshot_digest)}"
    yield f"  policy bundle {_code(review.bundle_digest)}"
    state = f"{_code(review.state_lineage or 'none')}, serial {review.state_serial}"
    yield f"  state {state}; Terraform {_text(review.terraform_version)}"
    if review.tools_digest:
        yield f"  programs of Terraform and the provider {_code(review.tools_digest)}"
    if review.opa_digest:
        yield f"  program of OPA {_code(review.opa_digest)}"
    yield f"  {findings_words(review.findings)}"
    if review.supersedes:
        yield f"in place of review {_digest(review.supersedes)}, from which differs"
        yield from (f"  {_text(words)}" for words in review.differs or ["nothing that is shown"])
    elif review.differs:
        yield "asked because"
        yield from (f"  {_text(words)}" for words in review.differs)


def _proof(matches: bool | None) -> str:
    if matches is None:
        return " (plan or verdict are not in this history)"
    said = "as computed anew from plan and verdict"
    return f" ({said})" if matches else f" (**NOT {said}: do not trust it**)"


def _decision(decided: Decided) -> str:
    line = f"{stamp(decided.at)}: **{decided.outcome}**"
    if decided.outcome not in ("approved", "denied"):
        line += f" {_code(decided.verb)}"
    line += f", review {_digest(decided.review)}" if decided.review else ""
    line += f", by {_person(decided.reviewer)}" if decided.reviewer else ""
    line += f", by {decided.via}"
    line += f" from {_code(decided.sender)}" if decided.sender else ""
    if decided.taken and decided.taken - decided.at > LATE:
        line += f", taken up on {stamp(decided.taken)}"
    line += f"; reason: {_text(decided.reason)}" if decided.reason else "; no reason given"
    return f"{line}; why: {_text(decided.why)}" if decided.why else line


# --- applies and recovery --------------------------------------------------------------------


def _apply(apply: Applied) -> str:
    began = f"{stamp(apply.began)}: " if apply.began else ""
    ended = f" until {stamp(apply.ended)}" if apply.ended else ""
    line = f"{began}plan {apply.plan} ({_digest(apply.file_digest)}){ended}: **{apply.outcome}**"
    said = apply.summary if apply.outcome == "applied" else apply.failure
    worker = f", on {_code(apply.worker)}" if apply.worker else ""
    return f"{line}{worker}; {_text(said)}" if said else f"{line}{worker}"


def _recoveries(items: Iterable[Recovered]) -> Iterator[str]:
    for item in items:
        known = "Terraform had finished" if item.finished else "Terraform had not finished"
        yield f"{stamp(item.at)}, on {_code(item.worker)}: {known}"
        yield from (f"  {_text(words)}" for words in item.story)
        for address, id_ in item.adopted.items():
            yield f"  taken over as ours: {_code(address)} ({_code(id_)})"
        for found in item.foreign:
            named = f"{_text(found.type)} {_code(found.name)} ({_code(found.id)})"
            yield (
                f"  left to a person: {named}, {_text(found.why)}"
                if found.why
                else (f"  not proven ours: {named}")
            )


# --- Markdown --------------------------------------------------------------------------------


def _section(title: str, blocks: Iterable[str]) -> str:
    return "\n\n".join([f"## {title}", *blocks])


def _list(items: Iterable[str]) -> str:
    """A list; an item that begins with two blanks is one of the item above."""
    lines = [f"  - {item[2:]}" if item.startswith("  ") else f"- {item}" for item in items]
    return "\n".join(lines)


def _text(text: str) -> str:
    """A sentence that stays one: what stands in backticks is code, nothing else is markup."""
    parts = _CODE.split(" ".join(clean(text).split()))
    return "".join(p if _CODE.fullmatch(p) else _escaped(p) for p in parts)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text).replace("`", r"\`")


def _code(text: str) -> str:
    """Foreign text as it is, on one line; nothing in it is markup."""
    flat = " ".join(clean(text).split())
    if not flat:
        return "(nothing)"
    ticks = "`" * (_longest_run(flat) + 1)
    room = " " if "`" in (flat[0], flat[-1]) else ""
    return f"{ticks}{room}{flat}{room}{ticks}"


def _fenced(text: str) -> str:
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}diff\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def _person(name: str) -> str:
    return f"{_code(name)} (claimed)"


def _digest(digest: str) -> str:
    return _code(short_digest(digest))

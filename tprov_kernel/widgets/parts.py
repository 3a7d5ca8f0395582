"""The fragments a run is shown by: what the live card and the stored snapshot have in common.

Each takes the run (or a part of it) and an ink (`style.py`) and gives HTML; an empty string means
that there is nothing to show. Everything that comes from a run is escaped here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import PurePath

from tprov_kernel.decisions import left_out
from tprov_kernel.messages import (
    DEFAULT_TASK_QUEUE,
    Decision,
    Finding,
    Review,
    Status,
    Verdict,
    short_digest,
)
from tprov_kernel.observe import Contact, Repair, RunView, StepName, StepView
from tprov_kernel.widgets.style import Ink, live
from tprov_kernel.widgets.words import (
    LEVEL_TONE,
    TONE_ICON,
    Tone,
    between,
    clock,
    default_doing,
    duration,
    esc,
    findings_words,
    needs_worker,
    next_in,
    parse_time,
    prose,
    sentence,
    status_tone,
    status_words,
    step_title,
    waits_for_worker,
)

QUIET = 15.0
"""Seconds without a word from a running step after which the foot turns into a warning."""


NEAR = 3600.0
"""Seconds before a review expires from which on that is said loudly, to the second."""


def name_of(view: RunView) -> str:
    """What a person calls the run: its configuration's directory, else its stack."""
    return PurePath(view.directory).name or view.stack


def head(view: RunView, now: datetime, ink: Ink) -> str:
    """Name, workflow id, elapsed time, percent."""
    end = (view.ended or now) if view.closed else now
    elapsed = duration(between(view.started, end), to_the_second=True)
    verb = "destroy " if view.action == "destroy" else ""
    return (
        f"<span{ink('name')}>{verb}{esc(name_of(view))}</span> &ensp;"
        f"<span{ink('code')}><span{ink('muted')}>{esc(view.workflow_id)}</span></span> &ensp;"
        f"<span{ink('muted nowrap')}>{elapsed} &ensp;{view.progress} %</span>"
    )


def chip(view: RunView, ink: Ink) -> str:
    """The status in words, with an icon."""
    tone = status_tone(view)
    known = "" if view.contact.in_touch or view.closed else " (last known)"
    unsaid = ' aria-hidden="true"' if ink is live else ""
    icon = f"<span{unsaid}>{TONE_ICON[tone]}</span> "
    return f"<span{ink(f'chip {tone}-chip')}>{icon}{esc(status_words(view))}{known}</span>"


def banner(tone: Tone, html: str, ink: Ink) -> str:
    """A box that says something once, in its tone."""
    return f"<div{ink(f'banner {tone}-box')}>{html}</div>"


def banners(view: RunView, now: datetime, ink: Ink, *, own_queue: str = "") -> str:
    """What went wrong or needs to be known, each with its remedy.

    Args:
        view: The run.
        now: The moment.
        ink: How it is drawn.
        own_queue: The task queue that this kernel's worker polls, when it runs.
    """
    shown = [_failure(view, ink), _task_failure(view, ink), _unreadable(view, ink)]
    shown += [_out_of_touch(view, now, ink), _nobody_polls(view, ink, own_queue), _story(view, ink)]
    return "".join(shown)


def _failure(view: RunView, ink: Ink) -> str:
    if not view.failure:
        return ""
    remedy = f"<div>{prose(view.remedy, ink('code'))}</div>" if view.remedy else ""
    return banner("bad", f"<b{ink('bad')}>{prose(view.failure)}</b>{remedy}", ink)


def _task_failure(view: RunView, ink: Ink) -> str:
    if not view.task_failure or view.closed or view.unreadable:
        return ""
    lead = f"<b{ink('bad')}>The workflow's own code fails:</b> {esc(view.task_failure)}"
    rest = "Temporal keeps trying and loses nothing. Correct the code and restart the worker."
    return banner("bad", f"{lead}<div>{rest}</div>", ink)


def _unreadable(view: RunView, ink: Ink) -> str:
    if not view.unreadable:
        return ""
    lead = f"<b{ink('ask')}>Not everything can be read.</b>"
    rest = "" if view.closed else " The run loses nothing, and goes on when the key is back."
    return banner("ask", f"{lead} {esc(view.unreadable)}{rest}", ink)


def _out_of_touch(view: RunView, now: datetime, ink: Ink) -> str:
    if view.contact.in_touch or view.closed:
        return ""
    since = view.contact.since
    when = f" since {clock(since)} ({duration(between(since, now))})" if since else ""
    lead = f"<b{ink('ask')}>Out of touch with the Temporal server{when}.</b>"
    rest = "The run itself lives there and loses nothing; what you see is the last that was known."
    return banner("ask", f"{lead} {rest}", ink)


def _nobody_polls(view: RunView, ink: Ink, own_queue: str) -> str:
    if not needs_worker(view):
        return ""
    queue = view.contact.task_queue
    option = "" if queue in ("", DEFAULT_TASK_QUEUE) else f" --task-queue {queue}"
    typed = "lab.restart_worker()" if queue and queue == own_queue else f"tprov worker{option}"
    command = f"<span{ink('code')}>{esc(typed)}</span>"
    lead = f"Nobody polls the task queue <span{ink('code')}>{esc(queue)}</span>."
    if view.status is Status.AWAITING_APPROVAL:
        rest = f"A person can take their time; to go on, the run needs a worker: {command}"
        return banner("quiet", f"{lead} {rest}", ink)
    rest = f"The run waits and loses nothing. Start a worker: {command}"
    return banner("ask", f"<b{ink('ask')}>{lead}</b> {rest}", ink)


def _story(view: RunView, ink: Ink) -> str:
    if not view.story:
        return ""
    told = "".join(f"<li>{prose(sentence, ink('code'))}</li>" for sentence in view.story)
    return banner("busy", f"<b{ink('busy')}>Recovery</b><ol>{told}</ol>", ink)


def doing(view: RunView, now: datetime, ink: Ink) -> str:
    """What it is doing at this moment: Terraform's own progress, or the error it will retry."""
    lines = [line for step in view.steps if (line := _doing(step, view, now, ink))]
    return "".join(f"<div{ink('gap')}>{line}</div>" for line in lines) if not view.closed else ""


def _doing(step: StepView, view: RunView, now: datetime, ink: Ink) -> str:
    title = f"<b>{step_title(step, view)}</b>"
    if step.state == "retrying":
        failed = f"<b{ink('bad')}>attempt {step.attempts} failed:</b> {esc(sentence(step.failure))}"
        failed += f" {prose(step.remedy, ink('code'))}" if step.remedy else ""
        return f"{title}: {failed} <b>Attempt {step.attempts + 1} {next_in(step, now)}.</b>"
    if step.state == "failed" and step.name == "apply" and view.repair is None:
        unknown = "How far it got is not known yet; nothing is repeated blindly."
        return f"{title}: {esc(sentence(step.failure))} {unknown}"
    if step.state != "running" or waits_for_worker(step, view):
        return ""
    words = f"{title}: {esc(step.doing or default_doing(step, view))}"
    if needs_worker(view):
        words = f"{title}, as it was last told: {esc(step.doing or default_doing(step, view))}"
    if step.failure:
        earlier = f"the attempt before failed: {esc(step.failure)}"
        words += f" <span{ink('muted')}>({earlier})</span>"
    return words


# --- the decision ----------------------------------------------------------------------------


def is_asking(view: RunView) -> bool:
    """Whether somebody has to decide at this moment."""
    waiting = view.status is Status.AWAITING_APPROVAL and not view.closed
    return waiting and view.review is not None


def plans_from(view: RunView, snapshot: str) -> bool:
    """Whether this snapshot is what the run, where it asks, asks about."""
    return not is_asking(view) or view.review is None or view.review.snapshot_digest == snapshot


def keeps_failing(view: RunView) -> StepView | None:
    """The step whose next attempt is worth a button: its waits are longer than a click takes."""
    for step in view.steps:
        failed = step.attempts - (step.state == "running")
        if step.state in ("retrying", "running") and step.failure and failed >= 3:
            return step if not view.closed else None
    return None


LONG_APPLY = 5.0
"""Seconds of an apply after which the card offers to interrupt it."""


def may_be_interrupted(view: RunView, now: datetime) -> bool:
    """Whether Terraform has been at work long enough for a person to think of stopping it.

    With no worker there is nobody who could be told to, and it may be as dead as the worker.
    """
    step = view.step("apply")
    left = view.status is Status.RECOVERING and bool(step.doing)  # recovery waits for it to end
    works = step.state == "running" and (
        left or view.status in (Status.APPLYING, Status.DESTROYING)
    )
    works = works and not needs_worker(view)
    return works and not view.closed and between(step.started, now) > LONG_APPLY


def again_text(view: RunView, moved: str, now: datetime, ink: Ink) -> str:
    """What has to be mended, and what moved on since it was planned; with what can be done."""
    said = _to_mend(view.repair, view.status, now, ink) if view.repair else ""
    if keeps_failing(view) is not None:
        said += "<div>Temporal goes on trying by itself. Once it is mended you need not wait.</div>"
    if may_be_interrupted(view, now):
        said += (
            "<div>Terraform is at work. Interrupted, it saves its state; what it had made is taken"
            " over, and you are asked whether the rest is to be done.</div>"
        )
    if moved:
        said += f"<div{ink('gap')}><b{ink('busy')}>↻</b> {prose(moved, ink('code'))}</div>"
    return said


_TO_MEND: dict[StepName, str] = {
    "plan": "The plan could not be made; somebody has to mend that.",
    "policy": "The plan could not be judged; somebody has to mend that.",
    "apply": "Somebody has to settle what the apply has left behind.",
}
_CANNOT_BEGIN = "The apply cannot begin; somebody has to mend that. What was decided stands."


def _to_mend(repair: Repair, status: Status, now: datetime, ink: Ink) -> str:
    remedy = f"<div{ink('gap')}>{prose(repair.remedy, ink('code'))}</div>" if repair.remedy else ""
    left = duration(between(now, repair.until))
    lead = _TO_MEND.get(repair.step, "Somebody has to mend something.")
    lead = _CANNOT_BEGIN if status in (Status.APPLYING, Status.DESTROYING) else lead
    return (
        f"<div{ink('title gap')}>{lead}</div>"
        f"<pre{ink('pre wrap bad gap')}>{esc(repair.failure)}</pre>{remedy}"
        f"<div{ink('muted small')}>The run waits for that, {left} are left.</div>"
    )


def review_text(view: RunView, now: datetime, ink: Ink) -> str:
    """What a person decides on: why, the remedy, what it binds to, until when."""
    review = view.review
    if review is None:
        return ""
    lead = f"Someone has to decide on review <span{ink('aloud')}>{esc(review.short)}</span>"
    findings = "".join(f"<div{ink('gap')}>{finding(f, ink)}</div>" for f in review.findings)
    expiry, near = _expiry(review, now)
    if near:
        lead += f" <span{ink('ask nowrap')}>&ensp;⚠ {expiry}</span>"
    told = [*_bound(review), *([] if near else [expiry])]
    bound = f"<div{ink('muted small')}>{esc(' · '.join(told))}</div>"
    return f"<div{ink('title gap')}>{lead}</div>{_differs(review, ink)}{findings}{bound}"


def _differs(review: Review, ink: Ink) -> str:
    """What is not as in the review before: whoever read that one need not read all again."""
    if not review.supersedes:
        return "".join(f"<div{ink('gap')}>{prose(w, ink('code'))}</div>" for w in review.differs)
    former = f"<span{ink('code')}>{esc(short_digest(review.supersedes))}</span>"
    if not review.differs:
        said = f"Supersedes review {former}; nothing that is shown differs."
        return f"<div{ink('ask gap')}>{said}</div>"
    items = "".join(f"<li>{_difference(words, ink)}</li>" for words in review.differs)
    lead = f"<b{ink('ask')}>Supersedes review {former}; what differs:</b>"
    return f"<div{ink('gap')}>{lead}<ul>{items}</ul></div>"


def _difference(words: str, ink: Ink) -> str:
    address, colon, what = words.partition(": ")
    return (
        f"<span{ink('code')}>{esc(address)}</span>{colon}<b>{esc(what)}</b>"
        if colon
        else esc(words)
    )


def finding(found: Finding, ink: Ink) -> str:
    """One finding in two lines: level, address, message; the remedy."""
    level = f"<b{ink(LEVEL_TONE[found.level])}>{esc(found.level)}</b>"
    unsaid = found.address and found.address not in found.message
    where = f" · <span{ink('code')}>{esc(found.address)}</span>" if unsaid else ""
    remedy = f"<br>Remedy: {prose(found.remedy, ink('code'))}" if found.remedy else ""
    return f"{level}{where} · {prose(found.message, ink('code'))}{remedy}"


def _bound(review: Review) -> list[str]:
    return [
        review.summary,
        f"state serial {review.state_serial}",
        f"policy bundle {short_digest(review.bundle_digest)}",
        f"Terraform {review.terraform_version}",
        f"asked by {review.requested_by}",
    ]


def _expiry(review: Review, now: datetime) -> tuple[str, bool]:
    """Until when it can be decided, and whether that is near."""
    until = parse_time(review.expires_at)
    if until is None:
        return f"until {review.expires_at}", False
    left = between(now, until)
    return f"expires in {duration(left)}" if left else "expires now", left < NEAR


def decisions(items: Sequence[Decision], ink: Ink, *, most: int = 0) -> str:
    """Each decision in one line: who, when, why; the last ``most`` of them, and how many more.

    Of many ignored ones a run itself keeps the last only: the rest is counted here as well.
    """
    shown = items[-most:] if most else items
    gone = left_out(items)
    left = len(items) - len(shown) + gone
    rest = f"… and {left:,} more before that{'; `tprov audit` tells of each' * (gone > 0)}"
    more = f"<div{ink('muted small')}>{prose(rest, ink('code'))}</div>" if left else ""
    return more + "".join(f"<div>{_decision(item, ink)}</div>" for item in shown)


def _decision(item: Decision, ink: Ink) -> str:
    at = parse_time(item.at)
    when = f" at {clock(at)}" if at else ""
    reason = f": “{esc(item.reason)}”" if item.reason else ""
    who = f" by {esc(item.reviewer)}" if item.reviewer else ""
    if item.outcome == "ignored":
        lead = f"<b{ink('ask')}>⚠ ignored:</b> {esc(item.verb)}{who}{when}{reason}"
        return f"{lead} <span{ink('muted')}>· by {item.via} · because {esc(item.why)}</span>"
    tone, icon = ("ok", "✓") if item.outcome == "approved" else ("bad", "✕")
    lead = f"<b{ink(tone)}>{icon} {item.outcome}</b>{who}{when}{reason}"
    return f"{lead} <span{ink('muted')}>· by {item.via}</span>"


# --- policy, outputs, foot -------------------------------------------------------------------


def policy(verdict: Verdict | None, ink: Ink, *, unfold: bool = False) -> str:
    """The findings as a table, then OPA's own words, folded away unless asked for."""
    if verdict is None:
        return f"<div{ink('muted')}>No policy has judged yet.</div>"
    bundle = short_digest(verdict.bundle_digest)
    said = f"<b>{findings_words(verdict)}</b>"
    aside = f"OPA {esc(verdict.opa_version)} · policy bundle {esc(bundle)}"
    lead = f"<div{ink('gap')}>{said} <span{ink('muted small')}>&ensp;{aside}</span></div>"
    table = _findings(verdict.findings, ink) if verdict.findings else ""
    text = ""
    if verdict.text:
        lead_in = f"<summary{ink('muted small')}>In OPA's own words</summary>"
        state = " open" if unfold else ""
        text = f"<details{state}>{lead_in}<pre{ink('pre')}>{esc(verdict.text)}</pre></details>"
    return lead + table + text


def _findings(found: Iterable[Finding], ink: Ink) -> str:
    level, remedy = f"<th{ink('th')}>Level</th>", f"<th{ink('th')}>Remedy</th>"
    heads = f"{level}<th{ink('th half')}>Finding</th>{remedy}"
    rows = "".join(
        f"<tr><td{ink('td nowrap')}><b{ink(LEVEL_TONE[f.level])}>{esc(f.level)}</b></td>"
        f"<td{ink('td')}><span{ink('code')}>{esc(f.address)}</span><br>"
        f"{prose(f.message, ink('code'))}"
        f"<div{ink('muted small')}>{esc(f.title or f.rule)}</div></td>"
        f"<td{ink('td')}>{prose(f.remedy, ink('code'))}</td></tr>"
        for f in found
    )
    return f"<table{ink('table gap')}><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def outputs(values: Mapping[str, str], ink: Ink) -> str:
    """Outputs as a table; a JSON string is shown without its quotes."""
    if not values:
        return ""
    rows = "".join(
        f"<tr><td{ink('td nowrap muted fifth')}>{esc(name)}</td>"
        f"<td{ink('td code wrap')}>{esc(_plain(text))}</td></tr>"
        for name, text in values.items()
    )
    return f"<div{ink('title')}>Outputs</div><table{ink('table')}><tbody>{rows}</tbody></table>"


def _plain(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text


def heard(view: RunView, now: datetime, own_worker: str, ink: Ink) -> str:
    """Who works on the run and when the server was last heard of; a warning when that stops."""
    contact = view.contact
    who = "in this kernel" if contact.worker and contact.worker == own_worker else contact.worker
    worker = f"worker: {esc(who or 'none yet')}"
    if needs_worker(view):
        worker = f"no worker, the last was {esc(who)}" if who else "no worker"
    if view.closed:
        return f"<span{ink('muted')}>{worker} · run closed · {view.history_length} events</span>"
    age = between(contact.last_heard, now)
    # The server's answer, and no sign of life of a worker: that one is its heartbeat's matter.
    last = f"server heard {duration(age)} ago" if contact.last_heard else "nothing heard yet"
    stands = needs_worker(view) and view.status is not Status.AWAITING_APPROVAL
    tone = "ask" if stands or _is_silent(contact, view, age) else "muted"
    sign = "⚠ " if tone == "ask" else ""
    return f"<span{ink(tone)}>{sign}{worker} · {last}</span>"


def _is_silent(contact: Contact, view: RunView, age: float) -> bool:
    return not contact.in_touch or (age > QUIET and any(s.state == "running" for s in view.steps))

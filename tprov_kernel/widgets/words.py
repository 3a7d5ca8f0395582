"""Words for people: durations, clocks, statuses and steps; and what makes foreign text harmless.

Pure functions, shared by the live card, the stored snapshot, the timeline and the panel, so that
all of them say the same.
"""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from typing import Literal

from tprov_kernel.messages import Level, Status, Verdict
from tprov_kernel.observe import RunView, StepName, StepState, StepView
from tprov_kernel.texts import plain

Tone = Literal["ok", "ask", "bad", "busy", "quiet"]

# Characters that turn the reading direction: they could make a plan read as another one.
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """Take terminal sequences and control characters out of foreign text; show direction marks."""
    return _BIDI.sub(lambda mark: f"\\u{ord(mark.group()):04x}", plain(text))


def esc(text: str) -> str:
    """Make text from a run harmless in HTML, in attributes and in XML."""
    return html.escape(clean(text), quote=True)


def prose(text: str, code: str = "") -> str:
    """The same for a sentence; what stands in backticks gets these attributes."""
    return re.sub(r"`([^`\n]+)`", rf"<span{code}>\1</span>", esc(text))


def sentence(text: str) -> str:
    """A foreign text with a full stop, so that another sentence may follow."""
    return text if text.rstrip().endswith((".", "!", "?")) else f"{text.rstrip()}."


def link_target(url: str) -> str:
    """An address as an attribute's value; '#' for anything that is not http, https or relative."""
    # Browsers skip white space and control characters, even inside a scheme.
    address = re.sub(r"[\x00-\x20\x7f-\x9f]", "", url)
    scheme, colon, _ = re.split(r"[/?#]", address, maxsplit=1)[0].partition(":")
    return esc(address) if not colon or scheme.lower() in {"http", "https"} else "#"


# --- time ------------------------------------------------------------------------------------


def duration(seconds: float, *, to_the_second: bool = False) -> str:
    """'0.2 s', '12 s', '1 min 12 s', '71 h 58 min'; never negative.

    Args:
        seconds: How long.
        to_the_second: Seconds also beyond an hour, where people must see that time passes.
    """
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    rest = f" {whole % 60} s" if to_the_second else ""
    return f"{whole // 3600} h {whole % 3600 // 60} min{rest}"


def between(start: datetime | None, end: datetime | None) -> float:
    """Seconds from `start` to `end`; 0 where one is unknown, never negative."""
    return max(0.0, (end - start).total_seconds()) if start and end else 0.0


def clock(moment: datetime) -> str:
    """The time of day where the reader is: '10:41'."""
    return f"{moment.astimezone():%H:%M}"


def stamp(moment: datetime) -> str:
    """A moment that still means something next year: '2025-11-24 10:41:07 UTC'."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def parse_time(text: str) -> datetime | None:
    """Read RFC 3339; None for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# --- statuses and steps ----------------------------------------------------------------------

_GOOD = {Status.APPLIED, Status.DESTROYED, Status.NO_CHANGES}
_BAD = {Status.POLICY_HARD_FAILED, Status.FAILED}
_HELD = {Status.AWAITING_APPROVAL, Status.OUTCOME_UNKNOWN}

TONE_ICON: dict[Tone, str] = {"ok": "✓", "ask": "?", "bad": "✕", "busy": "●", "quiet": "–"}


def status_words(view: RunView) -> str:
    """The run's status; Temporal's own word where the execution ended without one of ours."""
    if view.closed and not view.status.is_final and view.close_state:
        return view.close_state.lower().replace("_", " ")
    return f"{view.status.words}, stopped" if view.repair else view.status.words


def status_tone(view: RunView) -> Tone:
    """Which of the five tones a status has; each tone has an icon, so colour is never alone."""
    if view.status in _GOOD:
        return "ok"
    if view.close_state == "CONTINUED_AS_NEW":  # it goes on, as another execution
        return "quiet"
    if view.status in _BAD or (view.closed and not view.status.is_final):
        return "bad"
    if view.status in _HELD or view.repair:
        return "ask"
    return "quiet" if view.status.is_final or view.closed else "busy"


LEVEL_TONE: dict[Level, Tone] = {
    "advisory": "busy",
    "soft-mandatory": "ask",
    "hard-mandatory": "bad",
}

STEP_TONE: dict[StepState, Tone] = {
    "waiting": "quiet",
    "running": "busy",
    "retrying": "bad",
    "asking": "ask",
    "done": "ok",
    "failed": "bad",
    "skipped": "quiet",
}
STEP_ICON: dict[StepState, str] = {
    "waiting": "",
    "running": "●",
    "retrying": "↻",
    "asking": "?",
    "done": "✓",
    "failed": "✕",
    "skipped": "–",
}

DEFAULT_DOING: dict[StepName, str] = {
    "init": "Terraform gets its providers ready",
    "plan": "Terraform compares the configuration with what exists",
    "policy": "Open Policy Agent judges the plan",
    "approval": "a person has to decide",
    "apply": "Terraform applies the saved plan",
    "output": "Terraform reads the outputs",
}


def default_doing(step: StepView, view: RunView) -> str:
    """What a step does, when it has not told more."""
    if step.name == "apply" and view.status is Status.RECOVERING:
        return "how the last attempt ended is being found out; nothing is repeated blindly"
    return DEFAULT_DOING[step.name]


def step_title(step: StepView, view: RunView) -> str:
    """A step's name for people."""
    if step.name == "apply" and view.action == "destroy":
        return "Destroy"
    return step.name.capitalize()


def step_note(step: StepView, view: RunView, now: datetime) -> str:
    """A few words below a step's name: how long, which attempt, what came of it."""
    took = duration(between(step.started, step.ended or now))
    attempts = f"{step.attempts} attempts" if step.attempts > 1 else ""
    words: list[str] = []
    if step.state == "waiting":
        words = ["no worker"] if step.scheduled_without_worker else [_outlook(step, view)]
    elif step.state == "running":
        attempt = f"attempt {step.attempts}" if step.attempts > 1 else ""
        begun = _worked(step, now) or (took if step.attempts else "about to start")
        words = ["no worker" if waits_for_worker(step, view) else begun, attempt]
    elif step.state == "retrying":
        words = [f"attempt {step.attempts + 1} {next_in(step, now)}"]
    elif step.state == "asking":
        words = [f"asks since {clock(step.started)}" if step.started else "asks"]
    elif step.state == "done":
        words = [_worked(step, now) or (took if step.started else ""), step.note, attempts]
    elif step.state == "failed" and step.name == "approval":
        words = [step.note or "failed"]
    elif step.state == "failed":
        words = ["failed", attempts, step.note]
    elif step.state == "skipped":
        words = [step.note or ("not done" if is_left_undone(step, view) else "not needed")]
    return " · ".join(w for w in words if w)


def is_left_undone(step: StepView, view: RunView) -> bool:
    """Whether a step was skipped because the run ended before it: denied, expired, failed."""
    ended_early = view.closed and view.status not in _GOOD
    needed = step.name != "approval" or view.close_state != "COMPLETED"
    return step.state == "skipped" and needed and ended_early


def _worked(step: StepView, now: datetime) -> str:
    """How long a step's attempts took, from the first one's begin: a pause before is none of it.

    A step that was done once more, or after a wait for a person, took what it took that time.
    """
    spans = step.spans
    if not spans:
        return ""
    again = [n for n, span in enumerate(spans[:-1], 1) if span.kind in ("ok", "human")]
    begin = spans[again[-1]] if again and step.name != "apply" else spans[0]
    return duration(between(begin.start, spans[-1].end or step.ended or now))


def next_in(step: StepView, now: datetime) -> str:
    """'in 4 s', or 'now' when Temporal's wait is over."""
    left = between(now, step.next_attempt)
    return f"in {max(1, round(left))} s" if left > 0.5 else "now"


def _outlook(step: StepView, view: RunView) -> str:
    if step.name == "apply" and view.plan is not None and not view.closed:
        counts = (("import", view.plan.imports), ("add", view.plan.add))
        more = (("change", view.plan.change), ("destroy", view.plan.destroy))
        return ", ".join(f"{n} to {word}" for word, n in (*counts, *more) if n)
    return ""


def findings_words(verdict: Verdict) -> str:
    """'no finding', '1 finding', '2 findings'."""
    count = len(verdict.findings)
    return "no finding" if not count else f"{count} finding" + ("s" if count > 1 else "")


def needs_worker(view: RunView) -> bool:
    """Whether the run waits because nobody polls its task queue, as far as we were told."""
    if view.closed:
        return False
    return view.contact.pollers == 0 or any(s.scheduled_without_worker for s in view.steps)


def waits_for_worker(step: StepView, view: RunView) -> bool:
    """Whether a step that is on does not go on because nobody polls: no attempt is under way."""
    under_way = bool(step.spans) and step.spans[-1].kind == "running"
    stands = step.state == "running" and needs_worker(view) and not under_way
    return step.scheduled_without_worker or stands

"""A run as a terminal shows it; the same words as on the card.

Pure: a `RunView` and the time in, something for rich to print out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tprov_kernel.messages import Decision, Status, Verdict, short_digest
from tprov_kernel.observe import Listing, Repair, RunRow, RunView, StepView, Tally
from tprov_kernel.widgets import words
from tprov_kernel.widgets.table import counts_words, told
from tprov_kernel.widgets.words import Tone, clean

STYLE: dict[Tone, str] = {
    "ok": "green",
    "ask": "yellow",
    "bad": "red",
    "busy": "cyan",
    "quiet": "dim",
}
BAR = 60
"""Columns of the bar that shows how many runs have which status."""

GOOD = frozenset({Status.APPLIED, Status.DESTROYED, Status.NO_CHANGES})


def came_well(view: RunView) -> bool:
    """Whether a run ended as its requester wanted."""
    return view.closed and view.close_state == "COMPLETED" and view.status in GOOD


# --- one run ---------------------------------------------------------------------------------


def run(view: RunView, *, now: datetime, detail: bool = False) -> RenderableType:
    """Draw a run: head, steps, what hinders it, what it needs; `detail` adds plan and decisions."""
    parts: list[RenderableType] = [_head(view), _about(view), "", _steps(view, now)]
    trouble = [Padding(line, (0, 0, 0, 2)) for line in _trouble(view)]
    if trouble:
        parts += ["", *trouble]
    if detail:
        parts += _details(view)
    if view.status == Status.AWAITING_APPROVAL and not view.closed:
        parts += ["", *_question(view)]
    return Group(*parts)


def ending(view: RunView) -> RenderableType:
    """Say how a run ended: one line, its reason and remedy, its outputs."""
    tone = words.status_tone(view)
    took = words.duration(words.between(view.started, view.ended))
    line = Text.assemble(
        (f"{words.TONE_ICON[tone]} ", STYLE[tone]),
        (view.workflow_id, "bold"),
        " ",
        (words.status_words(view), STYLE[tone]),
        f" after {took}",
    )
    if note := view.step("apply").note:
        line.append(f" · {note}", style="dim")
    parts: list[RenderableType] = [line]
    if view.unreadable:
        unread = clean(f"Not everything can be read: {view.unreadable}")
        parts.append(Text(unread, style="yellow"))
    if view.failure:
        parts.append(Text(clean(view.failure), style="red"))
    if view.remedy:
        parts.append(Text(clean(view.remedy)))
    if view.outputs:
        parts += ["", _outputs(view)]
    return Group(*parts)


def _head(view: RunView) -> Table:
    tone = words.status_tone(view)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", width=5)
    grid.add_column(ratio=1)
    status = Text(words.status_words(view), style=f"bold {STYLE[tone]}")
    name = Text.assemble((f"{words.TONE_ICON[tone]} ", STYLE[tone]), (view.stack, "bold"))
    bar = ProgressBar(
        total=100,
        completed=view.progress,
        width=30,
        complete_style=STYLE[tone],
        finished_style=STYLE[tone],
    )
    grid.add_row(name, status, f"{view.progress} %", bar)
    return grid


def _about(view: RunView) -> Text:
    what = [
        f"{view.action} {view.directory}".strip(),
        f"asked for by {view.requested_by}" if view.requested_by else "",
        f"started {view.started.astimezone():%Y-%m-%d %H:%M}" if view.started else "",
        f"worker {view.contact.worker}" if view.contact.worker else "",
    ]
    return Text(clean("  " + " · ".join(filter(None, what))), style="dim")


def _steps(view: RunView, now: datetime) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=3, justify="right")
    grid.add_column(width=9, no_wrap=True)
    grid.add_column(ratio=1)
    for step in view.steps:
        style = STYLE[words.STEP_TONE[step.state]]
        icon = Text(words.STEP_ICON[step.state] or "·", style=style)
        title = words.step_title(step, view)
        plain = step.state in ("waiting", "skipped")
        grid.add_row(icon, Text(title, style="dim" if plain else ""), _note(step, view, now))
    return grid


def _note(step: StepView, view: RunView, now: datetime) -> Text:
    quiet = step.state in ("waiting", "skipped", "done")
    note = Text(clean(words.step_note(step, view, now)), style="dim" if quiet else "")
    if step.state == "running":
        doing = step.doing or words.DEFAULT_DOING[step.name]
        note.append(f"  {clean(doing)}", style="dim")
    if step.failure and step.failure != view.failure and not view.repair:
        former = f"attempt {last_failed(step)}: " if step.state == "running" else ""
        note.append(f"\n{former}{clean(step.failure)}", style="red")
        note.append(f"\n{clean(step.remedy)}" if step.remedy else "")
    return note


def _trouble(view: RunView) -> Iterator[Text]:
    contact = view.contact
    if view.unreadable:
        yield Text(clean(f"Not everything can be read: {view.unreadable}"), style="yellow")
    if view.closed:
        if view.failure:
            yield Text(clean(view.failure), style="red")
        if view.remedy:
            yield Text(clean(view.remedy))
        return
    if not contact.in_touch:
        since = f" since {contact.since.astimezone():%H:%M:%S}" if contact.since else ""
        yield Text(f"The Temporal server does not answer{since}; the run loses nothing.", "yellow")
    if words.needs_worker(view):
        yield from nobody_polls(contact.task_queue)
    if view.repair:
        yield from _how_to_mend(view.stack, view.repair)
    if view.task_failure and not view.unreadable:
        yield Text(f"The workflow's own code fails: {clean(view.task_failure)}", style="red")
        yield Text("Correct it and start the worker again: the run goes on where it is.")
    for line in view.story:
        yield Text(clean(line), style="dim")


def _how_to_mend(stack: str, repair: Repair) -> Iterator[Text]:
    yield Text(clean(repair.failure), style="red")
    if repair.remedy:
        yield Text(clean(repair.remedy))
    yield Text(f"The run waits until {repair.until.astimezone():%Y-%m-%d %H:%M}. When it is mended")
    recheck = Text(f"  tprov recheck {stack}", style="bold")
    yield recheck.append("  tries again", style="not bold dim")
    yield Text(f"  tprov replan {stack}", style="bold").append(
        "   plans the directory as it is now", style="not bold dim"
    )


def nobody_polls(task_queue: str) -> list[Text]:
    """Warn that no worker polls a task queue, with the command that would."""
    return [
        Text(f"Nobody polls the task queue {clean(task_queue)}.", style="yellow"),
        Text(f"In another terminal: tprov worker --task-queue {clean(task_queue)}"),
    ]


def _question(view: RunView) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if view.verdict is not None and view.verdict.findings:
        parts += [findings(view.verdict), ""]
    review = view.review
    if review is not None:
        expires = words.parse_time(review.expires_at)
        until = f", until {expires.astimezone():%Y-%m-%d %H:%M}" if expires else ""
        parts.append(Text(f"Review {review.short} waits for a decision{until}. Decide with"))
    else:
        parts.append(Text("It waits for a decision. Decide with"))
    if review is not None and review.differs:
        former = f" from review {short_digest(review.supersedes)}" if review.supersedes else ""
        parts.insert(-1, Text(f"What differs{former}:"))
        parts[-1:-1] = [Text(f"  {clean(words)}") for words in review.differs]
        parts.insert(-1, "")
    parts.append(Text(f'  tprov approve {view.stack} --reason "..."', style="bold"))
    parts.append(Text(f'  tprov deny {view.stack} --reason "..."', style="bold"))
    return parts


def findings(verdict: Verdict) -> Table:
    """What the policies object to, with each remedy."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    for found in verdict.findings:
        said = clean(found.message)
        if found.address not in said:
            said = f"{found.address} {said}"
        what = Text.assemble((clean(found.rule), "bold"), f"  {said}\n")
        what.append(clean(found.remedy), style="dim")
        grid.add_row(Text(found.level, style=STYLE[words.LEVEL_TONE[found.level]]), what)
    return grid


def _details(view: RunView) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if view.plan is not None:
        from tprov_kernel.widgets.plan import plan_markup

        parts += ["", Text.from_markup(plan_markup(view.plan))]
    open_question = view.status == Status.AWAITING_APPROVAL and not view.closed
    if view.verdict is not None and view.verdict.findings and not open_question:
        parts += ["", findings(view.verdict)]
    parts += ["", *map(_decision, view.decisions)] if view.decisions else []
    if view.decisions:
        from tprov_kernel.decisions import left_out_words

        parts += [Text(more, style="dim")] if (more := left_out_words(view.decisions)) else []
    if view.outputs:
        parts += ["", _outputs(view)]
    return parts


def _decision(decision: Decision) -> Text:
    tone: Tone = {"approved": "ok", "denied": "bad"}.get(decision.outcome, "quiet")  # type: ignore[assignment]
    when = words.parse_time(decision.at)
    line = Text(decision.outcome, style=STYLE[tone])
    line.append(clean(f" by {decision.reviewer or 'somebody'} via {decision.via}"))
    line.append(f" at {words.clock(when)}" if when else "")
    line.append(clean(f", review {short_digest(decision.review)}" if decision.review else ""))
    if said := decision.why or decision.reason:
        line.append(clean(f": {said}"), style="dim")
    return line


def _outputs(view: RunView) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in view.outputs.items():
        grid.add_row(Text(clean(name)), Text("=", style="dim"), Text(clean(value)))
    return grid


# --- while it goes on, where there is no terminal --------------------------------------------


def changes(before: RunView | None, view: RunView) -> list[str]:
    """What is new since an earlier view, a line each, for logs and pipes."""
    lines: list[str] = []
    if before is None or before.status != view.status:
        lines.append(words.status_words(view))
    for step in view.steps:
        was = before.step(step.name) if before is not None else StepView(name=step.name)
        title = words.step_title(step, view).lower()
        is_told = step.failure == was.failure and last_failed(step) <= last_failed(was)
        if step.failure and not is_told and not (view.closed and step.failure == view.failure):
            said = f"{step.failure} {step.remedy}".strip()
            lines.append(f"{title}, attempt {last_failed(step)}: {said}")
        if step.doing and step.doing != was.doing:
            lines.append(f"{title}: {step.doing}")
    was_in_touch = before is None or before.contact.in_touch
    if was_in_touch and not view.contact.in_touch:
        lines.append("the Temporal server does not answer")
    if words.needs_worker(view) and (before is None or not words.needs_worker(before)):
        lines.append(f"nobody polls the task queue {view.contact.task_queue}")
    if view.task_failure and (before is None or before.task_failure != view.task_failure):
        lines.append(f"the workflow's own code fails: {view.task_failure}")
    return [clean(line) for line in lines]


def last_failed(step: StepView) -> int:
    """Which attempt the step's failure is of: while another one runs, the one before.

    An apply is never retried: while what it had made is looked up, the failure is of its first one.
    """
    return max(1, step.attempts - (step.state == "running"))


# --- many runs -------------------------------------------------------------------------------


def stacks(rows: Sequence[RunRow], *, now: datetime) -> RenderableType:
    """The list of stacks, or what to do when there is none."""
    if not rows:
        return Text("There is no stack yet. Start one: tprov start my-stack --config DIR")
    return _table("stack", rows, now)


def found(listing: Listing, *, now: datetime) -> RenderableType:
    """The runs that a filter finds, and how many there are besides."""
    if not listing.rows:
        return Text("No run matches. tprov status --count counts all there are.")
    table = _table("run", listing.rows, now)
    if not listing.more:
        return table
    more = f"{listing.more} more are not shown: a narrower filter finds them."
    return Group(table, Text(more, style="dim"))


def counts(tallies: Sequence[Tally]) -> RenderableType:
    """How many runs have which status: a bar, and the same in words."""
    bar, total = Text(), sum(tally.count for tally in tallies)
    for tally, _, tone in told(tallies):
        bar.append("█" * max(1, round(BAR * tally.count / total)), style=STYLE[tone])
    return Group(*([bar] if total else []), Text(counts_words(tallies)))


def _table(first: str, rows: Sequence[RunRow], now: datetime) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in (first, "status", "verdict", "what", "by", "started", "took"):
        table.add_column(name, no_wrap=name != "what", overflow="fold")
    for row in rows:
        table.add_row(*_cells(row, now))
    return table


def _cells(row: RunRow, now: datetime) -> Iterable[Text | str]:
    view = row.view
    tone = words.status_tone(view)
    took = words.duration(words.between(view.started, view.ended or now))
    yield Text(clean(view.stack), style="bold")
    yield Text(f"{words.TONE_ICON[tone]} {words.status_words(view)}", style=STYLE[tone])
    yield Text(clean(row.verdict), style="dim")
    yield Text(clean(f"{view.action} {view.directory}"))
    yield Text(clean(view.requested_by))
    yield _moment(view.started, now)
    yield took if view.closed else f"{took} …"


def _moment(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return ""
    same_day = moment.astimezone().date() == now.astimezone().date()
    return f"{moment.astimezone():{'%H:%M' if same_day else '%Y-%m-%d %H:%M'}}"

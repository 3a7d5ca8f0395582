"""`tprov play`: a scenario's notebook without a browser; did its story come true?"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from tprov_kernel.cli import render, say
from tprov_kernel.cli.jupyter import make_private
from tprov_kernel.cli.place import Place
from tprov_kernel.cli.scenarios import NotPlayed, Progress, find_scenario
from tprov_kernel.messages import Status
from tprov_kernel.observe import RunView, StepView
from tprov_kernel.process import Completed, Ending, Guard, run
from tprov_kernel.settings import CONNECTION_VARIABLES
from tprov_kernel.widgets.words import clean, duration

LOOK_EVERY = 0.2
"""Seconds between two looks into the report that the notebook's kernel writes."""

ENDING = Ending(interrupt=1.0, terminate=1.0)


def play(place: Place, *, scenario: str, as_json: bool, seconds: int) -> int:
    """Run a scenario's notebook; 0 only if its story came true.

    Args:
        place: The workspace.
        scenario: Its name.
        as_json: End with one line of JSON, and nothing else on stdout.
        seconds: How long one cell may take.
    """
    found = find_scenario(place.root, scenario)
    console = say.err() if as_json else say.out()
    say.ignored(name for name in CONNECTION_VARIABLES if os.environ.get(name))
    progress = Progress(scenario=found)
    if not console.is_terminal:
        progress.news = lambda line: console.print(Text(clean(line)), soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="tprov-play-") as folder:
        work = _play(place, progress, Path(folder), console, seconds)
        done = say.to_its_end(work, interrupted=f"{found.name} was interrupted; nothing is left.")
    why = progress.verdict(done.returncode)
    if as_json:
        say.answer(json.dumps(_answer(progress, why)))
    else:
        console.print(_ending(progress, why))
    if why:
        errors = done.stderr.decode(errors="replace").strip()
        remedy = f"Open it to look: `tprov lab`, then {found.notebook.name}."
        if done.returncode and not progress.failure and errors:
            remedy = f"It said: {errors.splitlines()[-1]}"
        say.error(NotPlayed(why, remedy=remedy))
    return 1 if why else 0


async def _play(
    place: Place, progress: Progress, folder: Path, console: Console, seconds: int
) -> Completed:
    report = folder / "report.jsonl"
    notebook = progress.scenario.notebook
    guard = Guard()
    tail = asyncio.create_task(_tail(report, progress))
    try:
        with _shown(progress, console):
            return await run(
                guard,
                [sys.executable, "-m", "tprov_kernel.cli.headless", str(notebook), str(seconds)],
                cwd=notebook.parent,
                env=_environment(place, notebook, report),
                on_line=progress.hear,
                on_cancel="interrupt",
                ending=ENDING,
            )
    finally:
        tail.cancel()
        await asyncio.gather(tail, return_exceptions=True)
        guard.close()


def _environment(place: Place, notebook: Path, report: Path) -> dict[str, str]:
    environ = dict(os.environ)
    make_private(place.home, environ)
    environ |= {
        "TPROV_ROOT": str(place.root),
        "TPROV_HOME": str(place.home),
        "TPROV_NOTEBOOK": str(notebook),
        "TPROV_AUTOPILOT": "1",
        "TPROV_PLAY_REPORT": str(report),
    }
    environ.pop("TPROV_ATTACH", None)  # services of its own: a lab that is open is left alone
    return environ


async def _tail(report: Path, progress: Progress) -> None:
    """Read the report while it grows, and once more when the notebook is over."""
    reader = _Growing(report)
    try:
        while True:
            for line in reader.fresh():
                progress.read(line)
            await asyncio.sleep(LOOK_EVERY)
    finally:
        for line in reader.fresh():
            progress.read(line)


@dataclass
class _Growing:
    """A file that somebody appends lines to."""

    path: Path
    offset: int = 0

    def fresh(self) -> Iterator[str]:
        """The whole lines that were appended since the last time."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.offset)
            whole, end, _ = file.read().rpartition(b"\n")
        self.offset += len(whole) + len(end)
        yield from whole.decode(errors="replace").splitlines()


# --- showing it ------------------------------------------------------------------------------


@contextlib.contextmanager
def _shown(progress: Progress, console: Console) -> Iterator[None]:
    """A picture that moves, on a terminal; elsewhere `Progress.news` has the word."""
    if not console.is_terminal:
        yield
        return
    live = Live(get_renderable=lambda: _picture(progress), console=console, refresh_per_second=4)
    with live:
        yield


def _picture(progress: Progress) -> RenderableType:
    cell = progress.cell
    head = Text.assemble(("▶ ", "cyan"), (progress.scenario.name, "bold"))
    where = f"  cell {cell['number']} of {cell['of']}" if cell else "  starting a kernel"
    head.append(f"{where} · {duration(progress.seconds)}", style="dim")
    parts: list[RenderableType] = [head]
    if cell:
        parts.append(Text(f"  {clean(cell['code'])}", no_wrap=True, overflow="ellipsis"))
    now = datetime.now(UTC)
    for told in progress.runs.values():
        if not told["closed"] or told is progress.told:
            parts += ["", render.run(as_view(told, progress.seen, now), now=now)]
    return Group(*parts)


def as_view(told: dict[str, Any], seen: dict[tuple[str, str], datetime], now: datetime) -> RunView:
    """Make a run to draw from a line of the report, which tells durations and no moments."""

    def step(told_step: dict[str, Any]) -> StepView:
        took = told_step["seconds"]
        began = seen.get((told["run_id"], told_step["name"]), now)
        goes_on = told_step["state"] in ("running", "retrying", "asking")
        return StepView(
            name=told_step["name"],
            state=told_step["state"],
            attempts=told_step["attempts"],
            started=began if goes_on or took is not None else None,
            ended=began + timedelta(seconds=took) if took is not None else None,
            doing=told_step["doing"],
            note=told_step["note"],
            failure=told_step["failure"],
        )

    return RunView(
        workflow_id=told["workflow_id"],
        run_id=told["run_id"],
        stack=told["stack"],
        action=told["action"],
        status=Status(told["status"]),
        progress=told["progress"],
        closed=told["closed"],
        close_state="COMPLETED" if told["closed"] and not told["failure"] else "",
        failure=told["failure"],
        remedy=told["remedy"],
        steps=tuple(map(step, told["steps"])),
        outputs=told["outputs"],
    )


def _ending(progress: Progress, why: str) -> RenderableType:
    took = duration(progress.seconds)
    told = progress.told
    if why:
        return Text.assemble(("✕ ", "red"), (progress.scenario.name, "bold"), f" after {took}")
    line = Text.assemble(("✓ ", "green"), (progress.scenario.name, "bold"))
    if progress.scenario.story is None:
        line.append(f" ran to its end in {took}")
        return line
    status = told["status"].replace("_", " ")
    line.append(f" came true: {told['workflow_id']} {status}, after {took}")
    outputs = [Text(f"  {clean(n)} = {clean(str(v))}", "dim") for n, v in _outputs(told).items()]
    return Group(line, *outputs)


def _outputs(told: dict[str, Any]) -> dict[str, Any]:
    """The outputs as values; the report has each as JSON text, and a sensitive one in words."""
    values: dict[str, Any] = {}
    for name, text in told.get("outputs", {}).items():
        values[name] = text
        with contextlib.suppress(ValueError):
            values[name] = json.loads(text)
    return values


def _answer(progress: Progress, why: str) -> dict[str, Any]:
    told = progress.told
    nothing = "ran" if progress.scenario.story is None and not why else "not_started"
    answer = {
        "scenario": progress.scenario.name,
        "status": told.get("status", nothing),
        "workflow_id": told.get("workflow_id", ""),
        "seconds": round(progress.seconds, 3),
        "steps": told.get("steps", []),
        "outputs": _outputs(told),
    }
    return answer | ({"error": why} if why else {})

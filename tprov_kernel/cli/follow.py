"""Follows a run in a terminal: a picture that moves, or a line a change where there is none."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text
from temporalio.client import Client

from tprov_kernel.cli import render
from tprov_kernel.observe import RunView
from tprov_kernel.runs import RunHandle
from tprov_kernel.watch import Watcher

PICTURES_PER_SECOND = 4

DOUBT = 2.0
"""Seconds in which a run whose step failed for good says whether it ends of that."""


class _Picture:
    """What a live display asks for each time it draws."""

    def __init__(self, stack: str) -> None:
        self.view: RunView | None = None
        self.stack = stack

    def __call__(self) -> RenderableType:
        if self.view is None:
            return Text(f"Looking at {self.stack} …", style="dim")
        return render.run(self.view, now=self.view.ended or datetime.now(UTC))


async def follow(client: Client, handle: RunHandle, *, stack: str, console: Console) -> RunView:
    """Show a run until it is over; give its last view. Interrupting leaves the run alone."""
    watcher = Watcher(client, workflow_id=handle.id, run_id=handle.run_id or "")
    if console.is_terminal:
        return await _as_picture(watcher, stack, console)
    return await _as_lines(watcher, handle.id, console)


async def _as_picture(watcher: Watcher, stack: str, console: Console) -> RunView:
    picture = _Picture(stack)
    with Live(
        get_renderable=picture, console=console, refresh_per_second=PICTURES_PER_SECOND
    ) as live:
        async for view in watcher.views():
            picture.view = view
        live.refresh()
    assert picture.view is not None, "a watcher yields at least the closed run"
    return picture.view


async def _as_lines(watcher: Watcher, name: str, console: Console) -> RunView:
    last: RunView | None = None
    broken: float | None = None
    async for view in watcher.views():
        if view.closed or view.repair or all(step.state != "failed" for step in view.steps):
            broken = None
        elif monotonic() < (broken := broken or monotonic()) + DOUBT:
            continue  # mostly the run ends of it, and then says so once, at its end
        for line in render.changes(last, view):
            now = datetime.now().astimezone()
            console.print(Text(f"{now:%H:%M:%S} {name} {line}"), soft_wrap=True)
        last = view
    assert last is not None, "a watcher yields at least the closed run"
    return last

"""From a kill in the middle of an apply to the run going on, and to its end.

The heartbeat is a demo's, 5 s. The Cloud stand-in answers at once; the kill comes after the create
and before the state is written, the moment that costs other tools an orphan.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Literal

from temporalio.api.enums.v1 import EventType

from tests.chaos.cells import Cell
from tests.chaos.rig import Act, Rig

HEARTBEAT = 5.0
ROUNDS = 3


class Timed(Act):
    """Notes when it struck, and when the run went on and came to its end."""

    heartbeat = HEARTBEAT
    struck = 0.0

    async def strike(self, program: object) -> None:
        """Kill, and note when."""
        self.struck = time.time()
        await super().strike(program)  # type: ignore[arg-type]  # what `_moment` has found

    async def times(self) -> tuple[float, float]:
        """Seconds from the kill until recovery began, and until the run was over."""
        scheduled, began, over = set[int](), 0.0, 0.0
        async for event in self.handle.fetch_history_events():
            at = event.event_time.ToNanoseconds() / 1e9
            if event.activity_task_scheduled_event_attributes.activity_type.name == "recover_apply":
                scheduled.add(event.event_id)
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                of = event.activity_task_started_event_attributes.scheduled_event_id
                began = at if of in scheduled else began
            over = at
        return began - self.struck, over - self.struck


async def measure(rounds: int = ROUNDS) -> None:
    """Print what a killed worker and a killed Terraform cost, and an apply left alone."""
    with tempfile.TemporaryDirectory() as scratch:
        rig = Rig(Path(scratch) / "home")
        await rig.open()
        try:
            alone = [await _undisturbed(rig, number) for number in range(rounds)]
            print(f"apply, undisturbed: {statistics.median(alone):.1f} s")
            await _killed(rig, "worker", rounds)
            await _killed(rig, "terraform", rounds)
        finally:
            await rig.close()


async def _killed(rig: Rig, target: Literal["worker", "terraform"], rounds: int) -> None:
    goes_on, over = [], []
    for number in range(rounds):
        cell = Cell(target, "after create", "kill")
        chance = random.Random(number)
        act = Timed(rig, cell, chance, f"{target}-{number}", rig.worker)
        try:
            await act.perform()
            first, last = await act.times()
        finally:
            await act.end()
        goes_on.append(first)
        over.append(last)
    print(
        f"{target} killed: recovery began after {statistics.median(goes_on):.1f} s"
        f" (at most {max(goes_on):.1f}), applied after {statistics.median(over):.1f} s"
    )


async def _undisturbed(rig: Rig, number: int) -> float:
    """Seconds from the apply's start to its end."""

    class Alone(Act):
        async def strike(self, program: object) -> None:
            """Nothing happens."""

    act = Alone(
        rig, Cell("worker", "waiting", "kill"), random.Random(number), f"alone-{number}", rig.worker
    )
    try:
        await act.perform()
        assert act.view is not None
        step = act.view.step("apply")
        assert step.started is not None
        assert step.ended is not None
        return (step.ended - step.started).total_seconds()
    finally:
        await act.end()

"""The matrix, trimmed: each process is killed or stopped where it hurts most. Whole: make chaos."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator

import pytest

from tests.chaos.cells import CELLS, TRIMMED, Cell
from tests.chaos.rig import Act, Rig

pytestmark = pytest.mark.timeout(240)

SEED = os.environ.get("SEED", "1")


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One loop for all cells."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def rig(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Services of the matrix' own: they are killed; nothing may be left of them."""
    rig = Rig(tmp_path_factory.mktemp("chaos") / "home")
    runner.run(rig.open())
    yield rig
    assert runner.run(rig.close()) == []


@pytest.mark.parametrize("cell", TRIMMED, ids=str)
def test_a_run_survives(cell: Cell, rig: Rig, runner: asyncio.Runner) -> None:
    """Exactly the wanted objects, a state that agrees, an honest status, no process left."""
    played = runner.run(rig.play(cell, SEED))
    assert played.problems == [], f"{played.told}; again: {played.again}"


class Asleep(Act):
    """An act in which everything sleeps for a while, with the heartbeat that runs have by default.

    Clocks go on here, which a laptop's own sleep would not even let them.
    """

    heartbeat = 30.0

    async def strike(self, program: object) -> None:
        """Everything stops, and goes on after 20 seconds."""
        await self.rig.sleep_all(20)


def test_everything_asleep_for_20_seconds_is_no_crash(rig: Rig, runner: asyncio.Runner) -> None:
    """In the middle of an apply: it ends applied, no orphan, and nobody is asked anything."""
    cell = Cell("worker", "after create", "stop")

    async def play() -> tuple[list[str], tuple[str, ...]]:
        act = Asleep(rig, cell, random.Random(SEED), "asleep", rig.worker)
        try:
            await act.perform()
            assert act.view is not None
            return await act.judge(), act.view.story
        finally:
            await act.end()

    problems, story = runner.run(play())
    assert problems == []
    assert story == (), "there was nothing to recover"


def test_a_cell_that_makes_no_sense_says_why() -> None:
    """Each process at each moment is either played or explained."""
    assert len(CELLS) == 6 * 8 * 2
    assert all(cell.senseless == "" for cell in TRIMMED)
    assert sum(not cell.senseless for cell in CELLS) == 70

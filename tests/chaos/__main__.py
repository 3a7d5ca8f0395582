"""`make chaos`: the whole matrix as a table.

``SEED=…`` repeats the random moments, ``CELL=…`` plays only cells whose name has this in it
("kill worker @ plan", "worker", "after create"). A moment that was over before it could be struck
is tried again with another delay; ``ATTEMPT=…`` begins with that one.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.cells import CELLS, HOWS, MOMENTS, TARGETS, Cell
from tests.chaos.rig import Played, Rig
from tprov_kernel.settings import CONNECTION_VARIABLES


async def play_all(cells: list[Cell], seed: str, attempt: int = 1) -> list[Played]:
    """Play the cells one after the other, telling each; the last one is what was left behind."""
    played: list[Played] = []
    with tempfile.TemporaryDirectory(prefix="tprov-chaos-") as place:
        rig = Rig(Path(place) / "home")
        await rig.open()
        try:
            for cell in cells:
                played.append(await rig.play(cell, seed, attempt=attempt))
                tell(played[-1])
        finally:
            left = await rig.close()
        for sentence in left:
            print(f"LEFT  {sentence}")
        if left:
            played.append(Played(cells[-1], seed, problems=left))
    return played


def tell(played: Played) -> None:
    """One line for one cell."""
    well = "ok   " if not played.problems else "FAIL "
    tries = f", attempt {played.attempt}" if played.attempt > 1 else ""
    print(f"{well} {played.cell!s:32} {played.seconds:5.1f} s  {played.told}{tries}", flush=True)
    for problem in played.problems:
        print(f"        {problem}", flush=True)


def table(played: list[Played]) -> str:
    """The matrix."""
    by_cell = {p.cell: p for p in played}
    lines = ["", "| struck | how | " + " | ".join(MOMENTS) + " |", "| --- " * 10 + "|"]
    for target in TARGETS:
        for how in HOWS:
            row = [_mark(by_cell, Cell(target, moment, how)) for moment in MOMENTS]
            lines.append(f"| {target} | {how} | " + " | ".join(row) + " |")
    whys = {c.senseless: 0 for c in CELLS if c.senseless}
    lines += ["", *(f"· {why}" for why in whys)]
    return "\n".join(lines)


def _mark(by_cell: dict[Cell, Played], cell: Cell) -> str:
    if cell.senseless:
        return "·"
    played = by_cell.get(cell)
    if played is None:
        return ""
    return "FAIL" if played.problems else f"{played.seconds:.0f} s"


def main() -> int:
    """Play, print, and say in the exit code whether all is well."""
    for name in (*CONNECTION_VARIABLES, "ENCRYPT_PAYLOADS", "TF_CLI_CONFIG_FILE"):
        os.environ.pop(name, None)
    seed = os.environ.get("SEED") or str(random.SystemRandom().randrange(10**6))
    wanted = os.environ.get("CELL", "")
    cells = [c for c in CELLS if wanted in str(c) and not c.senseless]
    if not cells:
        print(f"No cell is named like {wanted!r}.", file=sys.stderr)
        return 2
    print(f"{len(cells)} cells, SEED={seed} repeats them.", flush=True)
    began = time.monotonic()
    played = asyncio.run(play_all(cells, seed, int(os.environ.get("ATTEMPT") or 1)))
    bad = [p for p in played if p.problems]
    print(table(played))
    minutes = (time.monotonic() - began) / 60
    print(f"\n{len(cells) - len(bad)} of {len(cells)} well in {minutes:.1f} min, SEED={seed}.")
    for each in bad:
        print(f"again: {each.again}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

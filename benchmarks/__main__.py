"""Every figure: `make bench`."""

from __future__ import annotations

import asyncio

from benchmarks import crash, gate, kernel, run, standin

asyncio.run(run.measure())
kernel.measure()
asyncio.run(gate.measure())
asyncio.run(standin.measure())
asyncio.run(crash.measure())

"""Every figure: `make bench`."""

from __future__ import annotations

import asyncio

from benchmarks import kernel, run, standin

asyncio.run(run.measure())
kernel.measure()
asyncio.run(standin.measure())

"""The gate: policies on 50 resources, other policies on the same plan, and 500 runs that wait.

A run of 50 resources is planned and judged by real Terraform and OPA; an evaluation is timed from
its being scheduled to its being completed, as the server's history tells it. For the runs that
wait, Terraform and OPA answer once (`parked_worker.py`): Temporal, the workflow and the worker, in
a process of its own, are what is measured.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from temporalio.client import Client

from tprov_kernel import runs, savedplan
from tprov_kernel.activities import Activities
from tprov_kernel.connect import build_worker, connect
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.process import Guard
from tprov_kernel.services import local_settings, open_services
from tprov_kernel.settings import Settings
from tprov_kernel.toolchain import Toolchain, find_toolchain
from tprov_kernel.whatif import what_if

ROOT = Path(__file__).parents[1]
FIFTY = Path(__file__).parent / "terraform" / "fifty"
ADMIN = ROOT / "terraform" / "tcloud_admin_user"
ROUNDS = 9
PARKED = 500
BATCH = 10
"""Runs that are started together: fewer than a worker keeps in memory."""


@dataclass(frozen=True)
class Place:
    """Open services, and a client of them."""

    settings: Settings
    keys: KeyRing
    client: Client
    tools: Toolchain
    guard: Guard

    async def start(self, stack: str, directory: Path, task_queue: str) -> runs.RunHandle:
        handle = await runs.start_run(
            self.client,
            stack=stack,
            directory=directory,
            key_ring=self.keys,
            task_queue=task_queue,
        )
        return runs.bound(self.client, handle)


async def measure() -> None:
    """Print every figure with its target."""
    async with _place() as place:
        await _policies(place)
        await _parked(place)


async def _policies(place: Place) -> None:
    activities = Activities(
        settings=place.settings,
        toolchain=place.tools,
        key_ring=place.keys,
        guard=place.guard,
    )
    queue = place.settings.task_queue
    means: dict[str, Any] = {
        "key_ring": place.keys,
        "toolchain": place.tools,
        "guard": place.guard,
        "settings": place.settings,
    }
    judged, first, again = [], [], []
    async with build_worker(place.client, activities, task_queue=queue):
        for number in range(ROUNDS + 1):
            handle = await place.start(f"fifty-{number}", FIFTY, queue)
            await _asks(handle)
            took = await _seconds_of(handle, "evaluate_policy")
            savedplan.forget()
            cold = await _timed(what_if(place.client, handle, **means))
            warm = await _timed(what_if(place.client, handle, **means))
            if number:  # the first one warms up
                judged.append(took)
                first.append(cold)
                again.append(warm)
            await runs.decide(handle, "deny", reason="")
            await handle.result()
    print(f"policies, 50 resources: {_spread(judged)} as an activity [at most 150 ms]")
    print(f"what if, the first:     {_spread(first)}, with the plan to fetch and to show")
    print(f"what if, and again:     {_spread(again)} [at most 300 ms]")


async def _parked(place: Place) -> None:
    queue = "parked"
    program = [sys.executable, "-m", "benchmarks.parked_worker", str(place.settings.home), queue]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*program, cwd=ROOT, stdin=pipe, stdout=pipe)
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        worker = psutil.Process(process.pid)
        first, second = [await _parks(place, n, queue) for n in range(2)]
        before = _memory(worker)
        began = time.perf_counter()
        for number in range(2, PARKED, BATCH):
            several = range(number, min(number + BATCH, PARKED))
            await asyncio.gather(*(_parks(place, n, queue) for n in several))
        took, after = time.perf_counter() - began, _memory(worker)
        shown = f"{before:.0f} MB with two, {after:.0f} MB with all"
        print(
            f"{PARKED} runs that wait:     worker grows by {after - before:.1f} MB"
            f" ({shown}; parked in {took:.0f} s) [less than 20 MB]"
        )
        update = await _timed(runs.decide(first, "approve", reason="at last"))
        signal = await _timed(_signalled(second))
        print(
            f"decision on the first:  {1000 * update:.0f} ms by update, on the second"
            f" {1000 * signal:.0f} ms by signal, until it took effect [under 1 s]"
        )
        assert (await first.result()).status == (await second.result()).status == "applied"
    finally:
        process.kill()
        await process.wait()


async def _parks(place: Place, number: int, queue: str) -> runs.RunHandle:
    """Start a run, and wait until it waits."""
    handle = await place.start(f"parked-{number}", ADMIN, queue)
    await _asks(handle)
    return handle


async def _signalled(handle: runs.RunHandle) -> None:
    """Approve by signal, and wait until the run says that it was."""
    await runs.decide(handle, "approve", reason="at last", via="signal")
    while await handle.query("get_signal_reason") != "at last":  # noqa: ASYNC110 (no event to wait for)
        await asyncio.sleep(0.01)


async def _asks(handle: runs.RunHandle) -> None:
    """Wait until somebody has to decide, by what the server itself knows of the run."""
    async with asyncio.timeout(120):
        while "review" not in await (await handle.describe()).memo():  # noqa: ASYNC110 (see above)
            await asyncio.sleep(0.05)


async def _seconds_of(handle: runs.RunHandle, activity: str) -> float:
    """How long an activity took, from its being scheduled to its being completed."""
    scheduled: dict[int, float] = {}
    async for event in handle.fetch_history_events():
        at = event.event_time.ToNanoseconds() / 1e9
        began = event.activity_task_scheduled_event_attributes
        if began.activity_type.name == activity:
            scheduled[event.event_id] = at
        ended = event.activity_task_completed_event_attributes.scheduled_event_id
        if ended in scheduled:
            return at - scheduled[ended]
    raise RuntimeError(f"{activity} was not completed")


async def _timed(work: Any) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


def _memory(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


def _spread(seconds: list[float]) -> str:
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    return f"{1000 * middle:.0f} ms ({1000 * low:.0f} to {1000 * high:.0f})"


@asynccontextmanager
async def _place() -> AsyncIterator[Place]:
    guard, tools = Guard(), find_toolchain()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        services = await open_services(
            home,
            kind="notebook",
            guard=guard,
            toolchain=tools,
            prefer_well_known_ports=False,
            root=ROOT,
        )
        settings = local_settings(services.info, root=ROOT, home=home, environ={})
        keys = KeyRing.load_or_create(settings.key_ring)
        try:
            yield Place(settings, keys, await connect(settings, keys), tools, guard)
        finally:
            await services.close()
    guard.close()


if __name__ == "__main__":
    asyncio.run(measure())

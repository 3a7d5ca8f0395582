"""The notebook side: set-up cell, clicks, memory, interrupts, in real kernels.

A click is the button's own `click()`, through the callback that a mouse reaches too; the browser
and its socket add some 10 ms that are not in it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[1]
SETUP = "from tprov_kernel import open_lab\nlab = open_lab({name!r}, pace=0)"

PARK = """
parked = [lab.start(f"park-{i}", config="terraform/tcloud_admin_user") for i in range(%d)]
for run in parked:
    run.wait("awaiting_approval")
    while run.view.review is None:
        pass
cards = [run.as_card() for run in parked]
"""
CLICK = """
import json, threading, time
took = []
def click(run, card):
    began = time.perf_counter()
    card.deny.click()
    while run.status == "awaiting_approval":
        time.sleep(0.001)
    took.append(time.perf_counter() - began)
def click_all(runs, cards):
    for run, card in zip(runs, cards):
        click(run, card)
"""
CLICKS = 24


class Kernel:
    """A kernel, asked in code."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager, self.client = manager, client

    def run(self, code: str, *, timeout: float = 120) -> tuple[str, float]:
        """Execute a cell; give what it printed, and the seconds that it took."""
        printed: list[str] = []

        def hook(message: dict[str, dict[str, str]]) -> None:
            content = message["content"]
            printed.append(content.get("text", "") if isinstance(content, dict) else "")

        began = time.perf_counter()
        reply = self.client.execute_interactive(code, output_hook=hook, timeout=timeout)
        took = time.perf_counter() - began
        if reply["content"]["status"] != "ok":
            raise RuntimeError("\n".join(reply["content"].get("traceback", [str(reply)])))
        return "".join(printed), took


@contextmanager
def kernel(**environ: str) -> Iterator[Kernel]:
    """A fresh kernel, warm enough to execute."""
    manager = KernelManager()
    env = {**os.environ, "TPROV_AUTOPILOT": "0", **environ}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # people's kernels keep their byte code
    manager.start_kernel(cwd=str(ROOT / "notebooks"), env=env, stderr=subprocess.DEVNULL)
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    try:
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def measure() -> None:
    """Print every figure with its target."""
    with kernel() as cell:  # once for the byte code
        cell.run("import tprov_kernel.lab.run")
    with tempfile.TemporaryDirectory() as scratch:
        cold = [_cold(Path(scratch) / str(i)) for i in range(5)]
        print(f"set-up cell, cold:     {_spread(cold)} [at most 2.5 s]")
        home = Path(scratch) / "shared"
        with _services(home):
            attached = [_attached(home) for _ in range(5)]
        print(f"set-up cell, attaching: {_spread(attached)} [at most 1.0 s]")
        _clicks(Path(scratch) / "clicks")


def _cold(home: Path) -> float:
    with kernel(TPROV_HOME=str(home)) as cell:
        return cell.run(SETUP.format(name="cold"))[1]


def _attached(home: Path) -> float:
    with kernel(TPROV_HOME=str(home), TPROV_ATTACH="1") as cell:
        return cell.run(SETUP.format(name="attached"))[1]


def _clicks(home: Path) -> None:
    with kernel(TPROV_HOME=str(home)) as cell:
        cell.run(SETUP.format(name="clicks"))
        pid = int(cell.run("import os; print(os.getpid())")[0])
        memory = psutil.Process(pid).memory_info().rss / 2**20
        print(f"kernel, lab and worker: {memory:.0f} MB [at most 180 MB]")
        cell.run(PARK % (2 * CLICKS) + CLICK, timeout=600)
        half = f"parked[:{CLICKS}], cards[:{CLICKS}]"
        text, _ = cell.run(f"click_all({half}); print(json.dumps(took))")
        print(f"click to state, idle:   {_p95(text)} [at most 100 ms]")
        other = f"parked[{CLICKS}:], cards[{CLICKS}:]"
        blocked = (
            f"took.clear(); t = threading.Thread(target=click_all, args=({other})); t.start();"
            " time.sleep(8); t.join(); print(json.dumps(took))"
        )
        text, _ = cell.run(blocked)
        print(f"click to state, busy:   {_p95(text)} [at most 100 ms]")
        cell.run('waiting = lab.start("wait", config="terraform/tcloud_admin_user")')
        took = [_interrupt(cell, "waiting.wait()") for _ in range(5)]
        print(f"interrupting wait():    {_spread(took)} [under 0.5 s]")


def _interrupt(cell: Kernel, code: str) -> float:
    identity = cell.client.execute(code)
    time.sleep(1.0)
    began = time.perf_counter()
    cell.manager.interrupt_kernel()
    while cell.client.get_shell_msg(timeout=30)["parent_header"].get("msg_id") != identity:
        pass
    return time.perf_counter() - began


@contextmanager
def _services(home: Path) -> Iterator[None]:
    env = {**os.environ, "TPROV_HOME": str(home), "TPROV_ROOT": str(ROOT)}
    tprov = [sys.executable, "-m", "tprov_kernel.cli"]
    quiet = {"env": env, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*tprov, "up", "-d", "--no-worker"], check=True, **quiet)  # type: ignore[call-overload]
    try:
        yield
    finally:
        subprocess.run([*tprov, "down"], check=False, **quiet)  # type: ignore[call-overload]


def _spread(seconds: list[float]) -> str:
    middle = statistics.median(seconds)
    return f"{middle:.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def _p95(text: str) -> str:
    import json

    took = sorted(1000 * float(t) for t in json.loads(text))
    return (
        f"p95 {took[int(0.95 * (len(took) - 1))]:.0f} ms, median {statistics.median(took):.0f} ms"
    )


if __name__ == "__main__":
    measure()

"""The walkthrough in a browser: `tprov lab` on copies of the notebooks, and what is in a cell."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Locator

from tests.browser import ROOT, Lab, Notebook
from tests.kernels import code_cells
from tprov_kernel.toolchain.places import tools_home


@dataclass(frozen=True)
class Running:
    """A `tprov lab` that runs."""

    lab: Lab
    process: subprocess.Popen[str]


def cell(story: str, code: str) -> int:
    """The number of the code cell that holds this text."""
    return next(n for n, source in enumerate(code_cells(story)) if code in source)


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait for something that the page does not show."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.05)


@contextmanager
def tprov_lab(work: Path, environ: Mapping[str, str] | None = None) -> Iterator[Running]:
    """`tprov lab` in a workspace, as a process of its own, until the block ends."""
    dropped = ("TPROV_", "TEMPORAL_", "JUPYTER", "JPY_", "PYTEST_")
    env = {n: v for n, v in os.environ.items() if not n.startswith(dropped)}
    tools = os.environ.get("TPROV_TOOLS") or str(tools_home(os.environ))
    env |= {"HOME": str(work / "home"), "TPROV_TOOLS": tools, "PYTHONPATH": str(ROOT)}
    env |= environ or {}
    log = work / "lab.log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tprov_kernel.cli", "lab", "--no-browser", "--port", str(port)]
    with log.open("w") as said:
        process = subprocess.Popen(
            command,
            cwd=work,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            text=True,
        )
    try:
        yield Running(_told(process, log, work), process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
        process.kill()
        process.wait(5)


def _told(process: subprocess.Popen[str], log: Path, work: Path) -> Lab:
    """Read its address, with the token, as a person does."""
    until = time.monotonic() + 150
    while True:
        found = re.search(r"(http://127\.0\.0\.1:\d+/)\S*token=(\w+)", log.read_text())
        if found and _answers(found[1]):
            return Lab(url=found[1], token=found[2], folder=work)
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.05)


def _answers(url: str) -> bool:
    port = int(re.findall(r":(\d+)/", url)[0])
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def workspace(folder: Path) -> Path:
    """A workspace for a test: notebooks, Terraform and policies are copies, the home is empty."""
    for name in ("notebooks", "terraform", "policies"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "home").mkdir()
    return folder


@contextmanager
def opened(browser: Browser, lab: Lab, story: str, *, width: int = 1280) -> Iterator[Notebook]:
    """A notebook in a fresh window."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    try:
        notebook = Notebook(page, lab, f"notebooks/{story}.ipynb")
        notebook.open()
        yield notebook
    finally:
        page.close()


def card_in(place: Locator) -> Locator:
    """The live card in a cell's output."""
    return place.locator(".tprov-card").last


def status_of(card: Locator) -> Locator:
    """The card's status, in words."""
    return card.locator(".head [role=status]")

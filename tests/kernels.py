"""Real kernels without a front end: cells go in, what a person would read comes out."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.conftest import ROOT
from tests.widgets.reader import text_of
from tprov_kernel.widgets.words import clean

NOTEBOOKS = ROOT / "notebooks"
SET_UP = "from tprov_kernel import open_lab\nlab = open_lab()"


@dataclass
class Cell:
    """What came of a cell.

    Attributes:
        status: ``ok`` or ``error``, as the kernel replied.
        outputs: What stands below it, updates applied.
        trace: What a runner such as nbclient is told of an error.
    """

    status: str = ""
    outputs: list[dict[str, Any]] = field(default_factory=list)
    trace: str = ""
    _by_id: dict[str, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What a person reads below the cell."""
        return "\n".join(filter(None, map(_words, self.outputs))).strip()

    def take(self, message: Mapping[str, Any]) -> None:
        """Take a message of the kernel, as a front end does."""
        kind, content = message["msg_type"], message["content"]
        if kind not in ("stream", "display_data", "update_display_data", "execute_result", "error"):
            return
        name = content.get("transient", {}).get("display_id", "")
        if kind == "update_display_data":
            if name in self._by_id:
                self.outputs[self._by_id[name]] |= {"data": content["data"]}
            return
        if name:
            self._by_id[name] = len(self.outputs)
        self.outputs.append({"kind": kind, **content})


def _words(output: Mapping[str, Any]) -> str:
    if output["kind"] == "stream":
        return str(output["text"])
    if output["kind"] == "error":
        return clean("\n".join(output["traceback"]))
    data = output["data"]
    if "application/vnd.jupyter.widget-view+json" in data:
        return ""
    return text_of(data["text/html"]) if data.get("text/html") else str(data.get("text/plain", ""))


class Kernel:
    """A kernel that lives until the block ends, and what a person does with it.

    Every wait has a limit, in seconds.
    """

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager, self.client = manager, client

    @property
    def pid(self) -> int:
        """The kernel's process."""
        provisioner: Any = self.manager.provisioner
        return int(provisioner.pid)

    def run(self, code: str, *, seconds: float = 60) -> Cell:
        """Execute a cell and wait until it is over."""
        return self.finish(self.start(code), seconds=seconds)

    def start(self, code: str) -> str:
        """Execute a cell; does not wait."""
        return str(self.client.execute(code))

    def finish(self, request: str, *, seconds: float = 60) -> Cell:
        """Wait for a cell that was started."""
        cell = Cell()
        while True:
            message = self.client.get_iopub_msg(timeout=seconds)
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            cell.take(message)
        while (reply := self.client.get_shell_msg(timeout=seconds))["parent_header"].get(
            "msg_id"
        ) != request:
            pass
        cell.status = reply["content"]["status"]
        cell.trace = "\n".join(reply["content"].get("traceback", []))
        return cell

    def value(self, expression: str) -> Any:
        """Give an expression's value, as JSON tells it."""
        cell = self.run(f"import json as _json; print(_json.dumps({expression}))")
        assert cell.status == "ok", cell.text
        return json.loads(cell.text)

    def wait_for(self, condition: str, *, seconds: float = 30) -> None:
        """Wait until an expression is true in the kernel."""
        cell = self.run(
            "import time as _time\n"
            f"_until = _time.monotonic() + {seconds}\n"
            f"while not ({condition}) and _time.monotonic() < _until:\n    _time.sleep(0.02)\n"
            f"assert {condition}",
            seconds=seconds + 10,
        )
        assert cell.status == "ok", cell.text

    def interrupt(self) -> None:
        """The square in the toolbar."""
        self.manager.interrupt_kernel()


def environment(home: Path, *, notebook: str = "", **changes: str) -> dict[str, str]:
    """A kernel's environment: data in `home`, no buttons pressed unless the test says so."""
    dropped = ("TPROV_", "TEMPORAL_", "JPY_", "PYTEST_")
    env = {n: v for n, v in os.environ.items() if not n.startswith(dropped) or n == "TPROV_TOOLS"}
    env |= {"TPROV_HOME": str(home), "TPROV_AUTOPILOT": "0"}
    if notebook:
        env["TPROV_NOTEBOOK"] = str(NOTEBOOKS / f"{notebook}.ipynb")
    return env | changes


@contextmanager
def kernel(env: Mapping[str, str]) -> Iterator[Kernel]:
    """A fresh kernel of this environment, in the notebooks' directory."""
    manager = KernelManager()
    manager.start_kernel(
        cwd=str(NOTEBOOKS), env=dict(env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def code_cells(notebook: str) -> list[str]:
    """The code of a notebook's cells."""
    cells = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text())["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]

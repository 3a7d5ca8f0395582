"""``python -m tprov_kernel.cli.headless NOTEBOOK SECONDS``: run a notebook for `tprov play`.

A process of its own, so that a play which is killed takes notebook and kernel with it: its guard
ends this process, and a kernel ends when its parent is gone. The notebook's file is only read.
Events are lines of JSON on stdout.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

TERMINATED = 128 + signal.SIGTERM


async def play(path: Path, *, seconds: int) -> int:
    """Run every cell; 0 when none failed.

    Args:
        path: The notebook.
        seconds: How long one cell may take.
    """
    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    total = sum(_runs(cell) for cell in notebook.cells)
    told = _Teller(total)
    client: NotebookClient = NotebookClient(
        notebook,
        timeout=seconds,
        kernel_name="python3",
        store_widget_state=False,
        resources={"metadata": {"path": os.fspath(path.parent)}},
        on_notebook_start=lambda notebook: _die_quickly(client),
        on_cell_execute=told.begins,
    )
    try:
        await client.async_execute()
    except CellExecutionError as error:
        told.failed(error.ename, error.evalue)
        return 1
    except CellTimeoutError:
        told.failed("Timeout", f"The cell did not end within {seconds} s.")
        return 1
    except DeadKernelError:
        told.failed("DeadKernel", "The kernel died.")
        return 1
    return 0


def _runs(cell: Any) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip())


class _Teller:
    """Says which cell runs, and how one failed."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.number = 0

    def begins(self, cell: Any, cell_index: int) -> None:
        """The next cell runs."""
        self.number += 1
        lines = [line for line in cell.source.splitlines() if line.strip()]
        code = [line for line in lines if not line.lstrip().startswith(("#", "%%"))] or lines
        _say(event="cell", number=self.number, of=self.total, code=code[0].strip())

    def failed(self, name: str, text: str) -> None:
        """The cell that ran failed."""
        _say(event="failed", number=self.number, of=self.total, name=name, text=text)


def _say(**event: object) -> None:
    print(json.dumps(event), flush=True)


def _die_quickly(client: NotebookClient) -> None:
    """On SIGTERM or SIGINT: no farewell to the kernel, whose own guard ends what it started.

    nbclient's handlers would wait for the kernel's answer; they are in place by now and replaced.
    """
    loop = asyncio.get_running_loop()

    def die() -> None:
        provisioner = getattr(client.km, "provisioner", None)
        group = getattr(provisioner, "pgid", None) or getattr(provisioner, "pid", None)
        if group:
            with suppress(OSError):
                os.killpg(group, signal.SIGKILL)
        os._exit(TERMINATED)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, die)


if __name__ == "__main__":
    sys.exit(asyncio.run(play(Path(sys.argv[1]), seconds=int(sys.argv[2]))))

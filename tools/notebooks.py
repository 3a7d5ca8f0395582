"""Runs every notebook from top to bottom and stores what it shows: `make notebooks`.

Not `jupyter execute`: that stores the widgets' state, in which stands whatever people typed.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

SECONDS_PER_CELL = 120
_TRANSIENT = ("execution", "collapsed", "scrolled")


def execute(path: Path) -> bool:
    """Run one notebook in place; tell whether every cell came through."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    notebook.metadata.pop("widgets", None)
    os.environ["TPROV_NOTEBOOK"] = str(path.resolve())
    os.environ["TPROV_AUTOPILOT"] = "1"
    client = NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    began = time.monotonic()
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"{path}: {error.ename}: {error.evalue}", file=sys.stderr)
        return False
    for cell in notebook.cells:
        for name in _TRANSIENT:
            cell.metadata.pop(name, None)
        if cell.cell_type == "code":
            _join_streams(cell)
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
    print(f"{path}: {time.monotonic() - began:.1f} s")
    return True


def _join_streams(cell: nbformat.NotebookNode) -> None:
    """Make one output of a stream that arrived in pieces: the pieces differ from run to run."""
    joined: list[nbformat.NotebookNode] = []
    for output in cell.outputs:
        last = joined[-1] if joined else None
        if last and output.output_type == "stream" == last.output_type and last.name == output.name:
            last.text += output.text
        else:
            joined.append(output)
    cell.outputs = joined


if __name__ == "__main__":
    failed = [name for name in sys.argv[1:] if not execute(Path(name))]
    sys.exit(bool(failed))

"""A failure in a cell is one sentence with a remedy, not a stack trace."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import TracebackType
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import HTML, display

from tprov_kernel.errors import TprovError
from tprov_kernel.lab.place import find_place
from tprov_kernel.widgets.panel import error_html


class RunFirst(TprovError):
    """A cell was run before the one it builds on."""


def install() -> None:
    """Show our own errors, and a name that an earlier cell makes, as a sentence; others as ever."""
    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc((TprovError, NameError), _show)


def show(error: TprovError) -> None:
    """Put the sentence and its remedy into the running cell."""
    display(HTML(error_html(error)))


def _show(
    shell: Any,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
    tb_offset: int | None = None,
) -> list[str]:
    if isinstance(error, NameError):
        first = _run_first(error, find_place().path)
        if first is None:
            shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
            return []
        error = first
    if isinstance(error, TprovError):
        show(error)
        return [str(error)]
    return []


def _run_first(error: NameError, notebook: Path | None) -> RunFirst | None:
    """Find the cell of this notebook that makes the missing name."""
    name = error.name or ""
    if not name or notebook is None:
        return None
    try:
        cells = json.loads(notebook.read_text())["cells"]
    except (OSError, ValueError, KeyError):
        return None
    maker = re.compile(rf"^(?:async )?(?:def )?{re.escape(name)}\b(?:\(|\s*=)", re.MULTILINE)
    for cell in cells:
        source = "".join(cell.get("source", ""))
        if cell.get("cell_type") == "code" and (found := maker.search(source)):
            line = source[found.start() :].splitlines()[0]
            return RunFirst(
                f"There is no {name!r} yet.", remedy=f"Run the cell with `{line}` first."
            )
    return None

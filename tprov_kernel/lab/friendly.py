"""A failure in a cell is one sentence with a remedy, not a stack trace; an interrupt is no failure.

IPython hands these exceptions to us in place of its own display. The cell still counts as failed,
so that 'Run All' stops there, and nbclient too.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from IPython.core.getipython import get_ipython

from tprov_kernel.errors import TprovError
from tprov_kernel.lab.output import show_html
from tprov_kernel.lab.place import find_place
from tprov_kernel.lab.typed import mistyped
from tprov_kernel.widgets.panel import error_html, note_html

INTERRUPTED = (
    "Interrupted. Runs go on without this cell: they live on the Temporal server."
    " Run the cell again at any time."
)


class RunFirst(TprovError):
    """A cell was run before the one it builds on."""


def install() -> None:
    """Show as a sentence: our errors, an interrupt, a mistyped call, a name of an earlier cell.

    Everything else is shown as ever.
    """
    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc(
            (
                *(TprovError, NameError, TypeError, AttributeError),
                *(KeyboardInterrupt, asyncio.CancelledError),
            ),
            _show,
        )


def show(error: TprovError) -> None:
    """Put the sentence and its remedy into the running cell."""
    show_html(error_html(error), str(error))


def _show(
    shell: Any,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
    tb_offset: int | None = None,
) -> list[str]:
    if isinstance(error, NameError):
        error = _run_first(error, find_place().path) or error
    if isinstance(error, (TypeError, AttributeError)):
        error = mistyped(error) or error
    if isinstance(error, TprovError):
        show(error)
        return [str(error)]
    if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError)) and _is_ours(trace):
        show_html(note_html(INTERRUPTED), INTERRUPTED)
        return [INTERRUPTED]
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
    return []


def _is_ours(trace: TracebackType | None) -> bool:
    """Whether it happened while a cell waited for us; its own code is shown where it stood."""
    return any(name.startswith("tprov_kernel.") for name in _modules(trace))


def _modules(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        yield trace.tb_frame.f_globals.get("__name__", "")
        trace = trace.tb_next


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

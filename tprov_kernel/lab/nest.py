"""For snippets pasted from a documentation: `asyncio.run(main())` inside a notebook.

Opt-in, in one labelled cell whose first line is ``await allow_asyncio_run()``. The patch (by
nest-asyncio) is process-wide, and pumping the kernel's loop from a cell without a top-level
``await`` discards messages: that first line is what makes its cell a safe one.
"""

from __future__ import annotations

import linecache
import sys
import tempfile
from pathlib import Path
from typing import Any

_nested: dict[str, Any] = {}


async def allow_asyncio_run() -> None:
    """Let the rest of this cell be a script: `asyncio.run(...)`, workflows defined on the spot.

    Until the cell ends, `asyncio.run` works although a loop is running. The cell's text is also
    put into a file that `__main__` names as its own: Temporal's workflow sandbox imports a
    workflow's module anew, and a cell has no file.
    """
    import asyncio

    import nest_asyncio
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    plain_run = asyncio.run
    nest_asyncio.apply()  # patches `asyncio.run` the first time only
    asyncio.run = _nested.setdefault("run", asyncio.run)
    main: Any = sys.modules["__main__"]
    folder = tempfile.TemporaryDirectory(prefix="tprov-cell-")
    script = Path(folder.name) / "cell.py"
    # The kernel keeps the text of each cell for tracebacks; its history may be switched off.
    cell = linecache.getlines(sys._getframe(1).f_code.co_filename)
    script.write_text(_script(cell))
    former = getattr(main, "__file__", None)
    main.__file__ = str(script)

    def restore(_: Any = None) -> None:
        asyncio.run = plain_run
        if former is None:
            del main.__file__
        else:
            main.__file__ = former
        folder.cleanup()
        if shell is not None:
            shell.events.unregister("post_run_cell", restore)

    if shell is not None:
        shell.events.register("post_run_cell", restore)


def _script(cell: list[str]) -> str:
    """The cell without the line that calls us: a module cannot await."""
    return "".join(line for line in cell if "allow_asyncio_run" not in line)

"""The notebook side: `open_lab` opens or attaches to the services and runs the worker.

Client, worker and watchers live on one thread with its own event loop (`runtime.py`), so a cell
that blocks never stops a heartbeat. Heavy modules are imported while the services start.

    lab.py       what a notebook holds: start, wait, look, tidy up
    run.py       one run: its card, and waiting for it
    opening.py   the services: those of `tprov lab`, or its own
    worker.py    the worker in the kernel
    care.py      services that end by themselves come back
    friendly.py  a failure in a cell is a sentence
    typed.py     what was typed into a cell, looked at first
    place.py     which notebook this is, and whether anybody is there
    panel.py checks.py looks.py scenarios.py   what cells show
    table.py     the table of all runs, kept up to date
    keys.py threeways.py oncloud.py            the same, of payloads and of the remote target
    nest.py      for snippets that end with `asyncio.run(main())`
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from tprov_kernel.errors import ServiceError
from tprov_kernel.lab import _state, friendly, typed
from tprov_kernel.lab.lab import Lab
from tprov_kernel.lab.oncloud import why_not
from tprov_kernel.lab.place import find_place
from tprov_kernel.settings import Target

if TYPE_CHECKING:
    from tprov_kernel.payloads.keysource import AskForKeys


def open_lab(
    notebook: str = "",
    *,
    target: Target = "local",
    or_local: bool = False,
    pace: float | None = None,
    keys: AskForKeys | None = None,
) -> Lab:
    """Open a small cloud platform in this kernel, or show the one that is open already.

    Starts, or attaches to, the Temporal server, the codec server and the Cloud API stand-in, and
    runs a worker in this kernel. Running it again changes nothing, and says so; a worker that was
    stopped runs again.

    Args:
        notebook: The notebook's name, where the front end does not tell; names the data directory
            and the task queue.
        target: ``local``, or ``remote`` to use what the environment says.
        or_local: With ``target="remote"``: where the environment does not say enough, or nobody is
            there to see what will be made, stay local, and say so.
        pace: Seconds of pause before each step of a run; default is 0.8 with an audience, else 0.
        keys: With ``target="remote"``: a function that gives the key ring (what a keys.json holds,
            as a mapping or as JSON), for a KMS. It is called when the lab opens, and again when a
            payload names a key that it did not give.

    Raises:
        TprovError: With a sentence and a remedy; the cell shows just those.
    """
    friendly.install()
    typed.opening(notebook, target, pace)
    typed.keys(keys, target)
    place = find_place()
    _state.ambient = _state.ambient or dict(os.environ)
    why = why_not(_state.ambient, headless=place.headless) if or_local else ""
    if target == "remote" and why:
        target, keys = "local", None
    lab: Lab | None = _state.current
    if lab is not None and lab.is_open:
        if lab.settings.target != target:
            raise ServiceError(
                f"The lab of this kernel is open with target {lab.settings.target!r}.",
                remedy="Restart the kernel to open it with another one.",
            )
        title = "Your lab is open already: nothing was changed"
        if not lab.worker_runs:
            lab.restart_worker()
            title = "Your lab is open already: its worker was stopped, and runs again"
        lab.show(title=title)
        print(why, end="\n" if why else "")
        return lab
    if notebook:
        place = replace(place, name=notebook)
    lab = _state.current = Lab(place, target=target, pace=pace, keys=keys)
    lab.show()
    if why:
        print(why)
    lab.show_open_runs()
    return lab


__all__ = ["Lab", "open_lab"]

"""Where the lab is opened: which notebook, and is anybody there to press buttons?"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tprov_kernel.settings import truth


@dataclass(frozen=True, kw_only=True)
class Place:
    """The notebook that a lab is opened in.

    Attributes:
        name: The notebook's name without folder and ending: '01_happy_path'.
        path: Its file; None when no front end told.
        headless: Nobody can press buttons here: nbval, nbclient, papermill, a script.
        attached: Kernels of `tprov lab` use its services; others open their own.
    """

    name: str
    path: Path | None
    headless: bool
    attached: bool


def find_place() -> Place:
    """Find out from what front ends and runners leave in the environment."""
    path = _notebook_path()
    name = re.sub(r"[^a-z0-9_-]", "-", path.stem.lower()) if path else "notebook"
    chosen = os.environ.get("TPROV_AUTOPILOT", "")
    live = "JPY_SESSION_NAME" in os.environ or _vscode_path() is not None
    headless = truth(chosen, name="TPROV_AUTOPILOT") if chosen else not live
    return Place(
        name=name,
        path=path,
        headless=headless,
        attached=truth(os.environ.get("TPROV_ATTACH", ""), name="TPROV_ATTACH"),
    )


def _notebook_path() -> Path | None:
    candidates = [
        os.environ.get("TPROV_NOTEBOOK"),  # `tprov play`
        os.environ.get("JPY_SESSION_NAME"),  # Jupyter servers
        _vscode_path(),
        os.environ.get("PYTEST_CURRENT_TEST", "").split("::")[0],  # nbval
    ]
    for text in candidates:
        if text and text.endswith(".ipynb"):
            path = Path(text)
            return path if path.exists() else Path.cwd() / path.name
    return None


def _vscode_path() -> str | None:
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    found = shell.user_ns.get("__vsc_ipynb_file__") if shell is not None else None
    return found if isinstance(found, str) else None

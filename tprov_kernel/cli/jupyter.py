"""A Jupyter of one's own: nothing of the user's is read, nothing is written to it."""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

import psutil

from tprov_kernel.files import private_directory
from tprov_kernel.services.ports import is_answered

_PLACES = {
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "IPYTHONDIR": "ipython",
}
_DROPPED = ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH", "JUPYTER_TOKEN", "JUPYTER_NO_CONFIG")


def make_private(home: Path, environ: MutableMapping[str, str]) -> None:
    """Point Jupyter's and IPython's directories, in an environment, below ``home``; make them.

    To be called before anything of Jupyter is imported; kernels inherit it.

    Args:
        home: The instance's data directory.
        environ: Is changed.
    """
    base = home / "jupyter"
    for name, folder in _PLACES.items():
        place = base / folder
        private_directory(place)
        place.chmod(0o700)
        environ[name] = os.fspath(place)
    base.chmod(0o700)
    # This environment's kernel and extensions come first: a user's may be of another Python.
    environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    for name in _DROPPED:
        environ.pop(name, None)


def address_of_open_lab(home: Path, *, page: str) -> str:
    """The address of a page, with its token, of the JupyterLab that is open in ``home``.

    Empty when none is.
    """
    for file in (home / "jupyter" / "runtime").glob("jpserver-*.json"):
        # One that was killed leaves its file behind: it has to run, and to answer.
        with suppress(OSError, ValueError, KeyError):
            server = json.loads(file.read_text())
            if psutil.pid_exists(server["pid"]) and is_answered(server["port"]):
                return f"{server['url'].rstrip('/')}{page}?token={server['token']}"
    return ""

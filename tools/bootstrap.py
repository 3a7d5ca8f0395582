"""Set up from nothing: a Python, uv, the environment, then the tools.

Any Python from 3.8 on can start it (so keep this file's syntax that old); it goes on under one
that is new enough. It finds a Python by *running* each candidate, because a version manager's shim
may be there and refuse. The environment `.venv` is made from the hashed `requirements.lock`, and
counts as made only when its stamp says so: an interrupted one is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:
    from tprov_kernel.toolchain.steps import Printer, Steps

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 14)
"""The first and the last Python for which every wheel exists."""

NAMES = ("python3", "python3.13", "python3.12", "python3.11", "python3.14", "python")
ELSEWHERE = (
    (".pyenv/versions", "*/bin/python3"),
    (".local/share/uv/python", "*/bin/python3"),
    (".local/bin", "python3*"),
    ("/opt/homebrew/bin", "python3*"),
    ("/usr/local/bin", "python3*"),
    ("/usr/bin", "python3*"),
)
"""Where interpreters are that PATH often hides; relative to the home directory."""

QUESTION = """
import json, sys
from importlib.util import find_spec
own = getattr(sys, "_base_executable", None) or sys.executable
fit = sys.implementation.name == "cpython" and sys.maxsize > 2 ** 32
pip = bool(find_spec("venv") and find_spec("ensurepip"))
print(json.dumps([own, list(sys.version_info[:2]), fit, pip]))
"""

NEEDED = ("python", "tprov", "temporal", "jupyter-lab", "pytest", "ruff", "mypy")
"""Programs without which the environment is not whole."""

PROMPT = "tprov_kernel"
"""Marks an environment as ours in its pyvenv.cfg, whatever state it is in."""


class Python(NamedTuple):
    """An interpreter that answered: where it really is, and what it can do."""

    path: str
    version: tuple[int, int]
    fit: bool
    makes_venvs: bool


@lru_cache
def ask(path: Path) -> Python | None:
    """Run a candidate; gives None if it refuses, hangs, or talks nonsense."""
    command = [str(path), "-I", "-c", QUESTION]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True
        )
        own, version, fit, pip = json.loads(done.stdout)
        return Python(own, (version[0], version[1]), fit, pip)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def candidates(environ: Mapping[str, str], elsewhere: Sequence[tuple[str, str]]) -> Iterator[Path]:
    """Give every path that may be a Python, best first: `TPROV_PYTHON` alone if that is set."""
    if environ.get("TPROV_PYTHON"):
        yield Path(environ["TPROV_PYTHON"]).expanduser()
        return
    folders = [Path(f) for f in environ.get("PATH", os.defpath).split(os.pathsep)]
    yield from (folder / name for name in NAMES for folder in folders)
    home = Path(environ.get("HOME") or Path.home())
    for place, pattern in elsewhere:
        for path in sorted((home / place).glob(pattern), reverse=True):
            if not path.name.endswith("-config"):
                yield path


def find_python(
    environ: Mapping[str, str],
    *,
    for_venv: bool = False,
    elsewhere: Sequence[tuple[str, str]] = ELSEWHERE,
) -> Python | None:
    """Find an interpreter that works.

    Args:
        environ: Whose `PATH`, `HOME` and `TPROV_PYTHON` count.
        for_venv: Look for one, of any version, that can make a virtual environment with pip in it.
        elsewhere: Folders and patterns to look at after `PATH`.
    """
    for path in candidates(environ, elsewhere):
        found = ask(path) if os.access(path, os.X_OK) else None
        if found is None:
            continue
        if for_venv and found.makes_venvs:
            return found
        if not for_venv and found.fit and OLDEST <= found.version <= NEWEST:
            return found
    return None


SOURCES = ("requirements.lock", "pyproject.toml", "tools/bootstrap.py")


def digest(root: Path) -> str:
    """Give what the environment is made from."""
    return hashlib.sha256(b"\0".join((root / name).read_bytes() for name in SOURCES)).hexdigest()


def stamp(root: Path) -> Path:
    """Give the file that says where and from what the environment was made; it is written last."""
    return root / ".venv" / "tprov-setup.json"


def stamped(root: Path) -> dict[str, str]:
    """Read the stamp; gives nothing where there is none."""
    try:
        return dict(json.loads(stamp(root).read_text()))
    except (OSError, ValueError):
        return {}


def whole(root: Path) -> bool:
    """Tell whether the environment was finished once, in this place, and nothing known is gone.

    A clone that was moved has scripts that name its old place.
    """
    programs = root / ".venv" / "bin"
    finished_here = stamped(root).get("root") == str(root)
    return finished_here and all((programs / name).exists() for name in NEEDED)


def current(root: Path) -> bool:
    """Tell whether the environment is whole, and made from what is in the repository now."""
    return whole(root) and stamped(root).get("digest") == digest(root)


def make_environment(root: Path, *, python: str, uv: Path, steps: Steps) -> None:
    """Make or update `.venv`; call it under its lock.

    Args:
        root: The repository.
        python: The interpreter it is made with.
        uv: The uv to make it with.
        steps: Runs what has to be run.
    """
    from tprov_kernel.toolchain.wheels import run_uv

    venv = root / ".venv"
    if not whole(root):
        _clear(venv, steps)
        run_uv(
            steps,
            uv,
            ["venv", "--no-project", "--python", python, "--prompt", PROMPT, venv],
            label="Making the Python environment",
            environ=os.environ,
            cwd=root,
        )
    stamp(root).unlink(missing_ok=True)
    here: Sequence[str | Path] = ["--python", venv / "bin" / "python"]
    run_uv(
        steps,
        uv,
        [
            *("pip", "sync", *here, "--require-hashes", "--only-binary=:all:"),
            # once now, not at the start of every kernel: PYTHONDONTWRITEBYTECODE may be set
            *("--compile-bytecode", "requirements.lock"),
        ],
        label="Installing the Python packages (about 1 GB)",
        environ=os.environ,
        cwd=root,
    )
    run_uv(
        steps,
        uv,
        ["pip", "install", *here, "--no-deps", "--no-build-isolation", "--offline", "-e", "."],
        label="Installing this project",
        environ=os.environ,
        cwd=root,
    )
    fresh = stamp(root).with_suffix(".part")
    fresh.write_text(json.dumps({"digest": digest(root), "root": str(root)}))
    fresh.replace(stamp(root))


def _clear(venv: Path, steps: Steps) -> None:
    """Remove an environment of ours; put anybody else's aside."""
    settings = venv / "pyvenv.cfg"
    if settings.is_file() and f"prompt = {PROMPT}" not in settings.read_text().splitlines():
        aside = venv.parent / ".tprov" / f"replaced-venv-{time.strftime('%Y%m%d-%H%M%S')}"
        venv.rename(aside)
        steps.progress(f"There was a .venv of another origin; it is in {aside} now.")
    elif venv.is_symlink() or venv.is_file():
        venv.unlink()
    elif venv.exists():
        shutil.rmtree(venv)


def set_up(show: Printer) -> None:
    """Make the environment current, if it is not."""
    from tprov_kernel.errors import ToolError
    from tprov_kernel.toolchain.places import tools_home
    from tprov_kernel.toolchain.steps import Steps
    from tprov_kernel.toolchain.wheels import ensure_uv

    steps = Steps(progress=show, logs=ROOT / ".tprov" / "logs")
    with steps.lock(ROOT / ".tprov" / "setup.lock", label="another set-up here") as steps:
        if current(ROOT):
            return
        tools = tools_home(os.environ)
        with steps.lock(tools / "lock", label="another set-up of the tools") as alone:
            maker = find_python(os.environ, for_venv=True)
            uv = ensure_uv(
                alone, tools=tools, environ=os.environ, python=maker.path if maker else None
            )
        # this one works, or we would not be here; another only if it is asked for
        own = None if os.environ.get("TPROV_PYTHON") else ask(Path(sys.executable))
        python = own if own and own.fit else find_python(os.environ)
        if python is None:
            raise ToolError(no_python(os.environ)[0], remedy=no_python(os.environ)[1])
        make_environment(ROOT, python=python.path, uv=uv, steps=steps)


def no_python(environ: Mapping[str, str]) -> tuple[str, str]:
    """Give the sentence and the remedy for when no Python will do."""
    wanted = "Python {}.{} to {}.{}".format(*OLDEST, *NEWEST)
    again = "then run `make setup` again."
    if environ.get("TPROV_PYTHON"):
        named = environ["TPROV_PYTHON"]
        return (
            f"TPROV_PYTHON names {named}, which is no {wanted} that works.",
            f"Correct it, or unset it, {again}",
        )
    return (
        f"There is no {wanted} that works.",
        "Install one (Debian and Ubuntu: apt-get install python3 python3-venv; macOS: brew install"
        f" python), or set TPROV_PYTHON to the path of one, {again}",
    )


def go_on_elsewhere(*, stream: TextIO) -> int:
    """Go on under a Python that is new enough; returns only if there is none."""
    python = find_python(os.environ)
    uv = shutil.which("uv")
    if python:
        path: str | None = python.path
    else:
        path = fetch_python(uv, stream=stream) if uv else None
    if path:
        os.execv(path, [path, __file__])  # noqa: S606 - this script again, a newer Python
    stream.write("\n{}\n  {}\n".format(*no_python(os.environ)))
    return 1


def fetch_python(uv: str, *, stream: TextIO) -> str | None:
    """Let uv fetch a Python; gives None if it can't."""
    stream.write(f"No Python {OLDEST[0]}.{OLDEST[1]} or newer works here; uv fetches one …\n")
    stream.flush()
    version = "3.13"
    subprocess.run([uv, "python", "install", version], stdin=subprocess.DEVNULL, check=False)
    done = subprocess.run(
        [uv, "python", "find", "--no-project", version],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return done.stdout.decode().strip() or None


def main() -> int:
    """Set up, and go on as the tools' own set-up in the new environment; returns a failure."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return go_on_elsewhere(stream=sys.stderr)
    sys.path.insert(0, str(ROOT))
    from tprov_kernel.toolchain.steps import guarded_main

    code = 0 if current(ROOT) else guarded_main(set_up, stream=sys.stderr, again="make setup")
    if code == 0:
        python = str(ROOT / ".venv" / "bin" / "python")
        os.chdir(ROOT)
        os.execv(python, [python, "-m", "tprov_kernel.toolchain"])  # noqa: S606 - its own Python
    return code


if __name__ == "__main__":
    sys.exit(main())

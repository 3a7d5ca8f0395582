"""From nothing: a Python that works, an environment that is whole, locks that anybody can use."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

from tprov_kernel.toolchain.steps import Steps

ROOT = Path(__file__).resolve().parent.parent
BOOTSTRAP = ROOT / "tools" / "bootstrap.py"
LOCKS = [ROOT / "requirements.lock", *sorted((ROOT / "tools" / "wheels").glob("*.txt"))]


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    """The bootstrap, loaded from its file as it is no part of the package."""
    spec = importlib.util.spec_from_file_location("bootstrap", BOOTSTRAP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def python(path: Path, version: tuple[int, int], *, ensurepip: bool = True) -> Path:
    """Write a program that answers the bootstrap's question as some Python would."""
    answer = json.dumps([str(path), version, True, ensurepip])
    return script(path, f"echo '{answer}'")


def script(path: Path, body: str) -> Path:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


class TestFindingPython:
    def test_starts_under_an_old_one(self) -> None:
        """The file is understood by Python 3.8, and imports nothing but the standard library."""
        tree = ast.parse(BOOTSTRAP.read_text(), feature_version=(3, 8))

        imported = [
            name
            for node in tree.body
            for name in (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
            )
        ]
        assert imported
        assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names

    def test_a_shim_that_refuses_hides_nothing(self, bootstrap: ModuleType, tmp_path: Path) -> None:
        """A version manager's shim is there, executable, and exits 127: the next one is taken."""
        script(tmp_path / "shims" / "python3", "echo 'python3: command not found' >&2; exit 127")
        (tmp_path / "good").mkdir()
        (tmp_path / "good" / "python3").symlink_to(sys.executable)
        environ = {"PATH": f"{tmp_path}/shims:{tmp_path}/good", "HOME": str(tmp_path)}

        found = bootstrap.find_python(environ)

        assert found.version == sys.version_info[:2]
        # never an environment's own, which may be the one that is about to be replaced
        assert str(Path(found.path).resolve()) == str(Path(sys.executable).resolve())

    def test_too_old_too_new_and_nonsense(self, bootstrap: ModuleType, tmp_path: Path) -> None:
        """What has no wheels is not taken, and then there is none."""
        python(tmp_path / "a" / "python3", (3, 9))
        python(tmp_path / "b" / "python3", (3, 99))
        script(tmp_path / "c" / "python3", "echo hello")
        environ = {"PATH": f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/c", "HOME": str(tmp_path)}

        assert bootstrap.find_python(environ, elsewhere=()) is None
        remedy = bootstrap.no_python(environ)[1]
        assert "apt-get install python3" in remedy
        assert "TPROV_PYTHON" in remedy

    def test_where_path_does_not_lead(self, bootstrap: ModuleType, tmp_path: Path) -> None:
        """One that a version manager installed, but does not select, is found."""
        hidden = python(tmp_path / ".pyenv" / "versions" / "3.12.1" / "bin" / "python3", (3, 12))

        found = bootstrap.find_python({"PATH": "", "HOME": str(tmp_path)})

        assert str(hidden) == found.path

    def test_the_named_one_alone(self, bootstrap: ModuleType, tmp_path: Path) -> None:
        """`TPROV_PYTHON` is used, or refused in words; nothing else is tried."""
        python(tmp_path / "path" / "python3", (3, 12))
        named = python(tmp_path / "mine", (3, 13))
        environ = {"PATH": f"{tmp_path}/path", "TPROV_PYTHON": str(named)}

        assert str(named) == bootstrap.find_python(environ).path
        environ["TPROV_PYTHON"] = str(tmp_path / "nowhere")
        assert bootstrap.find_python(environ) is None
        assert str(tmp_path / "nowhere") in bootstrap.no_python(environ)[0]

    def test_one_that_can_make_an_environment(self, bootstrap: ModuleType, tmp_path: Path) -> None:
        """Debian's Python without python3-venv can be used, but not to install uv."""
        python(tmp_path / "a" / "python3", (3, 12), ensurepip=False)
        complete = python(tmp_path / "b" / "python3", (3, 9))
        environ = {"PATH": f"{tmp_path}/a:{tmp_path}/b", "HOME": str(tmp_path)}

        assert bootstrap.find_python(environ).version == (3, 12)
        assert str(complete) == bootstrap.find_python(environ, for_venv=True).path


class TestEnvironment:
    @pytest.fixture
    def root(self, bootstrap: ModuleType, tmp_path: Path) -> Path:
        """A repository whose environment was just made."""
        root = tmp_path / "clone"
        for name in bootstrap.SOURCES:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)
        for name in bootstrap.NEEDED:
            script(root / ".venv" / "bin" / name, "")
        stamp = {"root": str(root), "digest": bootstrap.digest(root)}
        bootstrap.stamp(root).write_text(json.dumps(stamp))
        return root

    def test_nothing_to_do(self, bootstrap: ModuleType, root: Path) -> None:
        """What was made from these files, here, and is all there, is current."""
        assert bootstrap.current(root)

    @pytest.mark.parametrize("name", ["python", "temporal", "tprov"])
    def test_a_deleted_program_is_noticed(
        self, bootstrap: ModuleType, root: Path, name: str
    ) -> None:
        """The environment is not whole without it, so it is made anew."""
        (root / ".venv" / "bin" / name).unlink()

        assert not bootstrap.whole(root)

    def test_a_python_that_was_removed_is_noticed(
        self, bootstrap: ModuleType, root: Path, tmp_path: Path
    ) -> None:
        """The link is there, what it leads to is not."""
        (root / ".venv" / "bin" / "python").unlink()
        (root / ".venv" / "bin" / "python").symlink_to(tmp_path / "upgraded" / "python")

        assert not bootstrap.whole(root)

    def test_an_interrupted_one_is_not_whole(self, bootstrap: ModuleType, root: Path) -> None:
        """Without its stamp, written last, nothing in it counts."""
        bootstrap.stamp(root).unlink()
        assert not bootstrap.whole(root)
        bootstrap.stamp(root).write_text('{"root": ')
        assert not bootstrap.whole(root)

    def test_another_lock_means_an_update(self, bootstrap: ModuleType, root: Path) -> None:
        """It is whole, and brought up to date in place."""
        (root / "requirements.lock").write_text("another")

        assert (bootstrap.whole(root), bootstrap.current(root)) == (True, False)

    def test_a_moved_clone_needs_a_new_one(self, bootstrap: ModuleType, root: Path) -> None:
        """Its programs' first lines name the old place."""
        moved = root.rename(root.with_name("moved"))

        assert not bootstrap.whole(moved)

    def test_somebody_elses_is_put_aside(
        self, bootstrap: ModuleType, root: Path, tmp_path: Path
    ) -> None:
        """An editor's `.venv` is kept; one of ours is not worth keeping."""
        said: list[str] = []
        steps = Steps(progress=said.append, logs=tmp_path / "logs")
        (root / ".tprov").mkdir()
        settings = root / ".venv" / "pyvenv.cfg"

        settings.write_text("home = /usr/bin\n")
        bootstrap._clear(root / ".venv", steps)
        aside = [path.name for path in (root / ".tprov").iterdir()]
        assert len(aside) == 1
        assert aside[0] in said[0]
        assert not (root / ".venv").exists()

        settings.parent.mkdir()
        settings.write_text("home = /usr/bin\nprompt = tprov_kernel\n")
        bootstrap._clear(root / ".venv", steps)
        assert aside == [path.name for path in (root / ".tprov").iterdir()]
        assert not (root / ".venv").exists()


class TestCommand:
    @pytest.fixture
    def clone(self, tmp_path: Path) -> Path:
        """A copy of what the bootstrap needs, in which nothing was set up."""
        clone = tmp_path / "clone"
        clone.mkdir()
        for name in ("requirements.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, clone)
        shutil.copytree(ROOT / "tools", clone / "tools")
        (clone / "tprov_kernel").mkdir()
        for name in ("__init__", "errors", "files", "messages", "settings", "texts", "unsaid"):
            shutil.copy(ROOT / "tprov_kernel" / f"{name}.py", clone / "tprov_kernel")
        shutil.copytree(ROOT / "tprov_kernel" / "toolchain", clone / "tprov_kernel" / "toolchain")
        return clone

    def run(self, clone: Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the bootstrap as on a machine with nothing but this Python, and no network."""
        nowhere = "http://127.0.0.1:9"
        environ = {
            "PATH": os.fspath(clone),
            "HOME": os.fspath(clone.parent / "home"),
            "PIP_INDEX_URL": f"{nowhere}/simple",
            "HTTPS_PROXY": nowhere,
            "GOPROXY": nowhere,
        }
        return subprocess.run(
            [sys.executable, clone / "tools" / "bootstrap.py"],
            env=environ | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def test_no_network_the_first_time(self, clone: Path) -> None:
        """It ends with a sentence that says what to do, and no environment that looks made."""
        done = self.run(clone)

        assert done.returncode == 1
        assert "Installing uv privately failed: what it needs could not be reached" in done.stderr
        assert "Connect this machine, or name a mirror" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (clone / ".venv").exists()

    def test_a_folder_that_cannot_be_written(self, clone: Path) -> None:
        """The sentence names the place that is in the way."""
        (clone / ".tprov").write_text("a file where a folder is to be")

        done = self.run(clone)

        assert done.returncode == 1
        assert f"stopped by the file system: File exists ({clone}/.tprov)" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_python_that_is_none(self, clone: Path) -> None:
        """A `TPROV_PYTHON` that does not work is an error, not a reason to take another."""
        uv = script(clone / "uv", "echo uv 0.0.0")

        done = self.run(clone, TPROV_PYTHON="/nowhere/python", PATH=str(uv.parent))

        assert done.returncode == 1
        assert "TPROV_PYTHON names /nowhere/python" in done.stderr


class TestLocks:
    @pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
    def test_hashes_and_no_address(self, lock: Path) -> None:
        """Each requirement is pinned and hashed, and none says where it is to come from."""
        text = lock.read_text()
        requirements = re.findall(
            r"^(\S+)==.*((?:\n    --hash=sha256:[0-9a-f]{64}.*)+)", text, re.M
        )

        assert len(requirements) == len(re.findall(r"^[\w.-]+(?=[=<>~! ])", text, re.M)) > 0
        assert "://" not in text
        assert "index-url" not in text

    def test_the_lock_holds_what_the_project_asks_for(self) -> None:
        """Every dependency, the development group's too, is locked in a version that will do."""
        text = (ROOT / "requirements.lock").read_text()
        locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.M))
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]

        for requirement in map(Requirement, wanted):
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            assert name in locked, f"{requirement}: run `make lock`"
            assert locked[name] in requirement.specifier, f"{requirement}: run `make lock`"

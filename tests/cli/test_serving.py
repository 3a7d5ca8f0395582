"""up, down, reset and lab: what they open ends with them, however they end."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.typed import TPROV, Terminal, left_over, naming, until_said
from tprov_kernel.services import owner_of
from tprov_kernel.toolchain.places import tools_home

CONFIG = "terraform/tcloud_namespace"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal with data of its own; whatever a failed test leaves open is closed."""
    terminal = Terminal(tmp_path / "home")
    yield terminal
    if (owner := owner_of(terminal.home)) is not None:
        os.kill(owner.pid, signal.SIGKILL)
    assert left_over(terminal.home, limit=20) == []


def opened(terminal: Terminal, *more: str) -> int:
    """Open the services in the background; give their owner's process id."""
    said = terminal.run(*TPROV, "up", "--detach", *more)
    assert said.code == 0, said.err
    owner = owner_of(terminal.home)
    assert owner is not None
    assert owner.kind == "up"
    return owner.pid


def test_up_and_down(terminal: Terminal) -> None:
    """Ready when it returns; a second one says so; down returns when everything is gone."""
    said = terminal.run(*TPROV, "up", "--detach")
    assert said.code == 0, said.err
    assert "polls infra-provisioning" in said.out
    again = terminal.type("up")
    assert again.code == 0
    assert "are open already, by `tprov up`" in again.err
    assert "Temporal server" in again.out

    started = terminal.run(*TPROV, "start", "demo", "--config", CONFIG, "--watch")
    assert started.code == 0, started.err

    refused = terminal.type("reset", "--yes")
    assert refused.code == 1
    assert "nothing was removed" in refused.err

    down = terminal.type("down")
    assert down.code == 0, down.err
    assert naming(terminal.home) == []

    assert stat.S_IMODE(terminal.home.stat().st_mode) == 0o700
    keys = (terminal.home / "keys.json").read_bytes()
    nobody = terminal.type("reset")
    assert nobody.code == 1
    assert "Give --yes" in nobody.err
    reset = terminal.type("reset", "--yes")
    assert reset.code == 0, reset.err
    assert re.search(r"removed .*stacks: demo", reset.out)
    assert (terminal.home / "keys.json").read_bytes() == keys
    assert not (terminal.home / "temporal.db").exists()


@pytest.mark.timeout(180)
def test_down_waits_for_a_terraform_at_work(terminal: Terminal) -> None:
    """It says so, gives it its grace, and returns when it is gone."""
    opened(terminal)
    slow = terminal.run(*TPROV, "cloud", "slow", "CreateNamespace", "100", "--always")
    assert slow.code == 0, slow.err
    started = terminal.type("start", "slow", "--config", CONFIG)
    assert started.code == 0, started.err
    while "creating" not in terminal.type("status", "slow").out:  # before that it ends at once
        time.sleep(0.1)
    down = terminal.type("down")
    assert down.code == 0, down.err
    assert "Waiting for the Terraform at work on slow to end" in down.err
    assert naming(terminal.home) == []


def test_a_killed_owner_leaves_no_process_and_loses_no_run(terminal: Terminal) -> None:
    """Kill -9 of `tprov up`: gone within five seconds; the run goes on when it is open again."""
    pid = opened(terminal, "--no-worker")
    started = terminal.type("start", "kept", "--config", CONFIG)
    assert "Nobody polls" in started.err
    os.kill(pid, signal.SIGKILL)
    assert left_over(terminal.home, limit=5) == []

    opened(terminal)
    watched = terminal.run(*TPROV, "status", "kept", "--watch")
    assert watched.code == 0, watched.out
    assert "stack-kept applied" in watched.out
    assert terminal.type("down").code == 0


def test_in_the_foreground_it_ends_by_ctrl_c_and_restarts_what_dies(
    terminal: Terminal, tmp_path: Path
) -> None:
    """A service that is killed is started again, and said so; SIGINT closes everything."""
    log = tmp_path / "log"
    with terminal.runs("up", log=log) as process:
        until_said(log, "closes them", process=process, limit=30)
        (server,) = (
            child
            for child in psutil.Process(process.pid).children(recursive=True)
            if "start-dev" in child.cmdline()
        )
        server.kill()
        until_said(log, "It was started again", process=process, limit=20)
        assert "ended by itself (signal 9)" in log.read_text()
        assert terminal.type("status").code == 0
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert naming(terminal.home) == []


def test_what_does_not_open_in_the_background_says_why(terminal: Terminal, tmp_path: Path) -> None:
    """The sentence of the process behind it, and its remedy."""
    said = terminal.run(*TPROV, "up", "-d", env={"TPROV_TEMPORAL": str(tmp_path / "nothing")})
    assert said.code == 1
    assert "TPROV_TEMPORAL names" in said.err
    assert "Correct TPROV_TEMPORAL" in said.err


# --- lab -------------------------------------------------------------------------------------


def ask(url: str, path: str, *, token: str = "", body: dict[str, Any] | None = None) -> Any:
    """Ask a JupyterLab; gives the JSON that it answers."""
    request = urllib.request.Request(
        f"{url}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"token {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


@pytest.mark.timeout(180)
def test_a_lab_of_its_own(terminal: Terminal, tmp_path: Path) -> None:
    """Private, behind a token, with pinned settings; a second one gives its address; kill -9."""
    log = tmp_path / "log"
    hostile = hostile_home(tmp_path / "user")
    command = ("lab", "--no-browser", "--port", "18888")
    with terminal.runs(*command, log=log, env=hostile) as process:
        text = until_said(log, "Ctrl-C closes it", process=process, limit=90)
        (address,) = re.findall(
            r"http://\S+/lab/tree/notebooks/00_start_here.ipynb\?token=\w+", text
        )
        url, token = address.split("/lab/tree/notebooks/00_start_here.ipynb?token=")
        assert token not in " ".join(psutil.Process(process.pid).cmdline())

        second = terminal.type("lab", "--no-browser")
        assert (second.code, second.out) == (0, f"{address}\n")
        assert "open on this folder already" in second.err

        with pytest.raises(urllib.error.HTTPError, match="403"):
            ask(url, "/api/contents")
        pinned = "/lab/api/settings/@jupyterlab/apputils-extension:kernels-settings"
        schema = ask(url, pinned, token=token)["schema"]["properties"]
        assert schema["commsOverSubshells"]["default"] == "perCommTarget"
        for place in sorted((terminal.home / "jupyter").iterdir()):
            assert stat.S_IMODE(place.stat().st_mode) == 0o700, place

        framed = _text(f"{url}{_path_of_web_ui(terminal)}/", token)
        assert "<html" in framed
        kernel = ask(url, "/api/kernels", token=token, body={"name": "python3"})
        _until(lambda: _state(url, token, kernel["id"]) in ("idle", "starting"), limit=30)
        assert any("ipykernel" in line for line in naming(terminal.home))

        process.kill()
        process.wait(10)
        assert left_over(terminal.home, limit=5) == []
    files = {path.name for path in Path(hostile["HOME"]).rglob("*") if path.is_file()}
    assert files == {"jupyter_server_config.py", "first.py"}, "nothing was read or written there"


def hostile_home(home: Path) -> dict[str, str]:
    """A user's home whose Jupyter and IPython configurations would leave a trace."""
    trace = f"open({str(home / 'trace')!r}, 'w').close()\n"
    for file in (".jupyter/jupyter_server_config.py", ".ipython/profile_default/startup/first.py"):
        (home / file).parent.mkdir(parents=True)
        (home / file).write_text(trace)
    return {"HOME": str(home), "TPROV_TOOLS": str(tools_home(os.environ))}


def _path_of_web_ui(terminal: Terminal) -> str:
    info = json.loads((terminal.home / "services.json").read_text())
    return str(info["ui_public_path"])


def _state(url: str, token: str, kernel: str) -> str:
    return str(ask(url, f"/api/kernels/{kernel}", token=token)["execution_state"])


def _text(url: str, token: str) -> str:
    request = urllib.request.Request(url, headers={"Authorization": f"token {token}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.read().decode())


def _until(is_so: Any, *, limit: float) -> None:
    deadline = time.monotonic() + limit
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)

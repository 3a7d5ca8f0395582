"""The notebook side in real kernels, without a browser: what a person reads below a cell."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.kernels import SET_UP, Cell, Kernel, code_cells, environment, kernel
from tprov_kernel.lab.friendly import INTERRUPTED
from tprov_kernel.lab.runtime import Runtime
from tprov_kernel.lab.worker import KernelWorker
from tprov_kernel.toolchain.places import tools_home
from tprov_kernel.toolchain.running import program_of

STORIES = [
    "00_start_here",
    "01_happy_path",
    "03_human_in_the_loop_signal",
    "04_human_in_the_loop_update",
]
WAITING = """run = lab.start("waits", config="terraform/tcloud_admin_user")
run.wait("awaiting_approval")"""
FORGET = """for _name in {*dir()} - _known:
    if not _name.startswith("_"):
        del globals()[_name]"""
"""What a kernel that has run nothing but the set-up cell would not know."""

GONE_WITHIN = 5.0
"""Seconds after which nothing of a killed kernel may be left."""


def is_one_sentence(cell: Cell) -> bool:
    """Whether a failure is shown as a sentence in a box, and as nothing else."""
    boxes = [o for o in cell.outputs if 'role="' in str(o.get("data", {}).get("text/html", ""))]
    traces = [o for o in cell.outputs if o["kind"] == "error"]
    return len(boxes) == 1 and not traces and "Traceback" not in cell.trace + cell.text


def came_of(cell: Cell) -> str:
    """'a result', 'a sentence', or what else stands below a cell."""
    if cell.status == "ok" and not any(o["kind"] == "error" for o in cell.outputs):
        return "a result"
    return "a sentence" if is_one_sentence(cell) else f"{cell.trace}\n{cell.text}"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel whose set-up cell was run; nobody presses its buttons."""
    home = tmp_path_factory.mktemp("lab") / "home"
    with kernel(environment(home, notebook="01_happy_path")) as made:
        cell = made.run(SET_UP)
        assert cell.text.startswith("✓ Your lab is open local"), cell.text
        yield made


# --- once more -------------------------------------------------------------------------------


def test_the_set_up_cell_twice_is_the_same_lab(opened: Kernel) -> None:
    """It changes nothing, and says so."""
    opened.run("first = lab")
    cell = opened.run(SET_UP)
    assert cell.text.startswith("✓ Your lab is open already: nothing was changed")
    assert opened.value("lab is first")


def test_a_reload_of_the_package_keeps_the_lab(opened: Kernel) -> None:
    """`importlib.reload`, as people do who edit it: services and worker stay."""
    opened.run("first = lab\nimport importlib, tprov_kernel.lab")
    cell = opened.run(f"importlib.reload(tprov_kernel.lab)\n{SET_UP}")
    assert "nothing was changed" in cell.text
    assert opened.value("lab is first")


def test_an_interrupt_is_a_quiet_sentence_and_the_run_goes_on(opened: Kernel) -> None:
    """Each cell that waits: for a run, for all of them, for a workflow elsewhere."""
    assert opened.run(WAITING).status == "ok"
    opened.run("import asyncio\nfrom tprov_kernel.lab.runtime import Runtime\nother = Runtime()")
    for waits in ("run.wait()", "lab.wait()", "await other.wait(asyncio.sleep(60))"):
        request = opened.start(f"print('begun')\n{waits}")
        time.sleep(0.3)  # a person sees [*] for a moment before pressing the square
        opened.interrupt()
        cell = opened.finish(request, seconds=10)
        assert cell.status == "error"
        assert cell.text.startswith("begun\n")
        assert cell.text.endswith(f"\n{INTERRUPTED}")
        assert is_one_sentence(cell)
    assert opened.run(SET_UP).status == "ok"
    assert opened.value("run.status") == "awaiting_approval"
    assert opened.run("run.deny('it was only a test')").status == "ok"
    assert "rejected" in opened.run("lab.wait()").text


def test_an_interrupt_of_the_reader_s_own_code_is_shown_where_it_stood(opened: Kernel) -> None:
    """What is not ours looks as it always does."""
    request = opened.start("print('begun')\nimport time\ntime.sleep(60)")
    time.sleep(0.3)
    opened.interrupt()
    cell = opened.finish(request, seconds=10)
    assert "KeyboardInterrupt" in cell.text
    assert "time.sleep(60)" in cell.text


# --- what ends by itself ---------------------------------------------------------------------


def test_a_service_that_ends_by_itself_comes_back_and_the_panel_says_so(opened: Kernel) -> None:
    """The Temporal server is killed: the run that waits is there when it is back."""
    assert opened.run(WAITING).status == "ok"
    panel = opened.run(SET_UP)
    assert "ended by itself" not in panel.text
    server = next(p for p in _descendants(opened.pid) if "start-dev" in p.cmdline())
    server.kill()
    opened.wait_for("lab.troubles.get('temporal') == ''")
    again = opened.run(SET_UP)
    assert "It ended by itself and was started again. Nothing was lost." in again.text
    assert opened.run("lab.check()").text.startswith("✓ Everybody answers")
    opened.run("run.deny('it was only a test')")
    assert "rejected" in opened.run("lab.wait()").text


def test_a_step_that_the_reader_breaks_is_tried_until_it_is_mended(opened: Kernel) -> None:
    """A plain function typed in a cell; then the worker has its own again, and the run goes on."""
    broken = """def broken_plan(job):
    raise ValueError("the reader broke it")
lab.restart_worker(terraform_plan=broken_plan)
run = lab.start("broken", config="terraform/tcloud_namespace")"""
    assert opened.run(broken).status == "ok"
    opened.wait_for("run.view.step('plan').attempts == 2 and run.view.step('plan').failure")
    assert opened.value("run.view.step('plan').failure") == "the reader broke it"
    assert opened.run("lab.restart_worker()\nrun.wait()").text.startswith("stack-broken: applied")
    drawn = opened.run("run.timeline()").outputs[0]["data"]["text/plain"]
    assert "attempt 3 of 3, waits 1 s, 2 s" in drawn
    cell = opened.run("lab.restart_worker(terraform_plna=broken_plan)")
    assert is_one_sentence(cell)
    assert "There is no activity 'terraform_plna'." in cell.text


def test_a_stopped_worker_is_said_wherever_one_looks(opened: Kernel) -> None:
    """In the panel, when everybody is asked, and on the card: with what starts it again."""
    assert opened.run("lab.stop_worker()").status == "ok"
    for look in ("lab.show()", "lab.check()"):
        assert "Start it again with lab.restart_worker()" in opened.run(look).text
    opened.run('run = lab.start("stands", config="terraform/tcloud_namespace")')
    opened.wait_for("run.view.contact.pollers == 0")
    opened.run("run.card()")
    assert opened.value("'lab.restart_worker()' in str(run.as_card().widget.children[3].value)")
    cell = opened.run("run.wait()")
    assert is_one_sentence(cell)
    assert "nobody polls its task queue. Give it a worker, lab.restart_worker()" in cell.text
    cell = opened.run(SET_UP)
    assert cell.text.startswith(
        "✓ Your lab is open already: its worker was stopped, and runs again"
    )
    assert opened.run("run.wait()").text.startswith("stack-stands: applied")


class Dying:
    """A worker that dies at once, unless it may live."""

    def __init__(self, *, lives: bool) -> None:
        self.lives = lives

        self._over = asyncio.Event()

    async def run(self) -> None:
        if not self.lives:
            raise RuntimeError("the poller was refused")
        await self._over.wait()

    async def shutdown(self) -> None:
        self._over.set()


def test_a_worker_that_dies_is_replaced() -> None:
    """People are told that it died, and when another took its place."""
    told: list[str] = []
    runtime, made = Runtime("test-worker"), iter([Dying(lives=False), Dying(lives=True)])
    worker = KernelWorker(runtime, tell=told.append)
    try:
        worker.start(lambda: next(made))
        _wait_until(lambda: "" in told)
        assert told == ["The worker in this kernel ended by itself: the poller was refused.", ""]
        assert worker.runs
        worker.stop()
        assert not worker.runs
    finally:
        runtime.stop()


def test_kill_9_of_the_kernel_leaves_nothing_and_the_run_is_where_it_was(tmp_path: Path) -> None:
    """In the middle of an apply; the next kernel of the notebook shows its card, and goes on."""
    env = environment(tmp_path / "home", notebook="01_happy_path")
    with kernel(env) as first:
        assert first.run(SET_UP).status == "ok"
        first.run('run = lab.start("killed", config="terraform/tcloud_namespace")')
        first.wait_for("'creating' in run.view.step('apply').doing")
        left = {process: _program(process) for process in _descendants(first.pid)}
        assert {"temporal", "terraform"} <= {*left.values()}
        os.kill(first.pid, signal.SIGKILL)
        # A Terraform at work, and the guard that waits for it, may use their grace.
        _wait_until(lambda: all(_is_terraform(p) for p in left if _lives(p)), seconds=GONE_WITHIN)
    with kernel(env) as second:
        cell = second.run(SET_UP)
        assert "stack-killed" in str(cell.outputs[-1]["data"])
        ended = second.run('lab.run("killed").wait()', seconds=90)
        assert ended.text.startswith("stack-killed: applied after")
        assert len(second.value("lab.leftovers()['killed']")) == 1
        assert [left[process] for process in left if _lives(process)] == []


# --- more than one ---------------------------------------------------------------------------


def test_two_kernels_of_one_notebook_have_services_of_their_own(tmp_path: Path) -> None:
    """Opened at the same moment, in one workspace: neither meets the other's."""
    env = environment(tmp_path / "home", notebook="01_happy_path")
    with kernel(env) as one, kernel(env) as other:
        requests = [(k, k.start(SET_UP)) for k in (one, other)]
        assert [k.finish(r).status for k, r in requests] == ["ok", "ok"]
        for tell in ("lab.settings.address", "str(lab.settings.home)"):
            assert one.value(tell) != other.value(tell)
        for k in (one, other):
            assert k.run("lab.check()").text.startswith("✓ Everybody answers")


# --- every cell ------------------------------------------------------------------------------


@pytest.mark.parametrize("story", STORIES)
def test_every_cell_gives_a_result_or_one_sentence(story: str, tmp_path: Path) -> None:
    """Alone after set-up, beginning with the last one, and then in order, each of them twice."""
    cells = code_cells(story)
    with kernel(environment(tmp_path / "home", notebook=story, TPROV_AUTOPILOT="1")) as made:
        assert came_of(made.run(cells[0])) == "a result"
        made.run("_known = {*dir()}")
        alone = {}
        for code in reversed(cells[1:]):
            alone[code] = came_of(made.run(code))
            made.run(FORGET)
        assert {c: r for c, r in alone.items() if r not in ("a result", "a sentence")} == {}
        twice = {code: [came_of(made.run(code)) for _ in range(2)] for code in cells}
        assert {c: r for c, r in twice.items() if r != ["a result", "a result"]} == {}


# --- where it may go wrong -------------------------------------------------------------------


def test_whatever_lies_around_the_lab_stays_local_and_says_so(tmp_path: Path) -> None:
    """Keys, addresses and a profile of another Temporal: none is used."""
    profile = tmp_path / ".config" / "temporalio" / "temporal.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text('[profile.default]\naddress = "elsewhere.example.test:7233"\n')
    strange = {
        "TEMPORAL_CLOUD_API_KEY": "a-key-of-mine",
        "TEMPORAL_HOST_URL": "mine.a1b2c.tmprl.cloud:7233",
        "TEMPORAL_API_KEY": "another-key-of-mine",
        "TEMPORAL_NAMESPACE": "mine.a1b2c",
    }
    tools = os.environ.get("TPROV_TOOLS") or str(tools_home(os.environ))
    env = environment(tmp_path / "home", HOME=str(tmp_path), TPROV_TOOLS=tools, **strange)
    env.pop("XDG_CONFIG_HOME", None)
    with kernel(env) as made:
        cell = made.run(SET_UP)
        assert cell.text.startswith("✓ Your lab is open local")
        for name in (*strange, "temporal.toml"):
            assert name in cell.text
        assert "local mode ignores them" in cell.text
        assert "of-mine" not in cell.text
        assert made.value("lab.settings.address").startswith("127.0.0.1:")
        typed = made.run("!temporal operator namespace describe --namespace default")
        assert "default" in typed.text


def test_a_missing_tool_is_a_sentence(tmp_path: Path) -> None:
    """With neither a program on PATH nor anything that the set-up got."""
    env = environment(tmp_path / "home", PATH="/nowhere", TPROV_TOOLS=str(tmp_path / "tools"))
    with kernel(env) as made:
        cell = made.run(SET_UP)
        assert is_one_sentence(cell)
        assert "Run make setup in the project's folder" in cell.text
        assert is_one_sentence(made.run(SET_UP))  # and again, not another thing


def test_a_folder_where_nothing_can_be_kept_is_a_sentence(tmp_path: Path) -> None:
    """A read-only one; root may write anywhere, but not below a file."""
    home = tmp_path / "home"
    if os.geteuid() == 0:
        home.write_text("in the way")
    else:
        home.mkdir(mode=0o500)
    with kernel(environment(home)) as made:
        cell = made.run(SET_UP)
        assert is_one_sentence(cell)
        assert re.search(r"Nothing can be kept in .*home.*Set TPROV_HOME to", cell.text)
        assert made.run("lab").status == "error"  # there is none


def test_a_misspelt_variable_or_name_is_a_sentence(opened: Kernel) -> None:
    """What a reader mistypes; and what a cell builds on that was not run."""
    for code, said in {
        'lab.start("a", config="terraform/tcloud_namespace", retention_dais=3)': "retention_dais",
        'lab.start("No Name", config="terraform/tcloud_namespace")': "No Name",
        'lab.start("a", config="terraform/elsewhere")': "There is no directory terraform/elsewhere",
        'lab.run("never")': "There was never a run on stack",
        "del run\nrun.wait()": 'Run the cell with run = lab.start("happy"',
    }.items():
        cell = opened.run(f"run = None\n{code}")
        assert is_one_sentence(cell), came_of(cell)
        assert said in cell.text


# --- helpers ---------------------------------------------------------------------------------


def _descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _is_terraform(process: psutil.Process) -> bool:
    """Terraform, its provider, or the guard that has them as children."""
    with suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        return any(_program(member).startswith("terraform") for member in family)
    return False


def _program(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return program_of(process.cmdline())
    return ""


def _wait_until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)

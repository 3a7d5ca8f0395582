"""A worker in a process of its own: it may be killed, and everybody can see that it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from tests.kernels import SET_UP, Kernel, environment, kernel

pytestmark = pytest.mark.timeout(120)

START = """run = lab.start("waits", config="terraform/tcloud_admin_user")
run.card()
run.wait("awaiting_approval")"""
CARD = "run.as_card()._told.value"


def lives(pid: int) -> bool:
    """Whether a process runs; one that its parent has not looked at yet does not."""
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel with an open lab, in which a run waits for a decision."""
    home = tmp_path_factory.mktemp("worker-process") / "home"
    with kernel(environment(home, notebook="03_human_in_the_loop_signal")) as made:
        assert made.run(SET_UP).status == "ok"
        assert made.run(START).status == "ok"
        yield made


def test_a_killed_worker_is_seen_and_the_run_waits_on(opened: Kernel) -> None:
    """The queue is handed over, the process killed; the card says that nobody polls."""
    cell = opened.run("worker = lab.worker_process()\nworker")
    assert "polls infra-provisioning-03_human_in_the_loop_signal" in cell.text
    pid = opened.value("worker.pid")
    assert pid != opened.pid
    assert opened.value("lab.worker_process() is worker")
    assert opened.value("worker.pid") == pid, "it was left alone"
    assert "was killed" in opened.run("worker.kill()").text
    assert not lives(pid)
    opened.wait_for(f"'Nobody polls' in {CARD}")
    assert opened.value("run.status.value") == "awaiting_approval"
    assert "nothing to end" in opened.run("worker.kill()").text


def test_another_process_or_the_kernel_takes_the_queue_again(opened: Kernel) -> None:
    """Either of them goes on with the very run; the card says that somebody polls."""
    assert "polls" in opened.run("lab.worker_process().start()").text
    opened.wait_for(f"'Nobody polls' not in {CARD}")
    opened.run("lab.worker_process().kill()\nlab.restart_worker()")
    opened.wait_for(f"'Nobody polls' not in {CARD}")
    opened.run('run.approve("it was there all the time")\nrun.wait()')
    assert opened.value("run.status.value") == "applied"


def test_a_worker_that_has_only_just_begun_is_replaced_too(opened: Kernel) -> None:
    """A cell that restarts it may be run twice in a moment: the first one lets go of the queue."""
    cell = opened.run("for _ in range(5):\n    lab.restart_worker()")
    assert cell.status == "ok", cell.trace
    opened.run('run = lab.start("again", config="terraform/tcloud_namespace")')
    assert "applied" in opened.run("run.wait()").text


def test_it_ends_with_the_kernel(opened: Kernel) -> None:
    """Nothing outlives its owner, however that dies."""
    opened.run("worker = lab.worker_process()")
    process = psutil.Process(opened.value("worker.pid"))
    psutil.Process(opened.pid).kill()
    assert process.wait(15) is None or not process.is_running()

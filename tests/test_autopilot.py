"""Where nobody is there to press a button, an autopilot does, at the moment a person would."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernels import SET_UP, Kernel, environment, kernel

pytestmark = pytest.mark.timeout(120)

START = 'run = lab.start("{0}", config="terraform/tcloud_admin_user", expires={1})'
DECIDED = "[d.outcome for d in run.view.decisions]"


@pytest.fixture(scope="module")
def headless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel with an open lab, and no front end."""
    home = tmp_path_factory.mktemp("autopilot") / "home"
    env = environment(home, notebook="03_human_in_the_loop_signal", TPROV_AUTOPILOT="1")
    with kernel(env) as made:
        assert made.run(SET_UP).status == "ok"
        yield made


def test_it_leaves_a_run_waiting_until_a_cell_waits_for_what_comes_after(headless: Kernel) -> None:
    """What a story does while the run waits is done in front of a run that waits."""
    headless.run(START.format("approved", 600))
    cell = headless.run('run.wait("awaiting_approval")\nrun.wait("awaiting_approval", timeout=5)')
    assert "awaiting approval" in cell.text
    assert headless.value(DECIDED) == []
    assert "applied" in headless.run("run.wait()").text
    assert headless.value(DECIDED) == ["approved"]


def test_it_denies_where_a_cell_waits_for_a_denial(headless: Kernel) -> None:
    """It presses the other button, through the same callback."""
    headless.run(START.format("denied", 600))
    assert "rejected" in headless.run('run.wait("rejected")').text
    assert headless.value(DECIDED) == ["denied"]


def test_it_decides_nothing_where_a_cell_waits_for_the_time_to_run_out(headless: Kernel) -> None:
    """The durable timer rings, and nothing was applied."""
    headless.run(START.format("late", 2))
    assert "expired" in headless.run('run.wait("expired")').text
    assert headless.value(DECIDED) == []
    assert headless.value("[*lab.leftovers()]") == ["approved"]

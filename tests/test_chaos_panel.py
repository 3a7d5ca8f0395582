"""The chaos panel: what is killed is dead, what is stopped stays so, and runs survive it all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cli.typed import Terminal
from tests.conftest import ROOT, Platform
from tests.kernels import SET_UP, Kernel, environment, kernel
from tprov_kernel.services import wishes

pytestmark = pytest.mark.timeout(240)

SCRIPT = """script = lab.script("terraform/tcloud_namespace", \"\"\"
terraform init > /dev/null
terraform apply -auto-approve
\"\"\")"""
SAID = "chaos._widget._answer.value"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel with a lab and its panel."""
    home = tmp_path_factory.mktemp("chaos") / "home"
    with kernel(environment(home, notebook="08_crash")) as made:
        for code in (SET_UP, "chaos = lab.chaos()\nchaos"):
            cell = made.run(code)
            assert cell.status == "ok", cell.text
        yield made


def press(opened: Kernel, action: str, said: str, *, seconds: float = 60) -> None:
    """Press a button as the front end does, and wait for its sentence."""
    cell = opened.run(f"chaos._widget.buttons[{action!r}].click()")
    assert (cell.status, cell.text) == ("ok", ""), "it says nothing into the cell, and never raises"
    opened.wait_for(f"{said!r} in {SAID}", seconds=seconds)


def target(name: str) -> str:
    """What the panel shows of one, as an expression."""
    return f"next(t.condition for t in chaos._widget._targets if t.name == {name!r})"


def namespaces(opened: Kernel, begins: str) -> list[str]:
    """Names in the Cloud's own list that begin so."""
    names: list[str] = opened.value("[o.name for o in lab._call(lab._cloud_objects())]")
    return [name for name in names if name.startswith(begins)]


def test_a_script_killed_at_the_worst_moment_leaves_an_orphan(opened: Kernel) -> None:
    """In the Cloud, in no state; the next apply fails; tidying up removes it all the same."""
    assert opened.run(SCRIPT).status == "ok"
    assert "does not run" in opened.run("script.kill()").text
    cell = opened.run("chaos.hold_cloud()\nscript.start()\nchaos.wait_until_held()")
    assert "(activating)" in cell.text
    name = opened.value("script.name")
    assert f"of the plain script {name}" in opened.run("print(chaos.words)").text
    pid = opened.value("script._child.pid")
    assert "killed with signal 9" in opened.run("script.kill()").text
    assert not psutil.pid_exists(pid)
    opened.run("chaos.mend_cloud()")
    assert namespaces(opened, "script-") == [name]
    assert opened.value(
        "[o.state for o in lab._call(lab._cloud_objects()) if 'script' in o.id]"
    ) == ["active"], "what was held is finished when it says so"
    assert "No state file" in opened.run("script.run('terraform state list')").text
    assert "exists already" in " ".join(opened.run("script.run()").text.split())
    assert name in opened.run("lab.tidy_up()").text
    assert namespaces(opened, "script-") == []
    assert "nothing to tidy up" in opened.run("lab.tidy_up()").text


def test_worker_and_terraform_killed_by_button_and_the_run_goes_on(opened: Kernel) -> None:
    """At the same moment: found, adopted, one namespace; each button names the process."""
    press(opened, "kill_worker", "own worker polls; it cannot be killed")
    press(opened, "kill_terraform", "Nothing was killed")
    press(opened, "start_worker", "Worker process")
    pid = opened.value("lab.worker_process().pid")
    opened.run("chaos.hold_cloud()")
    opened.run('run = lab.start("crash", config="terraform/tcloud_namespace")')
    assert "(activating)" in opened.run("chaos.wait_until_held()").text
    opened.wait_for(f"{target('Terraform')} == 'alive'")
    opened.run("from tprov_kernel.lab.terraforms import terraforms")
    (found,) = opened.value("[[t.pid, *t.plugins] for t in terraforms(lab.settings.home)]")
    press(opened, "kill_worker", f"Worker process {pid} was killed")
    opened.wait_for(f"{target('Worker')} == 'dead'")
    press(opened, "kill_terraform", f"Terraform (process {found[0]}) of stack crash and its plug")
    assert len(found) > 1
    assert not any(psutil.pid_exists(each) for each in [pid, *found])
    press(opened, "mend_cloud", "well again")
    press(opened, "start_worker", "polls infra-provisioning-08_crash")
    opened.run("run.wait()", seconds=90)
    assert opened.value("run.status.value") == "applied"
    assert opened.value("run.view.step('apply').state") == "done"
    opened.run(
        "from datetime import UTC, datetime\n"
        "from tprov_kernel.widgets.timeline import timeline_words"
    )
    drawn = opened.value("timeline_words(run.view, now=datetime.now(UTC))")
    assert "recovery" in drawn
    assert "attempt" not in drawn, "an apply is not tried again"
    assert len(namespaces(opened, "tprov-")) == 1
    opened.run("lab.restart_worker()")
    assert f"In this kernel (process {opened.pid})" in opened.run("print(chaos.words)").text


def test_a_terraform_that_somebody_else_started_is_seen_and_killed(opened: Kernel) -> None:
    """A run of the `tprov` command in this workspace; that run survives it, too."""
    home = Path(opened.value("str(lab.settings.home)"))
    queue = opened.value("lab.settings.task_queue")
    before = namespaces(opened, "tprov-")
    opened.run("chaos.hold_cloud()")
    config = str(ROOT / "terraform" / "tcloud_namespace")
    said = Terminal(home).type("start", "typed", "--config", config, "--task-queue", queue)
    assert said.code == 0, said.err
    assert opened.value("[r.stack for r in lab.runs if r.stack == 'typed']") == []
    assert "(activating)" in opened.run("chaos.wait_until_held()").text
    opened.wait_for(f"{target('Terraform')} == 'alive'")
    press(opened, "kill_terraform", "of stack typed and its plug-in")
    assert "No Terraform is at work in this workspace." in opened.run("print(chaos.words)").text
    press(opened, "mend_cloud", "well again")
    opened.run('typed = lab.run("typed")\ntyped.wait()', seconds=90)
    assert opened.value("typed.status.value") == "applied"
    assert len(namespaces(opened, "tprov-")) == len(before) + 1


def test_a_stopped_server_stays_stopped_and_comes_back_as_it_was(opened: Kernel) -> None:
    """Nobody keeps alive what was to end; a run that waits does so after it, on the same port."""
    opened.run('waits = lab.start("waits", config="terraform/tcloud_admin_user")')
    opened.run('waits.wait("awaiting_approval")')
    address = opened.value("lab.settings.address")
    press(opened, "stop_server", "was stopped. Its data stays.")
    opened.wait_for(f"{target('Temporal server')} == 'dead'")
    press(opened, "stop_server", "did not run")
    press(opened, "start_server", f"runs at {address}")
    opened.wait_for(f"{target('Temporal server')} == 'alive'")
    assert opened.value("waits.status.value") == "awaiting_approval"
    opened.run('waits.approve("it was there all the time")\nwaits.wait()', seconds=90)
    assert opened.value("waits.status.value") == "applied"


def test_the_cloud_api_is_broken_slowed_and_mended(opened: Kernel) -> None:
    """The panel lists what is in force; a wrong method is a sentence."""
    press(opened, "break_cloud", "answers UNAVAILABLE until it is mended")
    press(opened, "slow_cloud", "takes 3 s longer until it is mended")
    opened.wait_for(f"{target('Cloud API (stand-in)')} == 'ill'")
    told = opened.run("print(chaos.words)").text
    assert "Every call of the Cloud API answers UNAVAILABLE until it is mended." in told
    press(opened, "mend_cloud", "well again")
    opened.wait_for(f"{target('Cloud API (stand-in)')} == 'alive'")
    assert "is none" in opened.run("chaos.break_cloud('Nope')").text


def test_a_panel_of_a_closed_lab_says_so(opened: Kernel) -> None:
    """A button pressed too late raises nothing; the panel says what to do."""
    opened.run("lab.close()")
    opened.run("chaos._safely(chaos.stop_server)")
    assert "This lab is closed" in opened.value(SAID)


async def _is_healthy(own: Platform) -> bool:
    return await (await own.client()).service_client.check_health()


def test_any_process_may_stop_and_start_a_service(own: Platform) -> None:
    """The owner is asked, in its data directory; nobody there is a sentence."""
    home = own.settings.home
    terminal = Terminal(home)
    pid = own.services.pids()["temporal"]
    said = terminal.type("services", "stop", "temporal")
    assert said.code == 0, said.err
    assert f"temporal (process {pid}) was stopped." in said.out + said.err
    assert not own.services.runs("temporal")
    assert not psutil.pid_exists(pid)
    said = terminal.type("services", "start", "temporal")
    again = own.services.pids()["temporal"]
    assert f"temporal runs (process {again})." in said.out + said.err
    assert again != pid
    assert wishes.pids_of(home)["temporal"] == again
    assert asyncio.run(_is_healthy(own))
    said = Terminal(home / "nowhere").type("services", "stop", "temporal")
    assert said.code == 1
    assert "Nobody has services open" in said.err
    assert json.loads((home / "wishes.json").read_text())["down"] is False


def test_with_a_remote_target_it_is_said_what_is_not_ours_to_break(
    platform: Platform, tmp_path: Path
) -> None:
    """Worker and Terraform are this machine's; the server and the Cloud have no buttons."""
    there = platform.settings
    env = {
        "TEMPORAL_ADDRESS": there.address,
        "TEMPORAL_NAMESPACE": there.namespace,
        "TEMPORAL_CLOUD_ENDPOINT": there.cloud.endpoint,
        "TEMPORAL_CLOUD_ALLOW_INSECURE": "true",
        "TEMPORAL_CLOUD_API_KEY": there.cloud.api_key,
    }
    pid = platform.services.pids()["temporal"]
    with kernel(environment(tmp_path / "home", notebook="08_crash", **env)) as shell:
        for code in (SET_UP.replace("()", '(target="remote")'), "chaos = lab.chaos()\nchaos"):
            cell = shell.run(code)
            assert cell.status == "ok", cell.text
        told = shell.run("print(chaos.words)").text
        assert f"Temporal server: At {there.address}; not ours to break." in told
        assert f"Cloud API: At {there.cloud.endpoint}; not ours to break." in told
        assert set(shell.value("list(chaos._widget.buttons)")) == {
            "start_worker",
            "kill_worker",
            "kill_terraform",
        }
        assert "not ours to break: nothing was done" in shell.run("chaos.stop_server()").text
        assert "cannot be told to fail" in shell.run("chaos.break_cloud()").text
        assert psutil.pid_exists(pid)
        press(shell, "kill_terraform", "Nothing was killed")
        press(shell, "start_worker", "own worker rests")
        press(shell, "kill_worker", "was killed (signal 9)")

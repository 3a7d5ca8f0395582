"""`08_crash` as a presenter plays it, by mouse and keyboard; the chaos panel in other notebooks.

Pictures of each station are kept in `artifacts`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import psutil
import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser import NOT_RUN, Notebook, chromium, faint_words, find_chromium
from tests.kernels import code_cells
from tests.walkthrough import Running, card_in, cell, opened, status_of, tprov_lab, workspace

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason=NOT_RUN),
    pytest.mark.timeout(400),
]

CRASH = "08_crash"
LIMIT = 90_000
"""Milliseconds for what takes a few seconds on a machine that has nothing else to do."""

COLLECT = """() => {
  window.statuses = [];
  setInterval(() => {
    const all = [...document.querySelectorAll('.tprov-card .head [role=status]')];
    const now = all.length ? all[all.length - 1].textContent.trim() : '';
    if (now !== window.statuses[window.statuses.length - 1]) window.statuses.push(now);
  }, 20);
}"""
"""Keeps every status that the last card shows: one that stands for a moment must not be missed."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One `tprov lab` for all."""
    with tprov_lab(workspace(tmp_path_factory.mktemp("chaos"))) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with chromium() as made:
        yield made


def press(panel: Locator, button: str, said: str) -> int:
    """Press a button, wait for its sentence, and give the process that it names (or 0)."""
    panel.get_by_role("button", name=button, exact=True).click()
    answer = panel.locator(".said")
    expect(answer).to_contain_text(said, timeout=LIMIT)
    named = re.search(r"process (\d+)", answer.inner_text())
    return int(named[1]) if named else 0


def row(panel: Locator, name: str) -> Locator:
    """What the panel says of one of the four."""
    return panel.locator(".row", has_text=name)


def play(notebook: Notebook, code: str, *, nth: int = 0) -> Locator:
    """Run the cell that holds this text, the first one or a later one, and give its output."""
    numbers = [n for n, source in enumerate(code_cells(CRASH)) if code in source]
    return notebook.run(numbers[nth], seconds=LIMIT / 1000)


def namespaces(table: Locator) -> dict[str, str]:
    """Names of the namespaces that a table of the Cloud's objects lists, to their states."""
    cells = [r.locator("td").all_inner_texts() for r in table.locator("tbody tr").all()]
    return {name: state for kind, name, _, state, _ in cells if kind == "namespace"}


def test_the_worst_moment_twice(browser: Browser, running: Running) -> None:
    """A plain script leaves an orphan and never gets on; the run is found, and is one namespace.

    Every cell of the file is run with Shift+Enter, the exercises by the panel's buttons.
    """
    with opened(browser, running.lab, CRASH) as notebook:
        notebook.run(0)
        panel = play(notebook, "lab.chaos()").locator(".tprov-chaos")
        expect(panel.locator(".row")).to_have_count(4)
        expect(row(panel, "Worker")).to_contain_text("In this kernel")
        orphan = a_script_is_killed(notebook, panel)
        made = a_run_is_killed(notebook, panel)
        table = play(notebook, "lab.cloud()", nth=1)
        assert namespaces(table) == {orphan: "active", made: "active"}, "one of the run, one orphan"
        expect(play(notebook, "again=True")).to_contain_text("stack-crash: no changes")
        notebook.picture("chaos-again")
        drawn = play(notebook, "run.timeline()").locator("img")
        expect(drawn).to_have_attribute("alt", re.compile("Plan: .*done 2 times.*recovery"))
        the_exercises(notebook, panel)
        tidied = play(notebook, "lab.tidy_up()")
        expect(tidied).to_contain_text(f"{orphan}, left by a plain script: it is imported and")
        expect(tidied).to_contain_text("crash: destroyed.")
        assert namespaces(play(notebook, "lab.cloud()", nth=2)) == {}
        the_panel_can_be_read(notebook, panel)
        assert notebook.errors() == []


def a_script_is_killed(notebook: Notebook, panel: Locator) -> str:
    """An orphan: in the Cloud's list, in no state, and in the way of the next apply."""
    said = play(notebook, "lab.script(").inner_text()
    name: str = re.findall(r"script-\w+", said)[0]
    held = play(notebook, "script.start()")
    expect(held).to_contain_text(f"The Cloud API lists namespace {name} (activating).")
    expect(row(panel, "Terraform")).to_contain_text(f"of the plain script {name}", timeout=LIMIT)
    expect(row(panel, "Cloud API")).to_contain_text("1 operation not finished", timeout=LIMIT)
    notebook.picture("chaos-script-held", panel)
    killed = play(notebook, "script.kill()")
    expect(killed).to_contain_text("and its Terraform were killed with signal 9")
    assert re.findall(r"\S*\.this: .*", killed.inner_text())[-1].endswith(".this: Creating...")
    expect(play(notebook, "chaos.mend_cloud()")).to_contain_text("well again")
    assert namespaces(play(notebook, "lab.cloud()")) == {name: "active"}
    expect(play(notebook, "state list")).to_contain_text("No state file was found")
    again = play(notebook, "script.run()")
    expect(again).to_contain_text(re.compile(rf"'{name}\.tprov'\s+exists already"))
    expect(again).to_contain_text("(exit code 1)")
    notebook.picture("chaos-script-again")
    return name


def a_run_is_killed(notebook: Notebook, panel: Locator) -> str:
    """The same moment; the card is true all the way, and the namespace is taken over."""
    expect(play(notebook, "lab.worker_process()")).to_contain_text("own worker rests")
    card = card_in(play(notebook, "run.card()"))
    held = play(notebook, "chaos.wait_until_held()", nth=1)
    name: str = re.findall(r"tprov-\w+", held.inner_text())[0]
    expect(held).to_contain_text(f"The Cloud API lists namespace {name} (activating).")
    expect(card).to_contain_text("Apply: creating temporalcloud_namespace.this", timeout=LIMIT)
    notebook.picture("chaos-run-held")
    killed = play(notebook, "print(worker.kill()")
    expect(killed).to_contain_text("was killed (signal 9). Runs stay where they are.")
    expect(killed).to_contain_text("of stack crash and its plug-in")
    dead = [int(pid) for pid in re.findall(r"process (\d+)", killed.inner_text())]
    assert len(dead) == 3
    assert not any(map(psutil.pid_exists, dead))
    how = play(notebook, "print(chaos.words)")
    expect(how).to_contain_text("Worker: Nobody of this notebook polls")
    expect(how).to_contain_text("No Terraform is at work in this workspace.")
    expect(card).to_contain_text("Nobody polls the task queue", timeout=LIMIT)
    # On a machine that is busy the heartbeat's time may be up by now.
    truth = "as it was last told: creating|How far it got is not known yet"
    expect(card).to_contain_text(re.compile(truth))
    expect(card.get_by_role("button", name="Interrupt")).to_be_hidden()
    expect(card).not_to_contain_text("Terraform is at work")
    expect(row(panel, "Worker")).to_contain_text("Nobody of this notebook polls", timeout=LIMIT)
    notebook.picture("chaos-run-nobody", card)
    notebook.page.evaluate(COLLECT)
    place = play(notebook, "print(worker.start())")
    expect(place).to_contain_text("Worker process")
    expect(play(notebook, "run.wait()")).to_contain_text("stack-crash: applied after")
    card = card_in(place)
    expect(status_of(card)).to_contain_text("applied")
    shown = " ".join(notebook.page.evaluate("window.statuses"))
    assert re.search("outcome unknown.*recovering.*applied", shown), shown
    expect(card).to_contain_text(f"'{name}' exists ({name}.tprov) but is not in the state.")
    expect(card).to_contain_text("That apply made it: it is taken over.")
    notebook.picture("chaos-run-applied", place)
    told = play(notebook, "run.audit()")
    for sentence in (
        "The apply of plan 1: No sign of life from its worker (heartbeat time-out).",
        f"temporalcloud_namespace '{name}' exists ({name}.tprov) but is not in the state.",
        "Plan 2, to find what was left to do: 0 to add, 0 to change, 0 to destroy.",
        "The end: applied: 1 added, 0 changed, 0 destroyed",
    ):
        expect(told).to_contain_text(sentence)
    notebook.picture("chaos-run-audit", told)
    return name


def the_exercises(notebook: Notebook, panel: Locator) -> None:
    """By the buttons: server stopped and started, Terraform killed, worker process killed."""
    card = a_run_hangs(notebook, panel, "crash-2")
    press(panel, "Stop server", "was stopped. Its data stays.")
    expect(row(panel, "Temporal server")).to_contain_text("It does not run", timeout=LIMIT)
    expect(card).to_contain_text("Out of touch with the Temporal server", timeout=LIMIT)
    notebook.picture("chaos-no-server", card)
    press(panel, "Start server", "The Temporal server runs at")
    press(panel, "Mend API", "well again")
    expect(status_of(card)).to_contain_text("applied", timeout=LIMIT)
    expect(card.get_by_role("button", name="Approve")).to_be_hidden()

    card = a_run_hangs(notebook, panel, "crash-3")
    terraform = press(panel, "Kill Terraform", "Killed with signal 9")
    assert not psutil.pid_exists(terraform)
    press(panel, "Mend API", "well again")
    expect(status_of(card)).to_contain_text("applied", timeout=LIMIT)
    expect(card).to_contain_text("taken over")
    press(panel, "Kill Terraform", "No Terraform is at work in this workspace. Nothing was killed.")

    card = a_run_hangs(notebook, panel, "crash-4")
    worker = press(panel, "Kill worker process", "was killed (signal 9)")
    assert not psutil.pid_exists(worker)
    expect(card).to_contain_text("Nobody polls the task queue", timeout=LIMIT)
    press(panel, "Mend API", "well again")
    assert press(panel, "Start worker process", "own worker rests") != worker
    expect(status_of(card)).to_contain_text("applied", timeout=LIMIT)
    notebook.picture("chaos-exercises", card)


def a_run_hangs(notebook: Notebook, panel: Locator, stack: str) -> Locator:
    """A run on another stack whose apply is in the middle of its create; gives its card."""
    card = card_in(play(notebook, "run.card()"))
    expect(row(panel, "Cloud API")).to_contain_text("1 operation not finished", timeout=LIMIT)
    expect(row(panel, "Terraform")).to_contain_text(f"of stack {stack} and its", timeout=LIMIT)
    return card


def the_panel_can_be_read(notebook: Notebook, panel: Locator) -> None:
    """In both themes, and in a narrow window."""
    for dark in (True, False):
        notebook.theme(dark=dark)
        notebook.picture(f"chaos-{'dark' if dark else 'light'}", panel)
        assert faint_words(panel) == []
    notebook.page.set_viewport_size({"width": 900, "height": 1000})
    notebook.picture("chaos-900", panel)
    assert panel.evaluate("e => e.scrollWidth - e.clientWidth") <= 0


@pytest.mark.parametrize(
    "story",
    ["01_happy_path", "02_advanced_visibility", "05_recoverable_failure"],
)
def test_the_panel_works_in_every_notebook(browser: Browser, running: Running, story: str) -> None:
    """Typed into a cell after the set-up one, it breaks that notebook's worker, and mends it."""
    with opened(browser, running.lab, story) as notebook:
        notebook.run(0)
        notebook.type(1, "lab.chaos()")
        panel = notebook.run(1).locator(".tprov-chaos")
        expect(row(panel, "Worker")).to_contain_text(f"polls infra-provisioning-{story}")
        press(panel, "Kill worker process", "cannot be killed without the kernel")
        worker = press(panel, "Start worker process", "own worker rests")
        assert press(panel, "Kill worker process", "was killed (signal 9)") == worker
        assert not psutil.pid_exists(worker)
        press(panel, "Break API", "answers UNAVAILABLE until it is mended")
        press(panel, "Slow API", "takes 3 s longer until it is mended")
        expect(row(panel, "Cloud API")).to_contain_text("takes 3 s longer", timeout=LIMIT)
        press(panel, "Mend API", "well again")
        press(panel, "Start worker process", "own worker rests")
        notebook.picture(f"chaos-in-{story}", panel)
        assert notebook.errors() == []


def test_a_run_that_waits_for_a_person_survives_its_worker(
    browser: Browser, running: Running
) -> None:
    """In `03`: the worker dies while somebody is asked; the click on Approve is not lost."""
    story = "03_human_in_the_loop_signal"
    with opened(browser, running.lab, story) as notebook:
        notebook.run(0)
        notebook.type(1, "lab.chaos()")
        panel = notebook.run(1).locator(".tprov-chaos")
        press(panel, "Start worker process", "own worker rests")
        number = cell(story, "run.card()")
        card = card_in(notebook.run(number))
        approve = card.get_by_role("button", name="Approve")
        expect(approve).to_be_visible(timeout=LIMIT)
        press(panel, "Kill worker process", "was killed (signal 9)")
        expect(card).to_contain_text("A person can take their time", timeout=LIMIT)
        card.get_by_label("Reason").fill("nobody works, and I decide")
        approve.click()
        press(panel, "Start worker process", "own worker rests")
        expect(status_of(card)).to_contain_text("applied", timeout=LIMIT)
        expect(card).to_contain_text("“nobody works, and I decide”")
        notebook.picture("chaos-in-03", card)
        assert notebook.errors() == []

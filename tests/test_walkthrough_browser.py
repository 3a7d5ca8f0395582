"""The walkthrough as a presenter gives it: `tprov lab`, real JupyterLab, real Chromium, a mouse.

The notebooks are a copy, in a workspace and a home directory that belong to the test. Pictures of
each station are kept in `artifacts`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser import NOT_RUN, Notebook, chromium, find_chromium
from tests.kernels import code_cells
from tests.walkthrough import (
    Running,
    card_in,
    cell,
    opened,
    status_of,
    tprov_lab,
    wait_until,
    workspace,
)
from tprov_kernel.lab.friendly import INTERRUPTED
from tprov_kernel.lab.runtime import Runtime
from tprov_kernel.standin.control import StandinControl

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason=NOT_RUN),
    pytest.mark.timeout(300),
]

START, HAPPY = "00_start_here", "01_happy_path"
GONE_WITHIN = 5.0
"""Seconds after a kill -9 in which everything that was started has to end."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace: the notebooks without outputs' history of ours, Terraform, policies."""
    return workspace(tmp_path_factory.mktemp("walkthrough"))


@pytest.fixture(scope="module")
def running(work: Path) -> Iterator[Running]:
    """One `tprov lab` for the stations that do not end it."""
    with tprov_lab(work) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with chromium() as made:
        yield made


def test_the_happy_path_with_a_kernel_restart_in_the_middle_of_apply(
    browser: Browser, running: Running
) -> None:
    """Run all; restart while Terraform applies; the set-up cell brings the card back; go on."""
    start = cell(HAPPY, "lab.start(")
    with opened(browser, running.lab, HAPPY) as notebook, slow_creation(running.lab.folder):
        notebook.run_all()
        card = card_in(notebook.output(start))
        expect(status_of(card)).to_contain_text("applying", timeout=60_000)
        expect(card).to_contain_text("creating temporalcloud_namespace.this", timeout=30_000)
        notebook.picture("walkthrough-applying", card)
        notebook.restart_kernel()
        gone = notebook.panel.locator(".tprov-card.jupyter-widgets-disconnected")
        expect(gone).to_have_count(1)
        gone.scroll_into_view_if_needed()
        notebook.picture("walkthrough-kernel-gone")
        expect(card_in(notebook.run(0))).to_contain_text("stack-happy")
        notebook.picture("walkthrough-card-is-back")
        expect(notebook.run(start)).to_contain_text("A run is open on stack 'happy' already")
        expect(gone).to_have_count(0)
        notebook.picture("walkthrough-at-work", card)
        notebook.save()
    with opened(browser, running.lab, HAPPY) as notebook:
        # A window that was closed meanwhile, too: the kernel lives, and so does the card.
        card = card_in(notebook.output(start))
        expect(status_of(card)).to_contain_text("applied", timeout=90_000)
        for number in range(start + 1, len(code_cells(HAPPY))):
            notebook.run(number, seconds=90)
        assert notebook.errors() == []
        expect(notebook.output(cell(HAPPY, "run.wait()"))).to_contain_text("applied after")
        expect(notebook.output(cell(HAPPY, "tidy_up"))).to_contain_text("happy: destroyed.")
        _look_at_the_card(notebook, card)
        _look_at_the_cells(notebook)
        _look_at_the_web_ui(notebook)


@contextmanager
def slow_creation(work: Path) -> Iterator[None]:
    """The Cloud takes its time to create a namespace: until the block ends."""
    told = json.loads((work / ".tprov" / "services.json").read_text())
    key = (work / ".tprov" / "standin.key").read_text().strip()
    control = StandinControl(told["cloud_endpoint"], key)
    runtime = Runtime("test-control")  # Playwright has a loop on this thread
    try:
        runtime.call(control.hold("CreateNamespace"))
        yield
        runtime.call(control.mend())
    finally:
        runtime.stop()


def _look_at_the_card(notebook: Notebook, card: Locator) -> None:
    """Each tab, with the mouse."""
    expect(status_of(card)).to_contain_text("applied")
    for tab, said in {
        "Policy": "no finding",
        "Timeline": "local activity",
        "Payloads": '"encoding": "binary/encrypted"',
        "Plan": "+ temporalcloud_namespace.this",
    }.items():
        card.locator(".lm-TabBar-tab", has_text=tab).click()
        expect(card.locator(".widget-tab-contents")).to_contain_text(said)
        notebook.picture(f"walkthrough-tab-{tab.lower()}", card)
    card.get_by_text("Show as CLI").click()
    expect(card).to_contain_text("temporal workflow show --workflow-id stack-happy")


def _look_at_the_cells(notebook: Notebook) -> None:
    """What the cells below the card show, at two widths and in two themes."""
    for code, said in {
        "run.plan()": "1 to add, 0 to change, 0 to destroy",
        "run.policy()": "no finding",
        "say_hello": "Hello, Grace. This is a workflow in tprov-",
        "get_current_status": '"applied"',
        "get_progress": "100",
        "run.events": "local activity terraform_init",
        "run.payloads": "As the server stores it",
    }.items():
        expect(notebook.output(cell(HAPPY, code))).to_contain_text(said)
    for dark in (True, False):
        notebook.theme(dark=dark)
        for width in (1024, 1280):
            notebook.page.set_viewport_size({"width": width, "height": 900})
            for name, code in {
                "panel": "open_lab",
                "plan": "run.plan()",
                "policy": "run.policy()",
                "events": "run.events",
                "payloads": "run.payloads",
                "timeline": "run.timeline",
            }.items():
                place = notebook.output(cell(HAPPY, code))
                place.scroll_into_view_if_needed()
                theme = "dark" if dark else "light"
                notebook.picture(f"walkthrough-{name}-{theme}-{width}", place)


def _look_at_the_web_ui(notebook: Notebook) -> None:
    """Framed through this Jupyter server, payloads decoded, and it leaves the focus alone."""
    number = cell(HAPPY, "run.web_ui()")
    place = notebook.output(number)
    place.scroll_into_view_if_needed()
    page = place.frame_locator("iframe")
    expect(page.locator("body")).to_contain_text("stack-happy", timeout=60_000)
    expect(page.locator("body")).to_contain_text('"directory": "terraform/tcloud_namespace"')
    assert notebook.page.evaluate("document.activeElement.tagName") != "IFRAME"
    place.locator("iframe").hover(force=True)
    page.get_by_text("Queries").first.click()
    expect(page.locator("body")).to_contain_text("Query Type")
    place.scroll_into_view_if_needed()
    notebook.picture("walkthrough-web-ui", place)


def test_a_scenario_is_decided_by_mouse_while_a_cell_waits(
    browser: Browser, running: Running
) -> None:
    """A button starts it; without a reason it is refused, in words; interrupted, approved, done."""
    row, waits = cell(START, "lab.scenarios()"), cell(START, "lab.wait()")
    with opened(browser, running.lab, START) as notebook:
        for number in range(row + 1):
            notebook.run(number)
        place = notebook.output(row)
        place.get_by_role("button", name="Admin user, by update").click()
        card = card_in(place)
        approve = card.get_by_role("button", name="Approve")
        expect(approve).to_be_visible(timeout=30_000)
        notebook.start(waits)
        notebook.running(waits)
        approve.click()
        expect(card.get_by_role("alert")).to_have_text(
            "Refused: an approval needs a reason. Nothing was recorded."
        )
        notebook.picture("walkthrough-refused", card)
        notebook.page.keyboard.press("ControlOrMeta+b")  # the side bar makes room
        notebook.cells.nth(row).scroll_into_view_if_needed()
        notebook.picture("walkthrough-refused-page")
        notebook.interrupt()
        expect(notebook.output(waits)).to_contain_text(INTERRUPTED)
        notebook.done(waits)
        notebook.picture("walkthrough-interrupted", notebook.output(waits))
        notebook.start(waits)
        notebook.running(waits)
        card.get_by_label("Reason").fill("she runs the account from Monday on")
        approve.click()
        expect(approve).to_be_hidden()
        expect(card).to_contain_text("“she runs the account from Monday on”")
        notebook.done(waits)
        expect(notebook.output(waits)).to_contain_text("stack-update: applied after")
        notebook.picture("walkthrough-approved", card)
        place.get_by_role("button", name="Admin user, by signal").click()
        card = card_in(place)
        deny = card.get_by_role("button", name="Deny")
        expect(deny).to_be_visible(timeout=30_000)
        deny.click()
        expect(status_of(card)).to_contain_text("rejected", timeout=30_000)
        notebook.picture("walkthrough-rejected", card)
        for number in range(row + 2, len(code_cells(START))):
            notebook.run(number)
        assert notebook.errors() == []


def test_a_configuration_that_changed_is_planned_again_by_mouse(
    browser: Browser, running: Running
) -> None:
    """Edited while it waits: the card says so; the new review says what differs; it is approved."""
    with opened(browser, running.lab, HAPPY) as notebook:
        notebook.run(0)
        copy = 'moved = lab.copy("terraform/tcloud_admin_user")'
        notebook.type(1, f'{copy}\nlab.start("moved", config=moved).card()')
        notebook.start(1)
        card = card_in(notebook.output(1))
        expect(status_of(card)).to_contain_text("awaiting approval", timeout=60_000)
        again = card.get_by_role("button", name="Plan again")
        expect(again).to_be_hidden()
        (copied,) = running.lab.folder.glob(".tprov/copies/*/tcloud_admin_user")
        (copied / "terraform.tfvars").write_text('email = "ada@example.test"\n')
        expect(again).to_be_visible(timeout=15_000)
        expect(card).to_contain_text("has changed since this was planned")
        for dark in (True, False):
            notebook.theme(dark=dark)
            for width in (900, 1280):
                notebook.page.set_viewport_size({"width": width, "height": 900})
                card.scroll_into_view_if_needed()
                theme = "dark" if dark else "light"
                notebook.picture(f"walkthrough-moved-{theme}-{width}", card)
        again.click()
        expect(card).to_contain_text("what differs", timeout=30_000)
        expect(card).to_contain_text("ada+")
        expect(again).to_be_hidden()
        notebook.picture("walkthrough-planned-again", card)
        card.get_by_label("Reason").fill("ada, not grace, as the ticket says")
        card.get_by_role("button", name="Approve").click()
        expect(status_of(card)).to_contain_text("applied", timeout=60_000)
        assert notebook.errors() == []


def test_kill_9_of_tprov_lab_leaves_nothing_and_runs_are_where_they_were(
    browser: Browser, tmp_path: Path
) -> None:
    """Five seconds later no child is left; the next `tprov lab` has the run that waits."""
    work = workspace(tmp_path)
    with tprov_lab(work) as first, opened(browser, first.lab, HAPPY) as notebook:
        notebook.run(0)
        notebook.type(1, 'lab.start("waits", config="terraform/tcloud_admin_user").card()')
        notebook.start(1)
        card = card_in(notebook.output(1))
        expect(status_of(card)).to_contain_text("awaiting approval", timeout=60_000)
        left = psutil.Process(first.process.pid).children(recursive=True)
        names = {process.name() for process in left}
        assert "temporal" in names
        first.process.kill()
        wait_until(
            lambda: not any(map(_lives, left)),
            seconds=GONE_WITHIN,
            what=f"left: {[p for p in left if _lives(p)]}",
        )
    with tprov_lab(work) as second, opened(browser, second.lab, HAPPY) as notebook:
        card = card_in(notebook.run(0))
        expect(card).to_contain_text("stack-waits")
        card.get_by_label("Reason").fill("the same as before")
        card.get_by_role("button", name="Approve").click()
        expect(status_of(card)).to_contain_text("applied", timeout=60_000)


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False

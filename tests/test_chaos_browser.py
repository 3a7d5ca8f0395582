"""The chaos panel by mouse: real JupyterLab, real Chromium, and what is killed is dead."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import (
    NOT_RUN,
    ROOT,
    Lab,
    Notebook,
    chromium,
    faint_words,
    find_chromium,
    jupyter_lab,
    write_notebook,
)
from tests.kernels import SET_UP, environment

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason=NOT_RUN),
    pytest.mark.timeout(240),
]

PANEL = "chaos = lab.chaos()\nchaos"
CRASH = """chaos.hold_cloud()
run = lab.start("crash", config="terraform/tcloud_namespace")
run.card()"""
LIMIT = 60_000
"""Milliseconds for what takes a few seconds on a machine that has nothing else to do."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on an empty folder, whose kernels find this project's configurations."""
    folder, private = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("jupyter")
    environ = environment(private / "home", TPROV_ROOT=str(ROOT), PYTHONPATH=str(ROOT))
    with jupyter_lab(folder, private=private, environ=environ) as running:
        yield running


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a fresh Chromium."""
    with chromium() as browser:
        yield _page(browser)


def _page(browser: Browser) -> Page:
    return browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()


def press(panel: Locator, button: str, said: str) -> int:
    """Press a button, wait for its sentence, and give the process that it names (or 0)."""
    panel.get_by_role("button", name=button, exact=True).click()
    answer = panel.locator(".said")
    expect(answer).to_contain_text(said, timeout=LIMIT)
    named = re.search(r"process (\d+)", answer.inner_text())
    return int(named[1]) if named else 0


def test_a_run_survives_what_the_buttons_do(page: Page, lab: Lab) -> None:
    """Worker and Terraform killed in the middle of a create, while a cell waits for the run."""
    write_notebook(lab.folder / "crash.ipynb", (SET_UP, PANEL, CRASH, "run.wait()"))
    seen = Notebook(page, lab, "crash.ipynb")
    seen.open()
    seen.run(0)
    shown = seen.run(1)
    panel = shown.locator(".tprov-chaos")
    expect(panel.locator(".row")).to_have_count(4)
    expect(shown.locator('[class^="tprov-chaos-"]:not(.tprov-chaos)')).to_be_hidden()
    press(panel, "Kill worker process", "cannot be killed without the kernel")
    worker = press(panel, "Start worker process", "this kernel's own worker rests")
    card = seen.run(2).locator(".tprov-card")
    seen.start(3)
    seen.running(3)
    expect(panel).to_contain_text("1 operation not finished", timeout=LIMIT)
    expect(panel).to_contain_text("of stack crash and its plug-in", timeout=LIMIT)
    seen.picture("chaos-at-work", panel)
    press(panel, "Kill worker process", "was killed (signal 9)")
    terraform = press(panel, "Kill Terraform", "Killed with signal 9")
    assert terraform
    assert not psutil.pid_exists(terraform)
    press(panel, "Mend API", "well again")
    expect(panel).to_contain_text("Nobody of this notebook polls", timeout=LIMIT)
    expect(card).to_contain_text("Nobody polls", timeout=LIMIT)
    seen.picture("chaos-nobody", panel)
    seen.picture("chaos-nobody-page")
    again = press(panel, "Start worker process", "this kernel's own worker rests")
    assert again != worker
    seen.done(3, seconds=90)
    expect(seen.output(3)).to_contain_text("stack-crash: applied")
    expect(card).to_contain_text("taken over", timeout=LIMIT)
    press(panel, "Stop server", "was stopped. Its data stays.")
    expect(panel).to_contain_text("It does not run", timeout=LIMIT)
    press(panel, "Start server", "The Temporal server runs at")
    press(panel, "Break API", "answers UNAVAILABLE until it is mended")
    for dark in (True, False):
        seen.theme(dark=dark)
        seen.picture(f"chaos-{'dark' if dark else 'light'}", panel)
        assert faint_words(panel) == []
    page.set_viewport_size({"width": 900, "height": 1000})
    seen.picture("chaos-900", panel)
    assert panel.evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    assert seen.errors() == []

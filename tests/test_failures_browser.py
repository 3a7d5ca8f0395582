"""Failures as a person meets them: three notebooks in one `tprov lab`, by mouse and keyboard.

Pictures of each station are kept in `artifacts`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import NOT_RUN, Notebook, chromium, find_chromium
from tests.walkthrough import Running, card_in, cell, opened, status_of, tprov_lab, workspace

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason=NOT_RUN),
    pytest.mark.timeout(300),
]

BUG, FORBIDDEN, OUTAGE = "05_recoverable_failure", "06_non_recoverable_failure", "07_api_failure"
SOON = 60_000
"""Milliseconds; generous, for a machine that is busy."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One `tprov lab` for the three."""
    with tprov_lab(workspace(tmp_path_factory.mktemp("failures"))) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with chromium() as made:
        yield made


def run(notebook: Notebook, story: str, *codes: str) -> None:
    """Run the cells that hold these texts, one after another."""
    for code in codes:
        notebook.run(cell(story, code))


def test_a_bug_is_shipped_and_fixed_while_the_run_waits(browser: Browser, running: Running) -> None:
    """Attempts climb with the reader's own words, and count down; mended, the same run goes on."""
    words = "my own bug, number 42"
    with opened(browser, running.lab, BUG) as notebook:
        notebook.run(0)
        number = cell(BUG, "def terraform_plan")
        notebook.type(
            number,
            f'def terraform_plan(job):\n    raise ValueError("{words}")\n\n'
            "lab.restart_worker(terraform_plan=terraform_plan)",
        )
        expect(notebook.run(number)).to_contain_text("runs again, with your terraform_plan")
        card = card_in(notebook.run(cell(BUG, "run.card()")))
        expect(card).to_contain_text(re.compile(rf"attempt 3 failed: {words}"), timeout=SOON)
        expect(card).to_contain_text(re.compile(r"Attempt 4 in \d s"))
        notebook.picture("failures-bug", card)
        step = card.locator("li[aria-current=step]")
        expect(step).to_contain_text(re.compile(r"Plan retrying.*attempt 4 in \d s"))
        run(notebook, BUG, "lab.restart_worker()")
        card.get_by_role("button", name="Try now").click()
        approve = card.get_by_role("button", name="Approve")
        expect(approve).to_be_visible(timeout=SOON)
        notebook.picture("failures-bug-gate", card)
        card.get_by_label("Reason").fill("the bug is fixed")
        approve.click()
        expect(status_of(card)).to_contain_text("applied", timeout=SOON)
        timeline = notebook.run(cell(BUG, "run.timeline()"))
        notebook.picture("failures-bug-timeline", timeline)
        expect(card).to_contain_text("“the bug is fixed”")
        notebook.picture("failures-bug-applied", card)
        assert notebook.errors() == []


def test_what_nobody_may_override_has_no_button(browser: Browser, running: Running) -> None:
    """The rule and the remedy stand where the buttons were; a missing key is one sentence."""
    with opened(browser, running.lab, FORBIDDEN) as notebook:
        notebook.run(0)
        run(notebook, FORBIDDEN, "levels=")
        card = card_in(notebook.run(cell(FORBIDDEN, '"forbidden"')))
        expect(status_of(card)).to_contain_text("policy hard failed", timeout=SOON)
        expect(card).to_contain_text("Policy account_admin forbids this, nobody may override it")
        expect(card).to_contain_text("Give developer access and a namespace permission.")
        expect(card.get_by_role("button", name="Approve")).to_be_hidden()
        notebook.picture("failures-forbidden", card)
        refused = notebook.run(cell(FORBIDDEN, "run.approve"))
        expect(refused).to_contain_text("Refused: the run is over, it is policy hard failed.")
        place = notebook.run(cell(FORBIDDEN, "run.web_ui()"))
        place.scroll_into_view_if_needed()
        page = place.frame_locator("iframe").locator("body")
        expect(page).to_contain_text("Policy account_admin forbids this", timeout=SOON)
        notebook.picture("failures-forbidden-web-ui", place)
        run(notebook, FORBIDDEN, 'cloud_key=""')
        keyless = card_in(notebook.run(cell(FORBIDDEN, '"no-key"')))
        expect(status_of(keyless)).to_contain_text("failed", timeout=SOON)
        expect(keyless).to_contain_text("There is no key for the Cloud API stand-in")
        notebook.picture("failures-no-key", keyless)
        away = card_in(notebook.run(cell(FORBIDDEN, '"away"')))
        expect(away).to_contain_text("nothing listens there", timeout=SOON)
        expect(away).to_contain_text(re.compile(r"Attempt \d in \d s"))
        notebook.picture("failures-away", away)
        notebook.run(cell(FORBIDDEN, "away.wait()"))
        expect(status_of(away)).to_contain_text("applied", timeout=SOON)


def test_an_outage_passes_and_nobody_was_called(browser: Browser, running: Running) -> None:
    """Three failures and the waits between them are drawn; the fourth attempt succeeds."""
    with opened(browser, running.lab, OUTAGE) as notebook:
        notebook.run(0)
        run(notebook, OUTAGE, "times=3")
        card = card_in(notebook.run(cell(OUTAGE, '"bad-minute"')))
        expect(card).to_contain_text("answers with UNAVAILABLE", timeout=SOON)
        expect(card).to_contain_text(re.compile(r"Attempt 4 in \d s"), timeout=SOON)
        card.get_by_role("tab", name="Timeline").click()
        notebook.picture("failures-outage", card)
        expect(status_of(card)).to_contain_text("applied", timeout=SOON)
        expect(card.locator("svg")).to_contain_text("attempt 4 of 4, waits 1 s, 2 s, 4 s")
        notebook.picture("failures-outage-applied", card)
        half = card_in(notebook.run(cell(OUTAGE, '"half-way"')))
        expect(status_of(half)).to_contain_text("applied", timeout=SOON)
        expect(half).to_contain_text("Recovery")
        notebook.picture("failures-half-way", half)
        assert notebook.errors() == []

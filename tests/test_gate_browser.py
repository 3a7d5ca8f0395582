"""Notebooks 02, 03 and 04 as a presenter gives them: by mouse, in one `tprov lab`.

Cells are run one after another; what the prose asks a person to do is done on the card. Pictures
of each station are kept in `artifacts`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser import NOT_RUN, Notebook, chromium, find_chromium
from tests.kernels import code_cells
from tests.walkthrough import Running, card_in, cell, opened, status_of, tprov_lab, workspace

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason=NOT_RUN),
    pytest.mark.timeout(300),
]

VISIBILITY, SIGNAL, UPDATE = (
    "02_advanced_visibility",
    "03_human_in_the_loop_signal",
    "04_human_in_the_loop_update",
)
LIMIT = 60_000
"""Milliseconds for what takes a few seconds on a machine that has nothing else to do."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One `tprov lab` for the three."""
    with tprov_lab(workspace(tmp_path_factory.mktemp("gate"))) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with chromium() as made:
        yield made


def run_until(notebook: Notebook, story: str, code: str, *, first: int = 0) -> int:
    """Run each cell before the one that holds this code; give that one's number."""
    number = cell(story, code)
    for before in range(first, number):
        notebook.run(before)
    return number


def decide(card: Locator, button: str, reason: str) -> None:
    """Type a reason on the card, and press a button."""
    card.get_by_label("Reason").fill(reason)
    card.get_by_role("button", name=button).click()


def run_the_rest(notebook: Notebook, story: str, first: int) -> None:
    """Run what is left; no cell has an error."""
    for number in range(first, len(code_cells(story))):
        notebook.run(number)
    assert notebook.errors() == []


def test_one_run_is_found_among_eight_and_approved(browser: Browser, running: Running) -> None:
    """The live table counts and filters; the one that waits is decided from its card."""
    with opened(browser, running.lab, VISIBILITY) as notebook:
        table = run_until(notebook, VISIBILITY, "lab.table()")
        place = notebook.run(table)
        expect(place.locator(".rows tbody tr")).to_have_count(8, timeout=LIMIT)
        filtered = notebook.run(table + 1)
        expect(filtered.locator(".rows tbody tr")).to_have_count(1, timeout=LIMIT)
        place.scroll_into_view_if_needed()
        notebook.picture("gate-table")
        approve = run_until(
            notebook, VISIBILITY, 'lab.run("pay-admin")\nrun.card()', first=table + 2
        )
        expect(notebook.output(approve - 1)).to_contain_text("looks like a secret")
        notebook.start(approve)
        card = card_in(notebook.output(approve))
        decide(card, "Approve", "pay needs one")
        notebook.done(approve)
        expect(status_of(card)).to_contain_text("applied")
        expect(filtered.locator(".rows tbody tr")).to_have_count(0, timeout=LIMIT)
        run_the_rest(notebook, VISIBILITY, approve + 1)
        place.scroll_into_view_if_needed()
        notebook.picture("gate-table-tidied")


def test_a_signal_tells_nothing_and_a_run_waits_without_a_worker(
    browser: Browser, running: Running
) -> None:
    """The worker is killed, the run waits; useless decisions are kept with why; yes, then no."""
    with opened(browser, running.lab, SIGNAL) as notebook:
        kill = run_until(notebook, SIGNAL, "worker.kill()")
        card = card_in(notebook.output(cell(SIGNAL, 'via="signal")\nrun.card()')))
        notebook.run(kill)
        expect(card).to_contain_text("Nobody polls", timeout=LIMIT)
        card.scroll_into_view_if_needed()
        notebook.picture("gate-nobody-polls", card)
        waits = run_until(notebook, SIGNAL, "run.wait()", first=kill + 1)
        expect(card).not_to_contain_text("Nobody polls", timeout=LIMIT)
        expect(notebook.output(waits - 1)).to_contain_text("an approval needs a reason")
        card.get_by_role("button", name="Approve").click()
        expect(card.get_by_role("status").last).to_contain_text("tells nothing back")
        notebook.picture("gate-ignored", card)
        notebook.start(waits)
        decide(card, "Approve", "she runs the account from Monday on")
        notebook.done(waits)
        expect(status_of(card)).to_contain_text("applied")
        deny = run_until(notebook, SIGNAL, 'second.wait("rejected")', first=waits + 1)
        notebook.start(deny)
        second = card_in(notebook.output(deny))
        expect(second.get_by_role("button", name="Deny")).to_be_enabled(timeout=LIMIT)
        second.get_by_role("button", name="Deny").click()
        notebook.done(deny)
        expect(status_of(second)).to_contain_text("rejected")
        notebook.picture("gate-denied", second)
        run_the_rest(notebook, SIGNAL, deny + 1)


def test_an_update_answers_and_nothing_sneaks_in(browser: Browser, running: Running) -> None:
    """Refused at the button; the directory moves on, the card says so and plans again."""
    with opened(browser, running.lab, UPDATE) as notebook:
        edit = run_until(notebook, UPDATE, "write_text")
        card = card_in(notebook.output(cell(UPDATE, "lab.copy(")))
        card.get_by_role("button", name="Approve").click()
        expect(card.get_by_role("alert")).to_contain_text(
            "Refused: an approval needs a reason. Nothing was recorded."
        )
        notebook.run(edit)
        again = card.get_by_role("button", name="Plan again")
        expect(again).to_be_visible(timeout=LIMIT)
        card.scroll_into_view_if_needed()
        notebook.picture("gate-moved-on", card)
        again.click()
        expect(card).to_contain_text("Supersedes", timeout=LIMIT)
        expect(card).to_contain_text("ada+")
        notebook.picture("gate-planned-anew", card)
        run_until(notebook, UPDATE, "run.wait()", first=edit + 1)
        waits = cell(UPDATE, "run.wait()")
        expect(notebook.output(cell(UPDATE, "only_grace"))).to_contain_text("is not Grace")
        notebook.start(waits)
        decide(card, "Approve", "Ada it is")
        notebook.done(waits)
        expect(status_of(card)).to_contain_text("applied")
        late = run_until(notebook, UPDATE, 'late.wait("expired")', first=waits + 1)
        notebook.run(late)
        expect(status_of(card_in(notebook.output(late)))).to_contain_text("expired")
        run_the_rest(notebook, UPDATE, late + 1)
        for name, code in {"what-if": "only_grace", "audit": "run.audit()"}.items():
            place = notebook.output(cell(UPDATE, code))
            place.scroll_into_view_if_needed()
            notebook.picture(f"gate-{name}", place)

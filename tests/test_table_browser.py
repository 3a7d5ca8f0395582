"""The table of runs by mouse and keyboard: real JupyterLab, real Chromium, a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator

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
    pytest.mark.timeout(180),
]

START = """for name in ("web", "search"):
    lab.start(name, config="terraform/tcloud_namespace")
lab.start("adm", config="terraform/tcloud_admin_user")"""
TABLE = "table = lab.table()\nshown = [*globals().get('shown', []), table]\ntable"
AGAIN = "[known.is_followed for known in shown]"
ASLEEP = """import time, pathlib
for _ in range(600):
    if not pathlib.Path('wake').exists():
        time.sleep(0.1)"""
LIMIT = 60_000
"""Milliseconds for what takes a few seconds on a machine that has nothing else to do."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on an empty folder, whose kernels find this project's configurations."""
    folder, private = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("jupyter")
    environ = environment(private / "home", TPROV_ROOT=str(ROOT), PYTHONPATH=str(ROOT))
    with jupyter_lab(folder, private=private, environ=environ) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the module."""
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own, with its own storage."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    yield context.new_page()
    context.close()


def rows(place: Locator) -> Locator:
    """The rows that are shown."""
    return place.locator(".rows tbody tr")


def test_the_one_that_waits_is_found_among_many(page: Page, lab: Lab) -> None:
    """It moves by itself; lists and field find the run, by mouse, while a cell runs."""
    write_notebook(lab.folder / "table.ipynb", (SET_UP, TABLE, START, ASLEEP, AGAIN))
    seen = Notebook(page, lab, "table.ipynb")
    seen.open()
    seen.run(0)
    shown = seen.run(1)
    place = shown.locator(".tprov-table")
    expect(place).to_contain_text("No run matches.", timeout=LIMIT)
    seen.run(2)
    expect(rows(place)).to_have_count(3, timeout=LIMIT)
    expect(place.locator("tr.asks")).to_have_count(1, timeout=LIMIT)
    expect(place.locator(".counts")).to_contain_text("2 applied", timeout=LIMIT)
    expect(place.get_by_role("img", name="3 runs: 1 awaiting approval, 2 applied.")).to_be_visible()
    expect(shown.locator('[class^="tprov-runs"]')).to_be_hidden()

    seen.start(3)
    seen.running(3)
    field = place.get_by_role("textbox", name="Filter")
    place.get_by_label("Status").select_option("awaiting approval")
    expect(rows(place)).to_have_count(1, timeout=LIMIT)
    expect(field).to_have_value(re.compile(r"AND tprovStatus='awaiting_approval'$"))
    seen.picture("table-asks", place)

    field.fill("tprovSatus='applied'")
    field.press("Enter")
    complaint = place.get_by_role("alert")
    expect(complaint).to_contain_text("invalid search attribute: tprovSatus. Did you mean tprovSta")
    expect(rows(place)).to_have_count(1)
    seen.picture("table-wrong-filter", place)

    field.fill("tprovStatus='applied'")
    field.press("Enter")
    expect(rows(place)).to_have_count(2, timeout=LIMIT)
    expect(complaint).to_have_count(0)
    expect(place.get_by_label("Status")).to_have_value("applied")
    expect(place).to_contain_text("temporal workflow list --query \"tprovStatus='applied'\"")
    place.get_by_label("Status").select_option("any")
    expect(rows(place)).to_have_count(3, timeout=LIMIT)
    (lab.folder / "wake").touch()
    seen.done(3)
    look(seen, page, place)
    reached_by_keyboard(page, place)

    seen.run(1)  # the same cell again: its former table has nobody who looks at it
    expect(place.locator("tr.asks")).to_have_count(1, timeout=LIMIT)
    expect(seen.run(4)).to_contain_text("[False, True]")
    assert seen.errors() == []


def look(seen: Notebook, page: Page, place: Locator) -> None:
    """Readable in both themes; as wide as its place, down to a small window."""
    for dark in (True, False):
        seen.theme(dark=dark)
        seen.picture(f"table-{'dark' if dark else 'light'}", place)
        # The numbers in the bar stand on their status's colour, which the words below it have on
        # the ground that the numbers have: the same contrast, seen from the other side.
        low = [words for words in faint_words(place) if not words.startswith("1.00: ")]
        assert low == []
    for width in (1024, 900):
        page.set_viewport_size({"width": width, "height": 1000})
        seen.picture(f"table-{width}", place)
        assert place.evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    page.set_viewport_size({"width": 1280, "height": 1000})


def reached_by_keyboard(page: Page, place: Locator) -> None:
    """Lists, field, a link per run, in this order; each has a name."""
    place.get_by_label("Status").focus()
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(e => e.labels?.length ? e.labels[0].innerText : e.ariaLabel)"
                "(document.activeElement)"
            )
        )
    assert reached[:4] == ["Directory", "Verdict", "Asked by", "Filter"]
    assert reached[4] == "adm in the Web UI"

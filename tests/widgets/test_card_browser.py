"""The run card as people meet it: real JupyterLab, real Chromium, a real mouse."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

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
from tests.widgets import samples, views
from tprov_kernel.widgets.objects import objects_html
from tprov_kernel.widgets.panel import error_html, panel_html
from tprov_kernel.widgets.plan import plan_html
from tprov_kernel.widgets.snapshot import snapshot_html
from tprov_kernel.widgets.timeline import timeline_img

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason=NOT_RUN),
    pytest.mark.timeout(240),
]

BROKEN_LINKS = """card => [...card.querySelectorAll('*')]
  .map(node => getComputedStyle(node, '::before'))
  .filter(style => style.content.includes('\\uf127') && style.display !== 'none').length"""
STORED = {
    "snapshot": snapshot_html(views.applied(), taken=views.at(72)),
    "snapshot-asking": snapshot_html(views.asking(), taken=views.at(72)),
    "panel": panel_html(samples.PANEL),
    "plan": plan_html(samples.MIXED_PLAN, live=False),
    "objects": objects_html(samples.OBJECTS),
    "error": error_html(samples.ERROR),
    "timeline": timeline_img(views.applied(), now=views.at(72)),
}
ASLEEP = """import time, pathlib
for _ in range(600):
    if not pathlib.Path('wake').exists():
        time.sleep(0.1)"""
SET_UP = "from tests.widgets.stage import Stage\nstage = Stage()\nstage.go('asking')"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on an empty folder, whose kernels can import the tests' stage."""
    folder, private = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("jupyter")
    with jupyter_lab(folder, private=private, environ={"PYTHONPATH": str(ROOT)}) as running:
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


def opened(page: Page, lab: Lab, name: str, cells: Sequence[str]) -> Notebook:
    """Write a notebook, open it, and run its first two cells: set-up, and the card."""
    write_notebook(lab.folder / name, (SET_UP, "stage.card", *cells))
    seen = Notebook(page, lab, name)
    seen.open()
    seen.run(0)
    seen.run(1)
    expect(card(seen).locator(".head")).to_be_visible(timeout=20_000)
    return seen


def card(seen: Notebook) -> Locator:
    """The live card."""
    return seen.panel.locator(".tprov-card").first


def test_it_is_readable_in_both_themes_and_at_both_widths(page: Page, lab: Lab) -> None:
    """Every state is drawn, nothing is wider than the card, no text is below 4.5 : 1."""
    seen = opened(page, lab, "look.ipynb", [f"stage.go('{part}')" for part in views.EVERY])
    faint: dict[str, list[str]] = {}
    for dark in (False, True):
        seen.theme(dark=dark)
        for width in (1280, 900):
            page.set_viewport_size({"width": width, "height": 1000})
            for number, part in enumerate(views.EVERY):
                seen.run(number + 2)
                name = f"card-{'dark' if dark else 'light'}-{width}-{part}"
                look(seen, name, faint)
    assert {name: words for name, words in faint.items() if words} == {}
    assert seen.errors() == []


def look(seen: Notebook, name: str, faint: dict[str, list[str]]) -> None:
    """Take a picture of the card, of each tab for one part, and note what is hard to read."""
    place = card(seen)
    tabs = ("Plan", "Policy", "Timeline", "Payloads") if name.endswith("asking") else ("Timeline",)
    for tab in tabs:
        place.get_by_role("tab", name=tab).click()
        seen.picture(f"{name}-{tab.lower()}", place)
        faint[f"{name} {tab}"] = faint_words(place)
        sideways = place.evaluate("e => e.scrollWidth - e.clientWidth")
        assert sideways <= 0, f"{name}: {sideways} px too wide"


def test_approve_works_while_a_cell_sleeps(page: Page, lab: Lab) -> None:
    """The mouse's click is answered before the sleeping cell is over; the reason arrives first."""
    seen = opened(page, lab, "asleep.ipynb", [ASLEEP, "stage.taken"])
    place = card(seen)
    seen.start(2)
    seen.running(2)
    place.get_by_role("button", name="Approve").click()
    expect(place.get_by_role("alert")).to_contain_text("Nothing was recorded", timeout=15_000)
    seen.picture("card-refused", place)
    place.get_by_role("textbox", name="Reason").fill("It is a demo account")
    place.get_by_role("button", name="Approve").click()
    expect(place).to_contain_text("approved by grace", timeout=15_000)
    seen.running(2, seconds=1)
    expect(place.get_by_role("button", name="Approve")).to_have_count(0)
    (lab.folder / "wake").touch()
    expect(seen.run(3)).to_contain_text("('approve', 'It is a demo account', '7f3a91c2")


def test_the_keyboard_reaches_everything_in_order(page: Page, lab: Lab) -> None:
    """Reason, Approve, Deny, tabs, links; typing is not disturbed by the ticking card."""
    seen = opened(page, lab, "keys.ipynb", [])
    place = card(seen)
    reason = place.get_by_role("textbox", name="Reason")
    reason.click()
    page.keyboard.type("typed while the clock goes on", delay=60)
    expect(reason).to_be_focused()
    expect(reason).to_have_value("typed while the clock goes on")
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText.split('\\n')[0]"))
    order = [name for name in reached if not name.startswith("+ temporalcloud")]
    assert order[:3] == ["Approve", "Deny", "Plan"]
    assert order[-2:] == ["Open in Temporal Web UI", "Show as CLI"]
    reason.click()
    page.keyboard.press("Tab")
    seen.picture("card-focus", place)
    page.keyboard.press("Enter")
    expect(place).to_contain_text("approved by grace", timeout=15_000)


def test_the_clock_goes_on_by_itself(page: Page, lab: Lab) -> None:
    """Elapsed time moves while nothing happens and no cell runs."""
    seen = opened(page, lab, "clock.ipynb", [])
    head = card(seen).locator(".head")
    before = head.inner_text()
    expect(head).not_to_have_text(before, timeout=10_000)


def test_a_scenario_row_starts_one_on_the_spot(page: Page, lab: Lab) -> None:
    """A click shows the card below the buttons; its stored snapshot stays hidden."""
    scenarios = "[('happy_path', 'Happy path'), ('api_failure', 'The cloud has a bad minute')]"
    row = f"ScenarioRow({scenarios}, start=lambda name: stage.card)"
    code = f"from tprov_kernel.widgets.scenarios import ScenarioRow\n{row}"
    seen = opened(page, lab, "row.ipynb", [code])
    place = seen.run(2).locator(".tprov-row")
    place.get_by_role("button", name="Happy path").click()
    expect(place.locator(".tprov-card .head")).to_be_visible(timeout=15_000)
    expect(seen.output(2).locator('[class^="tprov-snap"]')).to_be_hidden()
    seen.picture("scenario-row", place)
    assert faint_words(place) == []


def test_a_card_without_its_kernel_says_so(page: Page, lab: Lab) -> None:
    """After a restart it is one dimmed card with one sentence; re-running replaces it."""
    seen = opened(page, lab, "restart.ipynb", [])
    seen.restart_kernel()
    gone = seen.panel.locator(".tprov-card.jupyter-widgets-disconnected")
    expect(gone).to_have_count(1, timeout=15_000)
    words = gone.evaluate("e => getComputedStyle(e, '::before').content")
    assert "The kernel behind this card is gone. Run the set-up cell again." in words
    assert gone.evaluate(BROKEN_LINKS) == 0
    seen.picture("card-kernel-gone", gone)
    seen.run(0)
    seen.run(1)
    expect(gone).to_have_count(0, timeout=15_000)
    expect(card(seen).locator(".head")).to_be_visible()


def test_the_snapshot_takes_over_when_the_kernel_is_gone(page: Page, lab: Lab) -> None:
    """Hidden while the card lives; in the saved notebook it shows the last state in words."""
    seen = opened(page, lab, "kept.ipynb", ["stage.go('applied')"])
    snapshot = seen.output(1).locator('[class^="tprov-snap"]')
    expect(snapshot).to_have_count(1)
    expect(snapshot).to_be_hidden()
    seen.run(2)
    expect(snapshot).to_contain_text("applied")
    expect(snapshot).to_be_hidden()
    seen.save()
    seen.menu("Kernel", "Shut Down Kernel")
    reader = page.context.new_page()
    reopened = Notebook(reader, lab, without_signature(lab.folder / "kept.ipynb"))
    reopened.open()
    shown = reopened.output(1).locator('[class^="tprov-snap"]')
    expect(shown).to_be_visible(timeout=20_000)
    expect(shown).to_contain_text("adm-7c2f.a1b2c")
    assert shown.get_by_role("img").evaluate("i => i.naturalWidth") > 100


def test_stored_views_read_well_for_a_stranger(page: Page, lab: Lab) -> None:
    """Untrusted, with no style sheet and no theme variables, in both themes: all readable."""
    path = write_notebook(lab.folder / "stored.ipynb", [f"# {name}" for name in STORED])
    notebook = json.loads(path.read_text())
    for cell, html in zip(notebook["cells"], STORED.values(), strict=True):
        data = {"text/html": html, "text/plain": "not shown"}
        cell["outputs"] = [{"output_type": "display_data", "metadata": {}, "data": data}]
    path.write_text(json.dumps(notebook))
    page.set_viewport_size({"width": 1280, "height": 1600})
    seen = Notebook(page, lab, path.name)
    seen.open()
    for dark in (False, True):
        seen.theme(dark=dark)
        for number, name in enumerate(STORED):
            shown = seen.output(number).locator(".jp-RenderedHTML")
            seen.picture(f"stored-{'dark' if dark else 'light'}-{name}", shown)
            assert faint_words(shown) == [], name


def without_signature(path: Path) -> str:
    """Copy a notebook as a stranger gets it: with other bytes, so that it is not trusted here."""
    notebook = json.loads(path.read_text())
    notebook["cells"][0]["source"] = ["# From somebody else.\n", *notebook["cells"][0]["source"]]
    copy = path.with_name("stranger.ipynb")
    copy.write_text(json.dumps(notebook))
    return copy.name

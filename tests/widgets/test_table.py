"""The table of runs and its picture of counts, as fragments, and as a widget without a kernel."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from xml.etree import ElementTree

import pytest

from tests.widgets import views
from tests.widgets.reader import text_of
from tprov_kernel.errors import ServiceError
from tprov_kernel.filters import ALL_RUNS
from tprov_kernel.messages import Status
from tprov_kernel.observe import Listing, RunRow, RunView, Tally
from tprov_kernel.widgets import style, table
from tprov_kernel.widgets.runtable import RunTable

NOW = views.at(72)
NASTY = '"><script>alert(1)</script>\u202e'


def row(stack: str, status: Status, verdict: str = "", **more: object) -> RunRow:
    """A run as visibility tells it."""
    view = RunView(
        workflow_id=f"stack-{stack}",
        run_id=f"run-{stack}",
        stack=stack,
        directory="terraform/tcloud_admin_user",
        requested_by="ada",
        status=status,
        started=views.START,
        ended=views.at(9) if status.is_final else None,
        closed=status.is_final,
        close_state="COMPLETED" if status.is_final else "",
    )
    return RunRow(view=replace(view, **more), verdict=verdict)  # type: ignore[arg-type]


ROWS = (
    row("adm", Status.AWAITING_APPROVAL, "soft-mandatory"),
    row("web", Status.PLANNING),
    row("old", Status.APPLIED, "allowed", action="destroy"),
)
LISTING = Listing(rows=ROWS, more=7)
TALLIES = (
    Tally(status=Status.PLANNING, count=2),
    Tally(status=Status.AWAITING_APPROVAL, count=1),
    Tally(status=Status.APPLIED, count=5),
    Tally(close_state="TIMED_OUT", count=1),
)


# --- fragments -------------------------------------------------------------------------------


@pytest.mark.parametrize("ink", [style.live, style.stored])
def test_a_row_says_everything_in_words(ink: style.Ink) -> None:
    """Stack, directory, status with its icon, verdict, requester, started, how long."""
    said = text_of(table.rows(LISTING, NOW, ink))
    assert "adm tcloud_admin_user ? awaiting approval soft-mandatory ada" in said
    assert "web tcloud_admin_user ● planning – ada" in said
    assert "destroy old tcloud_admin_user ✓ applied allowed ada" in said
    assert said.endswith("9.0 s")
    assert "1 min 12 s …" in said


def test_the_run_that_asks_is_marked() -> None:
    """Among many, it is the one that is looked for."""
    html = table.rows(LISTING, NOW, style.live)
    assert [m[1] for m in re.finditer(r'<tr class="asks">.*?<b[^>]*>(\w+)</b>', html)] == ["adm"]


def test_a_run_of_another_day_has_its_date() -> None:
    """'10:41' would be read as today's."""
    html = table.rows(LISTING, NOW + timedelta(days=3), style.stored)
    assert "11-24 " in text_of(html)


def test_what_is_not_shown_is_counted() -> None:
    """A table that ends silently would be taken for all there is."""
    assert "7 more are not shown" in table.foot(LISTING, style.live)
    assert "more" not in table.foot(replace(LISTING, more=0), style.live)
    assert "No run matches." in table.foot(Listing(), style.live)


def test_whatever_a_run_is_called_is_harmless() -> None:
    """Names, directories, requesters and filters are text, in pictures too."""
    bad = row(NASTY, Status.PLANNING, NASTY, directory=NASTY, requested_by=NASTY)
    listing = Listing(rows=(bad,))
    drawn = table.rows(listing, NOW, style.live) + table.links(listing, lambda _: "javascript:x")
    drawn += table.picture(listing, TALLIES, NASTY, taken=NOW) + table.complaint(NASTY, NASTY)
    drawn += table.command(NASTY, style.live)
    assert "<script" not in drawn
    assert "\u202e" not in drawn
    assert 'href="javascript' not in drawn


def test_counts_are_said_in_words_and_drawn_to_scale() -> None:
    """Each part has its number and, as a title, its words; the whole is no wider than it may be."""
    assert table.counts_words(TALLIES) == (
        "9 runs: 2 planning, 1 awaiting approval, 5 applied, 1 timed out."
    )
    svg = ElementTree.fromstring(table.counts_svg(TALLIES))
    boxes = list(svg.iter("{http://www.w3.org/2000/svg}rect"))
    ends = [float(box.attrib["x"]) + float(box.attrib["width"]) for box in boxes]
    widths = [float(box.attrib["width"]) for box in boxes]
    assert max(ends) == pytest.approx(table.WIDTH, abs=0.5)
    assert widths[2] > widths[0] > widths[1] == pytest.approx(widths[3])
    titles = [t.text for t in svg.iter("{http://www.w3.org/2000/svg}title")][1:]
    assert titles == ["2 planning", "1 awaiting approval", "5 applied", "1 timed out"]


def test_many_statuses_and_big_numbers_still_fit() -> None:
    """Every status at once, a thousand of one: each part keeps room for its number."""
    tallies = [Tally(status=s, count=1 + 4999 * (s is Status.APPLIED)) for s in Status]
    svg = ElementTree.fromstring(table.counts_svg(tallies, themed=False))
    boxes = list(svg.iter("{http://www.w3.org/2000/svg}rect"))
    assert len(boxes) == len(list(Status))
    assert float(boxes[-1].attrib["x"]) + float(boxes[-1].attrib["width"]) <= table.WIDTH + 0.5
    assert all(float(box.attrib["width"]) >= 15 for box in boxes)


def test_an_execution_that_continued_as_new_is_no_failure() -> None:
    """The run goes on, as another execution: red would be an alarm about nothing."""
    former = row("adm", Status.AWAITING_APPROVAL, closed=True, close_state="CONTINUED_AS_NEW")
    html = table.rows(Listing(rows=(former,)), NOW, style.live)
    assert "– continued as new" in text_of(html)
    assert "asks" not in html
    assert "tp-bad" not in html


def test_no_run_is_said() -> None:
    """An empty picture would tell nothing."""
    assert table.counts_words(()) == "No run."
    assert "No run." in table.counts((), style.live)


def test_the_stored_picture_needs_nothing_that_hosts_remove() -> None:
    """No style sheet, no inline SVG, no variables; the bar is an image with its words."""
    html = table.picture(LISTING, TALLIES, ALL_RUNS, taken=NOW, mark="mark")
    assert not re.search(r"<style|<svg|var\(|role=|aria-", html)
    assert f'alt="{table.counts_words(TALLIES)}"' in html
    inside = re.search(r"base64,([^\"]+)", html)
    assert inside is not None
    assert "var(" not in base64.b64decode(inside[1]).decode()
    assert "As it was at 2025-11-24 10:41:12 UTC" in text_of(html)
    assert "7 more are not shown" in text_of(html)


def test_the_stored_picture_stays_small() -> None:
    """A notebook must not grow by what was rehearsed in it; what is left out is counted."""
    many = Listing(rows=tuple(row(f"run-{n}", Status.APPLIED) for n in range(50)), more=5)
    html = table.picture(many, TALLIES, ALL_RUNS, taken=NOW)
    assert "43 more are not shown" in text_of(html)
    assert len(html) < 25_000


def test_the_same_list_in_a_terminal() -> None:
    """What can be copied as it stands, whatever quotes the filter has."""
    said = text_of(table.command("tprovStatus='applied'", style.live))
    assert said == "temporal workflow list --query \"tprovStatus='applied'\""
    assert text_of(table.command('a="$(x)"', style.live)).endswith("--query 'a=\"$(x)\"'")


# --- the widget ------------------------------------------------------------------------------


def made(asked: list[str], query: str = ALL_RUNS) -> RunTable:
    """A table that notes what it is asked for."""
    shown = RunTable(
        query, ask=asked.append, link=lambda view: f"/{view.run_id}", clock=lambda: NOW
    )
    shown.show(LISTING, TALLIES, query)
    return shown


def options(shown: RunTable, name: str) -> Sequence[str]:
    """What a drop-down list offers, in words."""
    return [label for label, _ in shown.lists[name].options]


def test_a_choice_becomes_a_clause_of_the_filter() -> None:
    """The field shows what is asked, so that it can be learned and copied; 'any' takes it out."""
    asked: list[str] = []
    shown = made(asked)
    shown.lists["tprovStatus"].value = "awaiting_approval"
    shown.lists["tprovRequester"].value = "ada"
    with_both = f"{ALL_RUNS} AND tprovStatus='awaiting_approval' AND tprovRequester='ada'"
    assert shown.filter.value == with_both
    shown.lists["tprovStatus"].value = ""
    assert asked == [
        f"{ALL_RUNS} AND tprovStatus='awaiting_approval'",
        with_both,
        f"{ALL_RUNS} AND tprovRequester='ada'",
    ]


def test_a_typed_filter_moves_the_lists() -> None:
    """Also to a value that no run had so far; one question, not one per list."""
    asked: list[str] = []
    shown = made(asked)
    shown.filter.value = "tprovStatus='applied' AND tprovRequester='grace'"
    assert asked == ["tprovStatus='applied' AND tprovRequester='grace'"]
    assert shown.lists["tprovStatus"].value == "applied"
    assert shown.lists["tprovRequester"].value == "grace"
    shown.filter.value = ALL_RUNS
    assert shown.lists["tprovStatus"].value == ""


def test_an_empty_filter_is_every_run() -> None:
    """And the field says so: other workflows of a shared server are none of ours."""
    asked: list[str] = []
    shown = made(asked, "tprovStatus='applied'")
    shown.lists["tprovStatus"].value = ""
    assert (asked, shown.filter.value) == ([ALL_RUNS], ALL_RUNS)
    shown.filter.value = "  "
    assert (asked[1:], shown.filter.value) == ([ALL_RUNS], ALL_RUNS)


def test_the_lists_offer_what_there_is() -> None:
    """Statuses in the order of a run's life; directories and requesters as they are met."""
    shown = made([])
    assert options(shown, "tprovStatus")[:3] == ["any", "uninitialized", "initializing"]
    assert options(shown, "tprovVerdict")[1:] == [
        "allowed", "advisory", "soft-mandatory", "hard-mandatory",
    ]  # fmt: skip
    assert options(shown, "tprovDirectory") == ["any", "terraform/tcloud_admin_user"]
    shown.lists["tprovRequester"].value = "ada"
    shown.show(Listing(rows=(row("b", Status.FAILED, requested_by="aaa"),)), (), ALL_RUNS)
    assert options(shown, "tprovRequester") == ["any", "aaa", "ada"]
    assert shown.lists["tprovRequester"].value == "ada"


def test_a_wrong_filter_is_told_at_the_field_and_the_rows_stay() -> None:
    """A choice then starts from the last filter that was understood."""
    asked: list[str] = []
    shown = made(asked)
    rows = shown._rows.value
    shown.filter.value = "nonsense"
    shown.refuse("The server does not understand this filter: incomplete.", ALL_RUNS)
    assert "does not understand" in text_of(shown._said.value)
    assert 'role="alert"' in shown._said.value
    assert shown._rows.value == rows
    shown.lists["tprovStatus"].value = "applied"
    assert asked[-1] == f"{ALL_RUNS} AND tprovStatus='applied'"
    shown.taken()
    assert shown._said.value == ""


def test_a_callback_that_fails_is_a_sentence_at_the_field() -> None:
    """Raised, it would be lost, or land in another cell."""

    def closed(_: str) -> None:
        raise ServiceError("This lab is closed.", remedy="Run the set-up cell again.")

    shown = RunTable(ALL_RUNS, ask=closed, link=lambda _: "")
    shown.filter.value = "tprovStatus='applied'"
    assert "This lab is closed. Run the set-up cell again." in text_of(shown._said.value)


def test_links_are_left_alone_while_the_rows_tick() -> None:
    """A new value would take the keyboard's focus away."""
    shown = made([])
    before = shown._links
    value = before.value
    later = replace(ROWS[1], view=replace(ROWS[1].view, status=Status.APPLYING))
    shown.show(replace(LISTING, rows=(ROWS[0], later, ROWS[2])), TALLIES, ALL_RUNS)
    assert shown._links.value == value
    assert 'aria-label="adm in the Web UI"' in value

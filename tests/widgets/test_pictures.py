"""Plan, timeline, snapshot, panel and objects: whole views, by what they show."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import timedelta
from xml.etree import ElementTree

import pytest

from tests.widgets import samples, views
from tests.widgets.reader import text_of
from tprov_kernel.observe import RunView, StepView
from tprov_kernel.widgets import style
from tprov_kernel.widgets.objects import objects_html
from tprov_kernel.widgets.panel import PanelModel, PanelRow, error_html, panel_html
from tprov_kernel.widgets.plan import plan_html, plan_markup, plan_text
from tprov_kernel.widgets.snapshot import snapshot_html, snapshot_words
from tprov_kernel.widgets.timeline import timeline_svg, timeline_words

NOW = views.at(72)


# --- plan ------------------------------------------------------------------------------------


def test_a_plan_reads_as_terraform_writes_it() -> None:
    """Symbols, values before and after, what is hidden and what was left out."""
    assert plan_text(samples.MIXED_PLAN) == (
        "Plan: 1 to import, 1 to add, 1 to change, 2 to destroy.\n"
        "~ temporalcloud_namespace.this         adm-7c2f\n"
        "    ~ retention_days = 7 -> 14\n"
        "-/+ temporalcloud_namespace.moved      old-1\n"
        '    ~ regions = ["aws-us-east-1"] -> ["aws-eu-1"]\n'
        '    ~ id      = "old-1.acct" -> (known after apply)\n'
        "- temporalcloud_user.gone              ada@example.test\n"
        '    - email = "ada@example.test"\n'
        "& temporalcloud_user.ours              bob@example.test\n"
        "  4 more changes left out for size"
    )
    assert "3 sensitive values hidden" in plan_text(samples.PLAN)
    assert "accepted_client_ca = (sensitive value)" in plan_text(samples.PLAN)


def test_a_plan_in_html_says_the_same_with_colours() -> None:
    """Each symbol has its tone's class; the text is the plain one's."""
    html = plan_html(samples.MIXED_PLAN, live=True)
    assert '<b class="tp-ask">~ </b>' in html
    assert '<b class="tp-bad">-/+ </b>' in html
    for line in plan_text(samples.MIXED_PLAN).splitlines()[1:]:
        assert " ".join(line.split()) in text_of(html).replace(" & ", " & ")
    assert "There is no plan yet." in plan_html(None, live=True)


def test_a_plan_for_rich_escapes_its_markup() -> None:
    """'[red]' in a value is text, not a colour."""
    from rich.text import Text

    plain = Text.from_markup(plan_markup(samples.MIXED_PLAN)).plain
    assert plain == plan_text(samples.MIXED_PLAN)


# --- timeline --------------------------------------------------------------------------------


def test_the_timeline_tells_attempts_waits_and_human_time() -> None:
    """In words, for those who do not see it; the picture carries them too."""
    said = timeline_words(views.applying(), now=NOW)
    assert "Plan: 5.2 s, attempt 3 of 3, waits 1 s, 2 s" in said
    assert "Approval: 52 s, waiting for a person" in said
    assert "Apply: 12 s, still running" in said
    assert said in timeline_svg(views.applying(), now=NOW, live=True)


def test_what_was_done_twice_is_not_called_a_second_attempt() -> None:
    """A plan that was made anew has not failed before; the attempts are those of the last one."""
    once = views.applying().step("plan")
    minute = timedelta(minutes=1)
    later = [replace(s, start=s.start + minute, end=s.end and s.end + minute) for s in once.spans]
    twice = replace(once, spans=(*once.spans, later[-1]))
    view = replace(views.applying(), steps=(twice,))
    assert "done 2 times" in timeline_words(view, now=NOW)
    assert "attempt" not in timeline_words(view, now=NOW)
    again = replace(once, spans=(*once.spans, *later))
    view = replace(views.applying(), steps=(again,))
    assert "done 2 times, attempt 3 of 3, waits 1 s, 2 s" in timeline_words(view, now=NOW)


@pytest.mark.parametrize("part", views.EVERY)
@pytest.mark.parametrize("hours", [0.0, 1.0, 72.0])
def test_everything_is_drawn_inside_the_picture(part: str, hours: float) -> None:
    """Whatever the run's length, no bar and no axis label leaves the picture or turns around."""
    now = NOW + timedelta(hours=hours)
    picture = ElementTree.fromstring(timeline_svg(views.EVERY[part](), now=now, live=False))
    _, _, width, height = map(float, picture.attrib["viewBox"].split())
    for shape in picture.iter():
        if "x" in shape.attrib:
            x, y = float(shape.attrib["x"]), float(shape.attrib["y"])
            assert 0 <= x <= x + float(shape.attrib.get("width", 0)) <= width + 0.1
            assert 0 <= y <= height


def test_a_long_wait_leaves_room_for_the_work() -> None:
    """Three days of waiting are drawn shorter, and say so."""
    svg = timeline_svg(views.asking(), now=views.at(3 * 86400), live=True)
    first = re.search(r'<rect x="[\d.]+" y="14[.\d]*" width="([\d.]+)"', svg)
    assert first is not None
    assert float(first[1]) > 10
    assert "not to scale" in svg


def test_the_live_picture_follows_the_theme_and_the_stored_one_does_not() -> None:
    """A stored picture is an image: no variable reaches into it."""
    assert "var(--jp-" in timeline_svg(views.asking(), now=NOW, live=True)
    assert "var(" not in timeline_svg(views.asking(), now=NOW, live=False)


# --- snapshot --------------------------------------------------------------------------------


@pytest.mark.parametrize("part", views.EVERY)
def test_a_snapshot_needs_nothing_that_sanitisers_drop(part: str) -> None:
    """Inline literal styles, an image with words; and it carries the time it was taken."""
    html = snapshot_html(views.EVERY[part](), taken=NOW, mark="tprov-snap-1")
    for dropped in ("<style", "<svg", "<script", "var(", "role=", "aria-", "data-", "transform"):
        assert dropped not in html.replace('src="data:image/svg+xml', "")
    assert html.startswith('<div class="tprov-snap-1">')
    assert "As it was at 2025-11-24 10:41:12 UTC" in text_of(html)
    picture = re.search(r'src="data:image/svg\+xml;base64,([^"]+)" alt="Timeline', html)
    assert picture is not None
    ElementTree.fromstring(base64.b64decode(picture[1]))


def test_a_snapshot_says_in_words_what_the_card_says() -> None:
    """Status, steps, decision, outputs; a request for a decision while one is open."""
    said = text_of(snapshot_html(views.applied(), taken=NOW))
    for words_ in ("✓ applied", "Init done 1.2 s", "approved", "adm-7c2f.a1b2c", "2 to add"):
        assert words_ in said
    assert "Someone has to decide on review" in text_of(snapshot_html(views.asking(), taken=NOW))
    assert snapshot_words(views.applied()) == "tcloud_admin_user (stack-adm-7c2f): applied, 100 %"


def test_a_run_of_which_nothing_is_known_has_a_snapshot() -> None:
    """Even before the first event."""
    empty = RunView(workflow_id="stack-a", run_id="r", stack="a")
    assert "uninitialized" in snapshot_html(empty)


# --- panel, objects, error -------------------------------------------------------------------


def test_the_panel_is_green_or_brings_a_remedy_per_row() -> None:
    """One sign for the whole, each row with its own; what was ignored and what is left over."""
    said = text_of(panel_html(samples.PANEL))
    assert said.startswith("✕ Your lab is open local 1.4 s")
    assert "✓ terraform 1.11.4 from PATH" in said
    assert "✕ opa not on PATH missing: Run tprov setup first." in said
    assert "TEMPORAL_API_KEY is set; local mode ignores it." in said
    assert "adm-7c2f awaiting approval since 10:41" in said
    green = PanelModel(services=(PanelRow(name="Temporal server"),), ignored=("A", "B"))
    said = text_of(panel_html(green))
    assert said.startswith("✓ Your lab is open")
    assert "A, B are set; local mode ignores them." in said


def test_an_error_is_a_sentence_and_its_remedy() -> None:
    """Where the person is looking, in one short box."""
    assert text_of(error_html(samples.ERROR)) == (
        "✕ The Temporal Cloud API does not accept the key."
        " Set TEMPORAL_CLOUD_API_KEY to a valid key."
    )


def test_the_cloud_s_objects_are_a_table() -> None:
    """Type, name, id, state, created; an empty Cloud says so."""
    said = text_of(objects_html(samples.OBJECTS))
    assert "namespace adm-7c2f adm-7c2f.a1b2c active 2025-11-24 10:41:07 UTC" in said
    assert text_of(objects_html([])) == "What the Cloud holds nothing"


def test_an_adaptive_style_has_its_literal_first() -> None:
    """A sanitiser that drops ``var()`` leaves the literal colour; a theme overrides it."""
    rule = style.adaptive("text")
    assert rule.index("color:#16191d") < rule.index("color:var(--jp-ui-font-color0")


def test_a_step_without_spans_is_not_drawn() -> None:
    """Steps that did not happen leave no empty row."""
    view = replace(views.applied(), steps=(StepView(name="init"),))
    assert ">Init<" not in timeline_svg(view, now=NOW, live=True)

"""The pure views: what they say about a run, in words and pictures."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from tests.widgets import views
from tprov_kernel.messages import Decision, Status
from tprov_kernel.observe import Contact, RunView, StepView
from tprov_kernel.widgets import live, parts, style, words
from tprov_kernel.widgets.objects import objects_html
from tprov_kernel.widgets.panel import PanelModel, PanelRow, error_html, panel_html
from tprov_kernel.widgets.plan import plan_html, plan_markup, plan_text
from tprov_kernel.widgets.snapshot import snapshot_html, snapshot_words
from tprov_kernel.widgets.timeline import timeline_svg, timeline_words

NOW = views.at(72)


def text_of(html: str) -> str:
    """What a reader sees of some HTML, white space folded."""
    said: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            said.append(data)

    Reader().feed(html)
    return " ".join(" ".join(said).split())


# --- words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0.0 s"),
        (0.24, "0.2 s"),
        (9.96, "10 s"),
        (59.7, "1 min 0 s"),
        (72, "1 min 12 s"),
        (259_080, "71 h 58 min"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    """Never negative, never '60 s', hours are not folded into days."""
    assert said == words.duration(seconds)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        " java\tscript:alert(1)",
        "\x01javascript:x",
        "data:text/html,x",
        "x:y",
    ],
)
def test_only_web_addresses_become_links(url: str) -> None:
    """Whatever a browser would read as another scheme leads nowhere."""
    assert words.link_target(url) == "#"


def test_web_and_relative_addresses_stay() -> None:
    """A colon in path or query is no scheme."""
    for url in ("http://127.0.0.1:8233/a:b", "https://x?y=a:b", "/lab/a:b", "02.ipynb", "?a=b:c"):
        assert url == words.link_target(url)


def test_foreign_text_cannot_turn_the_reading_direction_or_drive_a_terminal() -> None:
    """Direction marks become visible, terminal sequences and control characters go."""
    assert words.clean("a\u202eb") == "a\\u202eb"
    assert words.clean("\x1b[31mred\x1b[0m\x07\x00") == "red\ufffd\ufffd"
    assert words.clean("\ud800") == "\ufffd"


def test_a_run_that_was_terminated_says_so() -> None:
    """Temporal's own word, when the run could not set a status of ours before it ended."""
    view = replace(views.applying(), closed=True, close_state="TIMED_OUT")
    assert words.status_words(view) == "timed out"
    assert words.status_tone(view) == "bad"


def test_every_status_has_a_tone_and_every_tone_an_icon() -> None:
    """Colour is never the only sign."""
    for status in Status:
        view = RunView(workflow_id="stack-a", run_id="r", stack="a", status=status)
        chip = parts.chip(view, style.live)
        assert status.words in text_of(chip)
        assert text_of(chip).split()[0] in words.TONE_ICON.values()


@pytest.mark.parametrize(
    ("part", "name", "note"),
    [
        (views.asking, "plan", "5.2 s · 3 attempts"),
        (views.asking, "policy", "0.6 s · 1 finding"),
        (views.asking, "apply", "2 to add"),
        (views.retrying, "plan", "attempt 3 in 4 s"),
        (views.applying, "apply", "12 s"),
        (views.failed, "plan", "failed"),
        (views.failed, "apply", ""),
        (views.no_worker, "plan", "no worker"),
    ],
)
def test_a_steps_note_says_how_long_and_which_attempt(part, name, note) -> None:  # type: ignore[no-untyped-def]
    """Below its name, in a few words."""
    view = part()
    assert note == words.step_note(view.step(name), view, NOW)


def test_approval_says_since_when_it_asks() -> None:
    """With the reader's own clock."""
    view = views.asking()
    since = f"{views.at(8).astimezone():%H:%M}"
    assert f"asks since {since}" == words.step_note(view.step("approval"), view, NOW)


# --- parts -----------------------------------------------------------------------------------


def test_a_retry_counts_down_and_says_what_went_wrong() -> None:
    """The error in words, and when the next attempt is due."""
    said = text_of(parts.doing(views.retrying(), NOW, style.live))
    assert "attempt 2 failed: The Temporal Cloud API does not answer (503)." in said
    assert "Attempt 3 in 4 s." in said
    assert "Attempt 3 now." in text_of(parts.doing(views.retrying(), views.at(90), style.live))


def test_a_queue_that_nobody_polls_names_the_command_that_would() -> None:
    """Loud while the run needs a worker; calm while it waits for a person; gone when closed."""
    said = text_of(parts.banners(views.no_worker(), NOW, style.live))
    assert "Nobody polls the task queue infra-provisioning-07 ." in said
    assert "tprov worker --task-queue infra-provisioning-07" in said
    nobody = Contact(pollers=0, task_queue="infra-provisioning")
    calm = text_of(parts.banners(replace(views.asking(), contact=nobody), NOW, style.live))
    assert "A person can take their time" in calm
    assert calm.endswith("tprov worker")
    assert parts.banners(replace(views.applied(), contact=nobody), NOW, style.live) == ""


def test_being_out_of_touch_says_since_when_and_that_nothing_is_lost() -> None:
    """In a banner, in the status, and in the foot."""
    view = views.out_of_touch()
    said = text_of(parts.banners(view, NOW, style.live))
    assert f"since {views.at(52).astimezone():%H:%M} (20 s)" in said
    assert "loses nothing" in said
    assert "applying (last known)" in text_of(parts.chip(view, style.live))
    assert "⚠ worker: 4711@kernel · last heard 20 s ago" in parts.heard(view, NOW, "", style.live)


def test_the_foot_warns_when_a_running_step_falls_silent() -> None:
    """Not while a person is waited for: then silence is normal."""
    assert "⚠" not in parts.heard(views.applying(), views.at(80), "", style.live)
    assert "⚠" in parts.heard(views.applying(), views.at(90), "", style.live)
    assert "⚠" not in parts.heard(views.asking(), views.at(9000), "", style.live)
    assert "in this kernel" in parts.heard(views.asking(), NOW, views.WORKER, style.live)


def test_failures_bring_their_remedy() -> None:
    """A failed run, a failing workflow task, and what recovery did."""
    said = text_of(parts.banners(views.failed(), NOW, style.live))
    assert "does not accept the key. Set TEMPORAL_CLOUD_API_KEY" in said
    said = text_of(parts.banners(views.task_failing(), NOW, style.live))
    assert "The workflow's own code fails: NameError" in said
    assert "was found at the Cloud, created by this run: adopted." in said


def test_the_review_says_what_it_binds_to_and_until_when() -> None:
    """Digest, finding with remedy, plan, state, bundle, Terraform, who asked, time left."""
    said = text_of(parts.review_text(views.asking(), NOW, style.live))
    assert said == (
        "Someone has to decide on review 7f3a·91c2 soft-mandatory · temporalcloud_user.admin ·"
        " gets account-wide admin access. Remedy: give developer access and a namespace"
        " permission. 2 to add, 0 to change, 0 to destroy · state serial 0 ·"
        " policy bundle 4be1·07d9 · Terraform 1.11.4 · asked by ada · expires in 71 h 57 min"
    )


def test_a_decision_folds_into_one_line() -> None:
    """Who, when, why; an ignored one says why it was."""
    at = f"{views.at(60).astimezone():%H:%M}"
    said = text_of(parts.decisions([views.decision()], style.live))
    assert (
        said == f"✓ approved by grace at {at}: “It is a demo account & only for today” · by update"
    )
    ignored = Decision(
        verb="approve",
        outcome="ignored",
        reason="",
        reviewer="",
        review="",
        via="signal",
        at="nonsense",
        why="an approval needs a reason",
    )
    assert "ignored approve (an approval needs a reason)" in text_of(
        parts.decisions([ignored], style.live)
    )


def test_outputs_are_read_without_their_quotes() -> None:
    """A JSON string is a string; everything else stays JSON."""
    said = text_of(parts.outputs({"id": '"a.b"', "ports": "[1, 2]", "odd": "(x"}, style.live))
    assert said == "Outputs id a.b ports [1, 2] odd (x"


def test_steps_and_progress_are_told_to_screen_readers() -> None:
    """A list with a current step; a progress bar with role, name and value."""
    steps = live.steps(views.asking(), NOW)
    assert steps.count("<li") == 6
    assert steps.count('aria-current="step"') == 1
    assert "Approval asking" in text_of(steps)
    assert 'role="progressbar" aria-label="Progress: awaiting approval"' in live.head(
        views.asking(), NOW
    )
    assert 'aria-valuenow="60"' in live.head(views.asking(), NOW)


def test_a_huge_payload_is_cut() -> None:
    """A page must not carry megabytes, and says what it left out."""
    html = live.payload("Big", "x" * 1_000_000, "y")
    assert len(html) < 10_000
    assert "996000 more characters" in html


# --- plan ------------------------------------------------------------------------------------


def test_a_plan_reads_as_terraform_writes_it() -> None:
    """Symbols, values before and after, what is hidden and what was left out."""
    assert plan_text(views.MIXED_PLAN) == (
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
    assert "3 sensitive values hidden" in plan_text(views.PLAN)
    assert "accepted_client_ca = (sensitive value)" in plan_text(views.PLAN)


def test_a_plan_in_html_says_the_same_with_colours() -> None:
    """Each symbol has its tone's class; the text is the plain one's."""
    html = plan_html(views.MIXED_PLAN, live=True)
    assert '<b class="tp-ask">~ </b>' in html
    assert '<b class="tp-bad">-/+ </b>' in html
    for line in plan_text(views.MIXED_PLAN).splitlines()[1:]:
        assert " ".join(line.split()) in text_of(html).replace(" & ", " & ")
    assert "There is no plan yet." in plan_html(None, live=True)


def test_a_plan_for_rich_escapes_its_markup() -> None:
    """'[red]' in a value is text, not a colour."""
    from rich.text import Text

    plain = Text.from_markup(plan_markup(views.MIXED_PLAN)).plain
    assert plain == plan_text(views.MIXED_PLAN)


# --- timeline --------------------------------------------------------------------------------


def test_the_timeline_tells_attempts_waits_and_human_time() -> None:
    """In words, for those who do not see it; the picture carries them too."""
    said = timeline_words(views.applying(), now=NOW)
    assert "Plan: 5.2 s, attempt 3 of 3, waits 1 s, 2 s" in said
    assert "Approval: 52 s, waiting for a person" in said
    assert "Apply: 12 s, still running" in said
    assert said in timeline_svg(views.applying(), now=NOW, live=True)


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
    said = text_of(panel_html(views.PANEL))
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
    assert text_of(error_html(views.ERROR)) == (
        "✕ The Temporal Cloud API does not accept the key."
        " Set TEMPORAL_CLOUD_API_KEY to a valid key."
    )


def test_the_cloud_s_objects_are_a_table() -> None:
    """Type, name, id, state, created; an empty Cloud says so."""
    said = text_of(objects_html(views.OBJECTS))
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

"""What the fragments say about a run, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.widgets import views
from tests.widgets.reader import text_of
from tprov_kernel.messages import Decision, Status
from tprov_kernel.observe import Contact, RunView, Span, StepName
from tprov_kernel.widgets import live, parts, style, words

NOW = views.at(72)


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
def test_a_steps_note_says_how_long_and_which_attempt(
    part: Callable[[], RunView], name: StepName, note: str
) -> None:
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


def test_an_apply_without_an_answer_is_not_said_to_have_failed_and_no_more() -> None:
    """Nobody has looked yet: the card tells what is known, and what is not done meanwhile."""
    view = views.applying()
    silent = "No sign of life from its worker (heartbeat time-out)."
    lost = replace(view.step("apply"), state="failed", failure=silent)
    lost_view = replace(view, steps=(*view.steps[:4], lost, *view.steps[5:]))
    said = text_of(parts.doing(lost_view, NOW, style.live))
    assert f"Apply : {silent} How far it got is not known yet" in said


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
    assert "⚠ worker: 4711@kernel · server heard 20 s ago" in parts.heard(view, NOW, "", style.live)


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


def test_a_step_that_is_done_once_more_takes_what_it_takes_that_time() -> None:
    """Not the minutes in between, in which somebody thought about the first plan."""
    plan = views.asking().step("plan")
    again = Span(kind="ok", start=views.at(60), end=views.at(60.4))
    twice = replace(plan, spans=(*plan.spans, again), ended=views.at(60.4), attempts=1)
    assert words.step_note(twice, views.asking(), NOW) == "0.4 s"


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
    assert "⚠ ignored: approve · by signal · because an approval needs a reason" in text_of(
        parts.decisions([ignored], style.live)
    )


def test_decisions_that_are_not_shown_are_counted() -> None:
    """Also the ones that the run itself no longer keeps, which its audit tells of."""
    ignored = replace(views.decision(), outcome="ignored", reason="", via="signal", why="no.")
    kept = [replace(ignored, number=number) for number in (38, 39, 40)]
    said = text_of(parts.decisions(kept, style.live, most=2))
    assert said.startswith("… and 38 more before that; tprov audit tells of each")
    assert text_of(parts.decisions(kept, style.live)).startswith("… and 37 more before that; ")
    whole = [replace(ignored, number=number) for number in (1, 2, 3)]
    assert text_of(parts.decisions(whole, style.live, most=2)).startswith(
        "… and 1 more before that"
    )
    assert "before that" not in text_of(parts.decisions(whole, style.live))


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

"""The card's behaviour, with no front end: what a click does, what a view changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import ipywidgets as w
import pytest

from tests.widgets import views
from tests.widgets.reader import text_of
from tprov_kernel.errors import DecisionRefused, TprovError
from tprov_kernel.observe import RunView
from tprov_kernel.widgets.again import PATIENCE, Again, Ground
from tprov_kernel.widgets.card import RunCard, Verb
from tprov_kernel.widgets.comms import unpin
from tprov_kernel.widgets.scenarios import ScenarioRow

Taken = list[tuple[Verb, str, str]]


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = views.at(72)

    def __call__(self) -> datetime:
        return self.now


def made(
    decide: Callable[[Verb, str, str], None] = lambda *_: None,
    again: Callable[[Again], None] = lambda _: None,
) -> tuple[RunCard, Clock]:
    """A card whose clock stands at second 72 of the run."""
    clock = Clock()
    links = (("Web UI", "http://x"),)
    return RunCard(decide=decide, again=again, links=links, cli="tprov status", clock=clock), clock


def shown(card: RunCard, view: RunView | None = None) -> RunCard:
    """The card after it was told of a run that asks for a decision."""
    card.show(view or views.asking())
    return card


def every(widget: w.Widget) -> Iterator[w.Widget]:
    """A widget and everything below it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every(child)


def said(card: RunCard) -> str:
    """All HTML of the card that is not hidden, as one string."""
    hidden: set[w.Widget] = set()
    for widget in every(card.widget):
        if widget.layout.display == "none":
            hidden.update(every(widget))
    seen = [x for x in every(card.widget) if isinstance(x, w.HTML) and x not in hidden]
    return "\n".join(x.value for x in seen)


def test_a_click_hands_over_the_reason_and_the_review_on_the_screen() -> None:
    """With the digest, so that what was seen is what is decided."""
    taken: Taken = []
    card, _ = made(lambda *call: taken.append(call))
    shown(card).reason.value = "demo"
    card.approve.click()
    assert taken == [("approve", "demo", views.review().digest)]
    assert card.approve.disabled
    assert card.deny.disabled


def test_a_second_click_waits_for_the_first_answer() -> None:
    """``click()`` ignores ``disabled``; the card does not."""
    taken: Taken = []
    card, _ = made(lambda *call: taken.append(call))
    shown(card)
    card.approve.click()
    card.deny.click()
    assert len(taken) == 1
    card.answer("Refused: no reason. Nothing was recorded.", refused=True)
    card.deny.click()
    assert [verb for verb, *_ in taken] == ["approve", "deny"]


def test_a_refusal_keeps_the_reason_and_an_acceptance_clears_it() -> None:
    """The words stand below the buttons; a typed reason does not stay in a widget."""
    card, _ = made()
    shown(card).reason.value = "demo"
    card.answer("Refused: `x` is unknown. Nothing was recorded.", refused=True)
    assert card.reason.value == "demo"
    assert 'role="alert"' in said(card)
    assert not card.approve.disabled
    card.answer("Recorded.", refused=False)
    assert card.reason.value == ""
    assert "Recorded." in said(card)


def test_the_reason_is_gone_when_somebody_else_decided() -> None:
    """The box goes away, and what was typed with it; the decision is one line."""
    card, _ = made()
    shown(card).reason.value = "never sent"
    card.show(views.applying())
    assert card.reason.value == ""
    assert "Someone has to decide" not in said(card)
    assert "approved</b> by grace" in said(card)


def test_a_click_for_a_review_that_was_replaced_still_names_the_old_one() -> None:
    """A click on its way while the review changes can never approve what was not on the screen."""
    taken: Taken = []
    card, _ = made(lambda *call: taken.append(call))
    old = shown(card).approve
    newer = views.review(digest="0123456789")
    card.show(replace(views.asking(), review=newer))
    old.click()
    assert taken[0][2] == views.review().digest
    card.answer("Refused: that review was replaced. Nothing was recorded.", refused=True)
    card.approve.click()
    assert taken[1][2] == newer.digest


def test_a_click_when_nobody_has_to_decide_sends_nothing() -> None:
    """Before there is a run, while it works, after it closed."""
    taken: Taken = []
    card, _ = made(lambda *call: taken.append(call))
    card.approve.click()
    for view in (views.applying(), views.applied()):
        old = shown(card).approve
        card.show(view)
        card.approve.click()
        old.click()
    assert taken == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DecisionRefused("It has expired.", remedy="Ask again."), "It has expired. Ask again."),
        (RuntimeError("the loop is closed"), "could not be sent: the loop is closed."),
    ],
)
def test_an_exception_in_a_callback_becomes_words(
    error: Exception, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Raised or printed it would be lost, or land in another cell's output."""

    def fail(*_: str) -> None:
        raise error

    card, _ = made(fail)
    shown(card).deny.click()
    assert words in said(card)
    assert not card.deny.disabled
    assert capsys.readouterr() == ("", "")


def test_without_an_answer_the_buttons_come_back() -> None:
    """After a while, with a warning that the decision may have been recorded."""
    card, clock = made()
    shown(card).approve.click()
    card.tick(clock.now + timedelta(seconds=PATIENCE - 1))
    assert card.approve.disabled
    card.tick(clock.now + timedelta(seconds=PATIENCE + 1))
    assert not card.approve.disabled
    assert "may have been recorded" in said(card)


def test_showing_the_same_again_sends_nothing_to_the_page() -> None:
    """Every new value replaces nodes in the page and may take a focus away."""
    card, _ = made()
    for part in views.EVERY.values():
        shown(card, part())
        changes: list[Any] = []
        for widget in every(card.widget):
            widget.observe(changes.append)
        card.show(part())
        assert changes == []
        for widget in every(card.widget):
            widget.unobserve_all()


@pytest.mark.parametrize("part", [name for name in views.EVERY if not views.EVERY[name]().closed])
def test_every_second_changes_something_while_a_run_is_open(part: str) -> None:
    """No beat leaves the card as it was: seconds, countdowns, 'server heard'."""
    card, clock = made()
    shown(card, views.EVERY[part]())
    for second in (1, 2, 3, 60, 61, 5000, 5001):
        before = said(card)
        card.tick(clock.now + timedelta(seconds=second))
        assert said(card) != before


# --- plan again, check again -----------------------------------------------------------------

MOVED = "`terraform/tcloud_admin_user` has changed since this was planned."


def ground(view: RunView, *, here: bool = True, moved: str = MOVED) -> Ground:
    """The directory has moved on from what the run asks about."""
    digest = view.review.snapshot_digest if view.review else ""
    return Ground(snapshot=digest, here=here, moved=moved)


def offered(card: RunCard) -> set[str]:
    """The names of the buttons of the box that can be seen."""
    box = card.again
    if box.widget.layout.display == "none":
        return set()
    every = (box.plan_again, box.check_again, box.try_now, box.interrupt)
    return {b.description for b in every if b.layout.display != "none"}


def test_a_directory_that_moved_on_is_said_with_a_button() -> None:
    """Only where somebody has to decide, and only about what is decided there."""
    wanted: list[Again] = []
    card, _ = made(again=wanted.append)
    assert offered(shown(card)) == set()
    card.show_ground(ground(views.asking()))
    assert "has changed since this was planned" in said(card)
    assert offered(card) == {"Plan again"}
    card.again.plan_again.click()
    assert wanted == ["replan"]
    newer = replace(views.review(digest="0123456789"), snapshot_digest="dd" * 32)
    card.show(replace(views.asking(), review=newer))
    assert offered(card) == set(), "what was said is not about the new snapshot"
    card.show(views.asking())
    card.show_ground(ground(views.asking(), moved=""))
    assert offered(card) == set(), "it is as it was again"
    card.show_ground(ground(views.asking()))
    card.show(views.applied())
    assert offered(card) == set()


def test_a_long_apply_may_be_interrupted() -> None:
    """Not one that is over in a moment; what comes of it is said at the button."""
    wanted: list[Again] = []
    card, clock = made(again=wanted.append)
    clock.now = views.at(62)
    card.show(views.applying())
    assert offered(card) == set(), "it has been at work for less than two seconds"
    card.tick(views.at(72))
    assert offered(card) == {"Interrupt"}
    card.again.interrupt.click()
    assert wanted == ["interrupt"]
    card.answer_again("Terraform is asked to stop.", refused=False)
    clock.now = views.at(72)
    nobody = replace(views.applying(), contact=replace(views.applying().contact, pollers=0))
    card.show(nobody)
    assert offered(card) == set(), "there is nobody who could tell it to stop"
    assert "Terraform is at work" not in text_of(card.again.widget.children[0].value)
    assert "Apply , as it was last told: " in text_of(card._told.value)
    card.show(views.applying())
    assert "Terraform is asked to stop." in said(card)
    card.show(views.applied())
    assert offered(card) == set()


def test_a_refusal_comes_back_at_the_button_that_was_pressed() -> None:
    """In words; the button works again, and the buttons of the decision say nothing."""
    card, clock = made()
    shown(card).show_ground(ground(views.asking()))
    card.again.plan_again.click()
    assert card.again.plan_again.disabled
    card.answer_again("Refused: the run is over. Nothing was recorded.", refused=True)
    assert 'role="alert"' in said(card)
    assert not card.again.plan_again.disabled
    card.again.plan_again.click()
    card.tick(clock.now + timedelta(seconds=PATIENCE + 1))
    assert "No answer within" in said(card)
    assert not card.again.plan_again.disabled


def test_what_has_to_be_mended_is_said_in_opa_s_words_with_both_buttons() -> None:
    """Planning again needs the directory; judging again does not."""
    wanted: list[Again] = []
    card, _ = made(again=wanted.append)
    shown(card, views.unjudged())
    assert "rules/mistake.rego:3: rego_parse_error" in said(card)
    assert "The run waits for that, 38 min 48 s are left." in said(card)
    assert offered(card) == {"Check again"}
    card.show_ground(Ground(here=True))
    assert offered(card) == {"Plan again", "Check again"}
    card.again.check_again.click()
    card.again.plan_again.click()
    assert wanted == ["recheck"], "the second click waits for the first answer"
    card.answer_again("Trying again.", refused=False)
    card.again.plan_again.click()
    assert wanted == ["recheck", "replan"]


def test_there_is_nothing_to_do_again_while_a_run_works() -> None:
    """``click()`` ignores what is hidden; the box does not. An exception becomes words."""
    wanted: list[Again] = []
    card, _ = made(again=wanted.append)
    shown(card, views.applying())
    card.again.plan_again.click()
    card.again.check_again.click()
    assert wanted == []

    def fail(_: Again) -> None:
        raise RuntimeError("the loop is closed")

    card, _ = made(again=fail)
    shown(card, views.unjudged()).again.check_again.click()
    assert "could not be sent: the loop is closed." in said(card)


def test_near_its_end_a_review_is_said_loudly_to_the_second() -> None:
    """Below an hour: minutes and seconds; before that it stands among what the review binds."""
    card, clock = made()
    shown(card, views.asking_anew())
    assert "⚠ expires in 10 min 48 s" in said(card)
    card.tick(clock.now + timedelta(seconds=1))
    assert "⚠ expires in 10 min 47 s" in said(card)
    shown(card, views.asking())
    assert "⚠ expires" not in said(card)
    assert "expires in 71 h 57 min" in said(card)


def test_links_are_never_redrawn() -> None:
    """A focused link would lose the focus."""
    card, clock = made()
    links = next(x for x in every(card.widget) if isinstance(x, w.HTML) and "Web UI" in x.value)
    changes: list[Any] = []
    links.observe(changes.append)
    for part in views.EVERY.values():
        card.show(part())
        card.tick(clock.now + timedelta(seconds=5))
    assert changes == []


def test_controls_have_names_and_tabs_have_no_tooltip() -> None:
    """The description is what a screen reader says; a tooltip on a Tab breaks its view."""
    card, _ = made()
    assert card.reason.description == "Reason"
    assert (card.approve.description, card.deny.description) == ("Approve", "Deny")
    tabs = next(x for x in every(card.widget) if isinstance(x, w.Tab))
    assert tabs.tooltip is None
    assert list(tabs.titles) == ["Plan", "Policy", "Timeline", "Payloads"]


def test_it_may_be_told_from_many_threads() -> None:
    """Pollers, ticks and answers come from threads; the last word is the run's."""
    card, clock = made()
    failures: list[BaseException] = []

    def tell(number: int) -> None:
        try:
            for step in range(20):
                card.show(list(views.EVERY.values())[(number + step) % len(views.EVERY)]())
                card.tick(clock.now + timedelta(seconds=step))
                card.answer("x", refused=bool(step % 2))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=tell, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    card.show(views.applied())
    assert failures == []
    assert "✓</span> applied" in said(card)
    assert card.approve.disabled


def test_displaying_without_a_notebook_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """In a script there is no front end; `display` would print dictionaries."""
    card, _ = made()
    shown(card).display()
    card.refresh_snapshot()
    assert capsys.readouterr() == ("", "")


def test_unpinning_lets_the_front_end_s_choice_stand() -> None:
    """On an ipykernel that pins; on one that does not, and without a comm, nothing happens."""
    pinned = SimpleNamespace(_reply_subshell_for=lambda data, default: "main")
    free = SimpleNamespace()
    for comm in (pinned, free, None):
        unpin(cast(w.Widget, SimpleNamespace(comm=comm)))
    assert pinned._reply_subshell_for({}, "subshell-1") == "subshell-1"
    assert vars(free) == {}


# --- scenarios -------------------------------------------------------------------------------


def test_a_scenario_s_button_starts_it_and_shows_its_card() -> None:
    """By its name; the card of what was started last stands below the row."""
    started: list[str] = []
    cards = {name: made()[0] for name in ("happy_path", "api_failure")}

    def start(name: str) -> RunCard:
        started.append(name)
        return cards[name]

    row = ScenarioRow((("happy_path", "Happy path"), ("api_failure", "API failure")), start=start)
    for name in ("happy_path", "api_failure"):
        row.buttons[name].click()
        assert cards[name].widget in list(every(row.widget))
    assert started == ["happy_path", "api_failure"]
    assert cards["happy_path"].widget not in list(every(row.widget))


@pytest.mark.parametrize("error", [TprovError("It is busy.", remedy="Wait."), ValueError("odd")])
def test_a_scenario_that_cannot_start_says_why(error: Exception) -> None:
    """Below the row, in words; the card that was there stays."""

    def start(name: str) -> RunCard | None:
        raise error

    row = ScenarioRow((("happy_path", "Happy path"),), start=start)
    card, _ = made()
    row.show_card(card)
    row.buttons["happy_path"].click()
    text = "".join(x.value for x in every(row.widget) if isinstance(x, w.HTML))
    assert str(error).rstrip(".") in text
    assert card.widget in list(every(row.widget))

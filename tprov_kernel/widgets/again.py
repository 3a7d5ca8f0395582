"""The box that offers to plan, to judge or to try again, or to stop an apply, where that helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import ipywidgets as w

from tprov_kernel.errors import TprovError
from tprov_kernel.observe import RunView
from tprov_kernel.widgets import parts
from tprov_kernel.widgets.comms import unpin
from tprov_kernel.widgets.puts import put, show
from tprov_kernel.widgets.style import live as ink
from tprov_kernel.widgets.words import between, prose

Again = Literal["replan", "recheck", "retry", "interrupt"]

PATIENCE = 20.0
"""Seconds without an answer after which buttons work again."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The live directory behind a run, as the kernel sees it.

    Attributes:
        snapshot: Digest of the snapshot that it was compared with.
        here: The directory is on this machine, so it can be planned again.
        moved: What has changed since that snapshot was taken, in a sentence; empty for nothing.
    """

    snapshot: str = ""
    here: bool = False
    moved: str = ""


class AgainBox:
    """'Plan again', 'Check again', 'Try now' and 'Interrupt', with what came of a click.

    Args:
        act: Called with what is wanted; returns at once. The answer comes through `answer`.
        clock: Tells the time.

    Attributes:
        widget: The box; hidden while there is nothing to offer.
    """

    def __init__(self, act: Callable[[Again], None], *, clock: Callable[[], datetime]) -> None:
        self._act, self._clock = act, clock
        self._said, self._answer = w.HTML(), w.HTML()
        self.check_again = self._button("Check again", "recheck")
        self.plan_again = self._button("Plan again", "replan")
        self.try_now = self._button("Try now", "retry")
        self.interrupt = self._button("Interrupt", "interrupt")
        self._buttons: dict[Again, w.Button] = {
            "recheck": self.check_again,
            "replan": self.plan_again,
            "retry": self.try_now,
            "interrupt": self.interrupt,
        }
        self._row = w.HBox([*self._buttons.values()])
        self._row.add_class("ask-row")
        self.widget = w.VBox([self._said, self._row, self._answer])
        self.widget.add_class("again-box")
        self._offered: frozenset[Again] = frozenset()
        self._about: object = None
        self._sent: datetime | None = None
        show(self.widget, visible=False)

    def _button(self, name: str, what: Again) -> w.Button:
        button = w.Button(description=name)
        button.add_class("again")
        button.on_click(lambda _: self._on_click(what))
        unpin(button)
        return button

    def show(self, view: RunView, ground: Ground, now: datetime) -> None:
        """Offer what can be done at this moment; set nothing that is as it was."""
        if self._sent and between(self._sent, now) > PATIENCE:
            self.answer(f"No answer within {PATIENCE:.0f} s: look at the status.", refused=True)
        moved = ground.moved if parts.plans_from(view, ground.snapshot) else ""
        asks = parts.is_asking(view)
        offered: set[Again] = set()
        if view.repair is not None:
            offered |= {"recheck", "replan"} if ground.here else {"recheck"}
        elif asks and moved:
            offered.add("replan")
        failing = parts.keeps_failing(view)
        if failing is not None:
            offered.add("retry")
        if parts.may_be_interrupted(view, now):
            offered.add("interrupt")
        tried = failing and failing.attempts
        about = (view.review and view.review.digest, view.repair, tried)
        if about != self._about:  # what was said is not about this any more
            self._about, self._sent = about, None
            put(self._answer, "")
        self._offered = frozenset(offered)
        put(self._said, parts.again_text(view, moved, now, ink) if offered else "")
        for name, button in self._buttons.items():
            show(button, visible=name in offered)
        show(self.widget, visible=bool(offered))
        self._enable()

    def answer(self, text: str, *, refused: bool) -> None:
        """Say what came of a click, below the buttons, and let them be used again."""
        self._sent = None
        role, tone = ("alert", "bad") if refused else ("status", "muted")
        put(self._answer, f'<div role="{role}"{ink(tone)}>{prose(text, ink("code"))}</div>')
        self._enable()

    def _on_click(self, what: Again) -> None:
        try:
            if self._sent:
                return
            if what not in self._offered:
                self.answer("There is nothing to do again: nothing was sent.", refused=True)
                return
            self._sent = self._clock()
            put(self._answer, f'<div role="status"{ink("muted")}>Sending …</div>')
            self._enable()
            self._act(what)
        except TprovError as error:
            self.answer(str(error), refused=True)
        except Exception as error:  # raised in a callback it would be seen by nobody
            self.answer(f"It could not be sent: {error}.", refused=True)

    def _enable(self) -> None:
        for button in self._buttons.values():
            if button.disabled is not bool(self._sent):
                button.disabled = bool(self._sent)

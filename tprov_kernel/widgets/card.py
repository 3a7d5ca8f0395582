"""The run card: one run, live, with the decision it may be waiting for.

A view over `RunView` made of plain ipywidgets; no rule of the run is decided here. `show` and
`tick` may be called from any thread and set a trait only when its value differs, because every new
value replaces the nodes in the page. Callbacks check the state themselves (a script's ``click()``
ignores ``disabled``), never raise and never print: both would be lost, or land in another cell.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal

import ipywidgets as w

from tprov_kernel.errors import TprovError
from tprov_kernel.observe import RunView
from tprov_kernel.widgets import live, parts
from tprov_kernel.widgets.again import PATIENCE, Again, AgainBox, Ground
from tprov_kernel.widgets.comms import unpin
from tprov_kernel.widgets.outputs import Twin
from tprov_kernel.widgets.plan import plan_html
from tprov_kernel.widgets.puts import put, show
from tprov_kernel.widgets.sheet import card_css
from tprov_kernel.widgets.snapshot import snapshot_html, snapshot_words
from tprov_kernel.widgets.style import live as ink
from tprov_kernel.widgets.timeline import timeline_svg
from tprov_kernel.widgets.words import between, prose

Verb = Literal["approve", "deny"]
PayloadRow = tuple[str, str, str]
"""Title, the payload as it is stored, the payload as it is read."""


class RunCard:
    """A live card of one run.

    Args:
        decide: Called with the verb, the reason and the digest of the review that was on the
            screen; returns at once. Its answer comes later, through `answer`.
        again: Called with ``replan`` or ``recheck`` when that button is pressed; returns at once.
            Its answer comes later, through `answer_again`.
        links: Label and address of what the foot links to.
        cli: The shell command that shows the same run.
        own_worker: The identity of this kernel's worker, shown as 'in this kernel'.
        own_queue: The task queue that it polls.
        clock: Tells the time; replaced in tests.

    Attributes:
        widget: The live widget.
        reason: Where the reason is typed.
        approve: The button of the review on the screen; replaced with each review.
        deny: Its counterpart.
        again: The box with 'Plan again' and 'Check again'.
    """

    def __init__(
        self,
        *,
        decide: Callable[[Verb, str, str], None],
        links: Sequence[tuple[str, str]],
        cli: str,
        again: Callable[[Again], None] = lambda _: None,
        own_worker: str = "",
        own_queue: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._decide, self._clock = decide, clock
        self._own_worker, self._own_queue = own_worker, own_queue
        self._lock = threading.RLock()
        self._view: RunView | None = None
        self._armed = ""
        self._sent: datetime | None = None
        self._landmark: object = None
        self._ground = Ground()
        self.again = AgainBox(again, clock=clock)
        self._twin = Twin(mark=f"tprov-snap-{secrets.token_hex(4)}")
        self._head, self._steps, self._told = w.HTML(), w.HTML(), w.HTML()
        self._review, self._answer, self._decided = w.HTML(), w.HTML(), w.HTML()
        self._outputs, self._heard = w.HTML(), w.HTML()
        self._tabs = [w.HTML() for _ in range(4)]
        self._links = w.HTML(live.links(links, cli))
        # The description is its accessible name; the sheet hides it, the placeholder is seen.
        self.reason = w.Text(
            description="Reason",
            placeholder="Reason (required to approve)",
            continuous_update=False,
        )
        self._row = w.HBox()
        self._row.add_class("ask-row")
        self._box = w.VBox([self._review, self._row, self._answer])
        self._box.add_class("ask-box")
        self._arm("")
        put(
            self._told, f'<div class="told"><p{ink("muted")}>Waiting to hear of the run …</p></div>'
        )
        self.widget = self._compose()
        self.show_payloads(())

    def _compose(self) -> w.VBox:
        sheet = w.HTML(card_css(self._twin.mark))
        sheet.layout.display = "none"
        tabs = w.Tab(self._tabs, titles=("Plan", "Policy", "Timeline", "Payloads"))
        foot = w.HBox([self._links, self._heard])
        foot.add_class("foot")
        unpin(self.reason, tabs)
        body = [self._head, self._steps, self._told, self.again.widget, self._box, self._decided]
        body.append(self._outputs)
        card = w.VBox([sheet, *body, tabs, foot])
        card.add_class("tprov-card")
        card.add_class(f"{self._twin.mark}-live")
        return card

    # --- what the lab tells ----------------------------------------------------------------

    def show(self, view: RunView) -> None:
        """Show a run; cheap when nothing changed; from any thread.

        At every landmark (status, a step's state, a decision) the stored snapshot follows.
        """
        with self._lock:
            previous, self._view = self._view, view
            self._render(self._clock())
            if previous is None or previous.plan != view.plan:
                put(self._tabs[0], plan_html(view.plan, live=True))
            if previous is None or previous.verdict != view.verdict:
                put(self._tabs[1], parts.policy(view.verdict, ink))
            landmark = (view.status, view.closed, view.review, view.decisions, view.outputs)
            troubles = (view.failure, view.task_failure, view.repair)
            passed = (*landmark, [s.state for s in view.steps], troubles)
            if passed != self._landmark:
                self._landmark = passed
                self.refresh_snapshot()

    def tick(self, now: datetime) -> None:
        """Bring elapsed times, countdowns and 'server heard' up to `now`; from any thread."""
        with self._lock:
            if self._sent and between(self._sent, now) > PATIENCE:
                self.answer(
                    f"No answer within {PATIENCE:.0f} s. The decision may have been recorded:"
                    " look at the status before trying again.",
                    refused=True,
                )
            self._render(now)

    def answer(self, text: str, *, refused: bool) -> None:
        """Say what came of a click, below the buttons, and let them be used again.

        Args:
            text: One sentence; for a refusal it says whether anything was recorded.
            refused: Whether the decision was not taken; the reason is then kept for a second try.
        """
        with self._lock:
            self._sent = None
            self._say(text, "alert" if refused else "status")
            if not refused:
                self.reason.value = ""
            self._enable(asking=self._view is not None and parts.is_asking(self._view))

    def answer_again(self, text: str, *, refused: bool) -> None:
        """Say what came of 'Plan again' or 'Check again', below those buttons."""
        with self._lock:
            self.again.answer(text, refused=refused)

    def show_ground(self, ground: Ground) -> None:
        """Say whether the live directory is still what waits for a decision; from any thread."""
        with self._lock:
            self._ground = ground
            self._render(self._clock())

    def show_payloads(self, rows: Sequence[PayloadRow]) -> None:
        """Show a few payloads, as stored beside as read; from any thread."""
        drawn = "".join(live.payload(*row) for row in rows)
        put(self._tabs[3], drawn or f"<div{ink('muted')}>No payload was looked at yet.</div>")

    # --- outputs ---------------------------------------------------------------------------

    def display(self) -> None:
        """Put the live card and, as a second output, its stored snapshot into the running cell."""
        with self._lock:
            self._twin.display(self.widget, *self._snapshot())

    def refresh_snapshot(self) -> None:
        """Bring the stored snapshot up to date; does nothing before `display`.

        Headless, an update is stored only while some cell runs (facts: section 2).
        """
        with self._lock:
            self._twin.refresh(*self._snapshot())

    def use_output(self, display_id: str | None) -> None:
        """Keep the snapshot in an output that others displayed; None stops keeping it.

        `ScenarioRow` shows one card after another above the same output.
        """
        with self._lock:
            self._twin.move(display_id)
            self.refresh_snapshot()

    def _ipython_display_(self) -> None:
        self.display()

    def _snapshot(self) -> tuple[str, str]:
        if self._view is None:
            return "", "A run card; the run has not been heard of yet."
        html = snapshot_html(self._view, taken=self._clock(), mark=self._twin.mark)
        return html, snapshot_words(self._view)

    # --- drawing ---------------------------------------------------------------------------

    def _render(self, now: datetime) -> None:
        view = self._view
        if view is None:
            return
        put(self._head, live.head(view, now))
        put(self._steps, live.steps(view, now))
        told = parts.banners(view, now, ink, own_queue=self._own_queue)
        told += parts.doing(view, now, ink)
        put(self._told, f'<div class="told">{told}</div>' if told else "")
        self.again.show(view, self._ground, now)
        self._ask(view, now)
        decided = parts.decisions(view.decisions, ink, most=3)
        put(self._decided, f'<div class="told tp-gap">{decided}</div>' if decided else "")
        shown = parts.outputs(view.outputs, ink)
        put(self._outputs, f"<div{ink('section')}>{shown}</div>" if shown else "")
        put(self._tabs[2], timeline_svg(view, now=now, live=True))
        put(self._heard, parts.heard(view, now, self._own_worker, ink))

    def _ask(self, view: RunView, now: datetime) -> None:
        asking = parts.is_asking(view) and view.review is not None
        digest = view.review.digest if asking and view.review else ""
        if digest != self._armed:
            self._arm(digest)
        if asking:
            put(self._review, parts.review_text(view, now, ink))
        show(self._box, visible=asking)

    def _arm(self, digest: str) -> None:
        """Make the two buttons of one review.

        Each review gets buttons of its own: a click that was on its way while the review was
        replaced still names the review that was on the screen, and is refused for it.
        """
        old = self._row.children[1:]
        self.approve, self.deny = _button("Approve"), _button("Deny")
        self.approve.on_click(lambda _: self._on_click("approve", digest))
        self.deny.on_click(lambda _: self._on_click("deny", digest))
        unpin(self.approve, self.deny)
        self._row.children = (self.reason, self.approve, self.deny)
        for button in old:
            button.close()
        self._armed, self._sent = digest, None
        self.reason.value = ""
        self._say("", "status")
        self._enable(asking=bool(digest))

    def _on_click(self, verb: Verb, digest: str) -> None:
        try:
            with self._lock:
                if not digest or self._view is None or not parts.is_asking(self._view):
                    self._say("Nothing waits for a decision: nothing was sent.", "alert")
                    return
                if self._sent:
                    return
                self._sent, reason = self._clock(), self.reason.value
                self._enable(asking=False)
                self._say("Sending …", "status")
            # Outside the lock: the thread that answers may be the one that waits for it.
            self._decide(verb, reason, digest)
        except TprovError as error:
            self.answer(str(error), refused=True)
        except Exception as error:
            self.answer(f"The decision could not be sent: {error}.", refused=True)

    def _say(self, text: str, role: Literal["alert", "status"]) -> None:
        tone = "bad" if role == "alert" else "muted"
        put(
            self._answer,
            f'<div role="{role}"{ink(tone)}>{prose(text, ink("code"))}</div>' if text else "",
        )

    def _enable(self, *, asking: bool) -> None:
        for button in (self.approve, self.deny):
            if button.disabled is asking:
                button.disabled = not asking


def _button(name: Literal["Approve", "Deny"]) -> w.Button:
    button = w.Button(description=name, disabled=True)
    button.add_class(name.lower())
    return button

"""One run as a notebook holds it: its card, and a way to wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from temporalio.client import Client

from tprov_kernel import runs
from tprov_kernel.audit import audit, to_markdown
from tprov_kernel.errors import TprovError
from tprov_kernel.lab import typed
from tprov_kernel.lab.attempts import attempts_words, were_made
from tprov_kernel.lab.desk import Desk, Via
from tprov_kernel.lab.gate import decisions_html, decisions_words
from tprov_kernel.lab.ground import LOOK_EVERY, Lookout
from tprov_kernel.lab.looks import WebUI, events_html, fetch_events, payload_rows, web_ui_html
from tprov_kernel.lab.output import Words, show_html, show_markdown
from tprov_kernel.lab.runtime import Runtime
from tprov_kernel.lab.trying import explain, text_html, tried_html, tried_words, what_if
from tprov_kernel.messages import Finding, Status, progress_of
from tprov_kernel.observe import RunView
from tprov_kernel.savedplan import Means
from tprov_kernel.watch import Watcher
from tprov_kernel.widgets.card import RunCard
from tprov_kernel.widgets.parts import policy
from tprov_kernel.widgets.payloads import payloads_html
from tprov_kernel.widgets.plan import plan_html, plan_text
from tprov_kernel.widgets.style import adaptive
from tprov_kernel.widgets.timeline import timeline_img, timeline_words

FIRST = 1.0
"""Seconds to wait for the first news of a run before its card is shown without."""

NEWS = 5.0
"""Seconds to wait for what has happened already to be heard of."""

LOOK_FOR_WORKERS = 2.0
"""Seconds between two looks for a worker, while a cell waits."""

ALONE = 10.0
"""Seconds without any worker after which a cell waits no more."""

TICK = 0.5
"""Seconds between two looks at the clock, while a run is open."""


class NotReached(TprovError):
    """A run that was waited for ended otherwise, or did not get there in time."""


@dataclass(frozen=True)
class Reached:
    """What a wait came to; a cell shows its words."""

    status: Status
    words: str

    def __repr__(self) -> str:
        return self.words


class Run:
    """One run on one stack.

    Args:
        runtime: Where the client lives.
        client: Connected to the server.
        handle: The run.
        stack: Its stack's name.
        via: Whether the card's buttons decide by signal or by update.
        headless: Nobody is there to press buttons: the autopilot does.
        web: Where the run is in the Web UI.
        worker: Identity of this kernel's worker.
        queue: The task queue that it polls.
        means: What it takes to seal a snapshot, and to have a plan judged by other policies.
        nobody_polls: Tells whether no worker works on that queue.
        on_view: Told of every change, for `tprov play`.
    """

    def __init__(
        self,
        *,
        runtime: Runtime,
        client: Client,
        handle: runs.RunHandle,
        stack: str,
        via: Via,
        headless: bool,
        web: WebUI,
        worker: str,
        queue: str,
        means: Means,
        nobody_polls: Callable[[], Awaitable[bool]],
        on_view: Callable[[RunView], None] = lambda _: None,
    ) -> None:
        self.stack = stack
        self.workflow_id = handle.id
        self.run_id = handle.run_id or ""
        self.via: Via = via
        self._runtime = runtime
        self._client = client
        self._handle = handle
        self._headless = headless
        self._web = web
        self._worker, self._queue = worker, queue
        self._nobody_polls, self._alone = nobody_polls, False
        self._means = means
        self._lookout = Lookout(client, handle, key_ring=means.key_ring, root=means.settings.root)
        self._desk = Desk(
            runtime, client, handle, via=via, lookout=self._lookout, key_ring=means.key_ring
        )
        self._on_view = on_view
        self._card: RunCard | None = None
        self._view: RunView | None = None
        self._seen = threading.Condition()
        self._asked: set[str] = set()
        self._watcher = Watcher(client, workflow_id=handle.id, run_id=self.run_id)
        self._watching: Future[None] = runtime.submit(self._watch())

    # --- what people call --------------------------------------------------------------------

    def card(self) -> None:
        """Show the run's card in this cell."""
        self._wait_for(lambda _: True, monotonic() + FIRST)  # so that it does not begin empty
        self.as_card().display()

    def wait(self, until: str = "", *, or_later: bool = False, timeout: float = 600.0) -> Reached:
        """Wait until the run has a status, or is over; then bring the stored picture up to date.

        Args:
            until: A status, such as ``awaiting_approval``; default is a good end.
            or_later: A later status will do: the run may have gone on meanwhile.
            timeout: Seconds.

        Raises:
            NotReached: It ended otherwise, or is not there in time; the sentence says how it is.
            Mistyped: There is no such status.
        """
        wanted = typed.status(until) if until else None
        deadline = monotonic() + typed.timeout(timeout)

        def is_there(view: RunView) -> bool:
            if wanted is None:
                return view.closed and view.close_state == "COMPLETED"
            if wanted.is_final and not view.closed:
                return False  # why it ended so is told by its last event
            later = or_later and progress_of(view.status) >= progress_of(wanted)
            return view.status == wanted or (later and not view.failure)

        view = self._wait_for_a_person(lambda v: v.closed or is_there(v), deadline, wanted)
        if view is None:
            raise NotReached(
                f"{self.workflow_id} is {self.status.words} after {timeout:.0f} s.",
                remedy="Look at its card; wait() again to go on waiting.",
            )
        if self._card is not None:
            self._card.show(view)
            self._card.refresh_snapshot()
        if not is_there(view):
            said = view.failure or f"it ended as {view.status.words}."
            raise NotReached(
                f"{self.workflow_id} did not get to {(wanted or Status.APPLIED).words}: {said}",
                remedy=view.remedy,
            )
        return Reached(view.status, _ending(view))

    def wait_attempts(self, step: str, count: int, *, timeout: float = 120.0) -> Reached:
        """Wait until a step has failed so often, or will be tried no more.

        Raises:
            Mistyped: There is no such step.
            NotReached: It was not tried so often in time.
        """
        name, deadline = typed.step(step), monotonic() + typed.timeout(timeout)
        view = self._wait_for(lambda v: were_made(v, name, count), deadline)
        if view is None:
            raise NotReached(
                f"{attempts_words(self.view, name)} That was not {count} times in {timeout:.0f} s.",
                remedy="Look at its card; wait again to go on waiting.",
            )
        return Reached(view.status, attempts_words(view, name))

    def wait_until_closed(self, *, timeout: float = 600.0) -> str:
        """Wait until the run is over, however it ends; returns how it ended, in words."""
        view = self._wait_for_a_person(lambda v: v.closed, monotonic() + timeout)
        if view is None:
            return f"{self.workflow_id} is still {self.status.words} after {timeout:.0f} s."
        if self._card is not None:
            self._card.show(view)
            self._card.refresh_snapshot()
        return _ending(view)

    def plan(self) -> None:
        """Show the plan as a person reads it, redacted."""
        plan = self.view.plan
        if plan is None:
            raise NotReached(f"{self.workflow_id} has no plan yet.", remedy="Wait for it.")
        show_html(plan_html(plan, live=False), plan_text(plan))

    def policy(self) -> None:
        """Show what the policies say: findings, and OPA's own words."""
        verdict = self.view.verdict
        if verdict is None:
            raise NotReached(f"{self.workflow_id} was not judged yet.", remedy="Wait for it.")
        said = policy(verdict, adaptive, unfold=True)
        html = f"<div{adaptive('base frame')}><div{adaptive('pad')}>{said}</div></div>"
        show_html(html, verdict.text)

    def timeline(self) -> None:
        """Draw what happened when: attempts, waits, and the time that people took."""
        view = self.view
        now = view.ended or datetime.now(UTC)
        show_html(timeline_img(view, now=now), timeline_words(view, now=now))

    def events(self, only: str = "") -> None:
        """Show the history's events as a table, or those whose words contain ``only``."""
        events = self._runtime.call(fetch_events(self._handle))
        show_html(events_html(events, only=only), f"{len(events)} events")

    def payloads(self, most: int = 3) -> None:
        """Show a few payloads, as they are stored beside as they are read."""
        rows = self._runtime.call(self._payload_rows(most))
        words = "\n\n".join("\n".join(row) for row in rows)
        show_html(payloads_html(rows), words)

    async def _payload_rows(self, most: int) -> list[tuple[str, str, str]]:
        return await payload_rows(self._client, await fetch_events(self._handle), most=most)

    def web_ui(self, *, height: int = 560) -> None:
        """Show the same run in Temporal's own Web UI, in a frame where that is possible."""
        if not self._web.url:
            raise NotReached("There is no Web UI here.")
        show_html(web_ui_html(self._web, height=height), f"Temporal Web UI: {self._web.url}")

    def approve(self, reason: str = "", *, review: str = "") -> Words:
        """Approve what waits, as the button does; returns what came of it."""
        return Words(self._runtime.call(self._desk.decide("approve", reason, review)))

    def deny(self, reason: str = "", *, review: str = "") -> Words:
        """Deny what waits, as the button does; returns what came of it."""
        return Words(self._runtime.call(self._desk.decide("deny", reason, review)))

    def recheck(self) -> Words:
        """Take the step again that failed of what was mended meanwhile, as the button does."""
        return Words(self._runtime.call(self._desk.again("recheck")))

    def replan(self, **variables: Any) -> Words:
        """Plan the directory as it is now, in place of what waits, as the button does.

        Args:
            variables: Values for the configuration's variables, all of them; without any, those
                of the former snapshot.

        Raises:
            DecisionRefused: The run waits for nothing.
            ConfigurationError: The directory is not here, or a variable is not declared.
        """
        former = self._view.review if self._view else None
        words = self._runtime.call(self._desk.again("replan", variables or None))
        # The answer comes before the plan: what waits for a decision next is not the former review.
        self._wait_for(
            lambda v: v.status != Status.AWAITING_APPROVAL or v.review != former,
            monotonic() + NEWS,
        )
        return Words(words)

    def was_asked_with(self, variables: Mapping[str, Any]) -> None:
        """Somebody asked for the same run with these values: the card says which are others."""
        if variables or self._lookout.variables is not None:
            self._lookout.variables = dict(variables)

    def what_if(
        self,
        bundle: str | Path | None = None,
        levels: Mapping[str, str] | None = None,
        **files: str,
    ) -> None:
        """Show how other policies would judge this run's plan; nothing is decided or planned.

        Args:
            bundle: A directory with policies; the worker's own unless given.
            levels: Rule name to another enforcement level.
            files: Rego to add or to put in place: ``account_admin="package ..."`` stands for the
                bundle's ``rules/account_admin.rego``; a whole path can be given by ``**{...}``.

        Raises:
            PolicyError: They cannot judge, in words.
        """
        tried = self._runtime.call(
            what_if(self._client, self._handle, self._means, bundle, levels, files)
        )
        own = self._view.verdict if self._view else None
        show_html(tried_html(own, tried), tried_words(own, tried))

    def explain(self, rule: str | Finding, address: str = "") -> None:
        """Show, line by line, how OPA comes to what a rule finds in this run's plan, or to nothing.

        Args:
            rule: A rule's name, or a finding.
            address: Only about this resource.

        Raises:
            PolicyError: There is no such rule.
        """
        told = self._runtime.call(explain(self._client, self._handle, self._means, rule, address))
        show_html(text_html(told), told)

    def audit(self) -> None:
        """Tell this run from its history alone: who asked, what was found, decided and done."""
        told = self._runtime.call(audit(self._client, self._handle))
        show_markdown(to_markdown(told))

    def retry_now(self) -> Words:
        """Have a step that waits for its next attempt tried now, as the button does."""
        return Words(self._runtime.call(self._desk.again("retry")))

    def decisions(self) -> None:
        """Show every decision on this run as a table; ignored ones with why they were."""
        taken = self.view.decisions
        show_html(decisions_html(taken), decisions_words(taken))

    def interrupt(self) -> Words:
        """Stop the apply that is at work, as the button does; called once more, kill it.

        What Terraform had made is taken over, and a person is asked whether to do the rest.

        Raises:
            DecisionRefused: No apply is at work.
        """
        return Words(self._runtime.call(self._desk.again("interrupt")))

    def cancel(self) -> None:
        """Ask the run to stop; a Terraform at work is interrupted."""
        self._runtime.call(self._handle.cancel(), timeout=10)

    @property
    def view(self) -> RunView:
        """The run as it is known at this moment."""
        view = self._wait_for(lambda _: True, monotonic() + 5)
        if view is None:
            raise NotReached(f"Nothing is known of {self.workflow_id} yet.", remedy="Try again.")
        return view

    @property
    def status(self) -> Status:
        """Where the run is."""
        return self._view.status if self._view else Status.UNINITIALIZED

    @property
    def outputs(self) -> dict[str, str]:
        """The outputs, redacted; texts without their quotes."""
        return {n: v[1:-1] if v.startswith('"') else v for n, v in self.view.outputs.items()}

    def __repr__(self) -> str:
        return f"run {self.workflow_id}: {self.status.words}"

    # --- the card ----------------------------------------------------------------------------

    def as_card(self) -> RunCard:
        """The run's card, not displayed."""
        if self._card is None:
            link = self._web.framed or self._web.url
            self._card = RunCard(
                decide=self._desk.on_decision,
                links=[("Open in Temporal Web UI", link)] if link else [],
                cli=f"temporal workflow show --workflow-id {self.workflow_id}",
                again=self._desk.on_again,
                own_worker=self._worker,
                own_queue=self._queue,
            )
            self._desk.card = self._card
            if self._view is not None:
                self._card.show(self._view)
            self._runtime.submit(self._tick(self._card))
            self._runtime.submit(self._look(self._card))
        return self._card

    async def _watch(self) -> None:
        async for view in self._watcher.views():
            if view.run_id != self.run_id:
                self._goes_on_as(view.run_id)
            with self._seen:
                self._view = view
                self._seen.notify_all()
            self._on_view(view)
            if self._card is not None:
                self._card.show(self._as_seen_from_here(view))
        if self._card is not None:
            self._card.show_payloads(await self._payload_rows(6))

    def _goes_on_as(self, run_id: str) -> None:
        """It continued as new: what is decided from now on goes to that execution."""
        self.run_id = run_id
        self._handle = runs.continued(self._client, self._handle, run_id)
        self._desk.handle = self._lookout.handle = self._handle

    async def _tick(self, card: RunCard) -> None:
        while not (self._view and self._view.closed):
            await asyncio.sleep(TICK)
            with suppress(TprovError):  # the card says that the server does not answer
                alone = await self._nobody_polls()
                if alone != self._alone and self._view is not None:
                    self._alone = alone
                    card.show(self._as_seen_from_here(self._view))
            card.tick(datetime.now(UTC))

    def _as_seen_from_here(self, view: RunView) -> RunView:
        """A run that waits asks nothing of a worker; whether there is one is known here."""
        if not self._alone or view.closed or view.contact.task_queue != self._queue:
            return view
        return replace(view, contact=replace(view.contact, pollers=0))

    async def _look(self, card: RunCard) -> None:
        """Tell the card whether the directory moved on; what cannot be looked at is not told."""
        while not (self._view and self._view.closed):
            if self._view is not None:
                with suppress(Exception):
                    card.show_ground(await self._lookout.look(self._view))
            await asyncio.sleep(LOOK_EVERY)

    def _wait_for(self, is_it: Callable[[RunView], bool], deadline: float) -> RunView | None:
        with self._seen:
            while True:
                if self._view is not None and is_it(self._view):
                    return self._view
                left = deadline - monotonic()
                if left <= 0:
                    return None
                # Short waits: an interrupt must be noticed at once.
                self._seen.wait(min(left, 0.1))
                if self._watching.done():
                    self._watching.result()

    # --- the autopilot ----------------------------------------------------------------------

    def _wait_for_a_person(
        self, is_it: Callable[[RunView], bool], deadline: float, wanted: Status | None = None
    ) -> RunView | None:
        """Wait for what may need a person's decision; headless, the autopilot takes it.

        It presses the very button that a person would, when a cell begins to wait for what comes
        after: until then a run waits, as it would for somebody on a stage.
        """

        def asks(view: RunView) -> bool:
            waits = view.status == Status.AWAITING_APPROVAL and wanted is not Status.EXPIRED
            return waits and view.review is not None and view.review.digest not in self._asked

        lonely = 0.0
        while (now := monotonic()) < deadline:
            look = min(deadline, now + LOOK_FOR_WORKERS)
            view = self._wait_for(lambda v: is_it(v) or (self._headless and asks(v)), look)
            if view is not None and is_it(view):
                return view
            if view is not None and view.review is not None:
                self._asked.add(view.review.digest)
                self._press(view, deny=wanted is Status.REJECTED)
            if self._headless and self._view is not None and self._view.repair is not None:
                broken = self._view.repair
                raise NotReached(
                    f"{self.workflow_id} waits for a person to mend something: {broken.failure}",
                    remedy=broken.remedy,
                )
            lonely = (lonely or now) if self._runtime.call(self._is_alone()) else 0.0
            if lonely and now - lonely > ALONE:
                raise NotReached(
                    f"{self.workflow_id} is {self.status.words}, and nobody polls its task queue.",
                    remedy="Give it a worker, `lab.restart_worker()`, and run this cell again.",
                )
        return None

    async def _is_alone(self) -> bool:
        """Whether no worker is there; a server that does not answer is not asked twice."""
        with suppress(TprovError):
            return await self._nobody_polls()
        return False

    def _press(self, view: RunView, *, deny: bool) -> None:
        card = self.as_card()
        card.show(view)  # it may not have heard of this review yet
        done = "denied" if deny else "approved"
        card.reason.value = f"{done} by the autopilot: nobody is here to press the button"
        (card.deny if deny else card.approve).click()


def _ending(view: RunView) -> str:
    if not view.closed:
        return f"{view.workflow_id}: {view.status.words}."
    seconds = (view.ended - view.started).total_seconds() if view.ended and view.started else 0
    done = view.step("apply").note
    ended = f"{view.workflow_id}: {view.status.words} after {seconds:.1f} s"
    why = f" {view.failure} {view.remedy}".rstrip()
    return f"{ended}, {done}.{why}" if done else f"{ended}.{why}"

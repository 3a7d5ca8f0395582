"""A card on a stage: hand-made runs shown from a thread, with somebody who answers decisions.

Used inside the notebooks that the browser tests open; what is played is in `views.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.widgets import views
from tprov_kernel.observe import RunView
from tprov_kernel.widgets.again import Ground
from tprov_kernel.widgets.card import RunCard, Verb

PAYLOADS = (
    (
        "Input of ProvisionInfraWorkflow (event 1)",
        '{"metadata": {"encoding": "YmluYXJ5L2VuY3J5cHRlZA=="}, "data": "CiQKCGVuY29kaW5n"}',
        '{"stack": "adm-7c2f", "directory": "terraform/tcloud_admin_user"}',
    ),
)


GROUNDS = {
    "asking_anew": Ground(
        snapshot=views.review().snapshot_digest,
        here=True,
        moved="`terraform/tcloud_admin_user` has changed since this was planned; what is decided"
        " here is the snapshot of 10:41.",
    ),
    "unjudged": Ground(here=True),
}
"""What lies in the directory meanwhile, by part."""


class Stage:
    """Feeds one card from a thread of its own, as the lab does."""

    def __init__(self) -> None:
        self.taken: list[tuple[Verb, str, str]] = []
        self.card = RunCard(
            decide=self.decide,
            links=(("Open in Temporal Web UI", "http://localhost:8233/namespaces/default"),),
            cli="temporal workflow describe --workflow-id stack-adm-7c2f",
            own_worker=views.WORKER,
        )
        self.card.show_payloads(PAYLOADS)
        self.answered = threading.Event()
        """Set when a decision was answered and the card shows what came of it."""
        self._begun = datetime.now(UTC) - timedelta(seconds=72)
        self._part: Callable[[datetime], RunView] = views.asking
        threading.Thread(target=self._play, daemon=True).start()

    def go(self, part: str) -> None:
        """Show another part, and wait until the card was told."""
        self._part = views.EVERY[part]
        self._show()
        self.card.show_ground(GROUNDS.get(part, Ground()))

    def decide(self, verb: Verb, reason: str, digest: str) -> None:
        """Take a decision as the run would; answers from another thread."""
        self.taken.append((verb, reason, digest))
        threading.Timer(0.05, self._answer, (verb, reason)).start()

    def _answer(self, verb: Verb, reason: str) -> None:
        if verb == "approve" and not reason:
            words = "Refused: an approval needs a reason. Nothing was recorded."
            self.card.answer(words, refused=True)
            self.answered.set()
            return
        self.card.answer("Recorded.", refused=False)
        self._part = views.applying
        self._show()
        self.answered.set()

    def _show(self) -> None:
        view = self._part(self._begun)
        contact = view.contact
        if contact.in_touch and not view.closed:
            view = replace(view, contact=replace(contact, last_heard=datetime.now(UTC)))
        self.card.show(view)

    def _play(self) -> None:
        while not threading.Event().wait(0.5):
            self.card.tick(datetime.now(UTC))

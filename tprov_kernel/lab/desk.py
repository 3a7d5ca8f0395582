"""Takes what people decide on a run, or want done again, to the run; answers at the button.

One thing at a time: concurrent clicks arrive in any order. Nothing is lost in a callback: whatever
goes wrong is words below the button that was pressed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from temporalio.client import Client

from tprov_kernel import runs
from tprov_kernel.errors import DecisionRefused
from tprov_kernel.lab.ground import Lookout
from tprov_kernel.lab.runtime import Runtime
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.retries import retry_now
from tprov_kernel.widgets.again import Again
from tprov_kernel.widgets.card import RunCard, Verb

Via = Literal["signal", "update"]


class Desk:
    """What the buttons of one run's card call, and the methods of the same names.

    Args:
        runtime: Where the client lives.
        client: Connected to the server.
        handle: The run.
        via: Whether a decision goes by signal or by update.
        lookout: Knows the run's directory.
        key_ring: Seals the snapshot of a re-plan.

    Attributes:
        handle: The run's open execution.
        card: Where a click is answered; None before it is made.
    """

    def __init__(
        self,
        runtime: Runtime,
        client: Client,
        handle: runs.RunHandle,
        *,
        via: Via,
        lookout: Lookout,
        key_ring: KeyRing,
    ) -> None:
        self.card: RunCard | None = None
        self.handle = handle
        self._runtime, self._client = runtime, client
        self._via, self._lookout, self._key_ring = via, lookout, key_ring
        self._one_at_a_time = asyncio.Lock()

    def on_decision(self, verb: Verb, reason: str, review: str) -> None:
        """A click on Approve or Deny; returns at once."""
        self._runtime.submit(self._answer_decision(verb, reason, review))

    def on_again(self, what: Again) -> None:
        """A click on 'Plan again' and its like; returns at once."""
        self._runtime.submit(self._answer_again(what))

    async def decide(self, verb: Verb, reason: str, review: str) -> str:
        """Approve or deny; what came of it, in words.

        Raises:
            DecisionRefused: By update: it cannot be taken; nothing was recorded.
        """
        async with self._one_at_a_time:
            taken = await runs.decide(
                self.handle, verb, reason=reason, review=review, via=self._via
            )
        if taken is None:
            return "Sent. A signal tells nothing back: what came of it is below."
        return f"Recorded: {taken.outcome}."

    async def again(self, what: Again, variables: Mapping[str, Any] | None = None) -> str:
        """Plan again, or take the step again that had to be mended; what the run answers.

        Args:
            what: ``replan``, ``recheck``, ``retry`` (a step that waits for its next attempt), or
                ``interrupt`` (the apply that is at work).
            variables: For a re-plan; default are those that were asked for last.

        Raises:
            DecisionRefused: The run waits for nothing of that kind; nothing was recorded.
            ConfigurationError: The directory is not here, or a variable is not declared.
        """
        async with self._one_at_a_time:
            if what == "recheck":
                return await runs.recheck(self.handle)
            if what == "interrupt":
                return await runs.interrupt(self.handle)
            if what == "retry":
                return await retry_now(self._client, self.handle)
            request, _ = await runs.request_of(self._client, self.handle)
            return await runs.replan(
                self._client,
                self.handle,
                directory=self._lookout.directory(request),
                key_ring=self._key_ring,
                variables=variables or self._lookout.variables,
            )

    async def _answer_decision(self, verb: Verb, reason: str, review: str) -> None:
        refused = False
        try:
            words = await self.decide(verb, reason, review)
        except DecisionRefused as error:
            words, refused = error.message, True
        except Exception as error:
            words, refused = f"The decision could not be sent: {error}", True
        if self.card is not None:
            self.card.answer(words, refused=refused)

    async def _answer_again(self, what: Again) -> None:
        refused = False
        try:
            words = await self.again(what)
        except Exception as error:
            words, refused = str(error), True
        if self.card is not None:
            self.card.answer_again(words, refused=refused)

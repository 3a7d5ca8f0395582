"""The part of an audit that is about people: reviews, decisions, and how they reached the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from temporalio.api.common.v1 import Payload

from tprov_kernel.audit.record import Became, Decided, Reviewed
from tprov_kernel.decisions import VERBS
from tprov_kernel.messages import Decision, DecisionInput, Review, short_digest

Tell = Callable[[datetime, str], None]


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A signal, or an update that was not refused, as it reached the server."""

    at: datetime
    via: Literal["signal", "update"]
    name: str
    sender: str
    args: Sequence[Payload]


class Gate:
    """Takes reviews, arrivals and decisions in the order of the history.

    Args:
        tell: Writes a line of the chronicle.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._known: list[Decision] = []
        self.waiting: list[Arrived] = []
        self.reviews: list[Reviewed] = []
        self.decisions: list[Decided] = []

    def review(self, review: Review, *, plan: int, matches: bool | None, at: datetime) -> None:
        """A review is shown; it may take the place of another one."""
        former = ""
        if review.supersedes:
            self.became("superseded", review.supersedes)
            former = f", in place of {short_digest(review.supersedes)}"
        self.reviews.append(Reviewed(plan=plan, at=at, review=review, matches=matches))
        self._tell(at, f"Review {review.short} of plan {plan} asked for a decision{former}.")

    def became(self, became: Became, digest: str = "") -> None:
        """Note what became of a review: the named one, or the last one."""
        for index in range(len(self.reviews) - 1, -1, -1):
            if digest in ("", self.reviews[index].review.digest):
                self.reviews[index] = replace(self.reviews[index], became=became)
                return

    def take(self, decisions: Sequence[Decision], at: datetime) -> None:
        """Take those that are new; the memo repeats the last fifty each time."""
        known, new = self._known, list(decisions)
        overlap = next(
            n
            for n in range(min(len(known), len(new)), -1, -1)
            if known[len(known) - n :] == new[:n]
        )
        for decision in new[overlap:]:
            known.append(decision)
            self._take(decision, at)

    def _take(self, decision: Decision, at: datetime) -> None:
        taken, arrived = _moment(decision.at), self._arrival_of(decision)
        # A signal is an event before anybody works on it, an update only when it was taken up.
        times = [taken, arrived.at if arrived else None]
        decided = Decided(
            at=min((time for time in times if time), default=at),
            taken=taken,
            verb=decision.verb,
            outcome=decision.outcome,
            reviewer=decision.reviewer,
            reason=decision.reason,
            review=decision.review,
            via=decision.via,
            sender=arrived.sender if arrived else "",
            why=decision.why,
        )
        if decision.outcome != "ignored":
            self.became(decision.outcome, decision.review)
        self._add(decided)

    def _arrival_of(self, decision: Decision) -> Arrived | None:
        """The event of a decision: the first of its kind and name that is not accounted for."""
        for index, arrived in enumerate(self.waiting):
            verb = VERBS.get(arrived.name, arrived.name[: len(decision.verb)])
            if (arrived.via, verb) == (decision.via, decision.verb):
                return self.waiting.pop(index)
        return None

    def never_taken(self, arrived: Arrived, given: DecisionInput) -> None:
        """What reached the server, and was never looked at by the run."""
        self._add(
            Decided(
                at=arrived.at,
                taken=None,
                verb=VERBS.get(arrived.name, arrived.name),
                outcome="never taken up",
                reviewer=given.reviewer,
                reason=given.reason,
                review=given.review,
                via=arrived.via,
                sender=arrived.sender,
                why="the run was over before it was looked at.",
            )
        )

    def _add(self, decided: Decided) -> None:
        self.decisions.append(decided)
        self._tell(decided.at, _words(decided))


def _words(decided: Decided) -> str:
    by = f" by {decided.reviewer}" if decided.reviewer else ""
    if decided.outcome in ("approved", "denied"):
        about = f"Review {short_digest(decided.review)} was {decided.outcome}{by}"
        return f"{about} (by {decided.via}): {decided.reason or 'no reason was given'}"
    return f"{decided.verb}{by} (by {decided.via}) was {decided.outcome}: {decided.why}"


def _moment(text: str) -> datetime | None:
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None

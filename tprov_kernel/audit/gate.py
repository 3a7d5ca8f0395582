"""The part of an audit that is about people: reviews, decisions, and how they reached the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from temporalio.api.common.v1 import Payload

from tprov_kernel.audit.record import Became, Decided, Reviewed
from tprov_kernel.decisions import VERBS, last_number
from tprov_kernel.messages import Decision, DecisionInput, Review, short_digest
from tprov_kernel.texts import plain

Tell = Callable[[datetime, str], None]


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A signal, or an update that was not refused, as it reached the server."""

    at: datetime
    via: Literal["signal", "update"]
    name: str
    sender: str
    args: Sequence[Payload]
    number: int = 0


class Gate:
    """Takes reviews, arrivals and decisions in the order of the history.

    Args:
        tell: Writes a line of the chronicle.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._known: list[Decision] = []
        self._arrived = {"signal": 0, "update": 0}
        self._taken = {"signal": 0, "update": 0}
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
        about = f" of plan {plan}" if plan else ""
        self._tell(at, f"Review {review.short}{about} asked for a decision{former}.")

    def became(self, became: Became, digest: str = "") -> None:
        """Note what became of a review: the named one, or the last one."""
        for index in range(len(self.reviews) - 1, -1, -1):
            if digest in ("", self.reviews[index].review.digest):
                self.reviews[index] = replace(self.reviews[index], became=became)
                return

    def arrive(self, arrived: Arrived) -> None:
        """Something reached the server; the run looks at all of a kind in this order."""
        self._arrived[arrived.via] += 1
        self.waiting.append(replace(arrived, number=self._arrived[arrived.via]))

    def goes_on(self, decisions: Sequence[Decision], at: datetime) -> None:
        """A new execution begins with these, and goes on counting from them."""
        self.take(decisions, at)
        for via in self._taken:
            self._arrived[via] = self._taken[via] = last_number(decisions, via)

    def take(self, decisions: Sequence[Decision], at: datetime) -> None:
        """Take those that are new; the memo repeats the last ones each time."""
        for decision in self._new(decisions):
            self._known.append(decision)
            counted = decision.number or self._taken[decision.via] + 1
            self._taken[decision.via] = max(self._taken[decision.via], counted)
            self._take(decision, at)

    def _new(self, decisions: Sequence[Decision]) -> list[Decision]:
        known, new = self._known, list(decisions)
        if any(decision.number for decision in new):
            return [d for d in new if d.number > self._taken[d.via]]
        overlap = next(
            n
            for n in range(min(len(known), len(new)), -1, -1)
            if known[len(known) - n :] == new[:n]
        )
        return new[overlap:]

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
        """The event of a decision: its number, or the first of its kind and name that is left."""
        for index, arrived in enumerate(self.waiting):
            if decision.number and (arrived.via, arrived.number) == (decision.via, decision.number):
                return self.waiting.pop(index)
        for index, arrived in enumerate(self.waiting):
            if decision.number and decision.via == "signal":
                break
            verb = VERBS.get(arrived.name, arrived.name[: len(decision.verb)])
            if (arrived.via, verb) == (decision.via, decision.verb):
                return self.waiting.pop(index)
        return None

    def left_out(self) -> list[Arrived]:
        """Signals that were ignored, and are not among the ones that the run keeps."""
        last = self._taken["signal"]
        gone = [a for a in self.waiting if a.via == "signal" and a.number <= last]
        self.waiting = [a for a in self.waiting if a.via != "signal" or a.number > last]
        return gone

    def ignored(self, arrived: Arrived, given: DecisionInput, why: str, at: datetime) -> None:
        """One of many that came at once; what it held is in its event."""
        self._add(
            Decided(
                at=arrived.at,
                taken=at,
                verb=VERBS.get(arrived.name, plain(arrived.name)),
                outcome="ignored",
                reviewer=given.reviewer,
                reason=given.reason,
                review=given.review,
                via=arrived.via,
                sender=arrived.sender,
                why=why or "too many came at once to keep why of each.",
            )
        )

    def never_taken(self, arrived: Arrived, given: DecisionInput) -> None:
        """What reached the server, and was never looked at by the run."""
        self._add(
            Decided(
                at=arrived.at,
                taken=None,
                verb=VERBS.get(arrived.name, plain(arrived.name)),
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

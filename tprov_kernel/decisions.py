"""Reads what a decider sends, whatever it is; pure, for the workflow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any, TypeVar

from temporalio.common import RawValue
from temporalio.converter import PayloadConverter, value_to_type

from tprov_kernel.messages import Decision, DecisionInput, Review, RunRequest
from tprov_kernel.texts import plain, says_nothing

MAX_TEXT = 1000
"""Characters of a reason or a name that are kept."""

MAX_IGNORED = 50
"""Ignored decisions that are kept, the last ones."""

MAX_BYTES = 20_000
"""Bytes of JSON that all ignored decisions which are kept have: each workflow task that takes a
signal writes them into the history."""

SHORT_TEXT = 200
"""Characters of each text of an ignored decision that are kept."""

MAX_CARRIED = 1_000_000
"""Characters of JSON in which a plan still travels from one execution to the next: half of what a
payload may have."""

T = TypeVar("T")

VERBS = {"approve_apply": "approve", "deny_apply": "deny"}


def read_decision(
    name: str, args: Sequence[RawValue], converter: PayloadConverter
) -> tuple[DecisionInput, str]:
    """Understand no argument, a reason, or a decision object; say what is wrong with the rest.

    Returns:
        The decision as far as it was understood, and why it cannot be taken; empty when it can.
    """
    if name not in VERBS:
        named = shortened(plain(name))
        return DecisionInput(), f"{named!r} is no decision; approve_apply and deny_apply are."
    if not args:
        return DecisionInput(), ""
    if len(args) > 1:
        return DecisionInput(), f"it came with {len(args)} inputs, one is understood."
    try:
        value: Any = converter.from_payload(args[0].payload)
    except Exception:
        return DecisionInput(), "its input cannot be decoded."
    if value is None:
        return DecisionInput(), ""
    if isinstance(value, str):
        return DecisionInput(reason=spoken(value)), ""
    if not isinstance(value, dict):
        return DecisionInput(), "its input is neither a reason nor a decision object."
    if "$undecodable" in value:
        return DecisionInput(), "its input cannot be decrypted."
    texts = {key: value.get(key, "") for key in ("reason", "reviewer", "review")}
    if wrong := [key for key, text in texts.items() if not isinstance(text, str)]:
        return DecisionInput(), f"its {wrong[0]!r} is no text."
    return DecisionInput(
        reason=spoken(texts["reason"]),
        reviewer=spoken(texts["reviewer"]),
        review=plain(texts["review"][:MAX_TEXT]),
    ), ""


def read_input(given: Sequence[Any], kind: type[T]) -> tuple[T | None, str]:
    """Understand no input, or one object of a kind; say what is wrong with the rest.

    Args:
        given: The inputs as plain JSON values.
        kind: A dataclass.

    Returns:
        The object, None where none came; and why it cannot be taken, empty when it can.
    """
    if len(given) > 1:
        return None, f"it came with {len(given)} inputs, one is understood."
    if not given or given[0] is None:
        return None, ""
    (value,) = given
    if isinstance(value, dict) and "$undecodable" in value:
        return None, "its input cannot be decrypted."
    try:
        understood: T = value_to_type(kind, value)
    except Exception:  # whatever the SDK makes of a value that does not fit
        wanted = ", ".join(field.name for field in fields(kind))  # type: ignore[arg-type]
        return None, f"its input is not understood: it takes an object with {wanted}."
    return understood, ""


def spoken(text: str) -> str:
    """What a person said: as much as is kept, nothing where nothing can be read."""
    said = plain(text[:MAX_TEXT])
    return "" if says_nothing(said) else said


def shortened(text: str) -> str:
    """The beginning of a text that nobody has to act on."""
    return text if len(text) <= SHORT_TEXT else f"{text[: SHORT_TEXT - 1]}…"


def brief(decision: Decision) -> Decision:
    """An ignored decision with short texts; what took effect is kept whole."""
    if decision.outcome != "ignored":
        return decision
    return replace(
        decision,
        verb=shortened(decision.verb),
        reason=shortened(decision.reason),
        reviewer=shortened(decision.reviewer),
        why=shortened(decision.why),
    )


def bounded(decisions: Sequence[Decision]) -> list[Decision]:
    """All that took effect, which are few, and the last that were ignored: the memo stays small."""
    kept: list[Decision] = []
    ignored = size = 0
    for decision in reversed(decisions):
        if decision.outcome == "ignored":
            ignored += 1
            size += len(json.dumps(asdict(decision)))
            if ignored > 1 and (ignored > MAX_IGNORED or size > MAX_BYTES):
                continue
        kept.append(decision)
    return kept[::-1]


def fits(request: RunRequest) -> bool:
    """Whether a request, with everything that travels along, is small enough for a payload."""
    return len(json.dumps(asdict(request))) <= MAX_CARRIED


def last_number(decisions: Sequence[Decision], via: str) -> int:
    """The number of the last signal, or update, that was taken up."""
    return max((decision.number for decision in decisions if decision.via == via), default=0)


def left_out(decisions: Sequence[Decision]) -> int:
    """How many ignored signals came besides the ones that are kept."""
    numbered = sum(bool(d.number) for d in decisions if d.via == "signal")
    return last_number(decisions, "signal") - numbered


def left_out_words(decisions: Sequence[Decision]) -> str:
    """The same in a sentence; empty where all are kept."""
    count = left_out(decisions)
    more = f"{count:,} more signal{'s were' if count > 1 else ' was'} ignored"
    return f"{more}; `tprov audit` tells of each." if count > 0 else ""


def names_another(given: str, review: Review, former: Sequence[str]) -> str:
    """Why a decision that names a review is not about the one that waits; empty when it is.

    Args:
        given: What the decider named: a digest, or its first eight hex digits; empty for any.
        review: The review that waits.
        former: Digests of the reviews that it superseded.
    """
    if not given.strip():
        return ""
    wanted, given = given.replace("·", "").strip().lower(), shortened(given)
    if len(wanted) >= 8 and review.digest.startswith(wanted):
        return ""
    if len(wanted) >= 8 and any(digest.startswith(wanted) for digest in former):
        return f"review {given} was superseded, {review.short} waits now."
    return f"review {given} is not the one that waits, {review.short} is."

"""Reads what a decider sends, whatever it is; pure, for the workflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.common import RawValue
from temporalio.converter import PayloadConverter

from tprov_kernel.messages import DecisionInput, Review

MAX_TEXT = 1000
"""Characters of a reason or a name that are kept."""

VERBS = {"approve_apply": "approve", "deny_apply": "deny"}


def read_decision(
    name: str, args: Sequence[RawValue], converter: PayloadConverter
) -> tuple[DecisionInput, str]:
    """Understand no argument, a reason, or a decision object; say what is wrong with the rest.

    Returns:
        The decision as far as it was understood, and why it cannot be taken; empty when it can.
    """
    if name not in VERBS:
        return DecisionInput(), f"{name!r} is no decision; approve_apply and deny_apply are."
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
        return DecisionInput(reason=value[:MAX_TEXT]), ""
    if not isinstance(value, dict):
        return DecisionInput(), "its input is neither a reason nor a decision object."
    if "$undecodable" in value:
        return DecisionInput(), "its input cannot be decrypted."
    texts = {key: value.get(key, "") for key in ("reason", "reviewer", "review")}
    if wrong := [key for key, text in texts.items() if not isinstance(text, str)]:
        return DecisionInput(), f"its {wrong[0]!r} is no text."
    return DecisionInput(**{key: text[:MAX_TEXT] for key, text in texts.items()}), ""


def names_another(given: str, review: Review, former: Sequence[str]) -> str:
    """Why a decision that names a review is not about the one that waits; empty when it is.

    Args:
        given: What the decider named: a digest, or its first eight hex digits; empty for any.
        review: The review that waits.
        former: Digests of the reviews that it superseded.
    """
    wanted = given.replace("·", "").strip().lower()
    if not wanted or (len(wanted) >= 8 and review.digest.startswith(wanted)):
        return ""
    if len(wanted) >= 8 and any(digest.startswith(wanted) for digest in former):
        return f"review {given} was superseded, {review.short} waits now."
    return f"review {given} is not the one that waits, {review.short} is."

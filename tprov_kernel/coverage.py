"""Whether an approval covers a new plan of the same thing; pure, so that a workflow may ask."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def is_covered(
    approved: Mapping[str, str], now: Mapping[str, str], present: Collection[str]
) -> bool:
    """Whether everything the new plan would do was approved, and all that is missing is done.

    Args:
        approved: Items of the plan that was approved (`PlanResult.items`).
        now: Items of the new plan.
        present: Addresses in the state that the new plan was made from.
    """
    for address, item in now.items():
        adopted = item == "import" and approved.get(address, "").startswith("create:")
        if not adopted and approved.get(address) != item:
            return False
    return all(
        _is_done(item, address in present)
        for address, item in approved.items()
        if address not in now
    )


def _is_done(item: str, is_present: bool) -> bool:
    """An approved item that the new plan no longer mentions: is it proven done?"""
    return not is_present if item.startswith("delete:") else is_present

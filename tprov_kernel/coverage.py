"""What an approval covers, and what differs from what was approved; pure, for the workflow."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tprov_kernel.messages import (
    ApplyResult,
    AttributeChange,
    PlanResult,
    PlanView,
    ResourceChange,
    Verdict,
)


def covers(approved: PlanResult, judged: Verdict, now: PlanResult, verdict: Verdict) -> bool:
    """Whether a decision on one plan and its verdict stands for another plan and verdict.

    Every item of the new plan was approved, every missing one is proven done, and no policy has
    anything to say that it did not say then.
    """
    said = {(f.rule, f.address, f.level) for f in judged.findings}
    news = {(f.rule, f.address, f.level) for f in verdict.findings} - said
    return not news and is_covered(approved.items, now.items, now.present)


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


def done_between(before: PlanResult, now: PlanResult) -> ApplyResult:
    """What of a plan was done when a later one no longer mentions it; by whom, nobody can tell."""
    items = [
        item
        for address, item in before.items.items()
        if address not in now.items and _is_done(item, address in now.present)
    ]
    verbs = [item.partition(":")[0] for item in items]
    replaced = sum("+" in verb for verb in verbs)
    return ApplyResult(
        added=verbs.count("create") + replaced,
        changed=verbs.count("update"),
        destroyed=verbs.count("delete") + replaced,
        imported=verbs.count("import"),
    )


def differences(former: PlanView, now: PlanView) -> list[str]:
    """What a new plan does that the former one did not, and the reverse, a sentence each.

    Both are redacted: two hidden values may differ without being told apart here.
    """
    before = {change.address: change for change in former.changes}
    after = {change.address: change for change in now.changes}
    told = [
        f"{address}: {change.change}, was not in the former plan."
        for address, change in after.items()
        if address not in before
    ]
    told += [
        f"{address}: {change.change}, is not in this plan any more."
        for address, change in before.items()
        if address not in after
    ]
    for address in sorted(before.keys() & after.keys()):
        told += _changed(before[address], after[address])
    return told


def _changed(before: ResourceChange, after: ResourceChange) -> list[str]:
    if before.change != after.change:
        return [f"{after.address}: {after.change}, was {before.change}."]
    old = {a.name: a for a in before.attributes}
    new = {a.name: a for a in after.attributes}
    told = []
    for name in sorted(old.keys() | new.keys()):
        was, is_now = _shown(old.get(name)), _shown(new.get(name))
        if was != is_now:
            told.append(f"{after.address}: {name} = {is_now}, was {was}.")
    return told


def _shown(attribute: AttributeChange | None) -> str:
    if attribute is None:
        return "nothing"
    if attribute.sensitive:
        return "(sensitive)"
    return "(known after apply)" if attribute.unknown else attribute.after or "nothing"

"""Turns a redacted plan into what people read: each change, attribute by attribute, bounded."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from tprov_kernel.messages import AttributeChange, Change, PlanView, ResourceChange
from tprov_kernel.redaction.marks import has_unknown, is_stand_in
from tprov_kernel.redaction.plan import Redacted
from tprov_kernel.redaction.scrub import SENSITIVE

MAX_VIEW = 200_000
"""Bytes of JSON that a view may have: a payload holds 2 MB, and a query answers with all of it."""

MAX_VALUE = 2_000
"""Characters of one value."""

UNKNOWN = "(known after apply)"
_TITLES = ("name", "email", "display_name")
_ROOM_FOR_COUNTS = 500


def plan_view(redacted: Redacted) -> PlanView:
    """Give the plan as people may see it.

    A value longer than `MAX_VALUE` characters is cut, with a mark that says so; a change that
    would make the view larger than `MAX_VIEW` bytes is left out and counted in `omitted`.
    """
    resources = redacted.plan["resource_changes"]
    budget = _Budget(MAX_VIEW - _ROOM_FOR_COUNTS)
    changes = [c for item in resources if (c := _resource(item)) and budget.takes(c)]
    outputs = [
        o
        for name, item in redacted.plan["output_changes"].items()
        if (o := _output(name, item)) and budget.takes(o)
    ]
    attributes = [*outputs, *(a for change in changes for a in change.attributes)]
    return PlanView(
        **_counts(resources),
        changes=changes,
        outputs=outputs,
        hidden=sum(attribute.sensitive for attribute in attributes),
        omitted=budget.refused,
    )


class _Budget:
    """Counts bytes, and what did not fit."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.refused = 0

    def takes(self, change: ResourceChange | AttributeChange) -> bool:
        """Whether there is room for it."""
        size = len(json.dumps(asdict(change))) + len(", ")
        if size > self._left:
            self.refused += 1
            return False
        self._left -= size
        return True


def _counts(resources: list[dict[str, Any]]) -> dict[str, int]:
    """Count as Terraform does: a replacement adds and destroys; a data source counts nowhere."""
    managed = [item["change"] for item in resources if item.get("mode") == "managed"]
    actions = [change.get("actions", []) for change in managed]
    return {
        "add": sum("create" in each for each in actions),
        "change": sum("update" in each for each in actions),
        "destroy": sum("delete" in each for each in actions),
        "imports": sum("importing" in change for change in managed),
    }


def _kind(change: dict[str, Any]) -> Change:
    actions = change.get("actions", [])
    if "create" in actions and len(actions) > 1:
        return "replace"
    if actions == ["no-op"] and "importing" in change:
        return "import"
    for kind in ("create", "update", "delete", "read", "forget"):
        if actions == [kind]:
            return kind
    return "no-op"


def _resource(item: dict[str, Any]) -> ResourceChange | None:
    change = item["change"]
    kind = _kind(change)
    if kind in ("read", "no-op"):
        return None
    return ResourceChange(
        address=item.get("address", ""),
        type=item.get("type", ""),
        change=kind,
        title=_title(change),
        attributes=_attributes(change),
    )


def _title(change: dict[str, Any]) -> str:
    for side in ("after", "before"):
        values = change.get(side)
        titles = [values.get(name) for name in _TITLES] if isinstance(values, dict) else []
        if found := [title for title in titles if isinstance(title, str) and title]:
            return _cut(found[0])
    return ""


def _attributes(change: dict[str, Any]) -> list[AttributeChange]:
    """Those that are set, when the object comes, goes or is taken over; else those that differ."""
    before, after, unknown = (
        part if isinstance(part := change.get(name), dict) else {}
        for name in ("before", "after", "after_unknown")
    )
    names = sorted({*before, *after, *(n for n, u in unknown.items() if u)})
    found = [_attribute(n, before.get(n), after.get(n), unknown.get(n, False)) for n in names]
    one_sided = not before or not after or change.get("actions") == ["no-op"]
    return [
        attribute
        for attribute in found
        if (attribute.before or attribute.after or attribute.unknown)
        and (one_sided or _differs(attribute, before, after, unknown))
    ]


def _differs(
    attribute: AttributeChange,
    before: dict[str, Any],
    after: dict[str, Any],
    unknown: dict[str, Any],
) -> bool:
    name = attribute.name
    return has_unknown(unknown.get(name)) or before.get(name) != after.get(name)


def _output(name: str, change: dict[str, Any]) -> AttributeChange | None:
    if change.get("actions") == ["no-op"]:
        return None
    unknown = change.get("after_unknown", False)
    return _attribute(name, change.get("before"), change.get("after"), unknown)


def _attribute(name: str, before: Any, after: Any, unknown: Any) -> AttributeChange:
    texts = _text(before), _text(_fill(after, unknown))
    return AttributeChange(
        name=name,
        before=_cut(texts[0]),
        after=_cut(texts[1]),
        unknown=unknown is True,
        sensitive=any(SENSITIVE in text for text in texts),
    )


def _fill(after: Any, unknown: Any) -> Any:
    """Put a word in the place of each part of a value that is known only after apply."""
    if is_stand_in(after):
        return after
    if isinstance(unknown, dict) and (isinstance(after, dict) or has_unknown(unknown)):
        known = after if isinstance(after, dict) else {}
        names = {*known, *(n for n, u in unknown.items() if has_unknown(u))}
        return {n: _part(known.get(n), unknown.get(n, False)) for n in sorted(names)}
    if isinstance(unknown, list) and (isinstance(after, list) or has_unknown(unknown)):
        items = after if isinstance(after, list) else []
        size = max(len(items), len(unknown))
        pairs = zip(_padded(items, size, None), _padded(unknown, size, False), strict=True)
        return [_part(item, mark) for item, mark in pairs]
    return after


def _part(after: Any, unknown: Any) -> Any:
    return UNKNOWN if unknown is True else _fill(after, unknown)


def _padded(items: list[Any], size: int, filler: Any) -> list[Any]:
    return [*items, *([filler] * (size - len(items)))]


def _text(value: Any) -> str:
    return "" if value is None else json.dumps(_readable(value), ensure_ascii=False)


def _readable(value: Any) -> Any:
    if is_stand_in(value):
        return SENSITIVE
    if isinstance(value, dict):
        return {name: _readable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return value


def _cut(text: str) -> str:
    if len(text) <= MAX_VALUE:
        return text
    mark = f"… (cut: {len(text):,} characters)"
    return text[: MAX_VALUE - len(mark)] + mark

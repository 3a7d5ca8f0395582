"""What the Cloud holds, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tprov_kernel.widgets.style import adaptive as ink
from tprov_kernel.widgets.words import Tone, esc, parse_time, stamp


class CloudObject(NamedTuple):
    """One object at the Cloud; `created` is RFC 3339 as the Cloud API tells it."""

    type: str
    name: str
    id: str
    state: str
    created: str


def objects_html(objects: Sequence[CloudObject], *, title: str = "What the Cloud holds") -> str:
    """Draw the objects, one a row, grouped as they come."""
    count = "nothing" if not objects else f"{len(objects)} object" + "s" * (len(objects) > 1)
    lead = f"<div{ink('title gap')}>{esc(title)} <span{ink('muted')}>&ensp;{count}</span></div>"
    if not objects:
        return f"<div{ink('base frame')}><div{ink('pad')}>{lead}</div></div>"
    heads = "".join(f"<th{ink('th')}>{h}</th>" for h in ("Type", "Name", "Id", "State", "Created"))
    rows = "".join(_row(item) for item in objects)
    table = f"<table{ink('table')}><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<div{ink('base frame')}><div{ink('pad')}>{lead}{table}</div></div>"


def _row(item: CloudObject) -> str:
    created = parse_time(item.created)
    return (
        f"<tr><td{ink('td nowrap')}>{esc(item.type)}</td>"
        f"<td{ink('td')}><b{ink('text')}>{esc(item.name)}</b></td>"
        f"<td{ink('td code')}>{esc(item.id)}</td>"
        f"<td{ink('td nowrap')}><span{ink(_tone(item.state))}>{esc(item.state)}</span></td>"
        f"<td{ink('td muted')}>{esc(stamp(created) if created else item.created)}</td></tr>"
    )


def _tone(state: str) -> Tone:
    lowered = state.lower()
    if lowered.endswith("ing"):
        return "busy"
    if "fail" in lowered or "delet" in lowered or "suspend" in lowered or "expired" in lowered:
        return "bad"
    return "ok" if "activ" in lowered else "quiet"

"""What a notebook shows of the keys: which there are, and who needs each one."""

from __future__ import annotations

from collections.abc import Iterable

from temporalio.client import Client

from tprov_kernel.keys import KeyUse, survey
from tprov_kernel.lab.output import show_html
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.widgets.style import adaptive as ink
from tprov_kernel.widgets.words import esc

HEADS = ("Key", "Made", "", "Open runs that need it", "Closed runs")


async def look(client: Client, key_ring: KeyRing) -> list[KeyUse]:
    """Every key, the oldest first, with who needs it."""
    return list((await survey(client, key_ring)).keys.values())


def show_keys(uses: Iterable[KeyUse]) -> None:
    """Put them into the running cell, as a table; a key itself is never shown."""
    rows, words = [], []
    for use in uses:
        state = "active" if use.active else "kept, to read" if use.here else "gone"
        needing = [", ".join(sorted(runs)) or "–" for runs in (use.open_runs, use.closed_runs)]
        cells = [use.key_id, use.created, state, *needing]
        rows.append("".join(f"<td{ink('td')}>{esc(cell)}</td>" for cell in cells))
        words.append(", ".join(filter(None, cells)))
    heads = "".join(f"<th{ink('th')}>{head}</th>" for head in HEADS)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    table = f"<table{ink('table')}><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
    html = f"<div{ink('base frame')}><div{ink('pad')}>{table}</div></div>"
    show_html(html, "\n".join(words))

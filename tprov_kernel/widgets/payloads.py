"""Payloads as they are stored beside as they are read, for a cell's output."""

from __future__ import annotations

from collections.abc import Sequence

from tprov_kernel.widgets.style import adaptive as ink
from tprov_kernel.widgets.words import esc


def payloads_html(rows: Sequence[tuple[str, str, str]]) -> str:
    """Draw title, stored and read form of each payload; a table, which survives anywhere."""
    if not rows:
        return f"<div{ink('base muted')}>The history holds no payload yet.</div>"
    heads = (
        f"<th{ink('th half')}>As the server stores it</th><th{ink('th half')}>As you read it</th>"
    )
    drawn = "".join(_pair(*row) for row in rows)
    table = (
        f"<table{ink('table fixed')}><thead><tr>{heads}</tr></thead><tbody>{drawn}</tbody></table>"
    )
    return f"<div{ink('base frame')}><div{ink('pad')}>{table}</div></div>"


def _pair(title: str, stored: str, read: str) -> str:
    cells = "".join(
        f"<td{ink('td')}><pre{ink('pre wrap')}>{esc(t)}</pre></td>" for t in (stored, read)
    )
    return f'<tr><td colspan="2"{ink("td bare title")}>{esc(title)}</td></tr><tr>{cells}</tr>'

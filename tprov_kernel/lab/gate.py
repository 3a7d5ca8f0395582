"""What a notebook shows of the decisions on a run."""

from __future__ import annotations

from collections.abc import Sequence

from tprov_kernel.messages import Decision, short_digest
from tprov_kernel.widgets.style import adaptive as ink
from tprov_kernel.widgets.words import esc

HEADS = ("At", "What", "By", "Reason", "Review", "Came as", "Outcome", "Why")
NONE = "Nobody has decided anything yet."


def decisions_html(taken: Sequence[Decision]) -> str:
    """A table of decisions in the order in which they came; ignored ones say why."""
    if not taken:
        return f"<div{ink('base frame')}><div{ink('pad')}>{NONE}</div></div>"
    heads = "".join(f"<th{ink('th')}>{head}</th>" for head in HEADS)
    rows = ""
    for item in taken:
        cells = "".join(f"<td{ink('td')}>{esc(cell)}</td>" for cell in _cells(item))
        rows += f"<tr>{cells}</tr>"
    table = f"<table{ink('table')}><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<div{ink('base frame')}><div{ink('pad')}>{table}</div></div>"


def decisions_words(taken: Sequence[Decision]) -> str:
    """The same, a line each, for terminals and screen readers."""
    return "\n".join(" · ".join(filter(None, _cells(item))) for item in taken) or NONE


def _cells(item: Decision) -> tuple[str, ...]:
    review = short_digest(item.review)
    return (
        *(item.at, item.verb, item.reviewer, item.reason, review),
        *(item.via, item.outcome, item.why),
    )

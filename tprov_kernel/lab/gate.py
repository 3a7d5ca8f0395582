"""What a notebook shows of the decisions on a run."""

from __future__ import annotations

from collections.abc import Sequence

from tprov_kernel.decisions import left_out_words
from tprov_kernel.messages import Decision, short_digest
from tprov_kernel.widgets.style import adaptive as ink
from tprov_kernel.widgets.words import esc, parse_time, stamp

HEADS = ("At", "What", "By", "Reason", "Review", "Came as", "Outcome", "Why")
TONES = {"approved": ("ok", "✓"), "denied": ("bad", "✕")}
"""Colour is never the only sign; what is neither was ignored."""
SHORT = 24
"""Characters of a cell that stands in one line."""
NONE = "Nobody has decided anything yet."


def decisions_html(taken: Sequence[Decision]) -> str:
    """A table of decisions in the order in which they came; ignored ones say why."""
    if not taken:
        return f"<div{ink('base frame')}><div{ink('pad')}>{NONE}</div></div>"
    heads = "".join(f"<th{ink('th')}>{head}</th>" for head in HEADS)
    rows = ""
    for item in taken:
        *told, outcome, why = _cells(item)
        cells = "".join(_cell(text) for text in told)
        tone, icon = TONES.get(item.outcome, ("ask", "⚠"))
        cells += f"<td{ink('td nowrap')}><b{ink(tone)}>{icon} {esc(outcome)}</b></td>"
        cells += _cell(why)
        rows += f"<tr>{cells}</tr>"
    table = f"<table{ink('table')}><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    others = left_out_words(taken)
    more = f"<div{ink('muted')}>{esc(others)}</div>" if others else ""
    return f"<div{ink('base frame')}><div{ink('pad')}>{table}{more}</div></div>"


def _cell(text: str) -> str:
    # A short word is not broken where a long one beside it needs the room.
    rule = "td nowrap" if len(text) <= SHORT else "td"
    return f"<td{ink(rule)}>{esc(text)}</td>"


def decisions_words(taken: Sequence[Decision]) -> str:
    """The same, a line each, for terminals and screen readers."""
    lines = [" · ".join(filter(None, _cells(item))) for item in taken]
    return "\n".join(filter(None, (*lines, left_out_words(taken)))) or NONE


def _cells(item: Decision) -> tuple[str, ...]:
    review = short_digest(item.review)
    at = parse_time(item.at)
    return (
        *(stamp(at) if at else item.at, item.verb, item.reviewer, item.reason, review),
        *(item.via, item.outcome, item.why),
    )

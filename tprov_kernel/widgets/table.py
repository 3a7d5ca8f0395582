"""Many runs at a glance: a table of them, and how many have which status, as a picture.

Pure fragments, as in `parts.py`: live with roles and classes, stored with inline literal colours
only. Everything that comes from a run is escaped here.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import PurePath

from tprov_kernel.observe import Listing, RunRow, RunView, Tally
from tprov_kernel.widgets import parts, style
from tprov_kernel.widgets.style import Ink, live, stored
from tprov_kernel.widgets.words import (
    LEVEL_TONE,
    TONE_ICON,
    Tone,
    between,
    clock,
    duration,
    esc,
    link_target,
    prose,
    stamp,
    status_tone,
    status_words,
)

HEADS = ("Run", "Directory", "Status", "Verdict", "Asked by", "Started", "Took")
WIDTH, HEIGHT, _GAP, _LEAST = 640, 22, 2, 16
KEPT = 12
"""Rows that a stored picture has: each is 1.4 KB of a notebook."""

_ORDER: tuple[Tone, ...] = ("busy", "ask", "ok", "quiet", "bad")

# --- counts ----------------------------------------------------------------------------------


def counts(tallies: Sequence[Tally], ink: Ink) -> str:
    """How many runs have which status: a bar, and the same in words below it."""
    if not tallies:
        return f"<div{ink('muted')}>No run.</div>"
    picture = counts_svg(tallies) if ink is live else counts_img(tallies)
    unsaid = ' aria-hidden="true"' if ink is live else ""
    items = "".join(
        f"<span{ink('nowrap')}><b{ink(tone)}><span{unsaid}>{TONE_ICON[tone]}</span> {tally.count}"
        f"</b> {esc(words)}</span> &emsp;"
        for tally, words, tone in told(tallies)
    )
    return f"{picture}<div>{items}</div>"


def counts_words(tallies: Sequence[Tally]) -> str:
    """The same as a sentence: '3 runs: 1 awaiting approval, 2 applied'."""
    total = sum(tally.count for tally in tallies)
    if not total:
        return "No run."
    listed = ", ".join(f"{tally.count} {words}" for tally, words, _ in told(tallies))
    return f"{total} run{'s' * (total > 1)}: {listed}."


def counts_svg(tallies: Sequence[Tally], *, themed: bool = True) -> str:
    """The bar; each part has its number where it fits, and its words as a title.

    Args:
        tallies: What is drawn.
        themed: Colours from JupyterLab's theme; otherwise literal ones.
    """
    words, x, drawn = esc(counts_words(tallies)), 0.0, list[str]()
    for (tally, said, tone), width in zip(told(tallies), _widths(tallies), strict=True):
        fill = style.colour(tone, themed=themed)
        title = f"<title>{tally.count} {esc(said)}</title>"
        box = f'x="{x:.1f}" y="0" width="{width:.1f}" height="{HEIGHT}" rx="3"'
        drawn.append(f'<g>{title}<rect {box} style="fill:{fill}"/>')
        ink = style.colour("ground", themed=themed)
        drawn.append(
            f'<text x="{x + width / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle"'
            f' style="fill:{ink};font-weight:700">{tally.count}</text></g>'
        )
        x += width + _GAP
    font = style.SANS if themed else style.SANS_STORED
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="100%"'
        f' role="img" aria-label="{words}" style="display:block;font-family:{font};'
        f'font-size:13px"><title>{words}</title>{"".join(drawn)}</svg>'
    )


def counts_img(tallies: Sequence[Tally]) -> str:
    """The bar as a stored picture with its words, which sanitisers keep."""
    data = base64.b64encode(counts_svg(tallies, themed=False).encode()).decode()
    return (
        f'<img src="data:image/svg+xml;base64,{data}" alt="{esc(counts_words(tallies))}"'
        f' width="{WIDTH}" style="max-width:100%;height:auto;display:block">'
    )


def told(tallies: Sequence[Tally]) -> list[tuple[Tally, str, Tone]]:
    """Each with its words and tone, in the order in which they are drawn."""
    views = [
        RunView(
            workflow_id="",
            run_id="",
            stack="",
            status=tally.status,
            closed=bool(tally.close_state) or tally.status.is_final,
            close_state=tally.close_state,
        )
        for tally in tallies
    ]
    told = [(t, status_words(v), status_tone(v)) for t, v in zip(tallies, views, strict=True)]
    return sorted(told, key=lambda item: _ORDER.index(item[2]))


def _widths(tallies: Sequence[Tally]) -> list[float]:
    """To scale, but each wide enough for its number."""
    numbers = [tally.count for tally, _, _ in told(tallies)]
    least = [max(_LEAST, 9 * len(str(number)) + 6) for number in numbers]
    room = WIDTH - _GAP * (len(numbers) - 1) - sum(least)
    return [
        small + room * number / sum(numbers) for small, number in zip(least, numbers, strict=True)
    ]


# --- rows ------------------------------------------------------------------------------------


def rows(listing: Listing, now: datetime, ink: Ink) -> str:
    """The table; a run that asks for a decision is marked."""
    heads = "".join(f"<th{_scope(ink)}{ink('th')}>{head}</th>" for head in HEADS)
    body = "".join(_row(row, now, ink) for row in listing.rows)
    label = ' aria-label="Runs"' if ink is live else ""
    return (
        f"<table{label}{ink('table')}><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
    )


def _row(row: RunRow, now: datetime, ink: Ink) -> str:
    view = row.view
    td = f"<td{ink('td nowrap')}"
    asks = ' class="asks"' if ink is live and _asks(view) else ""
    what = f"<span{ink('muted')}>destroy </span>" if view.action == "destroy" else ""
    cells = (
        f"{td}{_full(view.stack, ink)}>{what}<b{ink('text')}>{esc(view.stack)}</b></td>",
        f"{td}{_full(view.directory, ink)}>{esc(PurePath(view.directory).name)}</td>",
        f"{td}>{parts.chip(view, ink)}</td>",
        f"{td}>{_verdict(row.verdict, ink)}</td>",
        f"{td}{_full(view.requested_by, ink)}>{esc(view.requested_by)}</td>",
        f"{td}>{_when(view.started, now)}</td>",
        f"{td}>{_took(view, now)}</td>",
    )
    return f"<tr{asks}>{''.join(cells)}</tr>"


def _asks(view: RunView) -> bool:
    return not view.closed and status_tone(view) == "ask"


def _scope(ink: Ink) -> str:
    return ' scope="col"' if ink is live else ""


def _full(text: str, ink: Ink) -> str:
    """The whole text for those who point at a cell that is too narrow for it."""
    return f' title="{esc(text)}"' if ink is live and text else ""


def _verdict(verdict: str, ink: Ink) -> str:
    tones: dict[str, Tone] = {"allowed": "ok", **dict[str, Tone](LEVEL_TONE.items())}
    return f"<span{ink(tones.get(verdict, 'quiet'))}>{esc(verdict) or '–'}</span>"


def _when(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "–"
    today = moment.astimezone().date() == now.astimezone().date()
    return clock(moment) if today else f"{moment.astimezone():%m-%d %H:%M}"


def _took(view: RunView, now: datetime) -> str:
    seconds = between(view.started, view.ended if view.closed else now)
    return duration(seconds if view.closed else int(seconds) + 0.0) + ("" if view.closed else " …")


def links(listing: Listing, target: Callable[[RunView], str]) -> str:
    """A link per row, as high as the row: a widget of its own, so that a link keeps the focus.

    Args:
        listing: The rows.
        target: A run's address; empty where it has none.
    """
    items = []
    for row in listing.rows:
        url, asks = target(row.view), ' class="asks"' if _asks(row.view) else ""
        link = f'<a{live("link")} href="{link_target(url)}" target="_blank" rel="noopener"'
        named = f'{link} aria-label="{esc(row.view.stack)} in the Web UI">Web UI</a>'
        items.append(f"<li{asks}>{named if url else ''}</li>")
    return f'<ul aria-label="The runs in the Web UI">{"".join(items)}</ul>'


# --- around them -----------------------------------------------------------------------------


def foot(listing: Listing, ink: Ink) -> str:
    """How many are not shown, and how one gets at a run."""
    shown = len(listing.rows)
    more = f"{listing.more} more are not shown: a narrower filter finds them. "
    lead = f"<b{ink('text')}>{more if listing.more else ''}</b>"
    said = "No run matches." if not shown else 'A run\'s card: `lab.run("NAME").card()`.'
    return f"<span{ink('muted')}>{lead}{prose(said, ink('code'))}</span>"


def command(query: str, ink: Ink) -> str:
    """The same list in a terminal."""
    plain = not set(query) & set('"$`\\!')
    quoted = f'"{query}"' if plain else shlex.quote(query)
    typed = f"temporal workflow list --query {quoted}"
    return f"<code{ink('code')}>{esc(typed)}</code>"


def complaint(text: str, kept: str) -> str:
    """Why a filter was not taken; below it, whose rows stay."""
    said = f"<b{live('bad')}>✕</b> <span{live('bad')}>{prose(text, live('code'))}</span>"
    rest = f"Shown are still the runs of `{kept}`." if kept else ""
    below = f"<div{live('muted small')}>{prose(rest, live('code'))}</div>"
    return f'<div role="alert">{said}{below}</div>'


def out_of_touch(since: datetime, now: datetime, ink: Ink) -> str:
    """The server does not answer: what is shown is the last that was known."""
    when = f"{clock(since)} ({duration(int(between(since, now)))})"
    lead = f"<b{ink('ask')}>Out of touch with the Temporal server since {when}.</b>"
    return parts.banner("ask", f"{lead} What you see is the last that was known.", ink)


# --- what a notebook keeps -------------------------------------------------------------------


def picture(
    listing: Listing, tallies: Sequence[Tally], query: str, *, taken: datetime, mark: str = ""
) -> str:
    """The table at one moment, as static HTML that any host shows.

    Args:
        listing: The rows.
        tallies: How many have which status.
        query: The filter that found them.
        taken: When; the HTML says so.
        mark: A class of the outermost element, by which a live table hides this output.
    """
    kept = listing.rows[:KEPT]
    listing = Listing(rows=kept, more=listing.more + len(listing.rows) - len(kept))
    lead = f"<span{stored('name')}>Runs</span> &ensp;<span{stored('code')}>{esc(query)}</span>"
    sections = (
        f"<div{stored('pad edge')}>{lead}</div>",
        f"<div{stored('pad')}>{counts(tallies, stored)}</div>",
        f"<div{stored('pad')}>{rows(listing, taken, stored)}</div>" if listing.rows else "",
        f"<div{stored('section')}>{foot(listing, stored)}</div>",
        f"<div{stored('section muted small')}>As it was at {stamp(taken.astimezone(UTC))}: a"
        " picture that this notebook keeps. Run the cell again for the live table.</div>",
    )
    marked = f' class="{esc(mark)}"' if mark else ""
    return f"<div{marked}><div{stored('base frame')}>{''.join(sections)}</div></div>"


def known(found: Iterable[RunRow]) -> dict[str, set[str]]:
    """What the rows have to offer for the drop-down lists: attribute to values."""
    offered: dict[str, set[str]] = {"tprovDirectory": set(), "tprovRequester": set()}
    for row in found:
        offered["tprovDirectory"].add(row.view.directory)
        offered["tprovRequester"].add(row.view.requested_by)
    return {name: values - {""} for name, values in offered.items()}

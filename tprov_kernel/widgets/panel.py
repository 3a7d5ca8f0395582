"""The set-up cell's panel: what runs, with which tools, what was ignored, what is left over.

Pure functions from a frozen `PanelModel`, as an ordinary HTML output: it reads the same stored,
untrusted and years later (the adaptive ink of `style.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tprov_kernel.errors import TprovError
from tprov_kernel.widgets.style import adaptive as ink
from tprov_kernel.widgets.words import Tone, esc, link_target, prose

RowState = Literal["ok", "warn", "missing"]

_SIGN: dict[RowState, tuple[str, Tone]] = {
    "ok": ("✓", "ok"),
    "warn": ("!", "ask"),
    "missing": ("✕", "bad"),
}


@dataclass(frozen=True, kw_only=True)
class PanelRow:
    """One service or tool.

    Attributes:
        name: 'Temporal server', 'terraform'.
        state: ``ok``, ``warn`` (works, but) or ``missing``; the last two carry a remedy.
        version: Its version; empty for what has none.
        detail: Where it is or where it came from: 'localhost:7233', 'from PATH'.
        url: Where it can be looked at; empty when nowhere.
        remedy: What to do, as an imperative sentence.
    """

    name: str
    state: RowState = "ok"
    version: str = ""
    detail: str = ""
    url: str = ""
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class OpenRun:
    """A run that is open at this moment."""

    stack: str
    status: str
    since: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class PanelModel:
    """Everything the set-up cell has to say.

    Attributes:
        title: 'Your lab is open', or 'was open already: nothing changed'.
        target: 'local', or the account and server that remote names.
        services: What runs.
        tools: What it runs with.
        links: Label and address.
        ignored: Names of ambient variables that local mode ignores.
        notes: What else is good to know, a sentence each.
        leftovers: What earlier runs left, a sentence each.
        runs: Open runs.
        seconds: How long opening took; None leaves it out.
    """

    title: str = "Your lab is open"
    target: str = "local"
    services: tuple[PanelRow, ...] = ()
    tools: tuple[PanelRow, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    runs: tuple[OpenRun, ...] = ()
    seconds: float | None = None


def panel_html(model: PanelModel) -> str:
    """Draw the panel: green, or a remedy per row."""
    rows = (*model.services, *model.tools)
    worst: RowState = "ok"
    for state in ("warn", "missing"):
        if any(row.state == state for row in rows):
            worst = state
    sign, tone = _SIGN[worst]
    took = f" &ensp;{model.seconds:.1f} s" if model.seconds is not None else ""
    head = (
        f"<div{ink('pad edge')}><b{ink(tone)}>{sign}</b> <span{ink('name')}>{esc(model.title)}"
        f"</span> &ensp;<span{ink('muted')}>{esc(model.target)}{took}</span></div>"
    )
    notes = _ignored(model.ignored) + "".join(_line(text) for text in model.leftovers)
    sections = (
        _table((*model.services, *_in_one_row(model.tools))),
        f"<div{ink('section')}>{notes}</div>" if notes else "",
        _runs(model.runs),
        _foot(model),
    )
    return f"<div{ink('base frame')}>{head}{''.join(sections)}</div>"


def error_html(error: TprovError) -> str:
    """A failure as a short red box: a sentence and its remedy."""
    remedy = f"<div{ink('text')}>{prose(error.remedy, ink('code'))}</div>" if error.remedy else ""
    lead = f"<b{ink('bad')}>✕ {prose(error.message)}</b>"
    return f'<div role="alert"{ink("base banner bad-box")}>{lead}{remedy}</div>'


def opening_html(doing: str) -> str:
    """What the cell says while the lab opens."""
    words = f"<span{ink('muted')}>{esc(doing)} …</span>"
    lead = f"<div{ink('pad')}><b{ink('busy')}>●</b> <span{ink('name')}>Opening your lab</span>"
    return f"<div{ink('base frame')}>{lead} &ensp;{words}</div></div>"


def note_html(text: str) -> str:
    """A sentence that is no failure, in a quiet box."""
    return f'<div role="status"{ink("base banner quiet-box")}>{prose(text, ink("code"))}</div>'


def _in_one_row(tools: tuple[PanelRow, ...]) -> tuple[PanelRow, ...]:
    """Tools that are well need no row each; one that is not brings its remedy."""
    if not tools or any(tool.state != "ok" for tool in tools):
        return tools
    listed = ", ".join(f"{t.name} {t.version} ({t.detail})" for t in tools)
    return (PanelRow(name="Tools", detail=listed),)


def _table(rows: tuple[PanelRow, ...]) -> str:
    if not rows:
        return ""
    versions = any(row.version for row in rows)
    body = "".join(_row(row, versions=versions, last=row is rows[-1]) for row in rows)
    return f"<div{ink('pad')}><table{ink('table')}><tbody>{body}</tbody></table></div>"


def _row(row: PanelRow, *, versions: bool, last: bool) -> str:
    sign, tone = _SIGN[row.state]
    words = {"ok": "", "warn": "look at this: ", "missing": "missing: "}[row.state]
    detail = esc(row.detail)
    if row.url:
        detail = f'<a{ink("link")} href="{link_target(row.url)}" target="_blank">{detail}</a>'
    remedy = (
        f"<div{ink(tone)}><b>{words}</b>{prose(row.remedy, ink('code'))}</div>"
        if row.remedy
        else ""
    )
    td = "td bare" if last else "td"
    version = f"<td{ink(f'{td} nowrap code tenth')}>{esc(row.version)}</td>" if versions else ""
    return (
        f"<tr><td{ink(f'{td} nowrap fifth')}><b{ink(tone)}>{sign}</b> {esc(row.name)}</td>"
        f"{version}<td{ink(f'{td} muted')}>{detail}{remedy}</td></tr>"
    )


def _ignored(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    listed = ", ".join(names)
    verb, them = ("is", "it") if len(names) == 1 else ("are", "them")
    return _line(f"{listed} {verb} set; local mode ignores {them}.")


def _line(text: str) -> str:
    return f"<div{ink('muted')}><b{ink('ask')}>!</b> {prose(text, ink('code'))}</div>"


def _runs(runs: tuple[OpenRun, ...]) -> str:
    if not runs:
        return ""
    rows = "".join(
        f"<tr><td{ink('td nowrap third')}>{_link(run.stack, run.url)}</td>"
        f"<td{ink('td nowrap')}>{esc(run.status)}</td>"
        f"<td{ink('td muted')}>{esc(run.since)}</td></tr>"
        for run in runs
    )
    table = f"<table{ink('table')}><tbody>{rows}</tbody></table>"
    return f"<div{ink('section')}><div{ink('title')}>Open runs</div>{table}</div>"


def _link(label: str, url: str) -> str:
    if not url:
        return esc(label)
    return f'<a{ink("link")} href="{link_target(url)}" target="_blank">{esc(label)}</a>'


def _foot(model: PanelModel) -> str:
    notes = [f"<span{ink('muted')}>{prose(text, ink('code'))}</span>" for text in model.notes]
    parts = [_link(*link) for link in model.links] + notes
    return f"<div{ink('section')}>{' &emsp;'.join(parts)}</div>" if parts else ""

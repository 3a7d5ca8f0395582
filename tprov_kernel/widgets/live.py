"""Fragments of the live card only: roles, labels and classes that a stored output would lose."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tprov_kernel.observe import RunView
from tprov_kernel.widgets import parts
from tprov_kernel.widgets.style import live as ink
from tprov_kernel.widgets.words import (
    STEP_ICON,
    STEP_TONE,
    clean,
    esc,
    is_left_undone,
    link_target,
    status_tone,
    status_words,
    step_note,
    step_title,
)

LONGEST = 4000
"""Characters of a payload that are shown; pages must not carry megabytes."""


def head(view: RunView, now: datetime) -> str:
    """Name, elapsed time and status, and the progress bar (`FloatProgress` has no role)."""
    tone, words = status_tone(view), esc(status_words(view))
    bar = (
        f'<div class="bar" role="progressbar" aria-label="Progress: {words}" aria-valuemin="0"'
        f' aria-valuemax="100" aria-valuenow="{view.progress}"><div'
        f' style="width:{view.progress}%;background:var(--tp-{tone})"></div></div>'
    )
    name = f"<div>{parts.head(view, now, ink)}</div>"
    return f'<div class="head">{name}<div role="status">{parts.chip(view, ink)}</div></div>{bar}'


def steps(view: RunView, now: datetime) -> str:
    """The six steps as a list, the current one marked for screen readers too."""
    items: list[str] = []
    for step in view.steps:
        current = ' aria-current="step"' if step.state in ("running", "retrying", "asking") else ""
        gone_by = step.state in ("done", "skipped") and not is_left_undone(step, view)
        passed = ' class="passed"' if gone_by else ""
        full = " full" if step.state not in ("waiting", "skipped") else ""
        tone = STEP_TONE[step.state]
        ground = f' style="background:var(--tp-{tone})"' if full else ""
        icon = f'<span aria-hidden="true">{STEP_ICON[step.state]}</span>'
        dot = f'<div class="dot tp-{tone}{full}"{ground}>{icon}</div>'
        state = f'<span class="hidden-words"> {step.state}</span>'
        label = f'<div class="label">{step_title(step, view)}{state}</div>'
        note = f'<div class="note">{esc(step_note(step, view, now))}</div>'
        items.append(f"<li{passed}{current}>{dot}{label}{note}</li>")
    return f'<ol class="steps" aria-label="Steps">{"".join(items)}</ol>'


def links(targets: Sequence[tuple[str, str]], cli: str) -> str:
    """Where else the run can be seen; a widget of its own, so that it keeps the focus."""
    shown = "".join(
        f'<a{ink("link")} href="{link_target(url)}" target="_blank" rel="noopener">{esc(label)}</a>'
        for label, url in targets
    )
    if not cli:
        return shown
    command = f"<div><code{ink('code')}>{esc(cli)}</code></div>"
    return f"{shown}<details><summary{ink('link')}>Show as CLI</summary>{command}</details>"


def payload(title: str, encoded: str, decoded: str) -> str:
    """One payload, as it is stored beside as it is read."""

    def column(name: str, text: str) -> str:
        cut = clean(text)
        if len(cut) > LONGEST:
            cut = f"{cut[:LONGEST]}\n… {len(cut) - LONGEST} more characters"
        lead = f"<div{ink('muted small')}>{name}</div>"
        region = f'tabindex="0" role="region" aria-label="{esc(title)}, {name}"'
        return f"<div>{lead}<pre{ink('pre wrap')} {region}>{esc(cut)}</pre></div>"

    pair = column("as it is stored", encoded) + column("as it is read", decoded)
    return f'<div class="payload"><div{ink("title")}>{esc(title)}</div>{pair}</div>'

"""A run as a notebook keeps it: readable with no kernel, on any host, years later.

Words and a plain table first, styling second: inline literal colours only, the timeline as a
data-URI image with its words; no `<style>`, no `<svg>`, no `role` (facts: section 2).
"""

from __future__ import annotations

from datetime import UTC, datetime

from tprov_kernel.observe import RunView, StepView
from tprov_kernel.widgets import parts
from tprov_kernel.widgets.plan import plan_html
from tprov_kernel.widgets.style import stored as ink
from tprov_kernel.widgets.timeline import timeline_img
from tprov_kernel.widgets.words import (
    STEP_ICON,
    STEP_TONE,
    esc,
    stamp,
    status_words,
    step_note,
    step_title,
)


def snapshot_html(view: RunView, *, taken: datetime | None = None, mark: str = "") -> str:
    """Draw the run's state at one moment as static HTML.

    Args:
        view: The run.
        taken: When it was seen; now when left out. The HTML says so.
        mark: A class for the outermost element, by which a live card hides this output.
    """
    now = taken or datetime.now(UTC)
    sections = [
        f"<div{ink('pad edge')}>{parts.head(view, now, ink)} &ensp;{parts.chip(view, ink)}</div>",
        f"<div{ink('pad')}>{_steps(view, now)}{_told(view, now)}</div>",
        _section("", parts.outputs(view.outputs, ink)),
        _section("Plan", plan_html(view.plan, live=False, ink=ink) if view.plan else ""),
        _section("Policy", parts.policy(view.verdict, ink) if view.verdict else ""),
        _section("Timeline", timeline_img(view, now=now)),
        f"<div{ink('section muted small')}>As it was at {stamp(now)}: a picture that this notebook"
        " keeps. Run the cell again for the live card.</div>",
    ]
    marked = f' class="{esc(mark)}"' if mark else ""
    return f"<div{marked}><div{ink('base frame')}>{''.join(sections)}</div></div>"


def snapshot_words(view: RunView) -> str:
    """The run in one line, for where there is no HTML."""
    return f"{parts.name_of(view)} ({view.workflow_id}): {status_words(view)}, {view.progress} %"


def _section(title: str, html: str) -> str:
    lead = f"<div{ink('title gap')}>{title}</div>" if title else ""
    return f"<div{ink('section')}>{lead}{html}</div>" if html else ""


def _told(view: RunView, now: datetime) -> str:
    asks = parts.review_text(view, now, ink) if parts.is_asking(view) else ""
    return (
        parts.doing(view, now, ink)
        + parts.banners(view, now, ink)
        + (parts.banner("ask", asks, ink) if asks else "")
        + (parts.banner("busy", parts.again_text(view, "", now, ink), ink) if view.repair else "")
        + parts.decisions(view.decisions, ink)
    )


def _steps(view: RunView, now: datetime) -> str:
    rows = "".join(_step(step, view, now) for step in view.steps)
    return f"<table{ink('table gap')}><tbody>{rows}</tbody></table>"


def _step(step: StepView, view: RunView, now: datetime) -> str:
    tone = STEP_TONE[step.state]
    return (
        f"<tr><td{ink('td nowrap')}><b{ink(tone)}>{STEP_ICON[step.state] or '○'}</b>"
        f" <b>{step_title(step, view)}</b></td><td{ink(f'td nowrap {tone}')}>{step.state}</td>"
        f"<td{ink('td muted')}>{esc(step_note(step, view, now))}</td></tr>"
    )

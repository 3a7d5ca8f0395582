"""One event three ways side by side, with a list to choose another one from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import ipywidgets as w

from tprov_kernel.widgets.comms import unpin
from tprov_kernel.widgets.outputs import Twin
from tprov_kernel.widgets.sheet import row_css
from tprov_kernel.widgets.style import Ink, adaptive, stored
from tprov_kernel.widgets.words import esc


@dataclass(frozen=True)
class Way:
    """One of the three: what it is, where it comes from, and what is seen."""

    title: str
    source: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Ways:
    """An event, three ways."""

    event_id: int
    title: str
    stored: Way
    shown: Way
    decoded: Way

    @property
    def words(self) -> str:
        """The same as text."""
        ways = (self.stored, self.shown, self.decoded)
        return f"Event {self.title}\n\n" + "\n\n".join(f"{v.title}\n{v.text}" for v in ways)


def ways_html(ways: Ways, ink: Ink) -> str:
    """Three columns; a table, which survives anywhere."""
    every = (ways.stored, ways.shown, ways.decoded)
    heads = "".join(
        f"<th{ink('th third')}>{esc(way.title)}<br>"
        f"<span{ink('code muted wrap')}>{esc(way.source)}</span></th>"
        for way in every
    )
    cells = "".join(
        f"<td{ink('td bare')}><pre{ink('pre wrap tall')}>{esc(way.text)}</pre></td>"
        for way in every
    )
    table = (
        f"<table{ink('table fixed')}><thead><tr>{heads}</tr></thead>"
        f"<tbody><tr>{cells}</tr></tbody></table>"
    )
    title = f"<div{ink('title gap')}>Event {esc(ways.title)}</div>"
    return f"<div{ink('base frame')}><div{ink('pad')}>{title}{table}</div></div>"


class ThreeWays:
    """A list of events, and the chosen one three ways; shown when it is a cell's last line.

    Args:
        names: Event id to what it is called, oldest first.
        choose: Called with the id of a chosen event; returns at once, and `show` follows.

    Attributes:
        choice: The list, for the autopilot and for tests.
        widget: The live widget.
    """

    def __init__(self, names: Mapping[int, str], *, choose: Callable[[int], object]) -> None:
        self._choose = choose
        self._twin = Twin(mark="tprov-ways")
        self._ways: Ways | None = None
        self.choice = w.Dropdown(
            options=[(name, event_id) for event_id, name in names.items()],
            value=None,
            description="Event",
        )
        self.choice.layout.width = "min(560px,100%)"
        self.choice.observe(self._on_choice, names="value")
        unpin(self.choice)
        self._body = w.HTML()
        sheet = w.HTML(row_css() + _hidden(self._twin.mark))
        sheet.layout.display = "none"
        self.widget = w.VBox([sheet, self.choice, self._body])
        self.widget.add_class("tprov-row")
        self.widget.add_class(f"{self._twin.mark}-live")

    def show(self, ways: Ways) -> None:
        """Show an event, live and in the stored picture; from any thread."""
        self._ways = ways
        self._body.value = ways_html(ways, adaptive)
        self._twin.refresh(self._picture(), ways.words)

    def say(self, text: str) -> None:
        """Say something in the event's place; from any thread."""
        self._body.value = f"<div{adaptive('base muted')}>{esc(text)}</div>"

    def _picture(self) -> str:
        drawn = ways_html(self._ways, stored) if self._ways else ""
        return f'<div class="{self._twin.mark}">{drawn}</div>'

    def _on_choice(self, change: dict[str, object]) -> None:
        chosen = change["new"]
        if isinstance(chosen, int) and not (self._ways and self._ways.event_id == chosen):
            self._choose(chosen)

    def _ipython_display_(self) -> None:
        words = self._ways.words if self._ways else "One event, three ways."
        self._twin.display(self.widget, self._picture(), words)


def _hidden(mark: str) -> str:
    """Hides the stored picture while the widget is alive."""
    alive = f"body:has(.tprov-row.{mark}-live:not(.jupyter-widgets-disconnected))"
    rules = f"{alive} .jp-OutputArea-child:has(.{mark}),{alive} .{mark}{{display:none!important}}"
    return f"<style>{rules}</style>"

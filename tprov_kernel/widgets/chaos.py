"""The chaos panel: what can be broken, how it is at this moment, and buttons that break it.

A view: it is told the state of each, and tells which button was pressed. `show` and `answer` may
be called from any thread; callbacks never raise and never print.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import ipywidgets as w

from tprov_kernel.widgets import style
from tprov_kernel.widgets.comms import unpin
from tprov_kernel.widgets.outputs import Twin
from tprov_kernel.widgets.panel import PanelModel, PanelRow, RowState, panel_html
from tprov_kernel.widgets.puts import put
from tprov_kernel.widgets.style import live as ink
from tprov_kernel.widgets.words import Tone, esc, prose

CHAOS = ".tprov-chaos"
TITLE = "Chaos"

Condition = Literal["alive", "idle", "ill", "dead"]
_SIGNS: dict[Condition, tuple[str, Tone, RowState]] = {
    "alive": ("●", "ok", "ok"),
    "idle": ("○", "quiet", "ok"),
    "ill": ("!", "ask", "warn"),
    "dead": ("✕", "bad", "missing"),
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """Something that can be broken, at one moment.

    Attributes:
        name: What people call it.
        condition: How it is.
        words: The same in words, with the process.
        buttons: What a button says, to the action's name; shown in this order.
    """

    name: str
    condition: Condition
    words: str
    buttons: tuple[tuple[str, str], ...] = ()


class ChaosPanel:
    """The widget.

    Args:
        press: Called with an action's name when its button is pressed; returns at once. What came
            of it is told through `answer`.

    Attributes:
        widget: The live widget.
        buttons: Action to its button.
    """

    def __init__(self, *, press: Callable[[str], None]) -> None:
        self._press = press
        self._lock = threading.RLock()
        self._targets: Sequence[Target] = ()
        self._said = ""
        self._twin = Twin(mark=f"tprov-chaos-{secrets.token_hex(4)}")
        self._answer = w.HTML()
        self._answer.add_class("said")
        self._rows: list[w.HTML] = []
        self.buttons: dict[str, w.Button] = {}
        sheet = w.HTML(_css(self._twin.mark))
        sheet.layout.display = "none"
        lead = f"<b{ink('name')}>{TITLE}</b> &ensp;<span{ink('muted')}>"
        lead += "Everything here is real: processes are killed, servers stop.</span>"
        self._head = w.HTML(lead)
        self._head.add_class("head")
        self._sheet, self._body = sheet, w.VBox()
        self.widget = w.VBox([sheet, self._head, self._body, self._answer])
        self.widget.add_class(CHAOS[1:])
        self.widget.add_class(f"{self._twin.mark}-live")
        self.answer("Nothing was done yet.")

    def show(self, targets: Sequence[Target]) -> None:
        """Show how each is."""
        with self._lock:
            if targets == self._targets:
                return
            if [t.name for t in targets] != [t.name for t in self._targets]:
                self._compose(targets)
            self._targets = targets
            for row, target in zip(self._rows, targets, strict=True):
                put(row, _row(target))
            self.refresh_picture()

    def answer(self, text: str, *, refused: bool = False) -> None:
        """Say what came of an action."""
        with self._lock:
            self._said = text
            tone, role = ("bad", "alert") if refused else ("text", "status")
            words = prose(text, ink("code"))
            put(self._answer, f'<div role="{role}"{ink(tone)}>{words}</div>')
            self.refresh_picture()

    def display(self) -> None:
        """Put the live panel and, as a second output, its stored picture into the running cell."""
        with self._lock:
            self._twin.display(self.widget, *self._picture())

    def refresh_picture(self) -> None:
        """Bring the stored picture up to date; does nothing before `display`."""
        with self._lock:
            self._twin.refresh(*self._picture())

    def _picture(self) -> tuple[str, str]:
        rows = tuple(
            PanelRow(name=t.name, state=_SIGNS[t.condition][2], detail=t.words)
            for t in self._targets
        )
        model = PanelModel(title=TITLE, target="", services=rows, notes=(self._said,))
        words = " ".join(f"{t.name}: {t.words}" for t in self._targets)
        return f'<div class="{self._twin.mark}">{panel_html(model)}</div>', f"{words} {self._said}"

    def _compose(self, targets: Sequence[Target]) -> None:
        self._rows = [w.HTML() for _ in targets]
        boxes: list[w.HBox] = []
        for row, target in zip(self._rows, targets, strict=True):
            row.add_class("state")
            buttons = [self._button(label, action) for label, action in target.buttons]
            acts = w.HBox(buttons)
            acts.add_class("acts")
            box = w.HBox([row, acts])
            box.add_class("row")
            boxes.append(box)
        self._body.children = tuple(boxes)

    def _button(self, label: str, action: str) -> w.Button:
        button = self.buttons[action] = w.Button(description=label)
        button.on_click(lambda _: self._on_click(label, action))
        unpin(button)
        return button

    def _on_click(self, label: str, action: str) -> None:
        # Whatever a callback raises would be lost, or land in another cell.
        try:
            self.answer(f"{label} …")
            self._press(action)
        except Exception as error:
            self.answer(f"Nothing was done: {error}.", refused=True)


def _row(target: Target) -> str:
    sign, tone, _ = _SIGNS[target.condition]
    mark = f'<b{ink(tone)} aria-hidden="true">{sign}</b> <b{ink("title")}>{esc(target.name)}</b>'
    words = prose(target.words, ink("code"))
    return f"<div>{mark}</div><div{ink('muted')}>{words}</div>"


def _css(mark: str) -> str:
    twin = f"body:has({CHAOS}.{mark}-live)"
    hide = f"{twin} .jp-OutputArea-child:has(.{mark}),{twin} .{mark}{{display:none!important}}"
    return f"<style>{style.stylesheet(CHAOS)}{_RULES.replace('%sans', style.SANS)}{hide}</style>"


_RULES = """
.tprov-chaos{margin:2px 0 8px;border:1px solid var(--tp-line);border-radius:8px;
  background:var(--tp-ground);color:var(--tp-text);font-family:%sans;font-size:13px;
  line-height:1.5;max-width:980px;overflow:hidden;min-width:0}
.tprov-chaos .widget-html,.tprov-chaos .widget-box{margin:0;min-width:0;overflow:visible}
.tprov-chaos .widget-html{width:auto}
.tprov-chaos .widget-html-content{line-height:1.5!important;height:auto;min-width:0;width:100%;
  overflow:visible;color:var(--tp-text);font-size:13px;overflow-wrap:anywhere}
.tprov-chaos .widget-html>label{display:none}
.tprov-chaos :focus-visible{outline:2px solid var(--tp-busy)!important;outline-offset:1px}
.tprov-chaos>.head{padding:10px 16px;background:var(--tp-raised)}
.tprov-chaos .row{padding:8px 16px;border-top:1px solid var(--tp-line);align-items:center;
  gap:6px 16px;flex-wrap:wrap}
.tprov-chaos .row>.state{flex:1 1 320px}
.tprov-chaos .acts{flex:0 0 auto;gap:6px;flex-wrap:wrap}
.tprov-chaos .jupyter-button{margin:0;width:auto;height:30px;line-height:28px;padding:0 12px;
  border-radius:5px;font-family:%sans;font-size:13px;color:var(--tp-text);box-shadow:none;
  background:var(--tp-ground);
  border:1px solid color-mix(in srgb,var(--tp-text) 55%,var(--tp-ground))}
.tprov-chaos .jupyter-button:hover{background:var(--tp-raised)}
.tprov-chaos>.said{padding:8px 16px;border-top:1px solid var(--tp-line);
  background:var(--tp-raised)}
.tprov-chaos.jupyter-widgets-disconnected .jupyter-widgets-disconnected::before{display:none}
.tprov-chaos.jupyter-widgets-disconnected::before{
  content:"⚠ The kernel behind this panel is gone. Run the set-up cell again."!important;
  display:block;padding:8px 16px;font:700 13px/1.5 %sans;color:var(--tp-bad);
  background:var(--tp-bad-tint);position:static;text-align:left;align-self:stretch;width:auto}
.tprov-chaos.jupyter-widgets-disconnected>*{opacity:.55;pointer-events:none}
"""

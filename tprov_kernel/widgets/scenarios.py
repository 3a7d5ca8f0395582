"""A row of buttons that start a scenario on the spot, and its card below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import ipywidgets as w

from tprov_kernel.errors import TprovError
from tprov_kernel.widgets.card import RunCard
from tprov_kernel.widgets.comms import unpin
from tprov_kernel.widgets.outputs import Twin
from tprov_kernel.widgets.sheet import row_css
from tprov_kernel.widgets.style import live as ink
from tprov_kernel.widgets.words import prose


class ScenarioRow:
    """Buttons, one per scenario; the card of what was started last stands below them.

    Args:
        scenarios: A scenario's name and the words on its button.
        start: Called with the name; returns at once. It may return the card, or hand it to
            `show_card` later; `say` tells what happens meanwhile.

    Attributes:
        buttons: Name to button, for the autopilot.
        widget: The live widget.
    """

    def __init__(
        self,
        scenarios: Sequence[tuple[str, str]],
        *,
        start: Callable[[str], RunCard | None],
    ) -> None:
        self._start = start
        self._card: RunCard | None = None
        self._twin = Twin()
        self.buttons = {name: w.Button(description=words) for name, words in scenarios}
        for name, button in self.buttons.items():
            button.on_click(partial(self._on_click, name))
        unpin(*self.buttons.values())
        self._words = w.HTML()
        self._place = w.VBox()
        sheet = w.HTML(row_css())
        sheet.layout.display = "none"
        row = w.HBox(list(self.buttons.values()))
        row.add_class("row")
        self.widget = w.VBox([sheet, row, self._words, self._place])
        self.widget.add_class("tprov-row")

    def say(self, text: str, *, refused: bool = False) -> None:
        """Say something below the buttons; from any thread."""
        role: Literal["alert", "status"] = "alert" if refused else "status"
        tone = "bad" if refused else "muted"
        html = f'<div role="{role}"{ink(tone)}>{prose(text, ink("code"))}</div>' if text else ""
        if self._words.value != html:
            self._words.value = html

    def show_card(self, card: RunCard) -> None:
        """Show a card below the buttons, in place of the one before; from any thread."""
        if self._card is not None:
            self._card.use_output(None)
        self._card = card
        self._place.children = (card.widget,)
        if self._twin.shown:
            card.use_output(self._twin.display_id)
        self.say("")

    def display(self) -> None:
        """Put the row into the running cell, with a stored output for its card's snapshot."""
        self._twin.display(self.widget, "", "A row of buttons, one per scenario.")
        if self._card is not None:
            self._card.use_output(self._twin.display_id)

    def _ipython_display_(self) -> None:
        self.display()

    def _on_click(self, name: str, _: w.Button) -> None:
        # Whatever a callback raises or prints would be lost, or land in another cell.
        try:
            self.say(f"Starting {name} …")
            card = self._start(name)
            if card is not None:
                self.show_card(card)
        except TprovError as error:
            self.say(str(error), refused=True)
        except Exception as error:
            self.say(f"{name} could not be started: {error}.", refused=True)

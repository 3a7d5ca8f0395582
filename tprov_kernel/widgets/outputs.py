"""Two outputs for one thing: the live widget, and a picture of it that the notebook keeps.

Updating the output that holds a widget tears its view down and takes the focus away, so the
picture is a separate output with a display id of its own, hidden while the widget is alive
(facts/widgets.md, section 2).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import ipywidgets as w
from IPython import display as ipython
from IPython.core.getipython import get_ipython

_VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass
class Twin:
    """The stored output beside a live widget.

    Attributes:
        mark: Class of the stored output's outermost element, by which the live one hides it.
        display_id: Jupyter's name for the stored output.
        shown: Whether it was displayed; before that there is nothing to refresh.
    """

    mark: str = ""
    display_id: str = field(default_factory=lambda: f"tprov-{secrets.token_hex(8)}")
    shown: bool = False

    def display(self, widget: w.DOMWidget, html: str, words: str) -> None:
        """Show the widget and, below it, its stored picture."""
        self.shown = True
        model = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
        # The empty HTML keeps an untrusted notebook from showing the plain text beside the twin.
        _emit({"text/plain": "live card", "text/html": "", _VIEW: model})
        _emit({"text/plain": words, "text/html": html}, display_id=self.display_id)

    def refresh(self, html: str, words: str) -> None:
        """Replace the stored picture, wherever it was displayed; from any thread."""
        if self.shown:
            picture: dict[str, object] = {"text/plain": words, "text/html": html}
            _emit(picture, display_id=self.display_id, update=True)

    def move(self, display_id: str | None) -> None:
        """Keep the picture in another output that is displayed already; in none with None."""
        self.shown = display_id is not None
        self.display_id = display_id or self.display_id


def _emit(bundle: dict[str, object], **options: object) -> None:
    # Without a shell `display` would print the bundle.
    if get_ipython() is not None:
        ipython.display(bundle, raw=True, **options)

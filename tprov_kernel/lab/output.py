"""Puts HTML into the running cell, with plain words beside it for where there is no HTML."""

from __future__ import annotations

import secrets

from IPython.core.getipython import get_ipython
from IPython.display import display


def show_html(html: str, words: str) -> None:
    """Show HTML in the running cell.

    Args:
        html: Safe to show: whatever comes from a run is escaped by now.
        words: The same in a few words, for terminals and for screen readers of stored notebooks.
    """
    Place().show(html, words)


def show_markdown(text: str) -> None:
    """Show Markdown in the running cell; whatever comes from a run is escaped by now."""
    if get_ipython() is None:
        print(text)
        return
    display({"text/plain": text, "text/markdown": text}, raw=True)


class Words(str):
    """A sentence that a cell shows as it is, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Place:
    """One output of one cell, that may change after it was shown."""

    def __init__(self) -> None:
        self._id = f"tprov-{secrets.token_hex(8)}"
        self._shown = False

    def show(self, html: str, words: str) -> None:
        """Show this, in place of what was there; from any thread."""
        bundle = {"text/plain": words, "text/html": html}
        if get_ipython() is None:  # a script: `display` would print the bundle
            print(words)
            return
        display(bundle, raw=True, display_id=self._id, update=self._shown)
        self._shown = True

    @property
    def is_shown(self) -> bool:
        """Whether anything was shown."""
        return self._shown

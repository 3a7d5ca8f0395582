"""Sets what a widget shows only where it differs: every new value replaces nodes in the page."""

from __future__ import annotations

import ipywidgets as w


def put(widget: w.HTML, html: str) -> None:
    """Set an `HTML` widget's value if it differs, and hide it while it is empty."""
    if widget.value != html:
        widget.value = html
    show(widget, visible=bool(html))


def show(widget: w.DOMWidget, *, visible: bool) -> None:
    """Show or hide a widget."""
    wanted = None if visible else "none"
    if widget.layout.display != wanted:
        widget.layout.display = wanted

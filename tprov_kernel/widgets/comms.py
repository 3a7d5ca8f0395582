"""Buttons that work while a cell runs: the one place that touches ipykernel's private routing.

JupyterLab sends widget messages to a subshell of their own, so that a busy cell does not hold them
up. ipykernel 7.4 pins a comm's replies to the shell that last sent on it, which is the main one,
and a click waits for the cell to end. Giving the comms of *input* widgets a routing that keeps the
front end's choice restores the subshell (measured: 11 s becomes 4 ms; facts/jupyter-kernel.md).
A browser test clicks during a `time.sleep`, so a change in ipykernel is noticed.
"""

from __future__ import annotations

from ipywidgets import Widget

_ROUTE = "_reply_subshell_for"


def unpin(*widgets: Widget) -> None:
    """Let these widgets' messages stay on the subshell that the front end chose.

    Harmless with no kernel, and with an ipykernel that does not pin.
    """
    for widget in widgets:
        comm = widget.comm
        if comm is not None and hasattr(comm, _ROUTE):
            setattr(comm, _ROUTE, _as_sent)


def _as_sent(data: object, default: str | None) -> str | None:
    return default

"""Tells `tprov play` how a notebook's runs go on: a line of JSON a change, in a file."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tprov_kernel.observe import RunView


@dataclass(frozen=True)
class Reporter:
    """Appends what changed to a file; `tprov play` reads it while the notebook runs."""

    path: Path

    def __call__(self, view: RunView) -> None:
        """Append the run as it is now, if it looks different from the last time."""
        line = json.dumps(summary(view), separators=(",", ":"), sort_keys=True)
        with _lock:
            if _last.get(view.run_id) != line:
                _last[view.run_id] = line
                with self.path.open("a") as file:
                    file.write(line + "\n")


_lock = threading.Lock()
_last: dict[str, str] = {}


def summary(view: RunView) -> dict[str, Any]:
    """A run in a few fields: what `tprov play --json` and `tprov status --json` print."""
    ended = view.ended or None
    seconds = (ended - view.started).total_seconds() if ended and view.started else None
    return {
        "workflow_id": view.workflow_id,
        "run_id": view.run_id,
        "stack": view.stack,
        "action": view.action,
        "status": view.status.value,
        "closed": view.closed,
        "progress": view.progress,
        "seconds": seconds,
        "failure": view.failure,
        "remedy": view.remedy,
        "unreadable": view.unreadable,
        "steps": [
            {
                "name": step.name,
                "state": step.state,
                "attempts": step.attempts,
                "seconds": (
                    (step.ended - step.started).total_seconds()
                    if step.ended and step.started
                    else None
                ),
                "doing": step.doing,
                "note": step.note,
                "failure": step.failure,
            }
            for step in view.steps
        ],
        "outputs": view.outputs,
    }

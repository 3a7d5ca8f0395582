"""A scenario, and what is known of a play of it: did its story come true?"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tprov_kernel.errors import TprovError
from tprov_kernel.widgets.words import clean


class NotPlayed(TprovError):
    """There is no such scenario, or its story did not come true."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """What a notebook's metadata promises: this stack's run ends with this status."""

    stack: str
    status: str


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A notebook that can be played.

    Attributes:
        story: None for a notebook that only has to run without an error.
    """

    name: str
    notebook: Path
    story: Story | None


def find_scenarios(root: Path) -> dict[str, Path]:
    """Every scenario's notebook by its name, which is the file's without the number."""
    found = {}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        if match := re.fullmatch(r"\d+_(.+)", path.stem):
            found[match[1]] = path
    return found


def find_scenario(root: Path, name: str) -> Scenario:
    """Find a scenario by its name; the number in front may be given too.

    Raises:
        NotPlayed: There is none of that name, or its file is no notebook.
    """
    known = find_scenarios(root)
    path = known.get(re.sub(r"^\d+_|\.ipynb$", "", name))
    if path is None:
        if not known:
            raise NotPlayed(
                f"There is no notebook in {root / 'notebooks'}.",
                remedy="Go into the project's folder, or set TPROV_ROOT to it.",
            )
        raise NotPlayed(f"There is no scenario {name!r}.", remedy=f"There are: {', '.join(known)}.")
    try:
        told = json.loads(path.read_text())["metadata"].get("tprov", {}).get("story")
        story = Story(stack=told["stack"], status=told["status"]) if told else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotPlayed(
            f"{path.name} is no notebook, or its metadata is not as it should be: {error!r}.",
            remedy='It has: {"tprov": {"story": {"stack": "...", "status": "applied"}}}.',
        ) from error
    return Scenario(name=re.sub(r"^\d+_", "", path.stem), notebook=path, story=story)


@dataclass
class Progress:
    """What is known of a play while it goes on: its cells, and the runs it reported."""

    scenario: Scenario
    news: Callable[[str], None] = lambda _: None
    began: float = field(default_factory=time.monotonic)
    cell: dict[str, Any] = field(default_factory=dict)
    failure: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: dict[tuple[str, str], datetime] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def hear(self, line: str) -> None:
        """Take an event of the process that runs the notebook."""
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if event.get("event") == "cell":
                self.cell = event
                self.news(f"cell {event['number']} of {event['of']}: {event['code']}")
            elif event.get("event") == "failed":
                self.failure = event

    def read(self, line: str) -> None:
        """Take a line of the kernel's report: a run as it is now."""
        with contextlib.suppress(ValueError, KeyError):
            told = json.loads(line)
            before = self.runs.get(told["run_id"], {})
            self.runs[told["run_id"]] = told
            if before.get("status") != told["status"]:
                self.news(f"{told['workflow_id']} {told['status'].replace('_', ' ')}")
            for step in told["steps"]:
                if step["state"] != "waiting":
                    self.seen.setdefault((told["run_id"], step["name"]), datetime.now(UTC))

    @property
    def told(self) -> dict[str, Any]:
        """The story's run, as it was told last; empty without one.

        A stack that still holds something is left alone by a lab: the run is then on <stack>-2.
        """
        story = self.scenario.story
        if story is None:
            return next(reversed(self.runs.values()), {})
        name = re.compile(rf"{re.escape(story.stack)}(-\d+)?")
        ours = [r for r in self.runs.values() if name.fullmatch(r["stack"])]
        good = [r for r in ours if r["closed"] and r["status"] == story.status]
        return (good or ours or [{}])[-1]

    def verdict(self, code: int) -> str:
        """Why the story did not come true; empty when it did."""
        if self.failure:
            place = f"Cell {self.failure['number']} of {self.failure['of']}"
            text = clean(str(self.failure["text"])).strip()
            return f"{place} failed: {text or self.failure['name']}"
        if code:
            return f"The process that runs the notebook ended with exit code {code}."
        story, told = self.scenario.story, self.told
        if story is None:
            return ""
        if not told:
            return f"The notebook started no run on stack {story.stack!r}."
        if not told["closed"] or told["status"] != story.status:
            is_over = "ended as" if told["closed"] else "is"
            return f"{told['workflow_id']} {is_over} {told['status']}, not {story.status}."
        return ""

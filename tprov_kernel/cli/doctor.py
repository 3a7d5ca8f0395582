"""`tprov doctor`: what is there, where it comes from, what is wrong.

Works when everything is broken: each look is taken for itself and never raises, because what goes
wrong is what its reader wants to know.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tprov_kernel.cli import looks, say
from tprov_kernel.cli.looks import PATIENCE, Line
from tprov_kernel.cli.place import Place
from tprov_kernel.errors import TprovError
from tprov_kernel.settings import Settings


@dataclass
class Report:
    """Everything that was found, by section."""

    target: str
    sections: dict[str, list[Line]] = field(default_factory=dict)

    @property
    def problems(self) -> list[Line]:
        """What has to be put right."""
        return [line for lines in self.sections.values() for line in lines if line.state == "bad"]

    @property
    def ok(self) -> bool:
        """Whether nothing has."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        told = {name: [asdict(line) for line in lines] for name, lines in self.sections.items()}
        return {"ok": self.ok, "target": self.target, **told}


async def doctor(place: Place, *, as_json: bool) -> int:
    """Look at everything, show it; 1 when something has to be put right."""
    report = await examine(place, os.environ)
    if as_json:
        say.answer(json.dumps(report.as_json()))
    else:
        say.out().print(picture(report))
    return 0 if report.ok else 1


async def examine(place: Place, environ: Mapping[str, str]) -> Report:
    """Take every look."""
    report = Report(target=place.target)
    settings: list[Settings] = []
    sections: dict[str, Callable[[], Awaitable[list[Line]]]] = {
        "tools": looks.tools,
        "workspace": lambda: looks.workspace(place),
        "settings": lambda: looks.settings(place, environ, settings),
        "keys": lambda: looks.keys(place, environ, settings),
        "services": lambda: looks.services(place, settings),
        "ports": lambda: looks.ports(settings),
    }
    if place.target == "remote":
        del sections["ports"]
    for name, look in sections.items():
        try:
            async with asyncio.timeout(2 * PATIENCE):
                report.sections[name] = await look()
        except TprovError as error:
            report.sections[name] = [looks.bad(name, error.message, error.remedy)]
        except Exception as error:
            report.sections[name] = [looks.bad(name, f"{name} cannot be looked at: {error!r}.", "")]
    return report


# --- the picture -----------------------------------------------------------------------------

ICON = {"ok": ("✓", "green"), "note": ("–", "yellow"), "bad": ("✕", "red")}


def picture(report: Report) -> RenderableType:
    """A table a section; problems and remedies again below them all."""
    parts: list[RenderableType] = []
    for name, lines in report.sections.items():
        parts += [Text(name.capitalize(), style="bold"), _table(lines), ""]
    told = [line for lines in report.sections.values() for line in lines if line.problem]
    told = list({line.problem: line for line in told}.values())  # each only once
    for line in sorted(told, key=lambda line: line.state == "bad"):
        icon, style = ICON[line.state]
        parts.append(Text(f"{icon} {line.problem}", style=f"bold {style}"))
        if line.remedy:
            parts.append(Text(f"  {line.remedy}"))
    if report.ok:
        parts.append(Text("✓ All is well.", style="green"))
    return Group(*parts)


def _table(lines: list[Line]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=1)
    grid.add_column(no_wrap=True)
    if any(line.version for line in lines):
        grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_column(style="dim", overflow="fold", max_width=30)
    for line in lines:
        icon, style = ICON[line.state]
        cells = [line.version] if len(grid.columns) > 4 else []
        cells = [line.name, *cells, line.words or line.problem, line.origin]
        grid.add_row(Text(icon, style=style), *map(Text, cells))
    return grid

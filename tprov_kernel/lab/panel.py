"""Fills the set-up cell's panel: what runs, with which tools, what was ignored, what is left."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from IPython.display import HTML, display

from tprov_kernel.widgets import objects as objects_widget
from tprov_kernel.widgets.panel import OpenRun, PanelModel, PanelRow, panel_html

if TYPE_CHECKING:
    from tprov_kernel.cloud import CloudObject
    from tprov_kernel.lab import Lab


def show_panel(lab: Lab, *, title: str) -> None:
    """Put the panel into the running cell."""
    display(HTML(panel_html(panel_model(lab, title=title))))


def panel_model(lab: Lab, *, title: str) -> PanelModel:
    """Look at a lab, and say what people want to know of it."""
    settings, tools = lab.settings, lab.toolchain
    cloud = "stand-in" if settings.cloud.is_stand_in else "Temporal Cloud"
    services = (
        PanelRow(name="Temporal server", detail=settings.address, url=settings.ui_url),
        PanelRow(name="Cloud API", detail=f"{settings.cloud.endpoint} ({cloud})"),
        PanelRow(name="Codec server", detail=settings.codec_url or "none"),
        PanelRow(name="Worker", detail=f"in this kernel, polls {settings.task_queue}"),
    )
    rows = (tools.terraform, tools.opa, tools.provider, tools.temporal)
    kept = "encrypted" if settings.encrypt_payloads else "not encrypted (ENCRYPT_PAYLOADS=false)"
    leftovers = [
        f"Stack {stack} holds {', '.join(addresses)} from an earlier run;"
        " lab.tidy_up() destroys it."
        for stack, addresses in lab.leftovers().items()
    ]
    return PanelModel(
        title=title,
        target="local" if settings.target == "local" else f"remote: {settings.address}",
        services=services,
        tools=tuple(PanelRow(name=t.name, version=t.version, detail=t.origin) for t in rows),
        links=(("Temporal Web UI", settings.ui_url),) if settings.ui_url else (),
        ignored=settings.ignored,
        leftovers=(*leftovers, f"Payloads are {kept}; data is in {_short(lab)}."),
        runs=tuple(
            OpenRun(stack=run.stack, status=run.status.words)
            for run in lab.runs
            if not run.status.is_final
        ),
        seconds=lab.seconds,
    )


def _short(lab: Lab) -> str:
    try:
        return os.fspath(lab.settings.home.relative_to(lab.settings.root))
    except ValueError:
        return os.fspath(lab.settings.home)


def show_check(lab: Lab, rows: Sequence[PanelRow]) -> None:
    """Put what everybody answered into the running cell."""
    title = "Everybody answers" if all(r.state == "ok" for r in rows) else "Somebody is missing"
    model = PanelModel(title=title, target=lab.settings.target, services=tuple(rows))
    display(HTML(panel_html(model)))


def show_objects(objects: Sequence[CloudObject]) -> None:
    """Put what the Cloud holds into the running cell, as a table."""
    rows = [objects_widget.CloudObject(o.type, o.name, o.id, o.state, o.created) for o in objects]
    display(HTML(objects_widget.objects_html(rows)))

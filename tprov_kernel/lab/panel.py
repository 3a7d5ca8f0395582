"""Fills the set-up cell's panel: what runs, with which tools, what was ignored, what is left."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tprov_kernel.lab.checks import START_WORKER
from tprov_kernel.lab.output import show_html
from tprov_kernel.widgets import objects as objects_widget
from tprov_kernel.widgets.panel import OpenRun, PanelModel, PanelRow, panel_html

if TYPE_CHECKING:
    from tprov_kernel.cloud import CloudObject
    from tprov_kernel.lab import Lab

BACK = "Nothing was lost."


def panel_model(
    lab: Lab, *, title: str, held: Mapping[str, Sequence[str]], troubles: Mapping[str, str]
) -> PanelModel:
    """Look at a lab, and say what people want to know of it.

    Args:
        lab: The lab.
        title: The panel's title.
        held: What stacks of this notebook hold: name to addresses.
        troubles: What ended by itself: ``temporal``, ``cloud``, ``codec`` or ``worker`` to a
            sentence; an empty one when it is back.
    """
    settings, tools = lab.settings, lab.toolchain
    cloud = f"{settings.cloud.endpoint}, {settings.cloud.kind}"
    codec = settings.codec_url or "none"
    kept = "encrypted" if settings.encrypt_payloads else "not encrypted (ENCRYPT_PAYLOADS=false)"
    worker = f"in this kernel, polls {settings.task_queue}"
    rows = {
        "temporal": PanelRow(name="Temporal server", detail=settings.address),
        "cloud": PanelRow(name="Cloud API", detail=cloud),
        "codec": PanelRow(name="Codec server", detail=f"{codec}; payloads are {kept}"),
        "worker": PanelRow(name="Worker", detail=worker),
    }
    if not lab.worker_runs:
        rows["worker"] = PanelRow(
            name="Worker", state="warn", detail="stopped; runs wait for it", remedy=START_WORKER
        )
    found = (tools.terraform, tools.opa, tools.provider, tools.temporal)
    return PanelModel(
        title=title,
        target="local" if settings.target == "local" else f"remote: {settings.address}",
        services=tuple(_with_trouble(row, troubles.get(name)) for name, row in rows.items()),
        tools=tuple(PanelRow(name=t.name, version=t.version, detail=t.origin) for t in found),
        links=(("Temporal Web UI", settings.ui_url),) if settings.ui_url else (),
        ignored=settings.ignored,
        notes=(f"Data is in {_short(lab)}.",),
        leftovers=tuple(
            f"Stack {stack} holds {', '.join(addresses)} from an earlier run;"
            " `lab.tidy_up()` destroys it."
            for stack, addresses in held.items()
        ),
        runs=tuple(
            OpenRun(stack=run.stack, status=run.status.words)
            for run in lab.runs
            if not run.status.is_final
        ),
        seconds=lab.seconds,
    )


def _with_trouble(row: PanelRow, trouble: str | None) -> PanelRow:
    if trouble is None:
        return row
    words = trouble or f"It ended by itself and was started again. {BACK}"
    return replace(row, state="warn" if trouble else "ok", remedy=words)


def _short(lab: Lab) -> str:
    try:
        return os.fspath(lab.settings.home.relative_to(lab.settings.root))
    except ValueError:
        return os.fspath(lab.settings.home)


def show_check(lab: Lab, rows: Sequence[PanelRow]) -> None:
    """Put what everybody answered into the running cell."""
    title = "Everybody answers" if all(r.state == "ok" for r in rows) else "Somebody is missing"
    model = PanelModel(title=title, target=lab.settings.target, services=tuple(rows))
    show_html(panel_html(model), title)


def show_objects(objects: Sequence[CloudObject]) -> None:
    """Put what the Cloud holds into the running cell, as a table."""
    rows = [objects_widget.CloudObject(o.type, o.name, o.id, o.state, o.created) for o in objects]
    show_html(objects_widget.objects_html(rows), f"{len(rows)} objects")

"""Redacts what Terraform prints while it works (`-json` events), and its outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tprov_kernel.redaction.scrub import Scrubber
from tprov_kernel.redaction.shapes import keep

HIDDEN_OUTPUT = "(sensitive)"

_EVENTS = frozenset(
    {
        *("version", "log", "diagnostic", "init_output", "resource_drift"),
        *("planned_change", "change_summary", "outputs", "refresh_start", "refresh_complete"),
        *(f"apply_{end}" for end in ("start", "progress", "complete", "errored")),
        *(f"provision_{end}" for end in ("start", "progress", "complete", "errored")),
        *(f"ephemeral_op_{end}" for end in ("start", "progress", "complete", "errored")),
    }
)
_TOP = ("type", "@level", "@message", "@timestamp", "terraform", "ui")
_HOOK = ("resource", "action", "elapsed_seconds", "provisioner")
_CHANGE = ("resource", "previous_resource", "action", "reason")
_COUNTS = ("add", "change", "import", "remove", "forget", "operation")
_DIAGNOSTIC = ("severity", "summary", "detail", "address")
_OBJECT = (
    *("addr", "module", "resource", "implied_provider"),
    *("resource_type", "resource_name", "resource_key"),
)
_ID = re.compile(r"\s*\[id=.*\]", re.DOTALL)


def event_view(event: Mapping[str, Any], scrubber: Scrubber) -> dict[str, Any] | None:
    """Give what people may see of one line of `terraform ... -json`, in Terraform's own shape.

    Left out are the source line that an error points at and the values beside it, the values of
    outputs, and ids: each has been seen to show a secret that no mark covers.

    Returns:
        None for a kind of event that this version does not know.
    """
    kind = event.get("type")
    if not isinstance(kind, str) or kind not in _EVENTS:
        return None
    view: dict[str, Any] = keep(event, _TOP)
    view["@message"] = _ID.sub("", str(view.get("@message", "")))
    if isinstance(hook := event.get("hook"), Mapping):
        view["hook"] = _with_objects(hook, _HOOK)
    if isinstance(change := event.get("change"), Mapping):
        view["change"] = _with_objects(change, _CHANGE)
    if isinstance(counts := event.get("changes"), Mapping):
        view["changes"] = keep(counts, _COUNTS)
    if isinstance(outputs := event.get("outputs"), Mapping):
        view["outputs"] = {
            name: keep(output, ("sensitive", "action"))
            for name, output in outputs.items()
            if isinstance(output, Mapping)
        }
    if isinstance(diagnostic := event.get("diagnostic"), Mapping):
        view["diagnostic"] = _diagnostic(diagnostic)
    return {name: scrubber.value(item) for name, item in view.items()}


def _diagnostic(diagnostic: Mapping[str, Any]) -> dict[str, Any]:
    view = keep(diagnostic, _DIAGNOSTIC)
    if isinstance(where := diagnostic.get("range"), Mapping):
        view["range"] = keep(where, ("filename", "start", "end"))
    return view


def _with_objects(value: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    view = keep(value, names)
    for name in ("resource", "previous_resource"):
        if isinstance(of := view.get(name), Mapping):
            view[name] = keep(of, _OBJECT)
    return view


def redact_outputs(output_json: Mapping[str, Any], scrubber: Scrubber) -> dict[str, str]:
    """Give each output as JSON text; what is not said to be public reads '(sensitive)'.

    Args:
        output_json: What `terraform output -json` printed.
        scrubber: Knows the secrets of the plan that made them.
    """
    shown: dict[str, str] = {}
    for name, output in output_json.items():
        public = isinstance(output, Mapping) and output.get("sensitive") is False
        shown[scrubber.text(name)] = (
            json.dumps(scrubber.value(output.get("value")), ensure_ascii=False)
            if public
            else HIDDEN_OUTPUT
        )
    return shown

"""What a notebook shows of a run besides its card: events, payloads, plan, policy, Web UI."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle

from tprov_kernel.errors import SettingsError
from tprov_kernel.runs import payloads_in
from tprov_kernel.widgets.style import adaptive as ink
from tprov_kernel.widgets.words import esc, link_target

Row = tuple[str, str, str]
"""Title, the payload as it is stored, the payload as it is read."""

SHOWN = 120
"""Characters of a long text in a payload that are shown."""

LINES = 40
"""Lines of a payload that are shown."""

ZOOM = 0.75
"""How large the Web UI is drawn in its frame: it is made for a whole window."""

_SPEAKING = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
}
"""Events, besides completed activities, whose payloads tell something."""


@dataclass(frozen=True, kw_only=True)
class WebUI:
    """Where a run is in Temporal's Web UI.

    Attributes:
        url: Its address; empty where there is no Web UI.
        framed: Its path on this very Jupyter server, through jupyter-server-proxy; empty where
            that does not serve it. Only there it may be framed, and it works from afar.
    """

    url: str = ""
    framed: str = ""

    @property
    def link(self) -> str:
        """What a person follows."""
        return self.framed or self.url


def web_ui_html(web: WebUI, *, height: int) -> str:
    """A link, and below it the page itself where it may be framed.

    The page takes the focus when it has loaded, in the middle of what a person types: it is inert
    until the mouse is over it.
    """
    link = f'<a{ink("link")} href="{link_target(web.url)}" target="_blank">Temporal Web UI</a>'
    if not web.framed:
        return f"<div{ink('base')}>{link}</div>"
    style = (
        f"width:{100 / ZOOM:.2f}%;height:{height / ZOOM:.0f}px;border:0;display:block;"
        f"transform:scale({ZOOM});transform-origin:0 0"
    )
    frame = (
        f'<iframe src="{link_target(web.framed)}" title="Temporal Web UI" inert style="{style}">'
    )
    wake = "this.querySelector('iframe').inert=false"
    return (
        f"<div{ink('base frame')}><div{ink('pad')}>{link}</div>"
        f'<div onpointerenter="{wake}" style="height:{height}px;overflow:hidden">{frame}</iframe>'
        "</div></div>"
    )


async def fetch_events(handle: WorkflowHandle[object, object]) -> list[HistoryEvent]:
    """The run's history so far, payloads as they are stored."""
    return [event async for event in handle.fetch_history_events()]


def words_of(event: HistoryEvent) -> tuple[str, str]:
    """An event's type as people say it ('ActivityTaskScheduled') and what it is about."""
    name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
    kind = "".join(part.capitalize() for part in name.split("_"))
    attributes = getattr(event, event.WhichOneof("attributes") or "", None)
    about = ""
    if event.HasField("activity_task_scheduled_event_attributes"):
        about = event.activity_task_scheduled_event_attributes.activity_type.name
    elif event.HasField("marker_recorded_event_attributes"):
        data = event.marker_recorded_event_attributes.details["data"].payloads
        about = f"local activity {json.loads(data[0].data)['activity_type']}" if data else ""
    elif event.HasField("upsert_workflow_search_attributes_event_attributes"):
        fields = attributes.search_attributes.indexed_fields if attributes else {}
        about = ", ".join(f"{k}={json.loads(v.data)}" for k, v in sorted(fields.items()))
    elif event.HasField("timer_started_event_attributes"):
        seconds = event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
        about = f"{seconds.total_seconds():g} s"
    elif attributes is not None and hasattr(attributes, "failure"):
        about = _failed(attributes.failure)
    elif attributes is not None and hasattr(attributes, "identity"):
        about = attributes.identity
        if getattr(attributes, "attempt", 1) > 1 and hasattr(attributes, "last_failure"):
            about = f"attempt {attributes.attempt}, {about}"
    return kind, about


def _failed(failure: Failure) -> str:
    """What sort of failure an event is about; its words are encrypted."""
    told = failure.application_failure_info
    retried = ", not retryable" if told.non_retryable else ""
    return f"{told.type}{retried}" if told.type else failure.message


def _identity(event: HistoryEvent) -> str:
    name = event.WhichOneof("attributes")
    return str(getattr(getattr(event, name), "identity", "")) if name else ""


def events_html(events: Sequence[HistoryEvent], *, only: str = "") -> str:
    """A table of events, or of those whose words contain ``only``.

    Raises:
        SettingsError: That is no text.
    """
    if not isinstance(only, str):
        raise SettingsError(
            f"only is {only!r}, and has to be a text that an event's words contain.",
            remedy='Give only="ActivityTask", for instance.',
        )
    start = events[0].event_time.ToDatetime() if events else None
    rows = []
    for event in events:
        kind, about = words_of(event)
        # Who did it is no part of what it says: a worker is called after its notebook.
        says = f"{kind} {about}".replace(_identity(event), "")
        if start is None or only.lower() not in says.lower():
            continue
        at = (event.event_time.ToDatetime() - start).total_seconds()
        cells = f"<td{ink('td muted nowrap')}>{event.event_id}</td>"
        cells += f"<td{ink('td muted nowrap')}>{at:.2f} s</td>"
        cells += f"<td{ink('td')}>{esc(kind)}</td><td{ink('td')}>{esc(about)}</td>"
        rows.append(f"<tr>{cells}</tr>")
    found = f"{len(rows)} of {len(events)} events" + (f" say “{only}”" if only else "")
    heads = "".join(f"<th{ink('th')}>{h}</th>" for h in ("Id", "After", "Event", "About"))
    body = f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>"
    table = f"<table{ink('table')}>{body}</table>"
    lead = f"<div{ink('muted small gap')}>{esc(found)}</div>"
    return f"<div{ink('base frame')}><div{ink('pad')}>{lead}{table if rows else ''}</div></div>"


async def payload_rows(
    client: Client, events: Sequence[HistoryEvent], *, most: int = 6
) -> list[Row]:
    """A few payloads of a history, as they are stored beside as they are read.

    One an event, the first ones and the last: a run's request, and what came of it.

    Raises:
        SettingsError: ``most`` is no number from 1.
    """
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise SettingsError(
            f"most is {most!r}, and has to be a number of payloads, from 1.",
            remedy="Give most=3, for instance.",
        )
    names: dict[int, str] = {}
    found: list[tuple[str, Payload]] = []
    for event in events:
        kind, about = words_of(event)
        if event.HasField("activity_task_scheduled_event_attributes"):
            names[event.event_id] = about
            continue
        if event.HasField("activity_task_completed_event_attributes"):
            done = event.activity_task_completed_event_attributes
            about = names.get(done.scheduled_event_id, "")
        elif event.event_type not in _SPEAKING:
            continue
        else:
            about = ""
        # Search attributes carry a type: they are never encrypted, and shown elsewhere.
        said = [p for p in payloads_in(event) if not p.metadata.get("type")]
        if said:
            found.append(
                (f"Event {event.event_id}, {kind}" + (f", {about}" if about else ""), said[0])
            )
    chosen = found if len(found) <= most else [*found[: most - 1], found[-1]]
    return [(title, _stored(payload), await _read(client, payload)) for title, payload in chosen]


def _stored(payload: Payload) -> str:
    metadata = {name: _text(value) for name, value in sorted(payload.metadata.items())}
    data = base64.b64encode(payload.data).decode()
    return json.dumps({"metadata": metadata, "data": _short(data)}, indent=2, ensure_ascii=False)


def _text(value: bytes) -> str:
    """A header of a payload: readable where it is text, else as the API's JSON has it."""
    try:
        words = value.decode()
    except ValueError:
        words = ""
    return words if words.isprintable() and words else base64.b64encode(value).decode()


async def _read(client: Client, payload: Payload) -> str:
    codec = client.data_converter.payload_codec
    plain = (await codec.decode([payload]))[0] if codec else payload
    try:
        value = json.loads(plain.data)
    except ValueError:
        return _short(plain.data.decode(errors="replace"))
    lines = json.dumps(_shorter(value), indent=2, ensure_ascii=False).splitlines()
    left = len(lines) - LINES
    return "\n".join(lines if left <= 0 else [*lines[:LINES], f"… {left} more lines"])


def _shorter(value: Any) -> Any:
    """The same, with long texts cut: a sealed snapshot would fill the page."""
    if isinstance(value, dict):
        return {name: _shorter(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shorter(item) for item in value]
    return _short(value) if isinstance(value, str) else value


def _short(text: str) -> str:
    return text if len(text) <= SHOWN + 40 else f"{text[:SHOWN]} … ({len(text):,} characters)"

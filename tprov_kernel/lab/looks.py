"""What a notebook shows of a run besides its card: events, payloads, plan, policy, Web UI."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle

from tprov_kernel.runs import payloads_in

Row = tuple[str, str, str]
"""Title, the payload as it is stored, the payload as it is read."""

SHOWN = 2000
"""Characters of a payload that are shown."""


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
    elif attributes is not None and hasattr(attributes, "identity"):
        about = attributes.identity
    return kind, about


def events_html(events: Sequence[HistoryEvent], *, only: str = "") -> str:
    """A table of events, or of those whose words contain ``only``."""
    rows = []
    start = events[0].event_time.ToDatetime() if events else None
    for event in events:
        kind, about = words_of(event)
        if start is None or only.lower() not in f"{kind} {about}".lower():
            continue
        at = (event.event_time.ToDatetime() - start).total_seconds()
        cells = (str(event.event_id), f"{at:.2f} s", kind, about)
        tds = "".join(
            f'<td style="text-align:left;padding:1px 12px">{escape(c)}</td>' for c in cells
        )
        rows.append(f"<tr>{tds}</tr>")
    heads = "".join(
        f'<th style="text-align:left;padding:1px 12px">{h}</th>'
        for h in ("Id", "After", "Event", "About")
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


async def payload_rows(
    client: Client, events: Sequence[HistoryEvent], *, most: int = 6
) -> list[Row]:
    """A few payloads of a history, as they are stored beside as they are read."""
    rows: list[Row] = []
    for event in events:
        kind, about = words_of(event)
        for payload in payloads_in(event):
            if payload.metadata.get("type") or len(rows) == most:
                continue  # search attributes are never encrypted, and shown elsewhere
            title = f"event {event.event_id}, {kind}" + (f", {about}" if about else "")
            rows.append((title, _stored(payload), await _read(client, payload)))
    return rows


def _stored(payload: Payload) -> str:
    metadata = {k: v.decode(errors="replace") for k, v in sorted(payload.metadata.items())}
    data = base64.b64encode(payload.data).decode()
    return _cut(json.dumps({"metadata": metadata, "data": data}, indent=2))


async def _read(client: Client, payload: Payload) -> str:
    codec = client.data_converter.payload_codec
    plain = (await codec.decode([payload]))[0] if codec else payload
    try:
        return _cut(json.dumps(json.loads(plain.data), indent=2, ensure_ascii=False))
    except ValueError:
        return _cut(plain.data.decode(errors="replace"))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ... ({len(text):,} characters)"

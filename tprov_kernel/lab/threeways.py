"""One event of a run three ways: as it is stored, as the command line shows it, decoded.

Nothing is made up: the first is what the server hands out, the second is what the `temporal`
command prints, the third is what the codec server answers to the same request that the Web UI
sends it.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from tprov_kernel.errors import StackError
from tprov_kernel.lab.looks import words_of
from tprov_kernel.lab.runtime import Runtime
from tprov_kernel.process import Guard, run
from tprov_kernel.runs import payloads_in
from tprov_kernel.settings import Settings, without_keys
from tprov_kernel.toolchain import Tool
from tprov_kernel.widgets.threeways import ThreeWays, Way, Ways

LINES = 60
"""Lines of each way that are shown; a live view scrolls."""

WIDTH = 44
"""Characters of JSON that stand on one line."""

CUT = 36
"""Characters of a long text that are shown."""

COUNTED = 200
"""Characters from which on people are told how long a text is."""

BYTES = 208
"""Bytes of a payload that are shown as they are stored."""

LIMIT = 10.0
"""Seconds that the command and the codec server may take."""


class View:
    """The events of a run that carry payloads, and each of them three ways.

    Args:
        client: Connected to the server.
        settings: Where the codec server is.
        temporal: The `temporal` command.
        guard: Owns it.
        workflow_id: The run's workflow id.
        run_id: The run.
    """

    def __init__(
        self,
        *,
        client: Client,
        settings: Settings,
        temporal: Tool,
        guard: Guard,
        workflow_id: str,
        run_id: str,
    ) -> None:
        self._client = client
        self._settings = settings
        self._temporal = temporal
        self._guard = guard
        self._workflow_id, self._run_id = workflow_id, run_id
        self._events: dict[int, HistoryEvent] = {}
        self._printed: dict[int, Any] = {}
        self._names: dict[int, str] = {}

    async def load(self) -> None:
        """Read the history as it is now, and have the command print it."""
        handle = self._client.get_workflow_handle(self._workflow_id, run_id=self._run_id)
        scheduled: dict[int, str] = {}
        async for event in handle.fetch_history_events():
            kind, about = words_of(event)
            if event.HasField("activity_task_scheduled_event_attributes"):
                scheduled[event.event_id] = about
            elif event.HasField("activity_task_completed_event_attributes"):
                done = event.activity_task_completed_event_attributes
                about = scheduled.get(done.scheduled_event_id, "")
            if any(True for _ in payloads_in(event)):
                self._events[event.event_id] = event
                self._names[event.event_id] = f"{event.event_id}  {kind}" + (
                    f", {about}" if about else ""
                )
        self._printed = await self._print()

    @property
    def names(self) -> Mapping[int, str]:
        """Event id to what people call the event, oldest first."""
        return self._names

    def find(self, wanted: int | str) -> int:
        """The id of an event: itself, or of the last one whose name contains a text.

        Raises:
            StackError: There is none with a payload.
        """
        if isinstance(wanted, int):
            found = [e for e in self._names if wanted in (e, 0)][:1]
        else:
            found = [e for e, name in self._names.items() if wanted in name]
        if not found:
            raise StackError(
                f"No event of {self._workflow_id} that carries a payload is called {wanted!r}.",
                remedy="Leave it out, and choose one from the list.",
            )
        return found[-1]

    async def ways(self, event_id: int) -> Ways:
        """One event three ways."""
        event = self._events[event_id]
        payloads = list(payloads_in(event))
        return Ways(
            event_id=event_id,
            title=self._names[event_id],
            stored=Way(
                "As the server stores it",
                f"{len(payloads)} payload{'s' * (len(payloads) != 1)}",
                _fit("\n\n".join(map(_stored, payloads))),
            ),
            shown=Way(
                "As the command line shows it",
                f"temporal workflow show --workflow-id {self._workflow_id} --output json",
                _fit(_pretty(self._printed.get(event_id, "The command did not print it."))),
            ),
            decoded=await self._decoded(payloads),
        )

    async def _print(self) -> dict[int, Any]:
        """What the command prints without a codec server: event id to the event."""
        argv = (
            *(*self._temporal.argv, "workflow", "show", "--output", "json"),
            *("--workflow-id", self._workflow_id, "--run-id", self._run_id),
        )
        # As typed in a cell, but without the codec server: with it the third way would be shown.
        inherited = without_keys(os.environ)
        env = {n: v for n, v in inherited.items() if not n.startswith("TEMPORAL_CODEC")}
        done = await run(self._guard, argv, cwd=self._settings.home, env=env, timeout=LIMIT)
        try:
            return {int(e["eventId"]): e for e in json.loads(done.stdout)["events"]}
        except (ValueError, KeyError, TypeError):
            return {}

    async def _decoded(self, payloads: Sequence[Payload]) -> Way:
        url = self._settings.codec_url
        title = "Decoded by the codec server"
        if not url:
            return await self._decoded_here(payloads)
        import aiohttp

        body = {"payloads": [json_format.MessageToDict(p) for p in payloads]}
        headers = {"X-Namespace": self._settings.namespace}
        began = time.perf_counter()
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LIMIT)) as session,
                session.post(f"{url.rstrip('/')}/decode", json=body, headers=headers) as answer,
            ):
                told = await answer.json(content_type=None)
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return Way(title, f"POST {url}/decode", f"It does not answer: {error}.")
        took = f"POST {url}/decode: {status}, {1000 * (time.perf_counter() - began):.0f} ms"
        if status != 200:
            return Way(title, took, str(told.get("error", told)))
        clear = [json_format.ParseDict(item, Payload()) for item in told["payloads"]]
        return Way(title, took, _fit("\n\n".join(map(_read, clear))))

    async def _decoded_here(self, payloads: Sequence[Payload]) -> Way:
        """Remote: there is no codec server of ours, and the key is in this kernel."""
        codec = self._client.data_converter.payload_codec
        clear = await codec.decode(payloads) if codec else payloads
        text = _fit("\n\n".join(map(_read, clear)))
        return Way("Decoded in this kernel", "with the key that never left this machine", text)


def payload_view(view: View, runtime: Runtime, event: int | str) -> ThreeWays:
    """Make the widget, with one event in it; another one is shown when it is chosen.

    Args:
        view: The run's events.
        runtime: On whose thread server and codec server are asked.
        event: The event that is shown first, as for `View.find`.
    """
    runtime.call(view.load())
    first = view.find(event)

    async def show(event_id: int) -> None:
        try:
            widget.show(await view.ways(event_id))
        except Exception as error:  # a callback's error would be seen by nobody
            widget.say(f"Event {event_id} cannot be shown: {error}")

    widget = ThreeWays(view.names, choose=lambda event_id: runtime.submit(show(event_id)))
    runtime.call(show(first))
    widget.choice.value = first
    return widget


# --- as text -------------------------------------------------------------------------------------


def _stored(payload: Payload) -> str:
    """Metadata, and the first bytes as a hex dump: what is in the database."""
    lines = [f"{name}: {_text(value)}" for name, value in sorted(payload.metadata.items())]
    data = payload.data
    lines += [f"data: {len(data):,} bytes", *_dump(data[:BYTES])]
    return "\n".join([*lines, "…"] if len(data) > BYTES else lines)


def _dump(data: bytes) -> list[str]:
    rows = [data[at : at + 8] for at in range(0, len(data), 8)]
    return [f"{row.hex(' '):<23}  {_printable(row)}" for row in rows]


def _printable(row: bytes) -> str:
    return "".join(chr(b) if 32 <= b < 127 else "." for b in row)


def _text(value: bytes) -> str:
    try:
        words = value.decode()
    except ValueError:
        words = ""
    return words if words and words.isprintable() else base64.b64encode(value).decode()


def _pretty(event: Any) -> str:
    return event if isinstance(event, str) else _readable(event)


def _read(payload: Payload) -> str:
    try:
        return _readable(json.loads(payload.data))
    except ValueError:
        return payload.data.decode(errors="replace") or "(empty)"


def _readable(value: Any, indent: str = "") -> str:
    """JSON in which what fits on a line stands on one, and a long text is cut."""
    if isinstance(value, str) and len(value) > CUT + 20:
        told = f" ({len(value):,} characters)" if len(value) > COUNTED else ""
        value = f"{value[:CUT]}…{told}"
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(line) <= WIDTH:
        return line
    inner = indent + " "
    if isinstance(value, dict):
        parts = [f"{json.dumps(n)}: {_readable(v, inner)}" for n, v in value.items()]
        opening, closing = "{", "}"
    else:
        parts = [_readable(item, inner) for item in value]
        opening, closing = "[", "]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{closing}"


def _fit(text: str) -> str:
    lines = text.splitlines()
    left = len(lines) - LINES
    return "\n".join(lines if left <= 0 else [*lines[:LINES], f"… {left} more lines"])

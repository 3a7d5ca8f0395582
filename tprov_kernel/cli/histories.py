"""Makes a run's history fit for a repository: readable, and nobody's machine in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import TaskQueueKind
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.converter import PayloadCodec

SOMEBODY = "somebody"


async def make_portable(event: HistoryEvent, codec: PayloadCodec) -> None:
    """Decode an event's payloads in place; leave out identities and stack traces.

    What is sealed stays sealed. A replay needs none of what is left out.
    """
    await _visit(event, codec)


async def _visit(message: Message, codec: PayloadCodec) -> None:
    if isinstance(message, Payload):
        (decoded,) = await codec.decode([message])
        message.CopyFrom(decoded)
        return
    for field, value in message.ListFields():
        if field.name == "identity":
            setattr(message, field.name, SOMEBODY)
        for inner in _messages(value):
            await _visit(inner, codec)
    if isinstance(message, Failure):
        _in_words(message)
    if isinstance(message, TaskQueue) and message.kind == TaskQueueKind.TASK_QUEUE_KIND_STICKY:
        message.name = SOMEBODY  # a sticky queue is named after its worker


def _messages(value: Any) -> Iterator[Message]:
    """The messages in a field: itself, those of a list, or those of a map."""
    if isinstance(value, Message):
        yield value
    elif isinstance(value, Mapping):
        yield from (inner for inner in value.values() if isinstance(inner, Message))
    elif isinstance(value, Sequence):
        yield from (inner for inner in value if isinstance(inner, Message))


def _in_words(failure: Failure) -> None:
    """Put an encoded failure's message back where it belongs; drop the trace of this machine."""
    if failure.HasField("encoded_attributes"):
        told = json.loads(failure.encoded_attributes.data or b"{}")
        failure.message = str(told.get("message", failure.message))
        failure.ClearField("encoded_attributes")
    failure.stack_trace = ""

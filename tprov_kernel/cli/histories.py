"""Makes an exported history fit for a repository: nobody's machine is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message
from temporalio.api.enums.v1 import TaskQueueKind
from temporalio.api.failure.v1 import Failure
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.client import WorkflowHistory

SOMEBODY = "somebody"


def without_the_machine(history: str) -> str:
    """Leave out what names a machine: identities, stack traces, the queues of single workers.

    A replay needs none of it.

    Args:
        history: As `runs.export_history` gives it, payloads decoded.

    Returns:
        The same, sorted and on many lines: people read the difference between two of them.
    """
    read = WorkflowHistory.from_json("", history)
    for event in read.events:
        _visit(event)
    return json.dumps(json.loads(read.to_json()), indent=1, sort_keys=True) + "\n"


def _visit(message: Message) -> None:
    for field, value in message.ListFields():
        if field.name == "identity":
            setattr(message, field.name, SOMEBODY)
        for inner in _messages(value):
            _visit(inner)
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

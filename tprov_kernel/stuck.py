"""A run that its worker cannot go on with, because a key is missing: said, and not waited for.

Temporal tries such a workflow task again and again, which is right: the run goes on when the key is
back. Who asks it something meanwhile would wait for an answer that does not come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from temporalio.api.failure.v1 import Failure
from temporalio.client import WorkflowHandle
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from tprov_kernel.errors import SealBroken

LOOK_EVERY = 1.0
"""Seconds between two looks at a run that does not answer."""

T = TypeVar("T")


def broken_seal(error: BaseException | None) -> str:
    """The sentence of a value that could not be opened, in an error or its causes; else empty."""
    while error is not None:
        # By its name: the workflow's sandbox has classes of its own.
        if type(error).__name__ == SealBroken.__name__:
            return str(error)
        if isinstance(error, ApplicationError) and error.type == SealBroken.__name__:
            return error.message
        error = error.__cause__
    return ""


async def why_stuck(handle: WorkflowHandle[Any, Any]) -> SealBroken | None:
    """Why a run's worker cannot go on with it; None when no key is missing there.

    Raises:
        RPCError: The server does not answer.
    """
    described = await handle.describe()
    if described.raw_description.pending_workflow_task.attempt < 2:  # its first one is under way
        return None
    failure: Failure | None = None
    async for event in handle.fetch_history_events():
        if event.HasField("workflow_task_completed_event_attributes"):
            failure = None
        elif event.HasField("workflow_task_failed_event_attributes"):
            failure = event.workflow_task_failed_event_attributes.failure
    if failure is None:
        return None
    words = await _words(described.data_converter, failure)
    if not words:
        return None
    return SealBroken(
        f"The run {handle.id} cannot go on, because its worker cannot read it. {words}",
        remedy="It goes on when it can be read again: look at it then, and decide if it waits.",
    )


async def _words(converter: DataConverter, failure: Failure) -> str:
    copy = Failure()
    copy.CopyFrom(failure)  # decoding changes it
    return broken_seal(await converter.decode_failure(copy))


async def unless_stuck(handle: WorkflowHandle[Any, Any], asking: Coroutine[Any, Any, T]) -> T:
    """Wait for a run's answer, or until it is clear that a key is missing.

    Raises:
        SealBroken: It is; the sentence says which.
    """
    asked, looked = asyncio.create_task(asking), asyncio.create_task(_until_stuck(handle))
    try:
        await asyncio.wait({asked, looked}, return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            return asked.result()
        raise looked.result()
    finally:
        asked.cancel()
        looked.cancel()
        await asyncio.gather(asked, looked, return_exceptions=True)


async def _until_stuck(handle: WorkflowHandle[Any, Any]) -> SealBroken:
    while True:
        await asyncio.sleep(LOOK_EVERY)
        with suppress(RPCError):  # the question itself tells that the server is away
            if (why := await why_stuck(handle)) is not None:
                return why

"""What a step tells the server while it is at work, and what it is told: to stop, or to give up.

Used inside activities. A heartbeat carries how far Terraform is; what comes back is a person's
wish to end the apply, or that the run does not wait for it any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.client import Client, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError, RPCStatusCode

from tprov_kernel import terraform
from tprov_kernel.errors import ReviewOutdated, ServiceError
from tprov_kernel.messages import ApplyProgress, Job

T = TypeVar("T")

STILL_AT_WORK = ApplyProgress(done=0, total=0, current="waiting for the Terraform before to end")

_NOT_WANTED = ReviewOutdated("The run does not wait for this apply any more.")


@contextlib.asynccontextmanager
async def beating(job: Job, first: object = None) -> AsyncIterator[Heartbeat]:
    """Heartbeat until the step is over; a real cancel request sets `interrupt`."""
    beat = Heartbeat(first)
    if activity.info().is_local:
        yield beat
        return
    task = asyncio.create_task(beat.run(every=min(job.heartbeat / 4, 1.0)))
    try:
        yield beat
    finally:
        task.cancel()


class Heartbeat:
    """Tells the server that a step is alive, and how far it is."""

    def __init__(self, first: object) -> None:
        self.details = first
        self.interrupt = asyncio.Event()
        self.kill = asyncio.Event()
        self._heard: float | None = None

    def heard(self) -> None:
        """Terraform said something, or is about to: how long it is silent is counted from now."""
        self._heard = time.monotonic()

    def silence(self) -> None:
        """Nothing is to be heard of Terraform from now on."""
        self._heard, self.details = None, None

    def note(self, details: object) -> None:
        """Send these details with the next beat."""
        self.details = details

    def say(self, details: object) -> None:
        """Send these details now, and with every later beat."""
        self.details = details
        self._beat()

    def say_words(self, words: str) -> None:
        """Send words about an apply that has not done anything yet."""
        self.say(ApplyProgress(done=0, total=0, current=words))

    async def run(self, *, every: float) -> None:
        """Beat every so many seconds, for ever."""
        listening: asyncio.Task[None] | None = None
        try:
            while True:
                self._beat()
                details = activity.cancellation_details()
                if details is not None and details.cancel_requested:
                    self.interrupt.set()
                if details is not None and listening is None:
                    listening = asyncio.create_task(self._listen(every))
                await asyncio.sleep(every)
        finally:
            if listening is not None:
                listening.cancel()

    async def _listen(self, every: float) -> None:
        """Once it was cancelled, or its heartbeats were lost, only the workflow tells it more.

        A task of its own: on a busy machine an answer takes longer than a heartbeat may.
        """
        while not self.kill.is_set():
            asked = await _times_asked()
            if asked > 0:
                self.interrupt.set()
            if asked > 1:
                self.kill.set()
            await asyncio.sleep(every)

    def _beat(self) -> None:
        if self.details is None:
            activity.heartbeat()
        else:
            activity.heartbeat(self._with_silence(self.details))

    def _with_silence(self, details: object) -> object:
        if self._heard is None or not isinstance(details, ApplyProgress):
            return details
        return replace(details, silent=int(time.monotonic() - self._heard))


class Progress:
    """Turns Terraform's events into heartbeats."""

    def __init__(self, beat: Heartbeat, *, total: int, scrub: Callable[[str], str]) -> None:
        self._beat = beat
        self._scrub = scrub
        self._total = total
        self._done = 0
        beat.heard()
        beat.note(beat.details or ApplyProgress(done=0, total=total, current=""))

    def __call__(self, event: terraform.Event) -> None:
        """Tell the server what Terraform has just said."""
        self._beat.heard()
        self._done += event.get("type") == "apply_complete"
        if words := self._scrub(terraform.progress_words(event)):
            self._beat.say(ApplyProgress(done=self._done, total=self._total, current=words))


async def to_its_end(work: asyncio.Task[T], beat: Heartbeat) -> T:
    """Wait for an apply whatever happens to the activity: only a real request interrupts it.

    A heartbeat that timed out (a server restart, a laptop asleep) cancels the activity too; then
    Terraform finishes, and its outcome is in the journal, where recovery looks first.
    """
    while True:
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if work.cancelled():
                raise
            details = activity.cancellation_details()
            if details is not None and details.worker_shutdown:
                work.cancel()  # leaves Terraform to the guard
                raise
            if details is not None and details.cancel_requested:
                beat.interrupt.set()


async def _times_asked() -> int:
    """How often a person has asked to stop the apply: the second time they have lost patience.

    A cancel request tells an activity once; what comes after is the workflow's to know. Nothing at
    all is told to an attempt whose heartbeats were lost.
    """
    client, info = _client(), activity.info()
    if client is None or not info.workflow_id:
        return 0
    handle = client.get_workflow_handle(info.workflow_id, run_id=info.workflow_run_id)
    try:
        asked = await handle.query(
            "get_interrupts", result_type=int, rpc_timeout=timedelta(seconds=10)
        )
    except (RPCError, TimeoutError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
        return 0
    return int(asked)


async def still_wanted() -> None:
    """Make sure that the run still waits for this apply, just before it is begun.

    A worker that was asleep for longer than a heartbeat may wake up here: the run has moved on, or
    is over.
    """
    client, info = _client(), activity.info()
    if client is None or not info.workflow_id:
        return
    execution = WorkflowExecution(workflow_id=info.workflow_id, run_id=info.workflow_run_id or "")
    request = DescribeWorkflowExecutionRequest(namespace=client.namespace, execution=execution)
    try:
        described = await client.workflow_service.describe_workflow_execution(
            request, timeout=timedelta(seconds=5)
        )
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise _NOT_WANTED from error
        raise ServiceError(
            f"The Temporal server does not say whether this apply is still wanted: {error.message}."
        ) from error
    if all(a.activity_id != info.activity_id for a in described.pending_activities):
        raise _NOT_WANTED


def _client() -> Client | None:
    try:
        return activity.client()
    except RuntimeError:  # run by itself, without a server
        return None

"""Follows a run while it lives: every change as a new `RunView`, from any worker's work.

A history long-poll says when something happened, so that an idle run costs nothing; while an
activity is under way its attempts and heartbeats are asked for a few times a second. Progress is
a query: it needs a worker, and is left as it was without one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
)
from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from tprov_kernel.history import Fold
from tprov_kernel.messages import Status
from tprov_kernel.observe import RunView

PENDING_EVERY = 0.25
"""Seconds between two looks at what is pending, while something is."""

IDLE_EVERY = 2.0
"""Seconds between two looks at a run that waits for a person: is the server there?"""

QUERY_TIMEOUT = timedelta(seconds=1)
LONG_POLL = timedelta(seconds=30)
_GONE = (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT)


class Watcher:
    """Follows one run, also where it continues as new.

    Args:
        client: Connected to the server; used on the loop that made it.
        workflow_id: The run's workflow id.
        run_id: The run; its views tell the run id of the execution that is open now.
    """

    def __init__(self, client: Client, *, workflow_id: str, run_id: str) -> None:
        self._client = client
        self._changed = asyncio.Event()
        self._ask = asyncio.Event()
        self._attend_to(workflow_id, run_id)

    def _attend_to(self, workflow_id: str, run_id: str) -> None:
        """Begin with the history of one execution."""
        self._execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        self._handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
        self._fold = Fold(self._client.data_converter, workflow_id=workflow_id, run_id=run_id)
        self._token = b""

    @property
    def view(self) -> RunView:
        """The run as it is known at this moment."""
        return self._fold.view

    async def views(self) -> AsyncIterator[RunView]:
        """Yield the run now, after each change, and a last time when it is closed."""
        began: datetime | None = None
        while True:
            async for view in self._views():
                began = began or view.started
                if not view.continued_as:
                    yield replace(view, started=began)
            if not self.view.continued_as:
                return
            self._attend_to(self.view.workflow_id, self.view.continued_as)

    async def _views(self) -> AsyncIterator[RunView]:
        tasks = [
            asyncio.create_task(self._follow_history()),
            asyncio.create_task(self._look_at_pending()),
            asyncio.create_task(self._query()),
        ]
        last: RunView | None = None
        try:
            while last is None or not last.closed:
                await self._changed.wait()
                self._changed.clear()
                for task in tasks:
                    if task.done() and not task.cancelled() and (error := task.exception()):
                        raise error
                now = self.view
                if now != last and now.history_length:
                    last = now
                    yield now
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_history(self) -> None:
        with self._telling():
            while not self._fold.view.closed:
                await self._in_touch(self._next_events())

    async def _next_events(self) -> None:
        first = not self._fold.view.history_length
        page = await self._client.workflow_service.get_workflow_execution_history(
            GetWorkflowExecutionHistoryRequest(
                namespace=self._client.namespace,
                execution=self._execution,
                wait_new_event=True,
                next_page_token=self._token,
            ),
            timeout=LONG_POLL,
        )
        self._token = page.next_page_token
        fresh = [e for e in page.history.events if e.event_id > self._fold.view.history_length]
        for event in fresh:
            await self._fold.feed(event)
        if fresh:
            self._ask.set()
            self._changed.set()
        if first and self._fold.view.closed:
            self._ask.set()

    async def _look_at_pending(self) -> None:
        with self._telling():
            while not self._fold.view.closed:
                await self._in_touch(self._describe())
                view = self._fold.view
                idle = view.status == Status.AWAITING_APPROVAL or view.repair is not None
                touch = self._fold.view.contact.in_touch
                await asyncio.sleep(IDLE_EVERY if idle and touch else PENDING_EVERY)

    async def _describe(self) -> None:
        request = DescribeWorkflowExecutionRequest(
            namespace=self._client.namespace, execution=self._execution
        )
        described = await self._client.workflow_service.describe_workflow_execution(
            request, timeout=timedelta(seconds=2)
        )
        await self._fold.pending(described, datetime.now(UTC))
        self._changed.set()

    async def _query(self) -> None:
        """Ask for what only the workflow knows, each time something has happened."""
        with self._telling():
            while True:
                await self._ask.wait()
                self._ask.clear()
                if self._fold.view.contact.pollers == 0 or self._fold.view.task_failure:
                    continue
                unanswered = (RPCError, asyncio.TimeoutError, WorkflowQueryFailedError)
                with contextlib.suppress(*unanswered):
                    await self._ask_the_workflow()
                    self._changed.set()

    async def _ask_the_workflow(self) -> None:
        query = self._handle.query
        progress = await query("get_progress", result_type=int, rpc_timeout=QUERY_TIMEOUT)
        self._fold.view = replace(self._fold.view, progress=max(progress, self._fold.view.progress))

    async def _in_touch(self, call: Coroutine[Any, Any, None]) -> None:
        """Make a call to the server; note whether it answers, and since when it does not."""
        try:
            await call
        except RPCError as error:
            if error.status in _GONE:
                raise
            if error.status == RPCStatusCode.DEADLINE_EXCEEDED and self._token:
                return  # a long-poll in which nothing happened
            self._touch(in_touch=False)
            await asyncio.sleep(PENDING_EVERY)
        else:
            self._touch(in_touch=True)

    def _touch(self, *, in_touch: bool) -> None:
        contact, now = self._fold.view.contact, datetime.now(UTC)
        since = contact.since if contact.in_touch == in_touch and contact.since else now
        heard = now if in_touch else contact.last_heard
        contact = replace(contact, in_touch=in_touch, since=since, last_heard=heard)
        self._fold.view = replace(self._fold.view, contact=contact)
        self._changed.set()

    @contextlib.contextmanager
    def _telling(self) -> Any:
        """Wake the reader when a task ends, so that its error is seen and not waited for."""
        try:
            yield
        finally:
            self._changed.set()

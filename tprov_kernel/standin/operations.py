"""Asynchronous operations: begun within a call's transaction, carried out in the background.

An operation is written down before its call is answered, and over in one transaction with what it
changes, so that a kill -9 leaves it either to be resumed or done. A failed one changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.cloud.operation.v1 import message_pb2 as operation_pb

from tprov_kernel.standin.faults import Faults
from tprov_kernel.standin.store import Operation, Store

State = operation_pb.AsyncOperation.State
CHECK_AFTER = 1
"""Seconds after which callers are told to look again."""

log = logging.getLogger(__name__)


class Carrier(Protocol):
    """Carries an operation out somewhere else before it is done here: the mirror."""

    async def carry_out(self, operation: Operation) -> None:
        """Do it; return when it is done or cannot be."""


class Operations:
    """Begins, resumes and ends operations.

    Attributes:
        effects: Effect name to what it does to the store when the operation is fulfilled.
        undo: What takes back the marks of an operation that failed.
        carrier: Where operations are carried out besides; None for nowhere.
    """

    def __init__(self, *, store: Store, faults: Faults) -> None:
        self._store = store
        self._faults = faults
        self._held: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.effects: dict[str, Callable[[Operation], None]] = {}
        self.undo: Callable[[Operation], None] = lambda operation: None
        self.carrier: Carrier | None = None

    @property
    def held(self) -> list[str]:
        """Ids of the operations that were told to stay pending."""
        return sorted(self._held)

    def resume(self) -> None:
        """Go on with everything that a restart interrupted."""
        for operation in self._store.open_operations():
            self._spawn(operation.id, doom="")

    def release(self) -> None:
        """Go on with the operations that were told to stay pending."""
        held, self._held = self._held, set()
        for id in sorted(held):
            self._spawn(id, doom="")

    async def stop(self) -> None:
        """Stop working; what is not done is resumed after the next start."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def begin(
        self,
        *,
        id: str,
        method: str,
        request: Message,
        effect: str,
        kind: str,
        object: str,
        after: Message | None = None,
        extra: str = "",
    ) -> operation_pb.AsyncOperation:
        """Write an operation down, within the caller's transaction, and start on it afterwards."""
        body = operation_pb.AsyncOperation(
            id=id, state=State.STATE_PENDING, state_deprecated="pending", operation_type=method
        )
        body.check_duration.FromSeconds(CHECK_AFTER)
        body.started_time.GetCurrentTime()
        body.operation_input.Pack(request)
        self._store.put_operation(
            Operation(
                id=id,
                effect=effect,
                kind=kind,
                object=object,
                after=None if after is None else after.SerializeToString(),
                extra=extra,
                done=False,
                body=body.SerializeToString(),
            )
        )
        if self._faults.take(method, "hold"):
            self._held.add(id)
        else:
            doom = self._faults.take(method, "doom")
            self._spawn(id, doom=doom.reason if doom else "")
        return body

    def _spawn(self, id: str, *, doom: str) -> None:
        # The task runs when the call's code has returned to the loop: after its transaction.
        task = asyncio.get_running_loop().create_task(self._carry(id, doom=doom))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, id: str, *, doom: str) -> None:
        operation = self._store.operation(id)
        if operation is None or operation.done:
            return  # its call was refused after all, and the transaction rolled back
        try:
            if not doom and self.carrier is not None:
                await self.carrier.carry_out(operation)
            self._end(operation, failure=doom)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("operation %s cannot be carried out", id)
            self._end(operation, failure=f"The stand-in failed: {error}")

    def _end(self, operation: Operation, *, failure: str) -> None:
        body = operation_pb.AsyncOperation.FromString(operation.body)
        body.state = State.STATE_FAILED if failure else State.STATE_FULFILLED
        body.state_deprecated = "failed" if failure else "fulfilled"
        body.failure_reason = failure
        now = Timestamp()
        now.GetCurrentTime()
        body.finished_time.CopyFrom(now)
        with self._store.transaction():
            (self.undo if failure else self.effects[operation.effect])(operation)
            self._store.put_operation(replace(operation, done=True, body=body.SerializeToString()))

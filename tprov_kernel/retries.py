"""Trying a failed step again now, in place of waiting until Temporal's back-off is over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    PauseActivityRequest,
    UnpauseActivityRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from tprov_kernel import runs

WAITING = (
    PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED,
    PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED,
)


async def retry_now(client: Client, handle: runs.RunHandle) -> str:
    """Let a step that waits for its next attempt be tried at once.

    The server does it: its activity is paused and unpaused, which ends the wait (within a second,
    measured with server 1.32) and keeps the count of attempts. `temporal activity reset` ends it
    too, and begins to count, and to wait, from one again.

    Returns:
        What came of it, in words; also that there was nothing to be done.

    Raises:
        ServiceError: The server does not answer, or cannot do that.
    """
    run = WorkflowExecution(workflow_id=handle.id, run_id=handle.run_id or "")
    try:
        tried = [
            f"{activity.activity_type.name}: attempt {activity.attempt} is made now."
            for activity in await _pending(client, run)
            if await _end_the_wait(client, run, activity)
        ]
    except RPCError as error:
        raise runs.as_service_error(error) from error
    return " ".join(tried) or "No step waits for another attempt: nothing was done."


async def _pending(client: Client, run: WorkflowExecution) -> list[PendingActivityInfo]:
    described = await client.workflow_service.describe_workflow_execution(
        DescribeWorkflowExecutionRequest(namespace=client.namespace, execution=run)
    )
    return list(described.pending_activities)


async def _end_the_wait(
    client: Client, run: WorkflowExecution, activity: PendingActivityInfo
) -> bool:
    """Whether an activity waited, and no longer does."""
    due = activity.scheduled_time.ToDatetime(UTC) > datetime.now(UTC)
    if activity.state not in WAITING or not (due or activity.paused):
        return False
    named: Any = {"namespace": client.namespace, "execution": run, "id": activity.activity_id}
    service = client.workflow_service
    if not activity.paused:
        await service.pause_activity(PauseActivityRequest(**named, identity=client.identity))
    await service.unpause_activity(UnpauseActivityRequest(**named, identity=client.identity))
    return True

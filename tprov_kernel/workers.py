"""Who polls a task queue."""

from __future__ import annotations

import socket
from datetime import timedelta

import psutil
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from tprov_kernel.runs import as_service_error


async def pollers(client: Client, task_queue: str) -> list[str]:
    """Identities of the workers that poll a task queue for workflows.

    The server remembers a poller for minutes after it died; one that says it was a process of this
    machine, and is none any more, is left out.

    Raises:
        ServiceError: The server does not answer.
    """
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    try:
        described = await client.workflow_service.describe_task_queue(
            request, timeout=timedelta(seconds=5)
        )
    except RPCError as error:
        raise as_service_error(error) from error
    return [p.identity for p in described.pollers if not _is_gone(p.identity)]


def _is_gone(identity: str) -> bool:
    """Whether 'ada@laptop worker 4711' names a process of this machine that has ended."""
    who, *_, pid = identity.split()
    here = who.endswith(f"@{socket.gethostname()}")
    return here and pid.isdigit() and not psutil.pid_exists(int(pid))

"""A tiny workflow, to show that a provisioned namespace works."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from temporalio import workflow

from tprov_kernel.errors import ServiceError

if TYPE_CHECKING:
    from temporalio.client import Client

TASK_QUEUE = "hello"


@workflow.defn
class HelloWorkflow:
    """Greets somebody, from the namespace that it runs in."""

    @workflow.run
    async def run(self, name: str) -> str:
        """Say hello."""
        return f"Hello, {name}. This is a workflow in {workflow.info().namespace}."


async def say_hello(
    client: Client, namespace: str, *, name: str = "Grace", patience: float = 15.0
) -> str:
    """Run a workflow in a namespace that was just made, with a worker of its own.

    Args:
        client: Connected to the server that holds the namespace.
        namespace: The namespace's full name, ``<name>.<account>``.
        name: Whom to greet.
        patience: Seconds to wait until the server knows the namespace: a new one takes a moment.

    Raises:
        ServiceError: The namespace is not there after `patience` seconds.
    """
    from temporalio.client import Client
    from temporalio.service import RPCError, RPCStatusCode
    from temporalio.worker import Worker

    await _until_known(client, namespace, patience)
    there = Client(client.service_client, namespace=namespace, data_converter=client.data_converter)
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            async with Worker(there, task_queue=TASK_QUEUE, workflows=[HelloWorkflow]):
                return await there.execute_workflow(
                    HelloWorkflow.run,
                    name,
                    id=f"hello-{uuid.uuid4().hex[:8]}",
                    task_queue=TASK_QUEUE,
                    execution_timeout=timedelta(seconds=20),
                )
        except (RPCError, RuntimeError) as error:
            not_yet = isinstance(error, RuntimeError) or error.status == RPCStatusCode.NOT_FOUND
            if not not_yet or asyncio.get_running_loop().time() > deadline:
                raise _nowhere(namespace, error) from error
            await asyncio.sleep(0.2)


async def _until_known(client: Client, namespace: str, patience: float) -> None:
    """Wait until the server knows a namespace: a worker that is too early ends its own task."""
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
    from temporalio.service import RPCError, RPCStatusCode

    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=namespace)
            )
            return
        except RPCError as error:
            late = asyncio.get_running_loop().time() > deadline
            if late or error.status != RPCStatusCode.NOT_FOUND:
                raise _nowhere(namespace, error) from error
        await asyncio.sleep(0.2)


def _nowhere(namespace: str, error: BaseException) -> ServiceError:
    why = str(error).strip().rstrip(".")
    return ServiceError(
        f"No workflow can run in the namespace {namespace!r}: {why}.",
        remedy="`lab.cloud()` lists the namespaces; a new one takes a moment to be ready.",
    )

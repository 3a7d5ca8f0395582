"""A tiny workflow, to show that a provisioned namespace works."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from temporalio import workflow

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
        RPCError: The namespace is not there after `patience` seconds.
    """
    from temporalio.client import Client
    from temporalio.service import RPCError, RPCStatusCode
    from temporalio.worker import Worker

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
                raise
            await asyncio.sleep(0.2)

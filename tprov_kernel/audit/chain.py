"""The histories of a run and of its continuations, as the server has them."""

from __future__ import annotations

from typing import Any

from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from tprov_kernel.audit.fold import fold
from tprov_kernel.audit.record import Audit
from tprov_kernel.errors import ServiceError


async def audit(client: Client, handle: WorkflowHandle[Any, Any]) -> Audit:
    """Tell a run from its history alone, along the continue-as-new chain.

    Args:
        client: Connected to the server; its converter decodes.
        handle: Any execution of the chain; without a run id, the last one of its workflow id.

    Raises:
        ServiceError: The server does not answer, or knows no such run.
    """
    try:
        chain = await histories(client, handle)
    except RPCError as error:
        raise ServiceError(
            f"The history of {handle.id} cannot be read: {error.message or error.status.name}.",
            remedy="`tprov status` lists the stacks; `tprov doctor` asks the server.",
        ) from error
    return await fold(chain, client.data_converter)


async def histories(client: Client, handle: WorkflowHandle[Any, Any]) -> list[WorkflowHistory]:
    """Fetch the history of each execution of a chain, the oldest that is still there first.

    Raises:
        RPCError: The server does not answer, or knows no such run.
    """
    run_id = handle.run_id or handle.first_execution_run_id
    middle = await _history(client, handle.id, run_id)
    chain = [middle]
    while former := _started(chain[0]).continued_execution_run_id:
        try:
            chain.insert(0, await _history(client, handle.id, former))
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            break  # past its retention: the audit tells that something is missing
    while later := _continued_as(chain[-1]):
        chain.append(await _history(client, handle.id, later))
    return chain


async def _history(client: Client, workflow_id: str, run_id: str | None) -> WorkflowHistory:
    return await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()


def _started(history: WorkflowHistory) -> Any:
    return history.events[0].workflow_execution_started_event_attributes


def _continued_as(history: WorkflowHistory) -> str:
    last = history.events[-1].workflow_execution_continued_as_new_event_attributes
    return last.new_execution_run_id

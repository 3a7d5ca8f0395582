"""start, status, approve, deny, cancel, destroy, export-history: runs, seen from a terminal."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import psutil
from rich.live import Live
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkflowExecutionRequest,
)
from temporalio.client import Client, WorkflowExecution
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError

from tprov_kernel import runs
from tprov_kernel.cli import render, say
from tprov_kernel.cli.follow import follow
from tprov_kernel.cli.histories import make_portable
from tprov_kernel.cli.place import Connection, Place, connected, shown
from tprov_kernel.errors import StackError
from tprov_kernel.history import Fold
from tprov_kernel.messages import WORKFLOW_TYPE, Decision, Review, Status
from tprov_kernel.observe import RunView
from tprov_kernel.stacks import check_name, held_objects

LIST_EVERY = 1.0
"""Seconds between two looks at the list of stacks."""

AT_ONCE = 8
"""Histories that are read at the same time."""

QUERY_TIMEOUT = timedelta(seconds=2)


# --- start -----------------------------------------------------------------------------------


async def start(
    place: Place,
    *,
    stack: str,
    config: str,
    variables: Mapping[str, Any],
    task_queue: str,
    expires: float,
    watch: bool,
) -> int:
    """Start a run; the workflow id is all that goes to stdout."""
    check_name(stack)
    directory = runs.resolve_directory(config, root=place.root)
    async with connected(place) as at:
        queue = task_queue or at.settings.task_queue
        _say_where(at, stack=stack)
        started = await runs.start_run(
            at.client,
            stack=stack,
            directory=directory,
            shown_as=config,
            key_ring=at.key_ring,
            task_queue=queue,
            variables=variables,
            approval_expires=expires,
        )
        handle = runs.bound(at.client, started)
        if not await pollers(at.client, queue):
            for line in render.nobody_polls(queue):
                say.err().print(line, soft_wrap=True)
        elif not watch:
            say.aside(f"Watch it with `tprov status {stack} --watch`.")
        say.answer(handle.id)
        return await _to_the_end(at, handle, stack) if watch else 0


def _say_where(at: Connection, *, stack: str) -> None:
    """Remote: name the server before anything is changed there."""
    if at.settings.target == "remote":
        say.aside(
            f"Starting {stack} on {at.settings.address}, namespace {at.settings.namespace}."
            " What it will create is in its plan; a namespace of Temporal Cloud costs money."
        )


async def _to_the_end(at: Connection, handle: runs.RunHandle, stack: str) -> int:
    view = await follow(at.client, handle, stack=stack, console=say.err())
    say.err().print()
    say.err().print(render.ending(view))
    return 0 if render.came_well(view) else 1


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
        raise runs.as_service_error(error) from error
    return [p.identity for p in described.pollers if not _is_gone(p.identity)]


def _is_gone(identity: str) -> bool:
    """Whether 'ada@laptop worker 4711' names a process of this machine that has ended."""
    who, *_, pid = identity.split()
    here = who.endswith(f"@{socket.gethostname()}")
    return here and pid.isdigit() and not psutil.pid_exists(int(pid))


# --- status ----------------------------------------------------------------------------------


async def status(place: Place, *, stack: str | None, watch: bool, as_json: bool) -> int:
    """Show one stack, or all of them."""
    async with connected(place) as at:
        if stack is not None:
            return await _one(at, stack, watch=watch, as_json=as_json)
        if as_json:
            say.answer(_as_json(await _all_views(at.client)))
            return 0
        if watch and say.out().is_terminal:
            await _watch_list(at.client)
        lines = await last_runs(at.client)
        say.out().print(render.stacks(lines, now=datetime.now(UTC)))
        return 0


async def _one(at: Connection, stack: str, *, watch: bool, as_json: bool) -> int:
    handle = await runs.run_of(at.client, stack)
    if watch and not as_json:
        view = await follow(at.client, handle, stack=stack, console=say.out())
        say.out().print()
        say.out().print(render.ending(view))
        return 0 if render.came_well(view) else 1
    view = await look(at.client, workflow_id=handle.id, run_id=handle.run_id or "")
    if as_json:
        say.answer(_as_json([view]))
    else:
        now = view.ended or datetime.now(UTC)
        say.out().print(render.run(view, now=now, detail=True))
    return 0


def _as_json(views: Sequence[RunView]) -> str:
    from tprov_kernel.lab.report import summary  # brings IPython, which costs 0.2 s

    return json.dumps([summary(view) for view in views])


async def look(client: Client, *, workflow_id: str, run_id: str) -> RunView:
    """A run as it is at this moment: its history, what is pending, what only it can tell."""
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    fold = Fold(client.data_converter, workflow_id=workflow_id, run_id=run_id)
    try:
        async for event in handle.fetch_history_events():
            await fold.feed(event)
        if fold.view.closed:
            return fold.view
        request = DescribeWorkflowExecutionRequest(namespace=client.namespace)
        request.execution.workflow_id, request.execution.run_id = workflow_id, run_id
        described = await client.workflow_service.describe_workflow_execution(request)
        await fold.pending(described, datetime.now(UTC))
    except RPCError as error:
        raise runs.as_service_error(error) from error
    return await _ask(client, fold.view)


async def _ask(client: Client, view: RunView) -> RunView:
    """Add review and decisions, which are queries; without a worker the view goes without."""
    if view.verdict is None or view.contact.pollers == 0 or view.task_failure:
        return view
    query = client.get_workflow_handle(view.workflow_id, run_id=view.run_id).query
    try:
        review = await query("get_review", result_type=Review, rpc_timeout=QUERY_TIMEOUT)
        kind = list[Decision]
        decided = await query("get_decisions", result_type=kind, rpc_timeout=QUERY_TIMEOUT)
    except (RPCError, TimeoutError):
        return view
    return replace(view, review=review, decisions=tuple(decided or ()))


async def last_executions(client: Client) -> list[WorkflowExecution]:
    """The last run of each stack, the newest first.

    Raises:
        ServiceError: The server does not answer.
    """
    last: dict[str, WorkflowExecution] = {}
    try:
        async for execution in client.list_workflows(f"WorkflowType='{WORKFLOW_TYPE}'"):
            known = last.get(execution.id)
            if known is None or known.start_time < execution.start_time:
                last[execution.id] = execution
    except RPCError as error:
        raise runs.as_service_error(error) from error
    return sorted(last.values(), key=lambda e: e.start_time, reverse=True)


async def last_runs(client: Client) -> list[render.StackLine]:
    """The last run of each stack as visibility tells it, without reading a history."""
    return [_line(execution) for execution in await last_executions(client)]


def _line(execution: WorkflowExecution) -> render.StackLine:
    def told(name: str) -> str:
        return execution.typed_search_attributes.get(SearchAttributeKey.for_keyword(name)) or ""

    status = told("tprovStatus")
    is_over = execution.status is not None and execution.close_time is not None
    if is_over and status not in {s.value for s in Status if s.is_final}:
        status = execution.status.name.lower() if execution.status else status
    return render.StackLine(
        stack=execution.id.removeprefix("stack-"),
        status=status or "uninitialized",
        action=told("tprovAction"),
        directory=told("tprovDirectory"),
        requested_by=told("tprovRequester"),
        started=execution.start_time,
        ended=execution.close_time,
    )


async def _all_views(client: Client) -> list[RunView]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(execution: WorkflowExecution) -> RunView:
        async with limit:
            return await look(client, workflow_id=execution.id, run_id=execution.run_id)

    return await asyncio.gather(*map(one, await last_executions(client)))


async def _watch_list(client: Client) -> None:
    """Show the list until Ctrl-C."""
    with Live(console=say.out(), auto_refresh=False, transient=True) as live:
        while True:
            lines = await last_runs(client)
            live.update(render.stacks(lines, now=datetime.now(UTC)), refresh=True)
            await asyncio.sleep(LIST_EVERY)


# --- approve, deny, cancel -------------------------------------------------------------------


async def decide(
    place: Place,
    verb: Literal["approve", "deny"],
    *,
    stack: str,
    reason: str,
    review: str,
    signal: bool,
) -> int:
    """Take a decision on what waits."""
    async with connected(place) as at:
        handle = await runs.run_of(at.client, stack)
        taken = await runs.decide(
            handle, verb, reason=reason, review=review, via="signal" if signal else "update"
        )
    if taken is None:
        say.answer("Sent. A signal tells nothing back.")
        say.aside(f"What came of it: `tprov status {stack}`.")
        return 0
    said = f"Recorded: {taken.outcome} by {taken.reviewer}"
    say.answer(f"{said}, because: {taken.reason}" if taken.reason else f"{said}.")
    say.aside(f"Watch it go on with `tprov status {stack} --watch`.")
    return 0


async def cancel(place: Place, *, stack: str) -> int:
    """Ask a run to stop."""
    async with connected(place) as at:
        handle = await runs.run_of(at.client, stack)
        if not await runs.is_open(at.client, stack):
            raise StackError(
                f"No run is open on stack {stack!r}: there is nothing to cancel.",
                remedy=f"Look at it with `tprov status {stack}`.",
            )
        try:
            await handle.cancel(rpc_timeout=timedelta(seconds=10))
        except RPCError as error:
            raise runs.as_service_error(error) from error
    say.answer(f"Asked {handle.id} to stop. A Terraform at work is interrupted, not killed.")
    say.aside(f"Watch it end with `tprov status {stack} --watch`.")
    return 0


# --- destroy ---------------------------------------------------------------------------------


async def destroy(place: Place, *, stack: str, task_queue: str, yes: bool, watch: bool) -> int:
    """Show what goes, ask, start a destroy run, watch it to its end."""
    check_name(stack)
    async with connected(place) as at:
        await runs.last_request(at.client, stack)  # there must have been a run
        held = held_objects(at.settings.stacks, stack)
        if not _shown_what_goes(at, stack, held):
            return 0
        if not yes and not say.confirmed(f"Destroy what stack {stack} holds?"):
            say.aside("Nothing was destroyed.")
            return 1
        queue = task_queue or await _queue_for(at, stack)
        handle = runs.bound(
            at.client, await runs.start_destroy(at.client, stack=stack, task_queue=queue)
        )
        say.answer(handle.id)
        return await _to_the_end(at, handle, stack) if watch else 0


def _shown_what_goes(at: Connection, stack: str, held: Sequence[str]) -> bool:
    """Show what a destroy would remove; False when there is nothing."""
    if held:
        say.out().print(f"Stack [bold]{stack}[/bold] holds, as its state says:")
        for address in held:
            say.out().print(f"  [red]-[/red] {address}", markup=True)
        return True
    backend = list((at.settings.stacks / stack).glob("config/**/.terraform/terraform.tfstate"))
    if at.settings.target == "local" and not backend:
        say.answer(f"Stack {stack} holds nothing: there is nothing to destroy.")
        return False
    say.warning(f"The state of {stack} is not on this machine; the run's plan shows what goes.")
    return True


async def _queue_for(at: Connection, stack: str) -> str:
    """Where somebody polls; first that of the last run, whose worker has the state."""
    described = await runs.describe(at.client, stack)
    queues = [described.task_queue] if described is not None else []
    for queue in (*queues, at.settings.task_queue):
        if await pollers(at.client, queue):
            return queue
    for line in render.nobody_polls(at.settings.task_queue):
        say.err().print(line, soft_wrap=True)
    return at.settings.task_queue


# --- export-history --------------------------------------------------------------------------


async def export_history(place: Place, *, stack: str, file: Path, as_stored: bool) -> int:
    """Write the history of a stack's last run into a file, for tests to replay."""
    async with connected(place) as at:
        handle = await runs.run_of(at.client, stack)
        try:
            history = await handle.fetch_history()
        except RPCError as error:
            raise runs.as_service_error(error) from error
        codec = at.client.data_converter.payload_codec
        if codec is not None and not as_stored:
            for event in history.events:
                await make_portable(event, codec)
    # Pretty and sorted: people read the difference between two of them.
    text = json.dumps(json.loads(history.to_json()), indent=1, sort_keys=True) + "\n"
    await asyncio.to_thread(file.write_text, text)
    say.answer(f"{len(history.events)} events of {handle.id} are in {shown(file)}.")
    say.aside(
        "Payloads are as the server has them."
        if as_stored
        else "Payloads are decoded: read the file before you give it to anybody."
    )
    return 0

"""status: what is there, and how it is; needs no worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from rich.console import RenderableType
from rich.live import Live
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
)
from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError

from tprov_kernel import runs
from tprov_kernel.cli import render, say
from tprov_kernel.cli.follow import follow
from tprov_kernel.cli.place import Connection, Place, connected
from tprov_kernel.filters import ALL_RUNS
from tprov_kernel.history import Fold
from tprov_kernel.messages import Decision, Review
from tprov_kernel.observe import RunRow, RunView
from tprov_kernel.visibility import count_by_status, each_run, list_runs

LIST_EVERY = 1.0
"""Seconds between two looks at the list of stacks."""

AT_ONCE = 8
"""Histories that are read at the same time."""

QUERY_TIMEOUT = timedelta(seconds=2)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be listed.

    Attributes:
        query: A list filter, for every run that it finds; without one, the last run of each stack.
        count: How many have which status, and no list.
    """

    query: str = ""
    count: bool = False


async def status(
    place: Place, *, stack: str | None, wanted: Wanted, watch: bool, as_json: bool
) -> int:
    """Show one stack, or all of them, or the runs that a filter finds."""
    async with connected(place) as at:
        if stack is not None:
            return await _one(at, stack, watch=watch, as_json=as_json)
        if as_json:
            say.answer(await _told_as_json(at.client, wanted))
            return 0
        if watch and say.out().is_terminal:
            await _watch_list(at.client, wanted)
        say.out().print(await _drawn(at.client, wanted))
        return 0


async def _told_as_json(client: Client, wanted: Wanted) -> str:
    if wanted.count:
        tallies = await count_by_status(client, wanted.query or ALL_RUNS)
        return json.dumps({t.close_state.lower() or t.status.value: t.count for t in tallies})
    rows = (await list_runs(client, wanted.query)).rows if wanted.query else await last_runs(client)
    return _as_json(await _all_views(client, rows))


async def _drawn(client: Client, wanted: Wanted) -> RenderableType:
    now = datetime.now(UTC)
    if wanted.count:
        return render.counts(await count_by_status(client, wanted.query or ALL_RUNS))
    if wanted.query:
        return render.found(await list_runs(client, wanted.query), now=now)
    return render.stacks(await last_runs(client), now=now)


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
    except (RPCError, TimeoutError, WorkflowQueryFailedError):
        return view
    return replace(view, review=review, decisions=tuple(decided or ()))


async def last_runs(client: Client) -> list[RunRow]:
    """The last run of each stack, the newest first, without reading a history.

    Raises:
        ServiceError: The server does not answer.
    """
    last: dict[str, RunRow] = {}
    async for row in each_run(client):
        known = last.get(row.view.workflow_id)
        if known is None or _started(known) < _started(row):
            last[row.view.workflow_id] = row
    return sorted(last.values(), key=_started, reverse=True)


def _started(row: RunRow) -> datetime:
    return row.view.started or datetime.min.replace(tzinfo=UTC)


async def _all_views(client: Client, rows: Iterable[RunRow]) -> list[RunView]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(view: RunView) -> RunView:
        async with limit:
            return await look(client, workflow_id=view.workflow_id, run_id=view.run_id)

    return await asyncio.gather(*(one(row.view) for row in rows))


async def _watch_list(client: Client, wanted: Wanted) -> None:
    """Show the list until Ctrl-C."""
    with Live(console=say.out(), auto_refresh=False, transient=True) as live:
        while True:
            live.update(await _drawn(client, wanted), refresh=True)
            await asyncio.sleep(LIST_EVERY)

"""Runs as the server lists and counts them, without reading a history: for tables and commands.

Counts per status are one count each: the server groups by `ExecutionStatus` and by nothing of ours
(measured: 'GROUP BY clause is not supported for search attribute tprovStatus').
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from tprov_kernel.attributes import ATTRIBUTES
from tprov_kernel.errors import FilterRefused, TprovError
from tprov_kernel.filters import ALL_RUNS, narrowed, quoted
from tprov_kernel.messages import FINAL, Status
from tprov_kernel.observe import Listing, RunRow, RunView, Tally
from tprov_kernel.runs import as_service_error

PAGE = 50
"""Runs that are listed at once."""

TIMEOUT = timedelta(seconds=5)

_SERVERS_OWN = ("WorkflowId", "WorkflowType", "ExecutionStatus", "StartTime", "CloseTime", "RunId")
_FINALS = ", ".join(sorted(quoted(status.value) for status in FINAL))
_ENDED_OTHERWISE = (
    f"(tprovStatus IS NULL OR (ExecutionStatus != 'Running' AND tprovStatus NOT IN ({_FINALS})))"
)


async def each_run(client: Client, query: str = ALL_RUNS) -> AsyncIterator[RunRow]:
    """Yield every run that a filter finds.

    Raises:
        FilterRefused: The server does not understand the filter.
        ServiceError: The server does not answer.
    """
    try:
        async for execution in client.list_workflows(query, rpc_timeout=TIMEOUT):
            yield _row(execution)
    except RPCError as error:
        raise _as_refused(error) from error


async def list_runs(client: Client, query: str = ALL_RUNS, *, most: int = PAGE) -> Listing:
    """Find the first runs of a filter, and how many more there are; one request, or two.

    Raises:
        FilterRefused: The server does not understand the filter.
        ServiceError: The server does not answer.
    """
    try:
        pages = client.list_workflows(query, page_size=most, rpc_timeout=TIMEOUT)
        await pages.fetch_next_page()
        rows = tuple(_row(execution) for execution in (pages.current_page or ())[:most])
        more = 0
        if pages.next_page_token:
            counted = await client.count_workflows(query, rpc_timeout=TIMEOUT)
            more = max(0, counted.count - len(rows))
    except RPCError as error:
        raise _as_refused(error) from error
    return Listing(rows=rows, more=more)


async def count_by_status(client: Client, query: str = ALL_RUNS) -> tuple[Tally, ...]:
    """Count the runs of a filter per status, on the server.

    Asks how many run and how many ended, then for one status after the other until all are found.

    Raises:
        FilterRefused: The server does not understand the filter.
        ServiceError: The server does not answer.
    """
    try:
        states = await _by_state(client, query)
        running, found = states.pop("Running", 0), list[Tally]()
        found += await _of_these(client, query, [s for s in Status if not s.is_final], running)
        found += await _of_these(
            client, query, [s for s in Status if s.is_final], sum(states.values())
        )
        if sum(tally.count for tally in found) < running + sum(states.values()):
            rest = await _by_state(client, narrowed(query, _ENDED_OTHERWISE))
            found += [Tally(close_state=_state(name), count=n) for name, n in rest.items()]
    except RPCError as error:
        raise _as_refused(error) from error
    return tuple(found)


async def _of_these(
    client: Client, query: str, statuses: Iterable[Status], total: int
) -> list[Tally]:
    found: list[Tally] = []
    for status in statuses:
        if sum(tally.count for tally in found) >= total:
            break
        clause = f"tprovStatus={quoted(status.value)}"
        if not status.is_final:
            clause += " AND ExecutionStatus='Running'"
        counted = await client.count_workflows(narrowed(query, clause), rpc_timeout=TIMEOUT)
        if counted.count:
            found.append(Tally(status=status, count=counted.count))
    return found


async def _by_state(client: Client, query: str) -> dict[str, int]:
    grouped = f"{query} GROUP BY ExecutionStatus".strip()
    counted = await client.count_workflows(grouped, rpc_timeout=TIMEOUT)
    return {str(group.group_values[0]): group.count for group in counted.groups}


def _state(name: str) -> str:
    """'TimedOut' as 'TIMED_OUT', which is how the SDK's enumeration and a run's view call it."""
    return "" if name == "Running" else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


def count_rows(rows: Iterable[RunRow]) -> tuple[Tally, ...]:
    """Count rows per status: what `count_by_status` says, where the rows are all there are."""
    counted = Counter(_kind(row.view) for row in rows)
    order = list(Status)
    return tuple(
        Tally(status=status, close_state=state, count=count)
        for (status, state), count in sorted(
            counted.items(), key=lambda item: (item[0][1], order.index(item[0][0]))
        )
    )


def _kind(view: RunView) -> tuple[Status, str]:
    if view.closed and not view.status.is_final:
        return Status.UNINITIALIZED, view.close_state
    return view.status, ""


async def pulse(client: Client) -> dict[str, int]:
    """How many runs are open, and how many ended how: one small request that tells of news.

    Raises:
        ServiceError: The server does not answer.
    """
    try:
        return await _by_state(client, ALL_RUNS)
    except RPCError as error:
        raise as_service_error(error) from error


def _row(execution: WorkflowExecution) -> RunRow:
    def told(name: str) -> str:
        return execution.typed_search_attributes.get(SearchAttributeKey.for_keyword(name)) or ""

    status, closed = told("tprovStatus"), execution.close_time is not None
    known = {s.value for s in Status}
    state = execution.status.name if closed and execution.status is not None else ""
    view = RunView(
        workflow_id=execution.id,
        run_id=execution.run_id,
        stack=told("tprovStack") or execution.id.removeprefix("stack-"),
        directory=told("tprovDirectory"),
        action=told("tprovAction") or "provision",
        requested_by=told("tprovRequester"),
        status=Status(status) if status in known else Status.UNINITIALIZED,
        started=execution.start_time,
        ended=execution.close_time,
        closed=closed or execution.status not in (None, WorkflowExecutionStatus.RUNNING),
        close_state=state,
    )
    return RunRow(view=view, verdict=told("tprovVerdict"))


def _as_refused(error: RPCError) -> TprovError:
    if error.status != RPCStatusCode.INVALID_ARGUMENT:
        return as_service_error(error)
    # A position is one in the server's own statement, not in what was typed.
    said = re.sub(r"^(invalid query: )?|(?<=error) at position \d+", "", error.message.rstrip("."))
    return FilterRefused(
        f"The server does not understand this filter: {said}.", remedy=_remedy(said)
    )


def _remedy(said: str) -> str:
    if unknown := re.search(r"invalid search attribute: (\w+)", said):
        near = difflib.get_close_matches(unknown[1], [*ATTRIBUTES, *_SERVERS_OWN], n=1)
        if near:
            return f"Did you mean `{near[0]}`?"
        return f"Ours are {', '.join(f'`{name}`' for name in ATTRIBUTES)}."
    return "It looks like `tprovStatus='applied' AND tprovRequester='ada'`."

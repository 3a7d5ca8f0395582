"""Runs as a real server lists and counts them; no worker: they stay where they were started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowHandle
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from tests.conftest import Platform
from tprov_kernel import visibility
from tprov_kernel.errors import FilterRefused
from tprov_kernel.filters import quoted
from tprov_kernel.messages import WORKFLOW_TYPE, Status
from tprov_kernel.observe import Tally

pytestmark = pytest.mark.asyncio(loop_scope="module")

ODD = "it's a path, AND (so on"


@dataclass
class Server:
    """The server, and a requester of this module, by whom its runs are told from others'."""

    client: Client
    started: list[WorkflowHandle[Any, Any]]
    mine: str = "tprovRequester='visibility'"

    async def start(self, stack: str, status: Status, **more: str) -> WorkflowHandle[Any, Any]:
        """A run that visibility tells of as if it had come as far as that."""
        told = {
            "tprovStatus": status.value,
            "tprovStack": stack,
            "tprovRequester": "visibility",
            "tprovDirectory": "terraform/x",
            "tprovAction": "provision",
        } | more
        pairs = [SearchAttributePair(SearchAttributeKey.for_keyword(n), v) for n, v in told.items()]
        handle = await self.client.start_workflow(
            WORKFLOW_TYPE,
            id=f"stack-{stack}",
            task_queue="nobody's",
            search_attributes=TypedSearchAttributes(pairs),
        )
        self.started.append(handle)
        return handle

    async def until(self, query: str, count: int) -> None:
        """Wait until visibility knows (it is told a moment later)."""
        for _ in range(200):
            if (await self.client.count_workflows(query)).count == count:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{query} never finds {count}")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(platform: Platform) -> AsyncIterator[Server]:
    """Five runs: three at work, one that asks, one that was terminated."""
    server = Server(await platform.client(), [])
    for number in range(3):
        await server.start(f"vis-{number}", Status.PLANNING, tprovDirectory=ODD)
    await server.start("vis-asks", Status.AWAITING_APPROVAL, tprovVerdict="soft-mandatory")
    ended = await server.start("vis-ended", Status.APPLYING)
    await ended.terminate("by a test")
    await server.until(f"{server.mine} AND ExecutionStatus='Terminated'", 1)
    await server.until(server.mine, 5)
    yield server
    for handle in server.started[:-1]:
        await handle.terminate("the tests are over")


async def test_a_list_tells_what_the_server_knows_of_each_run(server: Server) -> None:
    """Open ones first; a run that was terminated is not where its last status says it is."""
    listing = await visibility.list_runs(server.client, server.mine)
    stacks = [row.view.stack for row in listing.rows]
    assert stacks[-1] == "vis-ended"
    assert set(stacks[:-1]) == {"vis-0", "vis-1", "vis-2", "vis-asks"}
    assert listing.more == 0
    asks = next(row for row in listing.rows if row.view.stack == "vis-asks")
    assert (asks.view.status, asks.verdict) == (Status.AWAITING_APPROVAL, "soft-mandatory")
    assert not asks.view.closed
    ended = listing.rows[-1].view
    assert (ended.closed, ended.close_state) == (True, "TERMINATED")


async def test_a_page_says_how_many_there_are_besides(server: Server) -> None:
    """So that nobody takes the first ones for all."""
    listing = await visibility.list_runs(server.client, server.mine, most=2)
    assert (len(listing.rows), listing.more) == (2, 3)


async def test_the_server_counts_what_the_rows_show(server: Server) -> None:
    """Per status, and Temporal's word for what ended without one: the same both ways."""
    counted = await visibility.count_by_status(server.client, server.mine)
    assert counted == (
        Tally(status=Status.PLANNING, count=3),
        Tally(status=Status.AWAITING_APPROVAL, count=1),
        Tally(close_state="TERMINATED", count=1),
    )
    listing = await visibility.list_runs(server.client, server.mine)
    assert visibility.count_rows(listing.rows) == counted


async def test_a_filter_with_or_is_counted_as_it_is_meant(server: Server) -> None:
    """What is added for each status holds for both of its parts."""
    either = "tprovStack='vis-0' OR tprovStack='vis-asks'"
    assert await visibility.count_by_status(server.client, either) == (
        Tally(status=Status.PLANNING, count=1),
        Tally(status=Status.AWAITING_APPROVAL, count=1),
    )


async def test_an_odd_directory_can_be_filtered_by(server: Server) -> None:
    """A quote means to the server what it means to us; the rest is in `attributes.py`."""
    odd = f"{server.mine} AND tprovDirectory={quoted(ODD)}"
    listing = await visibility.list_runs(server.client, odd)
    assert [row.view.directory for row in listing.rows] == [ODD] * 3


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("tprovSatus='x'", "invalid search attribute: tprovSatus. Did you mean `tprovStatus`?"),
        ("Executionstatus='x'", "Did you mean `ExecutionStatus`?"),
        ("zzz='x'", "Ours are `provisionStatus`, `tfDirectory`"),
        ("nonsense", "incomplete expression. It looks like `tprovStatus='applied'"),
        ("tprovStatus=applied", 'did you forget to quote "applied"?'),
        ("tprovStatus='x' AND (", "malformed SQL query: syntax error. It looks like"),
        ("provisionStatus IN ('a')", "operator 'IN' not supported for Text type"),
    ],
)
async def test_a_wrong_filter_is_a_sentence_with_a_remedy(
    server: Server, typed: str, words: str
) -> None:
    """The server's own complaint, without a position in a statement that nobody typed."""
    with pytest.raises(FilterRefused) as refused:
        await visibility.list_runs(server.client, typed)
    assert str(refused.value).startswith("The server does not understand this filter: ")
    assert words in str(refused.value)
    assert "position" not in str(refused.value)
    with pytest.raises(FilterRefused):
        await visibility.count_by_status(server.client, typed)


async def test_the_server_groups_by_its_own_status_and_not_by_ours(server: Server) -> None:
    """Why counts are one per status: when this fails, `count_by_status` can be one request."""
    grouped = await server.client.count_workflows(f"{server.mine} GROUP BY ExecutionStatus")
    assert {g.group_values[0]: g.count for g in grouped.groups} == {"Running": 4, "Terminated": 1}
    with pytest.raises(Exception, match="'GROUP BY' clause is not supported"):
        await server.client.count_workflows(f"{server.mine} GROUP BY tprovStatus")

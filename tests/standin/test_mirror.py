"""Namespaces that are real: mirrored on a real Temporal server."""

from __future__ import annotations

import asyncio
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.namespace.v1 import message_pb2 as namespace
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeNamespaceResponse,
    UpdateNamespaceRequest,
)
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.standin.parts import (
    LIMIT,
    Api,
    Place,
    api_of,
    free_port,
    namespace_spec,
    opened_here,
    wait_for_port,
)
from tprov_kernel.toolchain import Toolchain

SA = namespace.NamespaceSpec.SearchAttributeType
KEYWORD = SA.SEARCH_ATTRIBUTE_TYPE_KEYWORD
TEXT = SA.SEARCH_ATTRIBUTE_TYPE_TEXT
DAY = 24 * 3600


class DevServer:
    """A Temporal development server that can be stopped and started."""

    def __init__(self, toolchain: Toolchain, home: Path) -> None:
        self._argv = list(toolchain.temporal.argv)
        self.home = home
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it is."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it with its data, and wait until it takes connections."""
        self.process = subprocess.Popen(
            [
                *(*self._argv, "server", "start-dev", "--headless", "--log-level", "error"),
                *("--port", str(self.port), "--db-filename", str(self.home / "temporal.db")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self.port, self.process)

    def stop(self) -> None:
        """Kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(LIMIT)
            self.process = None

    def forget(self) -> None:
        """Lose all data."""
        for file in self.home.glob("temporal.db*"):
            file.unlink()

    async def client(self, name: str = "default") -> Client:
        """A client of one namespace."""
        until = time.monotonic() + 15  # it listens a moment before it answers
        while True:
            try:
                return await Client.connect(self.address, namespace=name)
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.05)

    async def describe(self, name: str) -> DescribeNamespaceResponse | None:
        """A namespace as the server has it."""
        service = (await self.client()).workflow_service
        try:
            return await service.describe_namespace(DescribeNamespaceRequest(namespace=name))
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None

    async def attributes(self, name: str) -> set[str]:
        """The custom search attributes of a namespace."""
        described = await self.describe(name)
        assert described is not None
        return set(described.config.custom_search_attribute_aliases.values())


@pytest.fixture(scope="module")
def shared_server(
    toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DevServer]:
    """One server for the tests that leave it running."""
    server = DevServer(toolchain, tmp_path_factory.mktemp("temporal"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_server(toolchain: Toolchain, tmp_path: Path) -> Iterator[DevServer]:
    """A server of the test's own, not started yet."""
    server = DevServer(toolchain, tmp_path)
    yield server
    server.stop()


@asynccontextmanager
async def mirrored(home: Path, server: DevServer) -> AsyncIterator[tuple[Place, Api]]:
    """A stand-in that mirrors to a server, with an account of its own."""
    account = f"t{uuid.uuid5(uuid.NAMESPACE_URL, str(home)).hex[:6]}"
    async with (
        opened_here(home, temporal=server.address, account=account) as place,
        api_of(place) as api,
    ):
        yield place, api


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a look finds something true."""
    for _ in range(int(LIMIT / 0.05)):
        if await look():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come true")


def change(current: namespace.Namespace, **fields: Any) -> rr.UpdateNamespaceRequest:
    """A request to change some fields."""
    request = rr.UpdateNamespaceRequest(
        namespace=current.namespace, spec=current.spec, resource_version=current.resource_version
    )
    request.spec.MergeFrom(namespace.NamespaceSpec(**fields))
    return request


def delete(current: namespace.Namespace) -> rr.DeleteNamespaceRequest:
    """A request to delete it."""
    return rr.DeleteNamespaceRequest(
        namespace=current.namespace, resource_version=current.resource_version
    )


@workflow.defn
class Greeting:
    @workflow.run
    async def run(self, name: str) -> str:
        return f"Hello, {name}"


async def test_a_workflow_runs_in_a_new_namespace(tmp_path: Path, shared_server: DevServer) -> None:
    """As soon as the operation is over: at the endpoint that the API tells, with its attribute."""
    async with mirrored(tmp_path, shared_server) as (_, api):
        made = await api.a_namespace(search_attributes={"OrderId": KEYWORD})
        assert made.endpoints.grpc_address == shared_server.address
        client = await Client.connect(made.endpoints.grpc_address, namespace=made.namespace)
        order = SearchAttributeKey.for_keyword("OrderId")
        worker = Worker(
            client,
            task_queue="q",
            workflows=[Greeting],
            workflow_runner=UnsandboxedWorkflowRunner(),  # the sandbox is no part of this
        )
        async with worker:
            said = await client.execute_workflow(
                Greeting.run,
                "Ada",
                id="greeting",
                task_queue="q",
                search_attributes=TypedSearchAttributes([SearchAttributePair(order, "17")]),
            )
        assert said == "Hello, Ada"


async def test_retention_and_attributes_follow(tmp_path: Path, shared_server: DevServer) -> None:
    """The server has what the specification says, at first and after a change."""
    async with mirrored(tmp_path, shared_server) as (_, api):
        made = await api.a_namespace(retention_days=3)
        described = await shared_server.describe(made.namespace)
        assert described is not None
        assert described.config.workflow_execution_retention_ttl.seconds == 3 * DAY
        assert await shared_server.attributes(made.namespace) == set()
        wanted = change(made, retention_days=9, search_attributes={"A": KEYWORD, "B": TEXT})
        await api.do("UpdateNamespace", wanted)
        described = await shared_server.describe(made.namespace)
        assert described is not None
        assert described.config.workflow_execution_retention_ttl.seconds == 9 * DAY
        assert await shared_server.attributes(made.namespace) == {"A", "B"}


async def test_a_rename_moves_the_alias(tmp_path: Path, shared_server: DevServer) -> None:
    """The attribute keeps its field and so its values; it is not one more attribute.

    A development server has room for three of type Text; the fourth name in a row shows it.
    """
    async with mirrored(tmp_path, shared_server) as (place, api):
        made = await api.a_namespace(search_attributes={"A": TEXT})
        described = await shared_server.describe(made.namespace)
        assert described is not None
        (field,) = described.config.custom_search_attribute_aliases
        for old, new in (("A", "B"), ("B", "C"), ("C", "D"), ("D", "A")):
            now = await api.namespace(made.namespace)
            rename = rr.RenameCustomSearchAttributeRequest(
                namespace=made.namespace,
                existing_custom_search_attribute_name=old,
                new_custom_search_attribute_name=new,
                resource_version=now.resource_version,
            )
            await api.do("RenameCustomSearchAttribute", rename)
            described = await shared_server.describe(made.namespace)
            assert described is not None
            assert dict(described.config.custom_search_attribute_aliases) == {field: new}
        assert (await place.control.status())["mirror"]["problems"] == {}


async def test_a_deleted_namespace_is_gone_and_can_come_again(
    tmp_path: Path, shared_server: DevServer
) -> None:
    """Deleted on the server too; the same name is a new namespace there."""
    async with mirrored(tmp_path, shared_server) as (_, api):
        made = await api.a_namespace()
        first = await shared_server.describe(made.namespace)
        assert first is not None
        await api.do("DeleteNamespace", delete(made))
        assert await shared_server.describe(made.namespace) is None
        await api.a_namespace()
        second = await shared_server.describe(made.namespace)
        assert second is not None
        assert second.namespace_info.id != first.namespace_info.id


async def test_what_the_server_has_no_room_for_is_said(
    tmp_path: Path, shared_server: DevServer
) -> None:
    """The Cloud allows five attributes of type Text, the development server three.

    The operation is fulfilled, and the status tells what the local server lacks.
    """
    async with mirrored(tmp_path, shared_server) as (place, api):
        made = await api.a_namespace(search_attributes={f"T{i}": TEXT for i in range(5)})
        problems = (await place.control.status())["mirror"]["problems"]
        assert list(problems) == [made.namespace]


async def test_an_operation_waits_for_a_server_that_is_down(
    tmp_path: Path, own_server: DevServer
) -> None:
    """The namespace is there when the operation is over, not before."""
    async with mirrored(tmp_path, own_server) as (place, api):
        wanted = rr.CreateNamespaceRequest(spec=namespace_spec())
        answer = await api.call("CreateNamespace", wanted)
        assert (await place.control.status())["open"] == [answer.async_operation.id]
        own_server.start()
        await api.done(answer)
        assert await own_server.describe(answer.namespace)


async def test_everything_is_reconciled_after_the_server_was_down(
    tmp_path: Path, own_server: DevServer
) -> None:
    """A server that lost its data gets all namespaces again, renames included."""
    own_server.start()
    async with mirrored(tmp_path, own_server) as (_, api):
        made = await api.a_namespace(search_attributes={"A": KEYWORD})
        rename = rr.RenameCustomSearchAttributeRequest(
            namespace=made.namespace,
            existing_custom_search_attribute_name="A",
            new_custom_search_attribute_name="B",
            resource_version=made.resource_version,
        )
        await api.do("RenameCustomSearchAttribute", rename)
        own_server.stop()
        own_server.forget()
        own_server.start()

        async def as_it_was() -> bool:
            described = await own_server.describe(made.namespace)
            aliases = described.config.custom_search_attribute_aliases if described else {}
            return list(aliases.values()) == ["B"]

        await until(as_it_was)


async def test_everything_is_reconciled_after_the_stand_in_was_down(
    tmp_path: Path, own_server: DevServer
) -> None:
    """What somebody changed on the server meanwhile is as the account says again."""
    own_server.start()
    async with mirrored(tmp_path, own_server) as (_, api):
        made = [await api.a_namespace(name) for name in ("keep", "gone")]
    keep, gone = (n.namespace for n in made)

    client = await own_server.client()
    forgetful = UpdateNamespaceRequest(namespace=keep)
    forgetful.config.workflow_execution_retention_ttl.FromSeconds(DAY)
    await client.workflow_service.update_namespace(forgetful)
    # The account forgets a namespace while the server is not there to follow.
    own_server.stop()
    async with mirrored(tmp_path, own_server) as (place, api):
        await api.call("DeleteNamespace", delete(made[1]))
        assert (await place.control.status())["mirror"]["up"] is False
        own_server.start()

        async def as_the_account_says() -> bool:
            described = await own_server.describe(keep)
            assert described is not None
            kept = described.config.workflow_execution_retention_ttl.seconds == 7 * DAY
            return kept and await own_server.describe(gone) is None

        await until(as_the_account_says)


async def test_namespaces_of_others_are_left_alone(
    tmp_path: Path, shared_server: DevServer
) -> None:
    """What this stand-in did not register is none of its business."""
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        home.mkdir()
    async with mirrored(homes[0], shared_server) as (_, api):
        theirs = (await api.a_namespace()).namespace
    async with mirrored(homes[1], shared_server) as (place, api):
        await api.a_namespace()

        async def up() -> bool:
            status = await place.control.status()
            return bool(status["mirror"]["up"])

        await until(up)
    assert await shared_server.describe(theirs)
    assert await shared_server.describe("default")
    listed = await (await shared_server.client(theirs)).operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=theirs)
    )
    assert not listed.custom_attributes

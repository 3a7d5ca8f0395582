"""Makes each namespace of the account real on the local Temporal server.

Convergent: whatever was done, and whichever side was down meanwhile, `Mirror` looks at what the
server has and makes it what the account says. It reconciles everything whenever the connection
to the server comes up, and each operation on a namespace ends after the server has followed, or
after `PATIENCE` when the server does not answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from grpc import StatusCode
from temporalio.api.cloud.namespace.v1.message_pb2 import Namespace
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import request_response_pb2 as operator
from temporalio.api.workflowservice.v1 import request_response_pb2 as workflow

from tprov_kernel.standin.core import Core
from tprov_kernel.standin.families.namespaces import NAMESPACE, renames
from tprov_kernel.standin.store import Operation

PATIENCE = 30.0
"""Seconds that an operation waits for a server that does not answer."""
MARK = "tprov-stand-in"
"""In a mirrored namespace's data: which stand-in registered it."""
DAY = 24 * 3600
WORKFLOW = "temporal.api.workflowservice.v1.WorkflowService"
OPERATOR = "temporal.api.operatorservice.v1.OperatorService"
WAIT = (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.NOT_FOUND)
"""Trying again helps: the server is away, or does not see yet what it registered a moment ago."""
RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
R = TypeVar("R", bound=Message)

log = logging.getLogger(__name__)


class Mirror:
    """The namespaces on the Temporal server.

    Attributes:
        problems: Namespace to why the server does not have it as the account says.
    """

    def __init__(self, *, core: Core, target: str) -> None:
        self._core = core
        self._target = target
        self._channel = grpc.aio.insecure_channel(target, options=RECONNECT)
        self._instance = core.store.fact("instance") or ""
        self._watch: asyncio.Task[None] | None = None
        self._up = False
        self._one_at_a_time = asyncio.Lock()
        self.problems: dict[str, str] = {}

    def start(self) -> None:
        """Watch the connection, and reconcile whenever it comes up."""
        self._watch = asyncio.get_running_loop().create_task(self._watching())

    async def stop(self) -> None:
        """End the connection."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._channel.close(None)

    def status(self) -> dict[str, object]:
        """Where the mirror is, whether it answers, and what is not as it should be."""
        return {"target": self._target, "up": self._up, "problems": self.problems}

    async def carry_out(self, operation: Operation) -> None:
        """Let the server follow an operation on a namespace."""
        if operation.kind != NAMESPACE.name or operation.effect == "tags":
            return
        id = operation.object
        if operation.effect == "delete":
            await self._patiently(id, partial(self._delete, id))
            return
        wanted = self._core.get(NAMESPACE, id)
        moved = renames(self._core.store, id)
        if operation.effect == "rename":
            old, new = json.loads(operation.extra)
            wanted.spec.search_attributes[new] = wanted.spec.search_attributes.pop(old)
            moved.append((wanted.resource_version, old, new))
        elif operation.after is not None:
            wanted = Namespace.FromString(operation.after)
        await self._patiently(id, partial(self._ensure, id, wanted, moved))

    async def _patiently(self, id: str, act: Callable[[], Awaitable[None]]) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        pause = 0.05
        while not await self._tried(id, act) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def _tried(self, id: str, act: Callable[[], Awaitable[None]]) -> bool:
        """Act; False when that failed and trying again may help."""
        try:
            async with self._one_at_a_time:
                await act()
        except grpc.aio.AioRpcError as error:
            problem = f"{error.code().name}: {error.details()}"
            if self.problems.get(id) != problem:
                log.warning("the Temporal server does not follow on %s: %s", id, problem)
            self.problems[id] = problem
            return error.code() not in WAIT
        self.problems.pop(id, None)
        return True

    # --- everything --------------------------------------------------------------------------

    async def _watching(self) -> None:
        while True:
            state = self._channel.get_state(try_to_connect=True)
            self._up = state is grpc.ChannelConnectivity.READY
            if self._up and not await self._reconciled():
                await asyncio.sleep(0.5)  # it is there, and does not serve yet
                continue
            await self._channel.wait_for_state_change(state)

    async def _reconciled(self) -> bool:
        """Make every namespace as the account says; False when the server went away."""
        try:
            names = await self._registered()
        except grpc.aio.AioRpcError:
            return False
        names |= {n.namespace for n in self._core.all(NAMESPACE)}
        for id in sorted(names):
            if not await self._tried(id, partial(self._as_the_account_says, id)):
                return False
        return True

    async def _as_the_account_says(self, id: str) -> None:
        if self._core.store.open_operations(NAMESPACE.name, id):
            return  # its operation sees to it
        wanted = self._core.peek(NAMESPACE, id)
        if wanted is None:
            await self._delete(id)
        else:
            await self._ensure(id, wanted, renames(self._core.store, id))

    async def _registered(self) -> set[str]:
        """The namespaces on the server that this stand-in registered."""
        ours: set[str] = set()
        token = b""
        while True:
            page = await self._call(
                WORKFLOW,
                "ListNamespaces",
                workflow.ListNamespacesRequest(page_size=100, next_page_token=token),
                workflow.ListNamespacesResponse,
            )
            ours |= {
                n.namespace_info.name
                for n in page.namespaces
                if n.namespace_info.data.get(MARK) == self._instance
            }
            token = page.next_page_token
            if not token:
                return ours

    # --- one namespace -----------------------------------------------------------------------

    async def _ensure(self, id: str, wanted: Namespace, moved: list[tuple[str, str, str]]) -> None:
        register = workflow.RegisterNamespaceRequest(
            namespace=id,
            description="Made by the Cloud API stand-in.",
            data={MARK: self._instance},
        )
        register.workflow_execution_retention_period.FromSeconds(wanted.spec.retention_days * DAY)
        try:
            await self._call(
                WORKFLOW, "RegisterNamespace", register, workflow.RegisterNamespaceResponse
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is not StatusCode.ALREADY_EXISTS:
                raise
        config = await self._config(id)
        if config.workflow_execution_retention_ttl.seconds != wanted.spec.retention_days * DAY:
            change = NamespaceConfig()
            change.workflow_execution_retention_ttl.FromSeconds(wanted.spec.retention_days * DAY)
            await self._configure(id, change)
        await self._attributes(id, wanted, moved, dict(config.custom_search_attribute_aliases))

    async def _attributes(
        self,
        id: str,
        wanted: Namespace,
        moved: list[tuple[str, str, str]],
        aliases: dict[str, str],
    ) -> None:
        """A rename moves the alias of the attribute's field; what is missing is added."""
        fields = {alias: field for field, alias in aliases.items()}
        for _, old, new in moved:
            if old in fields and new not in fields and old not in wanted.spec.search_attributes:
                fields[new] = fields.pop(old)
                for alias in ("", new):  # the server refuses an alias that was not emptied first
                    await self._configure(
                        id, NamespaceConfig(custom_search_attribute_aliases={fields[new]: alias})
                    )
        # The cloud's numbers for the types are the server's own, all seven of them.
        missing = {
            name: IndexedValueType.ValueType(kind)
            for name, kind in wanted.spec.search_attributes.items()
            if name not in fields
        }
        if missing:
            await self._call(
                OPERATOR,
                "AddSearchAttributes",
                operator.AddSearchAttributesRequest(
                    namespace=id,
                    search_attributes={
                        n: IndexedValueType.ValueType(t) for n, t in missing.items()
                    },
                ),
                operator.AddSearchAttributesResponse,
            )

    async def _delete(self, id: str) -> None:
        try:
            await self._call(
                OPERATOR,
                "DeleteNamespace",
                operator.DeleteNamespaceRequest(namespace=id),
                operator.DeleteNamespaceResponse,
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is not StatusCode.NOT_FOUND:
                raise

    async def _config(self, id: str) -> NamespaceConfig:
        described = await self._call(
            WORKFLOW,
            "DescribeNamespace",
            workflow.DescribeNamespaceRequest(namespace=id),
            workflow.DescribeNamespaceResponse,
        )
        return described.config

    async def _configure(self, id: str, change: NamespaceConfig) -> None:
        await self._call(
            WORKFLOW,
            "UpdateNamespace",
            workflow.UpdateNamespaceRequest(namespace=id, config=change),
            workflow.UpdateNamespaceResponse,
        )

    async def _call(self, service: str, method: str, request: Message, answer: type[R]) -> R:
        call = self._channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        response: R = await call(request, timeout=5.0)
        return response

"""What every family of resources shares: look up, list, create, update, delete."""

from __future__ import annotations

import base64
import binascii
import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode
from temporalio.api.cloud.operation.v1.message_pb2 import AsyncOperation
from temporalio.api.cloud.resource.v1.message_pb2 import ResourceState

from tprov_kernel.standin import rules
from tprov_kernel.standin.keys import Principal
from tprov_kernel.standin.operations import Operations
from tprov_kernel.standin.rules import Refused
from tprov_kernel.standin.store import Operation, Store

PAGE = 100
LARGEST_PAGE = 1000
E = TypeVar("E", bound=Message)


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[E]):
    """A kind of object that the API has.

    Attributes:
        name: What it is called, in sentences and in the store.
        type: Its message; all have ``spec``, ``resource_version`` and ``state``.
        title: What people call one of them.
        key: What must be unique, as a value; None when nothing but the id is.
        key_field: That field, as the API spells it.
        by_key: Lists are in the order of the key, not of the id.
    """

    name: str
    type: type[E]
    title: Callable[[Any], str]
    key: Callable[[Any], str] | None = None
    key_field: str = ""
    by_key: bool = False

    def key_of(self, entity: E) -> str | None:
        """The object's unique key."""
        return None if self.key is None else self.key(entity)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call that changes something.

    Attributes:
        operation_id: The caller's id for the operation, or one of ours.
    """

    method: str
    principal: Principal
    request: Message
    operation_id: str


@dataclass(frozen=True, kw_only=True)
class Server:
    """The local Temporal server that has the namespaces; empty where there is none.

    Attributes:
        grpc: ``host:port``.
        web: The web UI's base URL.
    """

    grpc: str = ""
    web: str = ""


def new_id() -> str:
    """An id, or a resource version, as opaque as the real ones."""
    return uuid.uuid4().hex


def now() -> Timestamp:
    """The present moment."""
    moment = Timestamp()
    moment.GetCurrentTime()
    return moment


class Core:
    """The objects of the account, and the operations on them.

    Attributes:
        account: The account's id.
        server: Where the namespaces are.
        kinds: Every kind, by name.
        removed: Called with kind and id, in the same transaction, when an object is gone.
    """

    def __init__(
        self, *, store: Store, operations: Operations, account: str, server: Server | None = None
    ) -> None:
        self.store = store
        self.operations = operations
        self.account = account
        self.server = server or Server()
        if store.fact("instance") is None:
            store.put_fact("instance", new_id())
        self.kinds: dict[str, Kind[Any]] = {}
        self.removed: list[Callable[[str, str], None]] = []
        operations.effects |= {
            "create": self._created,
            "update": self._updated,
            "delete": self._deleted,
        }
        operations.undo = self._undo

    # --- look up -----------------------------------------------------------------------------

    def peek(self, kind: Kind[E], id: str) -> E | None:
        """An object, or None."""
        body = self.store.get(kind.name, id)
        return None if body is None else kind.type.FromString(body)

    def get(self, kind: Kind[E], id: str, *, field: str = "") -> E:
        """An object that must exist.

        Args:
            kind: What it is.
            id: Its id.
            field: The field that refers to it, when another object does.

        Raises:
            Refused: NOT_FOUND; INVALID_ARGUMENT for a reference.
        """
        entity = self.peek(kind, id)
        if entity is None and field:
            rules.invalid(field, f"refers to a {kind.name} {id!r} that does not exist")
        if entity is None:
            rules.not_found(kind.name, id)
        return entity

    def all(self, kind: Kind[E]) -> list[E]:
        """Every object of a kind, in the order of its lists."""
        return [kind.type.FromString(b) for _, b in self.store.scan(kind.name, by_key=kind.by_key)]

    def page(
        self, kind: Kind[E], request: Any, keep: Callable[[E], bool] = lambda entity: True
    ) -> tuple[list[E], str]:
        """One page of a list, and the token of the next; linear in what it walks over."""
        size = page_size(request.page_size)
        found: list[E] = []
        last = ""
        for sort, body in self.store.scan(
            kind.name, after=read_token(request.page_token), by_key=kind.by_key
        ):
            entity = kind.type.FromString(body)
            if not keep(entity):
                continue
            if len(found) == size:
                return found, make_token(last)
            found.append(entity)
            last = sort
        return found, ""

    # --- change ------------------------------------------------------------------------------

    def create(self, kind: Kind[E], id: str, entity: E, call: Call) -> AsyncOperation:
        """Make an object; it is there at once, 'activating', and active when the operation ends.

        Raises:
            Refused: ALREADY_EXISTS.
        """
        fresh: Any = entity
        fresh.resource_version = new_id()
        mark(fresh, ResourceState.RESOURCE_STATE_ACTIVATING, call.operation_id)
        if "created_time" in fresh.DESCRIPTOR.fields_by_name:
            fresh.created_time.CopyFrom(now())
        if self.peek(kind, id) is not None:
            raise Refused(StatusCode.ALREADY_EXISTS, f"The {kind.name} {id!r} exists already.")
        self.write(kind, id, entity)
        return self.begin(kind, id, "create", call, after=entity)

    def update(
        self, kind: Kind[E], id: str, entity: E, call: Call, *, version: str
    ) -> AsyncOperation:
        """Give an object a new ``spec``, in force when the operation ends.

        Args:
            kind: What it is.
            id: Its id.
            entity: The object with its new spec.
            call: The call.
            version: The version that the caller has seen.

        Raises:
            Refused: The version is stale, another operation is at work, the new key is taken.
        """
        current: Any = self.get(kind, id)
        self.may_change(kind, id, current, version)
        mark(current, ResourceState.RESOURCE_STATE_UPDATING, call.operation_id)
        self.write(kind, id, current, key=kind.key_of(entity))  # the new key is ours from now on
        return self.begin(kind, id, "update", call, after=entity)

    def delete(self, kind: Kind[Any], id: str, call: Call, *, version: str) -> AsyncOperation:
        """Delete an object; it is 'deleting' until the operation ends."""
        current = self.get(kind, id)
        self.may_change(kind, id, current, version)
        mark(current, ResourceState.RESOURCE_STATE_DELETING, call.operation_id)
        self.write(kind, id, current)
        return self.begin(kind, id, "delete", call)

    def may_change(self, kind: Kind[Any], id: str, current: Any, version: str) -> None:
        """Refuse a stale version, and a change while another one is going on."""
        rules.version(kind.name, current.resource_version, version)
        changes = ("create", "update", "delete", "rename")
        for operation in self.store.open_operations(kind.name, id):
            if operation.effect in changes:
                rules.not_now(f"Operation {operation.id} on the {kind.name} is not over yet")

    def begin(
        self,
        kind: Kind[Any],
        id: str,
        effect: str,
        call: Call,
        *,
        after: Message | None = None,
        extra: str = "",
    ) -> AsyncOperation:
        """Begin an operation on an object."""
        return self.operations.begin(
            id=call.operation_id,
            method=call.method,
            request=call.request,
            effect=effect,
            kind=kind.name,
            object=id,
            after=after,
            extra=extra,
        )

    def write(self, kind: Kind[E], id: str, entity: E, *, key: str | None = None) -> None:
        """Write an object.

        Raises:
            Refused: ALREADY_EXISTS: another one has its key.
        """
        key = key if key is not None else kind.key_of(entity)
        try:
            self.store.put(kind.name, id, key=key, body=entity.SerializeToString())
        except sqlite3.IntegrityError:
            raise Refused(
                StatusCode.ALREADY_EXISTS,
                f"A {kind.name} with {kind.key_field} {key!r} exists already.",
            ) from None

    # --- what operations do when they end ----------------------------------------------------

    def _created(self, operation: Operation) -> None:
        kind = self.kinds[operation.kind]
        entity = self.get(kind, operation.object)
        mark(entity, ResourceState.RESOURCE_STATE_ACTIVE, "")
        self.write(kind, operation.object, entity)

    def _updated(self, operation: Operation) -> None:
        kind = self.kinds[operation.kind]
        entity = self.get(kind, operation.object)
        assert operation.after is not None
        entity.spec.CopyFrom(kind.type.FromString(operation.after).spec)
        self.changed(kind, operation.object, entity)

    def _deleted(self, operation: Operation) -> None:
        self.store.remove(operation.kind, operation.object)
        for follow in self.removed:
            follow(operation.kind, operation.object)

    def _undo(self, operation: Operation) -> None:
        kind = self.kinds[operation.kind]
        entity = self.peek(kind, operation.object)
        if entity is None:
            return
        if operation.effect == "create":
            self.store.remove(kind.name, operation.object)
            return
        mark(entity, ResourceState.RESOURCE_STATE_ACTIVE, "")
        self.write(kind, operation.object, entity)

    def changed(self, kind: Kind[E], id: str, entity: E) -> None:
        """Write an object that has changed: a new version, active."""
        fresh: Any = entity
        fresh.resource_version = new_id()
        if "last_modified_time" in fresh.DESCRIPTOR.fields_by_name:
            fresh.last_modified_time.CopyFrom(now())
        mark(fresh, ResourceState.RESOURCE_STATE_ACTIVE, "")
        self.write(kind, id, entity)


def mark(entity: Any, state: int, operation_id: str) -> None:
    """Set an object's state and the operation that is at work on it."""
    entity.state = state
    fields = entity.DESCRIPTOR.fields_by_name
    if "state_deprecated" in fields:
        name = ResourceState.Name(state)  # type: ignore[arg-type]  # an open enum's number
        entity.state_deprecated = name.removeprefix("RESOURCE_STATE_").replace("_", "").lower()
    if "async_operation_id" in fields:
        entity.async_operation_id = operation_id


def page_size(asked: int) -> int:
    """How many objects a page has."""
    if asked < 0:
        rules.invalid("page_size", "must not be negative")
    return min(asked or PAGE, LARGEST_PAGE)


def make_token(last: str) -> str:
    """The token of the page after this sort value."""
    return base64.urlsafe_b64encode(last.encode()).decode()


def read_token(token: str) -> str:
    """The sort value that a page begins after."""
    try:
        return base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, UnicodeDecodeError):
        rules.invalid("page_token", "is not one that a list returned")

"""What every family of resources shares: look up, list, create, update, delete."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message
from grpc import StatusCode
from temporalio.api.cloud.operation.v1.message_pb2 import AsyncOperation
from temporalio.api.cloud.resource.v1.message_pb2 import ResourceState

from tprov_kernel.standin import rules
from tprov_kernel.standin.entities import (
    Call,
    E,
    Kind,
    Server,
    make_token,
    mark,
    new_id,
    now,
    page_size,
    read_token,
)
from tprov_kernel.standin.operations import Operations
from tprov_kernel.standin.rules import Refused
from tprov_kernel.standin.store import Operation, Store

UNVERSIONED = frozenset({"tags", "join", "leave"})
"""Effects that have no version, and go together with any other."""


class Core:
    """The objects of the account, and the operations on them.

    Attributes:
        account: The account's id.
        server: Where the namespaces are.
        kinds: Every kind, by name.
        removed: Called with kind and id, in the same transaction, when an object is gone.
        holds: Asked with kind and id before an object is deleted: why that cannot be, or None.
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
        self.holds: list[Callable[[str, str], str | None]] = []
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
        self,
        kind: Kind[E],
        request: Any,
        keep: Callable[[E], bool] = lambda entity: True,
        *,
        within: str = "",
    ) -> tuple[list[E], str]:
        """One page of a list, and the token of the next; linear in what it walks over.

        Args:
            kind: What is listed.
            request: Says how large the page is, and where it begins.
            keep: What belongs to the list.
            within: Only objects whose sort value begins with this.
        """
        size = page_size(request.page_size)
        found: list[E] = []
        last = ""
        for sort, body in self.store.scan(
            kind.name, after=read_token(request.page_token), by_key=kind.by_key, within=within
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
        for held in self.holds:
            if (why := held(kind.name, id)) is not None:
                rules.not_now(f"The {kind.name} {id!r} cannot be deleted: {why}")
        mark(current, ResourceState.RESOURCE_STATE_DELETING, call.operation_id)
        self.write(kind, id, current)
        return self.begin(kind, id, "delete", call)

    def may_change(self, kind: Kind[Any], id: str, current: Any, version: str) -> None:
        """Refuse a stale version, and a change while another one is going on."""
        rules.version(kind.name, current.resource_version, version)
        for operation in self.store.open_operations(kind.name, id):
            if operation.effect not in UNVERSIONED:
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
        self.remove(self.kinds[operation.kind], operation.object)

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

    def remove(self, kind: Kind[Any], id: str) -> None:
        """Forget an object, with what follows from that."""
        self.store.remove(kind.name, id)
        for follow in self.removed:
            follow(kind.name, id)

    def seed(self, kind: Kind[E], id: str, entity: E) -> None:
        """Write an object that an account begins with."""
        fresh: Any = entity
        fresh.created_time.CopyFrom(now())
        fresh.resource_version = new_id()
        mark(fresh, ResourceState.RESOURCE_STATE_ACTIVE, "")
        self.write(kind, id, entity)

    def changed(self, kind: Kind[E], id: str, entity: E) -> None:
        """Write an object that has changed: a new version, active."""
        fresh: Any = entity
        fresh.resource_version = new_id()
        if "last_modified_time" in fresh.DESCRIPTOR.fields_by_name:
            fresh.last_modified_time.CopyFrom(now())
        mark(fresh, ResourceState.RESOURCE_STATE_ACTIVE, "")
        self.write(kind, id, entity)

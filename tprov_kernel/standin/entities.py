"""What the API's objects have in common: kinds, states, ids, pages."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.cloud.resource.v1.message_pb2 import ResourceState

from tprov_kernel.standin import rules
from tprov_kernel.standin.keys import Principal

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

"""Whether a server knows our search attributes, and if not, why and what to do.

The dev server is told of them each time it starts, which changes nothing where they are known. It
registers all of them or none, and says nothing when it cannot (measured: CLI 1.9.1), so a server
that others added attributes to is looked at here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError

from tprov_kernel.attributes import ATTRIBUTES
from tprov_kernel.errors import ServiceError

ROOM = {"Text": 3, "Keyword": 10}
"""How many of a kind a server over SQL takes, the dev server too (its own words, measured)."""

_OPERATOR = "temporal operator search-attribute"


async def known_attributes(client: Client) -> dict[str, str] | None:
    """The attributes that were registered on a server, name to kind; None where it does not tell.

    Temporal Cloud does not: its search attributes belong to the control plane.
    """
    request = ListSearchAttributesRequest(namespace=client.namespace)
    try:
        answer = await client.operator_service.list_search_attributes(
            request, timeout=timedelta(seconds=5)
        )
    except RPCError:
        return None
    return {name: _kind(number) for name, number in answer.custom_attributes.items()}


def _kind(number: int) -> str:
    name = IndexedValueType.Name(number)  # type: ignore[arg-type]
    return name.removeprefix("INDEXED_VALUE_TYPE_").title().replace("_", "")


def what_is_missing(known: Mapping[str, str]) -> ServiceError | None:
    """Say what a server lacks of ours, why, and the commands that would add it; None if nothing."""
    others = [name for name, kind in ATTRIBUTES.items() if known.get(name, kind) != kind]
    if others:
        listed = ", ".join(f"`{name}` is of type {known[name]}" for name in others)
        return ServiceError(
            f"The Temporal server knows search attributes of ours by another type: {listed}.",
            remedy=f"Remove them: {_remove(others)}; then register ours: {_commands(others)}.",
        )
    absent = [name for name in ATTRIBUTES if name not in known]
    if not absent:
        return None
    lacks = f"The Temporal server does not know our search attributes {', '.join(absent)}"
    for kind, room in ROOM.items():
        there = sorted(name for name, its in known.items() if its == kind)
        wanted = [name for name in absent if ATTRIBUTES[name] == kind]
        if wanted and len(there) + len(wanted) > room:
            foreign = [name for name in there if name not in ATTRIBUTES]
            return ServiceError(
                f"{lacks}. The limit is reached: it takes {room} of type {kind}, has"
                f" {len(there)} and needs {len(wanted)} more.",
                remedy=f"Remove what nothing needs, such as {_remove(foreign[:1])}; then register"
                f" ours: {_commands(absent)}.",
            )
    return ServiceError(f"{lacks}.", remedy=f"Register them: {_commands(absent)}.")


def _remove(names: list[str]) -> str:
    return f"`{_OPERATOR} remove {' '.join(f'--name {name}' for name in names)}`"


def _commands(names: list[str]) -> str:
    """The commands that register these.

    A name at a time: of several in one command the CLI registers the first (measured: 1.9.1).
    """
    commands = []
    for kind in dict.fromkeys(ATTRIBUTES.values()):
        wanted = " ".join(name for name in names if ATTRIBUTES[name] == kind)
        if wanted:
            create = f"{_OPERATOR} create --type {kind} --name $name"
            commands.append(f"`for name in {wanted}; do {create}; done`")
    return " and ".join(commands)

"""Who needs which key of the key ring; a key goes only when no open run needs it.

A run needs a key when a payload of its history, or what is pending, was encrypted with it, or when
a sealed value inside one was: a snapshot, a plan file. The server is asked; what it does not hold
yet is allowed for: an activity at work may still hand in what it sealed before a rotation, and a
run that is being started may still be under way.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf.message import Message
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from tprov_kernel.errors import KeyNeeded
from tprov_kernel.payloads.codec import ENCODING, KEY_ID
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.runs import as_service_error, payloads_in
from tprov_kernel.stacks import held_objects

UNDER_WAY = 60.0
"""Seconds after a rotation in which a run that is being started may still carry the former key."""

AT_ONCE = 8
"""Histories that are read at the same time."""

NAMED = 3
"""Runs that a sentence names; it counts the others."""

_SEALED_WITH = re.compile(rb"tprov1\.[a-z0-9-]{1,32}\.(k[0-9a-f]{12})\.")


@dataclass(kw_only=True)
class KeyUse:
    """A key, and whose payloads it reads.

    Attributes:
        key_id: Its id, which is no secret.
        created: When it was made, RFC 3339.
        active: Whether new values are encrypted with it.
        here: Whether the key ring holds it; a run may need one that is gone.
        open_runs: Workflow ids of the open runs that need it.
        closed_runs: Workflow ids of those that are over and cannot be read without it.
    """

    key_id: str
    created: str = ""
    active: bool = False
    here: bool = True
    open_runs: set[str] = field(default_factory=set)
    closed_runs: set[str] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Every key of a ring or of a history, the oldest first, and the runs that are at work."""

    keys: Mapping[str, KeyUse]
    at_work: frozenset[str]


async def survey(client: Client, key_ring: KeyRing) -> Survey:
    """Look through every run of the client's namespace.

    Raises:
        ServiceError: The server does not answer.
    """
    key_ring.refresh()
    known = {
        k: KeyUse(key_id=k, created=at, active=k == key_ring.active)
        for k, at in key_ring.created.items()
    }
    at_work: set[str] = set()
    limit = asyncio.Semaphore(AT_ONCE)

    async def look(execution: WorkflowExecution) -> None:
        async with limit:
            needed, busy = await _needs(client, execution)
        is_open = execution.status == WorkflowExecutionStatus.RUNNING
        if busy:
            at_work.add(execution.id)
        for key_id in needed:
            use = known.setdefault(key_id, KeyUse(key_id=key_id, here=False))
            (use.open_runs if is_open else use.closed_runs).add(execution.id)

    try:
        await asyncio.gather(*[look(e) async for e in client.list_workflows()])
    except RPCError as error:
        raise as_service_error(error) from error
    return Survey(keys=known, at_work=frozenset(at_work))


async def _needs(client: Client, execution: WorkflowExecution) -> tuple[set[str], bool]:
    """Ids of the keys that a run needs, and whether an activity of it is at work."""
    handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
    needed: set[str] = set()
    try:
        async for event in handle.fetch_history_events():
            needed |= await _keys_of(client, event)
        if execution.status != WorkflowExecutionStatus.RUNNING:
            return needed, False
        request = DescribeWorkflowExecutionRequest(namespace=client.namespace)
        request.execution.workflow_id, request.execution.run_id = execution.id, execution.run_id
        described = await client.workflow_service.describe_workflow_execution(request)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:  # its retention has just ended
            return set(), False
        raise
    needed |= await _keys_of(client, described)
    return needed, bool(described.pending_activities)


async def _keys_of(client: Client, message: Message) -> set[str]:
    encrypted = [p for p in payloads_in(message) if p.metadata.get("encoding") == ENCODING]
    found = {
        p.metadata[KEY_ID].decode("utf-8", "replace") for p in encrypted if KEY_ID in p.metadata
    }
    codec = client.data_converter.payload_codec
    clear = await codec.decode(encrypted) if codec is not None else []
    plain = [p for p in payloads_in(message) if p.metadata.get("encoding") != ENCODING]
    for payload in (*clear, *plain):
        found.update(match.decode() for match in _SEALED_WITH.findall(payload.data))
    return found


async def drop(
    client: Client,
    key_ring: KeyRing,
    key_id: str,
    *,
    stacks: Path,
    under_way: float = UNDER_WAY,
) -> KeyUse:
    """Forget a key for good, unless somebody needs it; give what could be read with it.

    Args:
        client: Connected to the only server, and the only namespace, where the keys are used.
        key_ring: Holds the key.
        key_id: The key's id.
        stacks: Where the stacks of this instance are.
        under_way: Seconds that a start may take.

    Raises:
        KeyNeeded: An open run needs it, or may come to need it; or a stack that holds objects
            could not be destroyed without it.
        SettingsError: There is no such key, or it is the active one.
        ServiceError: The server does not answer.
    """
    found = await survey(client, key_ring)
    key_ring.check_may_go(key_id)
    use = found.keys[key_id]
    _refuse_while_needed(use, found.at_work, retired=_retired(key_ring, key_id), grace=under_way)
    for workflow_id in sorted(use.closed_runs):
        stack = workflow_id.removeprefix("stack-")
        if workflow_id != stack and held_objects(stacks, stack):
            raise KeyNeeded(
                f"Stack {stack} holds objects, and its last runs need {key_id}: without it"
                " `tprov destroy` could not read what to destroy.",
                remedy=f"Destroy it (`tprov destroy {stack}`), or run it again, and then drop the"
                " key.",
            )
    if told := _journals_with(stacks, key_id):
        raise KeyNeeded(
            f"An apply on stack {told[0]} was cut off, and its journal tells with {key_id} what it"
            " was to create.",
            remedy="Keep the key: it does no harm.",
        )
    key_ring.drop(key_id)
    return use


def _refuse_while_needed(
    use: KeyUse, at_work: frozenset[str], *, retired: datetime, grace: float
) -> None:
    if use.open_runs:
        raise KeyNeeded(
            f"{named(use.open_runs)} open and need{'s' * (len(use.open_runs) == 1)} {use.key_id}:"
            " without it the run could not go on.",
            remedy="Let it come to its end, or cancel it; then drop the key.",
        )
    if at_work:
        raise KeyNeeded(
            f"{named(at_work)} at work, and may hand in what was sealed with {use.key_id}.",
            remedy="Try again when it waits or is over.",
        )
    left = grace - (datetime.now(UTC) - retired).total_seconds()
    if left > 0:
        raise KeyNeeded(
            f"{use.key_id} was active until a moment ago: a run that is just being started may"
            " need it.",
            remedy=f"Try again in {left:.0f} seconds.",
        )


def _journals_with(stacks: Path, key_id: str) -> list[str]:
    """Stacks on which an apply did not end well whose wishes were sealed with a key."""
    found = []
    for folder in sorted(stacks.glob("*/")):
        last = b""
        for line in (*_lines(folder / "journal.jsonl"), b'{"event":"apply_begun"}'):
            if b'"apply_begun"' in line and key_id.encode() in last:
                found.append(folder.name)
                break
            if b'"apply_begun"' in line:
                last = line
            elif b'"apply_ended"' in line and json.loads(line).get("code") == 0:
                last = b""
    return found


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError:
        return []


def _retired(key_ring: KeyRing, key_id: str) -> datetime:
    """When the key that came after it was made."""
    ids = list(key_ring.created)
    after = key_ring.created[ids[ids.index(key_id) + 1]]
    return datetime.fromisoformat(after)


def named(runs: Iterable[str]) -> str:
    """'stack-a is', 'stack-a, stack-b are', 'stack-a, stack-b, stack-c and 4 more are'."""
    every = sorted(runs)
    words = ", ".join(every[:NAMED]) + (f" and {len(every) - NAMED} more" * (len(every) > NAMED))
    return f"{words} {'is' if len(every) == 1 else 'are'}"

"""Starting a run, deciding on it, finding it: what a button, a command and a script all call."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    SearchAttributeKey,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from tprov_kernel.attributes import search_attributes
from tprov_kernel.connect import me
from tprov_kernel.decisions import MAX_TEXT
from tprov_kernel.errors import (
    ConfigurationError,
    DecisionRefused,
    ServiceError,
    StackBusy,
    StackError,
    TprovError,
)
from tprov_kernel.messages import (
    APPROVAL_EXPIRES,
    WORKFLOW_TYPE,
    Action,
    Decision,
    DecisionInput,
    InterruptInput,
    ReplanInput,
    RunRequest,
    RunResult,
    Status,
    workflow_id,
)
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.registration import known_attributes, what_is_missing
from tprov_kernel.settings import check_seconds, check_task_queue
from tprov_kernel.stacks import check_name, take_snapshot, variables_in
from tprov_kernel.stuck import unless_stuck, why_stuck

TASK_TIMEOUT = timedelta(seconds=2)
"""A query during a local activity, or a worker's death in one, is noticed after this long."""

CREDENTIALS = ("TEMPORAL_CLOUD_API_KEY", "TEMPORAL_API_KEY")
"""Variables of the environment whose values are known secrets."""

PATIENCE = 20.0
"""Seconds that a run may take to answer an update; one with a worker needs a few milliseconds."""

RunHandle = WorkflowHandle[Any, RunResult]
T = TypeVar("T")


async def start_run(
    client: Client,
    *,
    stack: str,
    directory: Path,
    key_ring: KeyRing,
    task_queue: str,
    shown_as: str = "",
    variables: Mapping[str, Any] | None = None,
    action: Action = "provision",
    requested_by: str = "",
    pace: float = 0.0,
    heartbeat: float = 30.0,
    approval_expires: float = APPROVAL_EXPIRES,
) -> RunHandle:
    """Take a snapshot and start a run on a stack.

    Args:
        client: Connected to the server.
        stack: The stack's name; the workflow id is ``stack-<name>``.
        directory: The root module.
        key_ring: Seals the snapshot.
        task_queue: Where a worker polls.
        shown_as: How people call the directory; default is the path itself.
        variables: Values for the configuration's variables.
        action: ``provision`` or ``destroy``.
        requested_by: A claimed name; default is this user's.
        pace: Seconds of pause before each step.
        heartbeat: Seconds without a sign of life after which an activity counts as lost.
        approval_expires: Seconds that a review may wait.

    Raises:
        StackError: The name is no name.
        StackBusy: A run is open on the stack.
        ConfigurationError: The directory is no configuration, or a variable is not declared.
        TooLarge: The snapshot would not fit into a payload.
        NotPublic: Directory or requester may not be in a search attribute.
        SettingsError: A number of seconds is out of bounds, or the task queue's name is none.
    """
    check_name(stack)
    check_task_queue(task_queue)
    check_seconds("pace", pace, least=0, most=600)
    check_seconds("heartbeat", heartbeat, least=0.1, most=86_400)
    check_seconds("expires", approval_expires, least=0.1, most=366 * 86_400)
    suffix = await _suffix_of(client, stack)
    request = RunRequest(
        stack=stack,
        directory=shown_as or str(directory),
        snapshot=take_snapshot(directory, variables=variables or {}, key_ring=key_ring),
        action=action,
        suffix=suffix,
        requested_by=requested_by or me().split("@")[0],
        pace=pace,
        heartbeat=heartbeat,
        approval_expires=approval_expires,
    )
    return await _start(client, request, task_queue)


async def start_destroy(
    client: Client, *, stack: str, task_queue: str, requested_by: str = "", **settings: float
) -> RunHandle:
    """Start a run that destroys what a stack holds, from the snapshot of its last run.

    Raises:
        StackError: There was no run on the stack.
        StackBusy: A run is open on it.
    """
    last = await last_request(client, stack)
    fields = {"pace": 0.0, "heartbeat": last.heartbeat, **settings}
    request = RunRequest(
        **{
            **{name: getattr(last, name) for name in last.__dataclass_fields__},
            "action": "destroy",
            "carried": None,
            "requested_by": requested_by or me().split("@")[0],
            **fields,
        }
    )
    return await _start(client, request, task_queue)


async def _start(client: Client, request: RunRequest, task_queue: str) -> RunHandle:
    status = Status.UNINITIALIZED.value
    attributes = search_attributes(
        {
            "provisionStatus": status,
            "tfDirectory": request.directory,
            "tprovStatus": status,
            "tprovDirectory": request.directory,
            "tprovStack": request.stack,
            "tprovRequester": request.requested_by,
            "tprovAction": request.action,
        },
        secrets=[os.environ.get(name, "") for name in CREDENTIALS],
    )
    try:
        return await client.start_workflow(
            WORKFLOW_TYPE,
            request,
            id=workflow_id(request.stack),
            task_queue=task_queue,
            result_type=RunResult,
            task_timeout=TASK_TIMEOUT,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            memo={"suffix": request.suffix},
            search_attributes=attributes,
        )
    except WorkflowAlreadyStartedError as error:
        raise StackBusy(
            f"Stack {request.stack!r} is busy: a run is open on it.",
            remedy=f"Look at it with `tprov status {request.stack}`, or use another stack.",
        ) from error
    except RPCError as error:
        if "search attribute" in error.message.lower():
            known = await known_attributes(client)
            missing = what_is_missing(known) if known is not None else None
            raise missing or ServiceError(
                f"The Temporal server refuses our search attributes: {error.message}.",
                remedy="Register them: the README's section 'Search attributes' has the commands.",
            ) from error
        raise as_service_error(error) from error


async def _suffix_of(client: Client, stack: str) -> str:
    """The stack's suffix: that of its last run, else a fresh one."""
    description = await describe(client, stack)
    if description is not None:
        kept = (await description.memo()).get("suffix")
        if isinstance(kept, str) and kept:
            return kept
    return secrets.token_hex(2)


async def describe(client: Client, stack: str) -> WorkflowExecutionDescription | None:
    """The last run on a stack, open or closed; None when there was none.

    Raises:
        StackError: The name is no name.
        ServiceError: The server does not answer.
    """
    handle = client.get_workflow_handle(workflow_id(check_name(stack)))
    try:
        return await handle.describe(rpc_timeout=timedelta(seconds=10))
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise as_service_error(error) from error


async def is_open(client: Client, stack: str) -> bool:
    """Whether a run is open on a stack."""
    description = await describe(client, stack)
    return description is not None and description.status == WorkflowExecutionStatus.RUNNING


async def run_of(client: Client, stack: str) -> RunHandle:
    """Handle of the last run on a stack, bound to that very run.

    Raises:
        StackError: There was none, or it is a workflow of another type.
    """
    description = await describe(client, stack)
    if description is None:
        raise StackError(
            f"There was never a run on stack {stack!r}.",
            remedy="`tprov status` lists the stacks.",
        )
    if description.workflow_type != WORKFLOW_TYPE:
        raise StackError(
            f"The workflow {workflow_id(stack)} is a {description.workflow_type}, no run of ours.",
            remedy="Use another stack; Temporal's own tools deal with that workflow.",
        )
    return _handle(client, workflow_id(stack), description.run_id)


def bound(client: Client, started: RunHandle) -> RunHandle:
    """The handle of a run that was just started, bound to that very run."""
    return _handle(client, started.id, started.first_execution_run_id or "")


def continued(client: Client, handle: RunHandle, run_id: str) -> RunHandle:
    """The handle of the execution as which a run goes on."""
    return _handle(client, handle.id, run_id)


def _handle(client: Client, workflow_id: str, run_id: str) -> RunHandle:
    from tprov_kernel.workflow import ProvisionInfraWorkflow

    return client.get_workflow_handle_for(ProvisionInfraWorkflow.run, workflow_id, run_id=run_id)


async def last_request(client: Client, stack: str) -> RunRequest:
    """What the last run on a stack was asked to do, with the snapshot that it planned last.

    Raises:
        StackError: There was none, or it is of another kind.
    """
    request, _ = await request_of(client, await run_of(client, stack))
    return request


async def request_of(client: Client, handle: RunHandle) -> tuple[RunRequest, datetime]:
    """What a run was asked to do, with the snapshot of its last re-plan, and when that was taken.

    Raises:
        StackError: It is of another kind.
    """
    request: RunRequest | None = None
    at = datetime.now(UTC)
    async for event in handle.fetch_history_events():
        if event.HasField("workflow_execution_started_event_attributes"):
            started = event.workflow_execution_started_event_attributes
            if started.workflow_type.name != WORKFLOW_TYPE:
                break
            request = await _decoded(client, started.input.payloads, RunRequest)
        elif event.HasField("workflow_execution_update_accepted_event_attributes"):
            update = event.workflow_execution_update_accepted_event_attributes.accepted_request
            if request is None or update.input.name != "replan":
                continue
            wanted = await _decoded(client, update.input.args.payloads, ReplanInput)
            request = replace(
                request,
                snapshot=wanted.snapshot,
                requested_by=wanted.requested_by or request.requested_by,
            )
        else:
            continue
        at = event.event_time.ToDatetime(UTC)
    if not isinstance(request, RunRequest):
        stack = handle.id.removeprefix("stack-")
        raise StackError(
            f"What was asked of stack {stack!r} cannot be read.",
            remedy="Look for the key ring that it was started with: `tprov doctor`.",
        )
    return request, at


async def _decoded(client: Client, payloads: Sequence[Payload], kind: type[T]) -> T:
    value: T = (await client.data_converter.decode(payloads, [kind]))[0]
    return value


async def replan(
    client: Client,
    handle: RunHandle,
    *,
    directory: Path,
    key_ring: KeyRing,
    variables: Mapping[str, Any] | None = None,
    requested_by: str = "",
) -> str:
    """Have a run that waits for a decision plan the directory as it is now, and ask again.

    Args:
        client: Connected to the server.
        handle: The run.
        directory: The root module.
        key_ring: Seals the snapshot, and opens the former one.
        variables: Values for variables; default are those of the former snapshot.
        requested_by: A claimed name; default is this user's.

    Returns:
        What the run answered, in words.

    Raises:
        DecisionRefused: It is not waiting for a decision; nothing was recorded.
        ConfigurationError: The directory is no configuration, or a variable is not declared.
    """
    if variables is None:
        request, _ = await request_of(client, handle)
        variables = variables_in(request.snapshot, key_ring)
    snapshot = take_snapshot(directory, variables=variables, key_ring=key_ring)
    wanted = ReplanInput(
        snapshot=snapshot, requested_by=requested_by or me().split("@", maxsplit=1)[0]
    )
    return str(await _update(handle, "replan", wanted, str))


async def recheck(handle: RunHandle) -> str:
    """Have a plan judged again that the policies could not judge, after they were mended.

    Raises:
        DecisionRefused: The run is not waiting for it; nothing was recorded.
    """
    return str(await _update(handle, "recheck", None, str))


async def interrupt(handle: RunHandle, *, by: str = "") -> str:
    """Stop the apply that is at work; a second time, while it is being stopped, kill it.

    Afterwards what it had made is looked up and taken over, and a person is asked whether the rest
    is to be done.

    Args:
        handle: The run.
        by: A claimed name; default is this user's.

    Returns:
        What the run answered, in words.

    Raises:
        DecisionRefused: No apply is at work; nothing was recorded.
    """
    wanted = InterruptInput(by=by or me().split("@", maxsplit=1)[0])
    return str(await _update(handle, "interrupt", wanted, str))


async def decide(
    handle: RunHandle,
    verb: Literal["approve", "deny"],
    *,
    reason: str,
    reviewer: str = "",
    review: str = "",
    via: Literal["signal", "update"] = "update",
    patience: float = PATIENCE,
) -> Decision | None:
    """Approve or deny a review.

    Returns:
        The decision as it was taken; None by signal, which tells nothing.

    Raises:
        DecisionRefused: By update: it cannot be taken, in words; nothing was recorded.
        SealBroken: By update: the run's worker lacks a key, and cannot go on with it.
        ServiceError: The server does not answer.
    """
    for what, text in (("reason", reason), ("reviewer", reviewer), ("review", review)):
        if len(text) > MAX_TEXT:  # it would be cut; and a large one could not be taken at all
            raise DecisionRefused(
                f"Refused: the {what} has {len(text):,} characters. Nothing was recorded.",
                remedy=f"Give at most {MAX_TEXT:,} characters.",
            )
    given = DecisionInput(reason=reason, reviewer=reviewer or me().split("@")[0], review=review)
    name = f"{verb}_apply"
    if via == "update":
        return await _update(handle, name, asdict(given), Decision, patience=patience)
    try:
        await handle.signal(name, asdict(given))
    except RPCError as error:
        raise await _as_refused(handle, error) from error
    return None


async def _update(
    handle: RunHandle, name: str, given: object, result_type: type[T], *, patience: float = PATIENCE
) -> T:
    limit = asyncio.timeout(patience)
    try:
        args = [] if given is None else [given]
        async with limit:
            asking = handle.execute_update(name, args=args, result_type=result_type)
            answer: T = await unless_stuck(handle, asking)
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
        if not limit.expired():  # Ctrl-C
            raise asyncio.CancelledError from error
        raise ServiceError(
            f"The run {handle.id} did not answer within {patience:g} s: no worker seems to be"
            " there.",
            remedy="Start one (`tprov worker`), look at the run, and decide again if it waits.",
        ) from error
    except WorkflowUpdateFailedError as error:
        cause = error.cause
        words = cause.message if isinstance(cause, ApplicationError) else str(cause)
        raise DecisionRefused(words, remedy=_how_to_decide(words, handle)) from error
    except RPCError as error:
        with contextlib.suppress(RPCError):
            if (why := await why_stuck(handle)) is not None:
                raise why from error
        raise await _as_refused(handle, error) from error
    return answer


async def _as_refused(handle: RunHandle, error: RPCError) -> TprovError:
    """The words for a call that the server did not take: a run that is over says how it ended."""
    if error.status != RPCStatusCode.NOT_FOUND:
        return as_service_error(error)
    how = ""
    with contextlib.suppress(RPCError, ValueError):
        described = await handle.describe()
        if described.status == WorkflowExecutionStatus.CONTINUED_AS_NEW:
            return DecisionRefused(
                "Refused: this run goes on in a new execution. Nothing was recorded.",
                remedy=f"Decide there: `tprov status {handle.id.removeprefix('stack-')}`.",
            )
        kept = described.typed_search_attributes
        status = Status(kept.get(SearchAttributeKey.for_keyword("tprovStatus")) or "")
        how = f", it is {status.words}" if status.is_final else ""
    return DecisionRefused(
        f"Refused: the run is over{how}. Nothing was recorded.",
        remedy="`tprov start` begins another run.",
    )


def _how_to_decide(refused: str, handle: RunHandle) -> str:
    if "needs a reason" in refused:
        return "Say why: --reason in a terminal, the argument in a notebook, the field on the card."
    return f"`tprov status {handle.id.removeprefix('stack-')}` shows what the run waits for."


def as_service_error(error: RPCError) -> ServiceError:
    """The sentence for a server that does not answer, or does not let us in."""
    return ServiceError(
        f"The Temporal server did not take the call: {_clause(error)}.",
        remedy="`tprov doctor` tells what is wrong.",
    )


def _clause(error: RPCError) -> str:
    return (error.message or error.status.name).strip().rstrip(".")


def resolve_directory(text: str | Path, *, root: Path) -> Path:
    """Find a configuration's directory: as it is, else below the workspace.

    Raises:
        ConfigurationError: It is in neither place.
    """
    if not isinstance(text, (str, Path)) or not str(text).strip():
        raise ConfigurationError(
            f"{text!r} is no directory's name.",
            remedy="Give the directory of a Terraform configuration.",
        )
    given = Path(text).expanduser()
    for candidate in (given, root / given):
        with contextlib.suppress(OSError, ValueError):  # a name that no file can have
            if candidate.exists():
                return candidate
    raise ConfigurationError(
        f"There is no directory {text}, neither here nor in {root}.",
        remedy="Give the directory of a Terraform configuration.",
    )


async def export_history(client: Client, handle: RunHandle) -> str:
    """A run's history as JSON that a `Replayer` reads, with payloads decoded.

    Decoded, because a recorded history outlives the key ring it was encrypted with; what is sealed
    (snapshot, plan file) stays sealed.
    """
    history = await handle.fetch_history()
    codec = client.data_converter.payload_codec
    if codec is not None:
        for event in history.events:
            for payload in payloads_in(event):
                payload.CopyFrom((await codec.decode([payload]))[0])
    return history.to_json()


def payloads_in(message: Message) -> Iterator[Payload]:
    """Every payload anywhere in a protobuf message."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for item in value.values():
                    yield from payloads_in(item)
        elif isinstance(value, Message):
            yield from payloads_in(value)
        else:
            for item in value:
                yield from payloads_in(item)

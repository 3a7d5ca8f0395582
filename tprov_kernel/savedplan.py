"""The saved plan of a run as Terraform shows it: from its history, unsealed where it is wanted.

Terraform shows it in the stack's own directory where that is initialised and holds the same
snapshot, else in a private one, initialised from the mirror. The plan file is on disk only for that
moment; what was shown is kept in memory.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from tprov_kernel.activities import redact_shown, secrets_given_in
from tprov_kernel.errors import SealBroken, StackError, ToolError, TprovError
from tprov_kernel.files import write_private
from tprov_kernel.messages import PlanJob, PlanResult
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.process import Guard, run
from tprov_kernel.redaction import Redacted
from tprov_kernel.runs import as_service_error
from tprov_kernel.settings import CloudSettings, Settings
from tprov_kernel.stacks import StackDirectory, check_name, given_in
from tprov_kernel.terraform import QUICK, Terraform, diagnostics, failure, init_args, parse_events
from tprov_kernel.toolchain import Toolchain

CACHED = 8
"""Shown plans that are kept in memory."""

Handle = WorkflowHandle[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Means:
    """What it takes to read a plan, and to have it judged.

    Attributes:
        key_ring: Opens the plan.
        toolchain: Terraform, of the version that made the plan, and OPA.
        guard: Owns both.
        settings: Whose policies, and whose credentials are secrets.
    """

    key_ring: KeyRing
    toolchain: Toolchain
    guard: Guard
    settings: Settings


@dataclass(frozen=True)
class ShownPlan:
    """A plan as Terraform shows it, secrets included, and what may be shown of it."""

    json: bytes = field(repr=False)
    redacted: Redacted


@dataclass(frozen=True)
class _Saved:
    """A plan as it is in the history."""

    job: PlanJob
    result: PlanResult


_known: OrderedDict[str, ShownPlan] = OrderedDict()


async def shown_plan(client: Client, handle: Handle, means: Means) -> ShownPlan:
    """Give the last plan of a run.

    Raises:
        StackError: It has made none.
        ToolError: Terraform does not work, or is not the one that made the plan.
        SealBroken: The key ring cannot open the plan.
        ServiceError: The Temporal server does not answer.
    """
    saved = await _saved_plan(client, handle)
    digest = saved.result.plan.file_digest
    if digest not in _known:
        _known[digest] = await _show(saved, means)
        while len(_known) > CACHED:
            _known.popitem(last=False)
    _known.move_to_end(digest)
    return _known[digest]


def forget() -> None:
    """Forget what was shown."""
    _known.clear()


def remembered() -> list[ShownPlan]:
    """What is kept in memory."""
    return list(_known.values())


async def _saved_plan(client: Client, handle: Handle) -> _Saved:
    """The last plan in a run's history; in that of the execution before, if it has none yet."""
    jobs: dict[int, Any] = {}
    last: tuple[Any, Any] | None = None
    former = ""
    try:
        async for event in handle.fetch_history_events():
            if event.HasField("workflow_execution_started_event_attributes"):
                began = event.workflow_execution_started_event_attributes
                former = began.continued_execution_run_id
            elif event.HasField("activity_task_scheduled_event_attributes"):
                scheduled = event.activity_task_scheduled_event_attributes
                if scheduled.activity_type.name == "terraform_plan":
                    jobs[event.event_id] = scheduled.input.payloads
            elif event.HasField("activity_task_completed_event_attributes"):
                done = event.activity_task_completed_event_attributes
                if done.scheduled_event_id in jobs:
                    last = jobs[done.scheduled_event_id], done.result.payloads
    except RPCError as error:
        raise as_service_error(error) from error
    if last is None:
        if former:
            return await _saved_plan(client, client.get_workflow_handle(handle.id, run_id=former))
        raise StackError(
            f"The run {handle.id} has made no plan yet.",
            remedy="Wait until it is planned: `tprov status` shows how far it is.",
        )
    return await _read(client, *last)


async def _read(client: Client, job: Any, result: Any) -> _Saved:
    asked: Any = None
    made: Any = None
    with suppress(Exception):  # whatever a codec says of a key that is gone
        (asked,) = await client.data_converter.decode(job, [PlanJob])
        (made,) = await client.data_converter.decode(result, [PlanResult])
    if not isinstance(asked, PlanJob) or not isinstance(made, PlanResult):
        raise SealBroken(
            "The plan in the run's history cannot be read with the keys at hand.",
            remedy="Put back the key ring of the workspace that made it.",
        )
    return _Saved(asked, made)


async def _show(saved: _Saved, means: Means) -> ShownPlan:
    plan, keys = saved.result.plan, means.key_ring
    here = means.toolchain.terraform.version
    if plan.terraform_version != here:
        raise ToolError(
            f"Terraform {plan.terraform_version} made this plan and only that very version can"
            f" read it; here is {here}.",
            remedy=f"Name Terraform {plan.terraform_version} in TPROV_TERRAFORM.",
        )
    content = await asyncio.to_thread(keys.unseal, plan.sealed, kind="plan")
    if keys.mac(content) != plan.file_digest:
        raise SealBroken("The plan file is not the one that its digest names.")
    with tempfile.TemporaryDirectory(prefix="tprov-whatif-") as name:
        folder = Path(name)
        file = folder / "tfplan"
        write_private(file, content)
        write_private(folder / "terraform.rc", means.toolchain.cli_config().encode())
        if (own := _own_directory(saved, means)) is not None:
            # It may fail where a worker is at work, or where one left it half made.
            with suppress(TprovError):
                return await _show_in(own, folder, saved, means)
        private = await _private_directory(folder, saved, means)
        return await _show_in(private, folder, saved, means)


def _own_directory(saved: _Saved, means: Means) -> Path | None:
    """The stack's root module, if it is initialised and of the same snapshot; only looked at."""
    base = means.settings.stacks
    if not (base / check_name(saved.job.stack)).is_dir():
        return None  # to look at it would make it
    stack = StackDirectory(base, saved.job.stack)
    ready = (stack.root / ".terraform").is_dir()
    return stack.root if ready and stack.snapshot_digest == saved.job.snapshot.digest else None


async def _private_directory(folder: Path, saved: _Saved, means: Means) -> Path:
    """The snapshot, unpacked and initialised for this once; its backend is left alone."""
    stack = StackDirectory(folder / "stacks", saved.job.stack)
    stack.unpack(saved.job.snapshot, means.key_ring)
    terraform = _terraform(stack.root, folder, saved, means)
    done = await run(
        means.guard,
        [*means.toolchain.terraform.argv, *init_args(), "-backend=false"],
        cwd=stack.root,
        env=terraform.environment,
        timeout=120,
        ending=QUICK,
    )
    if done.returncode != 0:
        found = diagnostics(parse_events(done.stdout))
        raise failure("init", found, done, (await terraform.scrubber()).text)
    return stack.root


async def _show_in(root: Path, folder: Path, saved: _Saved, means: Means) -> ShownPlan:
    shown = await _terraform(root, folder, saved, means).show(folder / "tfplan")
    _, redacted = await asyncio.to_thread(
        redact_shown,
        shown,
        root,
        given_in(saved.job.snapshot, means.key_ring),
        means.settings,
        import_ids=saved.job.adopt.values(),
    )
    return ShownPlan(shown, redacted)


def _terraform(root: Path, folder: Path, saved: _Saved, means: Means) -> Terraform:
    given = given_in(saved.job.snapshot, means.key_ring)
    return Terraform(
        tool=means.toolchain.terraform,
        guard=means.guard,
        directory=root,
        cli_config=folder / "terraform.rc",
        cloud=CloudSettings(),  # to show a plan takes no credentials
        suffix=saved.job.suffix,
        secrets=functools.partial(secrets_given_in, root, given, means.settings),
    )

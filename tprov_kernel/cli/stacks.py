"""start, approve, deny, replan, recheck, retry, cancel, destroy, export-history: what people do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from temporalio.service import RPCError

from tprov_kernel import runs
from tprov_kernel.announce import starting_words
from tprov_kernel.cli import render, say
from tprov_kernel.cli.follow import follow
from tprov_kernel.cli.histories import without_the_machine
from tprov_kernel.cli.place import Connection, Place, connected, shown
from tprov_kernel.errors import StackBusy, StackError
from tprov_kernel.files import using
from tprov_kernel.given import plainly_given, warning_about
from tprov_kernel.retries import retry_now
from tprov_kernel.stacks import check_name, held_objects
from tprov_kernel.stuck import why_stuck
from tprov_kernel.workers import pollers

# --- start -----------------------------------------------------------------------------------


async def start(
    place: Place,
    *,
    stack: str,
    config: str,
    variables: Mapping[str, Any],
    task_queue: str,
    expires: float,
    watch: bool,
) -> int:
    """Start a run; the workflow id is all that goes to stdout."""
    check_name(stack)
    directory = runs.resolve_directory(config, root=place.root)
    _warn_about_secrets(directory, variables)
    async with connected(place) as at:
        queue = task_queue or at.settings.task_queue
        await _say_where(at, stack=stack)
        started = await runs.start_run(
            at.client,
            stack=stack,
            directory=directory,
            shown_as=config,
            key_ring=at.key_ring,
            task_queue=queue,
            variables=variables,
            approval_expires=expires,
        )
        handle = runs.bound(at.client, started)
        if not await pollers(at.client, queue):
            for line in render.nobody_polls(queue):
                say.err().print(line, soft_wrap=True)
        elif not watch:
            say.aside(f"Watch it with `tprov status {stack} --watch`.")
        say.answer(handle.id)
        return await _to_the_end(at, handle, stack) if watch else 0


async def _say_where(at: Connection, *, stack: str) -> None:
    """Remote: name server and account before anything is changed there."""
    if at.settings.target == "remote":
        say.aside(await starting_words(stack, at.settings))
        say.doubts(at.settings)
    say.ignored(at.settings.ignored)


def _warn_about_secrets(directory: Path, variables: Mapping[str, Any]) -> None:
    if names := plainly_given(directory, variables):
        where = "on a command line, where other people of this machine, and its history, can see it"
        message, remedy = warning_about(names, where=where)
        say.warning(message, remedy=remedy)


async def _to_the_end(at: Connection, handle: runs.RunHandle, stack: str) -> int:
    view = await follow(at.client, handle, stack=stack, console=say.err())
    say.err().print()
    say.err().print(render.ending(view))
    return 0 if render.came_well(view) else 1


# --- approve, deny, cancel -------------------------------------------------------------------


async def decide(
    place: Place,
    verb: Literal["approve", "deny"],
    *,
    stack: str,
    reason: str,
    reviewer: str,
    review: str,
    signal: bool,
) -> int:
    """Take a decision on what waits."""
    async with connected(place) as at:
        handle = await runs.run_of(at.client, stack)
        taken = await runs.decide(
            handle,
            verb,
            reason=reason,
            reviewer=reviewer,
            review=review,
            via="signal" if signal else "update",
        )
    if taken is None:
        say.answer("Sent. A signal tells nothing back.")
        say.aside(f"What came of it: `tprov status {stack}`.")
        return 0
    said = f"Recorded: {taken.outcome} by {taken.reviewer}"
    say.answer(f"{said}, because: {taken.reason}" if taken.reason else f"{said}.")
    say.aside(f"Watch it go on with `tprov status {stack} --watch`.")
    return 0


async def replan(place: Place, *, stack: str, config: str, variables: Mapping[str, Any]) -> int:
    """Have a run that waits plan its directory as it is now, and ask again."""
    async with connected(place) as at:
        handle = await runs.run_of(at.client, stack)
        named = config or (await runs.last_request(at.client, stack)).directory
        directory = runs.resolve_directory(named, root=place.root)
        _warn_about_secrets(directory, variables)
        answer = await runs.replan(
            at.client,
            handle,
            directory=directory,
            key_ring=at.key_ring,
            variables=variables or None,
        )
    say.answer(answer)
    say.aside(f"Look at the new review with `tprov status {stack}`.")
    return 0


async def recheck(place: Place, *, stack: str) -> int:
    """Have a plan judged again by the policies as they are now."""
    async with connected(place) as at:
        say.answer(await runs.recheck(await runs.run_of(at.client, stack)))
    say.aside(f"What came of it: `tprov status {stack}`.")
    return 0


async def interrupt(place: Place, *, stack: str) -> int:
    """Stop the apply that is at work."""
    async with connected(place) as at:
        say.answer(await runs.interrupt(await runs.run_of(at.client, stack)))
    say.aside(f"Watch it with `tprov status {stack} --watch`.")
    return 0


async def retry(place: Place, *, stack: str) -> int:
    """Have a step tried again that waits for its next attempt."""
    async with connected(place) as at:
        say.answer(await retry_now(at.client, await runs.run_of(at.client, stack)))
    say.aside(f"What came of it: `tprov status {stack}`.")
    return 0


async def cancel(place: Place, *, stack: str) -> int:
    """Ask a run to stop."""
    async with connected(place) as at:
        handle = await runs.run_of(at.client, stack)
        if not await runs.is_open(at.client, stack):
            raise StackError(
                f"No run is open on stack {stack!r}: there is nothing to cancel.",
                remedy=f"Look at it with `tprov status {stack}`.",
            )
        try:
            await handle.cancel(rpc_timeout=timedelta(seconds=10))
            stuck = await why_stuck(handle)
        except RPCError as error:
            raise runs.as_service_error(error) from error
    if stuck is not None:
        say.answer(f"Asked {handle.id} to stop; it will when it can be read again.")
        end = f"temporal workflow terminate --workflow-id {handle.id}"
        say.warning(stuck.message, remedy=f"If the key is lost for good, `{end}` ends the run.")
        return 0
    say.answer(f"Asked {handle.id} to stop. A Terraform at work is interrupted, not killed.")
    say.aside(f"Watch it end with `tprov status {stack} --watch`.")
    return 0


# --- destroy ---------------------------------------------------------------------------------


async def destroy(place: Place, *, stack: str, task_queue: str, yes: bool, watch: bool) -> int:
    """Show what goes, ask, start a destroy run, watch it to its end."""
    check_name(stack)
    async with connected(place) as at:
        await runs.last_request(at.client, stack)  # there must have been a run
        if await runs.is_open(at.client, stack):
            raise StackBusy(
                f"Stack {stack!r} is busy: a run is open on it.",
                remedy=f"Wait for it (`tprov status {stack} --watch`), deny or cancel it first.",
            )
        held = held_objects(at.settings.stacks, stack)
        if not _shown_what_goes(at, stack, held):
            return 0
        if not yes and not say.confirmed(f"Destroy what stack {stack} holds?"):
            say.aside("Nothing was destroyed.")
            return 1
        queue = task_queue or await _queue_for(at, stack)
        handle = runs.bound(
            at.client, await runs.start_destroy(at.client, stack=stack, task_queue=queue)
        )
        say.answer(handle.id)
        return await _to_the_end(at, handle, stack) if watch else 0


def _shown_what_goes(at: Connection, stack: str, held: Sequence[str]) -> bool:
    """Show what a destroy would remove; False when there is nothing."""
    if held:
        say.out().print(f"Stack [bold]{stack}[/bold] holds, as its state says:")
        for address in held:
            say.out().print(f"  [red]-[/red] {address}", markup=True)
        return True
    backend = list((at.settings.stacks / stack).glob("config/**/.terraform/terraform.tfstate"))
    if at.settings.target == "local" and not backend:
        say.answer(f"Stack {stack} holds nothing: there is nothing to destroy.")
        return False
    say.warning(f"The state of {stack} is not on this machine; the run's plan shows what goes.")
    return True


async def _queue_for(at: Connection, stack: str) -> str:
    """Where somebody polls; first that of the last run, whose worker has the state."""
    described = await runs.describe(at.client, stack)
    queues = [described.task_queue] if described is not None else []
    for queue in (*queues, at.settings.task_queue):
        if await pollers(at.client, queue):
            return queue
    for line in render.nobody_polls(at.settings.task_queue):
        say.err().print(line, soft_wrap=True)
    return at.settings.task_queue


# --- export-history --------------------------------------------------------------------------


async def export_history(place: Place, *, stack: str, file: Path, as_stored: bool) -> int:
    """Write the history of a stack's last run into a file, for tests to replay."""
    async with connected(place) as at:
        handle = await runs.run_of(at.client, stack)
        try:
            if as_stored:
                text = (await handle.fetch_history()).to_json()
            else:
                text = without_the_machine(await runs.export_history(at.client, handle))
        except RPCError as error:
            raise runs.as_service_error(error) from error
    with using(file):
        await asyncio.to_thread(file.write_text, text)
    say.answer(f"The history of {handle.id} is in {shown(file)}.")
    say.aside(
        "Payloads are as the server has them."
        if as_stored
        else "Payloads are decoded: read the file before you give it to anybody."
    )
    return 0

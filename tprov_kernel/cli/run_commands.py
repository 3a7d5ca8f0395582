"""start to export-history: their names, options and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tprov_kernel.cli import say
from tprov_kernel.cli.base import (
    RUNS,
    Json,
    Queue,
    Reason,
    Review,
    Reviewer,
    Signal,
    Stack,
    Target,
    TargetOption,
    Var,
    Watch,
    Yes,
    command,
    goes_on,
    place_of,
    variables_of,
)


@command(RUNS)
def start(
    context: typer.Context,
    stack: Stack,
    config: Annotated[
        str,
        typer.Option(
            "--config", "-c", help="The Terraform root module.", metavar="DIR", show_default=False
        ),
    ],
    var: Var = None,
    watch: Watch = False,
    task_queue: Queue = "",
    expires: Annotated[float, typer.Option(help="Seconds that an approval may wait.")] = 72
    * 3600.0,
    target: TargetOption = None,
) -> None:
    """Start a run: plan a configuration, check the policies, apply it.

    The directory is copied into the run as it is now; later changes do not touch it. The last line
    is the workflow id and nothing else. With --watch the exit code tells how it ended.

    [bold]Example:[/bold] tprov start demo --config terraform/tcloud_namespace --watch

    [bold]Next:[/bold] [bold]tprov status demo[/bold]; [bold]tprov destroy demo[/bold] cleans up.
    """
    variables = variables_of(var or [])
    place = place_of(context, target)
    from tprov_kernel.cli import stacks

    work = stacks.start(
        place,
        stack=stack,
        config=config,
        variables=variables,
        task_queue=task_queue,
        expires=expires,
        watch=watch,
    )
    raise typer.Exit(say.to_its_end(work, interrupted=goes_on(stack)))


@command(RUNS)
def status(
    context: typer.Context,
    stack: Annotated[
        str | None,
        typer.Argument(
            help="One stack; all of them without.", metavar="[STACK]", show_default=False
        ),
    ] = None,
    query: Annotated[
        str,
        typer.Option(
            "--query",
            "-q",
            help="Every run that a list filter finds; `temporal workflow list` takes the same.",
            metavar="FILTER",
            show_default=False,
        ),
    ] = "",
    count: Annotated[
        bool, typer.Option("--count", help="How many runs have which status, and no list.")
    ] = False,
    watch: Watch = False,
    as_json: Json = False,
    target: TargetOption = None,
) -> None:
    """List the stacks, or show one: steps, plan, findings, decisions, outputs.

    What it shows comes from the run's history; no worker is needed. A list filter asks for search
    attributes: tprovStatus, tprovStack, tprovDirectory, tprovRequester, tprovVerdict, tprovAction,
    and Temporal's own such as ExecutionStatus and StartTime. Texts stand in single quotes.

    [bold]Example:[/bold] tprov status demo --watch

    [bold]Example:[/bold] tprov status --query "tprovStatus='awaiting_approval'"

    [bold]Example:[/bold] tprov status --query "tprovVerdict!='allowed' AND
    tprovDirectory='terraform/tcloud_admin_user' AND StartTime > '2026-01-31'"

    [bold]Example:[/bold] tprov status --count --query "tprovRequester='ada'"

    [bold]Next:[/bold] [bold]tprov approve[/bold] or [bold]tprov deny[/bold], where a run waits.
    """
    if stack and (query or count):
        raise say.Usage(
            "One stack, or a filter: not both.",
            remedy=f"A filter for its runs: tprov status --query \"tprovStack='{stack}'\"",
        )
    place = place_of(context, target)
    from tprov_kernel.cli import looking

    said = goes_on(stack) if stack else "Interrupted."
    wanted = looking.Wanted(query=query, count=count)
    work = looking.status(place, stack=stack, wanted=wanted, watch=watch, as_json=as_json)
    raise typer.Exit(say.to_its_end(work, interrupted=said))


@command(RUNS)
def approve(
    context: typer.Context,
    stack: Stack,
    reason: Reason = "",
    reviewer: Reviewer = "",
    review: Review = "",
    signal: Signal = False,
    target: TargetOption = None,
) -> None:
    """Approve the plan that waits. A reason is needed.

    By an update, so it answers: recorded, or refused and why. --signal sends a signal instead,
    as `temporal workflow signal` does.

    [bold]Example:[/bold] tprov approve demo --reason "agreed with the platform team"

    [bold]Next:[/bold] [bold]tprov status demo --watch[/bold]
    """
    _decide(
        context,
        "approve",
        target,
        stack=stack,
        reason=reason,
        reviewer=reviewer,
        review=review,
        signal=signal,
    )


@command(RUNS)
def deny(
    context: typer.Context,
    stack: Stack,
    reason: Reason = "",
    reviewer: Reviewer = "",
    review: Review = "",
    signal: Signal = False,
    target: TargetOption = None,
) -> None:
    """Deny the plan that waits: the run ends, nothing is changed.

    [bold]Example:[/bold] tprov deny demo --reason "use a namespace permission instead"

    [bold]Next:[/bold] correct the configuration, then [bold]tprov start[/bold] again.
    """
    _decide(
        context,
        "deny",
        target,
        stack=stack,
        reason=reason,
        reviewer=reviewer,
        review=review,
        signal=signal,
    )


def _decide(
    context: typer.Context, verb: Literal["approve", "deny"], target: Target | None, **given: Any
) -> None:
    place = place_of(context, target)
    from tprov_kernel.cli import stacks

    raise typer.Exit(say.to_its_end(stacks.decide(place, verb, **given)))


@command(RUNS)
def replan(
    context: typer.Context,
    stack: Stack,
    config: Annotated[
        str,
        typer.Option(
            "--config", "-c", help="Another root module.", metavar="DIR", show_default=False
        ),
    ] = "",
    var: Var = None,
    target: TargetOption = None,
) -> None:
    """Have a run that waits for a decision plan its directory as it is now, and ask again.

    A waiting run keeps to the copy that it was started with. What was approved before does not
    cover what is new. Without --var the variables stay as they were.

    [bold]Example:[/bold] tprov replan demo

    [bold]Next:[/bold] [bold]tprov status demo[/bold] shows the new review.
    """
    variables = variables_of(var or [])
    place = place_of(context, target)
    from tprov_kernel.cli import stacks

    work = stacks.replan(place, stack=stack, config=config, variables=variables)
    raise typer.Exit(say.to_its_end(work))


@command(RUNS)
def recheck(context: typer.Context, stack: Stack, target: TargetOption = None) -> None:
    """Take the step again that waits for a repair, after you mended what it failed of.

    That is policies that could not judge, a plan that was too large, or what an apply has left
    behind; tprov status tells which.

    [bold]Example:[/bold] tprov recheck demo

    [bold]Next:[/bold] [bold]tprov status demo[/bold]
    """
    place = place_of(context, target)
    from tprov_kernel.cli import stacks

    raise typer.Exit(say.to_its_end(stacks.recheck(place, stack=stack)))


@command(RUNS)
def interrupt(context: typer.Context, stack: Stack, target: TargetOption = None) -> None:
    """Stop the apply that is at work; the run goes on, and asks whether to do the rest.

    Terraform is asked to end and saves its state; what it had made meanwhile is looked up and
    taken over. Said a second time while it is stopping, Terraform and its plug-ins are killed.

    [bold]Example:[/bold] tprov interrupt demo

    [bold]Next:[/bold] [bold]tprov status demo[/bold] shows what is left, and asks.
    """
    place = place_of(context, target)
    from tprov_kernel.cli import stacks

    raise typer.Exit(say.to_its_end(stacks.interrupt(place, stack=stack)))


@command(RUNS)
def retry(context: typer.Context, stack: Stack, target: TargetOption = None) -> None:
    """Have a step that failed tried again now, in place of waiting for Temporal's next attempt.

    [bold]Example:[/bold] tprov retry demo

    [bold]Next:[/bold] [bold]tprov status demo --watch[/bold]
    """
    place = place_of(context, target)
    from tprov_kernel.cli import stacks

    raise typer.Exit(say.to_its_end(stacks.retry(place, stack=stack)))


@command(RUNS)
def cancel(context: typer.Context, stack: Stack, target: TargetOption = None) -> None:
    """Ask a run to stop. A Terraform at work is interrupted and may finish what it holds.

    [bold]Example:[/bold] tprov cancel demo

    [bold]Next:[/bold] [bold]tprov status demo[/bold] shows what it had done by then.
    """
    place = place_of(context, target)
    from tprov_kernel.cli import stacks

    raise typer.Exit(say.to_its_end(stacks.cancel(place, stack=stack)))


@command(RUNS)
def destroy(
    context: typer.Context,
    stack: Stack,
    yes: Yes = False,
    watch: Annotated[
        bool, typer.Option("--watch/--no-watch", "-w", help="Show it live, until it is over.")
    ] = True,
    task_queue: Queue = "",
    target: TargetOption = None,
) -> None:
    """Destroy what a stack holds, by a run like any other; shows it first, and asks.

    [bold]Example:[/bold] tprov destroy demo --yes

    [bold]Next:[/bold] [bold]tprov status[/bold]. Terraform itself can do it too:
    tprov env --help shows how.
    """
    place = place_of(context, target)
    from tprov_kernel.cli import stacks

    work = stacks.destroy(place, stack=stack, task_queue=task_queue, yes=yes, watch=watch)
    raise typer.Exit(say.to_its_end(work, interrupted=goes_on(stack)))


@command(RUNS, "export-history")
def export_history(
    context: typer.Context,
    stack: Stack,
    file: Annotated[Path, typer.Argument(help="Where to.", show_default=False)],
    as_stored: Annotated[
        bool, typer.Option("--as-stored", help="Leave payloads as the server has them.")
    ] = False,
    target: TargetOption = None,
) -> None:
    """Write the history of a stack's last run into a file, for the tests to replay.

    Payloads are decoded, so that a replay needs no key; identities and stack traces, which name
    this machine, are left out. What is sealed stays sealed.

    [bold]Example:[/bold] tprov export-history demo tests/histories/happy_path.json

    [bold]Next:[/bold] read it, then run the tests: each file in tests/histories is replayed.
    """
    place = place_of(context, target)
    from tprov_kernel.cli import stacks

    work = stacks.export_history(place, stack=stack, file=file, as_stored=as_stored)
    raise typer.Exit(say.to_its_end(work))

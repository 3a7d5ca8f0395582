"""audit, policy try, policy explain: their names, options and help."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tprov_kernel.cli import say
from tprov_kernel.cli.base import RUNS, Json, Stack, TargetOption, app, command, place_of

policy = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Try other policies on the plan of a run, and have a rule explained.",
)
app.add_typer(policy, name="policy", rich_help_panel=RUNS)

Bundle = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        "-b",
        help="A directory with policies; those of the workspace unless given.",
        metavar="DIR",
        show_default=False,
    ),
]


@command(RUNS)
def audit(
    context: typer.Context,
    stack: Stack,
    as_json: Json = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Into this file.", metavar="FILE", show_default=False),
    ] = None,
    target: TargetOption = None,
) -> None:
    """Tell a stack's last run from its history: who asked, what was planned, found, decided, done.

    As Markdown, or with --json as JSON. No worker is needed. Workers keep one of each run that
    closes, in the folder audits of their data.

    [bold]Example:[/bold] tprov audit demo --output demo.md

    [bold]Next:[/bold] [bold]tprov export-history demo history.json[/bold], for every event of it.
    """
    place = place_of(context, target)
    from tprov_kernel.cli import gate

    work = gate.audit(place, stack=stack, as_json=as_json, output=output)
    raise typer.Exit(say.to_its_end(work))


@command("Commands", "try", on=policy)
def try_(
    context: typer.Context,
    stack: Stack,
    bundle: Bundle = None,
    level: Annotated[
        list[str] | None,
        typer.Option(
            "--level",
            "-l",
            help="Another level for a rule: advisory, soft-mandatory or hard-mandatory.",
            metavar="RULE=LEVEL",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    target: TargetOption = None,
) -> None:
    """Judge the saved plan of a stack's last run by other policies. Nothing is planned or decided.

    The exit code is 0 where the plan would be allowed, 3 where a human would have to decide,
    4 where it would be forbidden; 1 where it cannot be judged.

    [bold]Example:[/bold] tprov policy try demo --level account_admin=hard-mandatory

    [bold]Next:[/bold] [bold]tprov policy explain demo account_admin[/bold]
    """
    levels = _levels(level or [])
    place = place_of(context, target)
    from tprov_kernel.cli import gate

    work = gate.try_policies(place, stack=stack, bundle=bundle, levels=levels, as_json=as_json)
    raise typer.Exit(say.to_its_end(work))


@command("Commands", on=policy)
def explain(
    context: typer.Context,
    stack: Stack,
    rule: Annotated[str, typer.Argument(help="The rule's name.", show_default=False)],
    address: Annotated[str, typer.Option("--address", "-a", help="Only about this resource.")] = "",
    bundle: Bundle = None,
    target: TargetOption = None,
) -> None:
    """Have OPA tell, line by line, how a rule comes to what it finds in a plan, or to nothing.

    [bold]Example:[/bold] tprov policy explain demo account_admin

    [bold]Next:[/bold] edit a copy of the policies, then
    [bold]tprov policy try demo --bundle DIR[/bold]
    """
    place = place_of(context, target)
    from tprov_kernel.cli import gate

    work = gate.explain_rule(place, stack=stack, rule=rule, address=address, bundle=bundle)
    raise typer.Exit(say.to_its_end(work))


def _levels(given: Sequence[str]) -> dict[str, str]:
    levels = {}
    for text in given:
        rule, equals, level = text.partition("=")
        if not equals or not rule or not level:
            raise say.Usage(
                f"--level {text!r} is not RULE=LEVEL.",
                remedy="Give --level account_admin=hard-mandatory, for instance.",
            )
        levels[rule.strip()] = level.strip()
    return levels

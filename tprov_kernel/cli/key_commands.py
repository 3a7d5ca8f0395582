"""keys list, rotate, drop, new: their names, options and help."""

from __future__ import annotations

from typing import Annotated

import typer

from tprov_kernel.cli import say
from tprov_kernel.cli.base import SERVICES, Json, TargetOption, Yes, app, command, place_of

keys = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The keys that payloads, snapshots and plan files are encrypted with.",
)
app.add_typer(keys, name="keys", rich_help_panel=SERVICES)


@command(SERVICES, "list", on=keys)
def list_(context: typer.Context, as_json: Json = False, target: TargetOption = None) -> None:
    """List the keys, and who needs each one. Never shows a key itself.

    Who needs it is asked of the Temporal server; without one the keys are listed all the same.

    [bold]Example:[/bold] tprov keys list

    [bold]Next:[/bold] [bold]tprov keys rotate[/bold] makes a new one.
    """
    place = place_of(context, target)
    from tprov_kernel.cli import keys as ring

    raise typer.Exit(say.to_its_end(ring.list_keys(place, as_json=as_json)))


@command(SERVICES, on=keys)
def rotate(context: typer.Context, target: TargetOption = None) -> None:
    """Make a new key and encrypt with it from now on. Old ones stay, to read what is there.

    Workers, the codec server and open notebooks notice by themselves, at their next payload;
    nothing has to be started again, and runs that wait go on.

    [bold]Example:[/bold] tprov keys rotate

    [bold]Next:[/bold] [bold]tprov keys list[/bold] shows who needs the old ones.
    """
    place = place_of(context, target)
    from tprov_kernel.cli import keys as ring

    raise typer.Exit(ring.rotate(place))


@command(SERVICES, on=keys)
def new(context: typer.Context, target: TargetOption = None) -> None:
    """Print a key ring for TPROV_KEYS: the keys that are there, and a new active one.

    It is secret, and goes into a pipe or a file only. Nothing is changed here: where TPROV_KEYS
    comes from is where it has to be kept, and everybody who works on the same runs needs the same.

    [bold]Example:[/bold] export TPROV_KEYS="$(tprov keys new)"

    [bold]Next:[/bold] [bold]tprov doctor[/bold] tells where the keys come from.
    """
    place = place_of(context, target)
    from tprov_kernel.cli import keys as ring

    raise typer.Exit(ring.new(place))


@command(SERVICES, on=keys)
def drop(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="The key's id.", metavar="KEY", show_default=False)],
    yes: Yes = False,
    target: TargetOption = None,
) -> None:
    """Forget an old key for good: what it encrypted cannot be read again, by nobody.

    Refused while an open run needs it, or a stack that still holds objects. Keep a copy of
    keys.json if you are not sure.

    [bold]Example:[/bold] tprov keys drop k0123456789ab

    [bold]Next:[/bold] [bold]tprov keys list[/bold]
    """
    place = place_of(context, target)
    from tprov_kernel.cli import keys as ring

    raise typer.Exit(say.to_its_end(ring.drop(place, key_id=key, yes=yes)))

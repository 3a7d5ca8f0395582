"""tprov services: stop and start one of them, whoever has them open."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tprov_kernel.cli import say
from tprov_kernel.cli.base import SERVICES, app, place_of

services = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Stop one of the services for a while, and start it again; its data stays.",
)
app.add_typer(services, name="services", rich_help_panel=SERVICES)

Name = Annotated[
    Literal["temporal", "codec", "cloud"],
    typer.Argument(help="Which of them.", show_default=False),
]


@services.command()
def stop(context: typer.Context, name: Name) -> None:
    """Stop one; nobody starts it again until `tprov services start`.

    Example: tprov services stop temporal
    """
    from tprov_kernel.services import wishes

    place = place_of(context)
    place.only_local("services stop")
    pid = say.to_its_end(wishes.stop(place.home, name))
    say.answer(f"{name} (process {pid}) was stopped." if pid else f"{name} did not run.")


@services.command()
def start(context: typer.Context, name: Name) -> None:
    """Start one again, on the same ports; nothing happens when it runs.

    Example: tprov services start temporal
    """
    from tprov_kernel.services import wishes

    place = place_of(context)
    place.only_local("services start")
    pid = say.to_its_end(wishes.start(place.home, name))
    say.answer(f"{name} runs (process {pid}).")

"""lab, play: their names, options and help."""

from __future__ import annotations

from typing import Annotated

import typer

from tprov_kernel.cli.base import (
    NOTEBOOKS,
    Json,
    command,
    place_of,
)


@command(NOTEBOOKS)
def lab(
    context: typer.Context,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="JupyterLab's port, or the next free one.")
    ] = 8888,
) -> None:
    """Open the notebooks: JupyterLab with its own configuration, and all services.

    Nothing of your own Jupyter is read or changed. Ctrl-C closes everything; runs stay where
    they are, and go on the next time.

    [bold]Example:[/bold] tprov lab --no-browser

    [bold]Next:[/bold] run the first cell of 00_start_here.
    """
    place = place_of(context)
    place.only_local("lab")
    from tprov_kernel.cli import notebooks

    raise typer.Exit(notebooks.lab(place, browser=browser, port=port))


@command(NOTEBOOKS)
def play(
    context: typer.Context,
    scenario: Annotated[
        str,
        typer.Argument(
            help="A notebook's name without its number: happy_path.", show_default=False
        ),
    ],
    as_json: Json = False,
    timeout: Annotated[int, typer.Option(help="Seconds that one cell may take.")] = 600,
) -> None:
    """Run a scenario's notebook without a browser, and tell whether its story came true.

    Buttons are pressed by an autopilot. The exit code is 0 only if every cell ran and the
    scenario's run ended as it should. With --json the last line is one JSON object.

    [bold]Example:[/bold] tprov play happy_path

    [bold]Next:[/bold] [bold]tprov lab[/bold], to do the same by hand.
    """
    place = place_of(context)
    place.only_local("play")
    from tprov_kernel.cli import play as playing

    raise typer.Exit(playing.play(place, scenario=scenario, as_json=as_json, seconds=timeout))

"""up to codec-server, setup, doctor: their names, options and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tprov_kernel.cli import say
from tprov_kernel.cli.base import (
    SERVICES,
    SET_UP,
    Json,
    Queue,
    TargetOption,
    Yes,
    command,
    place_of,
)


@command(SERVICES)
def up(
    context: typer.Context,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="In the background.")] = False,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Run a worker as well.")
    ] = True,
    ready_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Open the services, and run a worker; stays until Ctrl-C or `tprov down`.

    The Temporal server on 7233 with its Web UI on 8233, the codec server on 8081, a stand-in for
    the Temporal Cloud API; other ports where these are taken. Data is kept in .tprov.

    [bold]Example:[/bold] tprov up -d

    [bold]Next:[/bold] eval "$(tprov env)", then
    tprov start demo --config terraform/tcloud_namespace
    """
    place = place_of(context)
    place.only_local("up")
    from tprov_kernel.cli import serve

    if detach:
        raise typer.Exit(serve.up_detached(place, with_worker=worker))
    work = serve.up(place, with_worker=worker, ready_fd=ready_fd)
    raise typer.Exit(say.to_its_end(work))


@command(SERVICES)
def down(context: typer.Context, yes: Yes = False) -> None:
    """Close the services, and wait until every process of theirs is gone.

    Runs and objects stay in .tprov; an open run goes on when the services are open again.

    [bold]Example:[/bold] tprov down

    [bold]Next:[/bold] [bold]tprov up[/bold] opens them again, [bold]tprov reset[/bold] begins anew.
    """
    place = place_of(context)
    place.only_local("down")
    from tprov_kernel.cli import closing

    raise typer.Exit(say.to_its_end(closing.down(place, yes=yes)))


@command(SERVICES)
def env(
    context: typer.Context,
    stack: Annotated[
        str | None,
        typer.Argument(
            help="Also what a plain terraform needs on this stack.",
            metavar="[STACK]",
            show_default=False,
        ),
    ] = None,
    target: TargetOption = None,
) -> None:
    """Print what makes a terminal use these services: for eval, in bash, zsh or sh.

    Afterwards `temporal`, `opa`, `terraform` and `tprov` are on PATH, and variables that would lead
    elsewhere are unset. With a stack, its directory is in TPROV_STACK_DIR:

    [bold]Example:[/bold] eval "$(tprov env demo)" && terraform -chdir="$TPROV_STACK_DIR" destroy

    [bold]Next:[/bold] temporal workflow show --workflow-id stack-demo
    """
    place = place_of(context, target)
    from tprov_kernel.cli import terminal

    raise typer.Exit(say.to_its_end(terminal.env(place, stack=stack)))


@command(SERVICES)
def reset(context: typer.Context, yes: Yes = False) -> None:
    """Bring everything back to zero: stacks, runs, and the stand-in's objects. Keys stay.

    Refuses while the services are open.

    [bold]Example:[/bold] tprov down && tprov reset --yes

    [bold]Next:[/bold] [bold]tprov up[/bold] or [bold]tprov lab[/bold]
    """
    place = place_of(context)
    place.only_local("reset")
    from tprov_kernel.cli import closing

    raise typer.Exit(say.to_its_end(closing.reset(place, yes=yes)))


@command(SERVICES)
def worker(
    context: typer.Context,
    task_queue: Queue = "",
    target: TargetOption = None,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show stack traces of attempts that fail.")
    ] = False,
) -> None:
    """Poll a task queue and do what its runs need, until Ctrl-C.

    Credentials for the Cloud API come from this command's environment, and stay in it. Start as
    many as you like; a run that waits for a worker goes on by itself.

    [bold]Example:[/bold] tprov worker --task-queue infra-provisioning-01_happy_path

    [bold]Next:[/bold] [bold]tprov start[/bold] in another terminal.
    """
    place = place_of(context, target)
    from tprov_kernel.cli import working

    raise typer.Exit(say.to_its_end(working.worker(place, task_queue=task_queue, verbose=verbose)))


@command(SERVICES, "codec-server")
def codec_server(
    context: typer.Context,
    web: Annotated[
        list[str] | None,
        typer.Option(
            "--web",
            help="A Web UI that may ask, such as http://localhost:8080.",
            metavar="ORIGIN",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="On 127.0.0.1.")] = 8081,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="Decode only for who sends the bearer token in this file.", show_default=False
        ),
    ] = None,
    target: TargetOption = None,
) -> None:
    """Serve the codec alone, for a Web UI or a `temporal` command elsewhere, until Ctrl-C.

    [bold]tprov up[/bold] and [bold]tprov lab[/bold] have one already: this is for --target remote.

    It listens on this machine only, and whoever can run a program here can have it decode. Where
    others use the machine, ask for a token:

    [bold]Example:[/bold] tprov codec-server --target remote --token-file codec.token, and for the
    `temporal` command: export TEMPORAL_CODEC_AUTH="Bearer $(cat codec.token)"

    [bold]Example:[/bold] tprov codec-server --target remote --web https://cloud.temporal.io

    [bold]Next:[/bold] temporal workflow show --codec-endpoint http://127.0.0.1:8081/default ...
    """
    place = place_of(context, target)
    from tprov_kernel.cli import working

    raise typer.Exit(
        working.codec_server(place, port=port, origins=web or [], token_file=token_file)
    )


@command(SET_UP)
def setup() -> None:
    """Find the tools, and get what is missing: Terraform, OPA, the provider.

    Quick when nothing is to do; offline after the first time. What is on PATH and new enough is
    used, and never touched.

    [bold]Example:[/bold] tprov setup

    [bold]Next:[/bold] [bold]tprov doctor[/bold] shows what was found.
    """
    from tprov_kernel.cli import tools

    raise typer.Exit(tools.setup())


@command(SET_UP)
def doctor(context: typer.Context, as_json: Json = False, target: TargetOption = None) -> None:
    """Show every tool, setting, key and port: what it is, where it comes from, what is wrong.

    Never shows a key's value. The exit code is 1 when something has to be put right.

    [bold]Example:[/bold] tprov doctor --target remote

    [bold]Next:[/bold] do what the last lines say.
    """
    place = place_of(context, target)
    from tprov_kernel.cli import doctor as examining

    raise typer.Exit(say.to_its_end(examining.doctor(place, as_json=as_json)))

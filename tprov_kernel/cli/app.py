"""The commands: what each is called, takes, and teaches.

Each one only reads its arguments; what it does is imported when it is called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tprov_kernel.cli import say

if TYPE_CHECKING:
    from tprov_kernel.cli.place import Place

Target = Literal["local", "remote"]

# click's own, or that of the copy which newer typers carry: the base of what they export
UsageError: type[Any] = typer.BadParameter.__mro__[1]

RUNS = "Runs: provision a stack, decide, look, destroy"
SERVICES = "Services: the Temporal server, the codec server, the Cloud API stand-in"
NOTEBOOKS = "Notebooks: the walkthrough"
SET_UP = "Set-up"

app = typer.Typer(
    name="tprov",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with [bold]tprov lab[/bold], or in a terminal with [bold]tprov up -d[/bold].",
)

TargetOption = Annotated[
    Target | None,
    typer.Option(
        "--target",
        help="local, or remote: what TEMPORAL_HOST_URL and its like say. Local unless given.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show it live, until it is over.")]
Stack = Annotated[
    str, typer.Argument(help="The stack's name.", metavar="STACK", show_default=False)
]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; people will read it.")]
Signal = Annotated[bool, typer.Option("--signal", help="Send a signal, which tells nothing back.")]
Review = Annotated[
    str,
    typer.Option("--review", help="Only if this is the review that waits; 8 hex digits or more."),
]
Queue = Annotated[
    str,
    typer.Option(
        "--task-queue",
        help="Where a worker polls; infra-provisioning, or TEMPORAL_INFRA_PROVISION_TASK_QUEUE.",
        show_default=False,
    ),
]


def run(argv: Sequence[str]) -> int:
    """Run a command line; give its exit code.

    Raises:
        Usage: It is mistyped.
        TprovError: It cannot be done.
    """
    try:
        code = app(list(argv), prog_name="tprov", standalone_mode=False)
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help was shown
            return 2
        path = error.ctx.command_path if error.ctx is not None else "tprov"
        message = error.format_message()
        raise say.Usage(
            message if message.endswith((".", "?")) else f"{message}.",
            remedy=f"`{path} --help` shows how it is used.",
        ) from error
    return int(code or 0)


@app.callback()
def root(context: typer.Context, target: TargetOption = None) -> None:
    """Durable infrastructure provisioning: Temporal drives real Terraform and real OPA.

    A [bold]stack[/bold] is a named copy of one Terraform configuration; a [bold]run[/bold] is one
    workflow that provisions or destroys it.
    """
    context.obj = target


def command(panel: str, name: str | None = None) -> Callable[[Callable[..., None]], None]:
    """Make a function a command, its docstring the help: a paragraph of source is one of help."""

    def register(function: Callable[..., None]) -> None:
        paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        app.command(name, help=text, rich_help_panel=panel)(function)

    return register


def _place(context: typer.Context, target: Target | None = None) -> Place:
    from tprov_kernel.cli.place import find_place

    return find_place(target or context.obj)


# --- notebooks -------------------------------------------------------------------------------


@command(NOTEBOOKS)
def lab(
    context: typer.Context,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    port: Annotated[int, typer.Option(help="JupyterLab's port, or the next free one.")] = 8888,
) -> None:
    """Open the notebooks: JupyterLab with its own configuration, and all services.

    Nothing of your own Jupyter is read or changed. Ctrl-C closes everything; runs stay where
    they are, and go on the next time.

    [bold]Example:[/bold] tprov lab --no-browser

    [bold]Next:[/bold] run the first cell of 00_start_here.
    """
    place = _place(context)
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
    place = _place(context)
    place.only_local("play")
    from tprov_kernel.cli import play as playing

    raise typer.Exit(playing.play(place, scenario=scenario, as_json=as_json, seconds=timeout))


# --- runs ------------------------------------------------------------------------------------


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
    var: Annotated[
        list[str] | None,
        typer.Option(
            "--var",
            help="A variable, as KEY=VALUE; lists and maps as JSON.",
            metavar="K=V",
            show_default=False,
        ),
    ] = None,
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
    variables = _variables(var or [])
    place = _place(context, target)
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
    raise typer.Exit(say.to_its_end(work, interrupted=_goes_on(stack)))


def _goes_on(stack: str) -> str:
    return f"The run goes on; `tprov status {stack} --watch` brings it back."


def _variables(given: Sequence[str]) -> dict[str, Any]:
    """Read KEY=VALUE as Terraform's -var does; what looks like a list or a map is JSON."""
    import json

    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise say.Usage(f"--var {text!r} is not KEY=VALUE.", remedy="Give --var name=value.")
        if value.lstrip().startswith(("[", "{")):
            try:
                values[name.strip()] = json.loads(value)
            except ValueError as error:
                raise say.Usage(
                    f"--var {name.strip()} looks like JSON, but is none: {error}.",
                    remedy="Quote it for the shell: --var 'regions=[\"aws-us-east-1\"]'.",
                ) from error
        else:
            values[name.strip()] = value
    return values


@command(RUNS)
def status(
    context: typer.Context,
    stack: Annotated[
        str | None,
        typer.Argument(
            help="One stack; all of them without.", metavar="[STACK]", show_default=False
        ),
    ] = None,
    watch: Watch = False,
    as_json: Json = False,
    target: TargetOption = None,
) -> None:
    """List the stacks, or show one: steps, plan, findings, decisions, outputs.

    What it shows comes from the run's history; no worker is needed.

    [bold]Example:[/bold] tprov status demo --watch

    [bold]Next:[/bold] [bold]tprov approve[/bold] or [bold]tprov deny[/bold], where a run waits.
    """
    place = _place(context, target)
    from tprov_kernel.cli import stacks

    said = _goes_on(stack) if stack else "Interrupted."
    work = stacks.status(place, stack=stack, watch=watch, as_json=as_json)
    raise typer.Exit(say.to_its_end(work, interrupted=said))


@command(RUNS)
def approve(
    context: typer.Context,
    stack: Stack,
    reason: Reason = "",
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
    _decide(context, "approve", stack, reason, review, signal, target)


@command(RUNS)
def deny(
    context: typer.Context,
    stack: Stack,
    reason: Reason = "",
    review: Review = "",
    signal: Signal = False,
    target: TargetOption = None,
) -> None:
    """Deny the plan that waits: the run ends, nothing is changed.

    [bold]Example:[/bold] tprov deny demo --reason "use a namespace permission instead"

    [bold]Next:[/bold] correct the configuration, then [bold]tprov start[/bold] again.
    """
    _decide(context, "deny", stack, reason, review, signal, target)


def _decide(
    context: typer.Context,
    verb: Literal["approve", "deny"],
    stack: str,
    reason: str,
    review: str,
    signal: bool,
    target: Target | None,
) -> None:
    place = _place(context, target)
    from tprov_kernel.cli import stacks

    work = stacks.decide(place, verb, stack=stack, reason=reason, review=review, signal=signal)
    raise typer.Exit(say.to_its_end(work))


@command(RUNS)
def cancel(context: typer.Context, stack: Stack, target: TargetOption = None) -> None:
    """Ask a run to stop. A Terraform at work is interrupted and may finish what it holds.

    [bold]Example:[/bold] tprov cancel demo

    [bold]Next:[/bold] [bold]tprov status demo[/bold] shows what it had done by then.
    """
    place = _place(context, target)
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
    place = _place(context, target)
    from tprov_kernel.cli import stacks

    work = stacks.destroy(place, stack=stack, task_queue=task_queue, yes=yes, watch=watch)
    raise typer.Exit(say.to_its_end(work, interrupted=_goes_on(stack)))


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
    place = _place(context, target)
    from tprov_kernel.cli import stacks

    work = stacks.export_history(place, stack=stack, file=file, as_stored=as_stored)
    raise typer.Exit(say.to_its_end(work))


# --- services --------------------------------------------------------------------------------


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
    place = _place(context)
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
    place = _place(context)
    place.only_local("down")
    from tprov_kernel.cli import serve

    raise typer.Exit(say.to_its_end(serve.down(place, yes=yes)))


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
    place = _place(context, target)
    from tprov_kernel.cli import terminal

    raise typer.Exit(say.to_its_end(terminal.env(place, stack=stack)))


@command(SERVICES)
def reset(context: typer.Context, yes: Yes = False) -> None:
    """Bring everything back to zero: stacks, runs, and the stand-in's objects. Keys stay.

    Refuses while the services are open.

    [bold]Example:[/bold] tprov down && tprov reset --yes

    [bold]Next:[/bold] [bold]tprov up[/bold] or [bold]tprov lab[/bold]
    """
    place = _place(context)
    place.only_local("reset")
    from tprov_kernel.cli import serve

    raise typer.Exit(say.to_its_end(serve.reset(place, yes=yes)))


@command(SERVICES)
def worker(context: typer.Context, task_queue: Queue = "", target: TargetOption = None) -> None:
    """Poll a task queue and do what its runs need, until Ctrl-C.

    Credentials for the Cloud API come from this command's environment, and stay in it. Start as
    many as you like; a run that waits for a worker goes on by itself.

    [bold]Example:[/bold] tprov worker --task-queue infra-provisioning-01_happy_path

    [bold]Next:[/bold] [bold]tprov start[/bold] in another terminal.
    """
    place = _place(context, target)
    from tprov_kernel.cli import serve

    raise typer.Exit(say.to_its_end(serve.worker(place, task_queue=task_queue)))


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
    port: Annotated[int, typer.Option(help="On 127.0.0.1.")] = 8081,
    target: TargetOption = None,
) -> None:
    """Serve the codec alone, for a Web UI or a `temporal` command elsewhere, until Ctrl-C.

    [bold]tprov up[/bold] and [bold]tprov lab[/bold] have one already: this is for --target remote.

    [bold]Example:[/bold] tprov codec-server --target remote --web https://cloud.temporal.io

    [bold]Next:[/bold] temporal workflow show --codec-endpoint http://127.0.0.1:8081/default ...
    """
    place = _place(context, target)
    from tprov_kernel.cli import serve

    raise typer.Exit(serve.codec_server(place, port=port, origins=web or []))


# --- set-up ----------------------------------------------------------------------------------


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
    place = _place(context, target)
    from tprov_kernel.cli import doctor as examining

    raise typer.Exit(say.to_its_end(examining.doctor(place, as_json=as_json)))

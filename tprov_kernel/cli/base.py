"""What all commands share: the application, their options, and how a docstring becomes help."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tprov_kernel.cli import say

if TYPE_CHECKING:
    from tprov_kernel.cli.place import Place

Target = Literal["local", "remote"]

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
Reviewer = Annotated[
    str, typer.Option("--reviewer", help="Who decides; your login name unless given.")
]
Var = Annotated[
    list[str] | None,
    typer.Option(
        "--var",
        help="A variable, as KEY=VALUE; lists and maps as JSON. A sensitive one as KEY=env:NAME or"
        " KEY=file:PATH, looked up where the worker runs.",
        metavar="K=V",
        show_default=False,
    ),
]
Queue = Annotated[
    str,
    typer.Option(
        "--task-queue",
        help="Where a worker polls; infra-provisioning, or TEMPORAL_INFRA_PROVISION_TASK_QUEUE.",
        show_default=False,
    ),
]


@app.callback()
def root(context: typer.Context, target: TargetOption = None) -> None:
    """Durable infrastructure provisioning: Temporal drives real Terraform and real OPA.

    A [bold]stack[/bold] is a named copy of one Terraform configuration; a [bold]run[/bold] is one
    workflow that provisions or destroys it.
    """
    context.obj = target


def command(
    panel: str, name: str | None = None, *, on: typer.Typer = app
) -> Callable[[Callable[..., None]], None]:
    """Make a function a command, its docstring the help: a paragraph of source is one of help."""

    def register(function: Callable[..., None]) -> None:
        paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        on.command(name, help=text, rich_help_panel=panel)(function)

    return register


def place_of(context: typer.Context, target: Target | None = None) -> Place:
    """Where a command works; its own ``--target`` counts more than the one before it."""
    from tprov_kernel.cli.place import find_place

    return find_place(target or context.obj)


def goes_on(stack: str) -> str:
    """What Ctrl-C answers while a run is watched."""
    return f"The run goes on; `tprov status {stack} --watch` brings it back."


def variables_of(given: Sequence[str]) -> dict[str, Any]:
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

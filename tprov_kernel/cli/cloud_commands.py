"""tprov cloud: what the Cloud API stand-in holds, and how it is told to fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tprov_kernel.cli import say
from tprov_kernel.cli.base import SERVICES, Json, app, place_of

if TYPE_CHECKING:
    from tprov_kernel.standin.control import StandinControl

cloud = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="What the Cloud API stand-in holds; tell it to fail, to be slow, and to be well again.",
)
app.add_typer(cloud, name="cloud", rich_help_panel=SERVICES)

Method = Annotated[
    str,
    typer.Argument(help="A method of the Cloud API, or '*' for all.", show_default=False),
]
Code = Annotated[str, typer.Argument(help="A gRPC status, such as INTERNAL.")]
Times = Annotated[
    int | None,
    typer.Option("--times", "-n", min=1, help="For how many calls; until `mend` with --always."),
]
Always = Annotated[bool, typer.Option("--always", help="Until `tprov cloud mend`.")]


def _controlled(
    context: typer.Context, work: Callable[[StandinControl], Awaitable[Any]], command: str
) -> Any:
    place = place_of(context)
    place.only_local(f"cloud {command}")

    async def there() -> Any:
        from tprov_kernel.standin.control import StandinControl

        settings = await place.settings(needs_server=False)
        return await work(StandinControl(settings.cloud.endpoint, settings.cloud.api_key))

    return say.to_its_end(there())


def _faulty(
    context: typer.Context, work: Callable[[StandinControl], Awaitable[str]], command: str
) -> None:
    said = _controlled(context, work, command)
    say.answer(f"{said} `tprov cloud mend` takes it back.")


@cloud.command()
def fail(
    context: typer.Context,
    method: Method,
    code: Code = "UNAVAILABLE",
    times: Times = 1,
    always: Always = False,
    every: Annotated[int, typer.Option(min=1, help="2: only every second call, and so on.")] = 1,
) -> None:
    """Answer the next calls of a method with an error, and do nothing of what they ask.

    Example: tprov cloud fail GetAccount UNAVAILABLE --times 3
    """
    count = None if always else times
    _faulty(context, lambda c: c.fail(method, code, times=count, every=every), "fail")


@cloud.command()
def lose(
    context: typer.Context,
    method: Method,
    code: Code = "UNAVAILABLE",
    times: Times = 1,
    always: Always = False,
) -> None:
    """Do what the next calls of a method ask, and lose the answer: an error comes in its place.

    Example: tprov cloud lose CreateNamespace
    """
    count = None if always else times
    _faulty(context, lambda c: c.lose(method, code, times=count), "lose")


@cloud.command()
def slow(
    context: typer.Context,
    method: Method,
    seconds: Annotated[float, typer.Argument(min=0, help="How much longer each call takes.")],
    times: Times = 1,
    always: Always = False,
) -> None:
    """Let the next calls of a method take longer.

    Example: tprov cloud slow '*' 2 --always
    """
    count = None if always else times
    _faulty(context, lambda c: c.slow(method, seconds, times=count), "slow")


@cloud.command()
def hold(context: typer.Context, method: Method, times: Times = 1, always: Always = False) -> None:
    """Leave the operations of the next calls of a method pending until `tprov cloud mend`.

    Example: tprov cloud hold CreateNamespace
    """
    count = None if always else times
    _faulty(context, lambda c: c.hold(method, times=count), "hold")


@cloud.command()
def doom(
    context: typer.Context,
    method: Method,
    reason: Annotated[str, typer.Option(help="What the operation says.")] = (
        "This operation was told to fail."
    ),
    times: Times = 1,
    always: Always = False,
) -> None:
    """Let the operations of the next calls of a method fail, after they were taken.

    Example: tprov cloud doom CreateUser --reason "No seats left."
    """
    count = None if always else times
    _faulty(context, lambda c: c.doom(method, reason, times=count), "doom")


@cloud.command()
def mend(context: typer.Context) -> None:
    """Take every fault back, and go on with the operations that were left pending.

    Example: tprov cloud mend
    """
    _controlled(context, lambda c: c.mend(), "mend")
    say.answer("The Cloud API is well again.")


@cloud.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """Faults in force, operations that are open or held, objects of each type, calls.

    Example: tprov cloud status
    """
    found: dict[str, Any] = _controlled(context, lambda c: c.status(), "status")
    if as_json:
        _print_json(found)
        return
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    for name, value in found.items():
        grid.add_row(name.replace("_", " "), _words(value))
    say.out().print(grid)


@cloud.command(name="list")
def list_objects(context: typer.Context, as_json: Json = False) -> None:
    """Every object: what a person would look at in the Cloud's console.

    Example: tprov cloud list
    """
    found: list[dict[str, Any]] = _controlled(context, lambda c: c.objects(), "list")
    if as_json:
        _print_json(found)
        return
    if not found:
        say.answer("The Cloud holds nothing.")
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ("type", "name", "id", "state", "created")
    for column in columns:
        table.add_column(column, overflow="fold")
    for item in found:
        table.add_row(*(str(item.get(column, "")) for column in columns))
    say.out().print(table)


def _words(value: object) -> str:
    if isinstance(value, dict) and "what" in value:
        from tprov_kernel.standin.control import fault_words

        return fault_words(value).rstrip(".")
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(_words(item) for item in value) or "none"
    return str(value)


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value))

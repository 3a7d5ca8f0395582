"""A plan as Terraform shows it, redacted: for the card, the snapshot and terminals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tprov_kernel.messages import AttributeChange, Change, PlanView, ResourceChange
from tprov_kernel.widgets import style
from tprov_kernel.widgets.words import clean, esc

Tone = Literal["ok", "ask", "bad", "busy", "muted", "text"]

SYMBOL: dict[Change, tuple[str, Tone]] = {
    "create": ("+", "ok"),
    "update": ("~", "ask"),
    "delete": ("-", "bad"),
    "replace": ("-/+", "bad"),
    "read": ("<=", "busy"),
    "import": ("&", "busy"),
    "no-op": (" ", "muted"),
    "forget": (".", "muted"),
}
"""Terraform's own symbols and colours; '&' is ours for an object that is taken over."""

_RICH: dict[Tone, str] = {
    "ok": "green",
    "ask": "yellow",
    "bad": "red",
    "busy": "cyan",
    "muted": "dim",
    "text": "",
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a plan: a coloured symbol, plain words, and an aside."""

    symbol: str = ""
    tone: Tone = "muted"
    indent: int = 0
    words: str = ""
    aside: str = ""

    @property
    def lead(self) -> str:
        """The symbol in its column, with what stands before it."""
        return " " * self.indent + (f"{self.symbol} " if self.symbol else "")


def plan_lines(view: PlanView) -> list[Line]:
    """A plan as lines, the same for every medium."""
    lines = [line for change in view.changes for line in _resource(change)]
    if view.outputs:
        lines += [Line(words="Changes to outputs:", tone="text"), *_attributes(view.outputs, 2)]
    if not lines:
        lines.append(Line(words="No changes: what exists is what the configuration says."))
    if view.omitted:
        more = f"{view.omitted} more change{'s' if view.omitted > 1 else ''} left out for size"
        lines.append(Line(words=more, indent=2))
    if view.hidden:
        values = "value" if view.hidden == 1 else "values"
        lines.append(Line(words=f"{view.hidden} sensitive {values} hidden", indent=2))
    return lines


def plan_html(view: PlanView | None, *, live: bool, ink: style.Ink | None = None) -> str:
    """Draw a plan, coloured as Terraform colours it.

    Args:
        view: The redacted plan; None before there is one.
        live: For the live card, with classes; otherwise for any other output.
        ink: Overrides how rules become attributes: the snapshot hands in `style.stored`.
    """
    alone = ink is None and not live
    ink = ink or (style.live if live else style.adaptive)
    drawn = f"<div{ink('muted')}>There is no plan yet.</div>"
    if view is not None:
        name = ' tabindex="0" role="region" aria-label="Terraform plan, redacted"' if live else ""
        lines = "\n".join(_html(line, ink) for line in plan_lines(view))
        counts = f"<div{ink('base gap')}>{_counts(view, ink)}</div>"
        drawn = f"{counts}<pre{ink('pre')}{name}>{lines}</pre>"
    return f"<div{ink('base frame pad')}>{drawn}</div>" if alone else drawn


def plan_text(view: PlanView) -> str:
    """A plan in plain text, with '+', '~' and '-', for terminals."""
    lines = [clean(f"{line.lead}{line.words}  {line.aside}").rstrip() for line in plan_lines(view)]
    return "\n".join([f"Plan: {view.sentence}.", *lines])


def plan_markup(view: PlanView) -> str:
    """The same with `rich` markup; text from the plan is escaped."""
    from rich.markup import escape

    lines = [f"[bold]Plan:[/bold] {view.sentence}."]
    for line in plan_lines(view):
        colour, words = _RICH[line.tone], escape(clean(line.words))
        lead = f"[{colour}]{line.lead}[/{colour}]" if colour and line.symbol else line.lead
        aside = f"  [dim]{escape(clean(line.aside))}[/dim]" if line.aside else ""
        said = words if line.symbol or not colour else f"[{colour}]{words}[/{colour}]"
        lines.append(f"{lead}{said}{aside}")
    return "\n".join(lines)


def _resource(change: ResourceChange) -> list[Line]:
    symbol, tone = SYMBOL[change.change]
    head = Line(
        symbol=symbol, tone=tone, words=f"{change.address:<{36 - len(symbol)}}", aside=change.title
    )
    return [head, *_attributes(change.attributes, 4, deleted=change.change == "delete")]


def _attributes(
    attributes: list[AttributeChange], indent: int, *, deleted: bool = False
) -> list[Line]:
    width = max((len(a.name) for a in attributes), default=0)
    lines: list[Line] = []
    for attribute in attributes:
        kind: Change = "update" if attribute.before else "create"
        if deleted or (attribute.before and not attribute.after and not attribute.unknown):
            kind = "delete" if not attribute.sensitive or deleted else kind
        symbol, tone = SYMBOL[kind]
        words = f"{attribute.name:<{width}} = {_value(attribute)}"
        lines.append(Line(symbol=symbol, tone=tone, indent=indent, words=words))
    return lines


def _value(attribute: AttributeChange) -> str:
    if attribute.sensitive:
        return "(sensitive value)"
    after = "(known after apply)" if attribute.unknown else attribute.after
    if attribute.before and after:
        return f"{attribute.before} -> {after}"
    return after or attribute.before or "null"


def _counts(view: PlanView, ink: style.Ink) -> str:
    counts: list[tuple[int, str, Tone]] = [
        (view.add, "to add", "ok"),
        (view.change, "to change", "ask"),
        (view.destroy, "to destroy", "bad"),
    ]
    if view.imports:
        counts.insert(0, (view.imports, "to import", "busy"))
    return ", ".join(
        f"<b{ink(tone if count else 'muted')}>{count} {words}</b>" for count, words, tone in counts
    )


def _html(line: Line, ink: style.Ink) -> str:
    lead = f"<b{ink(line.tone)}>{esc(line.lead)}</b>" if line.symbol else line.lead
    words = esc(line.words)
    if not line.symbol and line.tone != "text":
        words = f"<span{ink(line.tone)}>{words}</span>"
    aside = f"  <span{ink('muted')}>{esc(line.aside)}</span>" if line.aside else ""
    return f"{lead}{words}{aside}"

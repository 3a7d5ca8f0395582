"""One set of rules, three inks: how the same fragment looks live, stored, and in between.

A fragment asks its ink for the attribute of a rule: ``f"<b{ink('name')}>"``. The inks are

- `live`: a class; the rules come from `stylesheet`, colours from JupyterLab's theme;
- `stored`: inline literal colours, for the snapshot (a code host drops everything else);
- `adaptive`: inline literal colours, each followed by the theme's: where an untrusted notebook's
  sanitiser drops declarations with ``var()``, the literal one remains (facts: 'What survives').
"""

from __future__ import annotations

import re
from collections.abc import Callable

Ink = Callable[[str], str]

_TEXT = "var(--jp-ui-font-color0,#16191d)"
_GROUND = "var(--jp-layout-color1,#fff)"


def _mix(colour: str, percent: int, other: str) -> str:
    return f"color-mix(in srgb,{colour} {percent}%,{other})"


def _accent(variable: str, fallback: str, percent: int) -> tuple[str, str]:
    """A theme colour pulled towards the text's (Jupyter's own fall short of 4.5:1), and a tint."""
    raw = f"var({variable},{fallback})"
    return _mix(raw, percent, _TEXT), _mix(raw, 11, _GROUND)


_OK, _OK_TINT = _accent("--jp-success-color1", "#1a7f5a", 72)
_ASK, _ASK_TINT = _accent("--jp-warn-color1", "#c27803", 56)
_BAD, _BAD_TINT = _accent("--jp-error-color1", "#c62828", 78)
_BUSY, _BUSY_TINT = _accent("--jp-brand-color1", "#1f5fc4", 80)
_LINK, _ = _accent("--jp-content-link-color", "#1f57b0", 82)

PALETTE: dict[str, tuple[str, str]] = {
    # name: (from the theme, literal)
    "text": (_TEXT, "#16191d"),
    "muted": (_mix(_TEXT, 68, _GROUND), "#57606a"),
    "ground": (_GROUND, "#ffffff"),
    "raised": (_mix(_TEXT, 4, _GROUND), "#f6f8fa"),
    "line": (_mix(_TEXT, 18, _GROUND), "#d3d9df"),
    "ok": (_OK, "#17694b"),
    "ok-tint": (_OK_TINT, "#e8f5ef"),
    "ask": (_ASK, "#8a5200"),
    "ask-tint": (_ASK_TINT, "#fff7e0"),
    "bad": (_BAD, "#ad1f1f"),
    "bad-tint": (_BAD_TINT, "#fdeeee"),
    "busy": (_BUSY, "#1f57b0"),
    "busy-tint": (_BUSY_TINT, "#eaf1fc"),
    "quiet": (_mix(_TEXT, 68, _GROUND), "#57606a"),
    "quiet-tint": (_mix(_TEXT, 4, _GROUND), "#f6f8fa"),
    "link": (_LINK, "#1f57b0"),
}

SANS = "var(--jp-ui-font-family,system-ui,sans-serif)"
MONO = "var(--jp-code-font-family,ui-monospace,monospace)"
SANS_STORED = "system-ui,-apple-system,Segoe UI,Helvetica,Arial,sans-serif"
_MONO_STORED = "ui-monospace,SFMono-Regular,Menlo,Consolas,monospace"

_TONES = ("ok", "ask", "bad", "busy", "quiet")

RULES: dict[str, str] = {
    "base": "font-family:%sans;font-size:13px;line-height:1.5;color:$text",
    "frame": "border:1px solid $line;border-radius:8px;background:$ground;"
    "max-width:980px;overflow:hidden",
    "pad": "padding:10px 16px",
    "section": "padding:8px 16px;border-top:1px solid $line",
    "name": "font-size:16px;font-weight:700;color:$text",
    "title": "font-weight:700;color:$text",
    "text": "color:$text",
    "muted": "color:$muted",
    "small": "font-size:12px",
    "code": "font-family:%mono;font-size:12px;color:$text",
    "aloud": "font-family:%mono;font-size:20px;font-weight:700;letter-spacing:.03em;"
    "color:$text;white-space:nowrap",
    "pre": "margin:0;padding:0;font-family:%mono;font-size:12px;line-height:1.5;color:$text;"
    "background:$ground;white-space:pre;overflow-x:auto",
    "wrap": "white-space:pre-wrap;overflow-wrap:anywhere",
    "tall": "max-height:430px;overflow-y:auto",
    "link": "color:$link;text-decoration:underline;text-underline-offset:2px",
    "table": "border-collapse:collapse;table-layout:auto;width:100%;margin:0;font-size:13px;"
    "color:$text;background:$ground",
    # A ground for every cell: JupyterLab stripes the rows of tables, which would lie on top.
    "th": "background:$ground;text-align:left;font-weight:600;font-size:12px;color:$muted;"
    "padding:4px 12px 4px 0;"
    "border-bottom:1px solid $line;vertical-align:bottom",
    "td": "background:$ground;text-align:left;padding:5px 12px 5px 0;border-bottom:1px solid $line;"
    "vertical-align:top;overflow-wrap:anywhere",
    "nowrap": "white-space:nowrap",
    "third": "width:30%",
    "fifth": "width:20%",
    "half": "width:50%",
    "fixed": "table-layout:fixed",
    "tenth": "width:14%",
    "bare": "border-bottom:0",
    "chip": "display:inline-block;font-weight:700;border-radius:999px;padding:2px 12px;"
    "border:1px solid;white-space:nowrap",
    "banner": "padding:8px 12px;border:1px solid;border-left-width:4px;border-radius:5px;"
    "overflow-wrap:anywhere;margin:6px 0",
    "gap": "margin:0 0 6px 0",
    "edge": "border-bottom:1px solid $line",
} | {
    name: rule
    for tone in _TONES
    for name, rule in (
        (f"{tone}", f"color:${tone}"),
        (f"{tone}-box", f"border-color:${tone};background:${tone}-tint;color:$text"),
        (f"{tone}-chip", f"border-color:${tone};background:${tone}-tint;color:${tone}"),
    )
}

_COLOUR = re.compile(r"\$([a-z-]+)")


def _literal(rule: str) -> str:
    coloured = _COLOUR.sub(lambda m: PALETTE[m[1]][1], rule)
    return coloured.replace("%mono", _MONO_STORED).replace("%sans", SANS_STORED)


def _themed(rule: str) -> str:
    coloured = _COLOUR.sub(lambda m: PALETTE[m[1]][0], rule)
    return coloured.replace("%mono", MONO).replace("%sans", SANS)


def colour(name: str, *, themed: bool) -> str:
    """One colour of the palette: the theme's expression, or the literal."""
    return PALETTE[name][0 if themed else 1]


def live(names: str) -> str:
    """The class attribute of some rules."""
    return ' class="' + " ".join(f"tp-{name}" for name in names.split()) + '"'


def stored(names: str) -> str:
    """Inline style with literal colours only."""
    return f' style="{_literal(";".join(RULES[name] for name in names.split()))}"'


def adaptive(names: str) -> str:
    """Inline style with literal colours, and the theme's after them."""
    parts: list[str] = []
    for rule in ";".join(RULES[name] for name in names.split()).split(";"):
        parts.append(_literal(rule))
        if "$" in rule or "%s" in rule or "%m" in rule:
            parts.append(_themed(rule))
    return f' style="{";".join(parts)}"'


def stylesheet(scope: str) -> str:
    """The rules as CSS below `scope` (a selector), for the live ink."""
    colours = ";".join(f"--tp-{name}:{themed}" for name, (themed, _) in PALETTE.items())
    lines = [f"{scope}{{{colours}}}"]
    for name, rule in RULES.items():
        themed = _themed(_COLOUR.sub(r"var(--tp-\1)", rule))
        lines.append(f"{scope} .tp-{name}{{{themed}}}")
    return "\n".join(lines)

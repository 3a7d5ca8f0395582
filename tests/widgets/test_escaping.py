"""Whatever stands in a run, a page shows it as text."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import ipywidgets as w
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.widgets import samples, views
from tprov_kernel.errors import TprovError
from tprov_kernel.messages import PlanView
from tprov_kernel.widgets.card import RunCard
from tprov_kernel.widgets.objects import CloudObject, objects_html
from tprov_kernel.widgets.panel import PanelModel, error_html, panel_html
from tprov_kernel.widgets.plan import plan_html
from tprov_kernel.widgets.snapshot import snapshot_html
from tprov_kernel.widgets.timeline import timeline_svg

NOW = views.at(72)
OURS = {"a", "b", "br", "code", "details", "div", "img", "li", "ol", "pre", "span", "style"}
OURS |= {"summary", "table", "tbody", "td", "th", "thead", "tr", "ul"}
OURS |= {"svg", "rect", "line", "path", "text", "title"}
# Fields that hold one of a few words of ours, not text from outside.
FIXED = {"kind", "state", "level", "change", "outcome", "via", "status"}

PIECES = ["<evil onevil=1>", "</style>", "<script>", '"', "'", ">", "&lt;evil&gt;", "`", "-->"]
PIECES += ["\x00", "\u202e", "\x1b[31m", "]]>", "\ud800", "\uffff", "%mono", "$ok", "\r\n"]
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), min_size=1, max_size=8)


class Tags(HTMLParser):
    """Collects what a browser would build."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


def poisoned(thing: Any, text: str) -> Any:
    """The same thing with `text` in every place that can hold text from outside."""
    if isinstance(thing, (list, tuple)):
        items = [poisoned(item, text) for item in thing]
        return type(thing)(*items) if hasattr(thing, "_fields") else type(thing)(items)
    if isinstance(thing, dict):
        return dict.fromkeys([text], text)
    if is_dataclass(thing) and not isinstance(thing, type):
        kept = FIXED | ({"name"} if hasattr(thing, "next_attempt") else set())
        new = {
            f.name: poisoned(getattr(thing, f.name), text)
            for f in fields(thing)
            if f.name not in kept or f.name == "steps"
        }
        return replace(thing, **new)
    return text if type(thing) is str else thing


def pages(text: str) -> Iterator[str]:
    """Everything that shows a run, an error, a panel or objects."""
    for part in views.EVERY.values():
        view = poisoned(part(), text)
        yield snapshot_html(view, taken=NOW, mark=text)
        yield timeline_svg(view, now=NOW, live=True)
    plan: PlanView = poisoned(samples.MIXED_PLAN, text)
    yield plan_html(plan, live=True)
    panel: PanelModel = poisoned(samples.PANEL, text)
    yield panel_html(panel)
    yield objects_html([CloudObject(text, text, text, text, text)], title=text)
    yield error_html(TprovError(text, remedy=text))


@given(HOSTILE.map("".join))
@settings(max_examples=40, deadline=None)
def test_no_text_becomes_a_tag_or_an_attribute(text: str) -> None:
    """Only tags and attributes of ours come out; stored pictures are well-formed XML."""
    for html in pages(text):
        found = Tags(html)
        assert found.tags <= OURS
        assert not any(name.startswith("on") for name in found.attributes)
        for data in re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html):
            picture = ElementTree.fromstring(base64.b64decode(data))
            assert {
                e.tag.removeprefix("{http://www.w3.org/2000/svg}") for e in picture.iter()
            } <= OURS
        if html.startswith("<svg"):
            ElementTree.fromstring(html)


@given(HOSTILE.map("".join))
@settings(max_examples=15, deadline=None)
def test_no_text_becomes_a_tag_in_the_live_card(text: str) -> None:
    """The same for every widget of the card, its links, its answers and its payloads."""
    card = RunCard(decide=lambda *_: None, links=((text, text),), cli=text, own_worker=text)
    card.show_payloads([(text, text, text)])
    for part in (views.asking, views.task_failing, views.no_worker):
        card.show(poisoned(part(), text))
        card.answer(text, refused=True)
        for html in values(card.widget):
            found = Tags(html)
            assert found.tags <= OURS
            assert not any(name.startswith("on") for name in found.attributes)


def values(widget: w.Widget) -> Iterator[str]:
    """The value of every HTML widget below one."""
    if isinstance(widget, w.HTML):
        yield widget.value
    for child in getattr(widget, "children", ()):
        yield from values(child)


def test_the_text_itself_is_shown() -> None:
    """Escaping keeps the words: nothing is silently dropped."""
    html = snapshot_html(poisoned(views.failed(), "<b>&'"), taken=NOW)
    assert "&lt;b&gt;&amp;&#x27;" in html


@pytest.mark.parametrize("text", ["<evil>", "' onevil='1", "'><evil onevil='1"])
def test_the_check_would_notice(text: str) -> None:
    """The parser used above finds what an unescaped page would contain."""
    found = Tags(f"<a href='{text}'>{text}</a>")
    assert "evil" in found.tags or "onevil" in found.attributes

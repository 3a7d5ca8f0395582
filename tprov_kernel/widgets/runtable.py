"""The live table of runs: drop-down lists and a filter to type above it, counts as a picture.

A view: it is told what to show, and tells which filter somebody asks for. `show` and the like may
be called from any thread; callbacks never raise and never print.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import ipywidgets as w

from tprov_kernel.errors import TprovError
from tprov_kernel.filters import ALL_RUNS, choices, with_choice
from tprov_kernel.messages import Status
from tprov_kernel.observe import Listing, RunView, Tally
from tprov_kernel.widgets import style, table
from tprov_kernel.widgets.comms import unpin
from tprov_kernel.widgets.outputs import Twin
from tprov_kernel.widgets.style import live as ink

TABLE = ".tprov-table"
ANY = "any"
LISTS = {
    "tprovStatus": "Status",
    "tprovDirectory": "Directory",
    "tprovVerdict": "Verdict",
    "tprovRequester": "Asked by",
}
"""Attribute to what people call it; a drop-down list each."""

VERDICTS = ("allowed", "advisory", "soft-mandatory", "hard-mandatory")


class RunTable:
    """The widget.

    Args:
        query: The filter to begin with.
        ask: Called with a filter that somebody typed or chose; returns at once. The answer comes
            through `show` or `refuse`.
        link: A run's address in the Web UI; empty where there is none.
        clock: Tells the time; replaced in tests.

    Attributes:
        widget: The live widget.
        filter: Where a filter is typed; it always holds the one that was asked for last.
        lists: Attribute to its drop-down list.
    """

    def __init__(
        self,
        query: str,
        *,
        ask: Callable[[str], None],
        link: Callable[[RunView], str],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ask, self._link, self._clock = ask, link, clock
        self._lock = threading.RLock()
        self._following = False
        self._kept: tuple[Listing, Sequence[Tally], str] | None = None
        self._pictured: object = None
        self._twin = Twin(mark=f"tprov-runs-{secrets.token_hex(4)}")
        self.filter = w.Text(query, description="Filter", continuous_update=False)
        self.filter.add_class("filter")
        self.lists = {
            name: w.Dropdown(options=[(ANY, "")], description=said) for name, said in LISTS.items()
        }
        self._said, self._touch, self._counts = w.HTML(), w.HTML(), w.HTML()
        self._rows, self._links, self._foot = w.HTML(), w.HTML(), w.HTML()
        self.offer({"tprovVerdict": VERDICTS, "tprovStatus": _STATUSES})
        self._follow(query)
        self.filter.observe(self._on_typed, "value")
        for name, chosen in self.lists.items():
            chosen.observe(self._on_chosen(name), "value")
        unpin(self.filter, *self.lists.values())
        self.widget = self._compose()

    def _compose(self) -> w.VBox:
        sheet = w.HTML(table_css(self._twin.mark))
        sheet.layout.display = "none"
        lists = _classed(w.HBox(list(self.lists.values())), "lists")
        head = _classed(w.VBox([lists, self.filter, self._said]), "head")
        body = _classed(w.HBox([self._rows, self._links]), "body")
        self._rows.add_class("rows")
        self._links.add_class("links")
        self._counts.add_class("counts")
        self._foot.add_class("foot")
        drawn = w.VBox([sheet, head, self._touch, self._counts, body, self._foot])
        drawn.add_class(TABLE[1:])
        drawn.add_class(f"{self._twin.mark}-live")
        return drawn

    # --- what it is told ---------------------------------------------------------------------

    def show(self, listing: Listing, tallies: Sequence[Tally], query: str) -> None:
        """Show the runs that a filter finds; the stored picture follows what changed."""
        with self._lock:
            self._kept = (listing, tallies, query)
            _put(self._touch, "")
            _put(self._counts, table.counts(tallies, ink))
            _put(self._rows, table.rows(listing, self._clock(), ink) if listing.rows else "")
            _put(self._links, table.links(listing, self._link) if listing.rows else "")
            foot = f"<div>{table.foot(listing, ink)}</div><div>{table.command(query, ink)}</div>"
            _put(self._foot, foot)
            self.offer(table.known(listing.rows))
            landmark = (query, listing.more, [_landmark(row.view) for row in listing.rows])
            if landmark != self._pictured:
                self._pictured = landmark
                self.refresh_picture()

    def taken(self) -> None:
        """The filter in the field is the one whose rows are shown: no complaint is left."""
        _put(self._said, "")

    def refuse(self, text: str, kept: str) -> None:
        """Say at the field why its filter was not taken; the rows stay those of `kept`."""
        _put(self._said, table.complaint(text, kept))

    def out_of_touch(self, since: datetime) -> None:
        """Say that the server does not answer; the rows stay."""
        _put(self._touch, table.out_of_touch(since, self._clock(), ink))

    def offer(self, values: Mapping[str, Iterable[str]]) -> None:
        """Add values to the drop-down lists."""
        for name, offered in values.items():
            with self._lock:
                before = [value for _, value in self.lists[name].options if value]
                if new := sorted(set(offered) - {*before, ""}, key=_rank):
                    listed = sorted(before + new, key=_rank)
                    options = [(ANY, ""), *((_words(value), value) for value in listed)]
                    self._set_options(self.lists[name], options)

    def _set_options(self, chosen: w.Dropdown, options: list[tuple[str, str]]) -> None:
        was, self._following = self._following, True
        try:
            value = chosen.value
            chosen.options = options
            chosen.value = value
        finally:
            self._following = was

    def choose(self, name: str, value: str) -> None:
        """Choose from a drop-down list, as the mouse does; a value that it lacks is added."""
        self.offer({name: [value]} if value else {})
        self.lists[name].value = value

    # --- outputs -----------------------------------------------------------------------------

    def display(self) -> None:
        """Put the live table and, as a second output, its stored picture into the running cell."""
        with self._lock:
            self._twin.display(self.widget, *self._picture())

    def refresh_picture(self) -> None:
        """Bring the stored picture up to date; does nothing before `display`."""
        with self._lock:
            self._twin.refresh(*self._picture())

    def _picture(self) -> tuple[str, str]:
        if self._kept is None:
            return "", "A table of runs; the server has not answered yet."
        listing, tallies, query = self._kept
        html = table.picture(listing, tallies, query, taken=self._clock(), mark=self._twin.mark)
        return html, table.counts_words(tallies)

    # --- what people do ----------------------------------------------------------------------

    def _on_typed(self, change: Any) -> None:
        with self._lock:  # another thread may be at it: only what we set ourselves is no news
            if self._following:
                return
        self._tell(str(change["new"]))

    def _on_chosen(self, name: str) -> Callable[[Any], None]:
        def chosen(change: Any) -> None:
            with self._lock:
                if self._following:
                    return
                query = with_choice(self._base(), name, change["new"] or "")
            self._tell(query)

        return chosen

    def _base(self) -> str:
        """What a choice is added to: the filter in the field, unless the server refused it."""
        return self._kept[2] if self._said.value and self._kept else str(self.filter.value)

    def _tell(self, query: str) -> None:
        query = query.strip() or ALL_RUNS
        # Whatever a callback raises would be lost, or land in another cell.
        try:
            with self._lock:
                self._follow(query)
            self._ask(query)
        except Exception as error:
            said = str(error) if isinstance(error, TprovError) else f"Nothing was asked: {error}."
            self.refuse(said, self._kept[2] if self._kept else "")

    def _follow(self, query: str) -> None:
        """Have field and lists say the same."""
        was, self._following = self._following, True
        try:
            if self.filter.value != query:
                self.filter.value = query
            asked = choices(query)
            self.offer({name: [asked[name]] for name in LISTS if name in asked})
            for name, chosen in self.lists.items():
                wanted = asked.get(name, "")
                if chosen.value != wanted:
                    chosen.value = wanted
        finally:
            self._following = was


def _landmark(view: RunView) -> tuple[object, ...]:
    return (view.run_id, view.status, view.closed)


_STATUSES = [status.value for status in Status]


def _words(value: str) -> str:
    return value.replace("_", " ") if value in _STATUSES else value


def _rank(value: str) -> tuple[int, str]:
    """Statuses and verdicts in the order in which they come, names by the alphabet."""
    known = [*_STATUSES, *VERDICTS]
    return (known.index(value) if value in known else len(known), value)


def _put(widget: w.HTML, html: str) -> None:
    if widget.value != html:
        widget.value = html
    wanted = None if html else "none"
    if widget.layout.display != wanted:
        widget.layout.display = wanted


def _classed(box: w.Box, name: str) -> w.Box:
    box.add_class(name)
    return box


def table_css(mark: str) -> str:
    """The whole sheet of a table whose stored picture carries the class `mark`."""
    twin = f"body:has({TABLE}.{mark}-live)"
    hide = f"{twin} .jp-OutputArea-child:has(.{mark}),{twin} .{mark}{{display:none!important}}"
    rules = style.stylesheet(TABLE) + _RULES + hide
    return f"<style>{rules.replace('%mono', style.MONO).replace('%sans', style.SANS)}</style>"


_RULES = """
.tprov-table{margin:2px 0 8px;border:1px solid var(--tp-line);border-radius:8px;
  background:var(--tp-ground);color:var(--tp-text);font-family:%sans;font-size:13px;
  line-height:1.5;max-width:980px;overflow:hidden;min-width:0}
.tprov-table .widget-html,.tprov-table .widget-box{margin:0;min-width:0;overflow:visible}
.tprov-table .widget-html{width:auto}
.tprov-table .widget-html-content{line-height:1.5!important;height:auto;min-width:0;width:100%;
  overflow:visible;color:var(--tp-text);font-size:13px}
.tprov-table .widget-html>label{display:none}
.tprov-table :focus-visible{outline:2px solid var(--tp-busy)!important;outline-offset:1px}

.tprov-table>.head{padding:10px 16px 6px;gap:6px;border-bottom:1px solid var(--tp-line);
  background:var(--tp-raised)}
.tprov-table .lists{gap:6px 14px;flex-wrap:wrap}
.tprov-table .widget-dropdown,.tprov-table .widget-text{margin:0;min-width:0;height:auto;
  align-items:center}
.tprov-table .widget-dropdown{flex:1 1 180px;width:auto;flex-wrap:wrap}
.tprov-table .widget-dropdown>label,.tprov-table .widget-text>label{width:auto;flex:0 0 auto;
  margin:0 8px 0 0;font-size:12px;line-height:1.5;color:var(--tp-muted);text-align:left;
  height:auto}
.tprov-table .widget-dropdown>select,.tprov-table .widget-text>input{height:30px;
  font-family:%sans;font-size:13px;border-radius:4px;color:var(--tp-text);
  background-color:var(--tp-ground);min-width:0;
  border:1px solid color-mix(in srgb,var(--tp-text) 55%,var(--tp-ground))}
.tprov-table .widget-dropdown>select{flex:1 1 100%;padding:0 22px 0 8px;
  background-image:url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='10'\
 height='6'%3E%3Cpath d='M1 1l4 4 4-4' fill='none' stroke='%238a8f98'\
 stroke-width='2'/%3E%3C/svg%3E");
  background-repeat:no-repeat;background-position:right 8px center;background-size:auto}
.tprov-table .widget-text>input{flex:1 1 auto;padding:0 8px;font-family:%mono;font-size:12px}
.tprov-table .widget-dropdown>select option{color:var(--tp-text);background:var(--tp-ground)}
.tprov-table .filter{width:auto}

.tprov-table>.widget-html{padding:0 16px}
.tprov-table>.counts{padding:10px 16px 2px}
.tprov-table .counts svg{margin-bottom:4px}
.tprov-table .body{padding:2px 16px 0}
.tprov-table .rows{flex:1 1 auto;overflow-x:auto;overflow-y:hidden}
.tprov-table .links{flex:0 0 58px;padding-top:28px}
.tprov-table .rows table{table-layout:fixed;font-size:13px;min-width:660px}
.tprov-table .rows th{height:28px;padding-right:4px;box-sizing:border-box;white-space:nowrap;
  overflow:hidden;text-overflow:ellipsis}
.tprov-table .rows td{height:34px;box-sizing:border-box;padding:0 8px 0 0;vertical-align:middle;
  white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.tprov-table .rows td .tp-chip{padding:0 8px;line-height:22px;font-size:12px}
.tprov-table .rows tr.asks td,.tprov-table .links li.asks{background:var(--tp-ask-tint)}
.tprov-table .rows tr>:nth-child(3){width:160px}
.tprov-table .rows tr>:nth-child(4){width:108px;font-size:12px}
.tprov-table .rows tr>:nth-child(5){width:72px;font-size:12px}
.tprov-table .rows tr>:nth-child(6){width:72px;font-size:12px}
.tprov-table .rows tr>:nth-child(7){width:76px;font-size:12px}
.tprov-table .links ul{list-style:none;margin:0;padding:0;border-top:1px solid var(--tp-line)}
.tprov-table .links li{height:34px;line-height:33px;margin:0;font-size:12px;white-space:nowrap;
  border-bottom:1px solid var(--tp-line);box-sizing:border-box}
.tprov-table>.foot{padding:6px 16px 8px}
.tprov-table .foot .widget-html-content{font-size:12px}
.tprov-table .foot code{user-select:all;overflow-wrap:anywhere}

.tprov-table.jupyter-widgets-disconnected .jupyter-widgets-disconnected::before{display:none}
.tprov-table.jupyter-widgets-disconnected::before{
  content:"⚠ The kernel behind this table is gone. Run the set-up cell again."!important;
  display:block;padding:8px 16px;font:700 13px/1.5 %sans;color:var(--tp-bad);
  background:var(--tp-bad-tint);position:static;text-align:left;align-self:stretch;width:auto}
.tprov-table.jupyter-widgets-disconnected>*{opacity:.55;pointer-events:none}
"""

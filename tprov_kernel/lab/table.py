"""The table of all runs, kept up to date: who asks the server, how often, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from IPython.core.getipython import get_ipython
from temporalio.client import Client

from tprov_kernel import visibility
from tprov_kernel.errors import FilterRefused, ServiceError, StackError, TprovError
from tprov_kernel.filters import ALL_RUNS
from tprov_kernel.lab.output import show_html
from tprov_kernel.lab.runtime import Runtime
from tprov_kernel.observe import Listing, RunView, Tally
from tprov_kernel.widgets import table
from tprov_kernel.widgets.runtable import LISTS, RunTable
from tprov_kernel.widgets.style import adaptive

SHORTEST = 0.3
"""Seconds between two looks, however much happens."""

PATIENCE = 3.0
"""Seconds without an answer after which the server is said to be away."""


def pause(quiet: float, *, is_open: bool) -> float:
    """Seconds until the next look at what others do; what this notebook does is told at once.

    Args:
        quiet: Seconds since something changed.
        is_open: A run is open somewhere.
    """
    if is_open:
        return 0.5 if quiet < 5 else 1.0 if quiet < 300 else 5.0
    return 1.0 if quiet < 10 else 5.0 if quiet < 600 else 15.0


class RunsTable:
    """The table, as a notebook holds it; shown when it is a cell's last line.

    In a front end the picture that the notebook keeps follows the table. A headless runner keeps
    what the cell that runs sends, so there it is of the moment when it was shown, or of the last
    `refresh`.

    Args:
        runtime: Where the client lives.
        client: Connected to the server.
        query: The list filter to begin with.
        link: A run's address in the Web UI; empty where there is none.
        is_open: Whether the lab is; the table stops with it.
        shown: The tables of this notebook by their cell: a cell that is run again shows a new one,
            and nobody looks at the one before.
    """

    def __init__(
        self,
        *,
        runtime: Runtime,
        client: Client,
        query: str,
        link: Callable[[RunView], str],
        is_open: Callable[[], bool],
        shown: dict[str, RunsTable],
    ) -> None:
        self._runtime, self._client = runtime, client
        self._is_open, self._shown = is_open, shown
        self._query = ALL_RUNS
        self._asked: str | None = query
        self._listing: Listing | None = None
        self._tallies: tuple[Tally, ...] = ()
        self._pulse: dict[str, int] = {}
        self._heard: dict[str, object] = {}
        self._changed = self._looked = monotonic()
        self._silent: datetime | None = None
        self._woken = asyncio.Event()
        self._looking = asyncio.Lock()
        self._following: Future[None] | None = None
        self._widget = RunTable(query, ask=self._take_filter, link=link)

    # --- what people call --------------------------------------------------------------------

    def ask(self, query: str) -> None:
        """Use another list filter, as if it had been typed into the field.

        Args:
            query: What `temporal workflow list --query` takes.
        """
        self._widget.filter.value = query
        self.refresh()

    def choose(self, **wanted: str) -> None:
        """Choose from the drop-down lists: ``status``, ``directory``, ``verdict``, ``requester``.

        An empty text chooses 'any'; a status may be said as people see it.

        Raises:
            StackError: There is no such list.
        """
        for name, value in wanted.items():
            attribute = f"tprov{name.capitalize()}"
            if attribute not in LISTS:
                raise StackError(
                    f"There is no list {name!r}.",
                    remedy="There are status, directory, verdict and requester.",
                )
            self._widget.choose(attribute, value.replace(" ", "_") if name == "status" else value)
        self.refresh()

    def refresh(self) -> None:
        """Ask the server at this moment, and bring the stored picture up to date.

        Raises:
            ServiceError: The lab is closed.
        """
        self._check_open()
        self._runtime.call(self._look(), timeout=5 * PATIENCE)
        self._widget.refresh_picture()

    @property
    def query(self) -> str:
        """The list filter whose runs are shown."""
        return self._query

    @property
    def runs(self) -> list[RunView]:
        """The runs that are shown, as visibility tells them."""
        return [row.view for row in self._listing.rows] if self._listing else []

    @property
    def words(self) -> str:
        """How many runs have which status, as a sentence."""
        return table.counts_words(self._tallies)

    def hear(self, view: RunView) -> None:
        """A run of this notebook tells how it is; when that is news, the table looks at once."""
        news = (view.status, view.closed)
        if self._heard.get(view.run_id) != news:
            self._heard[view.run_id] = news
            self._wake()

    def stop(self) -> None:
        """Ask no more; what is shown stays as it is."""
        if self._following is not None:
            self._following.cancel()

    @property
    def is_followed(self) -> bool:
        """Whether it is kept up to date."""
        return self._following is not None and not self._following.done()

    def _ipython_display_(self) -> None:
        self._replace_in_this_cell()
        self.refresh()
        self._widget.display()
        if not self.is_followed:
            self._following = self._runtime.submit(self._follow())

    def _replace_in_this_cell(self) -> None:
        shell = get_ipython()
        message: dict[str, Any] = getattr(
            shell, "get_parent", dict
        )()  # a shell without a kernel has none
        cell = str(message.get("metadata", {}).get("cellId", id(self)))
        before = self._shown.get(cell, self)
        if before is not self:
            before.stop()
        self._shown[cell] = self

    # --- looking -----------------------------------------------------------------------------

    def _take_filter(self, query: str) -> None:
        self._check_open()
        self._asked = query
        self._wake()

    def _check_open(self) -> None:
        if not self._is_open():
            raise ServiceError("This lab is closed.", remedy="Run the set-up cell again.")

    def _wake(self) -> None:
        self._changed = monotonic()
        self._runtime.loop.call_soon_threadsafe(self._woken.set)

    async def _follow(self) -> None:
        while self._is_open() and self._widget.widget.comm is not None:
            open_ones = self._pulse.get("Running") or any(not view.closed for view in self.runs)
            quiet = monotonic() - self._changed
            with suppress(TimeoutError):
                wait = pause(quiet, is_open=bool(open_ones))
                await asyncio.wait_for(self._woken.wait(), wait)
            self._woken.clear()
            if self._asked is None:
                await asyncio.sleep(self._looked + SHORTEST - monotonic())
            await self._look()

    async def _look(self) -> None:
        """Ask, and show what is new; a server that is away is said, never raised."""
        async with self._looking:
            self._looked = monotonic()
            asked, self._asked = self._asked, None
            try:
                async with asyncio.timeout(PATIENCE):  # the client tries for longer
                    if asked is not None:
                        await self._try(asked)
                    if asked is None or self._listing is None:
                        await self._ask_again()
                self._silent = None
            except (TprovError, TimeoutError):
                self._asked = asked if self._asked is None else self._asked
                self._silent = self._silent or datetime.now(UTC)
                self._widget.out_of_touch(self._silent)

    async def _try(self, query: str) -> None:
        try:
            listing = await visibility.list_runs(self._client, query)
        except FilterRefused as error:
            self._widget.refuse(str(error), self._query)
            return
        self._query = query
        self._widget.taken()
        await self._take(listing)

    async def _ask_again(self) -> None:
        """Ask for the rows, unless a look at the totals tells that nothing can be new."""
        if all(view.closed for view in self.runs):
            pulse = await visibility.pulse(self._client)
            same, self._pulse = pulse == self._pulse, pulse
            if same and not pulse.get("Running") and self._listing and not self._silent:
                return
        await self._take(await visibility.list_runs(self._client, self._query))

    async def _take(self, listing: Listing) -> None:
        if listing != self._listing:
            self._changed = monotonic()
            self._tallies = visibility.count_rows(listing.rows)
            if listing.more:
                self._tallies = await visibility.count_by_status(self._client, self._query)
        self._listing = listing
        self._widget.show(listing, self._tallies, self._query)


def show_counts(tallies: Sequence[Tally]) -> None:
    """Show how many runs have which status: a picture, and words."""
    drawn = f"<div{adaptive('pad')}>{table.counts(tallies, adaptive)}</div>"
    show_html(f"<div{adaptive('base frame')}>{drawn}</div>", table.counts_words(tallies))

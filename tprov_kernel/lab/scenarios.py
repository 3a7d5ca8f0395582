"""The row of buttons that start a scenario on the spot."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple

from tprov_kernel.errors import TprovError
from tprov_kernel.widgets.card import RunCard
from tprov_kernel.widgets.scenarios import ScenarioRow

if TYPE_CHECKING:
    from tprov_kernel.lab import Lab
    from tprov_kernel.lab.desk import Via
    from tprov_kernel.lab.run import Run


class Scenario(NamedTuple):
    """What a button starts."""

    name: str
    words: str
    config: str
    via: Via


SCENARIOS = (
    Scenario("happy-path", "Happy path", "terraform/tcloud_namespace", "update"),
    Scenario("signal", "Admin user, by signal", "terraform/tcloud_admin_user", "signal"),
    Scenario("update", "Admin user, by update", "terraform/tcloud_admin_user", "update"),
)


class Scenarios:
    """The row, as a notebook holds it; shown when it is a cell's last line.

    Headless, the autopilot presses the first button once it is shown.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._row = ScenarioRow([(s.name, s.words) for s in SCENARIOS], start=self._start)
        self._by_name = {s.name: s for s in SCENARIOS}

    def _start(self, name: str) -> RunCard | None:
        chosen = self._by_name[name]
        starting = self._lab.start_soon(name, config=chosen.config, via=chosen.via)
        starting.add_done_callback(self._started)
        return None

    def _started(self, starting: Future[Run]) -> None:
        try:
            self._row.show_card(starting.result().as_card())
        except TprovError as error:
            self._row.say(str(error), refused=True)
        except Exception as error:  # a callback's error would be seen by nobody
            self._row.say(f"It could not be started: {error}", refused=True)

    def _ipython_display_(self) -> None:
        self._row.display()
        if self._lab.place.headless:
            first = self._row.buttons[SCENARIOS[0].name]
            pressing = threading.Thread(target=first.click, name="tprov-autopilot", daemon=True)
            pressing.start()
            pressing.join()

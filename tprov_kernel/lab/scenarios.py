"""The row of buttons that start a scenario on the spot."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

from tprov_kernel.errors import TprovError
from tprov_kernel.lab.cloud_api import control_of
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
    via: Via = "update"
    variables: Mapping[str, Any] = {}
    unavailable: int = 0
    """How often the Cloud API is told to be unavailable first."""


NAMESPACE, ADMIN = "terraform/tcloud_namespace", "terraform/tcloud_admin_user"
ABROAD = {"regions": ["gcp-us-central1"]}
SCENARIOS = (
    Scenario("happy-path", "Happy path", NAMESPACE),
    Scenario("signal", "Admin user, by signal", ADMIN, via="signal"),
    Scenario("update", "Admin user, by update", ADMIN),
    Scenario("abroad", "A region nobody may use", NAMESPACE, variables=ABROAD),
    Scenario("bad-minute", "API failure", NAMESPACE, unavailable=3),
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
        starting = self._lab.start_soon(self._begin(chosen))
        starting.add_done_callback(self._started)
        return None

    async def _begin(self, chosen: Scenario) -> Run:
        if chosen.unavailable:
            control = control_of(self._lab.settings.cloud)
            await control.fail("GetAccount", "UNAVAILABLE", times=chosen.unavailable)
        return await self._lab.begin(
            chosen.name, chosen.config, chosen.via, variables=chosen.variables
        )

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

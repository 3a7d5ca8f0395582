"""Breaks things, on purpose and for real: the worker process, Terraform, the server, the API.

Every method says in a sentence what it did to which process; the buttons of the panel call the
same methods. Who may be killed is looked up at that moment, never remembered.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tprov_kernel.errors import ServiceError, TprovError
from tprov_kernel.lab.cloud_api import control_of
from tprov_kernel.lab.output import Words
from tprov_kernel.lab.runtime import Runtime
from tprov_kernel.lab.terraforms import Terraform, kill_terraforms, terraforms
from tprov_kernel.services import wishes
from tprov_kernel.standin.control import fault_words
from tprov_kernel.widgets.chaos import ChaosPanel, Target

if TYPE_CHECKING:
    from tprov_kernel.lab.lab import Lab
    from tprov_kernel.lab.worker_process import WorkerProcess
    from tprov_kernel.standin.control import StandinControl

LOOK_EVERY = 0.7
"""Seconds between two looks while a run is open; three times that when none is."""

LIMIT = 60.0
"""Seconds that an action may take; a server starts within thirty."""

HELD_WITHIN = 40.0
"""Seconds to wait until the Cloud API holds an operation back; Terraform needs two to ask."""


class Chaos:
    """The panel, as a notebook holds it; shown when it is a cell's last line.

    Args:
        lab: Whose runs, queue and services are broken.
        runtime: Where waiting is done.
        process: The worker process, as soon as there is one.
    """

    def __init__(
        self, lab: Lab, *, runtime: Runtime, process: Callable[[], WorkerProcess | None]
    ) -> None:
        self._lab, self._runtime, self._process = lab, runtime, process
        self._widget = ChaosPanel(press=self._press)
        self._following: Future[None] | None = None
        self._woken = asyncio.Event()
        self._actions: dict[str, Callable[[], Words]] = {
            name: getattr(self, name)
            for name in (
                *("start_worker", "kill_worker", "kill_terraform", "stop_server", "start_server"),
                *("break_cloud", "slow_cloud", "mend_cloud"),
            )
        }

    # --- the worker and Terraform ------------------------------------------------------------

    def start_worker(self) -> Words:
        """Hand the queue to a worker process; one that was killed is started again.

        Raises:
            ServiceError: It does not come up.
        """
        return self._tell(f"{self._lab.worker_process()!r}")

    def kill_worker(self) -> Words:
        """Kill the worker process with -9. A Terraform at work finishes, and is not alone."""
        process = self._process()
        if process is None or (not process.runs and self._lab.worker_runs):
            return self._tell(
                "This kernel's own worker polls; it cannot be killed without the kernel. Start a"
                " worker process first: nothing was done."
            )
        return self._tell(process.kill())

    def kill_terraform(self) -> Words:
        """Kill every Terraform that works in this workspace, and its plug-ins, with -9.

        Whoever started it: this notebook, another one, the `tprov` command or a plain script.
        """
        found: list[Terraform] = self._call(kill_terraforms(self._lab.settings.home))
        if not found:
            return self._tell(f"{_NONE} Nothing was killed.")
        return self._tell(" ".join(f"Killed with signal 9: {t.words}." for t in found))

    # --- the server --------------------------------------------------------------------------

    def stop_server(self) -> Words:
        """Stop the Temporal server until `start_server`; its database is on the disk.

        Raises:
            ServiceError: It is another's, or does not stop.
        """
        pid = self._call(wishes.stop(self._home(), "temporal"))
        if not pid:
            return self._tell("The Temporal server did not run: nothing was done.")
        others = " Every notebook of this JupyterLab is without it." * self._lab.place.attached
        return self._tell(
            f"The Temporal server (process {pid}) was stopped. Its data stays.{others}"
        )

    def start_server(self) -> Words:
        """Start the Temporal server again, on the same ports; every run is as it was.

        Raises:
            ServiceError: It is another's, or does not come up.
        """
        pid = self._call(wishes.start(self._home(), "temporal"))
        where = self._lab.settings.address
        return self._tell(f"The Temporal server runs at {where} (process {pid}).")

    def _home(self) -> Path:
        if self._lab.settings.target != "local":
            raise ServiceError(
                f"The Temporal server at {self._lab.settings.address} is not ours to break:"
                " nothing was done.",
                remedy="Only the worker and Terraform are this notebook's.",
            )
        return self._lab.settings.home

    # --- the Cloud API -----------------------------------------------------------------------

    def break_cloud(
        self, method: str = "*", code: str = "UNAVAILABLE", *, times: int | None = None
    ) -> Words:
        """Let the Cloud API answer with an error, and do nothing of what it is asked.

        Args:
            method: A method such as ``CreateNamespace``, or ``*`` for every one.
            code: A gRPC status.
            times: How many calls; None until `mend_cloud`.

        Raises:
            TprovError: There is no such method, or the API is not a stand-in.
        """
        return self._tell(self._call(self._control().fail(method, code, times=times)))

    def slow_cloud(
        self, seconds: float = 3.0, method: str = "*", *, times: int | None = None
    ) -> Words:
        """Let each call of the Cloud API take longer, by so many seconds.

        Raises:
            TprovError: There is no such method, or the API is not a stand-in.
        """
        return self._tell(self._call(self._control().slow(method, seconds, times=times)))

    def hold_cloud(self, method: str = "CreateNamespace") -> Words:
        """Let the Cloud API take the next call of a method, and not finish it until mended.

        Raises:
            TprovError: There is no such method, or the API is not a stand-in.
        """
        return self._tell(self._call(self._control().hold(method)))

    def mend_cloud(self) -> Words:
        """Take every fault back; what was held is finished.

        Raises:
            ServiceError: The API is not a stand-in.
        """
        self._call(self._mend())
        return self._tell("The Cloud API is well again; what it held back is finished.")

    async def _mend(self) -> None:
        control = self._control()
        await control.mend()
        with suppress(TimeoutError):
            async with asyncio.timeout(HELD_WITHIN):
                while (await control.status())["open"]:  # noqa: ASYNC110 (another process has it)
                    await asyncio.sleep(0.05)

    def wait_until_held(self) -> Words:
        """Wait until the Cloud API has begun what `hold_cloud` asked it not to finish.

        Raises:
            ServiceError: Nobody asked for it in time.
        """
        return self._tell(self._call(self._held()))

    async def _held(self) -> str:
        control = self._control()
        with suppress(TimeoutError):
            async with asyncio.timeout(HELD_WITHIN):
                while not (await control.status())["held"]:  # noqa: ASYNC110 (another process has it)
                    await asyncio.sleep(0.1)
                begun = [o for o in await control.objects() if o["state"] != "active"]
                listed = ", ".join(f"{o['type']} {o['name']} ({o['state']})" for o in begun)
                return f"The Cloud API lists {listed}. Whoever asked has not been told that."
        raise ServiceError(
            f"Nothing that the Cloud API holds back was asked for within {HELD_WITHIN:.0f} s.",
            remedy="Run `chaos.hold_cloud()`, then what creates it.",
        )

    def _control(self) -> StandinControl:
        return control_of(self._lab.settings.cloud)

    # --- the panel ---------------------------------------------------------------------------

    def refresh(self) -> None:
        """Look at everything at this moment, and bring the stored picture up to date."""
        self._call(self._look())
        self._widget.refresh_picture()

    @property
    def words(self) -> str:
        """How everything is, as sentences."""
        targets = self._call(self._targets())
        return "\n".join(f"{target.name}: {target.words}" for target in targets)

    def _ipython_display_(self) -> None:
        self.refresh()
        self._widget.display()
        if self._following is None or self._following.done():
            self._following = self._runtime.submit(self._follow())

    def _press(self, action: str) -> None:
        self._runtime.submit(asyncio.to_thread(self._safely, self._actions[action]))

    def _safely(self, action: Callable[[], Words]) -> None:
        try:
            action()
        except TprovError as error:
            self._widget.answer(str(error), refused=True)
        except Exception as error:
            self._widget.answer(f"That did not work: {error}.", refused=True)

    def _tell(self, sentence: str) -> Words:
        self._widget.answer(sentence)
        self._runtime.loop.call_soon_threadsafe(self._woken.set)
        return Words(sentence)

    def _call(self, work: Any) -> Any:
        if not self._lab.is_open:
            work.close()
            raise ServiceError("This lab is closed.", remedy="Run the set-up cell again.")
        return self._runtime.call(work, timeout=LIMIT)

    async def _follow(self) -> None:
        while self._lab.is_open and self._widget.widget.comm is not None:
            with suppress(TprovError, OSError):
                await self._look()
            busy = any(not run.status.is_final for run in self._lab.runs)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), LOOK_EVERY * (1 if busy else 3))
            self._woken.clear()

    async def _look(self) -> None:
        self._widget.show(await self._targets())

    async def _targets(self) -> tuple[Target, ...]:
        at_work = await asyncio.to_thread(terraforms, self._lab.settings.home)
        return (
            self._worker_target(),
            _terraform_target(at_work),
            self._server_target(),
            await self._cloud_target(),
        )

    def _worker_target(self) -> Target:
        process, queue = self._process(), self._lab.settings.task_queue
        buttons = (("Start worker process", "start_worker"), ("Kill worker process", "kill_worker"))
        if process is not None and process.runs:
            words = f"Process {process.pid} polls {queue}."
            return Target(name="Worker", condition="alive", words=words, buttons=buttons)
        if self._lab.worker_runs:
            words = f"In this kernel (process {os.getpid()}), polls {queue}."
            return Target(name="Worker", condition="alive", words=words, buttons=buttons)
        words = f"Nobody of this notebook polls {queue}; its runs wait."
        return Target(name="Worker", condition="dead", words=words, buttons=buttons)

    def _server_target(self) -> Target:
        if self._lab.settings.target != "local":
            return _not_ours("Temporal server", self._lab.settings.address)
        buttons = (("Stop server", "stop_server"), ("Start server", "start_server"))
        pid = wishes.pids_of(self._lab.settings.home).get("temporal", 0)
        runs = bool(pid) and psutil.pid_exists(pid)
        words = f"Process {pid} at {self._lab.settings.address}."
        return Target(
            name="Temporal server",
            condition="alive" if runs else "dead",
            words=words if runs else "It does not run; what it knows is on the disk.",
            buttons=buttons,
        )

    async def _cloud_target(self) -> Target:
        if not self._lab.settings.cloud.is_stand_in:
            return _not_ours("Cloud API", self._lab.settings.cloud.endpoint)
        buttons = (
            *(("Break API", "break_cloud"), ("Slow API", "slow_cloud")),
            ("Mend API", "mend_cloud"),
        )
        name, where = "Cloud API (stand-in)", self._lab.settings.cloud.endpoint
        try:
            status = await self._control().status()
        except TprovError as error:
            return Target(name=name, condition="dead", words=error.message, buttons=buttons)
        faults = [fault_words(fault) for fault in status["faults"]]
        if held := len(status["held"]):
            faults.append(f"{held} operation{'s' * (held > 1)} not finished until it is mended.")
        words = " ".join(faults) or f"Well, at {where}."
        return Target(
            name=name, condition="ill" if faults else "alive", words=words, buttons=buttons
        )


_NONE = "No Terraform is at work in this workspace."


def _not_ours(name: str, where: str) -> Target:
    words = f"At {where}; not ours to break."
    return Target(name=name, condition="idle", words=words)


def _terraform_target(at_work: list[Terraform]) -> Target:
    words = "; ".join(t.words for t in at_work)
    return Target(
        name="Terraform",
        condition="alive" if at_work else "idle",
        words=f"At work: {words}." if at_work else _NONE,
        buttons=(("Kill Terraform", "kill_terraform"),),
    )

"""The notebook side: `open_lab` opens or attaches to the services and runs the worker.

Client, worker and watchers live on one thread with its own event loop (`runtime.py`), so a cell
that blocks never stops a heartbeat. Heavy modules are imported while the services start.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tprov_kernel.errors import ServiceError, StackError, TprovError
from tprov_kernel.lab import _state, friendly
from tprov_kernel.lab.place import Place, find_place
from tprov_kernel.lab.runtime import Runtime, at_exit
from tprov_kernel.settings import Settings, Target, default_home, remote_settings, workspace_root

if TYPE_CHECKING:
    from temporalio.client import Client
    from temporalio.worker import Worker

    from tprov_kernel.activities import ActivityFunction
    from tprov_kernel.cloud import CloudObject
    from tprov_kernel.lab.run import Run, Via
    from tprov_kernel.lab.scenarios import Scenarios
    from tprov_kernel.payloads.keyring import KeyRing
    from tprov_kernel.process import Guard
    from tprov_kernel.services import Services, ServicesInfo
    from tprov_kernel.toolchain import Toolchain
    from tprov_kernel.widgets.panel import PanelRow

T = TypeVar("T")

LIVE_PACE = 0.8
"""Seconds of pause before each step when somebody watches; 0 headless."""

DEMO_HEARTBEAT = 5.0
"""Seconds without a sign of life after which a step of a demo counts as lost."""

MAX_COPIES = 20


def open_lab(notebook: str = "", *, target: Target = "local", pace: float | None = None) -> Lab:
    """Open a small cloud platform in this kernel, or show the one that is open already.

    Starts, or attaches to, the Temporal server, the codec server and the Cloud API stand-in, and
    runs a worker in this kernel. Running it again changes nothing, and says so.

    Args:
        notebook: The notebook's name, where the front end does not tell; names the data directory
            and the task queue.
        target: ``local``, or ``remote`` to use what the environment says.
        pace: Seconds of pause before each step of a run; default is 0.8 with an audience, else 0.

    Raises:
        TprovError: With a sentence and a remedy; the cell shows just those.
    """
    friendly.install()
    lab: Lab | None = _state.current
    if lab is not None and lab.is_open:
        if lab.settings.target != target:
            raise ServiceError(
                f"The lab of this kernel is open with target {lab.settings.target!r}.",
                remedy="Restart the kernel to open it with another one.",
            )
        lab.show(title="Your lab is open already: nothing was changed")
        return lab
    place = find_place()
    if notebook:
        place = replace(place, name=notebook)
    lab = _state.current = Lab(place, target=target, pace=pace)
    lab.show()
    lab.show_open_runs()
    return lab


class Lab:
    """What the set-up cell gives: start runs, restart the worker, look at the cloud.

    Use `open_lab`, which makes one per kernel.
    """

    def __init__(self, place: Place, *, target: Target, pace: float | None) -> None:
        began = time.monotonic()
        self.place = place
        self.pace = pace if pace is not None else (0.0 if place.headless else LIVE_PACE)
        self.runs: list[Run] = []
        self._closed = threading.Event()
        self._starting: list[Future[Run]] = []
        self._runtime = Runtime()
        self._services: Services | None = None
        self._worker: Worker | None = None
        self._worker_task: Future[None] | None = None
        self._on_view: Callable[[Any], None] = _reporter()
        from tprov_kernel.process import Guard
        from tprov_kernel.toolchain import find_toolchain

        self._guard: Guard = Guard()
        at_exit(self.close)
        try:
            self.toolchain: Toolchain = find_toolchain()
            root = workspace_root()
            opening = self._open_remote if target == "remote" else self._open_local
            self.settings: Settings = opening(root)
            self._connect()
            self.restart_worker()
        except BaseException:
            self.close()
            raise
        self.seconds = time.monotonic() - began

    # --- opening -----------------------------------------------------------------------------

    def _open_remote(self, root: Path) -> Settings:
        settings = remote_settings(os.environ, root=root)
        return replace(settings, task_queue=f"{settings.task_queue}-{self.place.name}")

    def _open_local(self, root: Path) -> Settings:
        from tprov_kernel.services import local_settings

        opening = self._runtime.submit(self._open_services(root))
        _import_heavy_modules()  # while the services start
        info, home = self._runtime.result(opening)
        settings = local_settings(info, root=root, home=home, environ=os.environ)
        return replace(settings, task_queue=f"{settings.task_queue}-{self.place.name}")

    async def _open_services(self, root: Path) -> tuple[ServicesInfo, Path]:
        from tprov_kernel import services

        if self.place.attached:
            home = default_home(root)
            info = await services.attach(home)
            if info is None:
                raise ServiceError(
                    "The services that this JupyterLab opened are gone.",
                    remedy="Close it and run `make lab` again; runs are where they were.",
                )
            return info, home
        home = await self._private_home(root)
        self._services = await services.open_services(
            home,
            kind="notebook",
            guard=self._guard,
            toolchain=self.toolchain,
            prefer_well_known_ports=False,
            root=root,
        )
        return self._services.info, home

    async def _private_home(self, root: Path) -> Path:
        """This notebook's data directory; a second kernel of it at the same time has its own."""
        from tprov_kernel import services

        base = default_home(root) / "private"
        for number in range(1, MAX_COPIES):
            name = self.place.name if number == 1 else f"{self.place.name}-{number}"
            if not await services.is_in_use(base / name):
                return base / name
        raise ServiceError(
            f"{MAX_COPIES} kernels of {self.place.name} are open already.",
            remedy="Shut some of them down.",
        )

    def _connect(self) -> None:
        from tprov_kernel.connect import connect, me
        from tprov_kernel.payloads.keyring import KeyRing
        from tprov_kernel.services import environment_for_terminal

        self.identity = me(f"kernel {self.place.name}")
        self.key_ring: KeyRing = KeyRing.load_or_create(self.settings.key_ring)
        self.client: Client = self._runtime.call(
            connect(self.settings, self.key_ring, identity=self.identity)
        )
        if self.settings.target == "local":
            # So that `!temporal ...` in a cell meets this server, and no other.
            os.environ.update(environment_for_terminal(self.settings, toolchain=self.toolchain))

    # --- the worker --------------------------------------------------------------------------

    def restart_worker(self, **replaced: ActivityFunction) -> None:
        """Stop the worker and start it again, with these functions in place of its own.

        Args:
            replaced: Activity name to a plain function: ``terraform_plan=my_broken_plan``.
                Without any, the worker has its own again.
        """
        from tprov_kernel.activities import Activities

        activities = Activities(
            settings=self.settings,
            toolchain=self.toolchain,
            key_ring=self.key_ring,
            guard=self._guard,
        )
        self.stop_worker()
        self._worker = self._runtime.call(self._build_worker(activities, replaced))
        self._worker_task = self._runtime.submit(self._worker.run())

    async def _build_worker(
        self, activities: Any, replaced: Mapping[str, ActivityFunction]
    ) -> Worker:
        from tprov_kernel.connect import build_worker

        return build_worker(
            self.client,
            activities,
            task_queue=self.settings.task_queue,
            identity=self.identity,
            replaced=replaced,
        )

    def stop_worker(self) -> None:
        """Stop the worker of this kernel; runs stay where they are."""
        worker, self._worker = self._worker, None
        task, self._worker_task = self._worker_task, None
        if worker is not None and task is not None and not task.done():
            with suppress(Exception):
                self._runtime.call(worker.shutdown(), timeout=20)

    # --- runs --------------------------------------------------------------------------------

    def start(
        self,
        stack: str,
        *,
        config: str,
        via: Via = "update",
        again: bool = False,
        **variables: Any,
    ) -> Run:
        """Start a run on a stack, or give the one that is open on it.

        A stack that still holds objects of an earlier run is left alone: the new run is on
        ``<stack>-2``, and so on, unless ``again`` asks for the very same stack.

        Args:
            stack: The stack's name.
            config: The root module's directory, here or below the workspace.
            via: Whether the card's buttons decide by ``signal`` or by ``update``.
            again: Run on this very stack, whatever it holds.
            variables: Values for the configuration's variables.

        Raises:
            StackError: The name is no name.
            ConfigurationError: The directory is no configuration, or a variable is not declared.
        """
        return self._call(self._start(stack, config, via, again, variables))

    async def _start(
        self, stack: str, config: str, via: Via, again: bool, variables: Mapping[str, Any]
    ) -> Run:
        from tprov_kernel import runs

        directory = runs.resolve_directory(config, root=self.settings.root)
        if not again:
            stack = await self._free_stack(stack)
        if await runs.is_open(self.client, stack):
            print(f"A run is open on stack {stack!r} already: here it is.")
            return await self._run(await runs.run_of(self.client, stack), stack, via)
        handle = await runs.start_run(
            self.client,
            stack=stack,
            directory=directory,
            shown_as=config,
            key_ring=self.key_ring,
            task_queue=self.settings.task_queue,
            variables=variables,
            pace=self.pace,
            heartbeat=DEMO_HEARTBEAT,
        )
        return await self._run(runs.bound(self.client, handle), stack, via)

    async def _free_stack(self, stack: str) -> str:
        """The first of stack, stack-2, ... that is open (here it is) or holds nothing."""
        from tprov_kernel import runs
        from tprov_kernel.stacks import check_name, held_objects

        for number in range(1, 1000):
            name = check_name(stack if number == 1 else f"{stack}-{number}")
            held = held_objects(self.settings.stacks, name)
            if not held or await runs.is_open(self.client, name):
                return name
            print(
                f"Stack {name!r} holds {len(held)} object{'s' * (len(held) > 1)} of an earlier run;"
                " it is left alone. `lab.tidy_up()` removes what earlier runs made."
            )
        raise StackError(f"Too many stacks are called {stack!r}.", remedy="Use `tprov reset`.")

    def run(self, stack: str, *, via: Via = "update") -> Run:
        """Give the last run on a stack, open or closed.

        Raises:
            StackError: There was none.
        """
        return self._call(self._last_run(stack, via))

    async def _last_run(self, stack: str, via: Via) -> Run:
        from tprov_kernel import runs

        return await self._run(await runs.run_of(self.client, stack), stack, via)

    async def _run(self, handle: Any, stack: str, via: Via) -> Run:
        from tprov_kernel.lab.run import Run

        for known in self.runs:
            if known.run_id == handle.run_id and known.via == via:
                return known
        made = Run(
            runtime=self._runtime,
            client=self.client,
            handle=handle,
            stack=stack,
            via=via,
            headless=self.place.headless,
            links=self._links(handle.id, handle.run_id),
            worker=self.identity,
            frame=self.place.attached,
            on_view=self._on_view,
        )
        self.runs.append(made)
        return made

    def start_soon(self, stack: str, *, config: str, via: Via) -> Future[Run]:
        """The same as `start`, for a button: returns at once; `wait` waits for it too."""
        starting = self._runtime.submit(self._start(stack, config, via, False, {}))
        self._starting.append(starting)
        return starting

    def wait(self, *, timeout: float = 600.0) -> None:
        """Wait until every run that was started here is over; says how each one ended."""
        starting, self._starting = self._starting, []
        for started in starting:
            with suppress(TprovError):  # said at its button
                self._runtime.result(started)
        open_runs = [run for run in self.runs if not run.status.is_final]
        if not open_runs:
            print("No run is open here.")
        for run in open_runs:
            print(run.wait_until_closed(timeout=timeout))

    def destroy(self, stack: str) -> Run:
        """Start a run that destroys what a stack holds.

        Raises:
            StackError: There was no run on the stack.
            StackBusy: A run is open on it.
        """
        return self._call(self._destroy(stack))

    async def _destroy(self, stack: str) -> Run:
        from tprov_kernel import runs

        handle = await runs.start_destroy(
            self.client, stack=stack, task_queue=self.settings.task_queue, pace=0.0
        )
        return await self._run(runs.bound(self.client, handle), stack, "update")

    def tidy_up(self) -> None:
        """Show what the runs of this notebook made and left, then destroy it, stack by stack."""
        self.wait_quietly()
        held = self.leftovers()
        if not held:
            print("There is nothing to tidy up: no stack of this notebook holds an object.")
            return
        for stack, addresses in held.items():
            print(f"{stack}: destroying {', '.join(addresses)}")
        destroys = [(stack, self.destroy(stack)) for stack in held]
        for stack, run in destroys:
            run.wait("destroyed", timeout=300)
            print(f"{stack}: destroyed.")

    def wait_quietly(self) -> None:
        """Wait for open runs before tidying up, and say so if there are any."""
        if self._starting or any(not run.status.is_final for run in self.runs):
            self.wait()

    def leftovers(self) -> dict[str, list[str]]:
        """What this notebook's stacks hold: name to the addresses in its state."""
        from tprov_kernel.stacks import held_objects

        names = self._call(self._own_stacks())
        held = {name: held_objects(self.settings.stacks, name) for name in sorted(names)}
        return {name: addresses for name, addresses in held.items() if addresses}

    async def _own_stacks(self) -> set[str]:
        from tprov_kernel.messages import WORKFLOW_TYPE

        query = f"WorkflowType='{WORKFLOW_TYPE}' AND TaskQueue='{self.settings.task_queue}'"
        found = {run.stack for run in self.runs}
        async for execution in self.client.list_workflows(query):
            found.add(execution.id.removeprefix("stack-"))
        return found

    def _links(self, workflow_id: str, run_id: str) -> list[tuple[str, str]]:
        if not self.settings.ui_url:
            return []
        path = f"namespaces/{self.settings.namespace}/workflows/{workflow_id}/{run_id}/history"
        return [("Open in Temporal Web UI", f"{self.settings.ui_url.rstrip('/')}/{path}")]

    async def say_hello(self, namespace: str, name: str = "Grace") -> str:
        """Run a tiny workflow in a namespace, with a worker of its own: does it work?"""
        from tprov_kernel.hello import say_hello

        return await self._runtime.wait(say_hello(self.client, namespace, name=name))

    # --- looking -----------------------------------------------------------------------------

    def show(self, *, title: str = "Your lab is open") -> None:
        """Show the panel: services, tools, links, what was ignored, what is left over."""
        from tprov_kernel.lab.panel import show_panel

        show_panel(self, title=title)

    def check(self) -> None:
        """Ask each service, at this moment, whether it is there and who it is."""
        from tprov_kernel.lab.panel import show_check

        show_check(self, self._call(self._ask_everybody()))

    async def _ask_everybody(self) -> list[PanelRow]:
        from tprov_kernel.lab.checks import ask_everybody

        return await ask_everybody(self.client, self.settings)

    def regions(self) -> list[str]:
        """Ask the Cloud API for the regions that a namespace can live in."""
        from tprov_kernel.cloud import CloudClient

        if self.settings.cloud.is_stand_in:
            print(f"Answered by the stand-in at {self.settings.cloud.endpoint}:")
        return sorted(self._call(CloudClient(self.settings.cloud).regions()))

    def cloud(self) -> None:
        """Show what the Cloud holds: every namespace and every user."""
        from tprov_kernel.lab.panel import show_objects

        show_objects(self._call(self._cloud_objects()))

    async def _cloud_objects(self) -> list[CloudObject]:
        from tprov_kernel.cloud import CloudClient

        client = CloudClient(self.settings.cloud)
        return [*await client.list_namespaces(), *await client.list_users()]

    def scenarios(self) -> Scenarios:
        """A row of buttons that start a scenario on the spot, with its card below."""
        from tprov_kernel.lab.scenarios import Scenarios

        return Scenarios(self)

    def show_open_runs(self) -> None:
        """After a kernel restart: the cards of this notebook's runs that are still open."""
        for stack in self._call(self._open_stacks())[:3]:
            self.run(stack).card()

    async def _open_stacks(self) -> list[str]:
        from tprov_kernel.messages import WORKFLOW_TYPE

        query = (
            f"WorkflowType='{WORKFLOW_TYPE}' AND TaskQueue='{self.settings.task_queue}'"
            " AND ExecutionStatus='Running'"
        )
        return [e.id.removeprefix("stack-") async for e in self.client.list_workflows(query)]

    def _call(self, work: Coroutine[Any, Any, T], *, timeout: float = 60.0) -> T:
        if not self.is_open:
            work.close()
            raise ServiceError("This lab is closed.", remedy="Run the set-up cell again.")
        return self._runtime.call(work, timeout=timeout)

    # --- closing -----------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return not self._closed.is_set()

    def close(self) -> None:
        """Stop the worker and every process of this lab; runs stay where they are."""
        if self._closed.is_set():
            return
        self.stop_worker()
        self._closed.set()
        if self._services is not None:
            with suppress(Exception):
                self._runtime.call(self._services.close(), timeout=10)
        self._guard.close()
        self._runtime.stop()


def _import_heavy_modules() -> None:
    import tprov_kernel.connect
    import tprov_kernel.lab.panel
    import tprov_kernel.lab.run  # noqa: F401


def _reporter() -> Callable[[Any], None]:
    """For `tprov play`: every change of a run as a line of JSON in the file it names."""
    path = os.environ.get("TPROV_PLAY_REPORT")
    if not path:
        return lambda _: None
    from tprov_kernel.lab.report import Reporter

    return Reporter(Path(path))


__all__ = ["Lab", "open_lab"]

"""What the set-up cell gives: start runs, wait for them, look at what is there, tidy up."""

from __future__ import annotations

import os
import textwrap
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from tprov_kernel.errors import ServiceError, TprovError
from tprov_kernel.given import plainly_given, warning_about
from tprov_kernel.lab import _state, output, typed
from tprov_kernel.lab.logs import log_into
from tprov_kernel.lab.place import Place
from tprov_kernel.lab.runtime import Runtime, at_exit
from tprov_kernel.lab.worker import KernelWorker, replacements
from tprov_kernel.messages import APPROVAL_EXPIRES, Status
from tprov_kernel.settings import (
    Settings,
    Target,
    remote_settings,
    workspace_root,
)
from tprov_kernel.widgets.panel import note_html, opening_html, panel_html

if TYPE_CHECKING:
    from temporalio.client import Client
    from temporalio.worker import Worker

    from tprov_kernel.cloud import CloudObject
    from tprov_kernel.lab.chaos import Chaos
    from tprov_kernel.lab.cloud_api import CloudApi
    from tprov_kernel.lab.desk import Via
    from tprov_kernel.lab.looks import WebUI
    from tprov_kernel.lab.run import Run
    from tprov_kernel.lab.scenarios import Scenarios
    from tprov_kernel.lab.script import PlainScript
    from tprov_kernel.lab.table import RunsTable
    from tprov_kernel.lab.worker_process import WorkerProcess
    from tprov_kernel.observe import RunView
    from tprov_kernel.payloads.keyring import KeyRing
    from tprov_kernel.payloads.keysource import AskForKeys
    from tprov_kernel.process import Guard
    from tprov_kernel.services import Services, ServicesInfo
    from tprov_kernel.toolchain import Toolchain
    from tprov_kernel.widgets.panel import PanelRow
    from tprov_kernel.widgets.threeways import ThreeWays

T = TypeVar("T")

LIVE_PACE = 0.8
"""Seconds of pause before each step when somebody watches; 0 headless."""

OPEN = "Your lab is open"

DEMO_HEARTBEAT = 5.0
"""Seconds without a sign of life after which a step of a demo counts as lost."""


class Lab:
    """What the set-up cell gives: start runs, restart the worker, look at the cloud.

    Use `open_lab`, which makes one per kernel.
    """

    def __init__(
        self,
        place: Place,
        *,
        target: Target,
        pace: float | None,
        keys: AskForKeys | None = None,
    ) -> None:
        began = time.monotonic()
        self.place = place
        self._ask_for_keys = keys
        self.pace = pace if pace is not None else (0.0 if place.headless else LIVE_PACE)
        self.runs: list[Run] = []
        self.seconds: float | None = None
        self._closed = threading.Event()
        self._starting: list[Future[Run]] = []
        self._held: Mapping[str, list[str]] = {}
        self.troubles: dict[str, str] = {}
        """What ended by itself: its name to a sentence; an empty one when it is back."""
        self._title = ""
        self._panel = output.Place()
        self._runtime = Runtime()
        self._worker = KernelWorker(self._runtime, tell=lambda said: self._tell("worker", said))
        self._process: WorkerProcess | None = None
        self._chaos: Chaos | None = None
        self._services: Services | None = None
        self._report: Callable[[Any], None] = _reporter()
        self._tables: dict[str, RunsTable] = {}
        self._followed: dict[str, output.Place] = {}
        self._say("Looking for the tools")
        from tprov_kernel.process import Guard
        from tprov_kernel.toolchain import find_toolchain

        self._guard: Guard = Guard()
        at_exit(self.close)
        try:
            self.toolchain: Toolchain = find_toolchain()
            root = workspace_root()
            opening = self._open_remote if target == "remote" else self._open_local
            self.settings: Settings = opening(root)
            self._say("Starting the worker")
            log_into(self.settings.logs)
            self._connect()
            self.restart_worker()
        except BaseException:
            if self._panel.is_shown:
                self._panel.show("", "")  # the error says it
            self.close()
            raise
        self.seconds = time.monotonic() - began

    # --- opening -----------------------------------------------------------------------------

    def _open_remote(self, root: Path) -> Settings:
        settings = remote_settings(_state.ambient or os.environ, root=root)
        return replace(settings, task_queue=f"{settings.task_queue}-{self.place.name}")

    def _open_local(self, root: Path) -> Settings:
        from tprov_kernel.lab.opening import find_services
        from tprov_kernel.services import local_settings

        if self.place.attached:
            self._say("Looking for the services of this JupyterLab")
            opening = self._runtime.submit(find_services(root))
        else:
            self._say("Starting the Temporal server, the codec server and the Cloud API stand-in")
            opening = self._runtime.submit(self._open_services(root))
        _import_heavy_modules()  # while the services start
        info, home = self._runtime.result(opening)
        settings = local_settings(info, root=root, home=home, environ=os.environ)
        return replace(settings, task_queue=f"{settings.task_queue}-{self.place.name}")

    async def _open_services(self, root: Path) -> tuple[ServicesInfo, Path]:
        from tprov_kernel.lab.care import look_after
        from tprov_kernel.lab.opening import open_private

        self._services, home = await open_private(
            self.place, root, guard=self._guard, toolchain=self.toolchain, progress=self._say
        )
        look_after(self._services, tell=self._tell)
        return self._services.info, home

    def _connect(self) -> None:
        from tprov_kernel.connect import connect, me
        from tprov_kernel.lab.stacks import NotebookStacks
        from tprov_kernel.payloads.keyring import KeyRing
        from tprov_kernel.services import environment_for_terminal

        self.identity = me(f"kernel {self.place.name}")
        self.key_ring: KeyRing = KeyRing.find(self.settings.key_ring, function=self._ask_for_keys)
        self.client: Client = self._runtime.call(
            connect(self.settings, self.key_ring, identity=self.identity)
        )
        self._stacks = NotebookStacks(self.client, self.settings, notebook=self.place.name)
        # So that `!temporal ...` in a cell meets this server, and no other.
        os.environ.update(environment_for_terminal(self.settings, toolchain=self.toolchain))

    def _say(self, doing: str) -> None:
        """While it opens: tell what is waited for, where the panel will be."""
        if not self.place.headless:
            doing = doing.removesuffix(".")
            self._panel.show(opening_html(doing), doing)

    # --- the worker --------------------------------------------------------------------------

    def restart_worker(
        self,
        *,
        levels: Mapping[str, str] | None = None,
        cloud_key: str | None = None,
        cloud_endpoint: str | None = None,
        **replaced: Callable[..., Any],
    ) -> output.Words:
        """Stop the worker and start it again: with its own functions and settings, or others.

        Args:
            levels: Rule name to enforcement level: another level table for the policies.
            cloud_key: Another key for the Cloud API; an empty one takes it away.
            cloud_endpoint: Another ``host:port`` of the Cloud API.
            replaced: Activity name to a plain function: ``terraform_plan=my_broken_plan``.

        Returns:
            What is not as usual, in words.

        Raises:
            ServiceError: There is no activity of that name.
            PolicyError: There is no rule of that name.
        """
        from tprov_kernel.activities import Activities
        from tprov_kernel.connect import build_worker
        from tprov_kernel.lab.elsewhere import Elsewhere

        elsewhere = Elsewhere(levels=levels, cloud_key=cloud_key, cloud_endpoint=cloud_endpoint)
        activities = Activities(
            settings=elsewhere.settings(self.settings),
            toolchain=self.toolchain,
            key_ring=self.key_ring,
            guard=self._guard,
        )

        known = [function.__name__ for function in activities.all()]
        functions = replacements(replaced, known=known)

        def build() -> Worker:
            return build_worker(
                self.client,
                activities,
                task_queue=self.settings.task_queue,
                identity=self.identity,
                replaced=functions,
            )

        if self._process is not None:
            self._process.stop()
        self._worker.start(build)
        return output.Words(elsewhere.words(replaced))

    def stop_worker(self) -> None:
        """Stop this notebook's worker; runs stay where they are."""
        if self._process is not None:
            self._process.stop()
        self._worker.stop()

    def worker_process(self) -> WorkerProcess:
        """Hand this notebook's queue to a worker in a process of its own, which may be killed.

        `restart_worker` takes the queue back.

        Raises:
            ServiceError: It does not come up, or the keys come from a function of this kernel.
        """
        from tprov_kernel.lab.worker_process import WorkerProcess, check_has_keys

        check_has_keys(self.key_ring)
        if self._process is None:
            self._process = WorkerProcess(self._runtime, self._guard, self.settings)
        self._process.start()
        self._worker.stop()
        return self._process

    def chaos(self) -> Chaos:
        """A panel that breaks things for real: worker process, Terraform, server, Cloud API."""
        from tprov_kernel.lab.chaos import Chaos

        if self._chaos is None:
            self._chaos = Chaos(self, runtime=self._runtime, process=lambda: self._process)
        return self._chaos

    @property
    def worker_runs(self) -> bool:
        """Whether this notebook's worker polls, in the kernel or in a process of its own."""
        return self._worker.runs or (self._process is not None and self._process.runs)

    async def _nobody_polls(self) -> bool:
        """Whether nobody works on this notebook's queue; the server remembers one for minutes."""
        from tprov_kernel.workers import pollers

        if self.worker_runs:
            return False
        return not {*await pollers(self.client, self.settings.task_queue)} - {self.identity}

    # --- runs --------------------------------------------------------------------------------

    def start(
        self,
        stack: str,
        *,
        config: str | Path,
        via: Via = "update",
        again: bool = False,
        requested_by: str = "",
        expires: float = APPROVAL_EXPIRES,
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
            requested_by: Who asks, a claimed name; default is this user's.
            expires: Seconds that a review may wait for a decision.
            variables: Values for the configuration's variables.

        Raises:
            StackError: The name is no name.
            ConfigurationError: The directory is no configuration, or a variable is not declared.
            SettingsError: `expires` is no number of seconds that a review can wait.
        """
        return self._call(
            self.begin(
                stack,
                config,
                via,
                again=again,
                variables=variables,
                requested_by=requested_by,
                approval_expires=expires,
            )
        )

    async def begin(
        self, stack: str, config: str | Path, via: Via, *, again: bool = False, **asked: Any
    ) -> Run:
        """What `start` does, on the lab's own loop; the options that are left are `start_run`'s."""
        from tprov_kernel import runs
        from tprov_kernel.announce import doubts, starting_words
        from tprov_kernel.stacks import check_name

        check_name(stack)
        typed.via(via)
        directory = runs.resolve_directory(config, root=self.settings.root)
        if self.settings.target == "remote":
            print(await starting_words(stack, self.settings), *doubts(self.settings), sep="\n")
        if names := plainly_given(directory, asked.get("variables", {})):
            print(*warning_about(names, where="in this notebook, which keeps it"), sep="\n")
        if not again:
            stack = await self._stacks.free(stack)
        if await runs.is_open(self.client, stack):
            print(f"A run is open on stack {stack!r} already: here it is.")
            open_one = await self._run(await runs.run_of(self.client, stack), stack, via)
            open_one.was_asked_with(asked.get("variables", {}))
            return open_one
        handle = await runs.start_run(
            self.client,
            stack=stack,
            directory=directory,
            shown_as=_as_shown(config, directory, self.settings.root),
            key_ring=self.key_ring,
            task_queue=self.settings.task_queue,
            pace=self.pace,
            heartbeat=DEMO_HEARTBEAT,
            **asked,
        )
        return await self._run(runs.bound(self.client, handle), stack, via)

    def copy(self, config: str) -> Path:
        """Give a fresh copy of a configuration, to change as you like; the original stays as it is.

        Returns:
            Its directory, for `start`; another call brings it back to what the original is, unless
            a run is open on it.

        Raises:
            ConfigurationError: The directory is no configuration.
        """
        return self._call(self._stacks.copy(config))

    def script(self, config: str, commands: str) -> PlainScript:
        """Give a plain script for a fresh copy of a configuration: Terraform without a workflow.

        Args:
            config: The root module's directory.
            commands: What the shell is told there.

        Raises:
            ConfigurationError: The directory is no configuration.
        """
        from tprov_kernel import runs
        from tprov_kernel.lab.script import make_script

        original = runs.resolve_directory(config, root=self.settings.root)
        return make_script(original, commands, notebook=self.place.name, **self._means())

    def _means(self) -> dict[str, Any]:
        return {"settings": self.settings, "runtime": self._runtime, "guard": self._guard}

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
        from tprov_kernel.savedplan import Means

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
            web=self._web(handle.id, handle.run_id),
            worker=self.identity,
            queue=self.settings.task_queue,
            means=Means(
                key_ring=self.key_ring,
                toolchain=self.toolchain,
                guard=self._guard,
                settings=self.settings,
            ),
            nobody_polls=self._nobody_polls,
            on_view=self._hear,
        )
        self.runs.append(made)
        return made

    def start_soon(self, beginning: Coroutine[Any, Any, Run]) -> Future[Run]:
        """Let a button begin a run: returns at once; `wait` waits for it too."""
        starting = self._runtime.submit(beginning)
        self._starting.append(starting)
        return starting

    def wait(self, *, timeout: float = 600.0) -> None:
        """Wait until every run that was started here is over; says how each one ended."""
        self._wait_for_buttons()
        if not self.runs:
            print("No run was started here yet.")
        for run in self.runs:
            self._say_if_it_asks(run)
            print(run.wait_until_closed(timeout=timeout))

    def _say_if_it_asks(self, run: Run) -> None:
        """A cell that waits for a person says so, and whom for."""
        if run.status == Status.AWAITING_APPROVAL and not self.place.headless:
            print(f"{run.workflow_id} waits for a decision: approve or deny it on its card.")

    def _wait_for_buttons(self) -> None:
        starting, self._starting = self._starting, []
        for started in starting:
            with suppress(TprovError):  # said at its button
                self._runtime.result(started)

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
        self._wait_for_buttons()
        for run in self.runs:
            if not run.status.is_final:
                self._say_if_it_asks(run)
                print(run.wait_until_closed())
        self._tidy_scripts()
        held = self.leftovers()
        if not held:
            print("There is nothing to tidy up: no stack of this notebook holds an object.")
            return
        for stack, addresses in held.items():
            print(f"{stack}: destroying {', '.join(addresses)}")
        destroys = [(stack, self.destroy(stack)) for stack in held]
        for _, run in destroys:
            self._follow(run)
        for stack, run in destroys:
            run.wait("destroyed", timeout=300)
            if run.run_id not in self._followed:
                print(f"{stack}: destroyed.")

    def _follow(self, run: Run) -> None:
        """Where somebody watches: a line in the cell that tells where a run is."""
        if not self.place.headless:
            line = output.Place()
            _tell_status(line, run.view)  # in this cell; the next ones come from another thread
            self._followed[run.run_id] = line

    def _tidy_scripts(self) -> None:
        from tprov_kernel.lab.script import scripts

        for script in scripts(notebook=self.place.name, **self._means()):
            there = {o.name: o.id for o in self._call(self._cloud_objects())}
            if script.name in there:
                print(f"{script.name}, left by a plain script: it is imported and destroyed.")
            script.tidy_up(there.get(script.name, ""))

    def leftovers(self) -> dict[str, list[str]]:
        """What this notebook's stacks hold: name to the addresses in its state."""
        names = self._call(self._stacks.names())
        return self._stacks.held([*names, *(run.stack for run in self.runs)])

    def _web(self, workflow_id: str, run_id: str) -> WebUI:
        from tprov_kernel.lab.looks import WebUI

        url = self.settings.ui_url.rstrip("/")
        page = f"/namespaces/{self.settings.namespace}/workflows/{workflow_id}/{run_id}/history"
        # `tprov lab` has it served below a path that is its own server's proxy, too.
        path = urlsplit(url).path if self.place.attached else ""
        return WebUI(url=f"{url}{page}" if url else "", framed=f"{path}{page}" if path else "")

    async def say_hello(
        self, namespace: str, name: str = "Grace", *, patience: float = 15.0
    ) -> str:
        """Run a tiny workflow in a namespace, with a worker of its own: does it work?"""
        from tprov_kernel.hello import say_hello

        hello = say_hello(self.client, namespace, name=name, patience=patience)
        return await self._runtime.wait(hello)

    # --- looking -----------------------------------------------------------------------------

    def show(self, *, title: str = OPEN) -> None:
        """Show the panel: services, tools, links, what was ignored, what is left over."""
        if self._title:
            self._panel = output.Place()  # the first one stays where the lab was opened
        self._title, self._held = title, self.leftovers()
        self._refresh()

    def _refresh(self) -> None:
        from tprov_kernel.lab.panel import panel_model

        model = panel_model(self, title=self._title, held=self._held, troubles=self.troubles)
        self._panel.show(panel_html(model), self._title)

    def _tell(self, name: str, sentence: str) -> None:
        """Something ended by itself, or is back (an empty sentence): the panel says so."""
        self.troubles[name] = sentence
        if self._title:
            self._refresh()

    def check(self) -> None:
        """Ask each service, at this moment, whether it is there and who it is."""
        from tprov_kernel.lab.panel import show_check

        show_check(self, self._call(self._ask_everybody()))

    async def _ask_everybody(self) -> list[PanelRow]:
        from tprov_kernel.lab.checks import ask_everybody

        return await ask_everybody(self.client, self.settings, worker_runs=self.worker_runs)

    def regions(self) -> None:
        """Ask the Cloud API for the regions that a namespace can live in."""
        from tprov_kernel.cloud import CloudClient

        names = sorted(self._call(CloudClient(self.settings.cloud).regions()))
        who = "the stand-in" if self.settings.cloud.is_stand_in else "the Cloud API"
        print(f"{len(names)} regions, says {who} at {self.settings.cloud.endpoint}:")
        print(textwrap.fill(", ".join(names), width=88, break_on_hyphens=False))

    def versions(self) -> None:
        """Have each program say what it is, Terraform with the provider it has installed."""
        from tprov_kernel.lab.checks import versions

        print(self._call(versions(self.settings, self.toolchain, self._guard)))

    def cloud(self) -> None:
        """Show what the Cloud holds: every namespace and every user."""
        from tprov_kernel.lab.panel import show_objects

        show_objects(self._call(self._cloud_objects()))

    async def _cloud_objects(self) -> list[CloudObject]:
        from tprov_kernel.cloud import CloudClient, CloudObject

        there = self.settings.cloud
        if there.is_stand_in:  # which can be asked for everything it has
            from tprov_kernel.standin.control import StandinControl

            objects = await StandinControl(there.endpoint, there.api_key).objects()
            names = CloudObject.__dataclass_fields__
            return [CloudObject(**{name: str(o.get(name, "")) for name in names}) for o in objects]
        client = CloudClient(there)
        return [*await client.list_namespaces(), *await client.list_users()]

    def table(self, query: str = "") -> RunsTable:
        """A live table of every run on the server, or of those that a list filter finds.

        Args:
            query: What `temporal workflow list --query` takes.
        """
        from tprov_kernel.filters import ALL_RUNS
        from tprov_kernel.lab.table import RunsTable

        return RunsTable(
            runtime=self._runtime,
            client=self.client,
            query=query or ALL_RUNS,
            link=lambda run: self._web(run.workflow_id, run.run_id).link,
            is_open=lambda: self.is_open,
            shown=self._tables,
        )

    def count(self, query: str = "") -> None:
        """Show how many runs have which status, counted by the server.

        Args:
            query: What `temporal workflow count --query` takes; every run without.

        Raises:
            FilterRefused: The server does not understand it.
        """
        from tprov_kernel.filters import ALL_RUNS
        from tprov_kernel.lab.table import show_counts
        from tprov_kernel.visibility import count_by_status

        show_counts(self._call(count_by_status(self.client, query or ALL_RUNS)))

    def _hear(self, view: RunView) -> None:
        self._report(view)
        for shown in tuple(self._tables.values()):  # cells add to them meanwhile
            shown.hear(view)
        if (line := self._followed.get(view.run_id)) is not None:
            _tell_status(line, view)

    def cloud_api(self) -> CloudApi:
        """The Cloud API stand-in, to tell it to fail, to be slow, and to be well again.

        Raises:
            ServiceError: This lab uses Temporal Cloud, which takes no such orders.
        """
        from tprov_kernel.lab.cloud_api import CloudApi, control_of

        return CloudApi(self._runtime, control_of(self.settings.cloud))

    def scenarios(self) -> Scenarios:
        """A row of buttons that start a scenario on the spot, with its card below."""
        from tprov_kernel.lab.scenarios import Scenarios

        return Scenarios(self)

    def keys(self) -> None:
        """Show the keys that payloads are encrypted with, and which runs need each one."""
        from tprov_kernel.lab.keys import look, show_keys

        show_keys(self._call(look(self.client, self.key_ring)))

    def rotate_key(self) -> str:
        """Make a new key, with which everything is encrypted from now on; old ones stay to read."""
        former = self.key_ring.active
        return output.Words(f"{self.key_ring.rotate()} is active; {former} stays, to read.")

    def connection(self) -> None:
        """Show what the environment says of a remote target, and what is used; no key's value."""
        from tprov_kernel.lab.oncloud import show_connection

        show_connection(self.settings, _state.ambient)

    def payload_view(self, run: Run, event: int | str = 0) -> ThreeWays:
        """One event of a run three ways: as stored, as the command line shows it, decoded.

        Args:
            run: The run; its history is read as it is now.
            event: The event to begin with: its id, or a part of its name, such as
                ``terraform_plan``; a list offers the others.

        Raises:
            StackError: No event of that name carries a payload.
        """
        from tprov_kernel.lab.threeways import View, payload_view

        view = View(
            client=self.client,
            settings=self.settings,
            temporal=self.toolchain.temporal,
            guard=self._guard,
            workflow_id=run.workflow_id,
            run_id=run.run_id,
        )
        return payload_view(view, self._runtime, event)

    def show_open_runs(self) -> None:
        """After a kernel restart: the cards of this notebook's runs that are still open."""
        for stack in self._call(self._stacks.names(only_open=True))[:3]:
            self.run(stack).card()

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
        self._title = ""  # what ends from now on is no news
        self.stop_worker()
        self._closed.set()
        if self._services is not None:
            with suppress(Exception):
                self._runtime.call(self._services.close(), timeout=10)
        self._guard.close()
        self._runtime.stop()


def _tell_status(line: output.Place, view: RunView) -> None:
    words = f"{view.stack}: {view.status.words}."
    line.show(note_html(words), words)


def _as_shown(config: str | Path, directory: Path, root: Path) -> str:
    """What people call a configuration: as they typed it, but below the workspace from there."""
    given, real = Path(config), directory.resolve()
    plain = not given.is_absolute() and ".." not in given.parts
    inside = real.is_relative_to(root.resolve())
    return str(config) if plain or not inside else real.relative_to(root.resolve()).as_posix()


def _import_heavy_modules() -> None:
    import tprov_kernel.activities
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

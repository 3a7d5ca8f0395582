"""Services and workers of the matrix' own, and how a cell is played and judged."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError

from tests.chaos.cells import Cell
from tests.conftest import ROOT
from tprov_kernel import runs
from tprov_kernel.connect import connect
from tprov_kernel.errors import DecisionRefused, TprovError
from tprov_kernel.messages import RunResult, Status
from tprov_kernel.observe import RunView
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.process import Guard, clean_environment
from tprov_kernel.services import Services, local_settings, open_services
from tprov_kernel.settings import Settings
from tprov_kernel.stacks import held_objects
from tprov_kernel.standin.control import StandinControl
from tprov_kernel.toolchain import find_toolchain
from tprov_kernel.watch import Watcher

CONFIG = Path(__file__).parent / "config"
WANTED = ["temporalcloud_namespace.first", "temporalcloud_user.second"]
OWNED = ("tprov", "owner@example.com")
"""What an account has from the beginning."""
QUEUE = "chaos"
HEARTBEAT = 3.0
"""Seconds; a worker's loss is noticed after this long."""
PATIENCE = 90.0
"""Seconds for a run, or for processes, to come to an end."""
SLOW = 3.0
"""Seconds that the Cloud takes for a create that is to be struck before it."""
WITHIN = 1.0
"""Seconds of them in which the blow falls; the rest is for a machine that is busy."""
TRIES = 10
"""How often a cell is played whose moment was over before it could be struck."""

T = TypeVar("T")


class Missed(Exception):
    """The moment was over before it could be struck; the cell is played again."""


@dataclass
class Played:
    """How a cell came out.

    Attributes:
        attempt: The one that came out so; the moments of those before it were missed.
        problems: What is not as it has to be, a sentence each; none is a pass.
    """

    cell: Cell
    seed: str
    seconds: float = 0.0
    attempt: int = 1
    problems: list[str] = field(default_factory=list)
    told: str = ""

    @property
    def again(self) -> str:
        """The command that plays it with the same delays."""
        attempt = f" ATTEMPT={self.attempt}" if self.attempt > 1 else ""
        return f"SEED={self.seed} CELL='{self.cell}'{attempt} make chaos"


class WorkerProcess:
    """`tprov worker`, and every process that was seen below it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.seen: set[psutil.Process] = set()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def programs(self) -> Iterator[psutil.Process]:
        """The programs that its guard runs at this moment."""
        for guard in children(self.pid):
            self.seen.add(guard)
            for program in children(guard.pid):
                self.seen.add(program)
                yield program

    def at_work(self) -> list[psutil.Process]:
        """The same, as a list."""
        return list(self.programs())

    def left(self) -> list[psutil.Process]:
        """Who of them is alive."""
        return [p for p in self.seen if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


class Rig:
    """One set of services, and a worker process that is replaced when it was struck.

    Args:
        home: A directory for everything.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._guard = Guard()
        self._count = 0
        self._workers: list[WorkerProcess] = []
        self.suffixes: set[str] = set()
        """What the names of the objects of every run so far end in."""
        self.services: Services
        self.settings: Settings
        self.client: Client
        self.control: StandinControl

    async def open(self) -> None:
        """Open the services, and start the first worker."""
        self.services = await open_services(
            self._home,
            kind="notebook",
            guard=self._guard,
            toolchain=find_toolchain(),
            prefer_well_known_ports=False,
            root=ROOT,
        )
        settings = local_settings(self.services.info, root=ROOT, home=self._home, environ={})
        self.settings = replace(settings, task_queue=QUEUE)
        self._keys = KeyRing.load_or_create(settings.key_ring)
        self.client = await connect(self.settings, self._keys)
        self.control = StandinControl(settings.cloud.endpoint, settings.cloud.api_key)
        await self._new_worker()

    @property
    def worker(self) -> WorkerProcess:
        """The worker that polls now."""
        return self._workers[-1]

    async def close(self) -> list[str]:
        """Close everything; give what was left behind, a sentence each."""
        for worker in self._workers:
            if worker.process.returncode is None:
                worker.process.send_signal(signal.SIGTERM)
        problems = []
        for worker in self._workers:
            await worker.process.wait()
        problems += await self.nobody_is_left()
        await self.services.close()
        await asyncio.to_thread(self._guard.close)
        return problems + await self.nobody_is_left()

    async def play(self, cell: Cell, seed: str, *, attempt: int = 1) -> Played:
        """Play a cell on a new stack until its moment was met.

        Args:
            cell: Which.
            seed: The same seed, cell and attempt give the same delays, whatever is played besides.
            attempt: Where to begin; a later one repeats what a machine came to that missed some.
        """
        began = time.monotonic()
        for number in range(attempt, attempt + TRIES):
            played = Played(cell, seed, attempt=number)
            try:
                await self._play(cell, delays(cell, seed, number), played)
                break
            except Missed as missed:
                played.problems = [f"never struck: {missed}"]
            except (TimeoutError, TprovError, TemporalError, psutil.Error) as error:
                played.problems.append(f"{type(error).__name__}: {error}".strip())
                break
            finally:
                await self._mend()
        played.seconds = time.monotonic() - began
        return played

    async def _play(self, cell: Cell, chance: random.Random, played: Played) -> None:
        self._count += 1
        stack = f"c{self._count}-{cell.target}-{cell.moment.replace(' ', '-')}"
        act = Act(self, cell, chance, stack, self._workers[-1])
        try:
            await act.perform()
            played.told = act.told
            played.problems += await act.judge()
        finally:
            await act.end()

    async def _mend(self) -> None:
        """Everything runs again, whatever a cell has left; the last worker is the only one."""
        for name in ("temporal", "cloud"):
            await self.services.start(name)
        await patiently(self.control.mend)
        for worker in self._workers[:-1]:
            if worker.process.returncode is None:
                worker.process.kill()
            await worker.process.wait()
        del self._workers[:-1]

    async def _new_worker(self) -> WorkerProcess:
        environment = clean_environment(
            extra={"TPROV_HOME": str(self._home), "TPROV_ROOT": str(ROOT)}
        )
        command = [sys.executable, "-m", "tprov_kernel.cli", "worker", "--task-queue", QUEUE]
        with (self._home / "workers.log").open("ab") as sink:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env=environment, stdout=sink, stderr=sink
            )
        self._workers.append(WorkerProcess(process))
        return self._workers[-1]

    async def nobody_is_left(self) -> list[str]:
        """Wait until only services, and workers that live, run here; who else stays, in words."""
        return await all_end(self._others, "left behind")

    def _others(self) -> list[psutil.Process]:
        """Whoever works in our directory or was told of it, but for who belongs here.

        A plug-in whose Terraform was killed has another parent by now; where it works is the same.
        """
        live = {w.pid for w in self._workers if w.process.returncode is None}
        known = {os.getpid(), *live}
        for child in psutil.Process().children():
            if child.pid in live:
                known |= {guard.pid for guard in children(child.pid)}
            else:  # our own guard and the services
                known |= {child.pid, *(p.pid for p in child.children(recursive=True))}
        found = {p for w in self._workers if w.pid not in live for p in w.left()}
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.status() != psutil.STATUS_ZOMBIE and self._is_here(process):
                    found.add(process)
        return [process for process in found if process.pid not in known]

    def _is_here(self, process: psutil.Process) -> bool:
        if process.environ().get("TPROV_HOME") == str(self._home):
            return True
        return self._home.resolve() in Path(process.cwd()).resolve().parents

    async def sleep_all(self, seconds: float) -> None:
        """Stop everything at once, as a laptop does that is closed; then let it go on."""
        worker = self._workers[-1]
        programs = [p for program in worker.programs() for p in (program, *children(program.pid))]
        pids = [worker.pid, *(g.pid for g in children(worker.pid)), *(p.pid for p in programs)]
        groups = [self.services.pid(name) for name in self.services.names]
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                os.kill(pid, number)
            for group in groups:
                os.killpg(group, number)
            if number == signal.SIGSTOP:
                await asyncio.sleep(seconds)

    async def start(self, stack: str, *, heartbeat: float = HEARTBEAT) -> runs.RunHandle:
        """Start a run."""
        handle = await runs.start_run(
            self.client,
            stack=stack,
            directory=CONFIG,
            key_ring=self._keys,
            task_queue=QUEUE,
            heartbeat=heartbeat,
            requested_by="chaos",
        )
        return runs.bound(self.client, handle)


class Act:
    """One run of one cell."""

    heartbeat = HEARTBEAT

    def __init__(
        self, rig: Rig, cell: Cell, chance: random.Random, stack: str, worker: WorkerProcess
    ) -> None:
        self.rig, self.cell, self.chance, self.stack = rig, cell, chance, stack
        self.worker = worker
        self.view: RunView | None = None
        self.asked: list[str] = []
        self.told = ""
        self.suffix = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._go_on = asyncio.Event()

    async def perform(self) -> None:
        """Start a run, strike, let it go on to its end."""
        await self._prepare()
        if self.cell.moment != "waiting":
            self._go_on.set()
        self.handle = await self.rig.start(self.stack, heartbeat=self.heartbeat)
        self.suffix = str((await (await self.handle.describe()).memo())["suffix"])
        self.rig.suffixes.add(self.suffix)
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._approve())]
        async with asyncio.timeout(PATIENCE):
            struck = await self._moment()
            await self.strike(struck)
            await patiently(self.rig.control.mend)
            self._go_on.set()
            while not (self.view and self.view.closed):
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.05)

    async def end(self) -> None:
        """Stop looking; a run that did not come to its end is terminated."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(RPCError, AttributeError):
            if not (self.view and self.view.closed):
                await self.handle.terminate("the cell is over")

    # --- the run -----------------------------------------------------------------------------

    async def _prepare(self) -> None:
        match self.cell.moment:
            case "before create":
                await self.rig.control.slow("CreateNamespace", SLOW)
            case "after create":
                await self.rig.control.hold("CreateNamespace")
            case "between":
                await self.rig.control.slow("CreateUser", SLOW)

    async def _follow(self) -> None:
        watcher = Watcher(
            self.rig.client, workflow_id=self.handle.id, run_id=self.handle.run_id or ""
        )
        async for view in watcher.views():
            self.view = view

    async def _approve(self) -> None:
        """Approve every review once; how many there were is judged afterwards."""
        while True:
            view = self.view
            if view and view.status == Status.AWAITING_APPROVAL and view.review:
                digest = view.review.digest
                await self._go_on.wait()
                if digest not in self.asked:
                    self.asked.append(digest)
                    with suppress(DecisionRefused):
                        await patiently(partial(self._decide, digest))
            await asyncio.sleep(0.05)

    async def _decide(self, review: str) -> None:
        await runs.decide(self.handle, "approve", reason="as planned", review=review)

    # --- the moment --------------------------------------------------------------------------

    async def _moment(self) -> psutil.Process | None:
        """Wait for the moment; give the program that is at work then."""
        match self.cell.moment:
            case "init" | "plan" | "output":
                program = await self._program(self.cell.moment)
                longest = {"init": 0.02, "plan": 0.4, "output": 0.01}[self.cell.moment]
            case "policy":
                program, longest = await self._program("eval"), 0.01
            case "waiting":
                await self._until(lambda v: v.status == Status.AWAITING_APPROVAL)
                return None
            case "before create":
                program, longest = await self._doing("namespace"), WITHIN
            case "between":
                program, longest = await self._doing("user"), WITHIN
            case "after create":
                program, longest = await self._created(), 0.5
        if self.cell.target == "provider":
            program = await self._plug_in(program)
            longest = min(longest, 0.08)  # a plan starts several, each for a moment
        delay = self.chance.uniform(0, longest)
        self.told = f"{delay:.3f} s into it"
        await asyncio.sleep(delay)
        return program

    @asynccontextmanager
    async def _held_still(self, program: psutil.Process | None) -> AsyncIterator[None]:
        """Let the moment's program not go on while the blow falls: it is met, or was missed.

        Raises:
            Missed: The program had ended, or what it does next was done.
        """
        if program is None:
            yield
            return
        over = Missed(f"{self.cell.moment} was over, {self.told}")
        try:
            program.suspend()
            while program.status() != psutil.STATUS_STOPPED:
                if program.status() == psutil.STATUS_ZOMBIE:
                    raise over
                await asyncio.sleep(0.001)
            if not await self._is_still_the_moment():
                raise over
            yield
            # A Cloud that was struck cannot be asked; one whose caller hangs has gone on meanwhile.
            asked = self._kills or self.cell.target in ("worker", "temporal")
            if asked and self.cell.target != "stand-in" and not await self._is_still_the_moment():
                raise over
        except psutil.NoSuchProcess:
            raise over from None
        finally:
            with suppress(psutil.NoSuchProcess):
                program.resume()

    async def _is_still_the_moment(self) -> bool:
        """Whether the Cloud has as much of the stack as it has at this moment of an apply."""
        match self.cell.moment:
            case "before create":
                return await self._named() == []
            case "after create":
                held = (await self.rig.control.status())["held"]
                return bool(held) and await self._named() == ["namespace"]
            case "between":
                return await self._named() == ["namespace"]
            case _:
                return True

    async def _until(self, is_it: Callable[[RunView], bool]) -> None:
        while self.view is None or not is_it(self.view):
            if self.view and self.view.closed:
                raise Missed(f"the run was {self.view.status.words} before {self.cell.moment}")
            await asyncio.sleep(0.02)

    async def _program(self, verb: str) -> psutil.Process:
        while True:
            for program in self.worker.programs():
                with suppress(psutil.Error):
                    if verb in program.cmdline() and self._is_mine(program):
                        return program
            if self.view and self.view.closed:
                raise Missed(f"{verb} was not seen")
            await asyncio.sleep(0.003)

    def _is_mine(self, program: psutil.Process) -> bool:
        """A Terraform of an earlier cell may be on its way out."""
        return "eval" in program.cmdline() or self.stack in Path(program.cwd()).parts

    async def _doing(self, what: str) -> psutil.Process:
        program = await self._program("apply")
        await self._until(lambda v: f"creating temporalcloud_{what}" in v.step("apply").doing)
        return program

    async def _created(self) -> psutil.Process:
        program = await self._program("apply")
        while not await self._named():  # noqa: ASYNC110 (another process makes it true)
            await asyncio.sleep(0.02)
        return program

    async def _plug_in(self, program: psutil.Process) -> psutil.Process:
        while True:
            for child in children(program.pid):
                with suppress(psutil.Error):
                    if "terraform-provider" in " ".join(child.cmdline()):
                        self.worker.seen.add(child)
                        return child
            if not program.is_running():
                raise Missed("no plug-in was seen")
            await asyncio.sleep(0.003)

    # --- the strike --------------------------------------------------------------------------

    async def strike(self, program: psutil.Process | None) -> None:
        """Kill or stop what is to be struck, and bring it back."""
        hang = self.chance.uniform(HEARTBEAT + 1, HEARTBEAT + 4)
        match self.cell.target:
            case "worker":
                await self._strike_worker(program, hang)
            case "temporal" | "stand-in":
                name = "cloud" if self.cell.target == "stand-in" else "temporal"
                await self._strike_service(name, program, hang)
            case _:
                assert program is not None
                async with self._held_still(program):
                    if self._kills:
                        program.kill()
                    else:
                        await asyncio.sleep(hang)
        self.told += "" if self._kills else f", for {hang:.1f} s"

    @property
    def _kills(self) -> bool:
        return self.cell.how == "kill"

    async def _strike_worker(self, program: psutil.Process | None, hang: float) -> None:
        struck = self.worker
        async with self._held_still(program):
            struck.at_work()  # so that they are known when it is gone
            struck.process.send_signal(signal.SIGKILL if self._kills else signal.SIGSTOP)
            if self._kills:
                await struck.process.wait()
        self.worker = await self.rig._new_worker()
        if not self._kills:
            await asyncio.sleep(hang)
            struck.process.send_signal(signal.SIGCONT)

    async def _strike_service(self, name: str, program: psutil.Process | None, hang: float) -> None:
        services, group = self.rig.services, self.rig.services.pid(name)
        async with self._held_still(program):
            if self._kills:
                await services.stop(name, kill=True)
                assert not services.runs(name)
            else:
                os.killpg(group, signal.SIGSTOP)
        if self._kills:
            await asyncio.sleep(hang / 2)  # also for less than a heartbeat
            await services.start(name)
            assert services.pid(name) != group
        else:
            await asyncio.sleep(hang)
            os.killpg(group, signal.SIGCONT)

    # --- afterwards --------------------------------------------------------------------------

    async def judge(self) -> list[str]:
        """What is not as it has to be."""
        return [
            *await self._run_is_honest(),
            *await self._cloud_holds_what_was_wanted(),
            *await self._state_agrees(),
            *await self._nobody_works(),
        ]

    async def _run_is_honest(self) -> list[str]:
        problems = []
        view = self.view
        assert view is not None
        if view.status != Status.APPLIED:
            problems.append(f"the run is {view.status.words}: {view.failure} {view.remedy}".strip())
        if len(self.asked) != 1:
            problems.append(f"somebody was asked {len(self.asked)} times")
        with suppress(WorkflowFailureError):
            result: RunResult = await self.handle.result()
            if result.summary != "2 added, 0 changed, 0 destroyed":
                problems.append(f"the summary is {result.summary!r}")
        # A query replays the whole history, on a worker that may have seen none of it.
        says = await patiently(partial(self.handle.query, "get_current_status"))
        if says != view.status:
            problems.append(f"the run says {says}, its history {view.status}")
        return problems

    async def _cloud_holds_what_was_wanted(self) -> list[str]:
        objects = await patiently(self.rig.control.objects)
        mine = sorted(f"{o['state']} {o['type']}" for o in objects if self.suffix in o["name"])
        names = [o["name"] for o in objects if o["name"] not in OWNED]
        others = [n for n in names if not any(suffix in n for suffix in self.rig.suffixes)]
        problems = [f"the API holds {name}, which nobody asked for" for name in others]
        if mine != ["active namespace", "active user"]:
            problems.append(f"the API holds of this run: {', '.join(mine) or 'nothing'}")
        return problems

    async def _state_agrees(self) -> list[str]:
        problems = []
        if (held := held_objects(self.rig.settings.stacks, self.stack)) != WANTED:
            problems.append(f"the state holds {held}")
        async with asyncio.timeout(PATIENCE):
            again = await self.rig.start(self.stack)
            watcher = Watcher(self.rig.client, workflow_id=again.id, run_id=again.run_id or "")
            async for second in watcher.views():
                if second.closed or second.status == Status.AWAITING_APPROVAL:
                    break
            if second.status != Status.NO_CHANGES:
                sentence = second.plan.sentence if second.plan else second.failure
                problems.append(f"a plan says: {second.status.words}, {sentence}")
                await again.terminate()
        return problems

    async def _nobody_works(self) -> list[str]:
        problems = []
        for worker in self.rig._workers:
            problems += await all_end(worker.at_work, "at work although idle")
        return problems + await self.rig.nobody_is_left()

    async def _named(self) -> list[str]:
        """Types of the objects at the API that carry this stack's suffix."""
        objects = await patiently(self.rig.control.objects)
        return sorted(str(o["type"]) for o in objects if self.suffix in o["name"])


def delays(cell: Cell, seed: str, attempt: int) -> random.Random:
    """Where a cell's delays come from: a text's own numbers, the same in every process."""
    return random.Random(f"{seed} {cell} {attempt}")


def children(pid: int) -> list[psutil.Process]:
    """A process' children; from /proc where there is one, because moments are short."""
    with suppress(OSError, psutil.Error):
        tasks = list(Path(f"/proc/{pid}/task").glob("*/children"))  # a child is a thread's
        if not tasks:
            return list(psutil.Process(pid).children())
        numbers = [int(child) for task in tasks for child in task.read_text().split()]
        return [psutil.Process(number) for number in numbers]
    return []


async def all_end(find: Callable[[], list[psutil.Process]], what: str) -> list[str]:
    """Wait until none of some processes is left; those that stay, a sentence each."""
    until = time.monotonic() + 60
    while left := find():
        if time.monotonic() > until:
            names = []
            for process in left:
                with suppress(psutil.Error):
                    names.append(f"{' '.join(process.cmdline()[:3])} ({process.pid})")
            return [f"{what}: {name}" for name in names]
        await asyncio.sleep(0.1)
    return []


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Call until it is answered: a server that was struck comes back."""
    until = time.monotonic() + 30
    while True:
        try:
            return await call()
        except DecisionRefused:
            raise
        except (TprovError, RPCError):
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.2)

"""Programs are started by the guard, run to an end, and never outlive their owner."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import statistics
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tprov_kernel.errors import ToolError
from tprov_kernel.process import Child, Ending, Guard, clean_environment, read_exit_file, run

AT_ONCE = Ending(terminate=0)
LINUX = sys.platform == "linux"


@pytest.fixture
def guard() -> Iterator[Guard]:
    """A guard that is closed at the end."""
    guard = Guard()
    yield guard
    guard.close()


@pytest.fixture
def env() -> dict[str, str]:
    """What programs get of our environment."""
    return clean_environment()


def python(code: str) -> list[str]:
    """A program written in Python; `-I -S` starts in a few milliseconds."""
    return [sys.executable, "-I", "-S", "-u", "-c", textwrap.dedent(code)]


def eventually(condition: Callable[[], object], *, within: float = 5.0) -> None:
    """Wait until the condition holds; fail when it does not within so many seconds."""
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.01)


async def soon(condition: Callable[[], object], *, within: float = 5.0) -> None:
    """Wait likewise while the loop goes on."""
    await asyncio.to_thread(eventually, condition, within=within)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def number_in(path: Path) -> int:
    """A process id that a program wrote into a file; 0 before it did."""
    return int(path.read_text() or 0) if path.exists() else 0


PLUGIN = """
    import os, signal, subprocess, sys, time
    plugin = subprocess.Popen(["sleep", "60"])
    open("plugin", "w").write(str(plugin.pid))
"""
"""A program with a helper in its group, as Terraform has its provider plug-ins."""


class TestRunning:
    async def test_what_it_wrote_and_how_it_ended(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """Both streams, the exit status and the lines come back; stdin goes in."""
        lines: list[str] = []
        program = python("""
            import sys
            print(sys.stdin.read())
            print("last, without an end", end="")
            print("a message", file=sys.stderr)
            sys.exit(2)
        """)
        done = await run(
            guard, program, cwd=tmp_path, env=env, stdin=b"given", on_line=lines.append
        )
        assert done.stdout == b"given\nlast, without an end"
        assert done.stderr == b"a message\n"
        assert (done.returncode, done.truncated) == (2, False)
        assert lines == ["given", "last, without an end"]

    async def test_lines_arrive_while_it_runs(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """A line is handed on when it was written, not at the end: here the answer ends it."""

        def answer(line: str) -> None:
            (tmp_path / "answer").write_text(line)

        program = python("""
            import pathlib, time
            print("ready")
            while not pathlib.Path("answer").exists():
                time.sleep(0.01)
        """)
        done = await run(
            guard,
            program,
            cwd=tmp_path,
            env=env,
            on_line=answer,
            timeout=20,
        )
        assert (done.returncode, (tmp_path / "answer").read_text()) == (0, "ready")

    async def test_exactly_the_given_environment_in_a_private_place(
        self, guard: Guard, tmp_path: Path
    ) -> None:
        """Nothing of ours leaks in: environment, descriptors, umask, session, signal settings."""
        program = python("""
            import json, os, signal, sys
            def is_open(fd):
                try:
                    return os.fstat(fd) is not None
                except OSError:
                    return False
            print(json.dumps({
                "env": sorted(os.environ),
                "cwd": os.getcwd(),
                "umask": os.umask(0),
                "open": [fd for fd in range(100) if is_open(fd)],
                "leads": os.getsid(0) == os.getpgid(0) == os.getpid(),
                "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
            }))
        """)
        done = await run(guard, program, cwd=tmp_path, env={"ONLY": "this"})
        seen = json.loads(done.stdout)
        seen["env"] = [n for n in seen["env"] if n != "LC_CTYPE"]  # Python's own addition
        assert seen == {
            "env": ["ONLY"],
            "cwd": str(tmp_path),
            "umask": 0o077,
            "open": [0, 1, 2],
            "leads": True,
            "blocked": 0,
        }

    async def test_output_that_is_no_text(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """Bytes come back as they were; lines get a replacement character."""
        lines: list[str] = []
        program = ["printf", r"caf\351\r\nna\377ve\n"]
        done = await run(guard, program, cwd=tmp_path, env=env, on_line=lines.append)
        assert done.stdout == b"caf\xe9\r\nna\xffve\n"
        assert lines == ["caf�", "na�ve"]

    async def test_huge_output_keeps_its_tail(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """Memory is bounded, one endless line included, and what was cut is told."""
        longest = 0

        def note(line: str) -> None:
            nonlocal longest
            longest = max(longest, len(line))

        program = ["sh", "-c", "head -c 20000000 /dev/zero; echo; seq 300000; echo end"]
        done = await run(guard, program, cwd=tmp_path, env=env, on_line=note, max_output=100_000)
        assert (len(done.stdout), done.stdout[-4:], done.truncated) == (100_000, b"end\n", True)
        assert 100_000 < longest < 500_000

    async def test_a_callback_that_raises_does_not_harm_the_program(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """It ends by itself, and then the callback's error is raised."""

        def broken(line: str) -> None:
            raise ValueError(line)

        program = ["sh", "-c", "echo one; echo two; touch finished"]
        with pytest.raises(ValueError, match=r"^one$"):
            await run(guard, program, cwd=tmp_path, env=env, on_line=broken)
        assert (tmp_path / "finished").exists()

    async def test_who_does_not_read_its_input(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """A megabyte on stdin of a program that does not look at it is no error."""
        done = await run(guard, ["true"], cwd=tmp_path, env=env, stdin=b"x" * 1_000_000)
        assert done.returncode == 0

    async def test_what_cannot_be_started_is_a_sentence(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """A missing program, one that is no program, and a missing directory are told apart."""
        (tmp_path / "text").write_text("no program")
        for argv, cwd, words in [
            (["no-such-program"], tmp_path, "no-such-program cannot be started: it is not on PATH"),
            ([f"{tmp_path}/gone"], tmp_path, "gone cannot be started: No such file"),
            ([f"{tmp_path}/text"], tmp_path, "text cannot be started: Permission denied"),
            (["true"], tmp_path / "gone", "true cannot be started in its directory: No such file"),
        ]:
            with pytest.raises(ToolError, match=words) as caught:
                await run(guard, argv, cwd=cwd, env=env)
            assert caught.value.remedy
        assert (await run(guard, ["true"], cwd=tmp_path, env=env)).returncode == 0

    async def test_many_at_once_leave_no_zombie(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """Tasks and threads share one guard, which reaps each program that ended."""
        threaded: list[int] = []

        def from_a_thread(status: int) -> None:
            child = guard.spawn(["sh", "-c", f"exit {status}"], cwd=tmp_path, env=env)
            threaded.append(child.wait_blocking(20))

        threads = [threading.Thread(target=from_a_thread, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        runs = [run(guard, ["sh", "-c", f"exit {n}"], cwd=tmp_path, env=env) for n in range(16)]
        statuses = [done.returncode for done in await asyncio.gather(*runs)]
        for thread in threads:
            await asyncio.to_thread(thread.join, 20)
        assert (statuses, sorted(threaded)) == (list(range(16)), list(range(8)))
        assert guard.pid is not None
        assert psutil.Process(guard.pid).children() == []

    async def test_what_one_run_costs(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """A warm guard adds a few milliseconds (printed with -s; nothing is asserted of time)."""
        seconds = [(await run(guard, ["true"], cwd=tmp_path, env=env)).seconds for _ in range(50)]
        print(f"\nrun(true) through a warm guard: {statistics.median(seconds) * 1000:.1f} ms")
        assert len(seconds) == 50


class TestEnding:
    async def test_interrupt_goes_to_the_process_itself(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """Its helpers hear nothing, so that it can use them to end in order."""
        program = python("""
            import subprocess, sys
            try:
                helper = subprocess.Popen(["sh", "-c", "trap 'echo heard' INT; read x"],
                                          stdin=subprocess.PIPE)
                print("up")
                helper.wait()
            except KeyboardInterrupt:
                helper.communicate(b"go on")
                print("in order")
        """)
        interrupt = asyncio.Event()
        done = await run(
            guard,
            program,
            cwd=tmp_path,
            env=env,
            interrupt=interrupt,
            on_line=lambda line: interrupt.set() if line == "up" else None,
            ending=Ending(wait=60, interrupt=20),
        )
        assert (done.returncode, done.stdout) == (0, b"up\nin order\n")

    async def test_who_ignores_every_request_is_killed(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """SIGINT, SIGTERM, then SIGKILL for the whole group."""
        program = python(
            PLUGIN
            + """
    signal.signal(signal.SIGINT, lambda *_: print("SIGINT"))
    signal.signal(signal.SIGTERM, lambda *_: print("SIGTERM"))
    print("up")
    while True:
        time.sleep(60)
"""
        )
        interrupt = asyncio.Event()
        done = await run(
            guard,
            program,
            cwd=tmp_path,
            env=env,
            interrupt=interrupt,
            on_line=lambda line: interrupt.set(),
            ending=Ending(interrupt=0.2, terminate=0.2),
        )
        assert done.returncode == -signal.SIGKILL
        assert done.stdout.split() == [b"up", b"SIGINT", b"SIGTERM"]
        assert not alive(number_in(tmp_path / "plugin"))

    async def test_who_has_no_patience_kills_at_once(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """Told so during the grace: SIGKILL to the program and what it has started."""
        program = python(
            PLUGIN
            + """
    signal.signal(signal.SIGINT, lambda *_: print("SIGINT"))
    print("up")
    while True:
        time.sleep(60)
"""
        )
        interrupt, kill = asyncio.Event(), asyncio.Event()
        done = await run(
            guard,
            program,
            cwd=tmp_path,
            env=env,
            interrupt=interrupt,
            kill=kill,
            on_line=lambda line: kill.set() if line == "SIGINT" else interrupt.set(),
            ending=Ending(interrupt=3600),
        )
        assert done.returncode == -signal.SIGKILL
        assert done.stdout.split() == [b"up", b"SIGINT"]
        assert not alive(number_in(tmp_path / "plugin"))

    async def test_too_slow_is_a_sentence(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """A program that hangs is ended when its time is over."""
        with pytest.raises(ToolError, match=r"^sleep did not end within 0.1 s"):
            await run(guard, ["sleep", "60"], cwd=tmp_path, env=env, timeout=0.1)

    async def test_leftovers_of_a_group_are_killed(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """A plug-in that its Terraform left behind is gone when Terraform's end is told."""
        done = await run(guard, python(PLUGIN), cwd=tmp_path, env=env)
        assert done.returncode == 0
        assert not alive(number_in(tmp_path / "plugin"))

    async def test_cancelled_and_left_alone(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """Who stops waiting does not stop the work: its output is read, its end is recorded."""
        outcome, up = tmp_path / "outcome", asyncio.Event()
        program = ["sh", "-c", "echo up; read x < go; head -c 5000000 /dev/zero; exit 3"]
        os.mkfifo(tmp_path / "go")
        task = asyncio.create_task(
            run(
                guard,
                program,
                cwd=tmp_path,
                env=env,
                on_line=lambda line: up.set(),
                exit_file=outcome,
                on_cancel="leave",
            )
        )
        await asyncio.wait_for(up.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert read_exit_file(outcome) is None
        await asyncio.to_thread((tmp_path / "go").write_text, "on\n")
        await soon(lambda: read_exit_file(outcome))
        record = read_exit_file(outcome)
        assert record is not None
        assert record.returncode == 3

    def test_left_alone_by_a_loop_that_is_gone(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """When the whole loop ends, the guard reads the output, so that the program can end."""
        outcome = tmp_path / "outcome"
        program = ["sh", "-c", "head -c 5000000 /dev/zero; echo more; exit 3"]

        async def start_and_leave() -> None:
            work = run(guard, program, cwd=tmp_path, env=env, exit_file=outcome)
            task = asyncio.create_task(work)
            while guard.pid is None:  # noqa: ASYNC110 (there once the program was started)
                await asyncio.sleep(0)
            task.cancel()

        asyncio.run(start_and_leave())
        eventually(lambda: read_exit_file(outcome))
        record = read_exit_file(outcome)
        assert record is not None
        assert record.returncode == 3

    async def test_cancelled_and_interrupted(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """Told so, cancelling interrupts it and waits for its orderly end."""
        up = asyncio.Event()
        program = python("""
            import pathlib, time
            try:
                print("up")
                time.sleep(60)
            except KeyboardInterrupt:
                pathlib.Path("in order").touch()
        """)
        work = run(
            guard,
            program,
            cwd=tmp_path,
            env=env,
            on_line=lambda _: up.set(),
            on_cancel="interrupt",
            ending=Ending(wait=60, interrupt=20),
        )
        task = asyncio.create_task(work)
        await asyncio.wait_for(up.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (tmp_path / "in order").exists()

    def test_closing_ends_all_at_once_and_for_good(
        self, env: dict[str, str], tmp_path: Path
    ) -> None:
        """Each child is ended by its own ending; afterwards nothing can be started."""
        guard = Guard()
        children = [
            guard.spawn(["sleep", "60"], cwd=tmp_path, env=env, ending=Ending(terminate=20))
            for _ in range(5)
        ]
        pid = guard.pid
        guard.close()
        assert [child.returncode for child in children] == [-signal.SIGTERM] * 5
        assert pid is not None
        assert not alive(pid)
        with pytest.raises(ToolError, match="this process is closing"):
            guard.spawn(["true"], cwd=tmp_path, env=env)

    def test_the_exit_file_is_this_program_s(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """An earlier outcome is removed first, and a new one is whole and private."""
        outcome = tmp_path / "outcome"
        outcome.write_text('{"pid": 1, "returncode": 0, "started": 0, "ended": 0}')
        child = guard.spawn(["sleep", "60"], cwd=tmp_path, env=env, exit_file=outcome)
        assert read_exit_file(outcome) is None
        child.signal(signal.SIGTERM)
        assert child.wait_blocking(20) == -signal.SIGTERM
        record = read_exit_file(outcome)
        assert record is not None
        assert (record.pid, record.returncode) == (child.pid, -signal.SIGTERM)
        assert record.started <= record.ended
        assert outcome.stat().st_mode & 0o777 == 0o600
        assert sorted(path.name for path in tmp_path.iterdir()) == ["outcome"]

    def test_a_held_lock_opens_when_the_whole_group_has_ended(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """The guard keeps a stack's lock for as long as anybody may write to the stack."""
        lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)
        outcome = tmp_path / "outcome"
        child = guard.spawn(["sleep", "60"], cwd=tmp_path, env=env, hold=[lock], exit_file=outcome)
        os.close(lock)
        other = os.open(tmp_path / "lock", os.O_RDWR)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            child.kill_group()
            fcntl.flock(other, fcntl.LOCK_EX)  # whoever gets it finds the outcome written
            assert read_exit_file(outcome) is not None
        finally:
            os.close(other)


OWNER = """
    import os, signal, subprocess, sys, time
    from pathlib import Path
    from tprov_kernel.process import Ending, Guard, clean_environment

    here = Path(sys.argv[1])
    guard = Guard()
    env = clean_environment()
    children = []

    def start(*argv, **options):
        children.append(guard.spawn(argv, cwd=here, env=env, **options))

    def tell():
        pids = [str(child.pid) for child in children] + [str(guard.pid)]
        (here / "pids.new").write_text(" ".join(pids))
        (here / "pids.new").rename(here / "pids")
"""


class Owner:
    """A real process that owns a guard and children."""

    def __init__(self, place: Path, body: str) -> None:
        code = textwrap.dedent(OWNER) + textwrap.dedent(body)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(place)],
            start_new_session=True,
            stderr=subprocess.PIPE,
        )
        eventually(lambda: (place / "pids").exists() or self.process.poll() is not None, within=20)
        self.pids = [int(text) for text in (place / "pids").read_text().split()]
        self.guard = self.pids[-1]

    def gone(self) -> bool:
        return not any(alive(pid) for pid in self.pids)

    def finish(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=20)
        for pid in self.pids:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Callable[[str], Owner]]:
    """Makes owners, and ends what is left of them."""
    owners: list[Owner] = []

    def make(body: str) -> Owner:
        owners.append(Owner(tmp_path, body))
        return owners[-1]

    yield make
    for one in owners:
        one.finish()


class TestTheOwnerDies:
    @pytest.mark.parametrize("kill", [os.kill, os.killpg])
    def test_killed_with_everything_it_started(
        self, owner: Callable[[str], Owner], tmp_path: Path, kill: Callable[[int, int], None]
    ) -> None:
        """Kill -9: five seconds later neither children nor their helpers nor the guard are left.

        The owner alone is killed, or its whole process group, as Jupyter does.

        One ignores SIGTERM, one has a helper in its group, one has started a daemon outside of it.
        """
        one = owner("""
            start("sleep", "60")
            start("sh", "-c", "trap '' TERM; echo $$ > stubborn; while :; do sleep 60; done")
            start("sh", "-c", "sleep 60 & echo $! > plugin; wait")
            daemon = "import os, time; os.setsid(); open('stray', 'w').write(str(os.getpid()))"
            start("sh", "-c", f"{sys.executable} -c \\"{daemon}; time.sleep(60)\\" & sleep 60")
            tell()
            time.sleep(60)
        """)
        names = ["stubborn", "plugin", "stray"] if LINUX else ["stubborn", "plugin"]
        eventually(lambda: all(number_in(tmp_path / name) for name in names))
        one.pids += [number_in(tmp_path / name) for name in names]
        assert all(alive(pid) for pid in one.pids)
        kill(one.process.pid, signal.SIGKILL)
        eventually(one.gone, within=5)

    def test_who_may_finish_does_finish(
        self, owner: Callable[[str], Owner], tmp_path: Path
    ) -> None:
        """A child with a wait goes on, though nobody reads its output, and its end is recorded."""
        os.mkfifo(tmp_path / "go")
        one = owner("""
            reader, writer = os.pipe()
            start("sh", "-c", "read x < go; seq 200000; exit 4", stdout=writer, drain=[reader],
                  ending=Ending(wait=60), exit_file=here / "outcome")
            os.close(writer)
            tell()
            time.sleep(60)
        """)
        one.process.kill()
        one.process.wait(20)
        (tmp_path / "go").write_text("on\n")
        eventually(lambda: read_exit_file(tmp_path / "outcome"))
        record = read_exit_file(tmp_path / "outcome")
        assert record is not None
        assert record.returncode == 4
        eventually(one.gone)

    def test_its_ctrl_c_is_its_own(self, owner: Callable[[str], Owner], tmp_path: Path) -> None:
        """SIGINT to the owner's group reaches no child; when the owner ends by it, they end."""
        one = owner("""
            start("sh", "-c", "trap 'touch heard' INT; while :; do sleep 0.05; done")
            tell()
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                (here / "first").touch()
            time.sleep(60)
        """)
        os.killpg(one.process.pid, signal.SIGINT)
        eventually((tmp_path / "first").exists)
        assert all(alive(pid) for pid in one.pids)
        os.killpg(one.process.pid, signal.SIGINT)
        eventually(one.gone)
        assert not (tmp_path / "heard").exists()

    def test_though_it_had_forked(self, owner: Callable[[str], Owner], tmp_path: Path) -> None:
        """A fork of the owner does not keep the guard waiting, and has a guard of its own."""
        one = owner("""
            start("sleep", "60")
            if os.fork() == 0:
                child = guard.spawn(["sleep", "60"], cwd=here, env=env)
                (here / "fork").write_text(str(os.getpid()))
                time.sleep(60)
            tell()
            time.sleep(60)
        """)
        eventually(lambda: number_in(tmp_path / "fork"))
        fork = number_in(tmp_path / "fork")
        one.process.kill()
        eventually(one.gone)
        assert alive(fork)
        theirs = [fork, *(p.pid for p in psutil.Process(fork).children(recursive=True))]
        assert len(theirs) == 3
        os.kill(fork, signal.SIGKILL)
        eventually(lambda: not any(alive(pid) for pid in theirs))


class TestTheGuardDies:
    def test_killed_it_takes_its_children_along_and_is_replaced(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """Children and their helpers are gone, that is told, and the next program just starts."""
        code = python(PLUGIN + "    plugin.wait()")
        child = guard.spawn(code, cwd=tmp_path, env=env, exit_file=tmp_path / "outcome")
        eventually(lambda: number_in(tmp_path / "plugin"))
        first = guard.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert child.wait_blocking(20) == -signal.SIGKILL
        eventually(lambda: not alive(child.pid) and not alive(number_in(tmp_path / "plugin")))
        assert read_exit_file(tmp_path / "outcome") is None
        assert guard.spawn(["true"], cwd=tmp_path, env=env).wait_blocking(20) == 0
        assert guard.pid != first

    @pytest.mark.skipif(not LINUX, reason="only Linux has a parent-death signal")
    def test_killed_while_its_owner_stands_still(self, owner: Callable[[str], Owner]) -> None:
        """The kernel ends the children of a killed guard, without the owner's help."""
        one = owner("""
            start("sleep", "60")
            tell()
            time.sleep(60)
        """)
        os.kill(one.process.pid, signal.SIGSTOP)
        os.kill(one.guard, signal.SIGKILL)
        eventually(one.gone)

    def test_asked_to_end_it_ends_its_children_first(
        self, guard: Guard, env: dict[str, str], tmp_path: Path
    ) -> None:
        """SIGTERM to the guard, at a shutdown for instance, ends the children in order."""
        children: list[Child] = [
            guard.spawn(["sleep", "60"], cwd=tmp_path, env=env) for _ in range(2)
        ]
        assert guard.pid is not None
        os.kill(guard.pid, signal.SIGTERM)
        assert [child.wait_blocking(20) for child in children] == [-signal.SIGTERM] * 2


def test_the_environment_of_programs_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is listed and what is given; what steers Terraform or Temporal never leaks in."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("TF_LOG", "trace")
    monkeypatch.setenv("TEMPORAL_CLOUD_API_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    env = clean_environment(extra={"TF_INPUT": "0"})
    assert env["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert env["PATH"] == os.environ["PATH"]
    assert {n for n in env if n.startswith(("TF_", "TEMPORAL_", "AWS_"))} == {"TF_INPUT"}
    assert "TF_LOG" not in clean_environment(keep=["TF_LOG"])

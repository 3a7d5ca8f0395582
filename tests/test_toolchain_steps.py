"""Long steps: watched, limited, interruptible; their results are there whole or not at all."""

from __future__ import annotations

import io
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tprov_kernel.toolchain.steps import Printer, StepFailed, Steps, appearing

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    """Steps that nobody watches."""
    return Steps(progress=lambda line: None, logs=tmp_path / "logs")


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another process does; at most 20 s."""
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, "it did not come about"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be collected does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return bool(state.strip()) and not state.startswith("Z")


class TestSteps:
    def test_a_failure_is_a_sentence(self, steps: Steps) -> None:
        """It names the step and the program's own last words, and where the rest is."""
        with pytest.raises(StepFailed) as caught:
            steps.run(["/bin/sh", "-c", "echo error: the flux is low; exit 3"], label="Charging")

        assert caught.value.message == "Charging failed: error: the flux is low."
        assert str(steps.logs / "sh.log") in caught.value.remedy

    @pytest.mark.parametrize(
        ("said", "remedy"),
        [
            ("write /x: no space left on device", "Free about 3 GB"),
            ("error sending request for url", "name a mirror"),
            ("verifying m@v1: checksum mismatch", "what altered it"),
            ("error: Hash mismatch for `x`", "what altered it"),
        ],
    )
    def test_the_usual_troubles_have_their_remedy(
        self, steps: Steps, said: str, remedy: str
    ) -> None:
        """A full disk, no network and an altered download are told apart."""
        with pytest.raises(StepFailed) as caught:
            steps.run(["/bin/sh", "-c", f"echo '{said}' >&2; exit 1"], label="Trying")

        assert remedy in caught.value.remedy
        assert "`make setup`" in caught.value.remedy

    @pytest.mark.parametrize("options", [{"limit": 0.1}, {"sign": ("found", 0.1)}])
    def test_one_that_hangs_is_ended(
        self, steps: Steps, tmp_path: Path, options: dict[str, float]
    ) -> None:
        """Past its limit, or without the sign that it gets somewhere."""
        body = f"echo $$ > {tmp_path}/pid; exec sleep 60"

        with pytest.raises(StepFailed, match="timed out"):
            steps.run(["/bin/sh", "-c", body], label="Waiting", **options)  # type: ignore[arg-type]

        assert not runs(int((tmp_path / "pid").read_text()))

    def test_the_sign_keeps_it_alive(self, steps: Steps) -> None:
        """A program that showed its sign may take its time."""
        body = "echo found; sleep 2.5; echo end"

        assert steps.run(["/bin/sh", "-c", body], label="x", sign=("found", 1.0)) == "found\nend\n"

    def test_an_interrupt_ends_the_whole_group(self, tmp_path: Path) -> None:
        """Whoever interrupts us leaves neither the program nor what that had started."""

        def interrupt(line: str) -> None:
            if (tmp_path / "pids").exists():
                raise KeyboardInterrupt

        steps = Steps(progress=interrupt, logs=tmp_path / "logs")
        body = f"sleep 60 & echo $$ $! > {tmp_path}/p; mv {tmp_path}/p {tmp_path}/pids; wait"

        with pytest.raises(KeyboardInterrupt):
            steps.run(["/bin/sh", "-c", body], label="x")

        for pid in (tmp_path / "pids").read_text().split():
            until(lambda pid=pid: not runs(int(pid)))  # type: ignore[misc]


class TestLock:
    def test_one_at_a_time(self, steps: Steps, tmp_path: Path) -> None:
        """The second waits, says so, and goes on when the first is through."""
        order: list[str] = []
        told = threading.Event()

        def tell(line: str) -> None:
            order.append(line.split(" …")[0])
            told.set()

        def second() -> None:
            waiting = Steps(progress=tell, logs=tmp_path / "logs")
            with waiting.lock(tmp_path / "lock", label="the first"):
                order.append("second in")

        with steps.lock(tmp_path / "lock", label="nobody"):
            thread = threading.Thread(target=second)
            thread.start()
            assert told.wait(20)
            order.append("first out")
        thread.join(20)

        assert order[0] == "Waiting for the first"
        assert order[-1] == "second in"
        assert order.index("first out") < order.index("second in")

    def test_a_killed_owner_keeps_it_while_its_program_runs(
        self, steps: Steps, tmp_path: Path
    ) -> None:
        """So nobody clears away what an orphan still writes to."""
        program = (
            "import sys\nfrom pathlib import Path\n"
            "from tprov_kernel.toolchain.steps import Steps\n"
            f"here = Path({str(tmp_path)!r})\n"
            "steps = Steps(progress=lambda line: None, logs=here / 'logs')\n"
            "with steps.lock(here / 'lock', label='x') as steps:\n"
            "    body = f'echo $$ > {here}/p; mv {here}/p {here}/pid; exec sleep 60'\n"
            "    steps.run(['/bin/sh', '-c', body], label='x')\n"
        )
        owner = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
        until((tmp_path / "pid").exists)
        orphan = int((tmp_path / "pid").read_text())
        owner.send_signal(signal.SIGKILL)
        owner.wait(20)

        said: list[str] = []

        def end_orphan_when_waiting(line: str) -> None:
            said.append(line)
            os.kill(orphan, signal.SIGKILL)

        waiting = Steps(progress=end_orphan_when_waiting, logs=tmp_path / "logs")
        with waiting.lock(tmp_path / "lock", label="the orphan"):
            until(lambda: not runs(orphan))

        assert said[0].startswith("Waiting for the orphan")


class TestAppearing:
    def test_whole_or_not_at_all(self, tmp_path: Path) -> None:
        """A block that fails leaves nothing; one that ends well replaces what was there."""
        place = tmp_path / "tool-1.0"
        (place / "broken").mkdir(parents=True)

        def fail() -> None:
            with appearing(place) as fresh:
                (fresh / "half").touch()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert [path.name for path in place.iterdir()] == ["broken"]

        with appearing(place) as fresh:
            (fresh / "all").touch()

        assert [path.name for path in place.iterdir()] == ["all"]
        assert [place] == list(tmp_path.iterdir())
        assert stat.S_IMODE(place.stat().st_mode) == 0o755

    def test_what_a_killed_attempt_left_goes(self, tmp_path: Path) -> None:
        """Only this tool's own leftovers: another tool's set-up is none of its business."""
        (tmp_path / ".tool-1.0.abc.part" / "half").mkdir(parents=True)
        (tmp_path / ".tool-2.0.abc.part").mkdir()

        with appearing(tmp_path / "tool-1.0"):
            pass

        assert {".tool-2.0.abc.part", "tool-1.0"} == {path.name for path in tmp_path.iterdir()}


class TestPrinter:
    def test_plain_lines_where_nobody_sees_them_move(self) -> None:
        """One when a step starts, one every ten seconds, one when it is over."""
        now = [0.0]
        stream = io.StringIO()
        show = Printer(stream, clock=lambda: now[0])

        show("Building …")
        for second in range(1, 22):
            now[0] = float(second)
            show(f"Building … {second} s")
        show("Building: done, 21 s")

        expected = ["Building …", "Building … 10 s", "Building … 20 s", "Building: done, 21 s"]

        assert expected == stream.getvalue().splitlines()

    def test_a_moving_line_on_a_terminal(self) -> None:
        """Each line overwrites the last; the final one stays."""

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        stream = Terminal()
        show = Printer(stream)

        show("Building … 1 s")
        show("Building … 2 s")
        show("Building: done, 3 s")

        expected = "\r\x1b[KBuilding … 1 s\r\x1b[KBuilding … 2 s\r\x1b[KBuilding: done, 3 s\n"

        assert expected == stream.getvalue()

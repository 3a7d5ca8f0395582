"""A key that was destroyed: whoever asks is told in a sentence, in seconds, wherever they look."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cli.typed import TPROV, Said, Terminal, until_said
from tests.conftest import Platform
from tests.test_workflow import asks, until
from tprov_kernel import runs
from tprov_kernel.payloads.keyring import KeyRing

pytestmark = pytest.mark.timeout(240)

QUEUE = "lost-key"
CONFIG = "terraform/tcloud_admin_user"

MISSING = "was encrypted with the key '{lost}', which the key ring lacks. Put back the key ring"
STUCK = "The run stack-lost cannot go on, because its worker cannot read it. The payload " + MISSING

COMMANDS = {
    ("approve", "lost", "--reason", "she is new"): (1, STUCK),
    ("deny", "lost"): (1, STUCK),
    ("recheck", "lost"): (1, STUCK),
    ("interrupt", "lost"): (1, STUCK),
    ("replan", "lost", "--config", CONFIG): (1, MISSING),
    ("status", "lost"): (0, MISSING),
    ("status", "lost", "--json"): (0, MISSING),
    ("status",): (0, "lost"),
    ("retry", "lost"): (0, "nothing was done"),
    ("audit", "lost"): (0, "A plan cannot be read."),
    ("policy", "try", "lost"): (1, "cannot be read with the keys at hand"),
    ("destroy", "lost", "--yes"): (1, MISSING),
    ("keys", "list"): (0, "gone"),
    ("cancel", "lost"): (0, STUCK),
}
"""What a person may type about a run, the exit code, and a part of what it says."""


async def test_every_command_answers_in_a_sentence_and_the_worker_s_terminal_too(
    own: Platform, tmp_path: Path
) -> None:
    """A run waits, its key is destroyed, a worker comes back: nobody hangs or reads a trace."""
    terminal = Terminal(own.settings.home)
    client = await own.client()
    logs = [tmp_path / "worker-1.log", tmp_path / "worker-2.log"]
    words = ("worker", "--task-queue", QUEUE)
    with terminal.runs(*words, log=logs[0]) as process:
        await asyncio.to_thread(until_said, logs[0], "Polling", process=process, limit=60)
        said = await _typed(terminal, "start", "lost", "-c", CONFIG, "--task-queue", QUEUE)
        assert said.code == 0, said.err
        await until(client, await runs.run_of(client, "lost"), asks)
    ring = KeyRing.load(own.settings.key_ring)
    lost = ring.active
    ring.rotate()
    ring.drop(lost)  # asks nobody

    with terminal.runs(*words, log=logs[1]) as process:
        await asyncio.to_thread(until_said, logs[1], "Polling", process=process, limit=60)
        for typed, (code, words_) in COMMANDS.items():
            said = await _typed(terminal, *typed)
            told = " ".join((said.out + said.err).split())
            assert said.code == code, (typed, told)
            assert words_.format(lost=lost) in told, typed
            for raw in ("Traceback", "Workflow Task", "did not answer", "tprov doctor"):
                assert raw not in told, typed
        assert "temporal workflow terminate" in told  # the last resort, where it was cancelled

    log = await asyncio.to_thread(logs[1].read_text)
    assert "Traceback" not in log
    assert log.count("stack-lost waits: it cannot be read here. The payload was encrypted") == 1
    assert log.count("which the key ring lacks") == 1


async def _typed(terminal: Terminal, *words: str) -> Said:
    return await asyncio.to_thread(terminal.run, *TPROV, *words, limit=60)

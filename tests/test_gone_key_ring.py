"""A key ring that is lost while a run waits: nothing makes it worse, and its return is enough."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cli.typed import TPROV, Said, Terminal, until_said
from tests.conftest import Platform
from tests.test_workflow import asks, until
from tprov_kernel import runs

pytestmark = pytest.mark.timeout(240)

QUEUE = "gone-ring"
CONFIG = "terraform/tcloud_admin_user"


async def test_a_ring_that_is_gone_is_not_made_anew_and_the_run_waits_for_it(
    own: Platform, tmp_path: Path
) -> None:
    """Who looks makes none, who decides is refused in a sentence; with the copy it goes on."""
    terminal, log = Terminal(own.settings.home), tmp_path / "worker.log"
    client, keys = await own.client(), own.settings.key_ring
    with terminal.runs("worker", "--task-queue", QUEUE, log=log) as process:
        await asyncio.to_thread(until_said, log, "Polling", process=process, limit=60)
        said = await _typed(terminal, "start", "gone", "-c", CONFIG, "--task-queue", QUEUE)
        assert said.code == 0, said.err
        await until(client, await runs.run_of(client, "gone"), asks)
        copy = keys.rename(tmp_path / "keys.json")

        said = await _typed(terminal, "status", "gone")
        assert "Traceback" not in said.out + said.err
        assert not keys.exists()
        for command in (("approve", "gone", "--reason", "fine"), ("deny", "gone", "--reason", "x")):
            said = await _typed(terminal, *command)
            told = " ".join((said.out + said.err).split())
            assert (said.code, "Recorded" in told) == (1, False), told
            assert f"There is no key ring at {keys}" in told
            assert "Put its copy back" in told
            assert not keys.exists()
        doctor = await _typed(terminal, "doctor")
        assert "There is no key ring at" in " ".join(doctor.out.split())

        copy.rename(keys)
        said = await _typed(terminal, "approve", "gone", "--reason", "fine")
        assert "Recorded: approved" in said.out, said.err
        said = await _typed(terminal, "status", "gone", "--watch")
        assert "applied" in said.out + said.err


async def _typed(terminal: Terminal, *words: str) -> Said:
    return await asyncio.to_thread(terminal.run, *TPROV, *words, limit=60)

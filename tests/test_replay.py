"""Recorded histories are replayed: a change that breaks determinism is noticed here.

Record one with ``tprov export-history STACK tests/histories/NAME.json`` after the run it is about.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tprov_kernel.workflow import ProvisionInfraWorkflow

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


def test_every_way_to_end_was_recorded() -> None:
    """Applied, approved, rejected, nothing to do, destroyed; and each way out of a broken apply.

    Recovered from a kill, interrupted, cancelled, reset, and asked about a key that was lost; a
    flood of signals, and the execution that went on waiting after it.
    """
    names = {path.stem for path in HISTORIES}
    wanted = {"applied", "approved", "rejected", "no_changes", "destroyed", "recovered"}
    wanted |= {"interrupted", "cancelled", "reset", "asked", "flooded", "continued"}
    assert wanted <= names


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_recorded_run_replays(path: Path) -> None:
    """Today's code makes the same decisions from the same events."""
    history = WorkflowHistory.from_json(path.stem, json.loads(path.read_text()))
    asyncio.run(Replayer(workflows=[ProvisionInfraWorkflow]).replay_workflow(history))

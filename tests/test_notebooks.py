"""Every notebook as CI executes it: no hands, no front end, and not alone on the machine."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tprov_kernel.process import clean_environment

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


async def _nbval(scratch: Path) -> tuple[int, str]:
    environment = clean_environment(extra={"TPROV_HOME": str(scratch / "home"), "CI": "true"})
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval"]
    process = await asyncio.create_subprocess_exec(
        *command,
        *map(str, NOTEBOOKS[:2]),  # `make test` runs each of them once
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")


@pytest.mark.timeout(240)
async def test_nbval_passes_in_two_processes_at_once(tmp_path: Path) -> None:
    """In one workspace: each kernel opens services of its own, and nobody disturbs anybody."""
    for code, output in await asyncio.gather(_nbval(tmp_path), _nbval(tmp_path)):
        assert code == 0, output[-3000:]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_fresh_and_hold_no_widget_state(path: Path) -> None:
    """A notebook reads well with no kernel: every code cell stores what it showed."""
    notebook = json.loads(path.read_text())
    cells = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    assert "widgets" not in notebook["metadata"]
    assert [c["source"] for c in cells if not c["outputs"]] == []

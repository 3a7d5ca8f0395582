"""What a notebook keeps when nobody is looking: executed by nbclient, no front end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.browser import ROOT, write_notebook

CELLS = (
    "from tests.widgets.stage import Stage\nstage = Stage()\nstage.go('asking')",
    "stage.card",
    "stage.card.reason.value = 'typed' + '-reason'\n"
    "stage.card.approve.click()\n"
    "assert stage.answered.wait(10)",
    "stage.go('applied')",
    "from tprov_kernel.widgets.scenarios import ScenarioRow\n"
    "row = ScenarioRow([('a', 'A')], start=lambda name: Stage().card)\nrow",
    "stage.go('failed')\nrow.show_card(stage.card)",
    "first, second = Stage(), stage\nfirst.go('retrying')\nrow.show_card(first.card)\n"
    "second.go('applied')",
)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook after it was run, with widget state off, as our own runs do."""
    folder = tmp_path_factory.mktemp("headless")
    notebook = nbformat.read(write_notebook(folder / "card.ipynb", CELLS), as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(notebook, timeout=60, kernel_name="python3", store_widget_state=False)
    client.execute(env=environment(folder))
    return notebook


def environment(folder: Path) -> dict[str, str]:
    """A kernel that finds the tests' stage, and writes nothing into the home directory."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / "ipython")}


def outputs(notebook: Any, cell: int) -> list[Any]:
    """What one cell keeps."""
    return list(notebook.cells[cell].outputs)


def test_no_cell_keeps_an_error_or_loose_words(executed: Any) -> None:
    """Callbacks and threads leave nothing in whichever cell happens to run."""
    kinds = [o.output_type for cell in executed.cells for o in cell.outputs]
    assert set(kinds) == {"display_data"}
    assert [len(cell.outputs) for cell in executed.cells] == [0, 2, 0, 0, 2, 0, 0]


def test_the_cards_cell_keeps_the_last_state_as_a_snapshot(executed: Any) -> None:
    """Although it was displayed while the run asked, and updated from other cells."""
    live, snapshot = outputs(executed, 1)
    assert live.data["text/html"] == ""
    assert "application/vnd.jupyter.widget-view+json" in live.data
    assert set(snapshot.data) == {"text/html", "text/plain"}
    assert "does not accept the key" in snapshot.data["text/html"]
    assert snapshot.data["text/plain"] == "tcloud_admin_user (stack-adm-7c2f): failed, 100 %"


def test_a_scenario_row_keeps_the_snapshot_of_the_card_it_shows(executed: Any) -> None:
    """A card that was replaced does not write into the row's output any more."""
    _, snapshot = outputs(executed, 4)
    assert snapshot.data["text/plain"] == "tcloud_admin_user (stack-adm-7c2f): planning, 20 %"


def test_no_widget_state_and_nothing_typed_is_kept(executed: Any) -> None:
    """A reason is a person's words; only the decision that the run records may show it."""
    text = json.dumps(executed)
    assert "application/vnd.jupyter.widget-state+json" not in text
    assert "typed-reason" not in text

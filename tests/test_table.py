"""The table of runs in a real kernel, over a real server: what shows by itself, what it costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.browser import ROOT, write_notebook
from tests.kernels import SET_UP, Cell, Kernel, environment, kernel
from tests.widgets.reader import text_of
from tprov_kernel.lab.table import pause

pytestmark = pytest.mark.timeout(180)

OTHERS = """from tprov_kernel import runs
from tprov_kernel.lab.runtime import Runtime
def others(stack):
    \"\"\"Somebody else's run, on a queue that nobody polls.\"\"\"
    return lab._call(runs.start_run(
        lab.client, stack=stack, directory=lab.settings.root / 'terraform/tcloud_namespace',
        key_ring=lab.key_ring, task_queue='others', requested_by='grace'))
def end(handle):
    lab._call(handle.terminate('by a test'))"""
COUNTED = """from temporalio.client import Client, Interceptor, OutboundInterceptor
asked = []
class Counting(Interceptor):
    def intercept_client(self, next):
        class Outbound(OutboundInterceptor):
            def list_workflows(self, input):
                asked.append('list')
                return super().list_workflows(input)
            async def count_workflows(self, input):
                asked.append('count')
                return await super().count_workflows(input)
        return Outbound(next)
config = lab.client.config()
config['interceptors'] = [*config['interceptors'], Counting()]
lab.client = Client(**config)"""


STORY = (
    SET_UP,
    "table = lab.table()\ntable",
    "lab.start('web', config='terraform/tcloud_namespace')\n"
    "lab.start('adm', config='terraform/tcloud_admin_user')\nNone",
    "lab.wait()\ntable.refresh()",
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel with a lab and a table."""
    home = tmp_path_factory.mktemp("table") / "home"
    with kernel(environment(home, notebook="01_happy_path")) as made:
        for code in (SET_UP, COUNTED, OTHERS):
            cell = made.run(code)
            assert cell.status == "ok", cell.text
        made.run("table = lab.table()\nfirst = others('first')")
        yield made


def html_of(cell: Cell) -> str:
    """The stored picture below a cell."""
    return next(str(o["data"]["text/html"]) for o in cell.outputs if o["data"].get("text/html"))


def test_it_shows_and_keeps_a_picture(opened: Kernel) -> None:
    """The live widget, and beside it what a notebook keeps, with the run that is there."""
    opened.wait_for("table.refresh() or len(table.runs) == 1")
    cell = opened.run("table")
    live, kept = cell.outputs
    assert "application/vnd.jupyter.widget-view+json" in live["data"]
    assert "first tcloud_namespace ● uninitialized – grace" in text_of(html_of(cell))
    assert kept["data"]["text/plain"] == "1 run: 1 uninitialized."


def test_what_others_do_shows_by_itself(opened: Kernel) -> None:
    """A run that somebody else starts, and its end; nobody asks for it."""
    opened.run("second = others('second')")
    opened.wait_for("[run.stack for run in table.runs] == ['second', 'first']")
    opened.run("end(second)")
    opened.wait_for("table.words == '2 runs: 1 uninitialized, 1 terminated.'")


def test_a_filter_is_obeyed_and_a_wrong_one_leaves_the_rows(opened: Kernel) -> None:
    """As by typing and by choosing; the field keeps what was typed, the rows what was good."""
    opened.run("table.ask(\"tprovStack='first'\")")
    assert opened.value("[run.stack for run in table.runs]") == ["first"]
    cell = opened.run("table.ask('nonsense')")
    assert (cell.status, cell.text) == ("ok", "")
    assert opened.value("[run.stack for run in table.runs]") == ["first"]
    assert opened.value("table.query") == "tprovStack='first'"
    assert "does not understand" in text_of(opened.value("table._widget._said.value"))
    opened.run("table.choose(requester='nobody')")
    assert opened.value("table.query") == "tprovStack='first' AND tprovRequester='nobody'"
    assert opened.value("table.words") == "No run."
    opened.run("table.choose(requester=''); table.ask(\"WorkflowType='ProvisionInfraWorkflow'\")")
    assert opened.value("len(table.runs)") == 2
    cell = opened.run("table.choose(colour='red')")
    assert "There is no list 'colour'. There are status, directory" in cell.text


def test_counts_are_asked_of_the_server(opened: Kernel) -> None:
    """In words and as a picture; a wrong filter is a sentence."""
    cell = opened.run("lab.count()")
    assert cell.outputs[0]["data"]["text/plain"] == "2 runs: 1 uninitialized, 1 terminated."
    assert 'alt="2 runs: 1 uninitialized, 1 terminated."' in html_of(cell)
    assert "does not understand this filter" in opened.run("lab.count('nonsense')").text
    cell = opened.run("lab.count(\"tprovStack='first'\")")
    assert cell.outputs[0]["data"]["text/plain"] == "1 run: 1 uninitialized."


def test_nothing_open_costs_one_small_count(opened: Kernel) -> None:
    """No list is asked for again while the totals stay as they are."""
    opened.run("end(first)")
    opened.wait_for("table.words == '2 runs: 2 terminated.'")
    opened.run("table.refresh(); asked.clear()")
    opened.run("for _ in range(3):\n    table.refresh()")
    assert opened.value("set(asked) == {'count'}")
    assert opened.value("len(asked)") >= 3


def test_a_server_that_is_away_is_said_and_the_rows_stay(opened: Kernel) -> None:
    """Until it is back; then the table goes on by itself."""
    opened.run("lab._call(lab._services.stop('temporal'))")
    opened.wait_for("'Out of touch with the Temporal server since' in table._widget._touch.value")
    assert opened.value("len(table.runs)") == 2
    cell = opened.run("table.ask(\"tprovStack='first'\")")
    assert cell.status == "ok", cell.text
    opened.run("lab._call(lab._services.start('temporal'))")
    opened.wait_for("table._widget._touch.value == '' and len(table.runs) == 1")
    assert opened.value("table.query") == "tprovStack='first'"


def test_pauses_grow_while_nothing_happens() -> None:
    """From half a second where something may change to a quarter of a minute."""
    assert [pause(quiet, is_open=True) for quiet in (0, 60, 3600)] == [0.5, 1.0, 5.0]
    assert [pause(quiet, is_open=False) for quiet in (0, 60, 3600)] == [1.0, 5.0, 15.0]


def test_a_second_table_does_not_stop_the_first(opened: Kernel) -> None:
    """Two cells, two tables; only a cell that is run again replaces its own."""
    opened.run("other = lab.table(\"tprovStack='first'\")")
    opened.run("other")
    assert opened.value("[table.is_followed, other.is_followed]") == [True, True]


def test_it_ends_with_the_lab(opened: Kernel) -> None:
    """Nothing is asked any more, and a filter that is typed then gets a sentence at the field."""
    opened.run("lab.close()")
    opened.wait_for("not table.is_followed and not other.is_followed")
    opened.run("table._widget.filter.value = \"tprovStack='other'\"")
    assert "This lab is closed." in text_of(opened.value("table._widget._said.value"))
    assert "This lab is closed." in opened.run("table.refresh()").text


def test_a_notebook_keeps_how_it_ended(tmp_path: Path) -> None:
    """Run headless: in the table's own cell, as a picture; no error, no widget state."""
    path = write_notebook(tmp_path / "story.ipynb", STORY)
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    env = environment(tmp_path / "home", TPROV_AUTOPILOT="1", TPROV_ROOT=str(ROOT))
    client = NotebookClient(notebook, timeout=90, kernel_name="python3", store_widget_state=False)
    client.execute(env={**env, "IPYTHONDIR": str(tmp_path / "ipython")})
    live, kept = notebook.cells[1].outputs
    assert live.data["text/html"] == ""
    assert kept.data["text/plain"] == "2 runs: 2 applied."
    said = text_of(kept.data["text/html"])
    assert "adm tcloud_admin_user ✓ applied soft-mandatory" in said
    assert "web tcloud_namespace ✓ applied allowed" in said
    kinds = {output.output_type for cell in notebook.cells for output in cell.outputs}
    assert kinds == {"display_data", "stream"}
    assert "widget-state" not in json.dumps(notebook)

"""The table of runs in a real kernel, over a real server: what shows by itself, what it costs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
    """A run that somebody else starts, and its end; the picture follows while a cell runs."""
    cell = opened.run(
        "import time\ntable\nsecond = others('second')\n"
        "until = time.monotonic() + 20\n"
        "while len(table.runs) < 2 and time.monotonic() < until:\n    time.sleep(0.02)\n"
        "print([run.stack for run in table.runs])"
    )
    assert cell.text == "['second', 'first']"
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
    opened.run("table._widget.filter.value = \"tprovStack='first'\"")
    assert "This lab is closed." in text_of(opened.value("table._widget._said.value"))
    assert "This lab is closed." in opened.run("table.refresh()").text

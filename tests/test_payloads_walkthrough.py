"""09 Payloads and 10 On Temporal Cloud as a presenter gives them: real JupyterLab, a mouse.

Pictures are kept in `artifacts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import NOT_RUN, chromium, find_chromium
from tests.conftest import Platform
from tests.terminator import Papers, Terminator, terminator
from tests.walkthrough import Running, card_in, cell, opened, status_of, tprov_lab, workspace

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason=NOT_RUN),
    pytest.mark.timeout(300),
]

PAYLOADS, CLOUD = "09_payloads", "10_on_temporal_cloud"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One `tprov lab`."""
    with tprov_lab(workspace(tmp_path_factory.mktemp("payloads"))) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with chromium() as made:
        yield made


def test_one_event_three_ways_and_a_key_that_is_rotated_while_a_run_waits(
    browser: Browser, running: Running
) -> None:
    """Another event is chosen while a cell runs; the run is approved by mouse under a new key."""
    with opened(browser, running.lab, PAYLOADS) as notebook:
        for number in range(cell(PAYLOADS, '"terraform_plan")')):
            notebook.run(number)
        first = cell(PAYLOADS, 'payload_view(run, "terraform_plan")')
        ways = notebook.run(first)
        live = ways.locator(".tprov-row")
        expect(live).to_contain_text("binary/encrypted")
        expect(live).to_contain_text("ada.lovelace")
        expect(ways.locator(".jp-OutputArea-child:visible")).to_have_count(1)  # no twin beside it
        notebook.picture("payloads-three-ways", ways)
        assert "0 times" in notebook.run(cell(PAYLOADS, "database.count")).inner_text()

        for number in range(cell(PAYLOADS, "without ="), cell(PAYLOADS, "lab.rotate_key") + 1):
            notebook.run(number)
        frame = notebook.output(cell(PAYLOADS, "run.web_ui")).frame_locator("iframe")
        expect(frame.locator("body")).to_contain_text("stack-sealed", timeout=30_000)
        waiting = cell(PAYLOADS, "run.wait()")
        notebook.start(waiting)
        notebook.running(waiting)
        choice = ways.locator("select")
        options = choice.locator("option").all_text_contents()
        started = next(text for text in options if "ExecutionStarted" in text)
        choice.select_option(label=started)  # while the cell waits
        expect(live).to_contain_text("tcloud_admin_user", timeout=10_000)
        card = card_in(notebook.output(cell(PAYLOADS, "lab.start(")))
        card.locator("input[type=text]").first.fill("she is new")
        card.get_by_role("button", name="Approve").click()
        notebook.done(waiting)
        keys = notebook.run(cell(PAYLOADS, "lab.keys()") + 3)
        expect(keys).to_contain_text("kept, to read")
        notebook.picture("payloads-keys", keys)
        for number in range(waiting + 2, len(notebook.cells.all())):
            notebook.run(number)
        assert "Traceback" not in notebook.panel.inner_text()
        notebook.picture("payloads-end")


def test_without_a_key_the_cloud_s_notebook_says_that_it_stays_here(
    browser: Browser, running: Running
) -> None:
    """Every cell runs, against the stand-in."""
    with opened(browser, running.lab, CLOUD) as notebook:
        said = notebook.run(0)
        expect(said).to_contain_text("are not set: these cells run on this machine")
        # The lab has set variables for `!temporal` by now; they are none of the reader's.
        expect(notebook.run(0)).to_contain_text("are not set: these cells run on this machine")
        connection = notebook.run(cell(CLOUD, "lab.connection"))
        expect(connection.get_by_text("not set:")).to_have_count(6)
        notebook.picture("cloud-connection", connection)
        for number in range(2, len(notebook.cells.all())):
            notebook.run(number)
        assert "Traceback" not in notebook.panel.inner_text()
        notebook.picture("cloud-end")


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    """Certificates of the test's own."""
    return Papers(tmp_path)


@pytest.fixture
def far(own: Platform, papers: Papers) -> Iterator[Terminator]:
    """A server that is not the lab's, and demands a client certificate."""
    stands = terminator(own.settings.address, server=papers.server, clients=papers.authority)
    there = own.runtime.call(stands.__aenter__())
    yield there
    own.runtime.call(stands.__aexit__(None, None, None))


def test_with_everything_set_the_cloud_s_notebook_goes_there(
    browser: Browser, own: Platform, papers: Papers, far: Terminator, tmp_path: Path
) -> None:
    """Variables in the terminal of `tprov lab`: the same cells, on that server, and tidied up."""
    there = own.settings.cloud
    environ = {
        "TEMPORAL_CLOUD_API_KEY": there.api_key,
        "TEMPORAL_HOST_URL": far.address,
        "TEMPORAL_MTLS_TLS_CERT": str(papers.client.cert),
        "TEMPORAL_MTLS_TLS_KEY": str(papers.client.key),
        "TEMPORAL_NAMESPACE": "default",
        "TEMPORAL_INFRA_PROVISION_TASK_QUEUE": "infra-provisioning",
        # The Cloud's own are known to every machine; these have to be told.
        "SSL_CERT_FILE": str(papers.authority.cert),
        "TEMPORAL_CLOUD_ENDPOINT": there.endpoint,
        "TEMPORAL_CLOUD_ALLOW_INSECURE": "true",
    }
    (tmp_path / "work").mkdir()
    with (
        tprov_lab(workspace(tmp_path / "work"), environ) as running,
        opened(browser, running.lab, CLOUD) as notebook,
    ):
        panel = notebook.run(0)
        expect(panel).to_contain_text(f"remote: {far.address}")
        expect(panel).not_to_contain_text("these cells run on this machine")
        notebook.picture("remote-panel", panel)
        connection = notebook.run(cell(CLOUD, "lab.connection"))
        expect(connection.get_by_text("not set:")).to_have_count(0)
        expect(connection).to_contain_text("TLS with a client certificate")
        notebook.picture("remote-connection", connection)
        check = notebook.run(cell(CLOUD, "lab.check"))
        expect(check).to_contain_text("Everybody answers")
        notebook.picture("remote-check", check)
        start = cell(CLOUD, "lab.start(")
        said = notebook.run(start)
        expect(said).to_contain_text(f"Starting cloud on {far.address}")
        notebook.run(cell(CLOUD, "run.wait()"))
        expect(status_of(card_in(said))).to_contain_text("applied")
        notebook.picture("remote-card", said)
        ways = notebook.run(cell(CLOUD, "lab.payload_view"))
        expect(ways.locator(".tprov-row")).to_contain_text("Decoded in this kernel")
        notebook.picture("remote-payload", ways)
        for number in range(start + 1, len(notebook.cells.all())):
            notebook.run(number)
        tidied = notebook.output(cell(CLOUD, "tidy_up"))
        expect(tidied).to_contain_text("cloud: destroyed.")
        notebook.picture("remote-tidied", tidied)
        notebook.picture("remote-end")
        assert notebook.errors() == []
        assert "Traceback" not in notebook.panel.inner_text()

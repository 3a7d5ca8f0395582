"""The Temporal Web UI in a real browser: decoded through the codec server, or not at all.

The run's first event carries the configuration's directory in an encrypted payload. Which codec
server is asked is chosen as a person does: in the Web UI's own dialog.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from temporalio.client import WorkflowHandle

from tests.browser import ARTIFACTS, NOT_RUN, chromium, find_chromium
from tests.cli.typed import Terminal, until_said
from tests.conftest import ROOT, Platform
from tprov_kernel import runs

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason=NOT_RUN),
    pytest.mark.timeout(300),
]

DECODED = '"directory": "terraform/tcloud_namespace"'
STORED = re.compile('"[A-Za-z0-9+/]{200}')
"""What is stored, as base64."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def address(platform: Platform) -> Iterator[str]:
    """The page of a run that nobody works on."""

    async def begun() -> WorkflowHandle[Any, Any]:
        return await runs.start_run(
            await platform.client(),
            stack="web-ui",
            directory=ROOT / "terraform/tcloud_namespace",
            shown_as="terraform/tcloud_namespace",
            key_ring=platform.keys,
            task_queue="nobody-polls-this",
        )

    handle = platform.runtime.call(begun())
    page = f"/namespaces/default/workflows/{handle.id}/{handle.result_run_id}/history"
    yield f"{platform.settings.ui_url}{page}"
    platform.runtime.call(handle.terminate())


@dataclass
class Codec:
    """A `tprov codec-server`, and the statuses it refused with."""

    port: int
    log: Path

    @property
    def refused(self) -> set[str]:
        """From its log."""
        return set(re.findall(r"refused with (\d+)", self.log.read_text()))


@contextmanager
def codec_server(platform: Platform, folder: Path, *words: str) -> Iterator[Codec]:
    """The command, with the keys of the services, on a port of its own."""
    home = folder / "home"
    home.mkdir(parents=True)
    (home / "keys.json").write_bytes(platform.settings.key_ring.read_bytes())
    (home / "keys.json").chmod(0o600)
    log = folder / "said"
    words = ("codec-server", "--port", "0", *words)
    with Terminal(home).runs(*words, log=log) as process:
        said = until_said(log, "listens on", process=process, limit=30)
        port = int(re.findall(r"listens on http://127\.0\.0\.1:(\d+)", said)[0])
        yield Codec(port, home / "logs" / "codec.log")


def choose(page: Page, endpoint: str) -> None:
    """The Web UI's dialog: my browser's setting, this endpoint, Apply."""
    page.locator("[data-testid^=data-encoder-status]:visible").click()
    page.locator("#use-local-endpoint-radio").check(force=True)
    page.locator("input[placeholder*='endpoint' i], #data-encoder-endpoint-input").last.fill(
        endpoint
    )
    page.get_by_role("button", name="Apply").click()


def test_the_web_ui_shows_payloads_decoded_from_the_start(
    browser: Browser, platform: Platform, address: str
) -> None:
    """Nothing has to be set: the dev server was told where the codec server is."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(address)
    ARTIFACTS.mkdir(exist_ok=True)
    expect(page.locator("body")).to_contain_text(DECODED, timeout=60_000)
    expect(page.locator("[data-testid=data-encoder-status-success]:visible")).to_be_visible()
    page.screenshot(path=ARTIFACTS / "web-ui-decoded.png")
    page.close()


def test_the_web_ui_shows_nothing_of_it_where_the_codec_server_refuses(
    browser: Browser, platform: Platform, address: str, tmp_path: Path
) -> None:
    """The same key, the same run, the same dialog: one thing is wrong, and it stays encrypted."""
    (tmp_path / "token").write_text("s3cr3t-codec-token")
    ours = ("--web", platform.settings.ui_url)
    with (
        codec_server(platform, tmp_path / "right", *ours) as right,
        codec_server(platform, tmp_path / "other", "--web", "http://127.0.0.1:1") as other,
        codec_server(
            platform, tmp_path / "asks", *ours, "--token-file", f"{tmp_path}/token"
        ) as asks,
    ):
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(address)
        looks(page, f"http://127.0.0.1:{right.port}", decoded=True)
        looks(page, f"http://127.0.0.1:{other.port}", decoded=False, name="origin")
        assert other.refused == {"403"}
        looks(page, f"http://127.0.0.1:{asks.port}", decoded=False, name="token")
        assert asks.refused == {"401"}
        looks(page, f"http://127.0.0.1:{right.port}", decoded=True)
        assert right.refused == set()
        # Chromium resolves what ends in .localhost to loopback, as an attacker's name would be.
        looks(page, f"http://pages.localhost:{right.port}", decoded=False, name="host")
        assert right.refused == {"403"}
        page.close()


def looks(page: Page, codec: str, *, decoded: bool, name: str = "") -> None:
    """Choose this codec server, load the page anew, and look whether the payload can be read."""
    choose(page, f"{codec}/default")
    page.reload()
    body = page.locator("body")
    if decoded:
        expect(body).to_contain_text(DECODED, timeout=60_000)
        return
    expect(body).to_contain_text("Codec Server could not connect", timeout=60_000)
    expect(body).to_contain_text(STORED)
    page.screenshot(path=ARTIFACTS / f"web-ui-wrong-{name}.png")
    assert DECODED not in page.content()

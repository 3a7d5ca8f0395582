"""Real JupyterLab in a real Chromium, driven by mouse and keyboard, for tests that look.

Everything private to the test: configuration, settings, workspace, IPython directory, profile.
Nothing is downloaded: the browser is the system's. Where there is none, tests are skipped with
`NOT_RUN`, which is not a pass.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tprov_kernel.process import Child, Ending, Guard

NOT_RUN = "not run: no Chromium"
ROOT = Path(__file__).parent.parent
ARTIFACTS = ROOT / "artifacts"
"""Where pictures go, for people to look at; not part of the repository."""

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SETTINGS: Mapping[str, Mapping[str, object]] = {
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
}


def find_chromium() -> str | None:
    """The system's Chromium, or what `TPROV_CHROMIUM` names; None where there is none."""
    if named := os.environ.get("TPROV_CHROMIUM"):
        return named
    found = (shutil.which(n) for n in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


@dataclass(frozen=True)
class Lab:
    """A JupyterLab server that runs."""

    url: str
    token: str
    folder: Path


@contextmanager
def jupyter_lab(
    folder: Path, *, private: Path, environ: Mapping[str, str] | None = None, seconds: float = 60
) -> Iterator[Lab]:
    """Run JupyterLab on a folder until the block ends.

    Args:
        folder: What is opened.
        private: An empty directory for configuration, settings and logs.
        environ: Added to the environment of the server, and so of its kernels.
        seconds: How long the server may take to answer.
    """
    runtime = private / "runtime"
    for name, values in _SETTINGS.items():
        file = private / "settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    places = {
        "JUPYTER_CONFIG_DIR": private / "config",
        "JUPYTER_DATA_DIR": private / "data",
        "JUPYTER_RUNTIME_DIR": runtime,
        "JUPYTERLAB_SETTINGS_DIR": private / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": private / "workspaces",
        "IPYTHONDIR": private / "ipython",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", f"--ServerApp.root_dir={folder}"]
    settings = {name: str(path) for name, path in places.items()}
    guard = Guard()  # it ends the server, which ends its kernels, also when we are killed
    try:
        with (private / "jupyterlab.log").open("wb") as log:
            server = guard.spawn(
                command,
                cwd=folder,
                env={**os.environ, **settings, **(environ or {})},
                stdout=log,
                stderr=log,
                ending=Ending(terminate=15),
            )
        yield _started(server, runtime, folder, time.monotonic() + seconds)
    finally:
        guard.close(timeout=20)


def _started(server: Child, runtime: Path, folder: Path, limit: float) -> Lab:
    """Wait for the file in which the server tells its address."""
    while time.monotonic() < limit and server.returncode is None:
        for file in runtime.glob("jpserver-*.json"):
            with suppress(ValueError):  # it is being written
                told = json.loads(file.read_text())
                return Lab(url=told["url"], token=told["token"], folder=folder)
        time.sleep(0.05)
    raise AssertionError(f"JupyterLab did not start; see {runtime.parent / 'jupyterlab.log'}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium with a fresh profile."""
    path = find_chromium()
    assert path is not None, NOT_RUN
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def write_notebook(path: Path, cells: Sequence[str]) -> Path:
    """Write a notebook of code cells that asks for this environment's own kernel."""
    base: dict[str, object] = {"cell_type": "code", "metadata": {}, "outputs": []}
    made = [
        {**base, "id": f"cell-{number}", "execution_count": None, "source": code}
        for number, code in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    whole = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": made}
    path.write_text(json.dumps(whole))
    return path


class Notebook:
    """A notebook that is open in JupyterLab, and what a person does with it.

    Every wait has a limit, in seconds; Playwright raises when it is over.
    """

    def __init__(self, page: Page, lab: Lab, path: str) -> None:
        self.page, self.lab, self.path = page, lab, path
        self.panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        self.cells = self.panel.locator(".jp-Notebook .jp-CodeCell")

    def open(self, *, seconds: float = 60) -> None:
        """Open it in a fresh workspace, and wait until its kernel is there."""
        self.page.goto(f"{self.lab.url}lab/tree/{self.path}?reset&token={self.lab.token}")
        expect(self.cells.first).to_be_visible(timeout=seconds * 1000)
        self.wait_for_kernel(seconds=seconds)

    def wait_for_kernel(self, *, seconds: float = 60) -> None:
        """Wait until the kernel says that it is idle."""
        limit = seconds * 1000
        expect(self.panel.locator(".jp-Spinner")).to_have_count(0, timeout=limit)
        expect(self.page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=limit)

    def menu(self, *labels: str) -> None:
        """Choose from the menu bar with the mouse: ``menu('Run', 'Run All Cells')``."""
        self.page.locator(".lm-MenuBar-itemLabel", has_text=labels[0]).first.click()
        for label in labels[1:]:
            item = self.page.locator(".lm-Menu-itemLabel").get_by_text(label, exact=True).last
            item.click()

    def run_all(self) -> None:
        """Run > Run All Cells; does not wait."""
        self.menu("Run", "Run All Cells")

    def start(self, number: int) -> None:
        """Run one code cell with Shift+Enter; does not wait."""
        editor = self.cells.nth(number).locator(".cm-content")
        prompt = self.cells.nth(number).locator(".jp-InputArea-prompt")
        for _ in range(6):
            editor.click()
            editor.press("Shift+Enter")
            # A frame that loads (the Web UI) may take the keyboard in between: then once more.
            with suppress(AssertionError):
                expect(prompt).not_to_have_text("[ ]:", timeout=5000)
                return

    def done(self, number: int, *, seconds: float = 60) -> None:
        """Wait until a code cell was run and is over."""
        prompt = self.cells.nth(number).locator(".jp-InputArea-prompt")
        expect(prompt).to_have_text(re.compile(r"\[\d+\]"), timeout=seconds * 1000)

    def running(self, number: int, *, seconds: float = 30) -> None:
        """Wait until a code cell runs."""
        prompt = self.cells.nth(number).locator(".jp-InputArea-prompt")
        expect(prompt).to_have_text("[*]:", timeout=seconds * 1000)

    def run(self, number: int, *, seconds: float = 60) -> Locator:
        """Run one code cell, wait until it is over, and give its output."""
        self.start(number)
        self.done(number, seconds=seconds)
        return self.output(number)

    def output(self, number: int) -> Locator:
        """The output area of a code cell."""
        return self.cells.nth(number).locator(".jp-Cell-outputArea")

    def errors(self) -> list[str]:
        """The text of every error that stands in an output."""
        marked = self.panel.locator('[data-mime-type="application/vnd.jupyter.stderr"]')
        return marked.all_inner_texts()

    def restart_kernel(self, *, seconds: float = 60) -> None:
        """Kernel > Restart Kernel…, and agree."""
        self.menu("Kernel", "Restart Kernel…")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        expect(self.page.locator(".jp-Dialog")).to_have_count(0, timeout=seconds * 1000)
        self.wait_for_kernel(seconds=seconds)

    def interrupt(self) -> None:
        """Kernel > Interrupt Kernel."""
        self.menu("Kernel", "Interrupt Kernel")

    def type(self, number: int, code: str) -> None:
        """Replace the code of a cell by typing."""
        editor = self.cells.nth(number).locator(".cm-content")
        editor.click()
        expect(editor).to_be_focused()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(code)

    def save(self) -> None:
        """File > Save Notebook, and wait until it is on the disk."""
        self.menu("File", "Save Notebook")
        dirty = self.page.locator(".lm-DockPanel-tabBar .lm-mod-current.jp-mod-dirty")
        expect(dirty).to_have_count(0, timeout=15_000)

    def theme(self, *, dark: bool) -> None:
        """Settings > Theme, light or dark, without a new page."""
        self.menu("Settings", "Theme", "JupyterLab Dark" if dark else "JupyterLab Light")
        body = self.page.locator(f'body[data-jp-theme-light="{"false" if dark else "true"}"]')
        expect(body).to_be_attached(timeout=15_000)
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0, timeout=15_000)

    def picture(self, name: str, place: Locator | None = None) -> Path:
        """Keep a picture of the page, or of one place on it, in `ARTIFACTS`."""
        ARTIFACTS.mkdir(exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        (place or self.page).screenshot(path=path)
        return path


CONTRAST = """(root) => {
  const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const d = context.getImageData(0, 0, 1, 1).data;
    return [d[0], d[1], d[2], d[3] / 255];
  };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
  const ground = (node) => {
    const layers = [];
    for (let n = node; n; n = n.parentElement)
      layers.push(rgba(getComputedStyle(n).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const light = (c) => {
    const f = c.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2];
  };
  const low = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let text; (text = walker.nextNode());) {
    const node = text.parentElement, words = text.textContent.trim();
    const box = node.getBoundingClientRect();
    if (!words || !box.width || ['STYLE', 'TITLE'].includes(node.tagName.toUpperCase())) continue;
    if (node.closest('[disabled]') || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const below = ground(node.closest('svg') ? node.closest('svg').parentElement : node);
    const ink = over(rgba(node.closest('svg') ? style.fill : style.color), below);
    const [a, b] = [light(ink), light(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)}: ${words.slice(0, 60)}`);
  }
  return low;
}"""


def faint_words(place: Locator) -> list[str]:
    """Texts whose contrast with what is behind them is below 4.5 : 1 (WCAG 2, AA)."""
    found: list[str] = place.evaluate(CONTRAST)
    return found

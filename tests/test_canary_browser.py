"""The canary test, in a browser: what the page holds, keeps, and was sent is looked through.

The beats of a scenario as cells in real JupyterLab; a decision by mouse; the Web UI beside it. Then
leaks are planted in each of these places, and found: the test can fail.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, WebSocket, expect
from playwright.sync_api import Error as PlaywrightError

from tests.browser import (
    NOT_RUN,
    ROOT,
    Notebook,
    chromium,
    find_chromium,
    jupyter_lab,
    write_notebook,
)
from tests.kernels import environment
from tests.leaks import canary, found_in
from tests.test_canary import CELLS, HAPPY
from tests.walkthrough import card_in, status_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason=NOT_RUN),
    pytest.mark.timeout(300),
]

HELD = """() => {
  const held = {html: document.documentElement.outerHTML};
  held.typed = [...document.querySelectorAll('input,textarea,select')].map(e => e.value);
  held.local = {...localStorage};
  held.session = {...sessionStorage};
  return JSON.stringify(held);
}"""
"""What a page has of its own: its tree, what stands in its fields, what it keeps."""

PLANTS = {
    "page": "() => document.body.append(SECRET)",
    # As people type: it is no part of the tree.
    "field": """() => {
      const field = document.createElement('input');
      field.value = SECRET;
      document.body.append(field);
    }""",
    "localStorage": "() => localStorage.setItem('later', btoa(SECRET))",
    "sessionStorage": "() => sessionStorage.setItem('later', SECRET)",
    "IndexedDB": """() => new Promise((done, failed) => {
      const asked = indexedDB.open('planted', 1);
      asked.onupgradeneeded = () => asked.result.createObjectStore('s').put({SECRET}, 'k');
      asked.onsuccess = () => done(asked.result.close());
      asked.onerror = failed;
    })""",
    "cookie": "() => document.cookie = `later=${encodeURIComponent(SECRET)}`",
}
"""Where a leak could be in a browser, and a script that makes one of SECRET."""


@dataclass
class Watched:
    """A window of a browser, with everything that came to it.

    Attributes:
        sent: What came over a web socket (outputs and widget state) or as an answer of an API.
    """

    context: BrowserContext
    sent: list[bytes] = field(default_factory=list)
    _answers: list[Response] = field(default_factory=list)

    def page(self) -> Page:
        """A page whose messages are noted."""
        page = self.context.new_page()
        page.set_viewport_size({"width": 1280, "height": 900})
        page.on("websocket", self._hear)
        page.on("response", self._keep)
        return page

    def _hear(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._note)
        socket.on("framesent", self._note)

    def _keep(self, answer: Response) -> None:
        self._answers.append(answer)

    def _note(self, message: str | bytes) -> None:
        self.sent.append(message.encode() if isinstance(message, str) else message)

    def shown(self, canaries: dict[str, str]) -> dict[str, set[str]]:
        """Where canaries are: the place to their names."""
        places: dict[str, bytes] = {}
        for number, page in enumerate(self.context.pages):
            for frame in page.frames:
                places[f"page {number} {frame.name}"] = str(frame.evaluate(HELD)).encode()
        kept = self.context.storage_state(indexed_db=True)
        places["kept"] = json.dumps(kept).encode()
        places["sockets"] = b"\n".join(self.sent)
        for answer in self._answers:
            # A script, a style or a font is not ours; what was left with its page has no body.
            if answer.request.resource_type in ("fetch", "xhr", "document"):
                place = f"answer {answer.url.split('?')[0]}"
                with suppress(PlaywrightError):
                    places[place] = places.get(place, b"") + b"\n" + answer.body()
        found = {where: found_in(data, canaries) for where, data in places.items()}
        return {where: names for where, names in found.items() if names}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with chromium() as made:
        yield made


def test_a_browser_holds_no_secret(browser: Browser, tmp_path: Path) -> None:
    """Every look that a notebook offers, the Web UI, and what the browser keeps of them."""
    names = ("by_env", "by_file", "in_tfvars", "once", "plain", "reason")
    canaries = {name: canary(name, odd=name == "plain") for name in names}
    folder, home, module = tmp_path / "folder", tmp_path / "home", tmp_path / "module"
    for made in (folder, module, tmp_path / "private"):
        made.mkdir()
    (tmp_path / "secret").write_text(canaries["by_file"])
    (module / "main.tf").write_text(HAPPY)
    (module / "terraform.tfvars").write_text(f'in_tfvars = "{canaries["in_tfvars"]}"\n')
    told = CELLS.replace("CONFIG", repr(str(module))).replace("FILE", str(tmp_path / "secret"))
    cells = [text.strip() for text in told.split("---")]
    write_notebook(folder / "canary.ipynb", cells)
    env = environment(home, TPROV_ROOT=str(ROOT))
    del env["TPROV_AUTOPILOT"]  # somebody is there
    env |= {f"CANARY_{name.upper()}": canaries[name] for name in ("by_env", "once", "plain")}
    later = {name: canary(name) for name in ("hidden", "taken_back")}
    env |= {name.upper(): secret for name, secret in later.items()}
    context = browser.new_context()
    window = Watched(context)
    with jupyter_lab(folder, private=tmp_path / "private", environ=env) as lab:
        notebook = Notebook(window.page(), lab, "canary.ipynb")
        notebook.open()
        notebook.run(0)
        card = card_in(notebook.run(1))
        card.get_by_label("Reason").fill(canaries["reason"], timeout=60_000)
        card.get_by_role("button", name="Approve").click()
        expect(status_of(card)).to_contain_text("applied", timeout=60_000)
        for tab in ("Plan", "Policy", "Timeline", "Payloads"):
            card.locator(".lm-TabBar-tab", has_text=tab).click()
        for number in range(2, len(cells)):
            notebook.run(number)
        notebook.picture("canary-browser")
        assert "Decoded by the codec server" in notebook.page.content()
        notebook.save()

        [private] = home.glob("private/*")
        ring = json.loads((private / "keys.json").read_text())
        state = json.loads(next(private.glob("stacks/**/terraform.tfstate")).read_text())
        canaries |= {
            "api key": (private / "standin.key").read_text().strip(),
            "token": state["outputs"]["token"]["value"],
            "encryption key": ring["keys"][ring["active"]]["key"],
            "mac key": ring["mac_key"],
        }
        services = json.loads((private / "services.json").read_text())
        ui = window.page()
        ui.goto(f"{services['ui_url']}/namespaces/default/workflows/stack-seen")
        expect(ui.locator("body")).to_contain_text('"directory": ', timeout=60_000)
        ui.get_by_text("Queries").first.click()
        expect(ui.locator("body")).to_contain_text("Query Type", timeout=60_000)

        found = window.shown(canaries)
        # A reason is there to be read, where the key is.
        assert {w: names - {"reason"} for w, names in found.items() if names - {"reason"}} == {}
        assert "reason" in found["page 0 "], "the card shows it: so this looks where people look"
        assert "reason" in found["sockets"]

        # The test can fail: a secret of each kind is put into a place of each kind, and found.
        kinds = ("api key", "by_env", "token", "encryption key", "plain", "mac key")
        planted = {
            f"{kind} in {place}": canary(place, odd=place == "page")
            for kind, place in zip(kinds, PLANTS, strict=True)
        }
        for secret, script in zip(planted.values(), PLANTS.values(), strict=True):
            notebook.page.evaluate(f"SECRET => ({script})()", secret)
        # In the state of a widget that nobody shows, and in an output that is taken back.
        notebook.type(0, "import ipywidgets, os\nw = ipywidgets.Text(os.environ['HIDDEN'])")
        notebook.run(0)
        clear = "from IPython.display import clear_output\n{}\nclear_output()"
        notebook.type(0, clear.format("print(os.environ['TAKEN_BACK'])"))
        notebook.run(0)
        everything = planted | later
        leaks = window.shown(everything)
        assert set().union(*leaks.values()) == everything.keys(), leaks
    context.close()

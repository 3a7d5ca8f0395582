"""The canary test: secrets wherever a person could put one, and then every byte is looked through.

Each canary has a list of places where it may be: a key in its own file, Terraform's state (which
is where Terraform keeps values: mode 0600), a decision's reason on the card and in the audit.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient
from temporalio.client import Client

from tests.cli.typed import Said, Terminal, until_said
from tests.conftest import ROOT, Platform
from tests.kernels import environment
from tests.leaks import Processes, canary, files_with, found_in
from tests.test_workflow import asks, until
from tprov_kernel import runs
from tprov_kernel.observe import RunView

pytestmark = pytest.mark.timeout(240)

QUEUE = "canaries"

VARIABLES = """
variable "by_env" { sensitive = true }
variable "by_file" { sensitive = true }
variable "plain" { sensitive = true }
variable "in_tfvars" { sensitive = true }
variable "once" {
  type      = string
  ephemeral = true
}
variable "name_suffix" { default = "" }
"""

HAPPY = (
    VARIABLES
    + """
terraform {
  required_providers {
    temporalcloud = { source = "temporalio/temporalcloud" }
  }
}
provider "temporalcloud" {}

resource "temporalcloud_service_account" "robot" {
  name           = "robot-${var.name_suffix}"
  account_access = "admin"
}
resource "temporalcloud_apikey" "key" {
  display_name = "robot-${var.name_suffix}"
  owner_type   = "service-account"
  owner_id     = temporalcloud_service_account.robot.id
  expiry_time  = timeadd(plantimestamp(), "240h")
}
resource "terraform_data" "first" {
  input = "${var.by_env} ${var.by_file} ${var.plain} ${var.in_tfvars}"
}
# The mark does not survive a provider: this output is in the clear and unmarked for Terraform.
resource "terraform_data" "echo" {
  input = { (base64encode("user:${var.plain}")) = terraform_data.first.output }
}
output "echo" { value = terraform_data.first.output }
output "token" {
  value     = temporalcloud_apikey.key.token
  sensitive = true
}
output "url" {
  value = "https://user:${urlencode(nonsensitive(var.in_tfvars))}@example.test"
}
"""
)

BROKEN_PLAN = VARIABLES.replace(
    'variable "plain" { sensitive = true }',
    """variable "plain" {
  sensitive = true
  validation {
    condition     = length(var.plain) > 1000
    error_message = "It is too short."
  }
}""",
)

BROKEN_APPLY = (
    VARIABLES
    + """
resource "terraform_data" "broken" {
  input = var.by_file
  provisioner "local-exec" {
    command = "echo ${var.by_env} ${var.in_tfvars}; exit 3"
  }
}
"""
)

SLOW = (
    VARIABLES
    + """
resource "terraform_data" "slow" {
  input = var.plain
  provisioner "local-exec" { command = "sleep 4" }
}
"""
)


@dataclass
class Scene:
    """The stage: services, canaries, and everything that anybody was shown."""

    own: Platform
    folder: Path
    canaries: dict[str, str]
    said: dict[str, str]

    @property
    def terminal(self) -> Terminal:
        """A terminal beside the services."""
        return Terminal(self.own.settings.home)

    def type(self, *words: str) -> Said:
        """Type a tprov command, and note what it says."""
        said = self.terminal.type(*words)
        self.said[" ".join(words)[:60]] = said.out + said.err
        return said

    def temporal(self, *words: str) -> str:
        """Type a temporal command, and note what it says."""
        done = subprocess.run(
            [*self.own.toolchain.temporal.argv, *words, "--address", self.own.settings.address],
            env={"PATH": os.environ["PATH"], "HOME": str(self.own.settings.home)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        self.said[f"temporal {' '.join(words)}"[:90]] = done.stdout + done.stderr
        return done.stdout

    def configuration(self, name: str, main: str) -> Path:
        """A root module, with a tfvars file of its reader's own."""
        directory = self.folder / name
        directory.mkdir(exist_ok=True)
        (directory / "main.tf").write_text(main)
        secret = json.dumps(self.canaries["in_tfvars"])
        (directory / "terraform.tfvars").write_text(f"in_tfvars = {secret}\n")
        return directory

    def start(self, stack: str, main: str) -> Said:
        """Start a run with a secret of each kind."""
        given = {
            "by_env": "env:CANARY_BY_ENV",
            "by_file": f"file:{self.folder / 'secret'}",
            "plain": self.canaries["plain"],
            "once": "env:CANARY_ONCE",
        }
        variables = [word for n, v in given.items() for word in ("--var", f"{n}={v}")]
        directory = str(self.configuration(stack, main))
        queue = ("--task-queue", QUEUE)
        return self.type("start", stack, "--config", directory, *queue, *variables)


@pytest.fixture
def scene(own: Platform, tmp_path: Path) -> Scene:
    """Services of its own, and canaries."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    names = ("by_env", "by_file", "in_tfvars", "once", "reason")
    canaries = {name: canary(name) for name in names} | {"plain": canary("plain", odd=True)}
    (folder / "secret").write_text(canaries["by_file"] + "\n")
    ring = json.loads(own.settings.key_ring.read_text())
    canaries |= {
        "api key": own.settings.cloud.api_key,
        "encryption key": ring["keys"][ring["active"]]["key"],
        "mac key": ring["mac_key"],
    }
    return Scene(own, folder, canaries, {})


@contextmanager
def worker(scene: Scene, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as a person starts it, with what references name in its environment."""
    env = {"CANARY_BY_ENV": scene.canaries["by_env"], "CANARY_ONCE": scene.canaries["once"]}
    words = ("worker", "--task-queue", QUEUE)
    with scene.terminal.runs(*words, log=log, env=env) as process:
        until_said(log, "Polling", process=process, limit=30)
        yield process


async def test_no_secret_rests_or_shows_where_it_does_not_belong(scene: Scene) -> None:
    """Happy, failed in the plan, failed in the apply, killed and recovered, and one that waits."""
    own, folder = scene.own, scene.folder
    client = await own.client()
    logs = [folder / "worker-1.log", folder / "worker-2.log"]
    processes = Processes(scene.canaries)
    with ExitStack() as stack:
        first = stack.enter_context(worker(scene, logs[0]))
        stack.enter_context(processes.watched(first.pid))

        said = await asyncio.to_thread(scene.start, "happy", HAPPY)
        assert said.code == 0, said.err
        assert "plain is sensitive, and given on a command line" in said.err
        handle = await runs.run_of(client, "happy")
        view = await until(client, handle, asks)
        assert asks(view), view.failure
        await runs.decide(handle, "deny", reason="")
        await handle.result()
        # Again, approved this time.
        await asyncio.to_thread(scene.start, "happy", HAPPY)
        handle = await runs.run_of(client, "happy")
        await until(client, handle, asks)
        await runs.decide(handle, "approve", reason=scene.canaries["reason"])
        await handle.result()

        for name, main in (("broken-plan", BROKEN_PLAN), ("broken-apply", BROKEN_APPLY)):
            assert (await asyncio.to_thread(scene.start, name, main)).code == 0
            handle = await runs.run_of(client, name)
            view = await _approved(client, handle, lambda v: v.closed or _has_failed(v))
            assert view.failure or _has_failed(view), (name, view.status)

        assert (await asyncio.to_thread(scene.start, "slow", SLOW)).code == 0
        slow = await runs.run_of(client, "slow")
        await _approved(client, slow, lambda v: "creating" in v.step("apply").doing)
        os.kill(first.pid, signal.SIGKILL)
    with ExitStack() as stack:
        second = stack.enter_context(worker(scene, logs[1]))
        stack.enter_context(processes.watched(second.pid))
        await _ended(client, slow)
        assert (await asyncio.to_thread(scene.start, "waits", HAPPY)).code == 0
        await until(client, await runs.run_of(client, "waits"), asks)

        state = json.loads(next(own.settings.stacks.glob("happy/**/terraform.tfstate")).read_text())
        scene.canaries["token"] = state["outputs"]["token"]["value"]
        await asyncio.to_thread(_look_at_everything, scene)

    for process in psutil.Process().children(recursive=True):  # the services
        processes.look_at(process)
    assert {"terraform", "opa", "temporal"} <= processes.names, processes.names
    assert any("payloads.server" in name for name in processes.names), processes.names
    assert _unneeded(processes.seen) == {}
    assert _at_rest(scene) == {}
    assert _shown(scene.said, scene.canaries) == {}
    assert files_with(folder, scene.canaries, but=_READERS_OWN) == {}
    _the_state_is_private(own.settings.stacks)


PLACES: dict[str, set[str]] = {
    "temporal.db": set(),
    "temporal.db-wal": set(),
    "standin.db": set(),
    "standin.key": {"api key"},
    "keys.json": {"encryption key", "mac key"},
    "services.json": set(),
    "logs/worker.log": set(),
    "logs/codec.log": set(),
    "audits/happy.json": {"reason"},
    "stacks/happy/journal.jsonl": set(),
    "stacks/happy/config/terraform.tfvars": set(),
    "stacks/happy/config/terraform.tfstate": {"by_env", "by_file", "plain", "in_tfvars", "token"},
    "stacks/happy/config/errored.tfstate": set(),
    "stacks/happy/config/tfplan": set(),
    "../elsewhere/happy.stored": set(),
    "../elsewhere/worker-1.log": set(),
    "../elsewhere/secret": {"by_file"},
}
"""Where something rests, and what may."""


@pytest.mark.parametrize("place", PLACES)
def test_each_kind_of_secret_is_missed_in_no_place_where_it_may_not_be(
    tmp_path: Path, place: str
) -> None:
    """A leak of every kind at once, planted there: it is found but for what may be there."""
    kinds = ("api key", "by_env", "by_file", "plain", "in_tfvars", "once", "token")
    canaries = {
        kind: canary(kind.split()[0], odd=kind == "plain")
        for kind in (*kinds, "encryption key", "mac key", "reason")
    }
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = home / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([*canaries.values()]))
    found = files_with(home, canaries, but=_OURS) | files_with(
        elsewhere, canaries, but=_READERS_OWN
    )
    assert [*found.values()] == [canaries.keys() - PLACES[place]]


@pytest.mark.parametrize("kind", ["api key", "by_env", "token", "mac key", "once"])
def test_what_a_command_says_and_a_process_is_given_is_found(kind: str) -> None:
    """In what was said, where a reason may be; in what a program got that needs none of it."""
    canaries = {kind: canary(kind), "reason": canary("why")}
    said = {"status": f"so it is: {canaries[kind]}, {canaries['reason']}"}
    assert _shown(said, canaries) == {"status": {kind}}
    assert _unneeded({"environment of opa": {kind}}) == {"environment of opa": {kind}}
    assert _unneeded({"arguments of terraform": {kind}}) == {"arguments of terraform": {kind}}


async def _ended(client: Client, handle: runs.RunHandle) -> None:
    """To its end; whatever a recovery asks is approved."""
    while not (view := await until(client, handle, lambda v: v.closed or asks(v))).closed:
        assert view.review is not None
        await runs.decide(handle, "approve", reason="go on", review=view.review.digest)
        former = view.review.digest
        await until(client, handle, lambda v: not asks(v) or _review_of(v) != former)  # noqa: B023


def _review_of(view: RunView) -> str:
    return view.review.digest if view.review else ""


async def _approved(
    client: Client, handle: runs.RunHandle, is_it: Callable[[RunView], bool]
) -> RunView:
    """Approve what waits, and follow the run until it looks as wanted."""
    view = await until(client, handle, lambda v: v.closed or asks(v))
    if view.closed:
        return view
    await runs.decide(handle, "approve", reason="a canary may fly")
    return await until(client, handle, is_it)


def _has_failed(view: RunView) -> bool:
    return bool(view.step("apply").failure)


CELLS = """
from tprov_kernel import open_lab
lab = open_lab("canary")
---
run = lab.start("seen", config=CONFIG, by_env="env:CANARY_BY_ENV", by_file="file:FILE",
                plain="env:CANARY_PLAIN", once="env:CANARY_ONCE")
run.card()
---
run.wait("applied", timeout=90)
---
run.plan(); run.policy(); run.payloads(9); run.events()
---
run.timeline(); run.decisions(); lab.cloud(); lab.keys(); lab.connection()
---
lab.payload_view(run, "terraform_plan")
---
print(run.outputs, run.view, lab.settings, lab.key_ring)
---
!temporal workflow show --workflow-id stack-seen --output json
!temporal workflow query --workflow-id stack-seen --type get_plan
"""


def test_a_notebook_keeps_no_secret(tmp_path: Path) -> None:
    """Its outputs, widget state included, and the data of its own services."""
    names = ("by_env", "by_file", "in_tfvars", "once", "plain")
    canaries = {name: canary(name, odd=name == "plain") for name in names}
    (tmp_path / "secret").write_text(canaries["by_file"])
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.tf").write_text(HAPPY)
    (module / "terraform.tfvars").write_text(f'in_tfvars = "{canaries["in_tfvars"]}"\n')
    told = CELLS.replace("CONFIG", repr(str(module))).replace("FILE", str(tmp_path / "secret"))
    cells = [{"cell_type": "code", "source": text.strip()} for text in told.split("---")]
    notebook = nbformat.from_dict(  # type: ignore[no-untyped-call]
        {
            "nbformat": 4,
            "nbformat_minor": 4,
            "metadata": {},
            "cells": [
                {**cell, "metadata": {}, "outputs": [], "execution_count": None} for cell in cells
            ],
        }
    )
    home = tmp_path / "home"
    env = environment(home, CI="1", TPROV_ROOT=str(ROOT), TPROV_AUTOPILOT="1")
    env |= {f"CANARY_{name.upper()}": canaries[name] for name in ("by_env", "once", "plain")}
    runner = NotebookClient(notebook, timeout=120, kernel_name="python3", store_widget_state=True)
    runner.execute(env=env)
    said = json.dumps(notebook)
    assert "stack-seen: applied after" in said
    assert "application/vnd.jupyter.widget-view+json" in said
    assert "Decoded by the codec server" in said

    canaries["api key"] = next(home.glob("private/*/standin.key")).read_text().strip()
    state = json.loads(next(home.glob("private/*/stacks/**/terraform.tfstate")).read_text())
    canaries["token"] = state["outputs"]["token"]["value"]
    assert found_in(said.encode(), canaries) == set()
    private = {f"private/[^/]+/{where}": names for where, names in _OURS.items()}
    assert files_with(home, canaries, but=private) == {}


def _look_at_everything(scene: Scene) -> None:
    """Everything that a person can have shown: what it says is noted."""
    codec = ("--codec-endpoint", scene.own.settings.codec_url)
    for stack in ("happy", "broken-plan", "broken-apply", "slow", "waits"):
        for words in (("status", stack), ("status", stack, "--json"), ("audit", stack)):
            scene.type(*words)
        scene.type("export-history", stack, str(scene.folder / f"{stack}.json"))
        scene.type("export-history", stack, str(scene.folder / f"{stack}.stored"), "--as-stored")
        of = ("--workflow-id", f"stack-{stack}")
        scene.temporal("workflow", "show", *of, "--output", "json")
        scene.temporal("workflow", "show", *of, "--output", "json", *codec)
        scene.temporal("workflow", "show", *of, *codec)
        scene.temporal("workflow", "describe", *of, "--output", "json")
        scene.temporal("workflow", "describe", *of, "--output", "json", *codec)
    for name in ("get_plan", "get_review", "get_decisions"):
        asked = ("--workflow-id", "stack-happy", "--type", name)
        scene.temporal("workflow", "query", *asked, *codec)
    scene.type("doctor")
    scene.type("keys", "list")
    scene.temporal("workflow", "list", "--output", "json")


# --- where a canary may be -----------------------------------------------------------------------

_READERS_OWN = {
    r"secret": {"by_file"},  # what the references name
    r"[\w-]+/terraform\.tfvars": {"in_tfvars"},
    r"[\w-]+\.json": {"reason"},  # a history that was exported decoded, by request
}

_OURS = {
    r"standin\.key": {"api key"},
    r"keys\.json": {"encryption key", "mac key"},
    # Terraform's own: where it keeps values, in the clear; mode 0600.
    r"stacks/[\w-]+/config/(.*/)?terraform\.tfstate(\.backup)?": {
        "by_env", "by_file", "plain", "in_tfvars", "token",
    },
    r"audits/.*": {"reason"},
}  # fmt: skip

_NEEDED = {
    "environment of terraform": {"api key"},
    # Every plug-in, and every program of a `local-exec`, inherits Terraform's environment.
    "environment of provider": {"api key"},
    "environment of sleep": {"api key"},
    "environment of sh": {"api key"},
    # Terraform 1.15 asks which system it runs on, whenever it begins (a cloud's library does).
    "environment of uname": {"api key"},
    # A child of the worker's, for the instant before it becomes another program.
    "environment of python -m tprov_kernel.cli worker": {"by_env", "once"},
    # The configuration itself puts them there.
    "arguments of sh": {"by_env", "in_tfvars"},
}


def _unneeded(seen: dict[str, set[str]]) -> dict[str, set[str]]:
    found = {where: names - _NEEDED.get(where, set()) for where, names in seen.items()}
    return {where: names for where, names in found.items() if names}


def _at_rest(scene: Scene) -> dict[str, set[str]]:
    """Database and its write-ahead log, stacks, logs, audits: all below the instance's data."""
    return files_with(scene.own.settings.home, scene.canaries, but=_OURS)


def _shown(said: Mapping[str, str], canaries: Mapping[str, str]) -> dict[str, set[str]]:
    """What commands said; a reason is there to be read."""
    found = {w: found_in(t.encode(), canaries) - {"reason"} for w, t in said.items()}
    return {words: names for words, names in found.items() if names}


def _the_state_is_private(stacks: Path) -> None:
    files = [p for p in stacks.rglob("*") if p.is_file() and "tfstate" in p.name]
    assert files
    assert {p.stat().st_mode & 0o077 for p in files} == {0}

"""kill -9 of the stand-in at random moments of a real apply."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.standin.parts import LIMIT, Standin, Terraform, problems, running
from tprov_kernel.toolchain import Toolchain

LANES = 4
ROUNDS = 5
LONGEST = 3.0
"""Seconds from the start of an apply within which the stand-in is killed; one takes about 3."""

TEN = """
variable "round" {
  type = string
}
resource "temporalcloud_namespace" "n" {
  count          = 4
  name           = "${var.round}-${count.index}"
  regions        = ["aws-us-east-1"]
  retention_days = 7
  api_key_auth   = true
}
resource "temporalcloud_user" "u" {
  count          = 3
  email          = "${var.round}-${count.index}@example.com"
  account_access = "read"
}
resource "temporalcloud_service_account" "s" {
  count          = 2
  name           = "${var.round}-${count.index}"
  account_access = "read"
}
resource "temporalcloud_group" "g" {
  name = var.round
}
"""


def test_nothing_is_lost_or_doubled_by_a_kill(toolchain: Toolchain, tmp_path: Path) -> None:
    """Twenty applies of ten resources, the stand-in killed once in each, and started again.

    Everything that Terraform has in its state exists, once, with that id; and the next plan says
    exactly what is missing.
    """
    seed = os.environ.get("STANDIN_SEED") or str(random.randrange(10**6))
    print(f"STANDIN_SEED={seed}")

    def lane(number: int) -> None:
        home = tmp_path / str(number)
        home.mkdir()
        moments = random.Random(f"{seed}-{number}")
        with running(home) as standin:
            terraform = Terraform(home / "stack", standin, toolchain)
            terraform.write(TEN)
            terraform.init()
            for at in range(ROUNDS):
                one_round(standin, terraform, f"r{at}", moments.uniform(0, LONGEST))

    with ThreadPoolExecutor(LANES) as pool:
        list(pool.map(lane, range(LANES)))


def ids_in(state: Path) -> list[str]:
    """The ids of everything in a state; there is no state when nothing was made."""
    if not state.exists():
        return []
    resources = json.loads(state.read_text())["resources"]
    return [str(i["attributes"]["id"]) for r in resources for i in r["instances"]]


def one_round(standin: Standin, terraform: Terraform, name: str, after: float) -> None:
    """One apply, with one kill."""
    state, variable = f"-state={name}.tfstate", f"-var=round={name}"
    apply = terraform.spawn("apply", "-auto-approve", "-json", "-lock=false", state, variable)
    time.sleep(after)
    standin.kill()
    standin.start()
    said, _ = apply.communicate(timeout=3 * LIMIT)

    in_state = ids_in(terraform.folder / f"{name}.tfstate")
    listed = asyncio.run(standin.control.objects())
    exist = [(o["type"], o["name"]) for o in listed if o["name"].startswith(name)]
    ids = {o["id"] for o in listed}
    assert len(exist) == len(set(exist)), said
    assert set(in_state) <= ids, said
    assert len(in_state) <= len(exist) <= 10, said

    planned = terraform.run("plan", "-json", "-lock=false", state, variable)
    assert planned.code == 0, problems(planned)
    assert planned.count("plan") == {
        "add": 10 - len(in_state),
        "change": 0,
        "import": 0,
        "remove": 0,
    }, said
    print(f"{name}: killed after {after:.2f} s, {len(in_state)} in the state, {len(exist)} exist")

"""Steps that fail with a secret in their mouth: what is recorded, shown and logged has none of it.

Each configuration makes the real Terraform print a secret that no plan told of beforehand. Payloads
are not encrypted here, so that the server's own copy is looked through as well.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from tests.cli.typed import Terminal, until_said
from tests.conftest import Platform
from tests.leaks import found_in
from tests.test_workflow import asks, until
from tprov_kernel import runs
from tprov_kernel.connect import connect
from tprov_kernel.observe import RunView
from tprov_kernel.settings import CloudSettings, Settings
from tprov_kernel.terraform import Terraform

pytestmark = pytest.mark.timeout(120)

CANARY = "canary-9d1f6b4420ce"

PROVIDER = """
terraform {
  required_providers {
    temporalcloud = { source = "temporalio/temporalcloud" }
  }
}
provider "temporalcloud" {}
variable "name_suffix" { default = "" }
"""

KEY = (
    PROVIDER
    + """
resource "temporalcloud_service_account" "robot" {
  name           = "leaky-${var.name_suffix}"
  account_access = "read"
}
resource "temporalcloud_apikey" "key" {
  display_name = "leaky-${var.name_suffix}"
  owner_type   = "service-account"
  owner_id     = temporalcloud_service_account.robot.id
  expiry_time  = timeadd(plantimestamp(), "240h")
  lifecycle { ignore_changes = [expiry_time] }
}
"""
)

TOLD_BY_A_PROGRAM = (
    KEY
    + """
resource "terraform_data" "use" {
  input = "x"
  provisioner "local-exec" {
    command = "echo token ${temporalcloud_apikey.key.token}; exit 3"
  }
}
"""
)

TOLD_BY_A_PRECONDITION = (
    KEY
    + """
resource "terraform_data" "later" {
  lifecycle {
    precondition {
      condition     = startswith(temporalcloud_apikey.key.token, "nope")
      error_message = "unexpected token ${nonsensitive(temporalcloud_apikey.key.token)}"
    }
  }
}
"""
)

TOLD_BY_A_FUNCTION = (
    KEY
    + """
output "n" { value = tonumber(nonsensitive(temporalcloud_apikey.key.token)) }
"""
)


HIDDEN = "(sensitive value)"
WITHHELD = "The error message included a sensitive value, so it will not be displayed."
"""What Terraform 1.15 says of a validation whose message has one; 1.11 shows the value."""


def validated(name: str, type_: str, message: str) -> str:
    """A sensitive variable that is never valid, and says so with its value."""
    return f"""
variable "{name}" {{
  type = {type_}
  validation {{
    condition     = length(jsonencode(var.{name})) > 9000
    error_message = "bad {message}"
  }}
  sensitive = true
}}
"""


NESTED = "object({ user = string, deep = object({ password = string }), l = list(string) })"
QUOTED = 'bad password ${var.v.deep.password} ${join(",", var.v.l)}'
PRECONDITION = """
resource "terraform_data" "x" {
  lifecycle {
    precondition {
      condition     = length(local.s) > 1000
      error_message = "bad ${nonsensitive(local.s)}"
    }
  }
}
"""


@dataclass(frozen=True)
class Case:
    """A configuration whose plan fails.

    Attributes:
        main: `main.tf`.
        secrets: What must not be seen.
        files: More files.
        variables: What is given with the run.
        says: What the failure does say.
    """

    main: str
    secrets: tuple[str, ...] = (CANARY,)
    files: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    says: str = HIDDEN


SHORT_LINES = "ab3cd4\n0f9e8d\n77aa66\nbead01\n"

CASES = {
    "a literal argument of a module": Case(
        f'module "m" {{\n  source = "./m"\n  pw = "{CANARY}"\n}}',
        files={"m/main.tf": validated("pw", "string", "${var.pw}")},
    ),
    "a literal in sensitive()": Case(f'locals {{ s = sensitive("{CANARY}") }}' + PRECONDITION),
    "what only the plan that failed knows": Case(
        f'locals {{ s = sensitive(strrev("{CANARY[::-1]}")) }}'
        + PRECONDITION
        + 'resource "terraform_data" "z" { input = local.s }'
    ),
    "an object in a tfvars file": Case(
        validated("v", NESTED, QUOTED),
        secrets=("canary-one-77", "canary-two-77", "canary-three-77"),
        files={
            "terraform.tfvars": 'v = {\n  user = "ada"\n  deep = { password = "canary-one-77" }\n'
            '  l = ["canary-two-77", "canary-three-77"]\n}\n'
        },
    ),
    "a heredoc in a tfvars file": Case(
        validated("v", "string", "${var.v} ${base64encode(var.v)} ${urlencode(var.v)}"),
        secrets=("canary-line-1a", "canary-line-2b"),
        files={"terraform.tfvars": "v = <<EOT\ncanary-line-1a\ncanary-line-2b\nEOT\n"},
    ),
    "a variable's name of another script": Case(
        validated("пароль", "string", "${var.пароль}"), variables={"пароль": CANARY}
    ),
    "braces in a text before the mark": Case(
        validated("v", "string", '${join("}}", [var.v])}'), variables={"v": CANARY}
    ),
    "blanks in a row": Case(
        validated("v", "string", "${var.v}"),
        secrets=("alpha9d1f  beta gamma", "alpha9d1f"),
        variables={"v": "alpha9d1f  beta gamma"},
    ),
    "lines that are short": Case(
        validated("v", "string", "'${var.v}'"),
        secrets=("ab3cd4", "0f9e8d", "bead01"),
        variables={"v": SHORT_LINES},
    ),
    "a JSON file that is a list": Case(
        "",
        files={
            "v.tf.json": json.dumps(
                [
                    {
                        "variable": {
                            "v": {
                                "type": "string",
                                "sensitive": True,
                                "validation": {
                                    "condition": "${length(var.v) > 1000}",
                                    "error_message": "bad ${var.v}",
                                },
                            }
                        }
                    }
                ]
            )
        },
        variables={"v": CANARY},
    ),
    "a key of for_each": Case(
        'variable "v" { sensitive = true }\n'
        'resource "terraform_data" "x" {\n  for_each = nonsensitive(toset([var.v]))\n}',
        variables={"v": CANARY},
        says='A secret is a key in the address terraform_data.x["(sensitive value)"]',
    ),
    "a backend's address": Case(
        'terraform {\n  backend "http" {\n'
        f'    address = "http://127.0.0.1:1/state?token={CANARY}"\n  }}\n}}',
        says="http://127.0.0.1:1/state?token=(sensitive value)",
    ),
    "a module's source": Case(
        f'module "m" {{ source = "git::http://user:{CANARY}@127.0.0.1:1/x.git" }}',
        says="127.0.0.1:1/x.git",
    ),
}


def configuration(folder: Path, case: Case) -> Path:
    """Write it down."""
    folder.mkdir(exist_ok=True)
    for name, text in {"main.tf": case.main, **case.files}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


async def recorded(client: Client, handle: runs.RunHandle, view: RunView) -> bytes:
    """All that the server keeps of a run, decoded, and what people are shown."""
    history = json.loads((await handle.fetch_history()).to_json())
    return b"\n".join(
        [*_payloads(history), json.dumps(history).encode(), repr(asdict(view)).encode()]
    )


def _payloads(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        if isinstance(data := value.get("data"), str):
            yield base64.b64decode(data)
        for item in value.values():
            yield from _payloads(item)
    elif isinstance(value, list):
        for item in value:
            yield from _payloads(item)


def told(view: RunView) -> str:
    """What is said of the failure: of the run, or of the step that is tried again."""
    return str(view.failure or [step.failure for step in view.steps if step.failure])


def leaks(data: bytes, secrets: tuple[str, ...]) -> set[str]:
    """The secrets that are in some bytes."""
    plain = {s for s in secrets if json.dumps(s)[1:-1].encode() in data or s.encode() in data}
    return plain | found_in(data, {s: s for s in secrets if re.fullmatch(r"[\w-]+", s)})


async def in_the_clear(platform: Platform) -> Client:
    """A client whose payloads are not encrypted."""
    return await connect(replace(platform.settings, encrypt_payloads=False), platform.keys)


async def start(
    client: Client, settings: Settings, platform: Platform, stack: str, folder: Path, case: Case
) -> runs.RunHandle:
    """Start a run."""
    handle = await runs.start_run(
        client,
        stack=stack,
        directory=configuration(folder, case),
        key_ring=platform.keys,
        task_queue=settings.task_queue,
        variables=dict(case.variables),
    )
    return runs.bound(client, handle)


async def _stop(handle: runs.RunHandle) -> None:
    with suppress(RPCError):  # it is over, or will be in a moment
        await handle.terminate()


def _has_failed(view: RunView) -> bool:
    return any(step.failure for step in view.steps)


@pytest.mark.parametrize("name", CASES)
async def test_a_plan_that_fails_tells_no_secret(
    name: str, platform: Platform, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By whatever way the secret came into the message; what else it says stays."""
    case = CASES[name]
    caplog.set_level(logging.INFO)
    stack = f"leaky-{list(CASES).index(name)}"
    client = await in_the_clear(platform)
    async with platform.worker(client, task_queue=stack) as settings:
        handle = await start(client, settings, platform, stack, tmp_path / "module", case)
        view = await until(client, handle, _has_failed)
        withheld = case.says == HIDDEN and WITHHELD in told(view)
        assert withheld or case.says in told(view)
        seen = await recorded(client, handle, view) + caplog.text.encode()
        assert leaks(seen, case.secrets) == set(), told(view)
        rests = [p for p in (settings.stacks / stack).rglob("*") if p.is_file()]
        kept = {p.name for p in rests if leaks(p.read_bytes(), case.secrets)}
        assert kept <= {"main.tf", "terraform.tfstate", "modules.json"}  # what its author wrote
        await _stop(handle)


async def test_a_token_made_by_an_apply_that_fails_is_not_told(
    platform: Platform, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor by a later plan that fails: it is in the state, and nowhere else."""
    caplog.set_level(logging.INFO)
    client = await in_the_clear(platform)
    folder = tmp_path / "module"
    async with platform.worker(client, task_queue="made-token") as settings:
        handle = await start(
            client, settings, platform, "made-token", folder, Case(TOLD_BY_A_PROGRAM)
        )
        view = await until(client, handle, lambda v: asks(v) or _has_failed(v))
        if asks(view):
            await runs.decide(handle, "approve", reason="go")
            view = await until(client, handle, _has_failed)
        token = _token(settings.stacks / "made-token")
        assert "token (sensitive value)" in told(view)
        assert leaks(await recorded(client, handle, view), (token,)) == set()
        await _stop(handle)

        for main in (TOLD_BY_A_PRECONDITION, TOLD_BY_A_FUNCTION):
            handle = await start(client, settings, platform, "made-token", folder, Case(main))
            view = await until(client, handle, lambda v: asks(v) or _has_failed(v))
            assert "(sensitive value)" in told(view)
            assert leaks(await recorded(client, handle, view), (token,)) == set(), told(view)
            await _stop(handle)
        assert token not in caplog.text


async def test_a_state_that_could_not_be_uploaded_is_known_too(
    platform: Platform, tmp_path: Path
) -> None:
    """Terraform leaves it in the directory; also one that no Terraform can read tells its marks."""
    attributes = {"token": CANARY, "id": "public-id"}
    marked = [[{"type": "get_attr", "value": "token"}]]
    instance = {"attributes": attributes, "sensitive_attributes": marked}
    state = {"version": 99, "resources": [{"type": "t", "name": "n", "instances": [instance]}]}
    (tmp_path / "errored.tfstate").write_text(json.dumps(state))
    terraform = Terraform(
        tool=platform.toolchain.terraform,
        guard=platform.guard,
        directory=tmp_path,
        cli_config=tmp_path / "terraform.rc",
        cloud=CloudSettings(),
        suffix="",
        secrets=lambda: {"canary-that-was-given"},
    )
    (tmp_path / "terraform.rc").write_text("")
    scrub = (await terraform.scrubber()).text
    said = scrub(f"{CANARY} canary-that-was-given public-id")
    assert said == "(sensitive value) (sensitive value) public-id"


@pytest.mark.parametrize("verbose", [False, True])
async def test_a_worker_s_terminal_tells_an_attempt_that_failed_in_a_sentence(
    verbose: bool, platform: Platform, tmp_path: Path
) -> None:
    """With `-v` there is a stack trace, and no secret in it either."""
    case = CASES["a literal argument of a module"]
    client = await in_the_clear(platform)
    stack, log = f"terminal-{verbose}".lower(), tmp_path / "worker.log"
    words = ("worker", "--task-queue", stack, *(["-v"] if verbose else []))
    settings = replace(platform.settings, task_queue=stack)
    with Terminal(platform.settings.home).runs(*words, log=log) as process:
        await asyncio.to_thread(until_said, log, "Polling", process=process, limit=60)
        handle = await start(client, settings, platform, stack, tmp_path / "module", case)
        view = await until(client, handle, _has_failed)
        await asyncio.to_thread(until_said, log, "Invalid value", process=process, limit=30)
        await _stop(handle)
    told_ = log.read_text()
    assert CANARY not in told_
    assert ("Traceback" in told_) == verbose
    line = f"stack-{stack}, terraform_plan, attempt 1 failed: terraform plan failed: Invalid value"
    assert told_.count(line) == (not verbose)
    assert len(told_.splitlines()) == 4 or verbose, told_
    assert "(sensitive value)" in told(view)


def _token(stack: Path) -> str:
    state = json.loads(next(stack.rglob("terraform.tfstate")).read_text())
    (token,) = [
        instance["attributes"]["token"]
        for resource in state["resources"]
        if resource["type"] == "temporalcloud_apikey"
        for instance in resource["instances"]
    ]
    return str(token)

"""Wrong inputs: each gets one sentence and what to do about it, and changes nothing.

A row is what is done, what its person reads (`…` stands for what differs from place to place,
`⟨this|that⟩` for what Terraforms put differently), and what it is done with. Elsewhere: an `opa`
that is missing, hangs or answers nonsense, and a plan past the bound (`test_opa.py`,
`test_policy_step.py`); a disk that is full under the services (`test_services.py`); a damaged key
ring in all its forms (`test_payloads_keyring.py`); settings that contradict each other
(`test_doctor.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from tests.cli.typed import TPROV, Said, Terminal, left_over, until_said
from tests.conftest import ROOT, Platform
from tests.kernels import SET_UP, Kernel, environment, kernel
from tests.test_lab import is_one_sentence
from tests.widgets import views
from tprov_kernel import errors, runs, workflow
from tprov_kernel.activities import Activities, step
from tprov_kernel.cli import render
from tprov_kernel.connect import build_worker, connect
from tprov_kernel.files import storage_error
from tprov_kernel.lab.worker import KernelWorker
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.stacks import held_objects
from tprov_kernel.toolchain import Toolchain

pytestmark = pytest.mark.timeout(120)

NAMESPACE = "terraform/tcloud_namespace"
ADMIN = "terraform/tcloud_admin_user"
QUEUE = "bad-input"
SMALL = 'variable "name_suffix" {}\nresource "terraform_data" "a" {\n  input = "x"\n}\n'
NO_NAME = "Use 1 to 40 lower-case letters, digits and hyphens, beginning with a letter."
REMOTE = {"TEMPORAL_HOST_URL": "127.0.0.1:9"}

RAW = re.compile(r"Traceback|\bNone\b|\[Errno|transport::|Error\(|not foreseen|\w\.\.(\s|$)|\x1b")
"""What is never in a sentence for people."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A wrong input.

    Attributes:
        case: What is wrong.
        typed: The command line after `tprov`, or a cell; `{at}` is a directory of the test's own.
        says: All that is read: sentence and remedy.
        files: What lies in `{at}`: name to content.
        env: What the environment holds besides.
        code: The exit code.
    """

    case: str
    typed: str
    says: str
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    code: int = 1


def rows(table: list[Row]) -> list[Any]:
    """A table as parameters of a test."""
    return [pytest.param(row, id=row.case) for row in table]


def flat(text: str) -> str:
    """A text without the places where a line happens to end."""
    return " ".join(text.split())


def check_reads(said: str, row: Row, at: Path) -> None:
    """What was read is the row's sentence and remedy, and nothing else."""
    expected = flat(row.says.replace("{at}", str(at)))
    pattern = re.sub(
        "⟨(.*?)⟩",
        lambda either: "(?:" + either[1].replace(r"\|", "|") + ")",
        re.escape(expected).replace("…", ".*?"),
    )
    assert re.fullmatch(pattern, flat(said)), f"read:     {flat(said)}\nexpected: {expected}"
    assert not RAW.search(said), said


def lay(files: Mapping[str, str | bytes], at: Path) -> None:
    """Put files into a directory; a script is one that can be run."""
    for name, content in files.items():
        path = at / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("@"):  # a link: its content is where it leads
            Path(str(path)[:-1]).symlink_to(str(content))
            continue
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o700 if path.read_bytes().startswith(b"#!") else 0o600)


def contents(folder: Path) -> dict[str, str]:
    """Every file below a directory, with its mode and a digest."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            found[str(path.relative_to(folder))] = "no file"
            continue
        mode = path.stat().st_mode
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(folder))] = f"{mode:o} {digest}"
    return found


def typed(terminal: Terminal, row: Row, at: Path) -> Said:
    """Type a row's command."""
    words = [word.replace("{at}", str(at)) for word in shlex.split(row.typed)]
    env = {name: value.replace("{at}", str(at)) for name, value in row.env.items()}
    return terminal.type(*words, env=env)


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    """The codec server sets its process's; here it is ours."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


# --- before anything is open -----------------------------------------------------------------


def start(stack: str, more: str = "") -> str:
    """The command that starts a run on a stack of this name."""
    return f"start --config {NAMESPACE} {more} -- {shlex.quote(stack)}"


def no_name(case: str, stack: str, shown: str = "") -> Row:
    """A name that is none."""
    says = f"{shown or repr(stack)} is no name for a stack. {NO_NAME}"
    return Row(case=case, typed=start(stack), says=says)


def no_tool(case: str, body: str, says: str, name: str = "terraform") -> Row:
    """A program that is named and cannot be used."""
    variable = f"TPROV_{name.upper()}"
    return Row(
        case=case,
        typed="up",
        files={name: f"#!/bin/sh\n{body}\n"},
        env={variable: f"{{at}}/{name}"},
        says=f"{variable} names {{at}}/{name}, which {says}. Correct {variable}, or unset it.",
    )


def one_line(name: str) -> Row:
    """A variable of the environment with a line break in it."""
    return Row(
        case=f"line break in {name}",
        typed="status --target remote",
        env={**REMOTE, name: "first\nsecond"},
        says=f"{name} has a line break or another control character in it."
        f" Set {name} again, in one line.",
    )


OPEN_NOTHING = [
    no_name("stack with ../", "../up"),
    no_name("stack with a space", "my stack"),
    no_name("stack of 300 characters", "x" * 300, f"'{'x' * 56}..."),
    no_name("stack of shell characters", "a;rm -rf $HOME"),
    no_name("empty stack", ""),
    no_name("stack with a line break", "a\nb"),
    no_name("stack like an option", "-rf"),
    Row(
        case="no such directory",
        typed="start demo --config nowhere",
        says="There is no directory nowhere, neither here nor in …. Give the directory of a"
        " Terraform configuration.",
    ),
    Row(
        case="no directory's name",
        typed="start demo --config ''",
        says="'' is no directory's name. Give the directory of a Terraform configuration.",
    ),
    Row(
        case="duration with a unit",
        typed=f"start demo --config {NAMESPACE} --expires 5m",
        says="Invalid value for '--expires': …. `tprov start --help` shows how it is used.",
        code=2,
    ),
    Row(
        case="scenario that leads elsewhere",
        typed="play ../../etc/passwd",
        says="There is no scenario '../../etc/passwd'. There are: start_here, happy_path….",
    ),
    Row(
        case="outside a workspace",
        typed="play happy_path",
        env={"TPROV_ROOT": "{at}"},
        says="There is no notebook in {at}/notebooks. Go into the project's folder, or set"
        " TPROV_ROOT to it.",
    ),
    Row(
        case="port that is none",
        typed="lab --port 99999",
        says="Invalid value for '--port': …. `tprov lab --help` shows how it is used.",
        code=2,
    ),
    Row(
        case="negative port",
        typed="codec-server --port=-1",
        says="Invalid value for '--port': …. `tprov codec-server --help` shows how it is used.",
        code=2,
    ),
    Row(
        case="data directory that cannot be made",
        typed="up -d",
        files={"file": ""},
        env={"TPROV_HOME": "{at}/file/home"},
        says="{at}/file/home cannot be used: a file is in its way. Use another place.",
    ),
    Row(
        case="damaged keys",
        typed="keys list",
        files={"home/keys.json": '{"format": 1, "keys": {'},
        says="The file {at}/home/keys.json is no key ring. Put the right one back; without it,"
        " what it encrypted cannot be read again.",
    ),
    Row(
        case="empty keys",
        typed="keys rotate",
        files={"home/keys.json": ""},
        says="The file {at}/home/keys.json is no key ring. Put the right one back; without it,"
        " what it encrypted cannot be read again.",
    ),
    no_tool("terraform is garbage", "echo garbage", "does not tell its version (garbage)"),
    no_tool("terraform is no UTF-8", r"printf '\377\376'", "does not tell its version (…)"),
    no_tool("terraform fails silently", "exit 3", "does not tell its version (silence)"),
    no_tool(
        "terraform is too old",
        """echo '{ "terraform_version": "1.5.0", "platform": "linux_amd64" }'""",
        "is terraform 1.5.0, older than 1.9",
    ),
    no_tool("opa is too old", "echo Version: 0.60.0", "is opa 0.60.0, older than 1.0", "opa"),
    Row(
        case="terraform is missing",
        typed="up",
        env={"TPROV_TERRAFORM": "{at}/gone"},
        says="TPROV_TERRAFORM names {at}/gone, which does not exist. Correct TPROV_TERRAFORM, or"
        " unset it.",
    ),
    Row(
        case="no tool at all",
        typed="up",
        env={"PATH": "{at}", "TPROV_TOOLS": "{at}/tools"},
        says="There is no terraform that can be used. Run `make setup` in the project's folder (or"
        " `tprov setup`).",
    ),
    one_line("TEMPORAL_API_KEY"),
    one_line("TEMPORAL_CLOUD_API_KEY"),
    one_line("TEMPORAL_HOST_URL"),
    one_line("TEMPORAL_NAMESPACE"),
    one_line("TEMPORAL_INFRA_PROVISION_TASK_QUEUE"),
    Row(
        case="server as a web address",
        typed="status --target remote",
        env={"TEMPORAL_HOST_URL": "http://localhost:7233/"},
        says="TEMPORAL_HOST_URL has to be host:port; it begins as a web address does, and there is"
        " a path in it. Give it without http:// or a path: localhost:7233, for instance.",
    ),
    Row(
        case="server without a port",
        typed="worker --target remote",
        env={"TEMPORAL_HOST_URL": "localhost"},
        says="TEMPORAL_HOST_URL has to be host:port; it has no port."
        " Give it without http:// or a path: localhost:7233, for instance.",
    ),
    Row(
        case="server that does not answer",
        typed="status --target remote",
        env=REMOTE,
        says="The Temporal server at 127.0.0.1:9 does not answer: nothing listens there."
        " Check address, TLS and API key: `tprov doctor --target remote` shows"
        " them.",
    ),
    Row(
        case="certificate that is none",
        typed="status --target remote",
        files={"pem": b"\xff\xfe"},
        env={
            **REMOTE,
            "TEMPORAL_MTLS_TLS_CERT": "{at}/pem",
            "TEMPORAL_MTLS_TLS_KEY": "{at}/pem",
        },
        says="The Temporal server at 127.0.0.1:9 does not answer: certificate and key"
        " cannot be used: they are no PEM, or do not belong together. Check address, TLS and API"
        " key: `tprov doctor --target remote` shows them.",
    ),
    Row(
        case="profile that is not there",
        typed="status --target remote",
        env={**REMOTE, "TEMPORAL_PROFILE": "nowhere"},
        says="There is no profile of the name that TEMPORAL_PROFILE says in your temporal.toml."
        " Correct the file, TEMPORAL_PROFILE or TEMPORAL_CONFIG_FILE.",
    ),
    Row(
        case="temporal.toml is no UTF-8",
        typed="status --target remote",
        files={"temporal.toml": b"\xff\xfe"},
        env={**REMOTE, "TEMPORAL_CONFIG_FILE": "{at}/temporal.toml"},
        says="The SDK cannot read {at}/temporal.toml: it is no UTF-8. Correct the file,"
        " TEMPORAL_PROFILE or TEMPORAL_CONFIG_FILE.",
    ),
]


@pytest.mark.parametrize("row", rows(OPEN_NOTHING))
def test_nothing_is_opened_or_made(row: Row, tmp_path: Path) -> None:
    """A sentence on stderr; no file, no directory, no process that was not there."""
    lay(row.files, tmp_path)
    before = contents(tmp_path)
    said = typed(Terminal(tmp_path / "home"), row, tmp_path)
    assert (said.code, said.out) == (row.code, "")
    check_reads(said.err, row, tmp_path)
    # The locks of key rings, and the key ring of a place that was named, are no harm.
    after = {n: v for n, v in contents(tmp_path).items() if ".lock" not in n}
    made = {n for n in after if n not in before and Path(n).parts[:2] != ("home", "remote")}
    assert made <= {"tools/probes.json", "home"}
    assert before == {n: v for n, v in after.items() if n in before}


def test_keys_that_others_may_read(tmp_path: Path) -> None:
    """They are not used, and stay as they are."""
    KeyRing.load_or_create(tmp_path / "home" / "keys.json")
    (tmp_path / "home" / "keys.json").chmod(0o644)
    row = Row(
        case="keys of mode 644",
        typed="keys list",
        says="Others may read the key ring {at}/home/keys.json (mode 644). Run `chmod 600"
        " {at}/home/keys.json`, then `tprov keys rotate`.",
    )
    said = typed(Terminal(tmp_path / "home"), row, tmp_path)
    assert (said.code, said.out) == (1, "")
    check_reads(said.err, row, tmp_path)


def test_a_port_that_somebody_has(tmp_path: Path) -> None:
    """The codec server does not say that it listens, and names the way out."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = Terminal(tmp_path / "home").type("codec-server", "--port", str(port))
    assert (said.code, said.out) == (1, "")
    assert flat(said.err) == (
        f"The codec server cannot listen on 127.0.0.1:{port}: address already in use."
        " End what uses the port, or give another with --port."
    )


def test_doctor_says_who_may_look_into_what(tmp_path: Path) -> None:
    """A data directory that is open to others is named, with the command that closes it."""
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o755)
    said = flat(Terminal(home).type("doctor").out)
    assert f"Others may look into {home}, which holds keys and states." in said
    assert f"Run `chmod 700 {home}`." in said


# --- open services: refused before a run starts ----------------------------------------------


@dataclass(frozen=True)
class Scene:
    """Open services with a worker, one run that waits for a decision, and a stranger's workflow."""

    platform: Platform
    terminal: Terminal
    client: Client

    def world(self) -> dict[str, Any]:
        """What a refusal must leave as it is: the Cloud, all workflows, all stacks' directories."""
        return self.platform.runtime.call(self._world())

    async def _world(self) -> dict[str, Any]:
        cloud = self.platform.cloud
        objects = [*await cloud.list_namespaces(), *await cloud.list_users()]
        waiting = await self.client.get_workflow_handle("stack-asked").describe()
        return {
            "cloud": sorted(f"{o.type} {o.name}" for o in objects),
            "runs": sorted([f"{w.id} {w.run_id}" async for w in self.client.list_workflows()]),
            "events": waiting.history_length,
            "stacks": sorted(path.name for path in self.platform.settings.stacks.iterdir()),
        }

    @contextmanager
    def worker(self, queue: str, **changes: Any) -> Iterator[None]:
        """A worker, with some of what it has exchanged."""
        settings = replace(self.platform.settings, task_queue=queue)
        given = {"settings": settings, "toolchain": self.platform.toolchain, **changes}
        activities = Activities(key_ring=self.platform.keys, guard=self.platform.guard, **given)
        worker = KernelWorker(self.platform.runtime, tell=lambda _: None)
        worker.start(lambda: build_worker(self.client, activities, task_queue=queue))
        try:
            yield
        finally:
            worker.stop()

    @contextmanager
    def locked(self, stack: str, at: Path) -> Iterator[None]:
        """A stack whose state somebody else holds, and a run that wants it."""
        lay({"main.tf": 'variable "name_suffix" {}\noutput "o" {\n  value = "x"\n}\n'}, at)
        command = ("start", stack, "-c", str(at), "--task-queue", QUEUE)
        assert self.terminal.type(*command, "--watch").code == 0
        (state,) = (self.platform.settings.stacks / stack).rglob("terraform.tfstate")
        script = (
            "import fcntl, sys; file = open(sys.argv[1], 'r+'); fcntl.lockf(file, fcntl.LOCK_EX);"
            "print('held', flush=True); sys.stdin.read()"
        )
        argv = [sys.executable, "-c", script, str(state)]
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe) as holder:
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == b"held\n"
                assert self.terminal.type(*command).code == 0
                yield
            finally:
                holder.kill()

    def told(self, stack: str) -> dict[str, Any]:
        """What `status --json` says of a stack."""
        (run,) = json.loads(self.terminal.type("status", stack, "--json").out)
        assert isinstance(run, dict)
        return run

    def wait_for(self, stack: str, status: str) -> None:
        """Wait until a run has a status."""
        deadline = time.monotonic() + 60
        while (run := self.told(stack))["status"] != status:
            assert time.monotonic() < deadline, run
            time.sleep(0.1)


@pytest.fixture(scope="module")
def scene(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """All of it, for the rows of this module."""
    client = platform.runtime.call(connect(platform.settings, platform.keys))
    scene = Scene(platform, Terminal(platform.settings.home), client)
    strange = client.start_workflow("SomethingElse", id="stack-strange", task_queue="nobody's")
    platform.runtime.call(strange)
    with scene.worker(QUEUE):
        asked = scene.terminal.type("start", "asked", "-c", ADMIN, "--task-queue", QUEUE)
        assert asked.code == 0, asked.err
        scene.wait_for("asked", "awaiting_approval")
        # Terraform waits ten seconds for a lock: while the other rows are looked at.
        with scene.locked("locked", tmp_path_factory.mktemp("locked")):
            yield scene
        assert scene.terminal.type("deny", "asked").code == 0
        scene.wait_for("asked", "rejected")
    platform.runtime.call(client.get_workflow_handle("stack-strange").terminate())


def never(command: str) -> Row:
    """A command about a stack that nobody has ever used."""
    return Row(
        case=f"{command.split(' {')[0]}: unknown stack",
        typed=command.replace("{stack}", "never"),
        says="There was never a run on stack 'never'. `tprov status` lists the stacks.",
    )


def stranger(command: str) -> Row:
    """A command about a workflow of another type that has an id like ours."""
    return Row(
        case=f"{command.split(' {')[0]}: another type",
        typed=command.replace("{stack}", "strange"),
        says="The workflow stack-strange is a SomethingElse, no run of ours. Use another stack;"
        " Temporal's own tools deal with that workflow.",
    )


def expires(value: str, shown: str) -> Row:
    """A review that could not wait that long."""
    return Row(
        case=f"--expires {value}",
        typed=f"start new --config {NAMESPACE} --expires={value}",
        says=f"expires is {shown}, and has to be a number of seconds from 0.1 to 3.16224e+07."
        " Give expires in seconds, such as 300.",
    )


def level(case: str, wanted: str, says: str, code: int = 1) -> Row:
    """A level that a policy cannot have."""
    return Row(case=case, typed=f"policy try asked --level {wanted}", says=says, code=code)


ABOUT_A_STACK = (
    "status {stack}",
    "approve {stack} --reason x",
    "deny {stack}",
    "cancel {stack}",
    "audit {stack}",
    "replan {stack}",
    "recheck {stack}",
    "destroy {stack} --yes",
    "export-history {stack} {at}/history.json",
    "policy try {stack}",
)

REFUSED = [
    *map(never, ABOUT_A_STACK),
    *map(stranger, ABOUT_A_STACK),
    expires("-5", "-5.0"),
    expires("0", "0.0"),
    expires("nan", "nan"),
    expires("inf", "inf"),
    expires("1e300", "1e+300"),
    Row(
        case="a file in place of a directory",
        typed="start new --config {at}/main.tf",
        files={"main.tf": SMALL},
        says="{at}/main.tf is a file, not a directory. Give the directory it lies in.",
    ),
    Row(
        case="no Terraform configuration",
        typed="start new --config {at}",
        files={"readme.md": "Hello."},
        says="{at} holds no Terraform configuration (no *.tf file). Give the directory of a root"
        " module.",
    ),
    Row(
        case="undeclared variable",
        typed="start new --config {at} --var size=3",
        files={"main.tf": SMALL},
        says="{at} declares no variable 'size' (it declares: name_suffix). Declare it, or leave it"
        " out.",
    ),
    Row(
        case="unreadable tfvars",
        typed="start new --config {at}",
        # Root reads everything but this.
        files={"main.tf": SMALL, "terraform.tfvars@": "/proc/self/mem"},
        says="{at}/terraform.tfvars cannot be read: …. Make it readable, or move it out of the"
        " directory.",
    ),
    Row(
        case="tfvars that lead nowhere",
        typed="start new --config {at}",
        files={"main.tf": SMALL, "terraform.tfvars@": "/nowhere"},
        says="{at}/terraform.tfvars cannot be read: it is a link to nowhere (/nowhere). Mend the"
        " link, or move it out of the directory.",
    ),
    Row(
        case="snapshot past the bound",
        typed="start new --config {at}",
        files={"main.tf": SMALL, "film.bin": os.urandom(900_000)},
        says="{at} packs to 1.2 MB; at most 0.6 MB can travel with a run. Move what Terraform does"
        " not need out of the directory.",
    ),
    Row(
        case="task queue with a line break",
        typed=f"start new --config {NAMESPACE} --task-queue 'a\nb'",
        says=r"'a\nb' is no name for a task queue. Use 1 to 200 characters in one line"
        " (--task-queue, or TEMPORAL_INFRA_PROVISION_TASK_QUEUE).",
    ),
    Row(
        case="task queue from the environment",
        typed=f"start new --config {NAMESPACE}",
        env={"TEMPORAL_INFRA_PROVISION_TASK_QUEUE": "a\nb"},
        says=r"'a\nb' is no name for a task queue. Use 1 to 200 characters in one line"
        " (--task-queue, or TEMPORAL_INFRA_PROVISION_TASK_QUEUE).",
    ),
    Row(
        case="task queue of 2000 characters",
        typed=f"worker --task-queue {'q' * 2000}",
        says="A text of 2000 characters is no name for a task queue. Use 1 to 200 characters in one"
        " line"
        " (--task-queue, or TEMPORAL_INFRA_PROVISION_TASK_QUEUE).",
    ),
    Row(
        case="neither true nor false",
        typed=f"start new --config {NAMESPACE}",
        env={"ENCRYPT_PAYLOADS": "maybe"},
        says="ENCRYPT_PAYLOADS is neither true nor false. Set ENCRYPT_PAYLOADS=true.",
    ),
    Row(
        case="busy stack",
        typed=f"start asked --config {NAMESPACE}",
        says="Stack 'asked' is busy: a run is open on it. Look at it with `tprov status asked`, or"
        " use another stack.",
    ),
    Row(
        case="busy stack to destroy",
        typed="destroy asked --yes",
        says="Stack 'asked' is busy: a run is open on it. Wait for it (`tprov status asked"
        " --watch`), deny or cancel it first.",
    ),
    Row(
        case="approval without a reason",
        typed="approve asked --reason ' '",
        says="Refused: an approval needs a reason. Nothing was recorded. Say why: --reason in a"
        " terminal, the argument in a notebook, the field on the card.",
    ),
    Row(
        case="reason of 100,000 characters",
        typed=f"approve asked --reason {'x' * 100_000}",
        says="Refused: the reason has 100,000 characters. Nothing was recorded. Give at most 1,000"
        " characters.",
    ),
    Row(
        case="review that is none",
        typed="approve asked --reason x --review zzz",
        says="Refused: review zzz is not the one that waits, … is. Nothing was recorded. `tprov"
        " status asked` shows what the run waits for.",
    ),
    Row(
        case="nothing to mend",
        typed="recheck asked",
        says="Refused: nothing waits to be mended, the run is awaiting approval. Nothing was"
        " recorded. `tprov status asked` shows what the run waits for.",
    ),
    Row(
        case="no space for an audit",
        typed="audit asked --output /dev/full",
        says="/dev/full cannot be used: the disk is full. Free some space.",
    ),
    Row(
        case="no space for a history",
        typed="export-history asked /dev/full",
        says="/dev/full cannot be used: the disk is full. Free some space.",
    ),
    Row(
        case="audit into a directory",
        typed="audit asked --output {at}",
        says="{at} cannot be used: it is a directory. Name a file.",
    ),
    Row(
        case="audit into no directory",
        typed="audit asked --output {at}/gone/audit.md",
        says="{at}/gone/audit.md cannot be used: there is no such place. Make its directory first.",
    ),
    level(
        "level of no rule",
        "nobody=advisory",
        "There is no rule 'nobody' whose level could be another. The rules are account_admin, ….",
    ),
    level(
        "level that is none",
        "account_admin=harsh",
        "The rule account_admin (rules/account_admin.rego) has the level 'harsh', none of"
        " hard-mandatory, soft-mandatory, advisory. Annotate the rule (custom: level), or correct"
        " `levels` in the settings.",
    ),
    level(
        "level without a rule",
        "harsh",
        "--level 'harsh' is not RULE=LEVEL. Give --level account_admin=hard-mandatory, for"
        " instance.",
        code=2,
    ),
    Row(
        case="policies that are not there",
        typed="policy try asked --bundle {at}/gone",
        says="There is no policy in {at}/gone, and without one nothing is allowed. Put the"
        " policies (*.rego) back, or name their directory.",
    ),
    Row(
        case="no such method of the Cloud",
        typed="cloud fail MakeCoffee",
        says="The Cloud API stand-in refused: method must be a method of the Cloud API,"
        " 'MakeCoffee' is none. A method is one such as GetAccount, a code one such as"
        " UNAVAILABLE.",
    ),
]


@pytest.mark.parametrize("row", rows(REFUSED))
def test_no_run_starts_and_none_changes(row: Row, scene: Scene, tmp_path: Path) -> None:
    """A sentence on stderr, nothing on stdout; Cloud, runs, histories and stacks are as before."""
    lay(row.files, tmp_path)
    before = (scene.world(), contents(tmp_path))
    said = typed(scene.terminal, row, tmp_path)
    assert (said.code, said.out) == (row.code, ""), said.err
    check_reads(said.err, row, tmp_path)
    assert before == (scene.world(), contents(tmp_path))


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ('"hard"', "settings.levels: Invalid type. Expected: object, given: string."),
        ("[]", "settings.levels: Invalid type. Expected: object, given: array."),
        ('{"nobody": "advisory"}', 'give a level to "nobody", which is no rule.'),
    ],
)
def test_a_malformed_table_of_levels_forbids_everything(
    scene: Scene, tmp_path: Path, levels: str, words: str
) -> None:
    """Nothing is allowed by policies whose settings cannot be read; the finding says why."""
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    data = json.loads((tmp_path / "policies" / "data.json").read_text())
    data["settings"]["levels"] = json.loads(levels)
    (tmp_path / "policies" / "data.json").write_text(json.dumps(data))
    before = scene.world()
    bundle = str(tmp_path / "policies")
    said = scene.terminal.type("policy", "try", "asked", "--bundle", bundle)
    assert said.code == 4
    assert words in flat(said.out)
    assert "It would be forbidden: nobody may override that." in said.out
    assert before == scene.world()


# --- runs that fail --------------------------------------------------------------------------


AGAIN = "Correct the configuration, then start again."
AT_INIT = "⟨init|plan⟩"
"""Where values in files are first read: by Terraform 1.15 at init, by 1.11 not before the plan."""


def fails(case: str, says: str, *, more: str = "", **files: str | bytes) -> Row:
    """A configuration that a run fails of; `main_tf` and the like are its files."""
    laid = {name.replace("__", "."): content for name, content in files.items()}
    laid.setdefault("main.tf", SMALL)
    command = f"start {{stack}} --config {{at}} --task-queue {QUEUE} --expires 1 --watch {more}"
    return Row(
        case=case, typed=command, files={f"config/{n}": c for n, c in laid.items()}, says=says
    )


FAILING = [
    fails(
        "syntax error",
        "terraform init failed: Unclosed configuration block: There is no closing brace for this"
        " block before the end of the file. This may be caused by incorrect brace nesting elsewhere"
        " in this file (main.tf:5). Missing name for resource: All resource blocks must have 2"
        f" labels (type, name) (main.tf:5). {AGAIN}",
        main__tf=SMALL + 'resource "terraform_data" {\n',
    ),
    fails(
        "missing variable",
        "terraform plan failed: No value for required variable: The root module input variable"
        ' "size" is not set, and has no default value (main.tf:5). Give it a value: in'
        " terraform.tfvars, by `--var NAME=VALUE`, or in a notebook as an argument of `lab.start`.",
        main__tf=SMALL + 'variable "size" {}\n',
    ),
    fails(
        "wrong type by --var",
        "terraform plan failed: Invalid value for input variable: The given value is not suitable"
        " for var.size declared at main.tf:5,…: a number is required (given with the run)."
        f" {AGAIN}",
        main__tf=SMALL + 'variable "size" {\n  type = number\n}\n',
        more="--var size=large",
    ),
    fails(
        "wrong type in tfvars",
        "terraform plan failed: Invalid value for input variable: The given value is not suitable"
        " for var.size declared at main.tf:5,…: number required⟨|, but have tuple⟩"
        f" (terraform.tfvars:1). {AGAIN}",
        main__tf=SMALL + 'variable "size" {\n  type = number\n}\n',
        terraform__tfvars='size = ["large"]\n',
    ),
    fails(
        "undeclared variable in tfvars",
        "terraform plan: Value for undeclared variable: The root module does not declare a variable"
        ' named "size" but a value was found in file "terraform.tfvars". If you meant to use this'
        ' value, add a "variable" block to the configuration. Declare it, or leave it out.',
        terraform__tfvars="size = 3\n",
    ),
    fails(
        "tfvars that are no UTF-8",
        f"terraform {AT_INIT} failed: Invalid character encoding: All input files must be UTF-8"
        f" encoded (terraform.tfvars:1). …. {AGAIN}",
        terraform__tfvars=b'name_suffix = "\xff\xfe"\n',
    ),
    fails(
        "configuration that is no UTF-8",
        "terraform init failed: Invalid character encoding: All input files must be UTF-8 encoded"
        f" (main.tf:3). …. {AGAIN}",
        main__tf=b'variable "name_suffix" {}\noutput "o" {\n  value = "\xff"\n}\n',
    ),
    fails(
        "syntax error in tfvars",
        f"terraform {AT_INIT} failed: Invalid expression: Expected the start of an expression, but"
        f" found an invalid expression token (terraform.tfvars:1). {AGAIN}",
        terraform__tfvars="name_suffix = \n",
    ),
    fails(
        "provider of another version",
        "terraform init failed: Failed to query available provider packages: Could not retrieve the"
        " list of available versions for provider temporalio/temporalcloud: no available releases"
        f" match the given constraints 99.0.0. {AGAIN}",
        main__tf="terraform {\n  required_providers {\n    temporalcloud = {\n"
        '      source = "temporalio/temporalcloud"\n      version = "99.0.0"\n    }\n  }\n}\n',
    ),
    fails(
        "another Terraform",
        "terraform init failed: Unsupported Terraform Core version: …. To proceed, either choose"
        f" another supported Terraform version or update this version constraint. …. {AGAIN}",
        main__tf='terraform {\n  required_version = ">= 99"\n}\n',
    ),
    fails(
        "module that is not there",
        f"terraform init failed: Unreadable module directory: …. {AGAIN}",
        main__tf=SMALL + 'module "m" {\n  source = "./nowhere"\n}\n',
    ),
    fails(
        "backend that is none",
        'terraform init failed: Unsupported backend type: There is no backend type named "cellar"'
        f" (main.tf:2). {AGAIN}",
        main__tf='terraform {\n  backend "cellar" {}\n}\n',
    ),
    fails(
        "reference to nothing",
        "terraform plan failed: Reference to undeclared resource: A managed resource"
        f' "terraform_data" "b" has not been declared in the root module (main.tf:6). {AGAIN}',
        main__tf=SMALL + 'output "o" {\n  value = terraform_data.b.id\n}\n',
    ),
]


@pytest.mark.parametrize("row", rows(FAILING))
def test_a_run_fails_in_one_sentence(row: Row, scene: Scene, tmp_path: Path) -> None:
    """Said once, at the end, with what to do; the Cloud and the directory are as before."""
    lay(row.files, tmp_path)
    before = (scene.world()["cloud"], contents(tmp_path))
    stack = "f-" + re.sub(r"[^a-z0-9]+", "-", row.case.lower())[:36].strip("-")
    at = tmp_path / "config"
    command = replace(row, typed=row.typed.replace("{stack}", stack))
    said = typed(scene.terminal, command, at)
    assert (said.code, said.out) == (1, f"stack-{stack}\n")
    ending = re.split(rf"✕ stack-{stack} failed after [\d.]+ s\n", said.err)
    assert len(ending) == 2, said.err
    check_reads(ending[1], row, at)
    assert "failed:" not in ending[0], "what the run ends of is said once"
    assert before == (scene.world()["cloud"], contents(tmp_path))
    assert held_objects(scene.platform.settings.stacks, stack) == []


def test_a_damaged_state_is_left_alone(scene: Scene, tmp_path: Path) -> None:
    """The run fails and names the backup; what is left of the state stays as it is."""
    (tmp_path / "main.tf").write_text('variable "name_suffix" {}\noutput "o" {\n  value = "x"\n}\n')
    command = ("start", "damaged", "-c", str(tmp_path), "--task-queue", QUEUE, "--watch")
    assert scene.terminal.type(*command).code == 0
    stack = scene.platform.settings.stacks / "damaged"
    (state,) = stack.rglob("terraform.tfstate")
    state.write_text("damaged")
    said = scene.terminal.type(*command)
    assert said.code == 1
    ending = flat(said.err.partition("✕")[2])
    assert ending.endswith(
        " Put the state's backup in its place: terraform.tfstate.backup lies beside it."
    ), ending
    assert state.read_text() == "damaged"


def test_a_state_that_somebody_else_holds(scene: Scene) -> None:
    """The lock is never taken from them: the run says who waits for whom, and tries again."""
    deadline = time.monotonic() + 60
    while not (failed := [s["failure"] for s in scene.told("locked")["steps"] if s["failure"]]):
        assert time.monotonic() < deadline, scene.told("locked")
        time.sleep(0.2)
    assert failed[0].startswith("terraform plan failed: Error acquiring the state lock: ")
    assert scene.told("locked")["closed"] is False
    picture = flat(scene.terminal.type("status", "locked").out)
    assert "Somebody else works on this state; Temporal tries again by itself." in picture


# --- programs that do not do what they should ------------------------------------------------


def other_terraform(toolchain: Toolchain, path: Path) -> Toolchain:
    """Tools with another `terraform`."""
    return replace(toolchain, terraform=replace(toolchain.terraform, argv=(str(path),)))


DOCTOR = "Run `tprov doctor`: it says whether this Terraform works."


@pytest.mark.parametrize(
    ("case", "body", "step_", "says"),
    [
        (
            "missing",
            "",
            "init",
            "{at}/terraform does not exist. Put it back.",
        ),
        (
            "garbage",
            "mkdir -p .terraform; echo '?'",
            "plan",
            f"terraform plan wrote no plan file. {DOCTOR}",
        ),
        (
            "no UTF-8",
            r"printf '\377\376 broken' >&2; exit 1",
            "init",
            "terraform init failed: �� broken. Temporal tries again by itself.",
        ),
        (
            "nonsense about a plan",
            'mkdir -p .terraform; for a in "$@"; do case "$a" in -out=*) echo x > "${a#-out=}";;'
            " esac; done; echo '?'; [ \"$1\" != plan ] || exit 2",
            "plan",
            f"terraform show did not answer in JSON. {DOCTOR}",
        ),
    ],
)
def test_a_terraform_that_does_not_work_is_waited_for(
    scene: Scene, tmp_path: Path, case: str, body: str, step_: str, says: str
) -> None:
    """Each attempt says why and what to do; when the real one is back the run goes on."""
    path = tmp_path / "terraform"
    if body:
        real = shlex.join(scene.platform.toolchain.terraform.argv)
        version = f'[ "$1" != version ] || exec {real} "$@"'
        lay({"terraform": f"#!/bin/sh\n{version}\n{body}\n"}, tmp_path)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "main.tf").write_text(SMALL)
    stack = f"t-{case.replace(' ', '-').lower()}"
    tools = other_terraform(scene.platform.toolchain, path)
    before = scene.world()["cloud"]
    with scene.worker(stack, toolchain=tools):
        command = ("start", stack, "-c", str(tmp_path / "c"), "--task-queue", stack)
        assert scene.terminal.type(*command).code == 0
        deadline = time.monotonic() + 60
        while not (
            failed := [s for s in scene.told(stack)["steps"] if s["name"] == step_ and s["failure"]]
        ):
            assert time.monotonic() < deadline, scene.told(stack)
            time.sleep(0.1)
        assert failed, "it is tried again, and not given up"
        picture = flat(scene.terminal.type("status", stack).out)
        assert flat(says.replace("{at}", str(tmp_path))) in picture
        assert scene.told(stack)["closed"] is False
        path.unlink(missing_ok=True)
        path.symlink_to(scene.platform.toolchain.terraform.argv[0])
        scene.wait_for(stack, "awaiting_approval")
        assert scene.terminal.type("deny", stack).code == 0
    assert before == scene.world()["cloud"]


def test_no_space_for_a_worker(scene: Scene, tmp_path: Path) -> None:
    """A limit for files is met: the run says which file and what to do, and waits for room."""
    lay({"c/main.tf": SMALL, "c/large.txt": b"0" * 400_000}, tmp_path)
    log = tmp_path / "log"
    limited = shlex.join([*TPROV, "worker", "--task-queue", "full"])
    with log.open("wb") as sink:
        process = subprocess.Popen(
            ["bash", "-c", f"ulimit -f 100; exec {limited}"],
            cwd=ROOT,
            env=scene.terminal.environment(),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    try:
        until_said(log, "Polling", process=process, limit=30)
        command = ("start", "full", "-c", str(tmp_path / "c"), "--task-queue", "full")
        assert scene.terminal.type(*command).code == 0
        deadline = time.monotonic() + 60
        while "cannot be used" not in (picture := flat(scene.terminal.type("status", "full").out)):
            assert time.monotonic() < deadline, picture
            time.sleep(0.1)
        place = scene.platform.settings.stacks / "full" / "config" / "large.txt"
        assert f"{place} cannot be used: no file may grow that large here." in picture
        assert "Raise the limit: `ulimit -f` shows it." in picture
    finally:
        process.terminate()
        assert process.wait(20) == 0
    with scene.worker("full"):  # with room it goes on by itself
        scene.wait_for("full", "awaiting_approval")
        assert scene.terminal.type("deny", "full").code == 0


def test_a_run_without_a_worker_takes_no_decision(scene: Scene) -> None:
    """The decision is not waited for without end; the sentence says what is missing."""

    async def approve() -> None:
        handle = scene.client.get_workflow_handle("stack-strange")
        await runs.decide(handle, "approve", reason="x", patience=0.5)

    with pytest.raises(errors.ServiceError) as raised:
        scene.platform.runtime.call(approve())
    assert str(raised.value) == (
        "The run stack-strange did not answer within 0.5 s: no worker seems to be there."
        " Start one (`tprov worker`), look at the run, and decide again if it waits."
    )


# --- cells -----------------------------------------------------------------------------------


def mistyped(case: str, cell: str, says: str) -> Row:
    """A cell that cannot do what it says."""
    return Row(case=case, typed=cell, says=says)


def as_config(more: str) -> str:
    """A start of a run in a cell."""
    return f'lab.start("new", config="{NAMESPACE}", {more})'


BOUNDS = "and has to be a number of seconds from 0.1 to 3.16224e+07. Give expires in seconds, such"

CELLS = [
    mistyped(
        "stack",
        'lab.start("Bad Name", config="x")',
        f"'Bad Name' is no name for a stack. {NO_NAME}",
    ),
    mistyped(
        "stack that is no text",
        f'lab.start(3, config="{ADMIN}")',
        f"3 is no name for a stack. {NO_NAME}",
    ),
    mistyped(
        "directory",
        'lab.start("new", config="terraform/tcloud_namespce")',
        "There is no directory terraform/tcloud_namespce, neither here nor in …. Give the directory"
        " of a Terraform configuration.",
    ),
    mistyped(
        "directory that is no text",
        'lab.start("new", config=3)',
        "3 is no directory's name. Give the directory of a Terraform configuration.",
    ),
    mistyped(
        "argument",
        'lab.start("new", confg="x")',
        "lab.start() missing 1 required keyword-only argument: 'config'. help(lab.start) shows how"
        " it is called.",
    ),
    mistyped("method", 'lab.strat("new")', "A lab has no 'strat'. Did you mean 'start'?"),
    mistyped("method of a run", "run.wiat()", "A run has no 'wiat'. Did you mean 'wait'?"),
    mistyped(
        "variable",
        as_config('name_prefx="a"'),
        "… declares no variable 'name_prefx' (it declares: name_prefix, …). Did you mean"
        " 'name_prefix'?",
    ),
    mistyped(
        "value that Terraform has none like",
        as_config("regions={1, 2}"),
        "The value of the variable 'regions' is no value for Terraform: set. Give texts, numbers,"
        " true or false, lists, or dictionaries of these.",
    ),
    mistyped("duration", as_config('expires="5m"'), f"expires is '5m', {BOUNDS} as 300."),
    mistyped("negative duration", as_config("expires=-1"), f"expires is -1, {BOUNDS} as 300."),
    mistyped(
        "way to decide",
        as_config('via="pigeon"'),
        "via='pigeon' is no way to decide. Give 'signal' or 'update'.",
    ),
    mistyped(
        "activity",
        "lab.restart_worker(no_such_activity=print)",
        "There is no activity 'no_such_activity'. One of: terraform_init, terraform_plan, ….",
    ),
    mistyped(
        "activity that is no function",
        "lab.restart_worker(terraform_plan=3)",
        "terraform_plan=3 is no function. Define one that takes the job, as in def mine(job) .",
    ),
    mistyped(
        "status",
        "run.wait('aplied')",
        "There is no status 'aplied'. Did you mean 'applied'?",
    ),
    mistyped("status unlike any", "run.wait('typo')", "There is no status 'typo'. One of: …."),
    mistyped(
        "time to wait",
        "run.wait(timeout='soon')",
        "timeout is 'soon', and has to be a number of seconds from 0 to 3.16224e+07. Give timeout"
        " in seconds, such as 300.",
    ),
    mistyped(
        "approval without a reason",
        "run.approve()",
        "Refused: an approval needs a reason. Nothing was recorded. Say why: --reason in a"
        " terminal, the argument in a notebook, the field on the card.",
    ),
    mistyped(
        "run that never was",
        'lab.run("never")',
        "There was never a run on stack 'never'. tprov status lists the stacks.",
    ),
    mistyped(
        "nothing to destroy",
        'lab.destroy("never")',
        "There was never a run on stack 'never'. tprov status lists the stacks.",
    ),
    mistyped(
        "namespace that is not there",
        'await lab.say_hello("nowhere", patience=0.1)',
        "No workflow can run in the namespace 'nowhere': …. lab.cloud() lists the namespaces; a new"
        " one takes a moment to be ready.",
    ),
    mistyped(
        "target", 'open_lab(target="mars")', "There is no target 'mars'. Give 'local' or 'remote'."
    ),
    mistyped(
        "pace",
        "open_lab(pace=-1)",
        "pace is -1, and has to be a number of seconds from 0 to 600. Give pace in seconds, such as"
        " 300.",
    ),
    mistyped(
        "notebook that leads elsewhere",
        'open_lab("../../up")',
        "'../../up' is no notebook's name. Use letters, digits, hyphens and underscores: it names a"
        " directory.",
    ),
]


@dataclass(frozen=True)
class Notebook:
    """A kernel with an open lab, and a terminal that meets the same services."""

    kernel: Kernel
    terminal: Terminal

    def world(self) -> tuple[str, list[str]]:
        """What a cell that fails must leave as it is: the Cloud's objects, and every run."""
        objects = self.terminal.type("cloud", "list", "--json").out
        told = json.loads(self.terminal.type("status", "--json").out)
        return objects, sorted(run["run_id"] for run in told)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Notebook, Notebook]]:
    """Two kernels of one notebook, whose set-up cells were run at the same moment."""
    home = tmp_path_factory.mktemp("kernels") / "home"
    env = environment(home, notebook="01_happy_path")
    with ExitStack() as stack:
        kernels = [stack.enter_context(kernel(env)) for _ in range(2)]
        asked = [(k, k.start(SET_UP)) for k in kernels]
        for k, request in asked:
            cell = k.finish(request)
            assert cell.text.startswith("✓ Your lab is open local"), cell.text
        places = [Path(k.value("str(lab.settings.home)")) for k in kernels]
        yield tuple(  # type: ignore[misc]  # there are two
            Notebook(k, Terminal(place)) for k, place in zip(kernels, places, strict=True)
        )
    assert not left_over(home)


@pytest.fixture(scope="module")
def notebook(two: tuple[Notebook, Notebook]) -> Notebook:
    """The first of them, with a run that waits for a decision."""
    cell = two[0].kernel.run(f'run = lab.start("waits", config="{ADMIN}")')
    assert cell.status == "ok", cell.text
    assert two[0].kernel.run('run.wait("awaiting_approval")').status == "ok"
    return two[0]


def test_two_kernels_that_start_at_the_same_moment(two: tuple[Notebook, Notebook]) -> None:
    """Each has services of its own, on ports of its own, and both work."""
    homes = {notebook.terminal.home.name for notebook in two}
    assert homes == {"01_happy_path", "01_happy_path-2"}
    addresses = {notebook.kernel.value("lab.settings.address") for notebook in two}
    assert len(addresses) == 2
    for notebook in two:
        assert notebook.kernel.run("lab.check()").text.startswith("✓ Everybody answers")


@pytest.mark.parametrize("row", rows(CELLS))
def test_a_cell_fails_in_one_sentence(row: Row, notebook: Notebook, tmp_path: Path) -> None:
    """A box with sentence and remedy and no stack trace; no run starts, none changes."""
    before = notebook.world()
    cell = notebook.kernel.run(row.typed)
    assert cell.status == "error"
    assert is_one_sentence(cell), f"{cell.trace}\n{cell.text}"
    check_reads(cell.text.removeprefix("✕"), row, tmp_path)
    assert before == notebook.world()


def test_a_reader_s_own_mistakes_are_shown_where_they_are(notebook: Notebook) -> None:
    """A wrong call of what is not ours looks as it always does."""
    cell = notebook.kernel.run("len(3)")
    assert "TypeError" in cell.text
    assert "len(3)" in cell.text
    assert "AttributeError" in notebook.kernel.run('"text".lowre()').text


def test_cells_before_the_set_up_cell_and_after_the_end(notebook: Notebook) -> None:
    """A name that is not there yet, a lab that was closed: the cell to run is named."""
    kernel = notebook.kernel
    assert kernel.run("run.deny()").status == "ok"
    assert kernel.run("run.wait('rejected')").status == "ok"
    said = kernel.run('run.approve("late")').text
    assert "Refused: the run is over, it is rejected. Nothing was recorded." in flat(said)
    assert kernel.run("lab.close()").status == "ok"
    for cell in ('lab.start("x", config="y")', "run.deny()", "lab.restart_worker()", "lab.cloud()"):
        ended = kernel.run(cell)
        assert is_one_sentence(ended), ended.text
        assert flat(ended.text) == "✕ This lab is closed. Run the set-up cell again."
    early = kernel.run("del lab\nlab.start('x', config='y')")
    assert is_one_sentence(early)
    assert flat(early.text) == "✕ There is no 'lab' yet. Run the cell with lab = open_lab() first."


# --- the server, and the clock ---------------------------------------------------------------


def test_a_server_that_is_gone(scene: Scene) -> None:
    """Every command says so and what to do; when it is back everything is as before."""
    platform = scene.platform
    before = scene.world()
    platform.runtime.call(platform.services.stop("temporal"))
    try:
        for command in ("status", "status asked", "approve asked --reason x", "cancel asked"):
            said = scene.terminal.type(*command.split())
            assert (said.code, said.out) == (1, "")
            assert flat(said.err).startswith(f"The Temporal server at {platform.settings.address}")
            assert "does not answer" in said.err
            assert flat(said.err).endswith("Start it again: `tprov services start temporal`.")
        mended = scene.terminal.type("cloud", "mend")
        assert mended.code == 0, "the Cloud API has nothing to do with it"
    finally:
        platform.runtime.call(platform.services.start("temporal"))
    deadline = time.monotonic() + 60
    while "does not answer" in scene.terminal.type("status", "asked").err:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert before == scene.world()


@pytest.mark.parametrize("off", [-20 * 365, -1, 1, 20 * 365])
@pytest.mark.parametrize("name", sorted(views.EVERY))
def test_a_clock_that_is_far_off(name: str, off: int) -> None:
    """Days before a run began or years after it: no time is negative, every step is there."""
    console = Console(width=100, color_system=None)
    with console.capture() as captured:
        now = views.at(0) + timedelta(days=off)
        console.print(render.run(views.EVERY[name](), now=now, detail=True))
    picture = captured.get()
    assert not re.search(r"-\d+(\.\d+)? (s|min|h)\b", picture)
    for step_ in ("Init", "Plan", "Policy", "Approval", "Apply", "Output"):
        assert step_ in picture


# --- the tree of errors ----------------------------------------------------------------------


def tree(root: type[errors.TprovError] = errors.TprovError) -> list[type[errors.TprovError]]:
    """A class and all below it, of the tree in `errors.py`."""
    below = [kind for kind in root.__subclasses__() if kind.__module__ == errors.__name__]
    return [root, *(kind for child in below for kind in tree(child))]


RETRIED = {
    *("ToolError", "StorageError", "StillAtWork", "TerraformFailed", "CloudUnavailable"),
    "ReferenceMissing",
}
"""Errors that may pass by themselves, or once somebody has mended what is not in the run."""


@pytest.mark.parametrize("kind", tree())
async def test_each_error_says_whether_trying_again_helps(kind: type[errors.TprovError]) -> None:
    """Its class says so; the activities' edge tells Temporal; no retry policy has a list."""
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__, "the tree is drawn in the module's docstring"

    @step
    async def fail() -> None:
        raise kind("It is broken.", remedy="Mend it.")

    with pytest.raises(ApplicationError) as raised:
        await ActivityEnvironment().run(fail)
    told = raised.value
    assert (told.type, told.message, told.details) == (
        *(kind.__name__, "It is broken."),
        ("Mend it.",),
    )
    assert told.non_retryable is not (kind.__name__ in RETRIED)
    assert told.non_retryable is not kind.retryable


def test_retry_policies_leave_it_to_the_errors() -> None:
    """Tried until it works or says that it is pointless; an apply once, whatever it says."""
    assert workflow.RETRY.maximum_attempts == 0
    assert workflow.RETRY.non_retryable_error_types is None
    assert workflow.NEVER.maximum_attempts == 1
    named = workflow._NOTHING_DONE | workflow._FOR_A_PERSON
    assert named <= {kind.__name__ for kind in tree()}


async def test_a_disk_that_fails_inside_a_step_is_a_sentence(tmp_path: Path) -> None:
    """Any step: the file, why, and what to do; it is tried again."""

    @step
    async def fail() -> None:
        (tmp_path / "gone" / "file").write_text("x")

    with pytest.raises(ApplicationError) as raised:
        await ActivityEnvironment().run(fail)
    assert raised.value.message == f"{tmp_path}/gone/file cannot be used: there is no such place."
    assert raised.value.details == ("Make its directory first.",)
    assert raised.value.non_retryable is False


def test_each_trouble_of_a_disk_has_its_words() -> None:
    """Full, forbidden, read-only, or something that nobody thought of."""
    for number in (28, 122, 27, 30, 13, 1, 21, 20, 17, 2, 5):
        said = storage_error(OSError(number, os.strerror(number), "/file"))
        assert re.fullmatch(r"/file cannot be used: .+\.", said.message)
        assert said.remedy.endswith(".")

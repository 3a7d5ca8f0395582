"""Real configurations, each with a canary in the place of a secret, run by the real Terraform.

Every case is planned, shown, applied, changed, planned again and destroyed; whatever Terraform
prints on the way goes through the redaction, and then the canary is looked for: as it is, upside
down, escaped, encoded. What is still seen must be what docs/redaction.md says is still seen.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from tprov_kernel.messages import PlanView
from tprov_kernel.redaction import (
    Redacted,
    Scrubber,
    ephemeral_variables,
    event_view,
    given_secrets,
    plan_view,
    redact_outputs,
    redact_plan,
    secrets_of_state,
)

TERRAFORM = shutil.which("terraform")
DOCUMENT = Path(__file__).parent.parent / "docs" / "redaction.md"

pytestmark = [
    pytest.mark.skipif(TERRAFORM is None, reason="not run: no terraform on PATH"),
    pytest.mark.timeout(480),  # the first one waits for all the runs
]

CORE = "c4f3a91be07d52866"
PLAIN = f"canary-{CORE}"


def q(text: str) -> str:
    """Write a text as HCL does."""
    return json.dumps(text).replace("${", "$${").replace("%{", "%%{")


def variable(
    name: str = "s", *, mark: str = "sensitive = true", default: str | None = PLAIN
) -> str:
    """Declare a variable."""
    value = "" if default is None else f"default = {q(default)}"
    return f'variable "{name}" {{\n  type = string\n  {mark}\n  {value}\n}}\n'


def data(name: str, value: str, more: str = "") -> str:
    """Declare a resource of the built-in provider."""
    return f'resource "terraform_data" "{name}" {{\n  input = {value}\n  {more}\n}}\n'


def output(name: str, value: str, *, sensitive: bool = False) -> str:
    """Declare an output."""
    mark = "sensitive = true" if sensitive else ""
    return f'output "{name}" {{\n  value = {value}\n  {mark}\n}}\n'


@dataclass(frozen=True)
class Case:
    """One configuration.

    Attributes:
        name: What it is about; docs/redaction.md uses the same words where it still shows.
        main: `main.tf`.
        files: More files.
        tfvars: `terraform.tfvars.json`.
        env: More environment for Terraform.
        then: `main.tf` for the second plan; by default a harmless addition.
        secret: The canary.
        shows: The canary is still seen somewhere, and docs/redaction.md says why.
        fails: Terraform is expected to fail while planning or applying.
    """

    name: str
    main: str
    files: dict[str, str] = field(default_factory=dict)
    tfvars: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    then: str = ""
    secret: str = PLAIN
    shows: bool = False
    fails: bool = False


MODULE = variable(default=None) + data("x", "var.s") + output("inner", "var.s", sensitive=True)
ODD = f'a<b>&"c\\d${{e}} %{{f}} ü\t{CORE}'
PEM = (
    "-----BEGIN KEY-----\n"
    + "\n".join(f"{n}line{CORE}" for n in range(4))
    + "\n-----END KEY-----\n"
)

CASES = [
    Case("a sensitive variable, its default used", variable() + data("a", "var.s")),
    Case(
        "a sensitive variable from tfvars",
        variable(default=None) + data("a", "var.s"),
        tfvars={"s": PLAIN},
    ),
    Case(
        "a sensitive variable from the environment",
        variable(default=None) + data("a", "var.s"),
        env={"TF_VAR_s": PLAIN},
    ),
    Case("a sensitive variable that nothing uses", variable() + data("a", '"x"')),
    Case(
        "deep in maps, lists and objects",
        variable() + data("a", '{ l = ["x", var.s], m = { a = [{ b = var.s }] }, n = 1 }'),
        then=variable() + data("a", '{ l = ["y", var.s], m = { a = [{ b = var.s }] }, n = 2 }'),
    ),
    Case("in a set", variable() + data("a", 'toset(["x", var.s])')),
    Case("as the key of a map", variable() + data("a", "{ (var.s) = 1 }")),
    Case(
        "as the key of a map with an unknown value",
        variable() + data("b", '"x"') + data("a", "{ (var.s) = terraform_data.b.output }"),
    ),
    Case(
        "an object sensitive as a whole",
        'variable "o" {\n  type = object({ user = string, pw = string, ports = list(number) })\n'
        "  sensitive = true\n}\n" + data("a", "var.o"),
        tfvars={"o": {"user": "u", "pw": PLAIN, "ports": [1, 2]}},
    ),
    Case(
        "handed on by a provider without its mark",
        variable()
        + data("a", "{ p = var.s }")
        + data("b", "terraform_data.a.output")
        + output("c", "terraform_data.b.output"),
    ),
    Case("in triggers_replace", variable() + data("a", '"x"', "triggers_replace = [var.s]")),
    Case(
        "a replacement",
        variable() + data("a", "var.s", 'triggers_replace = ["one", var.s]'),
        then=variable() + data("a", "var.s", 'triggers_replace = ["two", var.s]'),
    ),
    Case(
        "sensitive() in a local",
        f"locals {{\n  k = sensitive({q(PLAIN)})\n}}\n" + data("a", "local.k"),
    ),
    Case(
        "encoded while marked, then handed on",
        variable()
        + data("a", '{ b = base64encode("u:${var.s}"), j = jsonencode({ p = var.s }) }')
        + data("b", "terraform_data.a.output"),
    ),
    Case("nonsensitive()", variable() + data("a", "nonsensitive(var.s)")),
    Case(
        "nonsensitive() in base64, at each alignment",
        variable()
        + data(
            "a",
            '[for p in ["", "u", "uv", "user:"] : base64encode("${p}${nonsensitive(var.s)}@host")]',
        ),
    ),
    Case(
        "nonsensitive() in a URL, in JSON, in JSON in JSON",
        variable(default=ODD)
        + data(
            "a",
            '["https://u:${urlencode(nonsensitive(var.s))}@h", '
            "jsonencode({ p = nonsensitive(var.s) }), "
            "jsonencode(jsonencode([nonsensitive(var.s)]))]",
        ),
        secret=ODD,
    ),
    Case(
        "a secret of several lines, indented",
        variable(default=PEM)
        + data("a", "var.s")
        + data("b", 'join("\\n", [for l in split("\\n", nonsensitive(var.s)) : "   ${l}"])'),
        secret=PEM,
    ),
    Case(
        "signs that must be escaped",
        variable(default=ODD) + data("a", "var.s") + data("b", "terraform_data.a.output"),
        secret=ODD,
    ),
    Case("a sensitive output", variable() + output("o", "var.s", sensitive=True)),
    Case(
        "an output that stops being sensitive",
        variable() + output("o", "var.s", sensitive=True),
        then=variable() + output("o", "nonsensitive(var.s)"),
    ),
    Case("a literal in a sensitive output", output("o", q(PLAIN), sensitive=True)),
    Case(
        "an output of a secret that a provider handed on",
        variable() + data("a", "var.s") + output("o", "terraform_data.a.output"),
    ),
    Case(
        "a module's sensitive variable, given a literal",
        f'module "m" {{\n  source = "./m"\n  s = {q(PLAIN)}\n}}\n',
        files={"m/main.tf": MODULE},
    ),
    Case(
        "a module's sensitive default, two levels deep",
        'module "m" {\n  source = "./m"\n}\n' + output("o", "module.m.o", sensitive=True),
        files={
            "m/main.tf": 'module "n" {\n  source = "./n"\n}\n'
            + output("o", "module.n.inner", sensitive=True),
            "m/n/main.tf": variable()
            + data("x", "var.s")
            + output("inner", "var.s", sensitive=True),
        },
    ),
    Case(
        "a module's variable that is not marked, given a sensitive value",
        variable() + 'module "m" {\n  source = "./m"\n  v = var.s\n}\n',
        files={"m/main.tf": variable("v", mark="", default=None) + data("x", "var.v")},
    ),
    Case(
        "the default of an ephemeral variable",
        variable(mark="ephemeral = true") + data("a", '"x"'),
    ),
    Case(
        "a set ephemeral variable",
        variable(mark="ephemeral = true", default=None) + data("a", '"x"'),
        env={"TF_VAR_s": PLAIN},
    ),
    Case(
        "a sensitive import id",
        variable() + "import {\n  to = terraform_data.a\n  id = var.s\n}\n" + data("a", '"x"'),
    ),
    Case(
        "for_each over nonsensitive keys",
        variable()
        + 'resource "terraform_data" "a" {\n  for_each = toset([nonsensitive(var.s), "x"])\n'
        "  input = each.key\n}\n" + output("o", "keys(terraform_data.a)"),
    ),
    Case(
        "a check that fails and would quote it",
        variable() + 'check "c" {\n  assert {\n    condition = length(var.s) < 3\n'
        '    error_message = "not ${var.s}"\n  }\n}\n',
    ),
    Case(
        "a check that quotes it with nonsensitive()",
        variable() + 'check "c" {\n  assert {\n    condition = length(var.s) < 3\n'
        '    error_message = "not ${nonsensitive(var.s)}"\n  }\n}\n',
    ),
    Case(
        "a validation that fails",
        'variable "s" {\n  type = string\n  sensitive = true\n  validation {\n'
        '    condition = length(var.s) < 3\n    error_message = "${var.s} is too long."\n  }\n}\n'
        + data("a", "var.s"),
        tfvars={"s": PLAIN},
        fails=True,
    ),
    Case(
        "a default of the wrong type",
        'variable "s" {\n  type = list(string)\n  sensitive = true\n'
        f"  default = {q(PLAIN)}\n}}\n" + data("a", "var.s"),
        fails=True,
    ),
    Case(
        "a postcondition that fails",
        variable()
        + data(
            "a",
            "var.s",
            "lifecycle {\n postcondition {\n  condition = self.output == 1\n"
            '  error_message = "got ${nonsensitive(var.s)}"\n } \n}',
        ),
        fails=True,
    ),
    Case(
        "nonsensitive() in an expression that fails",
        variable() + data("a", "tonumber(nonsensitive(var.s))"),
        fails=True,
    ),
    Case(
        "a command that fails",
        variable()
        + data(
            "a",
            '"x"',
            'provisioner "local-exec" {\n  command = "echo ${var.s}; echo out-$P; exit 3"\n'
            "  environment = { P = var.s }\n }",
        ),
        fails=True,
    ),
    Case(
        "a command whose output is shown",
        variable()
        + data(
            "a", '"x"', 'provisioner "local-exec" {\n  command = "echo ${nonsensitive(var.s)}"\n }'
        ),
    ),
    Case(
        "a plan that fails half-way",
        variable() + data("a", "var.s") + data("b", 'file("not-there-${var.s == "" ? 1 : 2}")'),
        fails=True,
    ),
    Case(
        "a resource that goes",
        variable() + data("a", "{ p = var.s }") + data("b", "terraform_data.a.output"),
        then=variable(),
    ),
    Case(
        "a resource that is forgotten",
        variable() + data("a", "{ p = var.s }"),
        then=variable()
        + "removed {\n  from = terraform_data.a\n  lifecycle {\n    destroy = false\n  }\n}\n",
    ),
    Case(
        "a resource that moved",
        variable() + data("a", "var.s"),
        then=variable()
        + data("b", "var.s")
        + "moved {\n  from = terraform_data.a\n  to = terraform_data.b\n}\n",
    ),
    Case(
        "another stack's outputs, given as defaults",
        variable() + 'data "terraform_remote_state" "r" {\n  backend = "local"\n'
        '  config = { path = "other.tfstate" }\n  defaults = { token = var.s }\n}\n'
        + data("a", "data.terraform_remote_state.r.outputs"),
        files={"other.tfstate": '{"version": 4, "terraform_version": "1.11.4", "outputs": {}}'},
    ),
    Case(
        "a number of eight digits and more",
        'variable "n" {\n  type = number\n  sensitive = true\n  default = 71093345528\n}\n'
        + data("a", "var.n")
        + data("b", '"pin ${nonsensitive(var.n)}"')
        + data("c", "terraform_data.a.output"),
        secret="71093345528",
    ),
    # What still shows: docs/redaction.md has a line for each.
    Case("a literal that nobody marked", data("a", q(PLAIN)), shows=True),
    Case(
        "an import id that is a literal",
        f"import {{\n  to = terraform_data.a\n  id = {q(PLAIN)}\n}}\n" + data("a", '"x"'),
        shows=True,
    ),
    Case(
        "another stack's secret",
        'data "terraform_remote_state" "r" {\n  backend = "local"\n'
        '  config = { path = "other.tfstate" }\n}\n'
        + data("a", "data.terraform_remote_state.r.outputs.token"),
        files={
            "other.tfstate": json.dumps(
                {
                    "version": 4,
                    "terraform_version": "1.11.4",
                    "serial": 1,
                    "lineage": "x",
                    "outputs": {"token": {"value": PLAIN, "type": "string", "sensitive": True}},
                    "resources": [],
                }
            )
        },
        shows=True,
    ),
    Case(
        "a value transformed after nonsensitive()",
        variable() + data("a", "[upper(nonsensitive(var.s)), strrev(nonsensitive(var.s))]"),
        shows=True,
    ),
    Case(
        "a part of a value after nonsensitive()",
        variable() + data("a", "substr(nonsensitive(var.s), 7, 12)"),
        shows=True,
    ),
    Case(
        "base64 of base64 after nonsensitive()",
        variable() + data("a", "base64encode(base64encode(nonsensitive(var.s)))"),
        shows=True,
    ),
    Case(
        "a short secret after nonsensitive()",
        variable(default="pw4711x") + data("a", "nonsensitive(var.s)"),
        secret="pw4711x",
        shows=True,
    ),
    Case(
        "a secret that a provider handed on in pieces",
        variable()
        + data("a", 'split("-", var.s)')
        + data("b", 'terraform_data.a.output[1] == "" ? 1 : 2'),
    ),
]


# --- running Terraform ---------------------------------------------------------------------------


@dataclass
class Ran:
    """What a case showed: as Terraform printed it, and after redaction."""

    raw: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    counts: list[tuple[PlanView, dict[str, int]]] = field(default_factory=list)
    failed: bool = False


class Stack:
    """A directory with one case, and the real Terraform in it."""

    def __init__(self, folder: Path, case: Case) -> None:
        self.folder, self.case, self.ran = folder, case, Ran()
        for name, text in {"main.tf": case.main, **case.files}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        (folder / "terraform.tfvars.json").write_text(json.dumps(case.tfvars))
        (folder / "cli.rc").write_text("disable_checkpoint = true\n")

    def terraform(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command."""
        assert TERRAFORM is not None
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TF_CLI_CONFIG_FILE": str(self.folder / "cli.rc"),
            **self.case.env,
        }
        done = subprocess.run(
            [TERRAFORM, *arguments],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.ran.raw.append(done.stdout)
        return done

    def known(self) -> frozenset[str]:
        """What the runner knows before there is a plan: given values of marked variables."""
        given = {**self.case.tfvars, **{k[7:]: v for k, v in self.case.env.items()}}
        return given_secrets([(self.folder / "main.tf").read_text()], given)

    def plan(self, *more: str) -> Redacted | None:
        """Plan, show, and keep what may be seen of it; None when it left no plan."""
        (self.folder / "tfplan").unlink(missing_ok=True)
        planned = self.terraform("plan", "-json", "-out=tfplan", *more)
        self.ran.failed = self.ran.failed or planned.returncode != 0
        redacted = None
        if (self.folder / "tfplan").exists():
            shown = json.loads(self.terraform("show", "-json", "tfplan").stdout)
            sources = [(self.folder / "main.tf").read_text()]
            redacted = redact_plan(
                shown, known=self.known(), ephemeral=ephemeral_variables(sources)
            )
            view = plan_view(redacted)
            self.ran.counts += [(view, counts) for counts in _summaries(planned.stdout)]
            self.ran.shown += [json.dumps(redacted.plan), json.dumps(asdict(view))]
        self.see_events(planned.stdout, redacted.scrubber if redacted else Scrubber(self.known()))
        return redacted

    def apply(self, redacted: Redacted) -> None:
        """Apply the saved plan, read the outputs, and keep what may be seen of both.

        Outputs are scrubbed as by somebody who has no plan any more.
        """
        applied = self.terraform("apply", "-json", "tfplan")
        self.ran.failed = self.ran.failed or applied.returncode != 0
        self.see_events(applied.stdout, redacted.scrubber)
        outputs = json.loads(self.terraform("output", "-json").stdout)
        state = json.loads(self.terraform("show", "-json").stdout)
        scrubber = Scrubber(secrets_of_state(state) | self.known())
        self.ran.shown.append(json.dumps(redact_outputs(outputs, scrubber)))

    def see_events(self, text: str, scrubber: Scrubber) -> None:
        """Keep what may be seen of a command's events."""
        for line in text.splitlines():
            if (event := event_view(json.loads(line), scrubber)) is not None:
                self.ran.shown.append(json.dumps(event))


def _summaries(events: str) -> list[dict[str, int]]:
    """How Terraform itself counts the changes of a plan."""
    seen = [json.loads(line) for line in events.splitlines()]
    return [event["changes"] for event in seen if event["type"] == "change_summary"]


def run(case: Case, folder: Path) -> Ran:
    """Take a case through its life."""
    stack = Stack(folder, case)
    if "module" in case.main:
        done = stack.terraform("init", "-backend=false")
        assert done.returncode == 0, done.stderr
    first = stack.plan()
    if first is not None and not first.plan.get("errored"):
        stack.apply(first)
    (folder / "main.tf").write_text(case.then or case.main + data("later", '"one more"'))
    second = stack.plan()
    if second is not None and not second.plan.get("errored"):
        stack.apply(second)
        stack.plan("-destroy")
    return stack.ran


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Every case, run once."""
    folders = [tmp_path_factory.mktemp("case") for _ in CASES]
    with ThreadPoolExecutor(max_workers=2) as pool:
        return dict(zip([c.name for c in CASES], pool.map(run, CASES, folders), strict=True))


# --- looking for the canary ----------------------------------------------------------------------


def readings(text: str, *, depth: int = 2) -> Iterator[str]:
    """A text as it is, unescaped, and with everything decoded that looks encoded."""
    yield text
    if depth == 0:
        return
    for other in {unquote_plus(text), html.unescape(text), _unescaped(text)} - {text}:
        yield from readings(other, depth=depth - 1)
    for word in re.findall(r"[A-Za-z0-9+/_-]{10,}", text):
        for skip in range(4):
            yield from readings(_from_base64(word[skip:]), depth=depth - 1)
    for word in re.findall(r"(?:[0-9a-fA-F]{2}){6,}", text):
        yield bytes.fromhex(word).decode("latin-1")


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text.replace('\\"', '"').replace("\\\\", "\\")


def _from_base64(word: str) -> str:
    word = word.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(word[: len(word) // 4 * 4]).decode("latin-1")
    except binascii.Error:
        return ""


def seen(text: str, secret: str) -> bool:
    """Whether any telling part of the secret is in the text, in whatever form and direction."""
    core = CORE if CORE in secret else secret
    size = min(9, len(core))
    parts = {core[i : i + size] for i in range(len(core) - size + 1)}
    parts |= {part[::-1] for part in parts}
    return any(part in reading.lower() for reading in readings(text) for part in parts)


# --- the tests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_secret_shows_only_where_the_documentation_says_so(
    case: Case, runs: dict[str, Ran]
) -> None:
    """Whatever Terraform printed: plan, view, events, outputs, errors."""
    ran = runs[case.name]
    leaks = [text for text in ran.shown if seen(text, case.secret)]

    assert ran.failed == case.fails
    assert len(ran.shown) > 3
    assert bool(leaks) == case.shows, leaks[:2]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_terraform_itself_prints_every_canary(case: Case, runs: dict[str, Ran]) -> None:
    """Each case has something to hide; only a set ephemeral value is printed nowhere."""
    printed = any(seen(text, case.secret) for text in runs[case.name].raw)

    assert printed == (case.name != "a set ephemeral variable")


def test_every_case_that_still_shows_is_documented_with_its_reason() -> None:
    """And the documentation names no case that does not exist."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \|", DOCUMENT.read_text(), re.MULTILINE)
    documented = {name for name, reason in rows if len(reason) > 20}

    assert {case.name for case in CASES if case.shows} == documented


@pytest.mark.parametrize("case", [c for c in CASES if not c.fails], ids=lambda case: case.name)
def test_changes_are_counted_as_terraform_counts_them(case: Case, runs: dict[str, Ran]) -> None:
    """Against the summary that Terraform itself prints for each plan."""
    counts = runs[case.name].counts
    ours = [
        {"add": v.add, "change": v.change, "remove": v.destroy, "import": v.imports}
        for v, _ in counts
    ]
    theirs = [{name: summary[name] for name in ours[0]} for _, summary in counts]

    assert len(counts) == 3
    assert ours == theirs


def test_the_canaries_are_found_where_nothing_is_redacted(tmp_path: Path) -> None:
    """So that 'not seen' above means something: in what Terraform prints, each is seen."""
    stack = Stack(tmp_path, CASES[0])
    stack.plan()
    plain = stack.terraform("show", "-json", "tfplan").stdout

    assert seen(plain, PLAIN)
    for form in (
        PLAIN.upper(),
        PLAIN[::-1],
        base64.b64encode(b"u" + PLAIN.encode()).decode(),
        base64.urlsafe_b64encode(b"uv" + PLAIN.encode()).decode(),
        PLAIN.encode().hex(),
        json.dumps(json.dumps(PLAIN)),
        PLAIN[7:18],
    ):
        assert seen(f"before {form} after", PLAIN), form
    assert not seen(plain.replace(PLAIN, "(sensitive value)"), PLAIN)

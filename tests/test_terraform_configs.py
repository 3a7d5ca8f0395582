"""The Terraform configurations: valid for the real provider, documented, and they really work.

Terraform and provider are the real ones; only the Cloud API is our stand-in.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.plans.record import Bench, stand_in
from tprov_kernel import opa
from tprov_kernel.process import Guard
from tprov_kernel.toolchain import Toolchain

ROOT = Path(__file__).parents[1]
NAMESPACE = ROOT / "terraform" / "tcloud_namespace"
ADMIN_USER = ROOT / "terraform" / "tcloud_admin_user"
MEASURED = ROOT / "benchmarks" / "terraform" / "namespace_and_user"
CONFIGURATIONS = [NAMESPACE, ADMIN_USER, MEASURED]
each = pytest.mark.parametrize("source", CONFIGURATIONS, ids=lambda path: path.name)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """A Cloud API of this module's own."""
    with stand_in(tmp_path_factory.mktemp("cloud")) as environment:
        yield environment


def bench(
    source: Path, folder: Path, tools: Toolchain, cloud: Mapping[str, str], suffix: str = "7c2f"
) -> Bench:
    """A copy of a configuration, initialised."""
    work = folder / "work"
    shutil.copytree(source, work, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    made = Bench(folder=work, tools=tools, cloud=cloud, suffix=suffix)
    made.init()
    return made


def values(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The planned values of each resource, by its type."""
    resources = plan["planned_values"]["root_module"]["resources"]
    return {resource["type"]: resource["values"] for resource in resources}


# --- how they are written --------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["terraform", "benchmarks"])
def test_they_are_formatted(toolchain: Toolchain, folder: str) -> None:
    """`terraform fmt -check` changes nothing."""
    command = [*toolchain.terraform.argv, "fmt", "-check", "-recursive", "-no-color", folder]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_no_lock_file_is_committed() -> None:
    """Its hashes depend on how the provider was obtained."""
    command = ["git", "ls-files", "terraform", "benchmarks/terraform"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    names = {Path(line).name for line in done.stdout.splitlines()}
    assert "main.tf" in names
    assert not {".terraform.lock.hcl", "terraform.tfvars", "terraform.tfstate"} & names


@each
def test_everything_is_documented(source: Path) -> None:
    """Every variable and output says what it is; every variable has a type and a default."""
    text = "\n".join(path.read_text() for path in source.glob("*.tf"))
    blocks = re.findall(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL)
    assert ("variable", "name_suffix") in {(kind, name) for kind, name, _ in blocks}
    for kind, name, body in blocks:
        assert re.search(r'^  description = "[^"]+\."$', body, re.MULTILINE), name
        if kind == "variable":
            assert re.search(r"^  type +=", body, re.MULTILINE), name
            assert re.search(r"^  default +=", body, re.MULTILINE), name


@each
def test_no_credential_is_asked_for(source: Path) -> None:
    """The API key comes from the environment: the provider's block is empty."""
    text = "\n".join(path.read_text() for path in source.glob("*.tf"))
    assert 'provider "temporalcloud" {}' in text
    assert not re.search(r'variable "\w*(key|token|secret)\w*"', text)


@pytest.mark.parametrize("source", [NAMESPACE, ADMIN_USER], ids=lambda path: path.name)
def test_a_presenter_can_show_main_tf(source: Path) -> None:
    """It fits on a slide."""
    assert len((source / "main.tf").read_text().splitlines()) <= 32


# --- what Terraform says of them -------------------------------------------------------------


@each
def test_they_are_valid(toolchain: Toolchain, tmp_path: Path, source: Path) -> None:
    """`terraform validate` with the real provider: no error, no warning, and no key needed."""
    made = bench(source, tmp_path, toolchain, cloud={})
    found = json.loads(made.terraform("validate", "-json"))
    assert (found["valid"], found["diagnostics"]) == (True, [])


@pytest.mark.parametrize("source", [NAMESPACE, ADMIN_USER], ids=lambda path: path.name)
def test_the_example_of_variables_is_what_the_defaults_are(
    toolchain: Toolchain, tmp_path: Path, cloud: Mapping[str, str], source: Path
) -> None:
    """Copied to terraform.tfvars it is read, names variables that exist, and changes nothing."""
    made = bench(source, tmp_path, toolchain, cloud)
    (made.folder / "terraform.tfvars.example").rename(made.folder / "terraform.tfvars")
    done = made.run("plan", "-input=false", "-no-color", "-out=plan")
    assert (done.returncode, done.stderr) == (0, "")
    assert "undeclared" not in done.stdout
    plan = json.loads(made.terraform("show", "-json", "plan"))
    declared = plan["configuration"]["root_module"]["variables"]
    by_default = {name: variable["default"] for name, variable in declared.items()}
    given = {name: variable["value"] for name, variable in plan["variables"].items()}
    assert given == {**by_default, "name_suffix": "7c2f"}


def test_without_a_suffix_a_name_has_no_loose_end(
    toolchain: Toolchain, tmp_path: Path, cloud: Mapping[str, str]
) -> None:
    """Neither a hyphen in a name nor a plus sign in an address; what a suffix does is below."""
    made = bench(MEASURED, tmp_path / "measured", toolchain, cloud, suffix="")
    found = values(made.plan())
    assert found["temporalcloud_namespace"]["name"] == "bench"
    assert found["temporalcloud_user"]["email"] == "bench@example.test"
    made = bench(ADMIN_USER, tmp_path / "admin", toolchain, cloud, suffix="")
    assert values(made.plan())["temporalcloud_user"]["email"] == "grace@example.test"


@pytest.mark.parametrize(
    ("source", "variable", "words"),
    [
        (NAMESPACE, "retention_days=91", "1 to 90 whole days"),
        (NAMESPACE, "retention_days=0", "1 to 90 whole days"),
        (NAMESPACE, "retention_days=1.5", "1 to 90 whole days"),
        (NAMESPACE, "regions=[]", "one region, or two"),
        (NAMESPACE, 'regions=["a-b-1", "a-b-2", "a-b-3"]', "one region, or two"),
        (NAMESPACE, "name_prefix=Big", "lower-case letter"),
        (NAMESPACE, "name_prefix=ends-", "do not end with a hyphen"),
        (NAMESPACE, "name_prefix=" + "x" * 49, "at most 48 characters"),
        (NAMESPACE, "name_suffix=a b", "lower-case letters and digits"),
        (ADMIN_USER, "name_suffix=a@b", "lower-case letters and digits"),
        (ADMIN_USER, "email=nobody", "grace@example.test"),
        (ADMIN_USER, "email=a@b@c.test", "grace@example.test"),
        (ADMIN_USER, "account_access=owner", "One of admin, developer"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_our_words(
    toolchain: Toolchain, tmp_path: Path, source: Path, variable: str, words: str
) -> None:
    """Before anything is planned, and without a Cloud."""
    made = bench(source, tmp_path, toolchain, cloud={"TEMPORAL_CLOUD_API_KEY": "none"})
    done = made.run("plan", "-input=false", "-no-color", f"-var={variable}")
    assert done.returncode == 1
    assert words in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    "name", ["a", "x" * 48, "team-42"], ids=["one letter", "the longest", "a usual one"]
)
def test_a_name_that_can_be_is_taken(
    toolchain: Toolchain, tmp_path: Path, cloud: Mapping[str, str], name: str
) -> None:
    """The provider accepts every name that our own check lets through."""
    made = bench(NAMESPACE, tmp_path, toolchain, cloud, suffix="0123456789ab")
    plan = made.plan(f"-var=name_prefix={name}")
    assert values(plan)["temporalcloud_namespace"]["name"] == f"{name}-0123456789ab"


# --- what they make --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "outputs"),
    [
        (
            NAMESPACE,
            {
                "namespace_id": r"^tprov-made\.\w+$",
                "namespace_name": "^tprov-made$",
                "grpc_address": r"^\S+:\d+$",
            },
        ),
        (
            ADMIN_USER,
            {
                "user_id": r"^\S+$",
                "user_email": r"^grace\+made@example\.test$",
                "user_state": "^active$",
            },
        ),
        (MEASURED, {"namespace_id": r"^bench-made\.\w+$", "user_id": r"^\S+$"}),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_it_is_made_stays_as_it_is_and_goes_again(
    toolchain: Toolchain,
    tmp_path: Path,
    cloud: Mapping[str, str],
    source: Path,
    outputs: dict[str, str],
) -> None:
    """Applied it gives its outputs; planned again nothing changes; destroyed nothing is left."""
    made = bench(source, tmp_path, toolchain, cloud, suffix="made")
    quiet = ("-input=false", "-no-color", "-auto-approve")
    made.terraform("apply", *quiet)
    told = {name: o["value"] for name, o in json.loads(made.terraform("output", "-json")).items()}
    assert set(told) == set(outputs)
    for name, pattern in outputs.items():
        assert re.search(pattern, told[name]), (name, told[name])
    assert made.run("plan", "-input=false", "-detailed-exitcode").returncode == 0
    made.terraform("destroy", *quiet)
    assert made.terraform("state", "list") == ""


@pytest.mark.parametrize(
    ("source", "levels"),
    [(NAMESPACE, []), (ADMIN_USER, ["soft-mandatory"]), (MEASURED, [])],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
async def test_what_the_policies_say(
    toolchain: Toolchain,
    guard: Guard,
    tmp_path: Path,
    cloud: Mapping[str, str],
    source: Path,
    levels: list[str],
) -> None:
    """The happy path and the benchmark pass; the admin user needs a person; a destroy is said."""
    made = bench(source, tmp_path, toolchain, cloud)
    verdict = await opa.evaluate(
        toolchain.opa,
        guard,
        bundle=ROOT / "policies",
        plan=json.dumps(made.plan()).encode(),
        scrub=lambda text: text,
        cache=tmp_path,
    )
    assert levels == [finding.level for finding in verdict.findings]

"""The policies: their own tests, OPA's checks, and their verdicts over real plans.

The plans in `fixtures/plans` were written by real Terraform with the real provider; `record.py`
beside them says how.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.plans.record import CASES
from tprov_kernel import opa
from tprov_kernel.messages import Level, Verdict
from tprov_kernel.process import Guard
from tprov_kernel.redaction import redact_plan
from tprov_kernel.toolchain import Toolchain

ROOT = Path(__file__).parents[1]
POLICIES = ROOT / "policies"
PLANS = Path(__file__).parent / "fixtures" / "plans"
RULES = sorted(f for f in (POLICIES / "rules").glob("*.rego") if not f.stem.endswith("_test"))

FINDINGS: dict[str, set[tuple[Level, str, str]]] = {
    "namespace": set(),
    "no_resources": set(),
    "nothing_to_do": set(),
    "imported": set(),
    "admin_user": {
        (
            "soft-mandatory",
            "account_admin",
            "`temporalcloud_user.admin` gets account-wide admin access.",
        )
    },
    "sensitive": {
        (
            "soft-mandatory",
            "account_admin",
            "`temporalcloud_user.admin` gets account-wide admin access.",
        )
    },
    "destroy": {("advisory", "destroyed", "`temporalcloud_namespace.this` is destroyed.")},
    "changed": {
        (
            "soft-mandatory",
            "account_admin",
            "`temporalcloud_user.promoted` gets account-wide admin access.",
        ),
        (
            "soft-mandatory",
            "destroyed_by_change",
            "`temporalcloud_namespace.renamed` is destroyed and made anew, because its name cannot"
            " be changed.",
        ),
        (
            "soft-mandatory",
            "destroyed_by_change",
            "`temporalcloud_user.gone` is destroyed: the configuration no longer asks for it.",
        ),
        (
            "advisory",
            "destroyed",
            "`temporalcloud_user.forgotten` goes on to exist, but Terraform manages it no longer.",
        ),
    },
    "broken_rules": {
        (
            "hard-mandatory",
            "allowed_regions",
            "`temporalcloud_namespace.open` lives in aws-ap-south-1, which is not an allowed"
            " region.",
        ),
        (
            "hard-mandatory",
            "authentication",
            "`temporalcloud_namespace.open` has neither API-key nor mTLS authentication.",
        ),
        (
            "soft-mandatory",
            "account_admin",
            "`temporalcloud_service_account.robot` gets account-wide admin access.",
        ),
        (
            "soft-mandatory",
            "account_admin",
            "`temporalcloud_group_access.everybody` gets account-wide admin access.",
        ),
        (
            "soft-mandatory",
            "api_key_life",
            "`temporalcloud_apikey.forever` expires at 9999-12-31T00:00:00Z, more than 90 days"
            " from now.",
        ),
        (
            "soft-mandatory",
            "namespace_admin_domain",
            "`temporalcloud_user.outsider` makes eve@elsewhere.test, who is in no allowed mail"
            " domain, a namespace administrator.",
        ),
        (
            "soft-mandatory",
            "resource_types",
            "`terraform_data.hook` is a terraform_data, which is not an allowed type.",
        ),
        (
            "advisory",
            "retention",
            "`temporalcloud_namespace.open` keeps histories for 60 days; the bounds are 1 and 30.",
        ),
    },
    "known_later": {
        (
            "hard-mandatory",
            "allowed_regions",
            "`temporalcloud_namespace.somewhere` lives in a region that is known only after apply.",
        ),
        (
            "soft-mandatory",
            "account_admin",
            "`temporalcloud_user.role` gets account access that is known only after apply.",
        ),
        (
            "soft-mandatory",
            "api_key_life",
            "`temporalcloud_apikey.later` expires at a time that is known only after apply.",
        ),
        (
            "soft-mandatory",
            "namespace_admin_domain",
            "`temporalcloud_user.address` makes somebody a namespace administrator whose address"
            " is known only after apply.",
        ),
        (
            "soft-mandatory",
            "namespace_admin_domain",
            "`temporalcloud_user.permission` makes eve@elsewhere.test, who is in no allowed mail"
            " domain, a namespace administrator.",
        ),
        (
            "soft-mandatory",
            "resource_types",
            "`terraform_data.later` is a terraform_data, which is not an allowed type.",
        ),
        (
            "advisory",
            "retention",
            "`temporalcloud_namespace.somewhere` keeps histories for a time that is known only"
            " after apply.",
        ),
    },
}


def run_opa(toolchain: Toolchain, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `opa` over the policies as a developer would."""
    return subprocess.run(
        [*toolchain.opa.argv, *arguments],
        cwd=POLICIES,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def judge(
    toolchain: Toolchain, guard: Guard, plan: dict[str, Any], *, bundle: Path, cache: Path
) -> Verdict:
    """What our policies say of a plan."""
    return await opa.evaluate(
        toolchain.opa,
        guard,
        bundle=bundle,
        plan=json.dumps(plan).encode(),
        scrub=lambda text: text,
        cache=cache,
    )


# --- OPA's own checks ------------------------------------------------------------------------


def test_the_policies_own_tests_pass_and_cover_them(toolchain: Toolchain) -> None:
    """`opa test` passes, and at least 95 % of every line of Rego was run by it."""
    passed = run_opa(toolchain, "test", "--bundle", ".")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    covered = run_opa(toolchain, "test", "--bundle", ".", "--coverage", "--format", "json")
    report = json.loads(covered.stdout)
    missing = {name: file.get("not_covered") for name, file in report["files"].items()}
    assert report["coverage"] >= 95, {n: lines for n, lines in missing.items() if lines}
    assert {str(f.relative_to(POLICIES)) for f in RULES} <= set(report["files"])


def test_the_policies_are_strict(toolchain: Toolchain) -> None:
    """`opa check --strict` finds nothing: no unused import, no unused variable."""
    done = run_opa(toolchain, "check", "--strict", "--bundle", ".")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_policies_are_formatted(toolchain: Toolchain) -> None:
    """`opa fmt --list` names no file."""
    done = run_opa(toolchain, "fmt", "--list", ".")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("rule", [f.stem for f in RULES])
def test_a_rule_says_what_it_is_and_is_tested(toolchain: Toolchain, rule: str) -> None:
    """Its file is named as its package; it has a title, a description, a level, a remedy, tests."""
    done = run_opa(toolchain, "inspect", "--annotations", "--format", "json", f"rules/{rule}.rego")
    found = json.loads(done.stdout)
    assert list(found["namespaces"]) == [f"data.tprov.rules.{rule}"]
    (annotations,) = (a["annotations"] for a in found["annotations"])
    assert annotations["title"]
    assert annotations["description"]
    assert annotations["custom"]["level"] in opa.LEVELS
    assert annotations["custom"]["remedy"].endswith(".")
    tests = POLICIES / "rules" / f"{rule}_test.rego"
    assert tests.read_text().count("\ntest_") >= 3


# --- verdicts over real plans ----------------------------------------------------------------


def test_every_recorded_plan_has_a_verdict_here() -> None:
    """A case that is recorded is also judged."""
    assert set(CASES) == set(FINDINGS) == {f.stem for f in PLANS.glob("*.json")}


@pytest.mark.parametrize("name", sorted(FINDINGS))
async def test_the_verdict_over_a_real_plan(
    toolchain: Toolchain, guard: Guard, tmp_path: Path, name: str
) -> None:
    """Every finding with its level and words, and none besides."""
    plan = json.loads((PLANS / f"{name}.json").read_text())
    verdict = await judge(toolchain, guard, plan, bundle=POLICIES, cache=tmp_path)
    actual = {(f.level, f.rule, f.message) for f in verdict.findings}
    assert FINDINGS[name] == actual
    assert len(verdict.findings) == len(actual)
    assert all(f.address and f.title and f.remedy for f in verdict.findings)


async def test_the_finding_as_it_is_drawn(
    toolchain: Toolchain, guard: Guard, tmp_path: Path
) -> None:
    """The scenario's admin user: address, words and remedy as on the run card."""
    plan = json.loads((PLANS / "admin_user.json").read_text())
    verdict = await judge(toolchain, guard, plan, bundle=POLICIES, cache=tmp_path)
    (finding,) = verdict.at("soft-mandatory")
    assert finding.address == "temporalcloud_user.admin"
    assert finding.remedy == "Give `developer` access and a namespace permission."
    assert finding.title == "Account-wide administrator"
    assert verdict.opa_version == toolchain.opa.version


async def test_settings_raise_a_level_and_make_another_bundle(
    toolchain: Toolchain, guard: Guard, tmp_path: Path
) -> None:
    """`levels` in data.json forbids what was a person's choice; the digest tells the two apart."""
    bundle = tmp_path / "policies"
    await asyncio.to_thread(shutil.copytree, POLICIES, bundle)
    settings = json.loads((bundle / "data.json").read_text())
    settings["settings"]["levels"] = {"account_admin": "hard-mandatory"}
    (bundle / "data.json").write_text(json.dumps(settings))
    plan = json.loads((PLANS / "admin_user.json").read_text())
    verdict = await judge(toolchain, guard, plan, bundle=bundle, cache=tmp_path)
    assert [f.rule for f in verdict.at("hard-mandatory")] == ["account_admin"]
    assert verdict.bundle_digest != opa.bundle_digest(POLICIES)


async def test_settings_that_name_no_rule_forbid_everything(
    toolchain: Toolchain, guard: Guard, tmp_path: Path
) -> None:
    """A typing error in a rule's name must not leave the rule at its old level unnoticed."""
    bundle = tmp_path / "policies"
    await asyncio.to_thread(shutil.copytree, POLICIES, bundle)
    text = (bundle / "data.json").read_text()
    (bundle / "data.json").write_text(
        text.replace('"levels": {}', '"levels": {"acount_admin": "hard-mandatory"}')
    )
    plan = json.loads((PLANS / "namespace.json").read_text())
    verdict = await judge(toolchain, guard, plan, bundle=bundle, cache=tmp_path)
    (finding,) = verdict.findings
    assert finding.level == "hard-mandatory"
    assert finding.message == (
        'The policies\' settings give a level to "acount_admin", which is no rule.'
    )


async def test_a_redacted_plan_is_never_allowed(
    toolchain: Toolchain, guard: Guard, tmp_path: Path
) -> None:
    """The role is a sensitive variable: our own redaction hides it, and the verdict says so."""
    plan = json.loads((PLANS / "sensitive.json").read_text())
    redacted = redact_plan(plan, known=[])
    verdict = await judge(toolchain, guard, redacted.plan, bundle=POLICIES, cache=tmp_path)
    (finding,) = verdict.at("hard-mandatory")
    assert finding.rule == "undecidable"
    assert "hides change.after.account_access" in finding.message


@pytest.mark.parametrize("cut", ["timestamp", "format_version", "errored"])
async def test_a_plan_without_its_frame_is_never_allowed(
    toolchain: Toolchain, guard: Guard, tmp_path: Path, cut: str
) -> None:
    """What is missing is said; nothing follows from its absence."""
    plan = json.loads((PLANS / "namespace.json").read_text())
    del plan[cut]
    verdict = await judge(toolchain, guard, plan, bundle=POLICIES, cache=tmp_path)
    (finding,) = verdict.at("hard-mandatory")
    assert finding.rule == "undecidable"
    assert cut in finding.message


def test_the_readme_lists_every_rule(toolchain: Toolchain) -> None:
    """With the level that it has."""
    done = run_opa(toolchain, "eval", "--bundle", ".", "--format", "json", "data.tprov.verdict")
    levels = json.loads(done.stdout)["result"][0]["expressions"][0]["value"]["levels"]
    rows = re.findall(
        r"^\| `(\w+)` \| ([a-z-]+)", (POLICIES / "README.md").read_text(), re.MULTILINE
    )
    assert dict(rows) == {**levels, "undecidable": "hard-mandatory"}

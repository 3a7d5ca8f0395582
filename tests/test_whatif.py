"""What if the policies were others: judged on the saved plan of a run, without planning again."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Platform
from tests.test_workflow import ADMIN, asks, start, until
from tprov_kernel import runs, savedplan, whatif
from tprov_kernel.errors import PolicyError, SealBroken, StackError, ToolError
from tprov_kernel.messages import Verdict
from tprov_kernel.payloads.keyring import KeyRing

pytestmark = pytest.mark.timeout(90)

POLICIES = ROOT / "policies"
ACCOUNT_ADMIN = (POLICIES / "rules" / "account_admin.rego").read_text()
SECRET = "correct-horse-battery-staple"

WhatIf = Callable[..., Awaitable[Any]]


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> None:
    """Each test begins without shown plans."""
    savedplan.forget()


def asking(platform: Platform, client: Any, handle: runs.RunHandle) -> WhatIf:
    """`what_if` about a run, with everything that a test does not care about filled in."""

    async def ask(**options: Any) -> Verdict:
        return await whatif.what_if(client, handle, **_means(platform, options))

    return ask


def explaining(platform: Platform, client: Any, handle: runs.RunHandle) -> WhatIf:
    """The same for `explain`."""

    async def ask(rule: str, **options: Any) -> str:
        return await whatif.explain(client, handle, rule, **_means(platform, options))

    return ask


def _means(platform: Platform, options: dict[str, Any]) -> dict[str, Any]:
    given = {
        "key_ring": platform.keys,
        "toolchain": platform.toolchain,
        "guard": platform.guard,
        "settings": platform.settings,
    }
    return {**given, **options}


def levels(verdict: Verdict) -> list[tuple[str, str]]:
    """Rule and level of each finding."""
    return [(f.rule, f.level) for f in verdict.findings]


async def test_other_policies_on_a_plan_that_waits(platform: Platform, tmp_path: Path) -> None:
    """The run's own verdict; another level; an edited rule; another directory. Nothing happens."""
    client = await platform.client()
    async with platform.worker(client, task_queue="whatif") as settings:
        handle = await start(client, settings, platform, "whatif", ADMIN)
        review = (await until(client, handle, asks)).review
        assert review is not None
        ask = asking(platform, client, handle)
        before = (await handle.describe()).history_length

        own = await ask()
        assert (own.findings, own.bundle_digest) == (review.findings, review.bundle_digest)
        assert levels(own) == [("account_admin", "soft-mandatory")]

        harder = await ask(levels={"account_admin": "hard-mandatory"})
        assert levels(harder) == [("account_admin", "hard-mandatory")]
        assert harder.bundle_digest != own.bundle_digest

        milder = ACCOUNT_ADMIN.replace('{"admin", "owner"}', '{"owner"}')
        assert levels(await ask(rego={"rules/account_admin.rego": milder})) == []

        more = _rule("no_tests", 'endswith(change.change.after.email, "@example.test")')
        added = await ask(rego={"rules/no_tests.rego": more})
        assert ("no_tests", "advisory") in levels(added)

        bundle = tmp_path / "policies"
        shutil.copytree(POLICIES, bundle)
        (bundle / "rules" / "account_admin.rego").unlink()
        assert levels(await ask(bundle=bundle)) == []

        assert (await handle.describe()).history_length == before
        assert (POLICIES / "rules" / "account_admin.rego").read_text() == ACCOUNT_ADMIN
        await runs.decide(handle, "deny", reason="")
        await handle.result()
    assert levels(await ask()) == levels(own), "a run that is over has a plan too"


def _rule(name: str, condition: str, words: str = '"is for tests."') -> str:
    return f"""# METADATA
# scope: package
# title: {name}
# custom:
#   level: advisory
#   remedy: None.
package tprov.rules.{name}

import data.tprov.plan

about := rego.metadata.chain()

findings contains plan.about(change, {words}) if {{
	some change in input.resource_changes
	{condition}
}}
"""


async def test_every_mistake_is_a_sentence(platform: Platform) -> None:
    """In a rule, a level, a name; and nobody is told that the plan is allowed."""
    client = await platform.client()
    async with platform.worker(client, task_queue="mistakes") as settings:
        handle = await start(client, settings, platform, "mistakes", ADMIN)
        await until(client, handle, asks)
        await handle.terminate()
    ask = asking(platform, client, handle)
    with pytest.raises(PolicyError, match=r"^rules/mine\.rego:3: "):
        await ask(rego={"rules/mine.rego": "package tprov.rules.mine\n\nthis is no rego\n"})
    with pytest.raises(PolicyError, match="There is no rule 'acount_admin'") as caught:
        await ask(levels={"acount_admin": "advisory"})
    assert "account_admin" in caught.value.remedy
    with pytest.raises(PolicyError, match="has the level 'mild', none of hard-mandatory"):
        await ask(levels={"account_admin": "mild"})
    for name in ("../x.rego", "/x.rego", "x.txt", "x_test.rego"):
        with pytest.raises(PolicyError, match="no file that decides"):
            await ask(rego={name: "package x"})
    with pytest.raises(PolicyError, match="There is no rule 'nobody'"):
        await explaining(platform, client, handle)("nobody")
    with pytest.raises(StackError, match=r"says nothing of a\.b"):
        await explaining(platform, client, handle)("account_admin", address="a.b")


async def test_on_a_machine_that_never_saw_the_stack(platform: Platform, tmp_path: Path) -> None:
    """History and key ring are enough; afterwards nothing of it is left here."""
    client = await platform.client()
    async with platform.worker(client, task_queue="elsewhere") as settings:
        handle = await start(client, settings, platform, "elsewhere", ADMIN)
        await until(client, handle, asks)
        await handle.terminate()
    elsewhere = replace(platform.settings, home=tmp_path / "home")
    verdict = await asking(platform, client, handle)(settings=elsewhere)
    assert levels(verdict) == [("account_admin", "soft-mandatory")]
    assert not elsewhere.home.exists()


async def test_a_directory_that_moved_on_is_left_alone(platform: Platform, tmp_path: Path) -> None:
    """The stack's directory holds another snapshot by now: the plan is shown elsewhere."""
    directory = tmp_path / "admin"
    shutil.copytree(ADMIN, directory)
    client = await platform.client()
    async with platform.worker(client, task_queue="moved-on") as settings:
        first = await start(client, settings, platform, "moved-on", directory)
        await until(client, first, asks)
        await first.terminate()
        (directory / "main.tf").write_text("terraform {}\n")
        (directory / "outputs.tf").unlink()
        second = await start(client, settings, platform, "moved-on", directory)
        await second.result()
    verdict = await asking(platform, client, first)()
    assert levels(verdict) == [("account_admin", "soft-mandatory")]


async def test_secrets_come_back_scrubbed(platform: Platform, tmp_path: Path) -> None:
    """A rule that quotes a sensitive variable judges the real one, and nobody gets to read it."""
    directory = tmp_path / "secret"
    directory.mkdir()
    (directory / "main.tf").write_text(
        'variable "name_suffix" {}\n'
        'variable "token" {\n  type = string\n  sensitive = true\n}\n'
        'resource "terraform_data" "a" {\n  input = var.token\n}\n'
    )
    client = await platform.client()
    async with platform.worker(client, task_queue="secret") as settings:
        handle = await start(
            client, settings, platform, "secret", directory, variables={"token": SECRET}
        )
        await until(client, handle, lambda v: v.verdict is not None)
        await until(client, handle, lambda v: v.closed or asks(v))
        await handle.cancel()
    quoting = _rule(
        "quote",
        f'change.change.after.input == "{SECRET}"',
        'sprintf("is %s.", [change.change.after.input])',
    )
    rego = {"rules/quote.rego": quoting}
    verdict = await asking(platform, client, handle)(rego=rego)
    (found,) = [f for f in verdict.findings if f.rule == "quote"]
    assert found.message == "`terraform_data.a` is (sensitive value)."
    told = await explaining(platform, client, handle)("quote", rego=rego)
    assert SECRET[:12] not in repr(verdict) + told
    assert SECRET not in repr(savedplan.remembered())


async def test_an_explanation_is_opas_own(platform: Platform) -> None:
    """With file, line and values; also of a rule that finds nothing; about one resource."""
    client = await platform.client()
    async with platform.worker(client, task_queue="explain") as settings:
        handle = await start(client, settings, platform, "explain", ADMIN)
        await until(client, handle, asks)
        await handle.terminate()
    explain = explaining(platform, client, handle)
    told = await explain("account_admin", address="temporalcloud_user.admin")
    assert "rules/account_admin.rego:17" in told
    assert 'role: "admin"' in told
    assert "gets account-wide admin access." in told
    assert "Redo" not in told
    silent = await explain("allowed_regions")
    assert "rules/allowed_regions.rego:" in silent
    assert silent.endswith("[]")
    assert "undecidable.rego:" in await explain("undecidable")


async def test_a_run_without_a_plan(platform: Platform) -> None:
    """Nobody works on it yet."""
    client = await platform.client()
    handle = await start(client, platform.settings, platform, "planless", ADMIN)
    with pytest.raises(StackError, match="has made no plan yet"):
        await asking(platform, client, handle)()
    await handle.terminate()


async def test_what_cannot_be_opened_is_a_sentence(platform: Platform) -> None:
    """Another Terraform, another key ring."""
    client = await platform.client()
    async with platform.worker(client, task_queue="closed") as settings:
        handle = await start(client, settings, platform, "closed", ADMIN)
        await until(client, handle, asks)
        await handle.terminate()
    ask = asking(platform, client, handle)
    other = replace(platform.toolchain.terraform, version="1.99.0")
    with pytest.raises(ToolError, match=r"only that very version can read it; here is 1\.99\.0"):
        await ask(toolchain=replace(platform.toolchain, terraform=other))
    with pytest.raises(SealBroken, match="which the key ring lacks"):
        await ask(key_ring=KeyRing.in_memory())

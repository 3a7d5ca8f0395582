"""After an apply that was cut off: nobody else's object is taken, and nothing is made blindly."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.cloud.cloudservice.v1 import (
    CreateUserRequest,
    DeleteConnectivityRuleRequest,
    DeleteUserRequest,
    GetConnectivityRulesRequest,
    GetUserRequest,
)
from temporalio.api.cloud.connectivityrule.v1 import ConnectivityRule
from temporalio.api.cloud.identity.v1 import Access, AccountAccess, UserSpec
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from tests.conftest import Platform
from tests.test_interrupt import cloud_of
from tests.test_recovery import appears, terraform_of
from tests.test_workflow import ADMIN, PROVIDER, asks, start, to_mend, until
from tests.test_workflow import NAMESPACE as NAMESPACE_DIRECTORY
from tprov_kernel import opa, runs
from tprov_kernel.activities import Activities
from tprov_kernel.audit import audit, to_markdown
from tprov_kernel.messages import ApplyJob, PlanJob, PlanResult, RecoverJob, Status
from tprov_kernel.stacks import held_objects, take_snapshot
from tprov_kernel.standin.control import StandinControl

pytestmark = pytest.mark.timeout(120)

NAMESPACE = """
resource "temporalcloud_namespace" "a" {
  name           = "%s-${var.name_suffix}"
  regions        = ["aws-us-east-1"]
  retention_days = 1
  api_key_auth   = true
}
"""


async def names_of(control: StandinControl, kind: str) -> list[str]:
    """What the Cloud has of a kind."""
    return [o["name"] for o in await control.objects() if o["type"] == kind]


async def create_user(platform: Platform, email: str) -> str:
    """What somebody else does at the same Cloud account."""
    access = Access(account_access=AccountAccess(role=AccountAccess.ROLE_READ))
    request = CreateUserRequest(spec=UserSpec(email=email, access=access))
    return (await (await cloud_of(platform)).cloud_service.create_user(request)).user_id


async def remove_user(platform: Platform, id: str) -> None:
    """They take it away again."""
    service = (await cloud_of(platform)).cloud_service
    version = (await service.get_user(GetUserRequest(user_id=id))).user.resource_version
    await service.delete_user(DeleteUserRequest(user_id=id, resource_version=version))

    async def is_gone() -> bool:
        return id not in {u.id for u in await platform.cloud.list_users()}

    await appears(is_gone)


async def remove_rule(platform: Platform) -> None:
    """What a person does who finds it and does not want it."""
    service = (await cloud_of(platform)).cloud_service

    async def rules() -> list[ConnectivityRule]:
        asked = GetConnectivityRulesRequest()
        return [*(await service.get_connectivity_rules(asked)).connectivity_rules]

    (rule,) = await rules()
    await service.delete_connectivity_rule(
        DeleteConnectivityRuleRequest(
            connectivity_rule_id=rule.id, resource_version=rule.resource_version
        )
    )

    async def is_gone() -> bool:
        return not await rules()

    await appears(is_gone)


async def test_what_somebody_else_made_while_it_waited_is_not_taken(platform: Platform) -> None:
    """Absent at the review, there at the apply: nothing is applied, a person is asked.

    When it is gone, the run goes on under the same approval.
    """
    client = await platform.client()
    async with platform.worker(client, task_queue="theft") as settings:
        handle = await start(client, settings, platform, "theft", ADMIN)
        view = await until(client, handle, asks)
        assert view.plan is not None
        email = view.plan.changes[0].title
        theirs = await create_user(platform, email)
        await runs.decide(handle, "approve", reason="she is new")
        view = await until(client, handle, to_mend)
        assert view.repair is not None, view.failure
        assert f"would create {email!r}, which exists already (id {theirs})" in view.repair.failure
        assert held_objects(settings.stacks, "theft") == []
        await remove_user(platform, theirs)
        await runs.recheck(handle)
        result = await handle.result()
        assert result.status == Status.APPLIED
        assert [d.outcome for d in result.decisions] == ["approved"]
    told = to_markdown(await audit(client, handle))
    assert "exists by now, and this run has not made it" in told
    assert "taken over" not in told


async def test_what_an_older_apply_had_made_is_told_where_the_last_one_had_not_begun(
    platform: Platform, control: StandinControl
) -> None:
    """Taken over all the same, and an audit reads so."""
    steps = Activities(
        settings=platform.settings,
        toolchain=platform.toolchain,
        key_ring=platform.keys,
        guard=platform.guard,
    )
    asked: dict[str, Any] = {
        "stack": "older",
        "snapshot": take_snapshot(NAMESPACE_DIRECTORY, variables={}, key_ring=platform.keys),
        "suffix": "older",
        "heartbeat": 30.0,
    }

    async def planned() -> PlanResult:
        job = PlanJob(action="provision", **asked)
        made: PlanResult = await ActivityEnvironment().run(steps.terraform_plan, job)
        return made

    first, second = await planned(), await planned()
    bundle = opa.bundle_digest(platform.settings.policies)
    job = ApplyJob(plan=first.plan, bundle_digest=bundle, absent=first.absent, **asked)
    await control.hold("CreateNamespace")
    applying = asyncio.ensure_future(ActivityEnvironment().run(steps.terraform_apply, job))

    async def is_made() -> bool:
        return any(n.endswith("-older") for n in await names_of(control, "namespace"))

    await appears(is_made)
    (await terraform_of(platform, "older")).kill()
    with pytest.raises(ApplicationError, match="ended by signal 9"):
        await applying
    await control.mend()
    recovery = RecoverJob(plan=second.plan, absent=second.absent, **asked)
    found = await ActivityEnvironment().run(steps.recover_apply, recovery)
    assert found.story[0] == "The apply had not begun on this machine."
    assert found.story[-1].endswith("That apply made it: it is taken over.")
    assert [*found.adopt] == held_objects(platform.settings.stacks, "older")


async def test_a_replacement_that_was_cut_off_is_taken_over(
    platform: Platform, control: StandinControl, tmp_path: Path
) -> None:
    """The old one is gone, the new one made, and in no state: it is found, and it is ours."""
    client = await platform.client()
    (tmp_path / "main.tf").write_text(PROVIDER + NAMESPACE % "repl-one")
    async with platform.worker(client, task_queue="repl") as settings:
        first = await start(client, settings, platform, "repl", tmp_path)
        assert (await first.result()).status == Status.APPLIED
        (tmp_path / "main.tf").write_text(PROVIDER + NAMESPACE % "repl-two")
        await control.hold("CreateNamespace")
        handle = await start(client, settings, platform, "repl", tmp_path)
        await until(client, handle, asks)
        await runs.decide(handle, "approve", reason="it needs another name")

        async def is_made() -> bool:
            return any(name.startswith("repl-two") for name in await names_of(control, "namespace"))

        await appears(is_made)
        (await terraform_of(platform, "repl")).kill()
        await control.mend()
        result = await handle.result()
        assert result.status == Status.APPLIED
        named = [n for n in await names_of(control, "namespace") if n.startswith("repl-")]
        assert len(named) == 1
        assert named[0].startswith("repl-two")
        again = await start(client, settings, platform, "repl", tmp_path)
        assert (await again.result()).status == Status.NO_CHANGES
    told = to_markdown(await audit(client, handle))
    assert "which lacks temporalcloud_namespace.a" in told


async def test_what_nobody_can_look_up_is_asked_about_before_anything_is_made(
    platform: Platform, control: StandinControl, tmp_path: Path
) -> None:
    """A kind without a name, cut off: a person looks, and says by a recheck that it may be made."""
    rule = """
resource "temporalcloud_connectivity_rule" "r" {
  connectivity_type = "public"
}
"""
    client = await platform.client()
    (tmp_path / "main.tf").write_text(PROVIDER + rule)
    async with platform.worker(client, task_queue="unnamed") as settings:
        await control.hold("CreateConnectivityRule")
        handle = await start(client, settings, platform, "unnamed", tmp_path)
        view = await until(client, handle, lambda v: asks(v) or "creating" in v.step("apply").doing)
        if view.review is not None:
            await runs.decide(handle, "approve", reason="a rule")

        async def is_made() -> bool:
            return bool(await names_of(control, "connectivity rule"))

        await appears(is_made)
        (await terraform_of(platform, "unnamed")).kill()
        view = await until(client, handle, to_mend)
        assert view.repair is not None, view.failure
        assert "temporalcloud_connectivity_rule.r" in view.repair.failure
        assert "cannot be looked up by a name" in view.repair.failure
        assert len(await names_of(control, "connectivity rule")) == 1, "nothing was made blindly"
        await control.mend()
        await remove_rule(platform)
        await runs.recheck(handle)
        assert (await handle.result()).status == Status.APPLIED
        assert len(await names_of(control, "connectivity rule")) == 1
        assert held_objects(settings.stacks, "unnamed") == ["temporalcloud_connectivity_rule.r"]


async def test_a_name_that_is_known_late_is_a_question(
    platform: Platform, control: StandinControl, tmp_path: Path
) -> None:
    """Its name comes from another object: nobody could look before, so nobody can tell whose."""
    account = """
resource "temporalcloud_service_account" "s" {
  name           = "of-${temporalcloud_namespace.a.id}"
  account_access = "read"
}
"""
    client = await platform.client()
    (tmp_path / "main.tf").write_text(PROVIDER + NAMESPACE % "named-late" + account)
    async with platform.worker(client, task_queue="named-late") as settings:
        await control.hold("CreateServiceAccount")
        handle = await start(client, settings, platform, "named-late", tmp_path)

        async def is_made() -> bool:
            return any(
                n.startswith("of-named-late") for n in await names_of(control, "service account")
            )

        await appears(is_made)
        (await terraform_of(platform, "named-late")).kill()
        await control.mend()
        view = await until(client, handle, to_mend)
        assert view.repair is not None, view.failure
        assert "temporalcloud_service_account.s would create 'of-named-late" in view.repair.failure
        assert "that was cut off may have made it" in view.repair.failure
        assert held_objects(settings.stacks, "named-late") == ["temporalcloud_namespace.a"]
        told = to_markdown(await audit(client, handle))
        assert "lacks nothing" not in told
        await handle.cancel()

"""The gate: what was reviewed is what is applied, whatever happens meanwhile."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.common import RawValue

from tests.conftest import ROOT, Platform
from tests.test_workflow import ADMIN, asks, start, until
from tprov_kernel import runs
from tprov_kernel.activities import Activities
from tprov_kernel.audit import audit
from tprov_kernel.connect import build_worker
from tprov_kernel.errors import DecisionRefused
from tprov_kernel.messages import Decision, Review, Status
from tprov_kernel.observe import RunView
from tprov_kernel.settings import Settings
from tprov_kernel.stacks import has_moved_on, held_objects, variables_in

pytestmark = pytest.mark.timeout(90)


def _asks_anew(view: RunView) -> bool:
    return asks(view) and view.review is not None and view.review.supersedes != ""


async def test_a_replan_takes_the_place_of_what_waits(platform: Platform, tmp_path: Path) -> None:
    """A new snapshot, a new review that says what differs; the old digest approves nothing."""
    directory = tmp_path / "admin"
    shutil.copytree(ADMIN, directory)
    client = await platform.client()
    async with platform.worker(client, task_queue="replan") as settings:
        handle = await start(client, settings, platform, "replan", directory)
        first = (await until(client, handle, asks)).review
        assert first is not None
        request = await runs.last_request(client, "replan")
        assert not has_moved_on(request.snapshot, directory, platform.keys)
        (directory / "terraform.tfvars").write_text('email = "ada@example.test"\n')
        assert has_moved_on(request.snapshot, directory, platform.keys)

        await runs.replan(client, handle, directory=directory, key_ring=platform.keys)
        view = await until(client, handle, _asks_anew)
        assert view.review is not None
        assert view.review.supersedes == first.digest
        assert any("email" in sentence and "ada" in sentence for sentence in view.review.differs)
        with pytest.raises(DecisionRefused, match=r"was superseded, .* waits now"):
            await runs.decide(handle, "approve", reason="the old one", review=first.digest)
        await runs.decide(handle, "approve", reason="the new one", review=view.review.digest)
        result = await handle.result()
        assert json.loads(result.outputs["user_email"]).startswith("ada+")


async def test_variables_stay_with_the_last_plan_that_was_asked_for(
    platform: Platform, tmp_path: Path
) -> None:
    """A re-plan's values are kept by the next one, and by the run that destroys it all."""
    directory = tmp_path / "admin"
    shutil.copytree(ADMIN, directory)
    client = await platform.client()
    async with platform.worker(client, task_queue="values") as settings:
        handle = await start(
            client, settings, platform, "values", directory, variables={"email": "a@example.test"}
        )
        first = (await until(client, handle, asks)).review
        again: dict[str, Any] = {"directory": directory, "key_ring": platform.keys}
        await runs.replan(client, handle, **again, variables={"email": "b@example.test"})
        second = (await until(client, handle, _asks_anew)).review
        assert first is not None
        assert second is not None
        await runs.replan(client, handle, **again)
        third = (await until(client, handle, lambda v: _replaces(v, second))).review
        assert third is not None
        assert third.snapshot_digest == second.snapshot_digest != first.snapshot_digest
        request = await runs.last_request(client, "values")
        assert variables_in(request.snapshot, platform.keys) == {"email": "b@example.test"}
        await runs.decide(handle, "deny", reason="")
        await handle.result()


def _replaces(view: RunView, former: Review) -> bool:
    return asks(view) and view.review is not None and view.review.supersedes == former.digest


async def test_only_what_waits_is_planned_anew(platform: Platform) -> None:
    """Before and after, a re-plan is refused in words."""
    client = await platform.client()
    async with platform.worker(client, task_queue="replan-2") as settings:
        handle = await start(client, settings, platform, "replan-2", ADMIN)
        await until(client, handle, asks)
        await runs.decide(handle, "deny", reason="")
        await handle.result()
        with pytest.raises(DecisionRefused):
            await runs.replan(client, handle, directory=ADMIN, key_ring=platform.keys)


async def test_strange_payloads_do_not_wedge_a_run(platform: Platform) -> None:
    """Garbage said to be encrypted, and an encoding that nobody knows, are ignored with why."""
    client = await platform.client()
    async with platform.worker(client, task_queue="strange") as settings:
        handle = await start(client, settings, platform, "strange", ADMIN)
        await until(client, handle, asks)
        plain = Client(client.service_client, namespace=client.namespace)
        stranger = plain.get_workflow_handle(handle.id, run_id=handle.run_id)
        for encoding in (b"binary/encrypted", b"binary/unheard-of"):
            payload = Payload(metadata={"encoding": encoding}, data=b"\x00garbage")
            await stranger.signal("approve_apply", RawValue(payload))
        await runs.decide(handle, "approve", reason="a good one")
        result = await handle.result()
        assert [d.outcome for d in result.decisions] == ["ignored", "ignored", "approved"]
        assert all("cannot be" in d.why for d in result.decisions[:2])


async def test_what_a_stack_holds_meanwhile_is_asked_about(platform: Platform) -> None:
    """The first state was empty; now there is one, and the plan destroys what is in it: asked."""
    client = await platform.client()
    async with platform.worker(client, task_queue="stray") as settings:
        handle = await start(client, settings, platform, "stray", ADMIN)
        first = (await until(client, handle, asks)).review
        assert first is not None
        assert (first.state_lineage, first.state_serial) == ("", 0)
        state = settings.stacks / "stray" / "config" / "terraform.tfstate"
        state.write_text(json.dumps(STRAY))
        await runs.decide(handle, "approve", reason="as reviewed")
        view = await until(client, handle, _asks_anew)
        assert view.review is not None
        assert view.review.supersedes == first.digest
        assert view.review.summary == "1 to add, 0 to change, 1 to destroy"
        told = "terraform_data.stray: delete, was not in the former plan."
        assert told in view.review.differs
        assert json.loads(state.read_text())["resources"] == STRAY["resources"]
        await runs.decide(handle, "deny", reason="not that")
        assert (await handle.result()).status == Status.REJECTED
        assert json.loads(state.read_text())["resources"] == STRAY["resources"]


STRAY: dict[str, Any] = {
    "version": 4,
    "serial": 0,
    "lineage": "somebody-else",
    "outputs": {},
    "resources": [
        {
            "mode": "managed",
            "type": "terraform_data",
            "name": "stray",
            "provider": 'provider["terraform.io/builtin/terraform"]',
            "instances": [{"schema_version": 0, "attributes": {"id": "x"}}],
        }
    ],
}
"""A state with serial 0, as the one has that is not there: only its lineage is another."""


async def test_variables_that_change_meanwhile_change_nothing(
    platform: Platform, tmp_path: Path
) -> None:
    """Neither in the live directory, nor in the worker's own copy: what was reviewed is applied."""
    directory = tmp_path / "admin"
    shutil.copytree(ADMIN, directory)
    client = await platform.client()
    async with platform.worker(client, task_queue="sneak-var") as settings:
        handle = await start(
            client,
            settings,
            platform,
            "sneak-var",
            directory,
            variables={"email": "a@example.test"},
        )
        await until(client, handle, asks)
        copy = settings.stacks / "sneak-var" / "config"
        for place in (directory, copy):
            (place / "terraform.tfvars").write_text('account_access = "developer"\n')
            (place / "zzz.auto.tfvars").write_text('email = "mallory@example.test"\n')
        (copy / "more.tf").write_text('resource "terraform_data" "more" {}\n')
        await runs.decide(handle, "approve", reason="as reviewed")
        result = await handle.result()
        assert result.status == Status.APPLIED
        assert result.summary == "1 added, 0 changed, 0 destroyed"
        assert json.loads(result.outputs["user_email"]).startswith("a+")
        user = await platform.cloud.find_user(json.loads(result.outputs["user_email"]))
        assert user is not None
        assert held_objects(settings.stacks, "sneak-var") == ["temporalcloud_user.admin"]


class SwappedTerraform:
    """A `terraform` that is a script: what it starts can be exchanged while a worker has it."""

    def __init__(self, platform: Platform, folder: Path) -> None:
        self.real = shlex.join(platform.toolchain.terraform.argv)
        self.path = folder / "terraform"
        self.log = folder / "log"
        self.become(f"exec {self.real}")
        self.path.chmod(0o700)
        tool = replace(platform.toolchain.terraform, argv=(str(self.path),))
        self.toolchain = replace(platform.toolchain, terraform=tool)

    def become(self, start: str, *, says: str = "") -> None:
        """From now on start this; say that it is this version."""
        answer = f'''[ "$1" = version ] && {{ echo '{{"terraform_version": "{says}"}}'; exit; }}'''
        lines = ["#!/bin/sh", f'echo "$1" >> {self.log}', answer if says else "", f'{start} "$@"']
        self.path.write_text("\n".join(lines) + "\n")

    @asynccontextmanager
    async def worker(
        self, platform: Platform, client: Client, queue: str
    ) -> AsyncIterator[Settings]:
        """A worker that has it."""
        settings = replace(platform.settings, task_queue=queue)
        activities = Activities(
            settings=settings,
            toolchain=self.toolchain,
            key_ring=platform.keys,
            guard=platform.guard,
        )
        async with build_worker(client, activities, task_queue=queue):
            yield settings


async def test_a_terraform_that_was_swapped_plans_anew(platform: Platform, tmp_path: Path) -> None:
    """Under a worker that runs: only the Terraform that wrote a plan can read it.

    Another one's plan has to be covered by the approval; then it is applied.
    """
    terraform = SwappedTerraform(platform, tmp_path)
    client = await platform.client()
    async with terraform.worker(platform, client, "swap") as settings:
        handle = await start(client, settings, platform, "swap", ADMIN)
        await until(client, handle, asks)
        terraform.become(f"exec {terraform.real}", says="1.99.0")
        terraform.log.unlink()
        await runs.decide(handle, "approve", reason="as planned")
        result = await handle.result()
    assert result.status == Status.APPLIED
    assert [d.outcome for d in result.decisions] == ["approved"]
    used = [word for word in terraform.log.read_text().split() if word in ("plan", "apply")]
    assert used == ["plan", "apply"], "the plan of the former one was not given to it"
    told = await audit(client, handle)
    assert "written by Terraform" in told.applies[0].failure
    assert "this worker has 1.99.0" in told.applies[0].failure


async def test_another_terraform_that_plans_otherwise_asks_anew(
    platform: Platform, tmp_path: Path
) -> None:
    """What it would do was not approved: nothing is applied, and somebody is asked again."""
    terraform = SwappedTerraform(platform, tmp_path)
    client = await platform.client()
    async with terraform.worker(platform, client, "swap-2") as settings:
        handle = await start(client, settings, platform, "swap-2", ADMIN)
        await until(client, handle, asks)
        other = f"TF_VAR_account_access=developer exec {terraform.real}"
        terraform.become(other, says="1.99.0")
        await runs.decide(handle, "approve", reason="as planned")
        view = await until(client, handle, _asks_anew)
        assert view.review is not None
        assert view.review.terraform_version == "1.99.0"
        assert any("account_access" in sentence for sentence in view.review.differs)
        assert held_objects(settings.stacks, "swap-2") == []
        await runs.decide(handle, "deny", reason="")
        await handle.result()


async def test_a_terraform_of_the_same_version_that_was_swapped_plans_anew(
    platform: Platform, tmp_path: Path
) -> None:
    """Its version is only what it says of itself: another program's plan has to be covered too."""
    terraform = SwappedTerraform(platform, tmp_path)
    client = await platform.client()
    async with terraform.worker(platform, client, "same-tf") as settings:
        handle = await start(client, settings, platform, "same-tf", ADMIN)
        review = (await until(client, handle, asks)).review
        assert review is not None
        terraform.become(f"true; exec {terraform.real}")
        terraform.log.unlink()
        await runs.decide(handle, "approve", reason="as planned")
        result = await handle.result()
        after = await handle.query("get_review", result_type=Review)
    assert result.status == Status.APPLIED
    assert [d.outcome for d in result.decisions] == ["approved"]
    used = [word for word in terraform.log.read_text().split() if word in ("plan", "apply")]
    assert used == ["plan", "apply"], "what it was given is a plan of its own"
    told = await audit(client, handle)
    assert "Terraform or the provider is another program" in told.applies[0].failure
    assert after.tools_digest == review.tools_digest != told.plans[-1].tools_digest
    assert all(reviewed.matches for reviewed in told.reviews)


async def test_a_terraform_of_the_same_version_that_plans_otherwise_asks_anew(
    platform: Platform, tmp_path: Path
) -> None:
    """Nothing is applied by a program that was not there at the review; somebody is asked again."""
    terraform = SwappedTerraform(platform, tmp_path)
    client = await platform.client()
    async with terraform.worker(platform, client, "same-tf-2") as settings:
        handle = await start(client, settings, platform, "same-tf-2", ADMIN)
        first = (await until(client, handle, asks)).review
        assert first is not None
        terraform.become(f"TF_VAR_account_access=developer exec {terraform.real}")
        await runs.decide(handle, "approve", reason="as planned")
        view = await until(client, handle, _asks_anew)
        assert view.review is not None
        assert view.review.terraform_version == first.terraform_version
        assert view.review.tools_digest not in ("", first.tools_digest)
        assert any("account_access" in sentence for sentence in view.review.differs)
        assert held_objects(settings.stacks, "same-tf-2") == []
        await runs.decide(handle, "deny", reason="")
        await handle.result()


def _exchange(file: Path) -> None:
    """Put another program of the same version in its place: the same, and a byte after its end."""
    fresh = file.with_name("fresh")
    shutil.copy(file, fresh)
    with fresh.open("ab") as end:
        end.write(b"\0")
    fresh.replace(file)


async def test_an_opa_of_the_same_version_that_was_swapped_judges_anew(
    platform: Platform, tmp_path: Path
) -> None:
    """What the former one allowed is not applied before the one that is there has judged."""
    engine = tmp_path / "opa"
    shutil.copy(platform.toolchain.opa.argv[0], engine)
    terraform = SwappedTerraform(platform, tmp_path)
    opa = replace(platform.toolchain.opa, argv=(str(engine),))
    terraform.toolchain = replace(terraform.toolchain, opa=opa)
    client = await platform.client()
    async with terraform.worker(platform, client, "other-opa") as settings:
        handle = await start(client, settings, platform, "other-opa", ADMIN)
        await until(client, handle, asks)
        _exchange(engine)
        await runs.decide(handle, "approve", reason="as planned")
        assert (await handle.result()).status == Status.APPLIED
    told = await audit(client, handle)
    assert "OPA is another program" in told.applies[0].failure
    assert len({judged.opa_digest for judged in told.judgements}) == 2
    assert all(reviewed.matches for reviewed in told.reviews)


async def test_a_provider_of_the_same_version_that_was_swapped_applies_nothing(
    platform: Platform, tmp_path: Path
) -> None:
    """Terraform has its checksum in the lock file, and does not even plan with it.

    The remedy that is told helps, where the new one is meant.
    """
    mirror = tmp_path / "mirror"
    shutil.copytree(platform.toolchain.mirror, mirror)
    terraform = SwappedTerraform(platform, tmp_path)
    terraform.toolchain = replace(terraform.toolchain, mirror=mirror)
    client = await platform.client()
    async with terraform.worker(platform, client, "other-provider") as settings:
        handle = await start(client, settings, platform, "other-provider", ADMIN)
        await until(client, handle, asks)
        _exchange(next(mirror.rglob("terraform-provider-*")))
        await runs.decide(handle, "approve", reason="as planned")
        view = await until(client, handle, lambda v: v.repair is not None)
        assert view.repair is not None
        assert "does not match any of the checksums" in view.repair.failure
        assert "Put back the provider" in view.repair.remedy
        told = await audit(client, handle)
        assert "Terraform or the provider is another program" in told.applies[0].failure
        assert held_objects(settings.stacks, "other-provider") == []

        config = settings.stacks / "other-provider" / "config"
        shutil.rmtree(config / ".terraform")
        (config / ".terraform.lock.hcl").unlink()
        await runs.recheck(handle)
        assert (await handle.result()).status == Status.APPLIED


async def test_a_terraform_of_another_version_does_not_read_the_plan(
    platform: Platform, tmp_path: Path
) -> None:
    """The worker that applies is not the one that planned, and has another Terraform."""
    client = await platform.client()
    async with platform.worker(client, task_queue="other-tf") as settings:
        handle = await start(client, settings, platform, "other-tf", ADMIN)
        await until(client, handle, asks)
    terraform = SwappedTerraform(platform, tmp_path)
    terraform.become(f"exec {terraform.real}", says="1.99.0")
    async with terraform.worker(platform, client, "other-tf"):
        await runs.decide(handle, "approve", reason="as planned")
        result = await handle.result()
        assert result.status == Status.APPLIED
        assert [d.outcome for d in result.decisions] == ["approved"]


async def test_decisions_are_seen_without_a_worker(platform: Platform) -> None:
    """Reviews and decisions rest in the history: nobody has to poll to show them."""
    client = await platform.client()
    async with platform.worker(client, task_queue="seen") as settings:
        handle = await start(client, settings, platform, "seen", ADMIN)
        await until(client, handle, asks)
        await handle.signal("approve_apply")
        decisions = await handle.query("get_decisions", result_type=list[Decision])
    view = await until(client, handle, lambda v: asks(v) and bool(v.decisions))
    assert list(view.decisions) == decisions
    await handle.terminate()


async def test_policies_with_a_mistake_are_mended_and_the_run_goes_on(
    platform: Platform, tmp_path: Path
) -> None:
    """File, line and what is wrong; nothing is tried in vain; after the repair it is judged."""
    policies = tmp_path / "policies"
    shutil.copytree(ROOT / "policies", policies)
    (policies / "mistake.rego").write_text("package tprov.mistake\n\nthis is no rego\n")
    client = await platform.client()
    async with platform.worker(client, task_queue="mend", policies=policies) as settings:
        handle = await start(client, settings, platform, "mend", ADMIN)
        view = await until(client, handle, lambda v: v.repair is not None)
        assert view.repair is not None
        assert (view.repair.step, view.step("policy").state) == ("policy", "failed")
        assert "mistake.rego:3" in view.repair.failure
        assert view.repair.remedy
        with pytest.raises(DecisionRefused, match="not waiting for a decision"):
            await runs.decide(handle, "approve", reason="never mind")
        (policies / "mistake.rego").unlink()
        await runs.recheck(handle)
        view = await until(client, handle, asks)
        assert view.review is not None
        assert view.repair is None
        with pytest.raises(DecisionRefused, match="nothing waits to be mended"):
            await runs.recheck(handle)
        await runs.decide(handle, "deny", reason="")
        await handle.result()


async def test_a_replan_with_a_mistake_waits_and_loses_nothing(
    platform: Platform, tmp_path: Path
) -> None:
    """The run does not die of it: planned again without the mistake, it asks about the new plan."""
    directory = tmp_path / "admin"
    shutil.copytree(ADMIN, directory)
    client = await platform.client()
    async with platform.worker(client, task_queue="mistake") as settings:
        handle = await start(client, settings, platform, "mistake", directory)
        await until(client, handle, asks)
        (directory / "broken.tf").write_text('resource "x')
        await runs.replan(client, handle, directory=directory, key_ring=platform.keys)
        view = await until(client, handle, lambda v: v.repair is not None)
        assert view.repair is not None
        assert "broken.tf" in view.repair.failure
        (directory / "broken.tf").unlink()
        (directory / "terraform.tfvars").write_text('email = "ada@example.test"\n')
        await runs.replan(client, handle, directory=directory, key_ring=platform.keys)
        view = await until(client, handle, _asks_anew)
        await runs.decide(handle, "approve", reason="it reads well now")
        result = await handle.result()
        assert json.loads(result.outputs["user_email"]).startswith("ada+")


async def test_a_replan_without_a_snapshot_is_refused(platform: Platform) -> None:
    """By hand, with nothing or with what is no snapshot: in words, and the review still waits."""
    client = await platform.client()
    async with platform.worker(client, task_queue="no-snapshot") as settings:
        handle = await start(client, settings, platform, "no-snapshot", ADMIN)
        await until(client, handle, asks)
        for given in ([], [{"snapshot": {"digest": "x", "sealed": "y", "files": 1}}]):
            with pytest.raises(WorkflowUpdateFailedError) as caught:
                await handle.execute_update("replan", args=given)
            assert "it came without a snapshot" in str(caught.value.cause)
        await runs.decide(handle, "deny", reason="")

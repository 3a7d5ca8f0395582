"""An apply that cannot begin has done nothing: it waits to be mended, and the approval stands."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Platform
from tests.test_gate import SwappedTerraform
from tests.test_workflow import ADMIN, asks, start, to_mend, until
from tprov_kernel import runs
from tprov_kernel.audit import audit, to_markdown
from tprov_kernel.messages import Status
from tprov_kernel.stacks import held_objects

pytestmark = pytest.mark.timeout(120)


async def test_a_terraform_that_is_gone_when_it_is_to_apply(
    platform: Platform, tmp_path: Path
) -> None:
    """The run says so and waits; put back, a recheck applies under the same approval."""
    terraform = SwappedTerraform(platform, tmp_path)
    client = await platform.client()
    async with terraform.worker(platform, client, "tf-gone") as settings:
        handle = await start(client, settings, platform, "tf-gone", ADMIN)
        await until(client, handle, asks)
        aside = terraform.path.rename(tmp_path / "aside")
        await runs.decide(handle, "approve", reason="as planned")
        view = await until(client, handle, to_mend)
        assert view.repair is not None
        assert view.status == Status.APPLYING
        assert (view.repair.step, view.step("apply").state) == ("apply", "failed")
        assert view.repair.failure.endswith("terraform does not exist.")
        assert view.repair.remedy == "Put it back."
        await runs.recheck(handle)
        again = await until(client, handle, lambda v: to_mend(v) and v.repair != view.repair)
        assert again.repair is not None, "as long as it is gone the run waits"
        aside.rename(terraform.path)
        await runs.recheck(handle)
        result = await handle.result()
        assert result.status == Status.APPLIED
        assert [d.outcome for d in result.decisions] == ["approved"]
        assert held_objects(settings.stacks, "tf-gone") == ["temporalcloud_user.admin"]
    told = await audit(client, handle)
    assert [a.outcome for a in told.applies] == ["refused", "refused", "applied"]
    assert len(told.plans) == 1, "nothing was done, so nothing had to be found out"
    assert "had the step that failed taken again" in to_markdown(told)


async def test_while_it_waits_another_configuration_may_take_its_place(
    platform: Platform, tmp_path: Path
) -> None:
    """A replan is not what was approved: it is asked about, and the approved plan is no more."""
    terraform = SwappedTerraform(platform, tmp_path)
    mine = tmp_path / "mine"
    shutil.copytree(ADMIN, mine)
    client = await platform.client()
    async with terraform.worker(platform, client, "tf-gone-2") as settings:
        handle = await start(client, settings, platform, "tf-gone-2", mine)
        review = (await until(client, handle, asks)).review
        aside = terraform.path.rename(tmp_path / "aside")
        await runs.decide(handle, "approve", reason="as planned")
        await until(client, handle, to_mend)
        aside.rename(terraform.path)
        (mine / "more.tf").write_text('resource "terraform_data" "more" {}\n')
        await runs.replan(client, handle, directory=mine, key_ring=platform.keys)
        view = await until(client, handle, lambda v: asks(v) and v.review != review)
        assert view.review is not None
        assert any("terraform_data.more" in words for words in view.review.differs)
        await runs.decide(handle, "deny", reason="")
        assert (await handle.result()).status == Status.REJECTED
        assert held_objects(settings.stacks, "tf-gone-2") == []


@pytest.mark.parametrize("at_hand", ["another worker", "the same worker"])
async def test_a_provider_that_is_gone_when_it_is_to_apply(
    platform: Platform, tmp_path: Path, at_hand: str
) -> None:
    """Also where the stack has to be initialised first, and cannot be: the approval stands."""
    stack = at_hand.replace(" ", "-")
    mirror = tmp_path / "mirror"
    shutil.copytree(platform.toolchain.mirror, mirror)
    terraform = SwappedTerraform(platform, tmp_path)
    terraform.toolchain = replace(terraform.toolchain, mirror=mirror)
    client = await platform.client()
    async with terraform.worker(platform, client, stack) as settings:
        handle = await start(client, settings, platform, stack, ADMIN)
        await until(client, handle, asks)
        aside = mirror.rename(tmp_path / "mirror-aside")
        if at_hand == "another worker":  # it has not initialised this stack yet
            shutil.rmtree(settings.stacks / stack / "config" / ".terraform")
        await runs.decide(handle, "approve", reason="as planned")
        view = await until(client, handle, to_mend)
        assert view.repair is not None, view.failure
        assert "temporalio/temporalcloud" in view.repair.failure
        remedies = {"another worker": "the run can go on", "the same worker": "tprov setup"}
        assert remedies[at_hand] in view.repair.remedy
        aside.rename(mirror)
        await runs.recheck(handle)
        result = await handle.result()
        assert result.status == Status.APPLIED
        assert [d.outcome for d in result.decisions] == ["approved"]
        assert held_objects(settings.stacks, stack) == ["temporalcloud_user.admin"]


async def test_a_key_that_is_not_accepted_any_more(platform: Platform) -> None:
    """Revoked between approval and apply: another worker, with a good one, goes on."""
    client = await platform.client()
    async with platform.worker(client, task_queue="bad-key") as settings:
        handle = await start(client, settings, platform, "bad-key", ADMIN)
        await until(client, handle, asks)
    bad = replace(platform.settings, cloud=replace(platform.settings.cloud, api_key="revoked"))
    async with platform.worker(client, settings=bad, task_queue="bad-key"):
        await runs.decide(handle, "approve", reason="as planned")
        view = await until(client, handle, to_mend)
        assert view.repair is not None, view.failure
        assert "does not accept the key" in view.repair.failure
    async with platform.worker(client, task_queue="bad-key"):
        await runs.recheck(handle)
        result = await handle.result()
        assert result.status == Status.APPLIED
        assert [d.outcome for d in result.decisions] == ["approved"]

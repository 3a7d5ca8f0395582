"""An apply of many kinds that is cut off: each is taken over, or asked about; none is twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.api.cloud.cloudservice.v1 import (
    DeleteAccountAuditLogSinkRequest,
    GetAccountAuditLogSinkRequest,
)

from tests.conftest import Platform
from tests.test_interrupt import cloud_of
from tests.test_recovery import appears, terraform_of
from tests.test_workflow import PROVIDER, asks, start, until
from tprov_kernel import runs
from tprov_kernel.messages import Status
from tprov_kernel.stacks import held_objects
from tprov_kernel.standin.control import StandinControl

pytestmark = pytest.mark.timeout(180)

BASE = (
    PROVIDER
    + """
resource "temporalcloud_namespace" "base" {
  name           = "kinds-${var.name_suffix}"
  regions        = ["aws-us-east-1"]
  retention_days = 1
  api_key_auth   = true
}
"""
)

MANY = """
resource "temporalcloud_namespace" "many" {
  name           = "many-${var.name_suffix}"
  regions        = ["aws-us-east-1"]
  retention_days = 1
  api_key_auth   = true
}

resource "temporalcloud_user" "many" {
  email          = "many-${var.name_suffix}@example.test"
  account_access = "read"
}

resource "temporalcloud_service_account" "many" {
  name           = "many-${var.name_suffix}"
  account_access = "read"
}

resource "temporalcloud_group" "many" {
  name = "many-${var.name_suffix}"
}

resource "temporalcloud_nexus_endpoint" "many" {
  name          = "many-${var.name_suffix}"
  worker_target = {
    namespace_id = temporalcloud_namespace.base.id
    task_queue   = "many"
  }
  allowed_caller_namespaces = [temporalcloud_namespace.base.id]
}

resource "temporalcloud_account_audit_log_sink" "many" {
  sink_name = "many-${var.name_suffix}"
  enabled   = true
  kinesis = {
    role_name       = "arn:aws:iam::123456789012:role/audit"
    destination_uri = "arn:aws:kinesis:us-east-1:123456789012:stream/many"
    region          = "us-east-1"
  }
}
"""

KINDS = {
    "CreateNamespace": "namespace",
    "CreateUser": "user",
    "CreateServiceAccount": "service account",
    "CreateUserGroup": "group",
    "CreateNexusEndpoint": "Nexus endpoint",
    "CreateAccountAuditLogSink": "audit-log sink",
}


async def test_each_kind_that_was_cut_off_is_taken_over_or_asked_about(
    platform: Platform, tmp_path: Path
) -> None:
    """All are created at the Cloud, none is in the state, Terraform is killed.

    Of a sink the Cloud API tells no time, so nobody can prove whose it is: a person decides.
    """
    (tmp_path / "main.tf").write_text(BASE)
    there = platform.settings.cloud
    control = StandinControl(there.endpoint, there.api_key)
    client = await platform.client()
    before = {o["id"] for o in await control.objects()}

    async def made() -> dict[str, str]:
        fresh = [o for o in await control.objects() if o["id"] not in before]
        names = [o for o in fresh if o["name"].startswith("many-")]
        assert len({o["type"] for o in names}) == len(names), "none is there twice"
        return {o["type"]: o["name"] for o in names}

    async def all_are_there() -> bool:
        return set(await made()) == set(KINDS.values())

    async with platform.worker(client, task_queue="kinds") as settings:
        first = await start(client, settings, platform, "kinds", tmp_path)
        assert (await first.result()).status == Status.APPLIED
        (tmp_path / "many.tf").write_text(MANY)
        for method in KINDS:
            await control.hold(method)
        try:
            handle = await start(client, settings, platform, "kinds", tmp_path)
            await until(client, handle, asks)
            await runs.decide(handle, "approve", reason="all of it")
            await appears(all_are_there)
            (await terraform_of(platform, "kinds")).kill()
        finally:
            await control.mend()
        view = await until(client, handle, lambda v: v.repair is not None)
        assert view.repair is not None, view.failure
        assert view.repair.failure.count("temporalcloud_") == 2, view.repair.failure
        assert "temporalcloud_account_audit_log_sink.many" in view.repair.failure
        assert "import it if it is yours" in view.repair.failure
        assert sum("it is taken over" in sentence for sentence in view.story) == 5
        await remove_sink(platform, (await made())["audit-log sink"])
        await runs.recheck(handle)
        result = await handle.result()
        assert result.status == Status.APPLIED
        assert [d.outcome for d in result.decisions] == ["approved"]
        assert result.summary == "6 added, 0 changed, 0 destroyed"
        assert await all_are_there()
        assert len(held_objects(settings.stacks, "kinds")) == 7
        again = await start(client, settings, platform, "kinds", tmp_path)
        assert (await again.result()).status == Status.NO_CHANGES


async def remove_sink(platform: Platform, name: str) -> None:
    """What a person does in the Cloud's console."""
    service = (await cloud_of(platform)).cloud_service
    found = (
        await service.get_account_audit_log_sink(GetAccountAuditLogSinkRequest(name=name))
    ).sink
    version = found.resource_version
    request = DeleteAccountAuditLogSinkRequest(name=name, resource_version=version)
    await service.delete_account_audit_log_sink(request)

    async def is_gone() -> bool:
        return await platform.cloud.find_audit_log_sink(name) is None

    await appears(is_gone)

"""The rules of connectivity rules, Nexus endpoints, sinks and the account itself."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.cloud.account.v1 import message_pb2 as account
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.connectivityrule.v1 import message_pb2 as connectivityrule
from temporalio.api.cloud.namespace.v1 import message_pb2 as namespace
from temporalio.api.cloud.nexus.v1 import message_pb2 as nexus
from temporalio.api.cloud.sink.v1 import message_pb2 as sink

from tests.standin.parts import Api

PEM = b"-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"


# --- connectivity rules ----------------------------------------------------------------------


def private(**fields: str) -> connectivityrule.ConnectivityRuleSpec:
    """A private rule."""
    rule = {"connection_id": "vpce-1", "region": "aws-us-east-1"} | fields
    return connectivityrule.ConnectivityRuleSpec(
        private_rule=connectivityrule.PrivateConnectivityRule(**rule)
    )


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (connectivityrule.ConnectivityRuleSpec(), "spec"),
        (private(connection_id=""), "spec.private_rule.connection_id"),
        (private(region=""), "spec.private_rule.region"),
        (private(region="aws-mars-1"), "spec.private_rule.region"),
        (private(region="gcp-us-central1"), "spec.private_rule.gcp_project_id"),
    ],
)
async def test_a_connectivity_rule_has_rules(
    api: Api, spec: connectivityrule.ConnectivityRuleSpec, field: str
) -> None:
    """Public, or private with all that its cloud needs."""
    request = rr.CreateConnectivityRuleRequest(spec=spec)
    code, why = await api.refused("CreateConnectivityRule", request)
    assert (code, why.split()[0]) == ("INVALID_ARGUMENT", field)


async def test_there_is_one_of_each_connectivity_rule(api: Api) -> None:
    """A second one that says the same is ALREADY_EXISTS; a deleted one can be made again."""
    for spec in (private(), private(region="gcp-us-central1", gcp_project_id="p")):
        request = rr.CreateConnectivityRuleRequest(spec=spec)
        made = await api.do("CreateConnectivityRule", request)
        assert (await api.refused("CreateConnectivityRule", request))[0] == "ALREADY_EXISTS"
        read = rr.GetConnectivityRuleRequest(connectivity_rule_id=made.connectivity_rule_id)
        rule = (await api.call("GetConnectivityRule", read)).connectivity_rule
        assert rule.spec == spec
        await api.do(
            "DeleteConnectivityRule",
            rr.DeleteConnectivityRuleRequest(
                connectivity_rule_id=rule.id, resource_version=rule.resource_version
            ),
        )
        await api.do("CreateConnectivityRule", request)


# --- Nexus endpoints -------------------------------------------------------------------------


def endpoint(name: str = "orders", to: str = "orders.tprov", *allowed: str) -> nexus.EndpointSpec:
    """An endpoint."""
    spec = nexus.EndpointSpec(name=name)
    spec.target_spec.worker_target_spec.namespace_id = to
    spec.target_spec.worker_target_spec.task_queue = "queue"
    for id in allowed:
        spec.policy_specs.add().allowed_cloud_namespace_policy_spec.namespace_id = id
    return spec


async def test_a_nexus_endpoint_has_rules(api: Api) -> None:
    """A name that is one and is unique, a task queue, and namespaces that exist."""
    await api.a_namespace()
    no_queue = endpoint()
    no_queue.target_spec.worker_target_spec.task_queue = ""
    field = "spec.target_spec.worker_target_spec"
    for spec, named in (
        (endpoint("9"), "spec.name"),
        (endpoint("or ders"), "spec.name"),
        (no_queue, f"{field}.task_queue"),
        (endpoint(to="none.tprov"), f"{field}.namespace_id"),
        (
            endpoint("orders", "orders.tprov", "none.tprov"),
            "spec.policy_specs[0].allowed_cloud_namespace_policy_spec.namespace_id",
        ),
    ):
        request = rr.CreateNexusEndpointRequest(spec=spec)
        code, why = await api.refused("CreateNexusEndpoint", request)
        assert (code, why.split()[0]) == ("INVALID_ARGUMENT", named)
    good = rr.CreateNexusEndpointRequest(spec=endpoint())
    await api.do("CreateNexusEndpoint", good)
    assert (await api.refused("CreateNexusEndpoint", good))[0] == "ALREADY_EXISTS"


async def test_the_target_of_an_endpoint_stays(api: Api) -> None:
    """A target is not deleted; a caller that is deleted is allowed no more."""
    target, caller = [await api.a_namespace(n) for n in ("orders", "shop")]
    spec = endpoint("orders", target.namespace, target.namespace, caller.namespace)
    made = await api.do("CreateNexusEndpoint", rr.CreateNexusEndpointRequest(spec=spec))

    def delete(entity: namespace.Namespace) -> rr.DeleteNamespaceRequest:
        return rr.DeleteNamespaceRequest(
            namespace=entity.namespace, resource_version=entity.resource_version
        )

    code, why = await api.refused("DeleteNamespace", delete(target))
    assert code == "FAILED_PRECONDITION"
    assert "Nexus endpoint 'orders'" in why
    await api.do("DeleteNamespace", delete(caller))
    read = rr.GetNexusEndpointRequest(endpoint_id=made.endpoint_id)
    left = (await api.call("GetNexusEndpoint", read)).endpoint.spec
    assert left == endpoint("orders", target.namespace, target.namespace)
    for wanted, count in (
        (rr.GetNexusEndpointsRequest(name="orders"), 1),
        (rr.GetNexusEndpointsRequest(name="orders", target_task_queue="other"), 0),
        (rr.GetNexusEndpointsRequest(target_namespace_id=target.namespace), 1),
    ):
        assert len((await api.call("GetNexusEndpoints", wanted)).endpoints) == count


async def test_an_endpoint_that_is_renamed_leaves_its_name(api: Api) -> None:
    """The new name is taken, the old one free; a name that is taken is refused."""
    await api.a_namespace()
    first = await api.do("CreateNexusEndpoint", rr.CreateNexusEndpointRequest(spec=endpoint("a1")))
    await api.do("CreateNexusEndpoint", rr.CreateNexusEndpointRequest(spec=endpoint("b1")))
    read = rr.GetNexusEndpointRequest(endpoint_id=first.endpoint_id)
    current = (await api.call("GetNexusEndpoint", read)).endpoint
    rename = rr.UpdateNexusEndpointRequest(
        endpoint_id=current.id, spec=endpoint("b1"), resource_version=current.resource_version
    )
    assert (await api.refused("UpdateNexusEndpoint", rename))[0] == "ALREADY_EXISTS"
    rename.spec.name = "c1"
    await api.do("UpdateNexusEndpoint", rename)
    await api.do("CreateNexusEndpoint", rr.CreateNexusEndpointRequest(spec=endpoint("a1")))


# --- sinks -----------------------------------------------------------------------------------

S3 = sink.S3Spec(role_name="r", bucket_name="b", region="us-east-1", aws_account_id="1")
GCS = sink.GCSSpec(sa_id="s", bucket_name="b", gcp_project_id="p", region="us-central1")
KINESIS = sink.KinesisSpec(role_name="r", destination_uri="arn:x", region="us-east-1")
PUBSUB = sink.PubSubSpec(service_account_id="s", topic_name="t", gcp_project_id="p")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"s3": S3}, "spec.name"),
        ({"name": "x"}, "spec"),
        ({"name": "x", "s3": S3, "gcs": GCS}, "spec"),
        ({"name": "x", "s3": sink.S3Spec(role_name="r")}, "spec.s3.bucket_name"),
        ({"name": "x", "gcs": sink.GCSSpec(sa_id="r")}, "spec.gcs.bucket_name"),
    ],
)
async def test_an_export_sink_has_rules(api: Api, fields: dict[str, Any], field: str) -> None:
    """A name and one destination, to create it and to validate it."""
    made = await api.a_namespace()
    spec = namespace.ExportSinkSpec(**fields)
    for method in ("CreateNamespaceExportSink", "ValidateNamespaceExportSink"):
        request = getattr(rr, f"{method}Request")(namespace=made.namespace, spec=spec)
        code, why = await api.refused(method, request)
        assert (code, why.split()[0]) == ("INVALID_ARGUMENT", field)


async def test_export_sinks_belong_to_their_namespace(api: Api) -> None:
    """The same name in two namespaces is two sinks; they go with their namespace."""
    both = [await api.a_namespace(n) for n in ("orders", "orders-2")]
    spec = namespace.ExportSinkSpec(name="to-s3", enabled=True, s3=S3)
    for one in both:
        create = rr.CreateNamespaceExportSinkRequest(namespace=one.namespace, spec=spec)
        await api.do("CreateNamespaceExportSink", create)
        assert (await api.refused("CreateNamespaceExportSink", create))[0] == "ALREADY_EXISTS"
        listed = await api.call(
            "GetNamespaceExportSinks", rr.GetNamespaceExportSinksRequest(namespace=one.namespace)
        )
        assert [s.spec for s in listed.sinks] == [spec]
    create.namespace = "none.tprov"
    assert (await api.refused("CreateNamespaceExportSink", create))[0] == "NOT_FOUND"
    await api.do(
        "DeleteNamespace",
        rr.DeleteNamespaceRequest(
            namespace=both[0].namespace, resource_version=both[0].resource_version
        ),
    )
    read = rr.GetNamespaceExportSinkRequest(namespace=both[0].namespace, name="to-s3")
    assert (await api.refused("GetNamespaceExportSink", read))[0] == "NOT_FOUND"
    read.namespace = both[1].namespace
    kept = (await api.call("GetNamespaceExportSink", read)).sink
    assert kept.health == namespace.ExportSink.HEALTH_OK
    change = rr.UpdateNamespaceExportSinkRequest(
        namespace=both[1].namespace,
        spec=namespace.ExportSinkSpec(name="to-s3", gcs=GCS),
        resource_version=kept.resource_version,
    )
    await api.do("UpdateNamespaceExportSink", change)
    assert (await api.refused("UpdateNamespaceExportSink", change))[0] == "FAILED_PRECONDITION"
    assert (await api.call("GetNamespaceExportSink", read)).sink.spec == change.spec


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kinesis_sink": KINESIS}, "spec.name"),
        ({"name": "x"}, "spec"),
        ({"name": "x", "kinesis_sink": sink.KinesisSpec()}, "spec.kinesis_sink.role_name"),
        ({"name": "x", "pub_sub_sink": sink.PubSubSpec()}, "spec.pub_sub_sink.service_account_id"),
    ],
)
async def test_an_audit_sink_has_rules(api: Api, fields: dict[str, Any], field: str) -> None:
    """A name and one destination, to create it and to validate it."""
    spec = account.AuditLogSinkSpec(**fields)
    for method in ("CreateAccountAuditLogSink", "ValidateAccountAuditLogSink"):
        code, why = await api.refused(method, getattr(rr, f"{method}Request")(spec=spec))
        assert (code, why.split()[0]) == ("INVALID_ARGUMENT", field)


async def test_an_audit_sink_is_made_changed_and_deleted(api: Api) -> None:
    """By its name, with its version."""
    spec = account.AuditLogSinkSpec(name="audit", enabled=True, kinesis_sink=KINESIS)
    create = rr.CreateAccountAuditLogSinkRequest(spec=spec)
    await api.do("CreateAccountAuditLogSink", create)
    assert (await api.refused("CreateAccountAuditLogSink", create))[0] == "ALREADY_EXISTS"
    first = (await api.call("GetAccountAuditLogSinks")).sinks[0]
    changed = account.AuditLogSinkSpec(name="audit", pub_sub_sink=PUBSUB)
    await api.do(
        "UpdateAccountAuditLogSink",
        rr.UpdateAccountAuditLogSinkRequest(spec=changed, resource_version=first.resource_version),
    )
    delete = rr.DeleteAccountAuditLogSinkRequest(
        name="audit", resource_version=first.resource_version
    )
    assert (await api.refused("DeleteAccountAuditLogSink", delete))[0] == "FAILED_PRECONDITION"
    read = rr.GetAccountAuditLogSinkRequest(name="audit")
    now = (await api.call("GetAccountAuditLogSink", read)).sink
    assert now.spec == changed
    delete.resource_version = now.resource_version
    await api.do("DeleteAccountAuditLogSink", delete)


# --- the account -----------------------------------------------------------------------------


async def test_metrics_are_enabled_by_certificates(api: Api) -> None:
    """They have an address while they are, with the certificates as they were given."""
    before = (await api.call("GetAccount")).account
    assert (before.id, before.metrics.uri) == ("tprov", "")
    change = rr.UpdateAccountRequest(resource_version=before.resource_version)
    change.spec.metrics.accepted_client_ca = b"nothing"
    code, why = await api.refused("UpdateAccount", change)
    assert (code, why.split()[0]) == ("INVALID_ARGUMENT", "spec.metrics.accepted_client_ca")
    change.spec.metrics.accepted_client_ca = PEM
    await api.do("UpdateAccount", change)
    assert (await api.refused("UpdateAccount", change))[0] == "FAILED_PRECONDITION"
    enabled = (await api.call("GetAccount")).account
    assert enabled.metrics.uri.startswith("https://tprov.")
    assert enabled.spec.metrics.accepted_client_ca == PEM
    off = rr.UpdateAccountRequest(resource_version=enabled.resource_version)
    await api.do("UpdateAccount", off)
    assert (await api.call("GetAccount")).account.metrics.uri == ""


async def test_regions_are_known(api: Api) -> None:
    """All of them, and each by its id."""
    regions = (await api.call("GetRegions")).regions
    assert {"aws-us-east-1", "gcp-us-central1"} <= {r.id for r in regions}
    for region in regions:
        one = await api.call("GetRegion", rr.GetRegionRequest(region=region.id))
        assert one.region == region
        assert region.cloud_provider
        assert region.location
    code, _ = await api.refused("GetRegion", rr.GetRegionRequest(region="aws-mars-1"))
    assert code == "NOT_FOUND"

"""The rules of namespaces, each asked for by a small client."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.connectivityrule.v1 import message_pb2 as connectivityrule
from temporalio.api.cloud.namespace.v1 import message_pb2 as namespace

from tests.standin.parts import Api, namespace_spec

SA = namespace.NamespaceSpec.SearchAttributeType
TEXT, KEYWORD, INT = (
    SA.SEARCH_ATTRIBUTE_TYPE_TEXT,
    SA.SEARCH_ATTRIBUTE_TYPE_KEYWORD,
    SA.SEARCH_ATTRIBUTE_TYPE_INT,
)
PEM = b"-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"


def mtls(pem: bytes = PEM, **fields: Any) -> namespace.MtlsAuthSpec:
    """MTLS with these certificates."""
    return namespace.MtlsAuthSpec(enabled=True, accepted_client_ca=pem, **fields)


def update(
    current: namespace.Namespace, *, version: str | None = None, **fields: Any
) -> rr.UpdateNamespaceRequest:
    """A request to change some fields of a namespace as it was read."""
    spec = namespace.NamespaceSpec()
    spec.CopyFrom(current.spec)
    for name, value in fields.items():
        spec.ClearField(name)  # type: ignore[arg-type]  # any field's name
        spec.MergeFrom(namespace.NamespaceSpec(**{name: value}))
    return rr.UpdateNamespaceRequest(
        namespace=current.namespace,
        spec=spec,
        resource_version=current.resource_version if version is None else version,
    )


async def change(api: Api, current: namespace.Namespace, **fields: Any) -> namespace.Namespace:
    """Change a namespace and read it."""
    await api.do("UpdateNamespace", update(current, **fields))
    return await api.namespace(current.namespace)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "a"}, "spec.name"),
        ({"name": "a" * 65}, "spec.name"),
        ({"name": "Orders"}, "spec.name"),
        ({"name": "orders-"}, "spec.name"),
        ({"name": "9orders"}, "spec.name"),
        ({"retention_days": 0}, "spec.retention_days"),
        ({"retention_days": 91}, "spec.retention_days"),
        ({"regions": []}, "spec.regions"),
        ({"regions": ["aws-mars-1"]}, "spec.regions"),
        ({"regions": ["aws-us-east-1", "aws-us-west-2", "aws-eu-west-1"]}, "spec.regions"),
        ({"api_key_auth": None}, "spec.mtls_auth.enabled or spec.api_key_auth.enabled"),
        ({"mtls_auth": mtls(b"")}, "spec.mtls_auth.accepted_client_ca"),
        ({"mtls_auth": mtls(b"not a certificate")}, "spec.mtls_auth.accepted_client_ca"),
        ({"mtls_auth": mtls(PEM * 17)}, "spec.mtls_auth.accepted_client_ca"),
        (
            {"mtls_auth": mtls(certificate_filters=[namespace.CertificateFilterSpec()])},
            "spec.mtls_auth.certificate_filters[0]",
        ),
        (
            {
                "mtls_auth": mtls(
                    certificate_filters=[namespace.CertificateFilterSpec(common_name="x")] * 26
                )
            },
            "spec.mtls_auth.certificate_filters",
        ),
        ({"search_attributes": {"": TEXT}}, "spec.search_attributes"),
        ({"search_attributes": {"9": TEXT}}, "spec.search_attributes"),
        ({"search_attributes": {"TemporalX": TEXT}}, "spec.search_attributes"),
        ({"search_attributes": {"A": 0}}, "spec.search_attributes['A']"),
        ({"search_attributes": {f"T{i}": TEXT for i in range(6)}}, "spec.search_attributes"),
        (
            {"codec_server": namespace.CodecServerSpec(endpoint="http://codec.example.com")},
            "spec.codec_server.endpoint",
        ),
        (
            {"codec_server": namespace.CodecServerSpec(endpoint="http://localhost.example.com")},
            "spec.codec_server.endpoint",
        ),
        ({"connectivity_rule_ids": ["none"]}, "spec.connectivity_rule_ids"),
        (
            {
                "capacity_spec": namespace.CapacitySpec(
                    provisioned=namespace.CapacitySpec.Provisioned(value=2)
                )
            },
            "spec.capacity_spec",
        ),
    ],
)
async def test_a_field_that_is_wrong_is_named(api: Api, fields: dict[str, Any], field: str) -> None:
    """INVALID_ARGUMENT, with the field as the API spells it, and nothing is made."""
    name = fields.pop("name", "orders")
    request = rr.CreateNamespaceRequest(spec=namespace_spec(name, **fields))
    code, why = await api.refused("CreateNamespace", request)
    assert code == "INVALID_ARGUMENT"
    assert why.startswith(f"{field} ")
    assert not (await api.call("GetNamespaces")).namespaces


async def test_an_answer_has_what_the_provider_cannot_do_without(api: Api) -> None:
    """Regions, API key auth even when it is off, state, version; capacity only when asked for."""
    made = await api.a_namespace("certified", api_key_auth=None, mtls_auth=mtls())
    assert made.namespace == "certified.tprov"
    assert made.spec.HasField("api_key_auth")
    assert not made.spec.api_key_auth.enabled
    assert made.spec.regions == ["aws-us-east-1"]
    assert not made.spec.HasField("capacity_spec")
    assert made.resource_version
    assert (made.state_deprecated, made.active_region) == ("active", "aws-us-east-1")
    assert made.endpoints.mtls_grpc_address.endswith(":7233")
    assert made.endpoints.grpc_address == ""
    assert not made.HasField("last_modified_time")


async def test_replicas_are_another_way_to_say_regions(api: Api) -> None:
    """Who asks with `replicas` is answered with both."""
    regions = ["aws-us-east-1", "aws-eu-west-1"]
    replicas = [namespace.ReplicaSpec(region=r) for r in regions]
    made = await api.a_namespace(regions=[], replicas=replicas)
    assert made.spec.regions == regions
    assert [(r.region, r.is_primary) for r in made.replicas] == [
        ("aws-us-east-1", True),
        ("aws-eu-west-1", False),
    ]
    assert {k: v.state_deprecated for k, v in made.region_status.items()} == {
        "aws-us-east-1": "active",
        "aws-eu-west-1": "passive",
    }


async def test_certificates_come_back_byte_for_byte(api: Api) -> None:
    """With their line ends and blank lines, and not judged by what is in them."""
    pem = b"\r\n" + PEM.replace(b"\n", b"\r\n") + b"\n\n" + PEM
    filters = [namespace.CertificateFilterSpec(organization="a"), *[]]
    made = await api.a_namespace(mtls_auth=mtls(pem, certificate_filters=filters))
    assert made.spec.mtls_auth.accepted_client_ca == pem
    assert list(made.spec.mtls_auth.certificate_filters) == filters


async def test_a_codec_server_may_be_on_this_machine(api: Api) -> None:
    """It is https everywhere else."""
    for number, endpoint in enumerate(("http://localhost:8081/x", "http://127.0.0.1:8081", "")):
        codec = namespace.CodecServerSpec(endpoint=endpoint)
        made = await api.a_namespace(f"n{number}", codec_server=codec)
        assert made.spec.codec_server.endpoint == endpoint


async def test_a_name_is_taken_once(api: Api) -> None:
    """A second one is ALREADY_EXISTS; after it was deleted the name is free."""
    made = await api.a_namespace()
    again = rr.CreateNamespaceRequest(spec=namespace_spec())
    code, why = await api.refused("CreateNamespace", again)
    assert code == "ALREADY_EXISTS"
    assert "orders.tprov" in why
    await api.do(
        "DeleteNamespace",
        rr.DeleteNamespaceRequest(namespace=made.namespace, resource_version=made.resource_version),
    )
    request = rr.GetNamespaceRequest(namespace=made.namespace)
    assert (await api.refused("GetNamespace", request))[0] == "NOT_FOUND"
    await api.a_namespace()


async def test_a_stale_version_is_refused(api: Api) -> None:
    """Update, rename and delete need the version that is current."""
    old = await api.a_namespace(search_attributes={"A": KEYWORD})
    new = await change(api, old, retention_days=8)
    assert new.resource_version != old.resource_version
    assert new.HasField("last_modified_time")
    for version, code in (
        (old.resource_version, "FAILED_PRECONDITION"),
        ("", "INVALID_ARGUMENT"),
        ("nonsense", "FAILED_PRECONDITION"),
    ):
        stale = update(new, version=version, retention_days=9)
        got, why = await api.refused("UpdateNamespace", stale)
        assert got == code
        assert "resource_version" in why
        delete = rr.DeleteNamespaceRequest(namespace=new.namespace, resource_version=version)
        assert (await api.refused("DeleteNamespace", delete))[0] == code
        rename = rr.RenameCustomSearchAttributeRequest(
            namespace=new.namespace,
            existing_custom_search_attribute_name="A",
            new_custom_search_attribute_name="B",
            resource_version=version,
        )
        assert (await api.refused("RenameCustomSearchAttribute", rename))[0] == code
    assert await api.namespace(new.namespace) == new


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "others"}, "spec.name"),
        ({"regions": ["aws-us-west-2"]}, "spec.regions"),
        ({"search_attributes": {}}, "spec.search_attributes"),
        ({"search_attributes": {"A": INT}}, "spec.search_attributes['A']"),
        ({"retention_days": 0}, "spec.retention_days"),
    ],
)
async def test_what_cannot_be_changed(api: Api, fields: dict[str, Any], field: str) -> None:
    """Name and regions are for ever; attributes are neither deleted nor changed in type."""
    made = await api.a_namespace(search_attributes={"A": KEYWORD})
    code, why = await api.refused("UpdateNamespace", update(made, **fields))
    assert code == "INVALID_ARGUMENT"
    assert why.startswith(f"{field} ")


async def test_regions_in_another_order_are_no_change(api: Api) -> None:
    """The order that was first asked for stays."""
    regions = ["aws-us-east-1", "aws-eu-west-1"]
    made = await api.a_namespace(regions=regions)
    assert (await change(api, made, regions=regions[::-1])).spec.regions == regions


async def test_a_rename_keeps_the_version_and_swallows_its_echo(api: Api) -> None:
    """As the provider does it: rename, then update with the specification that it read before."""
    before = await api.a_namespace(search_attributes={"Old": KEYWORD, "Other": INT})
    await api.do(
        "RenameCustomSearchAttribute",
        rr.RenameCustomSearchAttributeRequest(
            namespace=before.namespace,
            existing_custom_search_attribute_name="Old",
            new_custom_search_attribute_name="New",
            resource_version=before.resource_version,
        ),
    )
    renamed = await api.namespace(before.namespace)
    assert renamed.resource_version == before.resource_version
    assert dict(renamed.spec.search_attributes) == {"New": KEYWORD, "Other": INT}

    echo = dict(before.spec.search_attributes) | {"New": KEYWORD}
    after = await change(api, before, search_attributes=echo)
    assert dict(after.spec.search_attributes) == {"New": KEYWORD, "Other": INT}

    anew = dict(after.spec.search_attributes) | {"Old": INT}
    again = await change(api, after, search_attributes=anew)
    assert again.spec.search_attributes["Old"] == INT


async def test_a_rename_needs_a_name_that_is_free(api: Api) -> None:
    """From what exists, to what does not, and to a name."""
    made = await api.a_namespace(search_attributes={"A": KEYWORD, "B": INT})
    for old, new, code in (
        ("C", "D", "NOT_FOUND"),
        ("A", "B", "ALREADY_EXISTS"),
        ("A", "9", "INVALID_ARGUMENT"),
    ):
        request = rr.RenameCustomSearchAttributeRequest(
            namespace=made.namespace,
            existing_custom_search_attribute_name=old,
            new_custom_search_attribute_name=new,
            resource_version=made.resource_version,
        )
        assert (await api.refused("RenameCustomSearchAttribute", request))[0] == code


async def test_a_protected_namespace_stays(api: Api) -> None:
    """Delete protection is taken off first."""
    protected = namespace.LifecycleSpec(enable_delete_protection=True)
    made = await api.a_namespace(lifecycle=protected)
    delete = rr.DeleteNamespaceRequest(
        namespace=made.namespace, resource_version=made.resource_version
    )
    code, why = await api.refused("DeleteNamespace", delete)
    assert code == "FAILED_PRECONDITION"
    assert "enable_delete_protection" in why
    free = await change(api, made, lifecycle=namespace.LifecycleSpec())
    delete.resource_version = free.resource_version
    await api.do("DeleteNamespace", delete)


async def test_tags_are_set_and_removed_without_a_version(api: Api) -> None:
    """They leave the version alone, and a key that is not there is removed silently."""
    made = await api.a_namespace()
    request = rr.UpdateNamespaceTagsRequest(
        namespace=made.namespace, tags_to_upsert={"team": "orders", "cost": "low"}
    )
    await api.do("UpdateNamespaceTags", request)
    request = rr.UpdateNamespaceTagsRequest(
        namespace=made.namespace, tags_to_upsert={"cost": "high"}, tags_to_remove=["team", "none"]
    )
    await api.do("UpdateNamespaceTags", request)
    after = await api.namespace(made.namespace)
    assert dict(after.tags) == {"cost": "high"}
    assert after.resource_version == made.resource_version


@pytest.mark.parametrize(
    ("tags", "field"),
    [
        ({}, "tags_to_upsert or tags_to_remove"),
        ({"Team": "orders"}, "tags"),
        ({"team": ""}, "tags['team']"),
        ({"team": "x" * 64}, "tags['team']"),
        ({f"t{i}": "x" for i in range(11)}, "tags"),
    ],
)
async def test_tags_have_rules(api: Api, tags: dict[str, str], field: str) -> None:
    """Keys, values, and how many there may be."""
    made = await api.a_namespace()
    request = rr.UpdateNamespaceTagsRequest(namespace=made.namespace, tags_to_upsert=tags)
    code, why = await api.refused("UpdateNamespaceTags", request)
    assert code == "INVALID_ARGUMENT"
    assert why.startswith(f"{field} ")


async def test_capacity_follows_from_the_specification(api: Api) -> None:
    """On demand at first; provisioned when asked for; kept by who does not speak of it."""
    made = await api.a_namespace()
    assert made.capacity.WhichOneof("current_mode") == "on_demand"
    assert not made.capacity.HasField("latest_request")
    two = namespace.CapacitySpec(provisioned=namespace.CapacitySpec.Provisioned(value=2))
    more = await change(api, made, capacity_spec=two)
    assert more.capacity.provisioned.current_value == 2
    asked = more.capacity.latest_request
    assert asked.state == asked.STATE_CAPACITY_REQUEST_COMPLETED
    assert (asked.spec, asked.HasField("end_time")) == (two, True)
    assert more.limits.actions_per_second_limit == 2 * made.limits.actions_per_second_limit
    silent = namespace_spec(retention_days=9)
    request = rr.UpdateNamespaceRequest(
        namespace=more.namespace, spec=silent, resource_version=more.resource_version
    )
    await api.do("UpdateNamespace", request)
    kept = await api.namespace(made.namespace)
    assert kept.spec.capacity_spec == two
    info = await api.call(
        "GetNamespaceCapacityInfo", rr.GetNamespaceCapacityInfoRequest(namespace=made.namespace)
    )
    assert info.capacity_info.current_capacity == kept.capacity
    none = namespace.CapacitySpec(provisioned=namespace.CapacitySpec.Provisioned(value=0))
    code, why = await api.refused("UpdateNamespace", update(kept, capacity_spec=none))
    assert (code, why.split()[0]) == ("INVALID_ARGUMENT", "spec.capacity_spec.provisioned.value")


async def test_a_region_is_added_failed_over_to_and_removed(api: Api) -> None:
    """The active region cannot be removed; a stale version cannot add one."""
    made = await api.a_namespace()
    id, second = made.namespace, "aws-eu-west-1"
    add = rr.AddNamespaceRegionRequest(
        namespace=id, region=second, resource_version=made.resource_version
    )
    await api.do("AddNamespaceRegion", add)
    add.region = "aws-eu-west-2"
    assert (await api.refused("AddNamespaceRegion", add))[0] == "FAILED_PRECONDITION"

    failover = rr.FailoverNamespaceRegionRequest(namespace=id, region=second)
    await api.do("FailoverNamespaceRegion", failover)
    moved = await api.namespace(id)
    assert moved.active_region == second
    assert [r.region for r in moved.replicas if r.is_primary] == [second]

    remove = rr.DeleteNamespaceRegionRequest(
        namespace=id, region=second, resource_version=moved.resource_version
    )
    assert (await api.refused("DeleteNamespaceRegion", remove))[0] == "FAILED_PRECONDITION"
    remove.region = "aws-us-east-1"
    await api.do("DeleteNamespaceRegion", remove)
    assert (await api.namespace(id)).spec.regions == [second]


async def test_a_connectivity_rule_in_use_stays(api: Api) -> None:
    """A namespace shows its rules; a rule goes when no namespace has it."""
    public = connectivityrule.ConnectivityRuleSpec(
        public_rule=connectivityrule.PublicConnectivityRule()
    )
    rule = await api.do("CreateConnectivityRule", rr.CreateConnectivityRuleRequest(spec=public))
    id = rule.connectivity_rule_id
    made = await api.a_namespace(connectivity_rule_ids=[id])
    assert [r.id for r in made.connectivity_rules] == [id]
    listed = await api.call(
        "GetConnectivityRules", rr.GetConnectivityRulesRequest(namespace=made.namespace)
    )
    delete = rr.DeleteConnectivityRuleRequest(
        connectivity_rule_id=id,
        resource_version=listed.connectivity_rules[0].resource_version,
    )
    code, why = await api.refused("DeleteConnectivityRule", delete)
    assert code == "FAILED_PRECONDITION"
    assert "orders.tprov" in why
    await change(api, made, connectivity_rule_ids=[])
    await api.do("DeleteConnectivityRule", delete)

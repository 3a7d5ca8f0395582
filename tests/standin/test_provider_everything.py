"""The real provider, with every resource and every data source that it has."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.standin.parts import Standin, Terraform, running
from tprov_kernel.toolchain import Toolchain

STACK = Path(__file__).parent / "stacks" / "everything"

PROVIDES = {
    "temporalcloud_account_audit_log_sink",
    "temporalcloud_apikey",
    "temporalcloud_connectivity_rule",
    "temporalcloud_group",
    "temporalcloud_group_access",
    "temporalcloud_group_members",
    "temporalcloud_metrics_endpoint",
    "temporalcloud_namespace",
    "temporalcloud_namespace_export_sink",
    "temporalcloud_namespace_search_attribute",
    "temporalcloud_namespace_tags",
    "temporalcloud_nexus_endpoint",
    "temporalcloud_service_account",
    "temporalcloud_user",
}
"""Every resource of the provider's v1.3.0."""

IMPORTS: dict[str, Callable[[dict[str, Any]], str] | None] = {
    "temporalcloud_apikey": None,  # the provider cannot import keys
    "temporalcloud_namespace_search_attribute": lambda v: f"{v['namespace_id']}/{v['name']}",
    "temporalcloud_group_members": lambda v: str(v["group_id"]),
}
"""How what is imported is called, where it is not by its id."""


def a_certificate() -> str:
    """A CA certificate that expired long ago, in PEM, in base64: it is not judged by date."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    begin = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def _id(values: dict[str, Any]) -> str:
    return str(values["id"])


def copy(terraform: Terraform, *names: str) -> None:
    """Take the stack's files over."""
    terraform.write("")
    for name in names:
        shutil.copy(STACK / name, terraform.folder / name)
    terraform.init()


def imports(state: list[dict[str, Any]]) -> str:
    """Import blocks for everything that the provider can import."""
    blocks = []
    for resource in state:
        id_of = IMPORTS.get(resource["type"], _id)
        if id_of is not None:
            id = json.dumps(id_of(resource["values"]))
            blocks.append(f"import {{\n  to = {resource['address']}\n  id = {id}\n}}\n")
    return "".join(blocks)


def test_every_resource_lives_its_whole_life(tmp_path: Path, toolchain: Toolchain) -> None:
    """Create, plan again, update, plan again, import elsewhere, destroy.

    Each plan that follows an apply, or an import, has no changes, and nothing is left in the end.
    """
    with running(tmp_path, "--scim", "staff") as standin:
        live_and_die(standin, toolchain, tmp_path)


def live_and_die(standin: Standin, toolchain: Toolchain, tmp_path: Path) -> None:
    """The test itself."""
    ca = a_certificate()
    first = {"ca": ca, "other_ca": a_certificate()}
    second = {**first, "second": "true"}
    terraform = Terraform(tmp_path / "stack", standin, toolchain)
    copy(terraform, "resources.tf", "data.tf")

    terraform.apply(**first)
    assert terraform.plan(**first).code == 0
    check_data(json.loads(terraform.run("output", "-json", "seen").output), ca)

    changed = terraform.apply(**second).count("apply")
    assert (changed["add"], changed["remove"]) == (0, 0)
    assert changed["change"] == 19
    # What data sources say of a changed namespace is an output that changes once more.
    assert terraform.plan(**second).count("plan")["change"] == 0
    state = terraform.state()
    assert {r["type"] for r in state} == PROVIDES

    elsewhere = Terraform(tmp_path / "elsewhere", standin, toolchain)
    copy(elsewhere, "resources.tf")
    (elsewhere.folder / "imports.tf").write_text(imports(state))
    planned = elsewhere.plan(**second).count("plan")
    keys = sum(1 for r in state if r["type"] == "temporalcloud_apikey")
    assert planned == {"add": keys, "change": 0, "import": len(state) - keys, "remove": 0}

    destroyed = terraform.destroy(**second).count("destroy")
    assert destroyed["remove"] == len(state)
    left = asyncio.run(standin.control.objects())
    assert sorted((o["type"], o["name"]) for o in left) == [
        ("account", "tprov"),
        ("group", "staff"),
        ("user", "owner@example.com"),
    ]


def check_data(seen: dict[str, Any], ca: str) -> None:
    """What the data sources say is what was made."""
    assert seen["regions"] > 10
    assert seen["namespaces"] == ["both", "certified", "keyed"]
    assert seen["namespace"]["custom_search_attributes"] == {"OrderId": "keyword"}
    assert seen["namespace"]["tags"] == {"cost": "low", "team": "orders"}
    assert seen["namespace"]["limits"] == {"actions_per_second_limit": 500}
    assert seen["namespace"]["state"] == "active"
    assert seen["namespace"]["active_region"] == "aws-us-east-1"
    assert seen["certified"]["accepted_client_ca"] == ca
    assert len(seen["certified"]["certificate_filters"]) == 2
    assert "Grace.Hopper@example.com" in seen["users"]
    assert seen["user"]["namespace_accesses"] == [
        {"namespace_id": "keyed.tprov", "permission": "read"}
    ]
    assert seen["service_accounts"] == ["ci", "worker"]
    assert seen["service_account"]["namespace_scoped_access"]["permission"] == "write"
    assert seen["scim_group"]["name"] == "staff"
    assert seen["rule"]["gcp_project_id"] == "my-project"
    assert seen["endpoint"]["worker_target"]["task_queue"] == "orders-first"
    assert seen["endpoints"] == 1
    assert seen["audit_sink"]["pubsub"]["topic_name"] == "audit-first"

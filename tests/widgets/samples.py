"""Hand-made plans, findings, panels and objects, as `views.py` and the tests use them."""

from __future__ import annotations

from tprov_kernel.errors import KeyRejected
from tprov_kernel.messages import AttributeChange, Finding, PlanView, ResourceChange, Verdict
from tprov_kernel.widgets.objects import CloudObject
from tprov_kernel.widgets.panel import OpenRun, PanelModel, PanelRow

PLAN = PlanView(
    add=2,
    changes=[
        ResourceChange(
            address="temporalcloud_namespace.this",
            type="temporalcloud_namespace",
            change="create",
            title="adm-7c2f",
            attributes=[
                AttributeChange(name="regions", after='["aws-us-east-1"]'),
                AttributeChange(name="retention_days", after="7"),
                AttributeChange(name="accepted_client_ca", sensitive=True),
                AttributeChange(name="id", unknown=True),
            ],
        ),
        ResourceChange(
            address="temporalcloud_user.admin",
            type="temporalcloud_user",
            change="create",
            title="grace@example.test",
            attributes=[AttributeChange(name="account_access", after='"admin"')],
        ),
    ],
    outputs=[AttributeChange(name="namespace_id", unknown=True)],
    hidden=3,
)

MIXED_PLAN = PlanView(
    add=1,
    change=1,
    destroy=2,
    imports=1,
    omitted=4,
    changes=[
        ResourceChange(
            address="temporalcloud_namespace.this",
            type="temporalcloud_namespace",
            change="update",
            title="adm-7c2f",
            attributes=[AttributeChange(name="retention_days", before="7", after="14")],
        ),
        ResourceChange(
            address="temporalcloud_namespace.moved",
            type="temporalcloud_namespace",
            change="replace",
            title="old-1",
            attributes=[
                AttributeChange(name="regions", before='["aws-us-east-1"]', after='["aws-eu-1"]'),
                AttributeChange(name="id", before='"old-1.acct"', unknown=True),
            ],
        ),
        ResourceChange(
            address="temporalcloud_user.gone",
            type="temporalcloud_user",
            change="delete",
            title="ada@example.test",
            attributes=[AttributeChange(name="email", before='"ada@example.test"')],
        ),
        ResourceChange(
            address="temporalcloud_user.ours",
            type="temporalcloud_user",
            change="import",
            title="bob@example.test",
        ),
    ],
)

FINDING = Finding(
    rule="admin_user",
    level="soft-mandatory",
    address="temporalcloud_user.admin",
    message="gets account-wide admin access.",
    remedy="give developer access and a namespace permission.",
    title="No account-wide administrators",
)

VERDICT = Verdict(
    findings=[FINDING],
    bundle_digest="4be107d9" + "0" * 56,
    opa_version="1.22.2",
    text='[\n  {\n    "level": "soft-mandatory",\n    "rule": "admin_user"\n  }\n]',
)

PANEL = PanelModel(
    title="Your lab is open",
    target="local",
    seconds=1.4,
    services=(
        PanelRow(name="Temporal server", version="1.9.1", detail="localhost:7233"),
        PanelRow(name="Cloud API stand-in", detail="localhost:7244, holds 2 objects"),
        PanelRow(
            name="codec server",
            state="warn",
            detail="port 8081 is taken by another program",
            remedy="Stop it, or go without decoded payloads in the Web UI.",
        ),
    ),
    tools=(
        PanelRow(name="terraform", version="1.11.4", detail="from PATH"),
        PanelRow(
            name="opa", state="missing", detail="not on PATH", remedy="Run `tprov setup` first."
        ),
    ),
    links=(("Temporal Web UI", "http://localhost:8233"),),
    ignored=("TEMPORAL_API_KEY",),
    leftovers=("A namespace of yesterday's stack adm-11aa is still there: `tprov reset`.",),
    runs=(OpenRun(stack="adm-7c2f", status="awaiting approval", since="since 10:41"),),
)

OBJECTS = [
    CloudObject("namespace", "adm-7c2f", "adm-7c2f.a1b2c", "active", "2025-11-24T10:41:07Z"),
    CloudObject("user", "grace@example.test", "user-1", "activating", ""),
]

ERROR = KeyRejected(
    "The Temporal Cloud API does not accept the key.",
    remedy="Set `TEMPORAL_CLOUD_API_KEY` to a valid key.",
)

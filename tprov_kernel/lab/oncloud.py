"""A notebook that may run on the reader's own Temporal Cloud: what is set, and does it go there?"""

from __future__ import annotations

from collections.abc import Mapping

from tprov_kernel.lab.output import show_html
from tprov_kernel.remote import names_a_server
from tprov_kernel.settings import Settings
from tprov_kernel.widgets.panel import PanelModel, PanelRow, panel_html

CLOUD_KEY = "TEMPORAL_CLOUD_API_KEY"

ON_PURPOSE = "TPROV_TARGET"
"""With ``remote`` a run without a person, too, goes where the environment says."""

VARIABLES = (
    (
        "TEMPORAL_HOST_URL",
        "address",
        "where your namespace is: <namespace>.<account>.tmprl.cloud:7233",
    ),
    ("TEMPORAL_NAMESPACE", "namespace", "its name: <namespace>.<account>"),
    ("TEMPORAL_MTLS_TLS_CERT", "tls_cert", "a client certificate, and"),
    ("TEMPORAL_MTLS_TLS_KEY", "tls_key", "its key, for a namespace with mTLS; or"),
    ("TEMPORAL_API_KEY", "api_key", "a key, for a namespace with API keys"),
    (CLOUD_KEY, "cloud", "a key for the Cloud API: with it Terraform makes namespaces and users"),
)
"""Each with the field of `Settings` that it says."""

INSTEAD = {"tls_cert": "api_key", "tls_key": "api_key", "api_key": "tls_cert"}
"""A namespace takes certificates or keys: one of them is enough."""


def why_not(environ: Mapping[str, str], *, headless: bool) -> str:
    """Why a notebook stays on this machine; empty when it goes where the environment says."""
    missing = [CLOUD_KEY] if not environ.get(CLOUD_KEY) else []
    if not names_a_server(environ):
        missing.insert(0, "TEMPORAL_HOST_URL")
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        return (
            f"{' and '.join(missing)} {verb} not set: these cells run on this machine, against the"
            " stand-in for the Cloud API. Nothing is created elsewhere, and nothing costs money."
        )
    if headless and environ.get(ON_PURPOSE) != "remote":
        return (
            "Nobody is here to see what would be created, so these cells run on this machine,"
            f" against the stand-in. {ON_PURPOSE}=remote goes to the Cloud without being asked."
        )
    return ""


def show_connection(settings: Settings, environ: Mapping[str, str]) -> None:
    """Show which variables are set, and what they come to; a key's value is never shown."""
    rows = [_row(settings, environ, *variable) for variable in VARIABLES]
    encrypted = "encrypted before they leave this kernel"
    used = (
        PanelRow(name="Temporal server used", detail=f"{settings.address}, {_how(settings)}"),
        PanelRow(name="Namespace used", detail=settings.namespace),
        PanelRow(name="Task queue used", detail=settings.task_queue),
        PanelRow(name="Cloud API used", detail=f"{settings.cloud.endpoint}, {settings.cloud.kind}"),
        PanelRow(name="Payloads", detail=encrypted)
        if settings.encrypt_payloads
        else PanelRow(name="Payloads", state="warn", detail="in the clear: ENCRYPT_PAYLOADS=false"),
    )
    model = PanelModel(
        title="What the environment says, and what is used",
        target=settings.target,
        services=(*rows, *used),
    )
    words = [f"{row.name}: {row.detail}" for row in model.services]
    show_html(panel_html(model), "\n".join(words))


def _row(
    settings: Settings, environ: Mapping[str, str], name: str, field: str, what: str
) -> PanelRow:
    """A variable: set, said by another name or a profile, not needed, or missing."""
    if environ.get(name):
        return PanelRow(name=name, detail=f"set: {what}")
    sources = settings.sources if settings.target == "remote" else {}
    source = sources.get(field, "default")
    if source != "default":
        return PanelRow(name=name, detail=f"not set, said by {source}: {what}")
    if INSTEAD.get(field) in sources:
        return PanelRow(name=name, detail=f"not set, not needed: {what}")
    return PanelRow(name=name, state="warn", detail=f"not set: {what}")


def _how(settings: Settings) -> str:
    if settings.tls_cert:
        return "TLS with a client certificate"
    if settings.api_key:
        return "TLS with an API key"
    return "TLS" if settings.tls else "no TLS"

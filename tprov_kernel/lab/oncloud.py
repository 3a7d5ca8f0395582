"""A notebook that may run on the reader's own Temporal Cloud: what is set, and does it go there?"""

from __future__ import annotations

from collections.abc import Mapping

from tprov_kernel.lab.output import show_html
from tprov_kernel.settings import Settings
from tprov_kernel.widgets.panel import PanelModel, PanelRow, panel_html

ADDRESS = ("TEMPORAL_HOST_URL", "TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE")
"""Any of these says where the Temporal server is."""

CLOUD_KEY = "TEMPORAL_CLOUD_API_KEY"

ON_PURPOSE = "TPROV_TARGET"
"""With ``remote`` a run without a person, too, goes where the environment says."""

VARIABLES = (
    ("TEMPORAL_HOST_URL", "where your namespace is: <namespace>.<account>.tmprl.cloud:7233"),
    ("TEMPORAL_NAMESPACE", "its name: <namespace>.<account>"),
    ("TEMPORAL_MTLS_TLS_CERT", "a client certificate, and"),
    ("TEMPORAL_MTLS_TLS_KEY", "its key, for a namespace with mTLS; or"),
    ("TEMPORAL_API_KEY", "a key, for a namespace with API keys"),
    (CLOUD_KEY, "a key for the Cloud API: with it Terraform makes namespaces and users"),
)


def why_not(environ: Mapping[str, str], *, headless: bool) -> str:
    """Why a notebook stays on this machine; empty when it goes where the environment says."""
    missing = [CLOUD_KEY] if not environ.get(CLOUD_KEY) else []
    if not any(environ.get(name) for name in ADDRESS):
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
    rows = [
        PanelRow(
            name=name,
            state="ok" if environ.get(name) else "warn",
            detail=f"{'set' if environ.get(name) else 'not set'}: {what}",
        )
        for name, what in VARIABLES
    ]
    where = "the stand-in" if settings.cloud.is_stand_in else "Temporal Cloud"
    used = (
        PanelRow(name="Temporal server used", detail=f"{settings.address}, {_how(settings)}"),
        PanelRow(name="Namespace used", detail=settings.namespace),
        PanelRow(name="Cloud API used", detail=f"{settings.cloud.endpoint}, {where}"),
    )
    model = PanelModel(
        title="What the environment says, and what is used",
        target=settings.target,
        services=(*rows, *used),
    )
    words = [f"{row.name}: {row.detail}" for row in model.services]
    show_html(panel_html(model), "\n".join(words))


def _how(settings: Settings) -> str:
    if settings.tls_cert:
        return "TLS with a client certificate"
    if settings.api_key:
        return "TLS with an API key"
    return "TLS" if settings.tls else "no TLS"

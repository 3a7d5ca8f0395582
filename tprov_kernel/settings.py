"""Where things are and how to reach them: one frozen object, made once, handed down.

Local unless asked by name: `local_settings` looks at the running services only and lists the
connection variables that it ignores; `remote_settings` uses what the environment says, refuses
contradictions, and is reached only through ``target="remote"``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tprov_kernel.errors import SettingsError
from tprov_kernel.messages import DEFAULT_TASK_QUEUE
from tprov_kernel.texts import looks_secret
from tprov_kernel.unsaid import ADDRESS, no_address

Target = Literal["local", "remote"]

Source = Path | bytes
"""A certificate or a key: the file that holds it, or itself."""

CONNECTION_VARIABLES = (
    "TEMPORAL_ADDRESS",
    "TEMPORAL_HOST_URL",
    "TEMPORAL_NAMESPACE",
    "TEMPORAL_API_KEY",
    "TEMPORAL_MTLS_TLS_CERT",
    "TEMPORAL_MTLS_TLS_KEY",
    "TEMPORAL_TLS",
    "TEMPORAL_TLS_CLIENT_CERT_PATH",
    "TEMPORAL_TLS_CLIENT_KEY_PATH",
    "TEMPORAL_TLS_SERVER_CA_CERT_PATH",
    "TEMPORAL_TLS_CLIENT_CERT_DATA",
    "TEMPORAL_TLS_CLIENT_KEY_DATA",
    "TEMPORAL_TLS_SERVER_CA_CERT_DATA",
    "TEMPORAL_TLS_SERVER_NAME",
    "TEMPORAL_PROFILE",
    "TEMPORAL_CONFIG_FILE",
    "TEMPORAL_CLOUD_API_KEY",
    "TEMPORAL_CLOUD_ENDPOINT",
    "TEMPORAL_CLOUD_ALLOW_INSECURE",
    "TEMPORAL_CLOUD_ALLOWED_ACCOUNT_ID",
)
"""Ambient variables that say where to connect; local mode ignores each and says so."""

KEYS_VARIABLE = "TPROV_KEYS"
"""Holds the key ring itself, the JSON of a keys.json, where no file is to; local and remote.

It is in no `Settings`, which are handed around: `payloads.keysource` reads it. No program that we
run gets it but our own worker, codec server and notebooks."""


@dataclass(frozen=True, kw_only=True)
class CloudSettings:
    """How to reach the Temporal Cloud API, or the stand-in.

    Attributes:
        endpoint: ``host:port`` of the gRPC API.
        api_key: The bearer key; empty when there is none. Never shown, never in a message.
        allow_insecure: Plaintext HTTP/2; only ever true for a loopback address.
        allowed_account: The account that a run may touch; empty until the look-up told it.
        is_stand_in: True for the local stand-in.
    """

    endpoint: str = "saas-api.tmprl.cloud:443"
    api_key: str = field(default="", repr=False)
    allow_insecure: bool = False
    allowed_account: str = ""
    is_stand_in: bool = False

    @property
    def kind(self) -> str:
        """Whose API it is, in words."""
        if self.is_stand_in:
            return "a stand-in on this machine"
        return "Temporal Cloud" if _is_cloud(self.endpoint) else "not Temporal Cloud itself"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that differs between one place and another.

    Attributes:
        target: ``local`` or ``remote``.
        root: The workspace: the directory that holds `terraform/` and `policies/`.
        home: Data of this instance: stacks, keys, databases, logs (mode 0700).
        address: ``host:port`` of the Temporal server.
        namespace: The Temporal namespace.
        task_queue: The task queue runs are started on.
        tls: Whether the connection uses TLS.
        tls_cert: Client certificate for mTLS; None without.
        tls_key: Its key.
        tls_ca: Certificates that the server's has to be signed by; None for those of the system.
        tls_server_name: The name in the server's certificate, where the address is another.
        grpc_meta: More headers of each call, from the SDK's own configuration.
        api_key: API key for the Temporal server; empty without.
        cloud: The Temporal Cloud API.
        encrypt_payloads: Whether payloads are encrypted; plan files are sealed in any case.
        codec_url: The codec server, with the namespace's path; empty when there is none.
        ui_url: The Temporal Web UI; empty when there is none.
        policies: The policy bundle's directory.
        ignored: Names of ambient variables that were ignored.
        sources: Field name to where its value came from, in words.
    """

    target: Target
    root: Path
    home: Path
    address: str
    namespace: str = "default"
    task_queue: str = DEFAULT_TASK_QUEUE
    tls: bool = False
    tls_cert: Source | None = field(default=None, repr=False)
    tls_key: Source | None = field(default=None, repr=False)
    tls_ca: Source | None = field(default=None, repr=False)
    tls_server_name: str = ""
    grpc_meta: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_key: str = field(default="", repr=False)
    cloud: CloudSettings = field(default_factory=CloudSettings)
    encrypt_payloads: bool = True
    codec_url: str = ""
    ui_url: str = ""
    policies: Path
    ignored: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def stacks(self) -> Path:
        """Where the stacks' directories are."""
        return self.home / "stacks"

    @property
    def key_ring(self) -> Path:
        """The key ring's file (mode 0600); none is made where the keys come from elsewhere."""
        return self.home / "keys.json"

    @property
    def audits(self) -> Path:
        """Where an audit of each run that closed is kept."""
        return self.home / "audits"

    @property
    def logs(self) -> Path:
        """Where every process of ours logs to."""
        return self.home / "logs"


def workspace_root(start: Path | None = None) -> Path:
    """Find the workspace: `TPROV_ROOT`, else the nearest directory above with our folders in it."""
    if named := os.environ.get("TPROV_ROOT"):
        return Path(named).resolve()
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "policies").is_dir() and (folder / "terraform").is_dir():
            return folder
    return here


def default_home(root: Path) -> Path:
    """Give the shared instance's data directory: `TPROV_HOME`, else `.tprov` in the workspace."""
    if named := os.environ.get("TPROV_HOME"):
        return Path(named).resolve()
    return root / ".tprov"


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

MAX_QUEUE = 200
"""Characters of a task queue's name; the server takes up to 1000 bytes."""


def check_task_queue(name: str) -> str:
    """Return the name of a task queue if people can type and read it.

    Raises:
        SettingsError: It is empty, long, or has a line break or the like in it.
    """
    if name.strip() and len(name) <= MAX_QUEUE and not _CONTROL.search(name):
        return name
    harmless = len(name) <= 60 and not looks_secret(name)
    shown = repr(name) if harmless else f"A text of {len(name)} characters"
    raise SettingsError(
        f"{shown} is no name for a task queue.",
        remedy=f"Use 1 to {MAX_QUEUE} characters in one line (--task-queue, or"
        " TEMPORAL_INFRA_PROVISION_TASK_QUEUE).",
    )


def check_seconds(name: str, value: float, *, least: float, most: float) -> float:
    """Return a number of seconds if a run can use it.

    Raises:
        SettingsError: It is no number, or out of bounds.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and least <= value <= most:
        return float(value)
    raise SettingsError(
        f"{name} is {value!r}, and has to be a number of seconds from {least:g} to {most:g}.",
        remedy=f"Give {name} in seconds, such as {300:g}.",
    )


def without_keys(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for a program that has no business with the key ring."""
    return {name: value for name, value in environ.items() if name != KEYS_VARIABLE}


def _plain(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment whose values say what people see: no line break at the end, none within."""
    plain = {name: value.strip() for name, value in environ.items()}
    for name in (*CONNECTION_VARIABLES, "TEMPORAL_INFRA_PROVISION_TASK_QUEUE"):
        inline = name.endswith("_DATA")  # a certificate is many lines
        if not inline and _CONTROL.search(plain.get(name, "")):
            raise SettingsError(
                f"{name} has a line break or another control character in it.",
                remedy=f"Set {name} again, in one line.",
            )
    return plain


def truth(text: str, *, name: str) -> bool:
    """Read a boolean as people write it; anything else is a `SettingsError` that names it."""
    lowered = text.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"", "0", "false", "no", "off"}:
        return False
    raise SettingsError(f"{name} is neither true nor false.", remedy=f"Set {name}=true.")


_LOOPBACK = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\]):[0-9]+", re.IGNORECASE)


def stays_here(address: str) -> bool:
    """Whether what is sent to this ``host:port`` does not leave the machine."""
    return _LOOPBACK.fullmatch(address) is not None


CLOUD_UI = "https://cloud.temporal.io"


def _is_cloud(address: str) -> bool:
    host = address.rpartition(":")[0]
    return host.endswith((".tmprl.cloud", ".api.temporal.io"))


def remote_settings(
    environ: Mapping[str, str], *, root: Path, home: Path | None = None
) -> Settings:
    """Read the connection from the environment; contradictions are refused by name.

    The description's names and the SDK's own (`envconfig`, `temporal.toml` included) both work.

    Raises:
        SettingsError: Two names disagree, a file is missing, or nothing says where to connect.
    """
    # Imported here: the local path, and the workflow sandbox, never need it.
    from tprov_kernel.remote import read_connection

    environ = _plain(environ)
    connection = read_connection(environ)
    endpoint = environ.get("TEMPORAL_CLOUD_ENDPOINT") or CloudSettings.endpoint
    if not ADDRESS.fullmatch(endpoint):
        raise no_address("TEMPORAL_CLOUD_ENDPOINT", endpoint)
    insecure = truth(
        environ.get("TEMPORAL_CLOUD_ALLOW_INSECURE", ""), name="TEMPORAL_CLOUD_ALLOW_INSECURE"
    )
    cloud_key = environ.get("TEMPORAL_CLOUD_API_KEY", "")
    if insecure and cloud_key and not stays_here(endpoint):
        raise SettingsError(
            f"TEMPORAL_CLOUD_ALLOW_INSECURE would send TEMPORAL_CLOUD_API_KEY to {endpoint} without"
            " encryption.",
            remedy="Unset TEMPORAL_CLOUD_ALLOW_INSECURE; it is for an address of this machine.",
        )
    return Settings(
        target="remote",
        root=root,
        home=home or default_home(root) / "remote",
        address=connection.address,
        namespace=connection.namespace,
        task_queue=environ.get("TEMPORAL_INFRA_PROVISION_TASK_QUEUE") or DEFAULT_TASK_QUEUE,
        tls=connection.tls,
        tls_cert=connection.cert,
        tls_key=connection.key,
        tls_ca=connection.ca,
        tls_server_name=connection.server_name,
        grpc_meta=connection.grpc_meta,
        api_key=connection.api_key,
        cloud=CloudSettings(
            endpoint=endpoint,
            api_key=cloud_key,
            allow_insecure=insecure,
            allowed_account=environ.get("TEMPORAL_CLOUD_ALLOWED_ACCOUNT_ID", ""),
        ),
        encrypt_payloads=truth(environ.get("ENCRYPT_PAYLOADS") or "true", name="ENCRYPT_PAYLOADS"),
        ui_url=CLOUD_UI if _is_cloud(connection.address) else "",
        policies=root / "policies",
        sources=connection.sources,
    )

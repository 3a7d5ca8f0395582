"""What the running services mean for this process's settings, and for a terminal."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from tprov_kernel.files import private_directory, replace_private
from tprov_kernel.messages import DEFAULT_TASK_QUEUE
from tprov_kernel.services.home import ServicesInfo, writing
from tprov_kernel.settings import (
    CONNECTION_VARIABLES,
    CloudSettings,
    Settings,
    check_task_queue,
    truth,
)

NAMESPACE = "default"
QUEUE_VARIABLE = "TEMPORAL_INFRA_PROVISION_TASK_QUEUE"


class Tool(Protocol):
    """What is needed of a `toolchain.Tool`."""

    @property
    def name(self) -> str:
        """What it is called on PATH."""
        ...

    @property
    def argv(self) -> tuple[str, ...]:
        """How it is started."""
        ...


class Tools(Protocol):
    """What is needed of a `toolchain.Toolchain`."""

    @property
    def terraform(self) -> Tool: ...  # noqa: D102
    @property
    def opa(self) -> Tool: ...  # noqa: D102
    @property
    def temporal(self) -> Tool: ...  # noqa: D102
    def cli_config(self) -> str:
        """Give the Terraform CLI configuration."""
        ...


def local_settings(
    info: ServicesInfo, *, root: Path, home: Path, environ: Mapping[str, str]
) -> Settings:
    """Give the settings for open services; ambient connection variables are ignored, and named.

    Raises:
        SettingsError: `ENCRYPT_PAYLOADS` is neither true nor false, or the task queue is none.
    """
    queue = environ.get(QUEUE_VARIABLE, "")
    encrypt = environ.get("ENCRYPT_PAYLOADS", "")
    opened = f"services opened by {info.owner.words}"
    settings = Settings(
        target="local",
        root=root,
        home=home,
        address=info.address,
        namespace=NAMESPACE,
        task_queue=check_task_queue(queue) if queue else DEFAULT_TASK_QUEUE,
        cloud=CloudSettings(
            endpoint=info.cloud_endpoint,
            api_key=_key(home / "standin.key"),
            allow_insecure=True,
            is_stand_in=True,
        ),
        encrypt_payloads=truth(encrypt, name="ENCRYPT_PAYLOADS") if encrypt else True,
        codec_url=f"{info.codec_url}/{NAMESPACE}",
        ui_url=info.ui_url,
        policies=root / "policies",
        sources={
            "address": opened,
            "namespace": "local",
            "cloud": opened,
            "task_queue": QUEUE_VARIABLE if queue else "default",
            "encrypt_payloads": "ENCRYPT_PAYLOADS" if encrypt else "default",
        },
    )
    return _with_ignored(settings, environ)


def _with_ignored(settings: Settings, environ: Mapping[str, str]) -> Settings:
    ours = _connection(settings)  # a terminal or a kernel that is set up for this very place
    ignored = [n for n in CONNECTION_VARIABLES if environ.get(n) and environ[n] != ours.get(n)]
    files = [path.name for path in _configuration_files(environ) if path.is_file()]
    return replace(settings, ignored=(*ignored, *files))


def _configuration_files(environ: Mapping[str, str]) -> list[Path]:
    """Where the SDK and the CLI look when no variable names a file."""
    if environ.get("TEMPORAL_CONFIG_FILE") or not environ.get("HOME"):
        return []
    home = Path(environ["HOME"])
    base = home / "Library/Application Support" if sys.platform == "darwin" else home / ".config"
    if sys.platform != "darwin" and environ.get("XDG_CONFIG_HOME"):
        base = Path(environ["XDG_CONFIG_HOME"])
    return [base / "temporalio" / "temporal.toml"]


def _key(path: Path) -> str:
    """The stand-in's key, which it wrote before it answered; empty when there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def environment_for_terminal(
    settings: Settings, *, toolchain: Tools | None = None
) -> dict[str, str]:
    """Give what `temporal`, and a plain `terraform`, need in a terminal to meet this very place.

    Tried with Temporal CLI 1.9: an empty `TEMPORAL_TLS_...` variable switches TLS on, while
    ``TEMPORAL_TLS=false`` overrules every other one, a key and a profile's TLS included; a
    profile that does not exist is an error, an empty name is none. Not overruled is an
    environment named ``default`` made by the old ``temporal env set``.

    Args:
        settings: The place; for a remote one keys stay where they are, files are only named.
        toolchain: When given, its tools come first on `PATH`, and Terraform finds the provider.

    Raises:
        ServiceError: Nothing can be written to the data directory.
    """
    is_local = settings.target == "local"
    environment = _connection(settings) if is_local else _by_the_cli_s_names(settings)
    if toolchain is not None:
        config = settings.home / "terraform.rc"
        with writing(settings.home):
            replace_private(config, toolchain.cli_config().encode())
            folder = _make_programs(settings, toolchain)
        others = [p for p in os.environ.get("PATH", os.defpath).split(os.pathsep) if p != folder]
        environment["TF_CLI_CONFIG_FILE"] = str(config)
        environment["PATH"] = os.pathsep.join([folder, *others])
    return environment


def _connection(settings: Settings) -> dict[str, str]:
    cloud = settings.cloud
    return {
        "TEMPORAL_ADDRESS": settings.address,
        "TEMPORAL_NAMESPACE": settings.namespace,
        "TEMPORAL_CODEC_ENDPOINT": settings.codec_url,
        "TEMPORAL_CODEC_AUTH": "",
        "TEMPORAL_TLS": "false",
        "TEMPORAL_API_KEY": "",
        "TEMPORAL_PROFILE": "",
        "TEMPORAL_CONFIG_FILE": os.devnull,
        "TEMPORAL_CLOUD_ENDPOINT": cloud.endpoint,
        "TEMPORAL_CLOUD_API_KEY": cloud.api_key,
        "TEMPORAL_CLOUD_ALLOW_INSECURE": "true",
        "TEMPORAL_CLOUD_ALLOWED_ACCOUNT_ID": cloud.allowed_account,
    }


def _by_the_cli_s_names(settings: Settings) -> dict[str, str]:
    """What only our own names say; a key, a profile and a certificate inline it reads itself."""
    files = {
        "TEMPORAL_TLS_CLIENT_CERT_PATH": settings.tls_cert,
        "TEMPORAL_TLS_CLIENT_KEY_PATH": settings.tls_key,
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": settings.tls_ca,
    }
    named = {name: str(path) for name, path in files.items() if isinstance(path, Path)}
    where = {"TEMPORAL_ADDRESS": settings.address, "TEMPORAL_NAMESPACE": settings.namespace}
    return where | named


def _make_programs(settings: Settings, toolchain: Tools) -> str:
    """Put each tool into a directory for `PATH`, as a script that runs the one that was found.

    `tprov` is there too, for these very services: a cell of a notebook that has its own ones, and
    a terminal, need say no more.
    """
    folder = settings.home / "bin"
    private_directory(folder)
    for tool in (toolchain.terraform, toolchain.opa, toolchain.temporal):
        if Path(tool.argv[0]).parent == folder:
            continue  # found through this very script: it must not run itself
        script = f'#!/bin/sh\nexec {shlex.join(tool.argv)} "$@"\n'
        replace_private(folder / tool.name, script.encode(), mode=0o700)
    # Data of a remote place lies below that of the local one.
    home = settings.home if settings.target == "local" else settings.home.parent
    place = shlex.join([f"TPROV_ROOT={settings.root}", f"TPROV_HOME={home}"])
    command = shlex.join([sys.executable, "-m", "tprov_kernel.cli"])
    script = f'#!/bin/sh\nexec env {place} {command} "$@"\n'
    replace_private(folder / "tprov", script.encode(), mode=0o700)
    return str(folder)

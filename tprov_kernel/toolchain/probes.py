"""Which version a program is, asked once: the answer is kept while the file stays the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tprov_kernel.settings import without_keys

QUESTIONS: Mapping[str, Sequence[str]] = {
    "terraform": ("version", "-json"),
    "opa": ("version",),
    "temporal": ("--version",),
    "go": ("version",),
}
ANSWERS: Mapping[str, str] = {
    "terraform": r'"terraform_version": "(\S+)"',
    "opa": r"^Version: (\S+)",
    "temporal": r"^temporal version (\S+)",
    "go": r"^go version go(\S+)",
}
SECONDS = 20.0


class NotUsable(Exception):
    """The program can't be asked, or does not answer as it should; the text continues 'which'."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a program says of itself: its version, and for Terraform its platform."""

    version: str
    platform: str = ""


def as_numbers(version: str) -> tuple[int, ...]:
    """Make a version comparable: '1.11.4-dev' is (1, 11, 4)."""
    return tuple(int(number) for number in re.findall(r"\d+", version.split("-")[0]))


def tool_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Give an environment in which a tool answers for itself: nothing of Terraform's inherited."""
    inherited = without_keys(environ)
    kept = {k: v for k, v in inherited.items() if not k.startswith(("TF_", "OPA_", "TEMPORAL_"))}
    return kept | {
        "CHECKPOINT_DISABLE": "1",
        "GOTOOLCHAIN": "local",
        "TF_CLI_CONFIG_FILE": os.devnull,
    }


@dataclass(kw_only=True)
class Probes:
    """Asks programs for their versions.

    Attributes:
        store: The file that keeps answers between processes; it may be missing or unwritable.
        environ: Our environment.
    """

    store: Path
    environ: Mapping[str, str]
    known: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with suppress(OSError, ValueError):
            stored = json.loads(self.store.read_text(encoding="utf-8"))
            self.known = stored if isinstance(stored, dict) else {}

    def probe(self, name: str, path: Path, *, ours: bool = False) -> Probe:
        """Give what the program at `path` says.

        Args:
            name: Which program it should be.
            path: Where it is.
            ours: Whether we put it there: its directory's name tells what is in it.

        Raises:
            NotUsable: It is not there, does not run, or is something else.
        """
        try:
            status = path.stat()
        except OSError:
            raise NotUsable("does not exist") from None
        if path.is_dir() or not os.access(path, os.X_OK):
            raise NotUsable("is not executable")
        key = f"{name} {path} {status.st_mtime_ns} {status.st_size}"
        keep = ours or _same_tool_tomorrow(name, path)
        entry = self.known.get(key) if keep else None
        if isinstance(entry, dict) and isinstance(entry.get("version"), str):
            return Probe(version=entry["version"], platform=str(entry.get("platform", "")))
        found = self._ask(name, path)
        if keep:
            self._remember(key, found)
        return found

    def _ask(self, name: str, path: Path) -> Probe:
        try:
            done = subprocess.run(
                [path, *QUESTIONS[name]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS,
                check=False,
                env=tool_environment(self.environ),
            )
        except subprocess.TimeoutExpired:
            raise NotUsable(f"does not tell its version within {SECONDS:.0f} s") from None
        except OSError as error:
            raise NotUsable(f"does not run ({error.strerror})") from None
        found = re.search(ANSWERS[name], done.stdout, re.MULTILINE)
        if done.returncode or not found:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise NotUsable(f"does not tell its version ({said[0][:200] if said else 'silence'})")
        platform = re.search(r'"platform": "(\w+)"', done.stdout)
        return Probe(version=found[1], platform=platform[1] if platform else "")

    def _remember(self, key: str, found: Probe) -> None:
        self.known[key] = {"version": found.version, "platform": found.platform}
        fresh = self.store.with_name(f".{self.store.name}.{os.getpid()}")
        with suppress(OSError):
            self.store.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(self.known, indent=1), encoding="utf-8")
            fresh.replace(self.store)


def _same_tool_tomorrow(name: str, path: Path) -> bool:
    """Tell whether an unchanged file means an unchanged version: not so for version managers.

    Their shims are scripts, or links to the manager itself, and choose a version each time.
    """
    real = path.resolve()
    with suppress(OSError), real.open("rb") as file:
        return real.name.startswith(name) and file.read(2) != b"#!"
    return False

"""What the documents say is true: their commands run, their links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXECUTED = re.compile(r"<!-- executed by tests/test_readme\.py -->\n```bash\n(.*?)```", re.DOTALL)
# What a person does between two lines: look until it is so far.
UNTIL = 'until tprov status adm --json | grep -q \'"status": *"{}"\'; do sleep 0.2; done'  # shell
MEANWHILE = {
    "tprov status adm": UNTIL.format("awaiting_approval"),
    "tprov destroy adm --yes": UNTIL.format("applied"),
}


@pytest.mark.timeout(120)
def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    """In a workspace of its own, in one terminal, one after the other; each exits with 0."""
    for name in ("terraform", "policies"):
        shutil.copytree(ROOT / name, tmp_path / name)
    lines = ["set -e"]
    for block in EXECUTED.findall((ROOT / "README.md").read_text()):
        for line in block.splitlines():
            lines += [MEANWHILE[line]] if line in MEANWHILE else []
            lines.append(f"{line} || {{ echo FAILED: $?; tprov down; exit 1; }}")
    folder = Path(sys.executable).parent
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("TPROV_", "TEMPORAL_"))},
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "USER": "ada",
    }
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    for words in ("stack-happy applied", '"applied"', "an approval needs a reason", "destroyed"):
        assert words in said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link, pictures included, and every anchor of the page itself."""
    text = page.read_text()
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        assert (page.parent / path).exists(), f"{page.name} links to {target}"
        if not path:
            assert anchor in anchors, f"{page.name} has no section {anchor}"


def test_make_targets_and_commands_exist() -> None:
    """What the pages tell to type is there."""
    from tprov_kernel.cli.app import app

    makefile = (ROOT / "Makefile").read_text()
    groups = {group.name for group in app.registered_groups}
    functions = [c for c in app.registered_commands if c.callback is not None]
    commands = {c.name or c.callback.__name__.replace("_", "-") for c in functions if c.callback}
    for page in PAGES:
        text = page.read_text()
        for target in re.findall(r"`make ([a-z]+)`|^make ([a-z]+)", text, re.MULTILINE):
            assert f"\n{target[0] or target[1]}:" in makefile
        for name in re.findall(r"(?:^|`)tprov (?:--target remote )?([a-z][a-z-]+)", text, re.M):
            assert name in commands | groups, f"{page.name}: tprov {name}"

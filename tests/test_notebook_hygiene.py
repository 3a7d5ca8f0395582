"""Notebooks that must not be committed are refused, each with a sentence; good ones pass."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "notebook_hygiene.py"

ERROR = {"output_type": "error", "ename": "OSError", "evalue": "gone", "traceback": []}


def cell(*outputs: dict[str, Any], source: str = "1", tags: tuple[str, ...] = ()) -> dict[str, Any]:
    """A code cell."""
    return {
        "cell_type": "code",
        "source": [source],
        "metadata": {"tags": list(tags)},
        "outputs": list(outputs),
    }


def shown(kind: str, text: str) -> dict[str, Any]:
    """An output that shows something."""
    return {"output_type": "display_data", "data": {kind: text}, "metadata": {}}


def check(tmp_path: Path, *cells: dict[str, Any], **metadata: Any) -> tuple[int, str]:
    """Run the tool on a notebook; gives its exit code and what it said."""
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": list(cells), "metadata": metadata, "nbformat": 4}))
    done = subprocess.run([sys.executable, TOOL, path], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "good",
    [
        cell(),
        cell(ERROR, tags=("raises-exception",)),
        cell(shown("text/html", '<a href="https://example.test/home/page">x</a>')),
        cell(shown("text/html", '<img src="data:image/png;base64,AA/home/abcdef==">')),
        cell(shown("image/png", "AAAA/home/abc")),
        cell(source="open('terraform/tcloud_namespace/main.tf'); ratio = done/home"),
    ],
)
def test_a_good_notebook_passes(tmp_path: Path, good: dict[str, Any]) -> None:
    """Expected errors, addresses and pictures are no fault."""
    assert check(tmp_path, good) == (0, "")


@pytest.mark.parametrize(
    ("bad", "because"),
    [
        (cell(ERROR), "the error OSError, and the cell is not tagged"),
        (cell({"output_type": "stream", "text": ["in /home/ann/x.py\n"]}), "/home/ann"),
        (cell({**ERROR, "traceback": ["\x1b[1m/Users/bob\x1b[0m"]}), "/Users/bob"),
        (cell(shown("text/html", "<pre>/builds/ab12/plan</pre>")), "/builds/ab12"),
        (cell(source="cd = '/home/ann'"), "its source names /home/ann"),
    ],
)
def test_a_bad_one_is_refused(tmp_path: Path, bad: dict[str, Any], because: str) -> None:
    """The sentence names the cell and the fault."""
    code, said = check(tmp_path, cell(), bad)

    assert code == 1
    assert f"{tmp_path}/n.ipynb: cell 2: " in said
    assert because in said


def test_widget_state_is_refused(tmp_path: Path) -> None:
    """It holds what people typed."""
    code, said = check(tmp_path, cell(), widgets={"application/vnd.jupyter.widget-state+json": {}})

    assert code == 1
    assert "widget state" in said


def test_what_is_no_notebook_is_refused(tmp_path: Path) -> None:
    """A merge conflict, for one, is a sentence and not a traceback."""
    (tmp_path / "n.ipynb").write_text("<<<<<<< HEAD")

    done = subprocess.run(
        [sys.executable, TOOL, tmp_path / "n.ipynb"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "can't be read as a notebook" in done.stderr

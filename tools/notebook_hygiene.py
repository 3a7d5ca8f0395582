"""Refuse notebooks that must not be committed; `make lint` and the commit hook run this.

Refused are: widget state (it holds what people typed), outputs that are errors in cells that are
not tagged `raises-exception`, and paths of the machine the notebook was run on.
Standard library only. Usage: ``python tools/notebook_hygiene.py [NOTEBOOK...]``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MACHINE_PATH = re.compile(
    r"(?<![\w./~-])/(?:home|Users|root|tmp|work|private/var|var/folders|builds|github)/[\w.@+-]+"
)
"""A path that only exists on somebody's machine; an address's path is not one."""


def findings(notebook: dict[str, Any]) -> Iterator[str]:
    """Give what is wrong with a notebook, a sentence each."""
    if "widgets" in notebook.get("metadata", {}):
        yield "its metadata hold widget state, and so what people typed."
    for number, cell in enumerate(notebook.get("cells", []), start=1):
        for output in cell.get("outputs", []):
            yield from (f"cell {number}: {what}" for what in _in_output(cell, output))
        for path in _paths(cell.get("source", "")):
            yield f"cell {number}: its source names {path}, a path of one machine."


def _in_output(cell: dict[str, Any], output: dict[str, Any]) -> Iterator[str]:
    tags = cell.get("metadata", {}).get("tags", [])
    if output.get("output_type") == "error" and "raises-exception" not in tags:
        yield (
            f"an output is the error {output.get('ename')}, and the cell is not tagged"
            " raises-exception."
        )
    texts = [output.get("text", ""), output.get("evalue", ""), output.get("traceback", "")]
    texts += [
        value
        for kind, value in output.get("data", {}).items()
        # a picture's bytes are not text
        if not kind.startswith("image/") or kind == "image/svg+xml"
    ]
    for path in dict.fromkeys(path for text in texts for path in _paths(text)):
        yield f"an output names {path}, a path of one machine."


def _paths(text: Any) -> list[str]:
    joined = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)
    if isinstance(text, list):
        joined = "".join(str(part) for part in text)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", joined)
    # inline pictures in HTML are base64, which may look like anything
    plain = re.sub(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=]+", "", plain)
    return list(dict.fromkeys(MACHINE_PATH.findall(plain)))


def main(arguments: list[str]) -> int:
    """Check the notebooks that are named, or all in `notebooks/`; 1 if one is refused."""
    root = Path(__file__).resolve().parent.parent
    paths = [Path(a) for a in arguments] or sorted((root / "notebooks").rglob("*.ipynb"))
    refused = 0
    for path in paths:
        if ".ipynb_checkpoints" in path.parts:
            continue
        try:
            notebook = json.loads(path.read_text(encoding="utf-8"))
            problems = list(findings(notebook))
        except (OSError, ValueError) as error:
            problems = [f"it can't be read as a notebook ({error})."]
        refused += bool(problems)
        for problem in problems:
            sys.stderr.write(f"{path}: {problem}\n")
    if refused:
        sys.stderr.write("Run the notebook again (make notebooks), without saving widget state.\n")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

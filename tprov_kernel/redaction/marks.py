"""Hides what Terraform marks as sensitive, and remembers it.

A mark is `true` for a whole value, or has the value's shape: an object with the sensitive keys
only, or a list with an entry for each element. ``false``, ``{}`` and ``[]`` mark nothing below.
"""

from __future__ import annotations

import json
from typing import Any

STAND_IN = "$redacted"
SAME_AS = "same_as"

_TYPES = {str: "string", list: "list", dict: "object", bool: "bool", int: "number", float: "number"}


def is_stand_in(value: object) -> bool:
    """Whether this object stands where a secret stood."""
    return isinstance(value, dict) and value.keys() == {STAND_IN, SAME_AS}


class Marks:
    """One pass over a plan: what is marked goes into `secrets`, a stand-in takes its place."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()
        self._numbers: dict[str, int] = {}

    def stand_in(self, value: Any) -> dict[str, Any]:
        """Give the object that stands for a secret; equal secrets get equal ones."""
        text = json.dumps(value, sort_keys=True)
        number = self._numbers.setdefault(text, len(self._numbers) + 1)
        return {STAND_IN: _TYPES.get(type(value), "unknown"), SAME_AS: number}

    def collect(self, value: Any) -> None:
        """Remember every leaf of a secret value, but no attribute names: those are public."""
        if isinstance(value, dict):
            for item in value.values():
                self.collect(item)
        elif isinstance(value, list):
            for item in value:
                self.collect(item)
        elif isinstance(value, str):
            self.secrets.add(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self.secrets.add(json.dumps(value))

    def hide(self, value: Any, marks: Any) -> Any:
        """Copy a value without what is marked; where the shapes disagree, hide it as a whole."""
        if value is None:
            return None
        if _marks_nothing(marks):
            return value
        if isinstance(value, dict) and isinstance(marks, dict):
            return {key: self.hide(item, marks.get(key, False)) for key, item in value.items()}
        if isinstance(value, list) and isinstance(marks, list) and len(value) == len(marks):
            return [self.hide(item, mark) for item, mark in zip(value, marks, strict=True)]
        self.collect(value)
        return self.stand_in(value)


def prune(unknown: Any, marks: Any) -> Any:
    """Copy `after_unknown` without the keys of what is marked as a whole.

    A map with a secret key is marked as a whole, but shows the key here if its value is unknown.
    """
    if _marks_nothing(marks):
        return unknown
    if isinstance(unknown, dict) and isinstance(marks, dict):
        return {key: prune(item, marks.get(key, False)) for key, item in unknown.items()}
    if isinstance(unknown, list) and isinstance(marks, list) and len(unknown) == len(marks):
        return [prune(item, mark) for item, mark in zip(unknown, marks, strict=True)]
    return has_unknown(unknown)


def has_unknown(unknown: Any) -> bool:
    """Whether any part of a value is known only after apply."""
    if isinstance(unknown, dict):
        return any(has_unknown(item) for item in unknown.values())
    if isinstance(unknown, list):
        return any(has_unknown(item) for item in unknown)
    return unknown is True


def _marks_nothing(marks: Any) -> bool:
    return marks is False or (isinstance(marks, dict | list) and not marks)

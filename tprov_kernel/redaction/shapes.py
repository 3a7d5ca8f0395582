"""Small pieces for reading JSON that may not have the shape one expects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def as_dict(value: Any) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; none if it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def strings(value: Any) -> list[str]:
    """The texts in a list; none if it is no list."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def keep(value: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Only these keys."""
    return {name: value[name] for name in names if name in value}

"""The kernel's one lab; this module may be reloaded and still knows it."""

from __future__ import annotations

from typing import Any

try:
    current: Any  # kept by importlib.reload, which runs this file in the same namespace
    current  # noqa: B018
except NameError:
    current = None

ambient: dict[str, str]
"""What the environment said before a lab of this kernel changed it for `!temporal` in cells."""
try:
    ambient  # noqa: B018
except NameError:
    ambient = {}

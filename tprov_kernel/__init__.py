"""Durable infrastructure provisioning, live in a notebook.

Light on purpose: the workflow sandbox imports this package, so the lab is loaded when it is asked
for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tprov_kernel.lab import Lab, open_lab
    from tprov_kernel.lab.run import Run

__all__ = ["Lab", "Run", "open_lab"]


def __getattr__(name: str) -> Any:
    if name in ("Lab", "open_lab"):
        from tprov_kernel import lab

        return getattr(lab, name)
    if name == "Run":
        from tprov_kernel.lab.run import Run

        return Run
    raise AttributeError(f"module 'tprov_kernel' has no attribute {name!r}")

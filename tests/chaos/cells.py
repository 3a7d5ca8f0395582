"""What is struck, when and how; and the cells that make no sense, with why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Target = Literal["worker", "terraform", "provider", "temporal", "stand-in", "opa"]
Moment = Literal[
    "init", "plan", "policy", "waiting", "before create", "after create", "between", "output"
]
How = Literal["kill", "stop"]

TARGETS: tuple[Target, ...] = get_args(Target)
MOMENTS: tuple[Moment, ...] = get_args(Moment)
HOWS: tuple[How, ...] = get_args(How)


@dataclass(frozen=True)
class Cell:
    """One square of the matrix.

    Attributes:
        target: Which process.
        moment: In which step; ``before create`` to ``between`` are the apply's.
        how: ``kill`` with SIGKILL, or ``stop`` with SIGSTOP for some seconds: it hangs, then it
            goes on as if nothing had been.
    """

    target: Target
    moment: Moment
    how: How

    def __str__(self) -> str:
        return f"{self.how} {self.target} @ {self.moment}"

    @property
    def senseless(self) -> str:
        """Why there is nothing to strike; empty for a cell that makes sense."""
        if self.target == "opa" and self.moment != "policy":
            return "opa runs only while a plan is judged"
        if self.moment == "waiting" and self.target in ("terraform", "provider"):
            return "no program runs while a person is asked"
        if self.moment == "policy" and self.target in ("terraform", "provider"):
            return "the worker that planned has the plan's JSON in memory: no Terraform runs"
        if self.moment in ("init", "output") and self.target == "provider":
            return "init and output start no plug-in"
        return ""


CELLS = tuple(Cell(t, m, h) for t in TARGETS for m in MOMENTS for h in HOWS)

TRIMMED = (
    Cell("worker", "before create", "kill"),
    Cell("worker", "after create", "kill"),
    Cell("worker", "between", "stop"),
    Cell("terraform", "plan", "kill"),
    Cell("terraform", "before create", "kill"),
    Cell("terraform", "after create", "kill"),
    Cell("terraform", "between", "kill"),
    Cell("provider", "after create", "kill"),
    Cell("temporal", "waiting", "kill"),
    Cell("temporal", "after create", "kill"),
    Cell("stand-in", "after create", "kill"),
    Cell("opa", "policy", "kill"),
)
"""What `make test` runs: each process, and the moments that cost other tools an orphan."""

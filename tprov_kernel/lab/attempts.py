"""How often a step was tried, as a cell waits for it and tells it."""

from __future__ import annotations

from datetime import UTC, datetime

from tprov_kernel.observe import RunView, StepName
from tprov_kernel.widgets.words import next_in, sentence, step_title

_OVER = ("done", "failed", "skipped")


def were_made(view: RunView, name: StepName, count: int) -> bool:
    """Whether a step has failed so often, or will be tried no more."""
    step = view.step(name)
    failed = step.attempts - (step.state == "running")
    return failed >= count or step.state in _OVER or view.closed


def attempts_words(view: RunView, name: StepName) -> str:
    """Say how a step stands: 'Plan: attempt 3 failed: ... Attempt 4 in 3 s'."""
    step = view.step(name)
    title = step_title(step, view)
    if step.state == "retrying":
        following = f"Attempt {step.attempts + 1} {next_in(step, datetime.now(UTC))}."
        return f"{title}: attempt {step.attempts} failed: {sentence(step.failure)} {following}"
    tried = f"after {step.attempts} attempt{'s' if step.attempts != 1 else ''}"
    words = {"running": f"attempt {step.attempts} runs", "waiting": "not begun"}
    return f"{title}: {words.get(step.state, f'{step.state} {tried}')}."

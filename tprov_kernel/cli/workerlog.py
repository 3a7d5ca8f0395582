"""What a worker's terminal shows of the SDK's log: an attempt that failed is a sentence, no trace.

A lost key is one sentence a run. With `-v` everything is shown as the SDK logs it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.exceptions import ApplicationError

from tprov_kernel.stuck import broken_seal
from tprov_kernel.texts import plain

_REMEMBERED = 1000
"""Sentences that are not said again."""


class _OneSentence(logging.Filter):
    """Temporal tries again and again, and the SDK logs a stack trace each time."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[tuple[str, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Let it pass: as it is, in a sentence, or, said before, not at all."""
        why = broken_seal(record.exc_info[1]) if record.exc_info else ""
        if not why:
            _tell_attempt(record)
            return True
        details = {
            **getattr(record, "temporal_workflow", {}),
            **getattr(record, "temporal_activity", {}),
        }
        run = str(details.get("workflow_id", "A run"))
        if (run, why) in self._said:
            return False
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said.add((run, why))
        record.msg, record.args = f"{run} waits: it cannot be read here. {why}", ()
        record.exc_info = record.exc_text = None
        return True


def _tell_attempt(record: logging.LogRecord) -> None:
    """Make one sentence of a step's attempt that failed: the run's history has the rest."""
    step = getattr(record, "temporal_activity", None)
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(step, dict) or error is None:
        return
    foreseen = isinstance(error, ApplicationError)
    said = " ".join(str(error.message if isinstance(error, ApplicationError) else error).split())
    kind = type(error).__name__
    why = said if foreseen else f"{kind}: {said or 'without a word'}. `tprov worker -v` shows where"
    record.msg = "%s, %s, attempt %s failed: %s"
    names = ("workflow_id", "activity_type", "attempt")
    record.args = (*(plain(str(step.get(name, "?"))) for name in names), plain(why))
    record.exc_info = record.exc_text = None


@contextmanager
def in_sentences(*, verbose: bool = False) -> Iterator[None]:
    """While a worker runs in a terminal, show what the Temporal SDK logs on stderr.

    Args:
        verbose: As it is, stack traces included.
    """
    log, handler = logging.getLogger("temporalio"), logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    if not verbose:
        handler.addFilter(_OneSentence())
    propagated, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagated

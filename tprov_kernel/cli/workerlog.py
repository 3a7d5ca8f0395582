"""What a worker's terminal shows of the SDK's log: a lost key is a sentence a run, and no trace."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tprov_kernel.stuck import broken_seal

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


@contextmanager
def in_sentences() -> Iterator[None]:
    """While a worker runs in a terminal, show what the Temporal SDK logs on stderr."""
    log, handler = logging.getLogger("temporalio"), logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.addFilter(_OneSentence())
    propagated, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagated

"""What the SDK logs goes into a file: a failed attempt is told on the card, not in some cell."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from tprov_kernel.files import private_directory

BYTES = 2 << 20


def log_into(folder: Path) -> None:
    """Send the Temporal SDK's log into a file of this folder, and nowhere else.

    Without a handler Python prints warnings, stack traces included, below whichever cell runs.
    """
    private_directory(folder)
    handler = RotatingFileHandler(folder / "worker.log", maxBytes=BYTES, backupCount=1, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    log = logging.getLogger("temporalio")
    for former in log.handlers[:]:
        log.removeHandler(former)
        former.close()
    log.addHandler(handler)
    log.propagate = False

"""Writes the audit of each run that closes into files: whoever works on runs keeps their audits.

A worker of a task queue looks, while it polls and a last time when it stops, for closed runs of
that queue whose files are missing. So a run that was terminated is told too, one that closed while
nobody polled is caught up with, and writing twice changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

from temporalio.client import Client, WorkflowExecution
from temporalio.plugin import SimplePlugin
from temporalio.service import RPCError

from tprov_kernel.audit.chain import audit
from tprov_kernel.audit.fold import SEALED
from tprov_kernel.audit.markdown import to_markdown
from tprov_kernel.audit.record import Audit, to_json
from tprov_kernel.errors import TprovError
from tprov_kernel.files import private_directory, replace_private
from tprov_kernel.messages import WORKFLOW_TYPE

EVERY = 5.0
"""Seconds between two looks; one cheap call each."""

LAST = 2.0
"""Seconds that the last look, when a worker stops, may take."""

AGAIN = 60.0
"""Seconds until an audit that could not be made is tried again."""

SLACK = timedelta(minutes=2)
"""Visibility may show a closed run later than one that closed after it."""

_log = logging.getLogger(__name__)


def keeping_audits(client: Client, folder: Path, *, task_queue: str) -> SimplePlugin:
    """Give a worker's plugin that keeps the audits of its task queue's runs, while it runs.

    Args:
        client: Connected to the server; used on the worker's loop.
        folder: Where to; made when there is something to write.
        task_queue: The worker's.
    """
    keeper = Keeper(client, folder, task_queue=task_queue)
    return SimplePlugin("tprov.audits", run_context=keeper.beside)


class Keeper:
    """Keeps the audits of one task queue's runs in a folder, as Markdown and as JSON."""

    def __init__(
        self, client: Client, folder: Path, *, task_queue: str, again: float = AGAIN
    ) -> None:
        self._again = again
        self._client = client
        self._folder = folder
        self._task_queue = task_queue
        self._since: datetime | None = None
        self._failed: dict[str, tuple[WorkflowExecution, float]] = {}
        self._told = ""

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Look now and then while the block runs, and once more at its end."""
        task = asyncio.create_task(self._look_for_ever())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST):
                    await self._look()

    async def _look_for_ever(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(EVERY)

    async def _look(self) -> None:
        try:
            await self.sweep()
        except RPCError:
            return  # the server is away: whoever looks at a run is told so there
        except OSError as error:
            words = f"Audits cannot be kept in {self._folder}: {error.strerror or error}."
            if words != self._told:
                self._told = words
                _log.warning(words)
        except Exception:
            _log.exception("The closed runs of %s could not be looked at.", self._task_queue)

    async def sweep(self) -> list[Path]:
        """Write what is missing; gives the Markdown files that were written.

        A run whose audit cannot be made does not keep the others from theirs; it is tried again.

        Raises:
            RPCError: The server does not answer.
            OSError: The folder cannot be written to.
        """
        closed = [execution async for execution in self._client.list_workflows(self._query())]
        now = asyncio.get_running_loop().time()
        known = self._kept() | self._failed.keys()
        missing = [run for run in closed if run.run_id not in known]
        missing += [run for run, due in self._failed.values() if due <= now]
        written = [path for run in missing if (path := await self._write(run))]
        times = [run.close_time for run in closed if run.close_time]
        self._since = max([*times, *([self._since] if self._since else [])], default=None)
        return written

    def _query(self) -> str:
        queue = self._task_queue.replace("\\", "\\\\").replace("'", "\\'")
        query = (
            f"WorkflowType='{WORKFLOW_TYPE}' AND TaskQueue='{queue}'"
            " AND ExecutionStatus!='Running' AND ExecutionStatus!='ContinuedAsNew'"
        )
        if self._since is None:
            return query
        return f"{query} AND CloseTime>'{(self._since - SLACK).isoformat()}'"

    def _kept(self) -> set[str]:
        """Run ids of the runs whose files are here: the JSON file is written last."""
        return {path.stem[-36:] for path in self._folder.glob("*.json")}

    async def _write(self, run: WorkflowExecution) -> Path | None:
        handle = self._client.get_workflow_handle(run.id, run_id=run.run_id)
        try:
            told = await audit(self._client, handle)
            if SEALED in told.gaps:  # with the key it is another audit, and this one would stay
                self._later(run)
                return None
            texts = {".md": to_markdown(told).encode(), ".json": f"{to_json(told)}\n".encode()}
            stem = self._folder / name_of(told, run.run_id)
            path = await asyncio.to_thread(_put, stem, texts)
        except TprovError:
            return None  # the server is away, or the run is gone
        except OSError:
            raise  # the folder: no run can be written
        except Exception:
            if run.run_id not in self._failed:  # told once
                _log.exception("The audit of %s (%s) cannot be made.", run.id, run.run_id)
            self._later(run)
            return None
        self._failed.pop(run.run_id, None)
        return path

    def _later(self, run: WorkflowExecution) -> None:
        self._failed[run.run_id] = (run, asyncio.get_running_loop().time() + self._again)


def name_of(told: Audit, run_id: str) -> str:
    """What an audit's files are called: stack, when it began, and the run that closed."""
    began = told.asked.at if told.asked else told.chronicle[0].at
    stack = re.sub(r"[^A-Za-z0-9_-]", "_", told.stack)[:100]  # whoever starts a run has named it
    return f"{stack}-{began:%Y%m%dT%H%M%SZ}-{run_id}"


def _put(stem: Path, texts: dict[str, bytes]) -> Path:
    """Write the files, each whole or not at all, for nobody else to read."""
    private_directory(stem.parent)
    for suffix, text in texts.items():
        replace_private(stem.with_name(stem.name + suffix), text)
    return Path(f"{stem}.md")

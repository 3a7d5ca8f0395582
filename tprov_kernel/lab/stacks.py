"""A notebook's stacks: which name is free, which runs are open on them, what they still hold."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tprov_kernel import runs
from tprov_kernel.errors import StackError
from tprov_kernel.messages import WORKFLOW_TYPE
from tprov_kernel.stacks import check_name, copy_configuration, held_objects

if TYPE_CHECKING:
    from temporalio.client import Client

    from tprov_kernel.settings import Settings


class NotebookStacks:
    """The stacks that runs on a notebook's task queue were started on.

    The server and the state files are asked each time; nothing is remembered here.
    """

    def __init__(self, client: Client, settings: Settings, *, notebook: str) -> None:
        self._client = client
        self._settings = settings
        self._notebook = notebook

    async def names(self, *, only_open: bool = False) -> list[str]:
        """Their names, as the server lists the runs: the newest first, each one once."""
        query = f"WorkflowType='{WORKFLOW_TYPE}' AND TaskQueue='{self._settings.task_queue}'"
        query += " AND ExecutionStatus='Running'" * only_open
        found = self._client.list_workflows(query)
        return [*dict.fromkeys([e.id.removeprefix("stack-") async for e in found])]

    def held(self, names: list[str]) -> dict[str, list[str]]:
        """Those of some stacks that hold objects: name to the addresses in the state, by name."""
        held = {name: held_objects(self._settings.stacks, name) for name in sorted({*names})}
        return {name: addresses for name, addresses in held.items() if addresses}

    async def free(self, stack: str) -> str:
        """The first of stack, stack-2, ... that a run is open on, or that holds nothing.

        Raises:
            StackError: There is none among a thousand.
        """
        for number in range(1, 1000):
            name = check_name(stack if number == 1 else f"{stack}-{number}")
            held = held_objects(self._settings.stacks, name)
            if not held or await runs.is_open(self._client, name):
                return name
            print(
                f"Stack {name!r} holds {len(held)} object{'s' * (len(held) > 1)} of an earlier run;"
                " it is left alone. `lab.tidy_up()` removes what earlier runs made."
            )
        raise StackError(f"Too many stacks are called {stack!r}.", remedy="Use `tprov reset`.")

    async def copy(self, config: str) -> Path:
        """Make a fresh copy of a configuration, unless a run is open on the one that is there.

        Raises:
            ConfigurationError: The directory is no configuration.
        """
        stacks = await self.names(only_open=True)
        asked = [await runs.last_request(self._client, stack) for stack in stacks]
        return await asyncio.to_thread(self._copy, config, [r.directory for r in asked])

    def _copy(self, config: str, in_use: list[str]) -> Path:
        original = runs.resolve_directory(config, root=self._settings.root)
        target = self._settings.home / "copies" / self._notebook / original.name
        bases = (Path.cwd(), self._settings.root)
        if target.resolve() in {(base / used).resolve() for used in in_use for base in bases}:
            print("A run is open on this copy: it is left as it is.")
        else:
            copy_configuration(original, target)
        return Path(os.path.relpath(target))

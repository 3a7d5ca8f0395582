"""Whether the directory behind a run has moved on since it was planned; the kernel looks.

At a low rate, off the event loop, and only at the files' times and sizes: they are read again
only where one of those has changed. The server is asked once per review.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from temporalio.client import Client

from tprov_kernel import runs
from tprov_kernel.errors import ConfigurationError, TooLarge, TprovError
from tprov_kernel.messages import RunRequest
from tprov_kernel.observe import RunView
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.stacks import has_moved_on, stamps, variables_in
from tprov_kernel.widgets.again import Ground
from tprov_kernel.widgets.parts import is_asking
from tprov_kernel.widgets.words import clock

LOOK_EVERY = 2.0
"""Seconds between two looks at a directory, while its run waits for a person."""


class Lookout:
    """Looks at the live directory of one run.

    Args:
        client: Connected to the server.
        handle: The run.
        key_ring: Opens the snapshot.
        root: The workspace, below which a directory may lie.

    Attributes:
        handle: The run's open execution.
        variables: Values that were asked for after the run began; None for no others.
    """

    def __init__(
        self, client: Client, handle: runs.RunHandle, *, key_ring: KeyRing, root: Path
    ) -> None:
        self.variables: Mapping[str, Any] | None = None
        self.handle = handle
        self._client = client
        self._key_ring, self._root = key_ring, root
        self._about: object = None
        self._request: tuple[RunRequest, datetime] | None = None
        self._seen: object = None
        self._ground = Ground()

    async def look(self, view: RunView) -> Ground:
        """Look once; says nothing where the directory, or the key of its snapshot, is not here."""
        if not is_asking(view) and view.repair is None:
            return Ground()
        about = (view.review and view.review.digest, view.repair)
        if self._request is None or about != self._about:
            self._request, self._about = await runs.request_of(self._client, self.handle), about
        request, taken = self._request
        try:
            return await asyncio.to_thread(self._compare, request, taken)
        except (TprovError, OSError):
            return Ground(snapshot=request.snapshot.digest)

    def directory(self, request: RunRequest) -> Path:
        """Where a run's configuration lies on this machine.

        Raises:
            ConfigurationError: It is not here.
        """
        return runs.resolve_directory(request.directory, root=self._root)

    def _compare(self, request: RunRequest, taken: datetime) -> Ground:
        digest = request.snapshot.digest
        if request.action != "provision":  # what is destroyed is what the state holds
            return Ground(snapshot=digest)
        directory = self.directory(request)
        try:
            seen = (digest, self.variables, stamps(directory))
        except (ConfigurationError, TooLarge):
            seen = (digest, self.variables, ())  # no configuration any more
        if seen != self._seen:
            self._ground = self._read(request, taken, directory)
            self._seen = seen
        return self._ground

    def _read(self, request: RunRequest, taken: datetime, directory: Path) -> Ground:
        moved = []
        if has_moved_on(request.snapshot, directory, self._key_ring):
            moved.append(f"`{request.directory}`")
        if self.variables is not None:
            planned = variables_in(request.snapshot, self._key_ring)
            names = planned.keys() | self.variables.keys()
            wanted = json.loads(json.dumps(self.variables))  # as it would be in a snapshot
            other = sorted(n for n in names if planned.get(n) != wanted.get(n))
            moved += [f"the variable `{name}`" for name in other]
        words = ""
        if moved:
            verb = "has" if len(moved) == 1 else "have"
            words = (
                f"{' and '.join(moved)} {verb} changed since this was planned; what is decided"
                f" here is the snapshot of {clock(taken)}."
            )
        return Ground(snapshot=request.snapshot.digest, here=True, moved=words)

"""Where a command works: local services unless `--target remote` is given; a client for them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tprov_kernel.errors import ServiceError, SettingsError
from tprov_kernel.settings import Settings, Target, default_home, remote_settings, workspace_root

if TYPE_CHECKING:
    from temporalio.client import Client

    from tprov_kernel.payloads.keyring import KeyRing


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a command was told about where to work.

    Attributes:
        target: ``local``, or ``remote`` by name only.
        root: The workspace.
        home: Data of the shared local instance.
    """

    target: Target
    root: Path
    home: Path

    @property
    def key_ring(self) -> Path:
        """The key ring's file; it needs no services, and no connection."""
        return (self.home / "remote" if self.target == "remote" else self.home) / "keys.json"

    def only_local(self, command: str) -> None:
        """Refuse ``--target remote`` for a command that is about the local services.

        Raises:
            SettingsError: The target is remote.
        """
        if self.target == "remote":
            raise SettingsError(
                f"`tprov {command}` is about the local services; there are none to open remotely.",
                remedy="Leave out --target remote.",
            )

    async def settings(self, *, needs_server: bool = True) -> Settings:
        """Everything about the services at hand.

        Args:
            needs_server: Whether the Temporal server has to answer.

        Raises:
            ServiceError: Local, and nothing is open.
            SettingsError: Remote, and the environment contradicts itself.
        """
        if self.target == "remote":
            return remote_settings(os.environ, root=self.root)
        from tprov_kernel import services

        info = await services.attach(self.home, needs_server=needs_server)
        if info is None:
            raise ServiceError(
                f"No services are open in {shown(self.home)}.", remedy=await self._how_to_open()
            )
        return services.local_settings(info, root=self.root, home=self.home, environ=os.environ)

    async def _how_to_open(self) -> str:
        """`tprov up`; or the notebook that has its own services open, if there is one."""
        from tprov_kernel import services

        for private in sorted((self.home / "private").glob("*/")):
            if await services.attach(private) is not None:
                return (
                    f"Open them with `tprov up`; or set TPROV_HOME={shown(private)} to use those of"
                    f" the notebook {private.name}."
                )
        return "Open them with `tprov up` (add -d to have the terminal back)."


def find_place(target: Target | None) -> Place:
    """Find the workspace and its data from the current directory and the environment."""
    root = workspace_root()
    return Place(target=target or "local", root=root, home=default_home(root))


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A client with what belongs to it."""

    settings: Settings
    key_ring: KeyRing
    client: Client


@asynccontextmanager
async def connected(place: Place, *, role: str = "tprov") -> AsyncIterator[Connection]:
    """Connect to the Temporal server of a place.

    Raises:
        ServiceError: Nothing is open, or it does not answer.
        SettingsError: The environment contradicts itself.
    """
    settings = await place.settings()
    from tprov_kernel.connect import connect, me
    from tprov_kernel.payloads.keyring import KeyRing

    key_ring = KeyRing.find(settings.key_ring)
    client = await connect(settings, key_ring, identity=me(role))
    yield Connection(settings=settings, key_ring=key_ring, client=client)


def shown(path: Path) -> str:
    """A path as people like it: relative to where they are, when it is below."""
    try:
        return os.fspath(path.relative_to(Path.cwd()))
    except ValueError:
        return os.fspath(path)

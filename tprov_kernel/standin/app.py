"""Puts the stand-in together and runs it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import grpc.aio

if TYPE_CHECKING:
    from tprov_kernel.standin.mirror import Mirror

from tprov_kernel.standin import families, keys
from tprov_kernel.standin.controls import control
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.entities import Server
from tprov_kernel.standin.faults import Faults
from tprov_kernel.standin.identity import Identities
from tprov_kernel.standin.keys import Keys
from tprov_kernel.standin.operations import Operations
from tprov_kernel.standin.server import METHODS, Api, Door
from tprov_kernel.standin.store import Store

ADDRESS = "127.0.0.1"
"""The only address the stand-in listens on: its connections are not encrypted."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a stand-in is started with.

    Attributes:
        port: The TCP port on 127.0.0.1; 0 for any that is free.
        db: The database's file.
        key_file: The workspace's key; made when it is missing.
        temporal: ``host:port`` of the local Temporal server that mirrors namespaces; or None.
        web_ui: That server's web UI, for the namespaces' web address; or None.
        log: Where each call is written, as a line of JSON; or None.
        account: The account's id.
        scim: A SCIM group that the account has, ``ID`` or ``ID=NAME``; empty for none.
    """

    port: int
    db: Path
    key_file: Path
    temporal: str | None = None
    web_ui: str | None = None
    log: Path | None = None
    account: str = "tprov"
    scim: str = ""


class PortTaken(Exception):
    """Something else listens on the port."""


async def serve(config: Config) -> None:
    """Run the stand-in until SIGTERM or SIGINT.

    Raises:
        PortTaken: The port is not free.
        tprov_kernel.standin.store.Taken: Another stand-in has the database.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with opened(config):
        await ended.wait()


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[int]:
    """Run the stand-in for the length of a block, which is given the port.

    Raises:
        PortTaken: The port is not free.
        tprov_kernel.standin.store.Taken: Another stand-in has the database.
    """
    async with AsyncExitStack() as stack:
        store = Store(config.db)
        stack.callback(store.close)
        faults = Faults(METHODS)
        operations = Operations(store=store, faults=faults)
        where = Server(grpc=config.temporal or "", web=config.web_ui or "")
        core = Core(store=store, operations=operations, account=config.account, server=where)
        checker = Keys(keys.read_or_make(config.key_file))
        identities = Identities(core=core, keys=checker)
        kinds = families.build(core, keys=checker, scim=config.scim)
        api = Api(core=core, faults=faults, identities=identities, families=kinds)
        more: dict[str, Callable[[], object]] = {"calls": lambda: door.calls}
        controls = control(core=core, faults=faults, identities=identities, more=more)
        door = Door(api=api, control=controls, log_file=_log_file(config, stack))

        # Without this option, a second stand-in on the port would take half of the calls.
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        server.add_generic_rpc_handlers((door,))
        try:
            port = server.add_insecure_port(f"{ADDRESS}:{config.port}")
        except RuntimeError:
            raise PortTaken(config.port) from None
        await server.start()
        if config.temporal is not None:
            mirror = _mirror(core, config.temporal)
            stack.push_async_callback(mirror.stop)
            operations.carrier = mirror
            more["mirror"] = mirror.status
            mirror.start()
        stack.push_async_callback(operations.stop)
        stack.push_async_callback(server.stop, 0.1)  # first of all
        operations.resume()
        yield port


def _log_file(config: Config, stack: AsyncExitStack) -> IO[str] | None:
    if config.log is None:
        return None
    config.log.parent.mkdir(parents=True, exist_ok=True)
    return stack.enter_context(config.log.open("a", buffering=1))


def _mirror(core: Core, target: str) -> Mirror:
    # Imported when the port is open already: the server's own messages take 0.1 s and 8 MB.
    from tprov_kernel.standin.mirror import Mirror

    return Mirror(core=core, target=target)

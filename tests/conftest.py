"""What the tests share: real tools, and one set of real services for the whole session."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from tprov_kernel.activities import Activities, ActivityFunction
from tprov_kernel.cloud import CloudClient
from tprov_kernel.connect import build_worker, connect
from tprov_kernel.lab.runtime import Runtime
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.process import Guard
from tprov_kernel.services import Services, local_settings, open_services
from tprov_kernel.settings import CONNECTION_VARIABLES, KEYS_VARIABLE, Settings
from tprov_kernel.standin.control import StandinControl
from tprov_kernel.toolchain import Toolchain, find_toolchain

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def scrubbed_environment() -> None:
    """Whatever lies around on this machine, the tests stay local."""
    for name in (*CONNECTION_VARIABLES, KEYS_VARIABLE, "ENCRYPT_PAYLOADS", "TF_CLI_CONFIG_FILE"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def toolchain() -> Toolchain:
    """The tools as a user has them."""
    return find_toolchain()


@pytest.fixture(scope="session")
def guard() -> Iterator[Guard]:
    """Owner of every program that the tests start."""
    guard = Guard()
    yield guard
    guard.close()


@dataclass(frozen=True)
class Platform:
    """The services of the session, and how to use them from a test's own loop."""

    services: Services
    runtime: Runtime
    settings: Settings
    keys: KeyRing
    toolchain: Toolchain
    guard: Guard

    async def client(self) -> Client:
        """A client on the test's loop."""
        return await connect(self.settings, self.keys)

    @property
    def cloud(self) -> CloudClient:
        """Our client of the stand-in."""
        return CloudClient(self.settings.cloud)

    @asynccontextmanager
    async def worker(
        self,
        client: Client,
        *,
        settings: Settings | None = None,
        replaced: dict[str, ActivityFunction] | None = None,
        **changes: Any,
    ) -> AsyncIterator[Settings]:
        """A worker on a queue of its own; yields the settings to start runs with."""
        settings = replace(settings or self.settings, **changes)
        activities = Activities(
            settings=settings, toolchain=self.toolchain, key_ring=self.keys, guard=self.guard
        )
        worker = build_worker(client, activities, task_queue=settings.task_queue, replaced=replaced)
        async with worker:
            yield settings

    @contextmanager
    def serves(self, **options: Any) -> Iterator[tuple[Client, Settings]]:
        """The same beside the tests of a module: a client and a worker on the services' loop."""
        stack = AsyncExitStack()

        async def enter() -> tuple[Client, Settings]:
            client = await self.client()
            return client, await stack.enter_async_context(self.worker(client, **options))

        try:
            yield self.runtime.call(enter())
        finally:
            self.runtime.call(stack.aclose())


@contextmanager
def opened(home: Path, guard: Guard, toolchain: Toolchain) -> Iterator[Platform]:
    """Real services on free ports, while the block runs."""
    runtime = Runtime("tests-services")
    services = runtime.call(
        open_services(
            home,
            kind="notebook",
            guard=guard,
            toolchain=toolchain,
            prefer_well_known_ports=False,
            root=ROOT,
        )
    )
    settings = local_settings(services.info, root=ROOT, home=home, environ={})
    keys = KeyRing.load_or_create(settings.key_ring)
    try:
        yield Platform(services, runtime, settings, keys, toolchain, guard)
    finally:
        runtime.call(services.close())
        runtime.stop()


@pytest.fixture(scope="session")
def platform(
    tmp_path_factory: pytest.TempPathFactory, guard: Guard, toolchain: Toolchain
) -> Iterator[Platform]:
    """Real services on free ports, with data that goes with the session."""
    with opened(tmp_path_factory.mktemp("platform") / "home", guard, toolchain) as platform:
        yield platform


@pytest.fixture
async def control(platform: Platform) -> AsyncIterator[StandinControl]:
    """The stand-in's faults; taken back afterwards."""
    there = platform.settings.cloud
    control = StandinControl(there.endpoint, there.api_key)
    yield control
    await control.mend()


@pytest.fixture
def own(tmp_path: Path, guard: Guard, toolchain: Toolchain) -> Iterator[Platform]:
    """The same for one test alone: what other tests left would be in its way."""
    with opened(tmp_path / "home", guard, toolchain) as platform:
        yield platform

"""A stand-in for each test that wants one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.standin.parts import Api, Place, Standin, Terraform, api_of, opened_here, running
from tprov_kernel.toolchain import Toolchain


@pytest.fixture
async def standin(tmp_path: Path) -> AsyncIterator[Place]:
    """A stand-in of the test's own, on its event loop, without a Temporal server."""
    async with opened_here(tmp_path) as place:
        yield place


@pytest.fixture
async def api(standin: Place) -> AsyncIterator[Api]:
    """Its API, with the workspace's own key."""
    async with api_of(standin) as api:
        yield api


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Standin]:
    """A stand-in of the test's own, as the process that it is for users."""
    with running(tmp_path) as standin:
        yield standin


@pytest.fixture
def terraform(process: Standin, toolchain: Toolchain, tmp_path: Path) -> Terraform:
    """Terraform against that process."""
    return Terraform(tmp_path / "stack", process, toolchain)

"""A stand-in for each test that wants one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.standin.parts import Api, Standin, Terraform, api_of, running
from tprov_kernel.toolchain import Toolchain


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[Standin]:
    """A stand-in of the test's own, without a Temporal server."""
    with running(tmp_path) as standin:
        yield standin


@pytest.fixture
async def api(standin: Standin) -> AsyncIterator[Api]:
    """Its API, with the workspace's own key."""
    async with api_of(standin) as api:
        yield api


@pytest.fixture
def terraform(standin: Standin, toolchain: Toolchain, tmp_path: Path) -> Terraform:
    """Terraform against the stand-in."""
    return Terraform(tmp_path / "stack", standin, toolchain)

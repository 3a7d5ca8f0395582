"""What a worker keeps on its machine is for its owner only, however liberal the machine is."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.typed import TPROV, Terminal, until_said
from tests.conftest import Platform
from tprov_kernel.files import private_directory

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def _liberal() -> Iterator[None]:
    """Files are for everybody to read, unless somebody says otherwise: the usual thing."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_every_directory_that_is_made_is_private(tmp_path: Path) -> None:
    """Those above it, too; what is there stays as it is."""
    (tmp_path / "there").mkdir(mode=0o755)
    private_directory(tmp_path / "there" / "a" / "b")
    private_directory(tmp_path / "there" / "a" / "b")
    modes = [stat.S_IMODE((tmp_path / p).stat().st_mode) for p in ("there", "there/a", "there/a/b")]
    assert modes == [0o755, 0o700, 0o700]


async def test_a_remote_worker_s_data_is_its_owner_s(platform: Platform, tmp_path: Path) -> None:
    """The directory that `TPROV_HOME` names, and all below it, after a run; the doctor agrees."""
    there = platform.settings
    env = {
        "TEMPORAL_HOST_URL": there.address,
        "TEMPORAL_INFRA_PROVISION_TASK_QUEUE": "private-files",
        "TEMPORAL_CLOUD_ENDPOINT": there.cloud.endpoint,
        "TEMPORAL_CLOUD_ALLOW_INSECURE": "true",
        "TEMPORAL_CLOUD_API_KEY": there.cloud.api_key,
    }
    terminal, log = Terminal(tmp_path / "home"), tmp_path / "worker.log"
    with terminal.runs("worker", "--target", "remote", log=log, env=env) as process:
        await asyncio.to_thread(until_said, log, "Polling private", process=process, limit=30)
        for command in (
            ("start", "mine", "-c", "terraform/tcloud_namespace", "--watch"),
            ("destroy", "mine", "--yes"),
        ):
            words = (*TPROV, *command, "--target", "remote")
            said = await asyncio.to_thread(terminal.run, *words, env=env)
            assert said.code == 0, said.err
    everything = [tmp_path / "home", *(tmp_path / "home").rglob("*")]
    # A link to a provider's directory is not ours, and Terraform's lock file is for everybody.
    ours = [p for p in everything if not p.is_symlink() and p.name != ".terraform.lock.hcl"]
    found = {p: stat.S_IMODE(p.stat().st_mode) for p in ours}
    assert (tmp_path / "home" / "remote" / "stacks" / "mine" / "initialised") in found
    assert {str(p): oct(mode) for p, mode in found.items() if mode & 0o077} == {}
    said = await asyncio.to_thread(terminal.run, *TPROV, "doctor", "--target", "remote", env=env)
    assert "Others may look" not in said.out

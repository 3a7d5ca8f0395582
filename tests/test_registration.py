"""Search attributes on servers that lack them: said why, with commands that mend it."""

from __future__ import annotations

import asyncio
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from tests.conftest import ROOT, Platform
from tprov_kernel import runs
from tprov_kernel.attributes import ATTRIBUTES
from tprov_kernel.connect import connect
from tprov_kernel.errors import ServiceError
from tprov_kernel.process import clean_environment
from tprov_kernel.registration import known_attributes, what_is_missing
from tprov_kernel.settings import Settings

pytestmark = pytest.mark.timeout(90)


# --- what is said ----------------------------------------------------------------------------


def test_a_server_that_knows_them_all_lacks_nothing() -> None:
    """Whatever else it knows."""
    assert what_is_missing({**ATTRIBUTES, "Customer": "Keyword"}) is None


def test_what_is_absent_is_named_with_the_commands() -> None:
    """One command a kind, with those that are absent and no others."""
    known = {n: k for n, k in ATTRIBUTES.items() if n not in ("tfDirectory", "tprovAction")}
    missing = what_is_missing(known)
    assert missing is not None
    assert missing.message.endswith("does not know our search attributes tfDirectory, tprovAction.")
    create = "temporal operator search-attribute create"
    assert re.findall(r"`(.+?)`", missing.remedy) == [
        f"for name in tfDirectory; do {create} --type Text --name $name; done",
        f"for name in tprovAction; do {create} --type Keyword --name $name; done",
    ]


# --- real servers ----------------------------------------------------------------------------


@contextmanager
def server(platform: Platform, home: Path, *attributes: str) -> Iterator[Settings]:
    """A dev server that somebody else started, with attributes of their own and none of ours."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [*platform.toolchain.temporal.argv, "server", "start-dev", "--headless"]
    words += ["--port", str(port), *(w for a in attributes for w in ("--search-attribute", a))]
    process = subprocess.Popen(
        words,
        env=clean_environment(extra={"HOME": str(home)}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Settings(**{**vars(platform.settings), "address": f"127.0.0.1:{port}"})
    finally:
        process.terminate()
        process.wait(20)


async def client_of(platform: Platform, settings: Settings) -> Client:
    """A client, once the server answers."""
    until = time.monotonic() + 30
    while True:
        try:
            client = await connect(settings, platform.keys)
            await client.count_workflows()
        except (ServiceError, RPCError):
            assert time.monotonic() < until, "The server does not answer."
            await asyncio.sleep(0.1)
        else:
            return client


async def start(client: Client, platform: Platform) -> str:
    """Start a run; gives what is said when that is refused."""
    try:
        handle = await runs.start_run(
            client,
            stack="registers",
            directory=ROOT / "terraform/tcloud_namespace",
            key_ring=platform.keys,
            task_queue="nobody's",
        )
    except ServiceError as error:
        return str(error)
    await handle.terminate("the test is over")
    return ""


def mend(platform: Platform, settings: Settings, said: str) -> None:
    """Type the commands that a sentence tells, as they stand."""
    temporal = f'{shlex.join(platform.toolchain.temporal.argv)} --address {settings.address} "$@"'
    commands = [
        # It asks before it removes; nobody is there to answer.
        command.replace(" remove ", " remove --yes ")
        for command in re.findall(r"`(.*?temporal .+?)`", said)
    ]
    assert commands
    done = subprocess.run(
        ["bash", "-ec", "\n".join([f"temporal() {{ {temporal}; }}", *commands])],
        env=clean_environment(extra={"HOME": str(settings.home)}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_a_server_with_none_of_them(platform: Platform, tmp_path: Path) -> None:
    """The run is refused with the commands; typed as they stand, twice too, they mend it."""
    with server(platform, tmp_path) as settings:
        client = await client_of(platform, settings)
        said = await start(client, platform)
        assert "The Temporal server does not know our search attributes provisionStatus" in said
        mend(platform, settings, said)
        mend(platform, settings, said)
        assert what_is_missing(await known_attributes(client) or {}) is None
        assert await start(client, platform) == ""


async def test_a_server_that_is_full(platform: Platform, tmp_path: Path) -> None:
    """'Limit reached' in words: how many it takes, has and needs; what to remove comes first."""
    foreign = [f"foreign{number}=Keyword" for number in range(5)]
    with server(platform, tmp_path, *foreign) as settings:
        client = await client_of(platform, settings)
        said = await start(client, platform)
        assert "The limit is reached: it takes 10 of type Keyword, has 5 and needs 6 more." in said
        assert "`temporal operator search-attribute remove --name foreign0`" in said
        mend(platform, settings, said)
        assert await start(client, platform) == ""


async def test_a_server_that_knows_one_by_another_type(platform: Platform, tmp_path: Path) -> None:
    """The server's own words would be about a value; ours are about the type."""
    with server(platform, tmp_path, "tprovStatus=Text") as settings:
        client = await client_of(platform, settings)
        said = await start(client, platform)
        assert "by another type: `tprovStatus` is of type Text." in said
        assert "remove --name tprovStatus`; then register ours: " in said


def test_the_readme_registers_exactly_ours() -> None:
    """Both blocks: for a server of one's own, and for Temporal Cloud."""
    text = (ROOT / "README.md").read_text()
    section = text.split("### Search attributes")[1].split("\n## ")[0]
    own, cloud = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    assert dict(re.findall(r'--sa "(\w+)=(\w+)"', cloud)) == ATTRIBUTES
    loops = re.findall(r"for name in (.+?); do\n.*--type (\w+)\ndone", own)
    assert {name: kind for names, kind in loops for name in names.split()} == ATTRIBUTES

"""The services open together, belong to one process, and go with it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import psutil
import pytest
import pytest_asyncio
from temporalio.api.cloud.cloudservice.v1 import GetRegionsRequest
from temporalio.api.cloud.cloudservice.v1.service_pb2_grpc import CloudServiceStub
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig

from tprov_kernel.attributes import ATTRIBUTES
from tprov_kernel.errors import ServiceError, SettingsError, ToolError
from tprov_kernel.process import Guard, clean_environment, run
from tprov_kernel.services import (
    Services,
    ServicesInfo,
    answers,
    attach,
    environment_for_terminal,
    is_in_use,
    local_settings,
    open_services,
    owner_of,
    reset,
)
from tprov_kernel.services.home import Owner, writing
from tprov_kernel.services.ports import Ports, choose, is_answered
from tprov_kernel.settings import Settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[1]
SCRIPTS = sysconfig.get_path("scripts")


@dataclass(frozen=True)
class Tool:
    """A program as the toolchain describes it."""

    name: str
    argv: tuple[str, ...]


@dataclass(frozen=True)
class Tools:
    """As much of a toolchain as is needed here."""

    temporal: Tool
    terraform: Tool = Tool("terraform", (sys.executable, "-c", "print('this terraform')"))
    opa: Tool = Tool("opa", ("/bin/echo", "this opa"))

    def cli_config(self) -> str:
        return "disable_checkpoint = true\n"


def find_temporal() -> str:
    """The Temporal CLI of this Python environment, else the one on PATH."""
    found = shutil.which("temporal", path=os.pathsep.join([SCRIPTS, os.environ["PATH"]]))
    assert found is not None
    return found


TOOLS = Tools(temporal=Tool("temporal", (find_temporal(),)))


def script(path: Path, text: str) -> Tools:
    """Tools whose `temporal` is a script; in it, $TEMPORAL is the real one."""
    path.write_text(f"#!/bin/sh\nTEMPORAL={find_temporal()}\n{text}\n")
    path.chmod(0o700)
    return Tools(temporal=Tool("temporal", (str(path),)))


async def opened(home: Path, guard: Guard, *, tools: Tools = TOOLS, **options: Any) -> Services:
    """Open services on free ports."""
    settings: dict[str, Any] = {"kind": "notebook", "prefer_well_known_ports": False, **options}
    return await open_services(home, guard=guard, toolchain=tools, root=ROOT, **settings)


def settings_of(info: ServicesInfo, home: Path, environ: Mapping[str, str] = {}) -> Settings:
    """Settings for services, with nothing lying around."""
    return local_settings(info, root=ROOT, home=home, environ=environ)


async def soon(condition: Callable[[], object], *, within: float = 5.0) -> None:
    """Wait until the condition holds; fail when it does not within so many seconds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 (another process makes it true)
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def modes_below(folder: Path) -> dict[str, int]:
    """Name to permissions of a folder and everything in it."""
    return {p.name: p.stat().st_mode & 0o777 for p in (folder, *folder.rglob("*"))}


def names_in(folder: Path) -> list[str]:
    """What a folder holds, in order."""
    return sorted(path.name for path in folder.iterdir())


def lines_of(path: Path) -> int:
    """How many lines a file has."""
    return len(path.read_text().splitlines())


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    """Owner of everything that is started here."""
    guard = Guard()
    yield guard
    guard.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the services of most tests live."""
    return tmp_path_factory.mktemp("services") / "home"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services(home: Path, guard: Guard) -> AsyncIterator[Services]:
    """Services that are open for the whole module, as `tprov lab` opens them."""
    began = time.monotonic()
    services = await opened(home, guard, kind="lab", origins=["http://127.0.0.1:8888"])
    print(f"\nall three services answered after {time.monotonic() - began:.2f} s, from nothing")
    yield services
    await services.close()


class TestOpen:
    async def test_the_temporal_server_is_set_up(self, services: Services) -> None:
        """A client connects; search attributes are there, and runs are kept for 30 days."""
        client = await Client.connect(services.info.address)
        described = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace="default")
        )
        assert described.config.workflow_execution_retention_ttl.ToTimedelta().days == 30
        found = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace="default")
        )
        kinds = {
            name: IndexedValueType.Name(kind).removeprefix("INDEXED_VALUE_TYPE_").capitalize()
            for name, kind in found.custom_attributes.items()
        }
        assert {name: kinds[name] for name in ATTRIBUTES} == ATTRIBUTES

    async def test_the_stand_in_accepts_the_workspace_s_key(
        self, services: Services, home: Path
    ) -> None:
        """The key that the settings hold is the one it takes."""
        cloud = settings_of(services.info, home).cloud
        assert cloud.is_stand_in

        def ask(key: str) -> int:
            with grpc.insecure_channel(cloud.endpoint) as channel:
                metadata = (("authorization", f"Bearer {key}"),)
                stub = CloudServiceStub(channel)
                return len(stub.GetRegions(GetRegionsRequest(), metadata=metadata).regions)

        assert await asyncio.to_thread(ask, cloud.api_key) > 0
        with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
            await asyncio.to_thread(ask, "another")

    @pytest.mark.parametrize("page", ["ui", "jupyter"])
    async def test_the_codec_server_serves_the_web_ui(self, services: Services, page: str) -> None:
        """It may be asked from the Web UI's own page, and from the Jupyter page that frames it."""
        ui = services.info.ui_url.removesuffix(services.info.ui_public_path)
        origin = ui if page == "ui" else "http://127.0.0.1:8888"
        url = f"{services.info.codec_url}/default/decode"
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        async with (
            aiohttp.ClientSession() as session,
            session.options(url, headers=asked) as answer,
        ):
            assert answer.headers["Access-Control-Allow-Origin"] == origin

    async def test_the_web_ui_is_served_where_the_proxy_wants_it(self, services: Services) -> None:
        """For a lab, below the path under which jupyter-server-proxy passes it on."""
        address, path = services.info.ui_url, services.info.ui_public_path
        port = int(address.removesuffix(path).rpartition(":")[2])
        assert path == f"/proxy/absolute/{port}"
        status, page = await answers.http(port, f"{path}/")
        assert status == 200
        assert f"{path}/_app".encode() in page or path.encode() in page

    async def test_what_is_kept_is_private(self, services: Services, home: Path) -> None:
        """Nobody else may look into the directory or any file in it."""
        modes = modes_below(home)
        assert {"temporal.db", "standin.db", "standin.key", "keys.json", "services.json"} <= {
            *modes
        }
        assert {oct(mode) for name, mode in modes.items() if mode & 0o077} == set()

    async def test_others_attach(self, services: Services, home: Path) -> None:
        """Another process learns where they are, and by whom they were opened."""
        assert await attach(home) == services.info
        assert services.info.owner.pid == os.getpid()
        assert await is_in_use(home)

    async def test_nobody_opens_them_twice(
        self, services: Services, home: Path, guard: Guard
    ) -> None:
        """Who tries is told who has them, at once, and nothing of theirs is touched."""
        with pytest.raises(ServiceError, match=r"already, by `tprov lab` \(process \d+\)") as error:
            await opened(home, guard)
        assert "tprov down" in error.value.remedy
        assert await attach(home) == services.info

    async def test_nothing_is_reset_while_they_are_open(
        self, services: Services, home: Path
    ) -> None:
        """A rehearsal is not pulled from under somebody's feet, a notebook's own one neither."""
        with pytest.raises(ServiceError, match="Services are open"):
            await asyncio.to_thread(reset, home)
        assert (home / "temporal.db").exists()

    async def test_one_is_stopped_and_started(self, services: Services, home: Path) -> None:
        """The Temporal server comes back on its port with its runs; nobody is alarmed."""
        alarms: list[str] = []
        services.watch(lambda name, sentence: alarms.append(sentence))
        client = await Client.connect(services.info.address)
        await client.start_workflow("Anything", id="kept", task_queue="nobody")
        await services.stop("temporal")
        assert not services.runs("temporal")
        with pytest.raises(ServiceError, match="does not answer"):
            await attach(home)
        await asyncio.gather(services.start("temporal"), services.start("temporal"))
        assert await attach(home) == services.info
        again = await Client.connect(services.info.address)
        assert (await again.get_workflow_handle("kept").describe()).id == "kept"
        assert alarms == []

    async def test_one_that_is_down_is_named(self, services: Services, home: Path) -> None:
        """Who attaches while the stand-in is stopped is told so."""
        await services.stop("cloud", kill=True)
        info = await attach(home)
        assert info is not None
        assert info.down == ("cloud",)
        await services.start("cloud")
        assert await attach(home) == services.info

    async def test_one_that_ends_by_itself_is_noticed(self, services: Services) -> None:
        """A sentence with what it said last, and it can be started again."""
        alarms: list[tuple[str, str]] = []
        services.watch(lambda name, sentence: alarms.append((name, sentence)))
        port = int(services.info.codec_url.rpartition(":")[2])
        [process] = [process for process in psutil.process_iter() if str(port) in _cmdline(process)]
        process.kill()
        await soon(lambda: alarms)
        name, sentence = alarms[0]
        assert name == "codec"
        assert sentence.startswith("The codec server ended by itself (signal 9): ")
        await services.start("codec")
        assert services.runs("codec")

    async def test_a_port_that_somebody_took_meanwhile(self, services: Services) -> None:
        """Starting again names the port, who has it, and what to do."""
        await services.stop("codec")
        port = int(services.info.codec_url.rpartition(":")[2])
        with socket.create_server(("127.0.0.1", port)):
            with pytest.raises(ServiceError, match=rf"^Port {port} of the codec server") as error:
                await services.start("codec")
            assert f"(process {os.getpid()})" in error.value.message
            assert error.value.remedy.startswith("End that program")
        await services.start("codec")

    async def test_there_are_just_three(self, services: Services) -> None:
        """A wrong name is answered with the right ones."""
        with pytest.raises(ServiceError, match="One of: temporal, codec, cloud"):
            await services.stop("web")


class TestOpenAgain:
    async def test_with_everything_where_it_was(self, tmp_path: Path) -> None:
        """The same ports, keys and runs as last time, also after the guard was killed."""
        guard = Guard()
        first = await opened(tmp_path, guard)
        client = await Client.connect(first.info.address)
        await client.start_workflow("Anything", id="kept", task_queue="nobody")
        key = (tmp_path / "standin.key").read_text()
        alarms: list[str] = []
        first.watch(lambda name, sentence: alarms.append(name))
        assert guard.pid is not None
        os.kill(guard.pid, signal.SIGKILL)
        await soon(lambda: len(alarms) == 3)
        await first.close()
        assert await attach(tmp_path) is None
        again = await opened(tmp_path, guard)
        assert replace(again.info, owner=first.info.owner) == first.info
        assert (tmp_path / "standin.key").read_text() == key
        client = await Client.connect(again.info.address)
        assert (await client.get_workflow_handle("kept").describe()).id == "kept"
        await again.close()
        await again.close()
        guard.close()
        assert not is_answered(int(again.info.address.rpartition(":")[2]))

    async def test_while_those_of_last_time_close(
        self, tmp_path: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A cell that is run again at once waits; nobody attaches to what is going away.

        A `temporal` that the user has set up otherwise (no Web UI) changes nothing here.
        """
        config = tmp_path / ".config" / "temporalio" / "temporal.yaml"
        config.parent.mkdir(parents=True)
        config.write_text('env:\n    default:\n        headless: "true"\n')
        monkeypatch.setenv("HOME", str(tmp_path))
        home = tmp_path / "home"
        first = await opened(home, guard)
        assert is_answered(int(first.info.ui_url.rpartition(":")[2]))
        said: list[str] = []
        closing = asyncio.create_task(first.close())
        await asyncio.sleep(0)
        assert await attach(home) is None
        assert not await is_in_use(home)
        again = await opened(home, guard, progress=said.append)
        assert said == ["Waiting until the services of last time have ended ..."]
        await asyncio.gather(closing, again.close())

    async def test_after_a_port_was_lost(self, tmp_path: Path, guard: Guard) -> None:
        """Between choosing and starting somebody may take a port: others are chosen."""
        tools = script(
            tmp_path / "temporal",
            """
            echo started >> attempts
            [ "$(wc -l < attempts)" -ge 2 ] && exec $TEMPORAL "$@"
            echo "Error: can't set frontend port: bind: address already in use" >&2
            exit 1
            """,
        )
        said: list[str] = []
        services = await opened(tmp_path / "home", guard, tools=tools, progress=said.append)
        assert lines_of(tmp_path / "home" / "attempts") == 2
        assert any("cannot start: port" in sentence for sentence in said)
        await services.close()

    async def test_after_a_port_was_lost_with_a_panic(self, tmp_path: Path, guard: Guard) -> None:
        """The Temporal server panics over it: what it said before its trace is what counts."""
        tools = script(
            tmp_path / "temporal",
            """
            echo started >> attempts
            [ "$(wc -l < attempts)" -ge 2 ] && exec $TEMPORAL "$@"
            echo "panic: listen tcp 127.0.0.1:1: bind: address already in use" >&2
            echo >&2
            echo "goroutine 1 [running]:" >&2
            exit 2
            """,
        )
        said: list[str] = []
        services = await opened(tmp_path / "home", guard, tools=tools, progress=said.append)
        assert lines_of(tmp_path / "home" / "attempts") == 2
        assert any("cannot start: port" in sentence for sentence in said)
        await services.close()

    async def test_after_a_panic_over_something_else(self, tmp_path: Path, guard: Guard) -> None:
        """The sentence holds what the program panicked over, not the last line of its trace."""
        broken = script(
            tmp_path / "temporal",
            'echo "panic: no such table" >&2; echo "goroutine 1 [running]:" >&2; exit 2',
        )
        with pytest.raises(ServiceError) as error:
            await opened(tmp_path / "home", guard, tools=broken)
        assert error.value.message == "The Temporal server does not start: no such table."

    async def test_after_it_could_not_start(self, tmp_path: Path, guard: Guard) -> None:
        """The sentence holds what the program said; nothing is left running, nothing locked."""
        home = tmp_path / "home"
        broken = script(tmp_path / "temporal", 'echo "Error: database is malformed." >&2; exit 1')
        with pytest.raises(ServiceError) as error:
            await opened(home, guard, tools=broken)
        assert error.value.message == (
            "The Temporal server does not start: Error: database is malformed."
        )
        assert str(home / "logs" / "temporal.log") in error.value.remedy
        assert owner_of(home) is None
        assert not [p for p in psutil.process_iter() if str(home) in " ".join(_cmdline(p))]
        missing = Tools(temporal=Tool("temporal", (str(tmp_path / "gone"),)))
        with pytest.raises(ToolError, match="gone cannot be started: No such file"):
            await opened(home, guard, tools=missing)
        await (await opened(home, guard)).close()


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() if alive(process.pid) else []
    except psutil.Error:
        return []


OWNER = """
    import asyncio, os, sys
    from pathlib import Path
    from tprov_kernel.process import Guard
    from tests.test_services import opened

    async def main():
        guard = Guard()
        services = await opened(Path(sys.argv[1]), guard, kind="up")
        print("open", flush=True)
        try:
            await asyncio.sleep(600)
        finally:
            await services.close()

    asyncio.run(main())
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A real process that has services open in `tmp_path / "home"`."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(tmp_path / "home")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


class TestTheOwnerDies:
    @pytest.mark.parametrize("how", ["killed", "interrupted"])
    async def test_and_everything_goes_with_it(
        self, owner: subprocess.Popen[str], tmp_path: Path, how: str
    ) -> None:
        """Five seconds after kill -9, or Ctrl-C in its terminal, no process is left."""
        family = [owner.pid, *(p.pid for p in psutil.Process(owner.pid).children(recursive=True))]
        assert len(family) == 5  # itself, the guard, three services
        assert await attach(tmp_path / "home") is not None
        if how == "killed":
            os.kill(owner.pid, signal.SIGKILL)
        else:
            os.killpg(owner.pid, signal.SIGINT)
        await soon(lambda: not any(alive(pid) for pid in family), within=5)
        assert await attach(tmp_path / "home") is None

    async def test_and_the_next_one_waits_for_the_rest(
        self, owner: subprocess.Popen[str], tmp_path: Path, guard: Guard
    ) -> None:
        """Opened in the very moment of a kill: it says that it waits, and finds all as it was."""
        before = await attach(tmp_path / "home")
        assert before is not None
        with pytest.raises(ServiceError, match=rf"by `tprov up` \(process {owner.pid}\)"):
            await opened(tmp_path / "home", guard)
        said: list[str] = []
        owner.kill()
        await asyncio.to_thread(owner.wait, 20)
        assert not await is_in_use(tmp_path / "home")
        services = await opened(tmp_path / "home", guard, progress=said.append)
        assert said == ["Waiting until the services of last time have ended ..."]
        assert services.info.address == before.address
        await services.close()


class TestPlaces:
    async def test_a_usual_port_that_is_taken(self) -> None:
        """Another port is chosen; the sentence names the port, who has it, and what to do."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            said: list[str] = []
            ports = choose(
                prefer_well_known=True,
                remembered=Ports(),
                progress=said.append,
                well_known=Ports(ui=port),
            )
        assert ports.ui != port
        assert len({ports.temporal, ports.ui, ports.http, ports.codec, ports.cloud}) == 5
        [sentence] = said
        assert sentence.startswith(f"Port {port} is taken by ")
        assert f"(process {os.getpid()}): the Web UI listens on {ports.ui}." in sentence

    async def test_ports_of_last_time_are_taken_again_when_free(self) -> None:
        """So that a browser's tab and a terminal go on after a kernel's restart."""
        first = choose(prefer_well_known=False, remembered=Ports())
        assert choose(prefer_well_known=False, remembered=first) == first
        with socket.create_server(("127.0.0.1", first.codec)):
            other = choose(prefer_well_known=False, remembered=first)
        assert other.codec != first.codec
        assert replace(other, codec=first.codec) == first

    async def test_places_where_nothing_can_be_kept(self, tmp_path: Path, guard: Guard) -> None:
        """A file in the way: a sentence, and what to do."""
        (tmp_path / "file").write_text("")
        for place in (tmp_path / "file", tmp_path / "file" / "home"):
            with pytest.raises(ServiceError, match="a file is in its way") as error:
                await opened(place, guard)
            assert "TPROV_HOME" in error.value.remedy

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a device that is full")
    async def test_a_disk_that_is_full(self, tmp_path: Path, guard: Guard) -> None:
        """It is noticed before anything is started."""
        (tmp_path / f".probe.{os.getpid()}").symlink_to("/dev/full")
        with pytest.raises(ServiceError, match="the disk is full") as error:
            await opened(tmp_path, guard)
        assert error.value.remedy == "Free some space."

    @pytest.mark.parametrize(
        ("number", "words"), [(30, "the disk is read-only"), (13, "it is not yours to write")]
    )
    async def test_other_troubles_of_a_disk(self, number: int, words: str, tmp_path: Path) -> None:
        """Whatever the system says becomes a sentence."""
        with pytest.raises(ServiceError, match=words), writing(tmp_path):
            raise OSError(number, os.strerror(number))

    async def test_nobody_is_there(self, tmp_path: Path) -> None:
        """A directory that is not there, or was never opened, has no services."""
        assert await attach(tmp_path / "gone") is None
        assert await attach(tmp_path) is None
        assert not await is_in_use(tmp_path)


class TestReset:
    async def test_back_to_zero(self, tmp_path: Path) -> None:
        """Everything of ours goes, nothing else does."""
        for name in ("temporal.db", "temporal.db-wal", "standin.db", "keys.json", "standin.key"):
            (tmp_path / name).write_text("x")
        for name in ("stacks/web/config", "private/01_happy_path/stacks", "logs", "remote/stacks"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "of mine").write_text("x")
        (tmp_path / "services.lock").touch()
        await asyncio.to_thread(reset, tmp_path)
        left = names_in(tmp_path)
        assert left == ["of mine", "remote", "services.lock"]

    async def test_keys_may_stay(self, tmp_path: Path) -> None:
        """What was encrypted elsewhere can still be read."""
        for name in ("temporal.db", "keys.json", "standin.key"):
            (tmp_path / name).write_text("x")
        reset(tmp_path, keep_keys=True)
        assert names_in(tmp_path) == ["keys.json", "standin.key"]

    async def test_nothing_there(self, tmp_path: Path) -> None:
        """A directory that was never used is at zero already."""
        reset(tmp_path / "gone")

    async def test_not_under_a_terraform_at_work(self, tmp_path: Path) -> None:
        """A stack's lock is respected, in a notebook's own instance too."""
        stack = tmp_path / "private" / "01_happy_path" / "stacks" / "web"
        stack.mkdir(parents=True)
        lock = os.open(stack / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            with pytest.raises(ServiceError, match="A Terraform of stack 'web' is still at work"):
                reset(tmp_path)
        finally:
            os.close(lock)
        reset(tmp_path)
        assert not stack.exists()


INFO = ServicesInfo(
    owner=Owner(pid=4711, kind="up", started=0.0),
    address="127.0.0.1:7233",
    http_port=1,
    ui_url="http://127.0.0.1:8233",
    ui_public_path="",
    codec_url="http://127.0.0.1:8081",
    cloud_endpoint="127.0.0.1:7234",
)


class TestSettings:
    async def test_the_environment_cannot_lead_elsewhere(self, tmp_path: Path) -> None:
        """What lies around is ignored and named, a `temporal.toml` included."""
        folder = "Library/Application Support" if sys.platform == "darwin" else ".config"
        (tmp_path / folder / "temporalio").mkdir(parents=True)
        (tmp_path / folder / "temporalio" / "temporal.toml").write_text("")
        environ = {
            "HOME": str(tmp_path),
            "TEMPORAL_HOST_URL": "ns.acct.tmprl.cloud:7233",
            "TEMPORAL_API_KEY": "secret",
            "TEMPORAL_CLOUD_API_KEY": "secret",
            "TEMPORAL_TLS": "",
            "TEMPORAL_NAMESPACE": "default",
        }
        settings = settings_of(INFO, tmp_path, environ)
        assert (settings.target, settings.address) == ("local", "127.0.0.1:7233")
        assert (settings.api_key, settings.tls, settings.cloud.api_key) == ("", False, "")
        assert sorted(settings.ignored) == [
            "TEMPORAL_API_KEY",
            "TEMPORAL_CLOUD_API_KEY",
            "TEMPORAL_HOST_URL",
            "temporal.toml",
        ]
        assert "secret" not in repr(settings)

    async def test_what_we_set_ourselves_is_not_called_ignored(self, tmp_path: Path) -> None:
        """A terminal or a kernel that is set up for these services hears nothing of it."""
        settings = settings_of(INFO, tmp_path)
        environ = environment_for_terminal(settings)
        assert settings_of(INFO, tmp_path, environ).ignored == ()

    async def test_what_may_be_chosen(self, tmp_path: Path) -> None:
        """Encryption and the task queue are the reader's to choose, and it is said from where."""
        plain = settings_of(INFO, tmp_path)
        assert (plain.encrypt_payloads, plain.task_queue) == (True, "infra-provisioning")
        assert plain.codec_url == "http://127.0.0.1:8081/default"
        chosen = settings_of(
            INFO,
            tmp_path,
            {"ENCRYPT_PAYLOADS": "false", "TEMPORAL_INFRA_PROVISION_TASK_QUEUE": "mine"},
        )
        assert (chosen.encrypt_payloads, chosen.task_queue) == (False, "mine")
        assert chosen.sources["encrypt_payloads"] == "ENCRYPT_PAYLOADS"
        assert plain.sources["encrypt_payloads"] == "default"
        with pytest.raises(SettingsError, match="ENCRYPT_PAYLOADS is neither true nor false"):
            settings_of(INFO, tmp_path, {"ENCRYPT_PAYLOADS": "perhaps"})


HOSTILE = {
    "TEMPORAL_API_KEY": "secret",
    "TEMPORAL_TLS": "true",
    "TEMPORAL_TLS_CLIENT_CERT_PATH": "/gone/cert.pem",
    "TEMPORAL_TLS_CLIENT_KEY_PATH": "/gone/key.pem",
    "TEMPORAL_TLS_SERVER_NAME": "elsewhere.example",
    "TEMPORAL_TLS_CERT": "/gone/cert.pem",
    "TEMPORAL_PROFILE": "elsewhere",
    "TEMPORAL_ADDRESS": "elsewhere.example:7233",
    "TEMPORAL_CODEC_ENDPOINT": "http://127.0.0.1:9",
    "TEMPORAL_CODEC_AUTH": "Bearer secret",
    "TEMPORAL_CLOUD_ALLOWED_ACCOUNT_ID": "mine",
}


class TestTerminal:
    async def test_the_real_cli_meets_these_services(
        self, services: Services, home: Path, tmp_path: Path, guard: Guard
    ) -> None:
        """With hostile variables and a hostile `temporal.toml` lying around."""
        folder = "Library/Application Support" if sys.platform == "darwin" else ".config"
        (tmp_path / folder / "temporalio").mkdir(parents=True)
        (tmp_path / folder / "temporalio" / "temporal.toml").write_text(
            '[profile.default]\naddress = "elsewhere.example:7233"\napi_key = "secret"\n'
        )
        ambient = {**clean_environment(), **HOSTILE, "HOME": str(tmp_path)}
        count = [*TOOLS.temporal.argv, "workflow", "count", "-o", "json"]
        lost = await run(guard, count, cwd=tmp_path, env=ambient, timeout=60)
        assert lost.returncode != 0
        ours = environment_for_terminal(settings_of(services.info, home), toolchain=TOOLS)
        found = await run(
            guard, ["temporal", *count[1:]], cwd=tmp_path, env={**ambient, **ours}, timeout=60
        )
        assert found.returncode == 0, found.stderr
        assert json.loads(found.stdout).keys() <= {"count"}  # none at all is not counted

    async def test_a_script_of_the_sdk_s_own_meets_them_too(
        self, services: Services, home: Path
    ) -> None:
        """What people paste reads its connection through the SDK's `envconfig`."""
        ours = {**HOSTILE, **environment_for_terminal(settings_of(services.info, home))}
        config = ClientConfig.load_client_connect_config(override_env_vars=ours)
        client = await Client.connect(**config)
        assert (await client.count_workflows()).count >= 0

    async def test_the_tools_come_first_on_path(
        self, home: Path, services: Services, tmp_path: Path, guard: Guard
    ) -> None:
        """`terraform` is the one that was found, however it is started; only `tprov` comes along.

        Set up twice, also when the tool was found through what the first time put there.
        """
        settings = settings_of(services.info, home)
        ours = environment_for_terminal(settings, toolchain=TOOLS)
        assert ours["TF_CLI_CONFIG_FILE"] == str(home / "terraform.rc")
        assert (home / "terraform.rc").read_text() == TOOLS.cli_config()
        terraform = shutil.which("terraform", path=ours["PATH"])
        assert terraform is not None
        found = replace(TOOLS, terraform=Tool("terraform", (terraform,)))
        again = environment_for_terminal(settings, toolchain=found)
        done = await run(guard, ["terraform"], cwd=tmp_path, env=again, timeout=20)
        assert done.stdout == b"this terraform\n"
        first = again["PATH"].split(os.pathsep)[0]
        assert names_in(Path(first)) == ["opa", "temporal", "terraform", "tprov"]

    async def test_a_remote_place_keeps_its_keys(self, tmp_path: Path) -> None:
        """The connection by the names that `temporal` reads, files named, and the tools; no key.

        `tprov` there uses the data of the remote place, which lie below those of the local one.
        """
        home = tmp_path / "remote"
        home.mkdir()
        given = settings_of(INFO, home)
        remote = replace(
            given, target="remote", api_key="canary", tls_cert=Path("/c"), tls_key=b"canary"
        )
        ours = environment_for_terminal(remote, toolchain=TOOLS)
        assert set(ours) == {
            "TEMPORAL_ADDRESS",
            "TEMPORAL_NAMESPACE",
            "TEMPORAL_TLS_CLIENT_CERT_PATH",
            "TF_CLI_CONFIG_FILE",
            "PATH",
        }
        assert "canary" not in str(ours.values())
        assert f"TPROV_HOME={tmp_path} " in (home / "bin" / "tprov").read_text()

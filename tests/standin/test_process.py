"""The stand-in as a process: how it starts and ends, and what it does not do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import grpc.aio
import pytest
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.identity.v1 import message_pb2 as identity
from temporalio.api.cloud.operation.v1.message_pb2 import AsyncOperation

from tests.standin.parts import LIMIT, Api, Standin, an_access, api_of, namespace_spec


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Start it where it must refuse to start."""
    return subprocess.run(
        [sys.executable, "-m", "tprov_kernel.standin", *words],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


async def test_sigterm_ends_it_and_nothing_is_lost(process: Standin) -> None:
    """Exit code 0; objects, versions and answers are as they were."""
    async with api_of(process) as api:
        made = await api.a_namespace()
        user = await api.a_user()
        again = rr.CreateNamespaceRequest(spec=namespace_spec("x1"), async_operation_id="id")
        answer = await api.do("CreateNamespace", again)
    assert process.stop() == 0
    process.start()
    async with api_of(process) as api:
        assert await api.namespace(made.namespace) == made
        assert (await api.call("GetUser", rr.GetUserRequest(user_id=user.id))).user == user
        assert await api.call("CreateNamespace", again) == answer


async def test_a_kill_loses_nothing_and_operations_go_on(process: Standin) -> None:
    """What was answered is there after a kill -9; what was pending is carried out."""
    async with api_of(process) as api:
        await process.control.hold("CreateNamespace", times=None)
        answers = [
            await api.call("CreateNamespace", rr.CreateNamespaceRequest(spec=namespace_spec(name)))
            for name in ("a1", "b1", "c1")
        ]
        user = await api.a_user()
    process.kill()
    process.start()
    async with api_of(process) as api:
        for answer in answers:
            assert (await api.done(answer)).state == AsyncOperation.STATE_FULFILLED
            assert (await api.namespace(answer.namespace)).state_deprecated == "active"
        assert (await api.call("GetUser", rr.GetUserRequest(user_id=user.id))).user == user
    assert (await process.control.status())["faults"] == []


def test_its_files_are_private(process: Standin) -> None:
    """Nobody else reads the database or the key."""
    for name in ("cloud.db", "cloud.key"):
        assert (process.home / name).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--host", "0.0.0.0"),
        ("--host", "192.168.0.1"),
        ("--temporal", "temporal.example.com:7233"),
        ("--temporal", "orders.a1b2c.tmprl.cloud:7233"),
    ],
)
def test_it_stays_on_this_machine(tmp_path: Path, words: tuple[str, ...]) -> None:
    """It neither listens elsewhere nor mirrors namespaces to a server elsewhere."""
    paths = ("--db", str(tmp_path / "db"), "--key-file", str(tmp_path / "key"))
    ended = run("--port", "0", *paths, *words)
    assert ended.returncode == 2
    assert "must be on 127.0.0.1" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_listens_on_the_loopback_address_only(process: Standin) -> None:
    """Another address of this very machine finds nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.settimeout(LIMIT)
        with pytest.raises(ConnectionRefusedError):
            s.connect(("127.0.0.2", process.port))


def test_a_taken_port_is_said(process: Standin, tmp_path: Path) -> None:
    """In one line, and the one that has the port goes on."""
    other = tmp_path / "other"
    other.mkdir()
    ended = run(
        *("--port", str(process.port), "--db", str(other / "db")),
        *("--key-file", str(other / "key")),
    )
    assert ended.returncode == 1
    said = ended.stderr.splitlines()[-1]  # gRPC itself says something before
    assert said == f"Port {process.port} is taken. Choose another with --port."


def test_a_database_has_one_stand_in(process: Standin) -> None:
    """A second one on the same file would carry operations out twice: it refuses."""
    ended = run(
        *("--port", "0", "--db", str(process.home / "cloud.db")),
        *("--key-file", str(process.key_file)),
    )
    assert ended.returncode == 1
    assert "Another stand-in has" in ended.stderr


def test_it_does_not_load_the_sdk(process: Standin) -> None:
    """Its start-up and memory allow for the API's messages only, not for the Rust bridge."""
    assert process.process is not None
    maps = Path(f"/proc/{process.process.pid}/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    assert "temporal_sdk_bridge" not in maps.read_text()


async def test_a_killed_one_leaves_its_port(process: Standin) -> None:
    """It can be started again at once, on the same port, and answers."""
    for _ in range(3):
        process.kill()
        process.start()
        async with api_of(process) as api:
            assert (await api.call("GetAccount")).account.id == "tprov"


async def test_a_burst_of_creates_survives_kills(process: Standin) -> None:
    """Calls that a kill interrupted are sent again with the same id: each user is made once."""
    seed = os.environ.get("STANDIN_SEED") or str(random.randrange(10**6))
    print(f"STANDIN_SEED={seed}")
    moments = random.Random(seed)
    todo = {
        f"u{i}": rr.CreateUserRequest(
            spec=identity.UserSpec(email=f"u{i}@example.com", access=an_access()),
            async_operation_id=f"u{i}",
        )
        for i in range(400)
    }
    answers: dict[str, rr.CreateUserResponse] = {}

    async def make(api: Api, id: str) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):
            answers[id] = await api.call("CreateUser", todo[id])

    async def kill() -> None:
        await asyncio.sleep(moments.uniform(0.01, 0.15))
        process.kill()

    for _ in range(4):
        async with api_of(process) as api:
            left = [id for id in todo if id not in answers]
            await asyncio.gather(kill(), *(make(api, id) for id in left))
        process.start()
    async with api_of(process) as api:
        for id in todo:
            before = answers.get(id)
            await make(api, id)
            assert before in (None, answers[id])
            assert (await api.done(answers[id])).state == AsyncOperation.STATE_FULFILLED
        found = (await api.call("GetUsers", rr.GetUsersRequest(page_size=1000))).users
    made = {u.spec.email: u.id for u in found if u.spec.email != "owner@example.com"}
    assert made == {f"{id}@example.com": answers[id].user_id for id in todo}

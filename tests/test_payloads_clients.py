"""Real clients: a dev server, a worker with the codec, and the `temporal` command."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from tprov_kernel.payloads.codec import data_converter
from tprov_kernel.payloads.keyring import KeyRing

TEMPORAL = Path(sys.executable).with_name("temporal")
CANARY = "canary-5b1e-in-a-workflow"
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("TEMPORAL_")}


@activity.defn
async def greet(name: str) -> str:
    """Give a result that nobody but a reader with the key may see; fail for one name."""
    if name.startswith("fail"):
        raise ApplicationError(f"no greeting for {name}", {"detail": name}, non_retryable=True)
    return f"hello {name}"


@workflow.defn(sandboxed=False)  # the sandbox would load this module, pytest and all, per run
class Greeting:
    """One activity, one signal that anybody may send."""

    def __init__(self) -> None:
        self.signals: list[str] = []
        self.done = False

    @workflow.run
    async def run(self, name: str, wait: bool) -> str:
        greeting = await workflow.execute_activity(
            greet,
            name,
            start_to_close_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )
        if wait:
            await workflow.wait_condition(lambda: self.done)
        return greeting

    @workflow.signal(dynamic=True)
    async def any_signal(self, name: str, args: Sequence[RawValue]) -> None:
        values = [workflow.payload_converter().from_payload(a.payload) for a in args]
        self.signals.append(f"{name} {json.dumps(values)}")
        self.done = self.done or name == "finish"

    @workflow.query
    def seen(self) -> list[str]:
        return self.signals


def free_port() -> int:
    """A port that nothing uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(ready: Callable[[], bool], *, what: str, limit: float = 30.0) -> None:
    """Wait for something another process does."""
    end = time.monotonic() + limit
    while not ready():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {limit} s")
        time.sleep(0.02)


def accepts(port: int) -> bool:
    """Whether something listens."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass
class Services:
    """A dev server and two codec servers for one workspace; the guarded one asks for a token."""

    address: str
    codec_port: int
    key_ring: Path
    database: Path
    guarded_port: int
    token: str

    def temporal(self, *arguments: str) -> str:
        """Run the `temporal` command; give its output."""
        done = self.try_temporal(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def try_temporal(
        self, *arguments: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the `temporal` command, which may fail."""
        return subprocess.run(
            [str(TEMPORAL), *arguments, "--address", self.address],
            env=env or CLEAN,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Start both on free ports, and end them."""
    folder = tmp_path_factory.mktemp("services")
    key_ring, database = folder / "keys.json", folder / "temporal.db"
    token_file = folder / "token"
    token_file.write_text("s3cr3t-codec-token")
    port, codec_port, guarded_port = free_port(), free_port(), free_port()
    codec = [
        *(sys.executable, "-m", "tprov_kernel.payloads.server", "--key-ring", str(key_ring)),
        *("--origin", "http://127.0.0.1:8233"),
    ]
    commands = [
        [
            *(str(TEMPORAL), "server", "start-dev", "--headless", "--log-level", "error"),
            *("--port", str(port), "--db-filename", str(database)),
        ],
        [*codec, "--port", str(codec_port), "--log", str(folder / "codec.log")],
        [
            *(*codec, "--port", str(guarded_port), "--log", str(folder / "guarded.log")),
            *("--token-file", str(token_file)),
        ],
    ]
    processes = [
        subprocess.Popen(command, env=CLEAN, stdout=subprocess.DEVNULL) for command in commands
    ]
    try:
        wait_until(lambda: accepts(codec_port) and key_ring.exists(), what="the codec server")
        wait_until(lambda: accepts(guarded_port), what="the guarded codec server")
        services = Services(
            f"127.0.0.1:{port}", codec_port, key_ring, database, guarded_port, "s3cr3t-codec-token"
        )
        # The port is open before the server is ready, and the server before its namespace.
        describe = ("operator", "namespace", "describe", "--namespace", "default")
        wait_until(lambda: services.try_temporal(*describe).returncode == 0, what="the dev server")
        yield services
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(timeout=20)
            finally:
                process.kill()


async def connect(services: Services, *, encrypt: bool = True) -> Client:
    """A client with the workspace's codec."""
    converter = data_converter(KeyRing.load(services.key_ring), encrypt=encrypt)
    return await Client.connect(services.address, data_converter=converter)


async def run(services: Services, name: str, *, encrypt: bool = True) -> tuple[str, Any]:
    """Run the workflow to its end; give its id and its result, or why it failed."""
    client = await connect(services, encrypt=encrypt)
    workflow_id, queue = f"greeting-{uuid.uuid4()}", f"queue-{uuid.uuid4()}"
    async with Worker(client, task_queue=queue, workflows=[Greeting], activities=[greet]):
        try:
            result: Any = await client.execute_workflow(
                "Greeting", args=[name, False], id=workflow_id, task_queue=queue
            )
        except WorkflowFailureError as error:
            result = error.cause
    return workflow_id, result


def forms(secret: str) -> list[bytes]:
    """The secret as it may rest in a database."""
    raw = secret.encode()
    return [raw, base64.b64encode(raw)[:-4], raw.hex().encode()]


def history(text: str) -> str:
    """What `workflow show --output json` printed, with each payload's data as text beside it."""
    datas = [
        base64.b64decode(data).decode("latin-1") for data in re.findall(r'"data": "(.*?)"', text)
    ]
    return "\n".join([text, *datas])


async def test_the_cli_shows_a_run_decoded_through_the_codec_server_and_encoded_without_it(
    services: Services,
) -> None:
    """The description's own command, with the endpoint of these services."""
    workflow_id, result = await run(services, CANARY)
    show = ("workflow", "show", "--workflow-id", workflow_id, "--output", "json")
    endpoint = ("--codec-endpoint", f"http://127.0.0.1:{services.codec_port}/default")
    decoded = history(services.temporal(*show, *endpoint))
    encoded = history(services.temporal(*show))

    assert result == f"hello {CANARY}"
    assert f"hello {CANARY}" in decoded
    assert base64.b64encode(b"binary/encrypted").decode() not in decoded
    assert CANARY not in encoded
    assert base64.b64encode(b"binary/encrypted").decode() in encoded


async def test_the_cli_s_text_and_its_result_are_decoded_too(services: Services) -> None:
    """Without `--output json`, with a template for the namespace, and from the environment."""
    workflow_id, _ = await run(services, CANARY)
    template = f"http://127.0.0.1:{services.codec_port}/{{namespace}}"
    text = services.temporal(
        "workflow", "show", "--workflow-id", workflow_id, "--codec-endpoint", template
    )

    assert f"hello {CANARY}" in text


async def test_the_cli_needs_the_token_where_one_is_asked_for(services: Services) -> None:
    """With it the payloads are shown; without it, or with another, they are not."""
    workflow_id, _ = await run(services, CANARY)
    endpoint = f"http://127.0.0.1:{services.guarded_port}/default"
    show = ("workflow", "show", "--workflow-id", workflow_id, "--codec-endpoint", endpoint)
    right = services.temporal(*show, "--codec-auth", f"Bearer {services.token}")
    wrong = [
        services.try_temporal(*show, "--command-timeout", "3s"),
        services.try_temporal(*show, "--command-timeout", "3s", "--codec-auth", "Bearer another"),
    ]

    environment = CLEAN | {"TEMPORAL_CODEC_AUTH": f"Bearer {services.token}"}
    unseen = services.try_temporal(*show, env=environment)  # on no command line

    assert f"hello {CANARY}" in right
    assert f"hello {CANARY}" in unseen.stdout
    assert [CANARY in done.stdout for done in wrong] == [False, False]
    assert all("displaying history failed" in done.stderr for done in wrong)


async def test_the_cli_is_refused_by_another_name_and_with_another_origin(
    services: Services,
) -> None:
    """A host that is not loopback's own name, and the origin of a page that nobody allowed."""
    workflow_id, _ = await run(services, CANARY)
    show = ("workflow", "show", "--workflow-id", workflow_id, "--command-timeout", "3s")
    port = services.codec_port
    right = services.temporal(
        *(*show, "--codec-endpoint", f"http://localhost:{port}/default"),
        *("--codec-header", "Origin=http://127.0.0.1:8233"),
    )
    asked = {
        "another origin": (
            *("--codec-endpoint", f"http://127.0.0.1:{port}/default"),
            *("--codec-header", "Origin=http://evil.example"),
        ),
        # The same address, by a name that a page could have made up.
        "another host": ("--codec-endpoint", f"http://[::ffff:127.0.0.1]:{port}/default"),
    }

    assert f"hello {CANARY}" in right
    log = services.key_ring.with_name("codec.log")
    for words in asked.values():
        before = log.read_text().count("refused with 403")
        wrong = services.try_temporal(*show, *words)
        assert CANARY not in wrong.stdout
        assert "displaying history failed" in wrong.stderr  # it asks again until time is over
        assert log.read_text().count("refused with 403") > before


async def test_a_failure_is_encrypted_at_rest_and_read_back(services: Services) -> None:
    """Its message, its details and where in the code it happened."""
    name = f"fail-{CANARY}"
    workflow_id, error = await run(services, name)
    show = ("workflow", "show", "--workflow-id", workflow_id, "--output", "json")
    encoded = history(services.temporal(*show))
    endpoint = ("--codec-endpoint", f"http://127.0.0.1:{services.codec_port}/default")
    decoded = history(services.temporal(*show, *endpoint))

    assert f"no greeting for {name}" in str(error.cause)
    assert list(error.cause.details) == [{"detail": name}]
    assert CANARY not in encoded
    assert "test_payloads_clients" not in encoded
    assert "Encoded failure" in encoded
    assert f"no greeting for {name}" in decoded


async def test_nothing_of_it_rests_in_the_server_s_database(services: Services) -> None:
    """What somebody sees who has the file; a run without encryption is seen, so this can fail."""
    await run(services, CANARY)
    await run(services, f"fail-{CANARY}")
    open_canary = f"open-{uuid.uuid4()}"
    await run(services, open_canary, encrypt=False)
    with sqlite3.connect(services.database) as database:
        database.execute("PRAGMA wal_checkpoint")
    at_rest = b"".join(
        path.read_bytes() for path in services.database.parent.glob(f"{services.database.name}*")
    )

    assert [form for form in forms(CANARY) if form in at_rest] == []
    assert open_canary.encode() in at_rest


async def test_a_stranger_s_signals_do_not_wedge_the_run(services: Services) -> None:
    """Garbage marked as encrypted arrives as a marker; the run answers and ends."""
    from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution
    from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest

    client = await connect(services)
    workflow_id, queue = f"greeting-{uuid.uuid4()}", f"queue-{uuid.uuid4()}"
    async with Worker(client, task_queue=queue, workflows=[Greeting], activities=[greet]):
        handle = await client.start_workflow(
            "Greeting", args=["world", True], id=workflow_id, task_queue=queue
        )
        for metadata in (
            {"encoding": b"binary/encrypted"},
            {"encoding": b"binary/encrypted", "encryption-key-id": b"k0", "nonce": b"x"},
            {"encoding": b"json/external-storage-reference"},
            {"encoding": b"json/plain", "__temporal_external_storage_reference": b"true"},
        ):
            request = SignalWorkflowExecutionRequest(
                namespace="default",
                workflow_execution=WorkflowExecution(workflow_id=workflow_id),
                signal_name="approve_apply",
                input=Payloads(payloads=[Payload(metadata=metadata, data=b"garbage")]),
            )
            await client.workflow_service.signal_workflow_execution(request)
        seen = await handle.query("seen")
        await handle.signal("finish")
        result = await handle.result()

    assert len(seen) == 4
    assert all("$undecodable" in signal for signal in seen)
    assert result == "hello world"


async def test_a_run_goes_on_while_keys_are_rotated_and_encryption_is_turned_off(
    services: Services,
) -> None:
    """Begun under one key, continued under another and then in the clear: nothing is lost."""
    first = await connect(services)
    workflow_id, queue = f"greeting-{uuid.uuid4()}", f"queue-{uuid.uuid4()}"
    async with Worker(first, task_queue=queue, workflows=[Greeting], activities=[greet]):
        handle = await first.start_workflow(
            "Greeting", args=[CANARY, True], id=workflow_id, task_queue=queue
        )
        await handle.signal("before", CANARY)
        seen_before = await handle.query("seen")
    KeyRing.load(services.key_ring).rotate()
    second = await connect(services, encrypt=False)
    async with Worker(second, task_queue=queue, workflows=[Greeting], activities=[greet]):
        handle = second.get_workflow_handle(workflow_id)
        await handle.signal("finish")
        result = await handle.result()
        seen_after = await handle.query("seen")
    show = ("workflow", "show", "--workflow-id", workflow_id, "--output", "json")
    endpoint = ("--codec-endpoint", f"http://127.0.0.1:{services.codec_port}/default")
    decoded = history(services.temporal(*show, *endpoint))

    assert seen_before == [f'before ["{CANARY}"]']
    assert seen_after == [*seen_before, "finish []"]
    assert result == f"hello {CANARY}"
    assert "undecodable" not in decoded
    assert len(re.findall(CANARY, decoded)) >= 3

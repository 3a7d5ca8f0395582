"""A stand-in as a process of its own, and the real Terraform with the real provider against it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.identity.v1 import message_pb2 as identity
from temporalio.api.cloud.namespace.v1 import message_pb2 as namespace
from temporalio.api.cloud.operation.v1.message_pb2 import AsyncOperation

from tprov_kernel.settings import CloudSettings
from tprov_kernel.standin.app import Config, opened
from tprov_kernel.standin.control import StandinControl
from tprov_kernel.toolchain import Toolchain

LIMIT = 30.0
"""Seconds that anything here may take."""
SERVICE = "temporal.api.cloud.cloudservice.v1.CloudService"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[Any]) -> None:
    """Until something listens, or the process has ended."""
    deadline = time.monotonic() + LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.01)
    raise AssertionError(f"nothing listens on {port}, the process says {process.poll()}")


class Place:
    """A stand-in: where it is, and its data."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.port = port
        self.key_file = home / "cloud.key"
        self.log = home / "calls.jsonl"

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return f"127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """The workspace's own key."""
        return self.key_file.read_text().strip()

    @property
    def settings(self) -> CloudSettings:
        """As our own client is told about it."""
        return CloudSettings(
            endpoint=self.endpoint, api_key=self.key, allow_insecure=True, is_stand_in=True
        )

    @property
    def control(self) -> StandinControl:
        """What makes it fail."""
        return StandinControl(self.endpoint, self.key)

    def calls(self) -> list[dict[str, Any]]:
        """The log of calls."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextlib.asynccontextmanager
async def opened_here(home: Path, **options: Any) -> AsyncIterator[Place]:
    """A stand-in on this very event loop: the same code, without the start of a process."""
    place = Place(home, 0)
    config = Config(port=0, db=home / "cloud.db", key_file=place.key_file, log=place.log, **options)
    async with opened(config) as port:
        place.port = port
        yield place


class Standin(Place):
    """A stand-in as a process; it can be killed and started again."""

    def __init__(self, home: Path, *extra: str) -> None:
        super().__init__(home, free_port())
        self._extra = extra
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def command(self) -> list[str]:
        """How it is started."""
        return [
            *(sys.executable, "-m", "tprov_kernel.standin", "--port", str(self.port)),
            *("--db", str(self.home / "cloud.db"), "--key-file", str(self.key_file)),
            *("--log", str(self.log), *self._extra),
        ]

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self.process = subprocess.Popen(self.command())
        wait_for_port(self.port, self.process)

    def kill(self) -> None:
        """Kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(LIMIT)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT)


class Api:
    """A small gRPC client of the Cloud API: `api.GetUser(rr.GetUserRequest(...))`."""

    def __init__(self, channel: grpc.aio.Channel, key: str | None) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {key}"),) if key is not None else ()

    async def call(self, method: str, request: Any = None, **metadata: str) -> Any:
        """One call."""
        request = request if request is not None else getattr(rr, f"{method}Request")()
        rpc = self._channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=getattr(rr, f"{method}Response").FromString,
        )
        return await rpc(request, metadata=self._metadata + tuple(metadata.items()), timeout=LIMIT)

    async def refused(self, method: str, request: Any = None) -> tuple[str, str]:
        """(status, sentence) of a call that must be refused."""
        try:
            answer = await self.call(method, request)
        except grpc.aio.AioRpcError as error:
            return error.code().name, error.details() or ""
        raise AssertionError(f"{method} was answered: {answer}")

    async def done(self, answer: Any) -> AsyncOperation:
        """The operation of an answer, when it is over."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            asked = rr.GetAsyncOperationRequest(async_operation_id=answer.async_operation.id)
            operation: AsyncOperation = (
                await self.call("GetAsyncOperation", asked)
            ).async_operation
            if operation.HasField("finished_time"):
                return operation
            await asyncio.sleep(0.005)
        raise AssertionError(f"the operation is not over: {operation}")

    async def do(self, method: str, request: Any) -> Any:
        """One call and its operation, which must be fulfilled; the call's answer."""
        answer = await self.call(method, request)
        operation = await self.done(answer)
        assert operation.state == AsyncOperation.STATE_FULFILLED, operation.failure_reason
        return answer

    # --- the objects that most tests need ----------------------------------------------------

    async def a_namespace(self, name: str = "orders", **fields: Any) -> namespace.Namespace:
        """Make a namespace and read it."""
        spec = namespace_spec(name, **fields)
        made = await self.do("CreateNamespace", rr.CreateNamespaceRequest(spec=spec))
        return await self.namespace(made.namespace)

    async def namespace(self, id: str) -> namespace.Namespace:
        """Read a namespace."""
        answer = await self.call("GetNamespace", rr.GetNamespaceRequest(namespace=id))
        found: namespace.Namespace = answer.namespace
        return found

    async def a_user(self, email: str = "ada@example.com", **access: Any) -> identity.User:
        """Make a user and read it."""
        spec = identity.UserSpec(email=email, access=an_access(**access))
        made = await self.do("CreateUser", rr.CreateUserRequest(spec=spec))
        answer = await self.call("GetUser", rr.GetUserRequest(user_id=made.user_id))
        found: identity.User = answer.user
        return found

    async def a_service_account(self, name: str = "ci", **access: Any) -> str:
        """Make a service account; its id."""
        spec = identity.ServiceAccountSpec(name=name, access=an_access(**access))
        made = await self.do("CreateServiceAccount", rr.CreateServiceAccountRequest(spec=spec))
        return str(made.service_account_id)


def namespace_spec(name: str = "orders", **fields: Any) -> namespace.NamespaceSpec:
    """A specification that is allowed, with changes."""
    given: dict[str, Any] = {
        "regions": ["aws-us-east-1"],
        "retention_days": 7,
        "api_key_auth": namespace.ApiKeyAuthSpec(enabled=True),
    }
    return namespace.NamespaceSpec(name=name, **(given | fields))


def an_access(
    role: identity.AccountAccess.Role.ValueType = identity.AccountAccess.ROLE_DEVELOPER,
    **namespaces: identity.NamespaceAccess.Permission.ValueType,
) -> identity.Access:
    """An account role, and permissions on namespaces (with '_' for the '.' of their ids)."""
    access = identity.Access(account_access=identity.AccountAccess(role=role))
    for id, permission in namespaces.items():
        access.namespace_accesses[id.replace("_", ".")].permission = permission
    return access


@contextlib.asynccontextmanager
async def api_of(standin: Place, key: str | None = "") -> AsyncIterator[Api]:
    """A client with the workspace's own key, another one, or (None) without."""
    async with grpc.aio.insecure_channel(standin.endpoint) as channel:
        yield Api(channel, standin.key if key == "" else key)


@contextlib.contextmanager
def running(home: Path, *extra: str) -> Iterator[Standin]:
    """A stand-in for the length of a block."""
    standin = Standin(home, *extra)
    try:
        yield standin
    finally:
        if standin.process is not None and standin.process.poll() is None:
            standin.kill()


# --- Terraform -------------------------------------------------------------------------------

HEAD = """
terraform {
  required_providers {
    temporalcloud = { source = "temporalio/temporalcloud", version = "~> 1.3" }
  }
}
provider "temporalcloud" {}
"""


@dataclass(frozen=True)
class Ran:
    """How a Terraform command ended."""

    code: int
    output: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def count(self, kind: str) -> dict[str, int]:
        """The numbers of the last change_summary: add, change, remove, import."""
        summaries = [e["changes"] for e in self.events if e.get("type") == "change_summary"]
        return {k: summaries[-1][k] for k in ("add", "change", "remove", "import")}


class Terraform:
    """A directory with a configuration, and the real Terraform in it."""

    def __init__(self, folder: Path, standin: Place, toolchain: Toolchain) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._argv = list(toolchain.terraform.argv)
        self._standin = standin
        rc = folder / "terraform.rc"
        rc.write_text(toolchain.cli_config())
        self.environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            "TF_CLI_CONFIG_FILE": str(rc),
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "CHECKPOINT_DISABLE": "1",
            "TEMPORAL_CLOUD_ENDPOINT": standin.endpoint,
            "TEMPORAL_CLOUD_API_KEY": standin.key,
            "TEMPORAL_CLOUD_ALLOW_INSECURE": "true",
        }

    def write(self, body: str) -> None:
        """Write the configuration."""
        (self.folder / "main.tf").write_text(HEAD + body)

    def init(self) -> None:
        """Initialise the directory."""
        ran = self.run("init", "-no-color")
        assert ran.code == 0, ran.output

    def run(self, *words: str, timeout: float = 90.0) -> Ran:
        """Run a command."""
        ended = subprocess.run(
            [*self._argv, *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        lines = (x for x in ended.stdout.splitlines() if x.startswith("{"))
        return Ran(ended.returncode, ended.stdout, [json.loads(x) for x in lines])

    def spawn(self, *words: str) -> subprocess.Popen[str]:
        """Start a command; the caller waits for it."""
        return subprocess.Popen(
            [*self._argv, *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def apply(self, **variables: str) -> Ran:
        """Apply; it must succeed."""
        given = [f"-var={k}={v}" for k, v in variables.items()]
        ran = self.run("apply", "-auto-approve", "-json", "-parallelism=30", *given)
        assert ran.code == 0, problems(ran)
        return ran

    def plan(self, **variables: str) -> Ran:
        """Plan; code 0 is 'no changes', 2 is 'changes'."""
        given = [f"-var={k}={v}" for k, v in variables.items()]
        ran = self.run("plan", "-detailed-exitcode", "-json", "-parallelism=30", *given)
        assert ran.code in (0, 2), problems(ran)
        return ran

    def destroy(self, **variables: str) -> Ran:
        """Destroy; it must succeed."""
        given = [f"-var={k}={v}" for k, v in variables.items()]
        ran = self.run("destroy", "-auto-approve", "-json", "-parallelism=30", *given)
        assert ran.code == 0, problems(ran)
        return ran

    def state(self) -> list[dict[str, Any]]:
        """The managed resources in the state, with their values."""
        shown = json.loads(self.run("show", "-json").output)
        found = shown.get("values", {}).get("root_module", {}).get("resources", [])
        return [r for r in found if r["mode"] == "managed"]


def problems(ran: Ran) -> str:
    """The diagnostics of a command, or all that it said."""
    found = [e["diagnostic"] for e in ran.events if "diagnostic" in e]
    said = [f"{d['severity']}: {d['summary']}: {d.get('detail', '')}" for d in found]
    return "\n".join(said) or ran.output

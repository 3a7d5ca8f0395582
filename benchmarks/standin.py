"""The Cloud API stand-in: start-up, operations, 500 namespaces, memory.

The figures of the issue: start-up under 0.4 s, memory under 120 MB, an operation over in under
50 ms without the mirror and 600 ms with it, and list, get and plan that stay linear.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import psutil
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.namespace.v1 import message_pb2 as namespace

from tprov_kernel.toolchain import Toolchain, find_toolchain

STARTS = 9
OPERATIONS = 15
MANY = 500
PATH = "/temporal.api.cloud.cloudservice.v1.CloudService"


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def _process(argv: list[str], port: int) -> Iterator[tuple[float, int]]:
    """Run a program; gives the seconds until it took connections, and its process id."""
    began = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        time.sleep(0.002)
    try:
        yield time.perf_counter() - began, process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def _standin(home: Path, *extra: str) -> Iterator[tuple[float, int, int]]:
    port = _free_port()
    argv = [
        *(sys.executable, "-m", "tprov_kernel.standin", "--port", str(port)),
        *("--db", str(home / "db"), "--key-file", str(home / "key"), *extra),
    ]
    with _process(argv, port) as (seconds, pid):
        yield seconds, pid, port


Call = Callable[[str, Any], Awaitable[Any]]


@contextlib.asynccontextmanager
async def _api(home: Path, port: int) -> AsyncIterator[Call]:
    metadata = (("authorization", f"Bearer {(home / 'key').read_text().strip()}"),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:

        async def call(method: str, request: Any) -> Any:
            rpc = channel.unary_unary(
                f"{PATH}/{method}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=getattr(rr, f"{method}Response").FromString,
            )
            return await rpc(request, metadata=metadata, timeout=30)

        yield call


async def _create(call: Call, name: str) -> float:
    """Make a namespace; the seconds until its operation was over."""
    spec = namespace.NamespaceSpec(name=name, regions=["aws-us-east-1"], retention_days=7)
    spec.api_key_auth.enabled = True
    began = time.perf_counter()
    answer = await call("CreateNamespace", rr.CreateNamespaceRequest(spec=spec))
    asked = rr.GetAsyncOperationRequest(async_operation_id=answer.async_operation.id)
    while True:
        operation = (await call("GetAsyncOperation", asked)).async_operation
        if operation.HasField("finished_time"):
            return time.perf_counter() - began
        await asyncio.sleep(0.001)


def _spread(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds) * 1e3:.0f} ms, most {max(seconds) * 1e3:.0f} ms"


def _megabytes(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def _plan(home: Path, port: int, tools: Toolchain, count: int) -> float:
    """Plan so many namespaces, unchanged: the seconds it takes."""
    folder = home / f"plan-{count}"
    folder.mkdir()
    (folder / "main.tf").write_text(
        """
terraform {
  required_providers {
    temporalcloud = { source = "temporalio/temporalcloud" }
  }
}
locals {
  names = toset([for n in range(COUNT) : format("n%04d", n)])
}
import {
  for_each = local.names
  to       = temporalcloud_namespace.all[each.key]
  id       = "${each.key}.tprov"
}
resource "temporalcloud_namespace" "all" {
  for_each       = local.names
  name           = each.key
  regions        = ["aws-us-east-1"]
  retention_days = 7
  api_key_auth   = true
}
""".replace("COUNT", str(count))
    )
    rc = folder / "rc"
    rc.write_text(tools.cli_config())
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TF_CLI_CONFIG_FILE": str(rc),
        "TEMPORAL_CLOUD_ENDPOINT": f"127.0.0.1:{port}",
        "TEMPORAL_CLOUD_API_KEY": (home / "key").read_text().strip(),
        "TEMPORAL_CLOUD_ALLOW_INSECURE": "true",
    }

    def terraform(*words: str) -> float:
        began = time.perf_counter()
        argv = [*tools.terraform.argv, *words]
        subprocess.run(argv, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    terraform("init")
    return min(terraform("plan") for _ in range(3))


async def _many(home: Path, port: int, tools: Toolchain) -> None:
    async with _api(home, port) as call:
        made = 0
        for count in (MANY // 2, MANY):
            while made < count:
                await _create(call, f"n{made:04}")
                made += 1
            began = time.perf_counter()
            token, seen = "", 0
            while True:
                page = await call("GetNamespaces", rr.GetNamespacesRequest(page_token=token))
                seen += len(page.namespaces)
                token = page.next_page_token
                if not token:
                    break
            listed = time.perf_counter() - began
            assert seen == count
            began = time.perf_counter()
            for number in range(count):
                await call("GetNamespace", rr.GetNamespaceRequest(namespace=f"n{number:04}.tprov"))
            got = (time.perf_counter() - began) / count
            planned = await asyncio.to_thread(_plan, home, port, tools, count)
            print(
                f"  {count} namespaces: list {listed * 1e3:.0f} ms, get {got * 1e3:.2f} ms each,"
                f" plan {planned:.2f} s"
            )


async def _operations(home: Path, port: int) -> str:
    async with _api(home, port) as call:
        return _spread([await _create(call, f"o{n}") for n in range(OPERATIONS)])


async def measure() -> None:
    """Print the figures."""
    tools = find_toolchain()
    with tempfile.TemporaryDirectory() as scratch:
        homes = [Path(scratch) / n for n in ("starts", "many", "mirror")]
        for home in homes:
            home.mkdir()
        starts = []
        for _ in range(STARTS):
            with _standin(homes[0]) as (seconds, _pid, _port):
                starts.append(seconds)
        print(f"  start-up: {_spread(starts)} (at most 400)")

        with _standin(homes[0]) as (_, _pid, port):
            print(f"  operation: {await _operations(homes[0], port)} (at most 50)")
        with _standin(homes[1]) as (_, pid, port):
            await _many(homes[1], port, tools)
            print(f"  memory with {MANY} namespaces: {_megabytes(pid):.0f} MB (at most 120)")

        server = _free_port()
        argv = [*tools.temporal.argv, "server", "start-dev", "--headless", "--log-level", "error"]
        with (
            _process([*argv, "--port", str(server)], server),
            _standin(homes[2], "--temporal", f"127.0.0.1:{server}") as (_, pid, port),
        ):
            print(f"  mirrored operation: {await _operations(homes[2], port)} (at most 600)")
            print(f"  memory with the mirror: {_megabytes(pid):.0f} MB (at most 120)")


if __name__ == "__main__":
    asyncio.run(measure())

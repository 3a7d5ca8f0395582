"""Asks every service at this moment: is it there, who is it, how long does it take?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from temporalio.api.common.v1 import Payload
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client

from tprov_kernel.cloud import CloudClient
from tprov_kernel.errors import TprovError
from tprov_kernel.process import Guard, clean_environment, run
from tprov_kernel.registration import known_attributes, what_is_missing
from tprov_kernel.settings import Settings
from tprov_kernel.terraform import terraform_variables
from tprov_kernel.toolchain import Toolchain
from tprov_kernel.widgets.panel import PanelRow
from tprov_kernel.workers import pollers

START_WORKER = "Start it again with `lab.restart_worker()`."

LIMIT = timedelta(seconds=3)

LIMIT_OF_INIT = 60.0
"""Seconds; the provider may come from its registry."""


class StoppedWorker(TprovError):
    """Nobody works on this kernel's queue."""


async def ask_everybody(client: Client, settings: Settings, *, worker_runs: bool) -> list[PanelRow]:
    """Ask server, worker, Cloud API and codec server, all at once; none of them raises.

    Args:
        client: Connected to the server.
        settings: Where everybody is.
        worker_runs: Whether this kernel's worker polls; the server remembers one for minutes.
    """

    async def server() -> str:
        info = await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=LIMIT)
        return f"{settings.address}, server {info.server_version}"

    async def worker() -> str:
        if not worker_runs:
            raise StoppedWorker("this kernel's worker is stopped", remedy=START_WORKER)
        # One that was started a moment ago is on its way to the server.
        until = time.monotonic() + LIMIT.total_seconds()
        while not (who := await pollers(client, settings.task_queue)):
            if time.monotonic() > until:
                raise StoppedWorker(f"nobody polls {settings.task_queue}", remedy=START_WORKER)
            await asyncio.sleep(0.05)
        return f"{', '.join(sorted({*who}))} polls {settings.task_queue}"

    async def cloud() -> str:
        account = await CloudClient(settings.cloud).check()
        kind = "stand-in" if settings.cloud.is_stand_in else settings.cloud.kind
        return f"{settings.cloud.endpoint}, account {account.id} ({kind})"

    async def codec() -> str:
        return await _decode_one(client, settings.codec_url)

    async def attributes() -> str:
        known = await known_attributes(client)
        if known is None:
            return "this server does not tell; the README has the command that registers them"
        if missing := what_is_missing(known):
            raise missing
        return "all of ours are known"

    checks = {"Temporal server": server, "Worker": worker, "Cloud API": cloud}
    if settings.codec_url:
        checks["Codec server"] = codec
    if settings.target == "remote":  # ours is told of them each time it starts
        checks["Search attributes"] = attributes
    return list(await asyncio.gather(*(_row(name, ask) for name, ask in checks.items())))


async def _row(name: str, ask: Callable[[], Awaitable[str]]) -> PanelRow:
    began = time.perf_counter()
    try:
        detail = await ask()
    except TprovError as error:
        return PanelRow(name=name, state="missing", detail=error.message, remedy=error.remedy)
    except Exception as error:  # whatever it is, it is this row's answer
        return PanelRow(name=name, state="missing", detail=str(error), remedy="Run `tprov doctor`.")
    return PanelRow(name=name, detail=f"{detail}, {1000 * (time.perf_counter() - began):.0f} ms")


async def _decode_one(client: Client, url: str) -> str:
    """Have the codec server decode a payload that this kernel has just encoded."""
    import aiohttp
    from google.protobuf import json_format

    codec = client.data_converter.payload_codec
    plain = Payload(metadata={"encoding": b"json/plain"}, data=b'"hello"')
    payload = (await codec.encode([plain]))[0] if codec else plain
    body = {"payloads": [json_format.MessageToDict(payload)]}
    limit = aiohttp.ClientTimeout(total=LIMIT.total_seconds())
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.post(f"{url.rstrip('/')}/decode", json=body) as answer,
    ):
        answer.raise_for_status()
        decoded = json_format.ParseDict((await answer.json())["payloads"][0], Payload())
    if decoded.data != plain.data:
        raise RuntimeError("it decodes with another key")
    return f"{url}, decodes what this kernel encrypts"


CONFIGURATION = """terraform {
  required_providers {
    temporalcloud = { source = "temporalio/temporalcloud" }
  }
}
"""


async def versions(settings: Settings, toolchain: Toolchain, guard: Guard) -> str:
    """Have each program say who it is: as if typed in a terminal, with the answers.

    Raises:
        ToolError: One cannot be started.
    """
    commands = {
        "terraform version": (*toolchain.terraform.argv, "version"),
        "opa version": (*toolchain.opa.argv, "version"),
        "temporal --version": (*toolchain.temporal.argv, "--version"),
    }
    with TemporaryDirectory(prefix="tprov-") as folder:
        here = Path(folder)
        # Terraform tells a provider's version where it is installed.
        (here / "main.tf").write_text(CONFIGURATION)
        config = here / "terraform.rc"
        config.write_text(toolchain.cli_config())
        env = clean_environment(extra=terraform_variables(cli_config=config, suffix=""))
        init = (*toolchain.terraform.argv, "init", "-no-color", "-input=false")
        await run(guard, init, cwd=here, env=env, timeout=LIMIT_OF_INIT)
        told: list[str] = []
        for typed, argv in commands.items():
            done = await run(guard, argv, cwd=here, env=env, timeout=LIMIT_OF_INIT)
            words = (done.stdout or done.stderr).decode(errors="replace").strip()
            if typed.startswith("opa"):  # which goes on to tell how it was built
                words = words.partition("\n")[0]
            told.append(f"$ {typed}\n{words}")
    return "\n\n".join(told)

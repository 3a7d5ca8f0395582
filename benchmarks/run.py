"""One run at pace 0 against bare Terraform on the same stack, a namespace and a user, in turn.

Bare: init, plan, show, apply, output, each command as a person would type it, with the same
Terraform, provider, mirror and Cloud API. The run adds Temporal, policy, sealing and redaction.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from tprov_kernel import runs
from tprov_kernel.activities import Activities
from tprov_kernel.connect import build_worker, connect
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.process import Guard, clean_environment, run
from tprov_kernel.services import local_settings, open_services
from tprov_kernel.terraform import cloud_variables, terraform_variables
from tprov_kernel.toolchain import find_toolchain

CONFIG = Path(__file__).parent / "terraform" / "namespace_and_user"
ROUNDS = 7


async def measure(rounds: int = ROUNDS) -> None:
    """Print both medians and the ratio, pair by pair."""
    guard, tools = Guard(), find_toolchain()
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        services = await open_services(
            home,
            kind="notebook",
            guard=guard,
            toolchain=tools,
            prefer_well_known_ports=False,
            root=root,
        )
        settings = local_settings(services.info, root=root, home=home, environ={})
        keys = KeyRing.load_or_create(settings.key_ring)
        client = await connect(settings, keys)
        activities = Activities(settings=settings, toolchain=tools, key_ring=keys, guard=guard)
        rc = home / "bench.rc"
        rc.write_text(tools.cli_config())

        async def bare(number: int) -> float:
            place = Path(scratch) / f"bare-{number}"
            shutil.copytree(CONFIG, place)
            env = clean_environment(
                extra={
                    **terraform_variables(cli_config=rc, suffix=f"b{number}"),
                    **cloud_variables(settings.cloud),
                }
            )
            began = time.perf_counter()
            for args in (
                ["init", "-input=false"],
                ["plan", "-input=false", "-out=p"],
                ["show", "-json", "p"],
                ["apply", "-input=false", "p"],
                ["output", "-json"],
            ):
                done = await run(guard, [*tools.terraform.argv, *args], cwd=place, env=env)
                assert done.returncode == 0, done.stderr.decode()
            return time.perf_counter() - began

        async def ours(number: int) -> tuple[float, int]:
            began = time.perf_counter()
            handle = await runs.start_run(
                client,
                stack=f"ours-{number}",
                directory=CONFIG,
                key_ring=keys,
                task_queue=settings.task_queue,
            )
            result = await handle.result()
            took = time.perf_counter() - began
            assert result.status == "applied", result
            return took, (await handle.describe()).history_length

        async with build_worker(client, activities, task_queue=settings.task_queue):
            await bare(900)
            await ours(900)
            pairs = []
            for number in range(rounds):
                plain = await bare(number)
                took, events = await ours(number)
                pairs.append((took, plain, took / plain))
        await services.close()
    guard.close()
    took, plain, ratio = (statistics.median(column) for column in zip(*pairs, strict=True))
    low, high = min(p[2] for p in pairs), max(p[2] for p in pairs)
    print(
        f"one run, pace 0:      {took:.2f} s; bare terraform {plain:.2f} s;"
        f" ratio {ratio:.3f} ({low:.3f} to {high:.3f}, {rounds} pairs), {events} history events"
        " [at most 1.10]"
    )


if __name__ == "__main__":
    asyncio.run(measure())

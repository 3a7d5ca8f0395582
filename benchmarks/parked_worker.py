"""A worker for runs that wait: the first run's steps are the real ones, every other's answer alike.

Terraform and OPA are not what is measured here, and 500 real plans would take minutes. It ends when
its standard input does: with the benchmark that started it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tprov_kernel.activities import Activities
from tprov_kernel.connect import build_worker, connect
from tprov_kernel.messages import (
    ApplyJob,
    ApplyResult,
    InitJob,
    InitResult,
    OutputJob,
    OutputResult,
    PlanJob,
    PlanResult,
    PolicyJob,
    Verdict,
)
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.process import Guard
from tprov_kernel.services import attach, local_settings
from tprov_kernel.toolchain import find_toolchain


async def work(home: Path, task_queue: str) -> None:
    info = await attach(home)
    assert info is not None
    settings = local_settings(info, root=Path(__file__).parents[1], home=home, environ={})
    keys, guard = KeyRing.load_or_create(settings.key_ring), Guard()
    steps = Activities(settings=settings, toolchain=find_toolchain(), key_ring=keys, guard=guard)
    planned: list[PlanResult] = []
    judged: list[Verdict] = []

    async def terraform_init(job: InitJob) -> InitResult:
        return InitResult(done=True)

    async def terraform_plan(job: PlanJob) -> PlanResult:
        if not planned:
            planned.append(await steps.terraform_plan(job))
        return planned[0]

    async def evaluate_policy(job: PolicyJob) -> Verdict:
        if not judged:
            judged.append(await steps.evaluate_policy(job))
        return judged[0]

    async def terraform_apply(job: ApplyJob) -> ApplyResult:
        return ApplyResult(added=1, changed=0, destroyed=0)

    async def terraform_output(job: OutputJob) -> OutputResult:
        return OutputResult(outputs={})

    functions = (terraform_init, terraform_plan, evaluate_policy, terraform_apply, terraform_output)
    client = await connect(settings, keys)
    replaced = {function.__name__: function for function in functions}
    async with build_worker(client, steps, task_queue=task_queue, replaced=replaced):
        print("polling", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    guard.close()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2]))

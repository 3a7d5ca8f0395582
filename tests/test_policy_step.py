"""The step that judges a plan: whatever is broken is one sentence, and never 'allowed'.

And whatever is repaired lets the run go on: what may pass is tried again by itself, what a person
has to mend waits for that.
"""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from tests.conftest import ROOT, Platform
from tests.test_workflow import ADMIN, asks, start, until
from tprov_kernel import runs
from tprov_kernel.activities import Activities
from tprov_kernel.connect import build_worker
from tprov_kernel.errors import DecisionRefused
from tprov_kernel.messages import PlanJob, PlanResult, PolicyJob, Status, Verdict
from tprov_kernel.observe import RunView
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.process import Guard
from tprov_kernel.settings import Settings
from tprov_kernel.stacks import take_snapshot
from tprov_kernel.toolchain import Tool, Toolchain

pytestmark = pytest.mark.timeout(90)

SMALL = 'variable "name_suffix" {}\nresource "terraform_data" "a" {\n  input = "x"\n}\n'


class Bench:
    """The steps of one stack, run as a worker runs them, without a server."""

    def __init__(self, home: Path, toolchain: Toolchain, guard: Guard) -> None:
        self.policies = home / "policies"
        shutil.copytree(ROOT / "policies", self.policies)
        self.keys = KeyRing.in_memory()
        self.toolchain, self.guard = toolchain, guard
        self.settings = Settings(
            target="local", root=ROOT, home=home, address="127.0.0.1:9", policies=self.policies
        )
        self.directory = home / "directory"
        self.directory.mkdir()

    def steps(self, **changes: Any) -> Activities:
        """A worker's steps, with some of what it has exchanged."""
        given = {"settings": self.settings, "toolchain": self.toolchain, "guard": self.guard}
        return Activities(key_ring=self.keys, **{**given, **changes})

    async def plan(self, source: str) -> tuple[PlanJob, PlanResult]:
        """Plan a configuration."""
        (self.directory / "main.tf").write_text(source)
        snapshot = take_snapshot(self.directory, variables={}, key_ring=self.keys)
        job = PlanJob(
            stack="bench", snapshot=snapshot, suffix="x", action="provision", heartbeat=30
        )
        return job, await ActivityEnvironment().run(self.steps().terraform_plan, job)

    async def judge(self, job: PlanJob, plan: PlanResult, **changes: Any) -> Verdict:
        """Judge a plan."""
        asked = PolicyJob(
            stack=job.stack,
            snapshot=job.snapshot,
            suffix=job.suffix,
            plan=plan.plan,
            heartbeat=job.heartbeat,
        )
        return await ActivityEnvironment().run(self.steps(**changes).evaluate_policy, asked)

    def opa(self, body: str) -> Toolchain:
        """Tools with an `opa` of one's own: a shell script; `$OPA` in it is the real one."""
        path = self.settings.home / "opa"
        real = shlex.join(self.toolchain.opa.argv)
        path.write_text(f'#!/bin/sh\nOPA="{real}"\n[ "$1" = eval ] || exec $OPA "$@"\n{body}\n')
        path.chmod(0o700)
        return with_opa(self.toolchain, str(path))


def with_opa(toolchain: Toolchain, path: str) -> Toolchain:
    """Tools with another `opa`."""
    other: Tool = replace(toolchain.opa, argv=(path,))
    return replace(toolchain, opa=other)


@pytest.fixture
def bench(tmp_path: Path, toolchain: Toolchain, guard: Guard) -> Bench:
    """A place of the test's own."""
    return Bench(tmp_path, toolchain, guard)


def is_a_sentence(error: ApplicationError, kind: str, *, is_tried_again: bool) -> None:
    """One line that ends with a full stop, a remedy, the kind of error, and what Temporal does."""
    assert error.type == kind
    assert error.non_retryable is not is_tried_again
    assert error.message.endswith((".", "…"))
    assert "\n" not in error.message
    assert error.details[0], "a remedy"


# --- the policies ----------------------------------------------------------------------------


async def test_a_syntax_error(bench: Bench) -> None:
    """File, line and what is wrong; only a person can help."""
    job, plan = await bench.plan(SMALL)
    (bench.policies / "rules" / "mine.rego").write_text("package tprov.rules.mine\n\nnot rego\n")
    with pytest.raises(ApplicationError, match=r"rules/mine\.rego:3: ") as raised:
        await bench.judge(job, plan)
    is_a_sentence(raised.value, "PolicyError", is_tried_again=False)
    (bench.policies / "rules" / "mine.rego").unlink()
    assert (await bench.judge(job, plan)).bundle_digest


async def test_an_empty_bundle(bench: Bench) -> None:
    """Without a policy nothing is allowed; with them back it is judged."""
    job, plan = await bench.plan(SMALL)
    shutil.rmtree(bench.policies)
    bench.policies.mkdir()
    with pytest.raises(ApplicationError, match="without one nothing is allowed") as raised:
        await bench.judge(job, plan)
    is_a_sentence(raised.value, "PolicyError", is_tried_again=False)
    shutil.copytree(ROOT / "policies", bench.policies, dirs_exist_ok=True)
    assert (await bench.judge(job, plan)).bundle_digest


# --- opa -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("exec sleep 600", "opa did not end within"),
        ("kill -9 $$", "OPA was ended by signal 9"),
        ("exit 3", "exit code 3 and no answer"),
    ],
)
async def test_an_opa_that_hangs_or_dies(bench: Bench, body: str, words: str) -> None:
    """Temporal tries again by itself: with an OPA that works the same job is judged."""
    job, plan = await bench.plan(SMALL)
    with pytest.raises(ApplicationError, match=words) as raised:
        await bench.judge(job, plan, toolchain=bench.opa(body), policy_timeout=0.2)
    is_a_sentence(raised.value, "ToolError", is_tried_again=True)
    assert (await bench.judge(job, plan)).bundle_digest


async def test_an_opa_that_is_missing(bench: Bench) -> None:
    """The same."""
    job, plan = await bench.plan(SMALL)
    with pytest.raises(ApplicationError, match="opa cannot be started") as raised:
        await bench.judge(job, plan, toolchain=with_opa(bench.toolchain, "/no/such/opa"))
    is_a_sentence(raised.value, "ToolError", is_tried_again=True)


# --- the plan --------------------------------------------------------------------------------


def large(count: int) -> str:
    """A configuration of that many resources, whose plan hardly compresses."""
    return f"""
variable "name_suffix" {{}}
resource "terraform_data" "a" {{
  count = {count}
  input = join("", [for i in range(40) : sha512("${{count.index}} ${{i}}")])
}}
"""


SIZE = """# METADATA
# scope: package
# title: Size
# custom:
#   level: advisory
#   remedy: None.
package tprov.rules.size

about := rego.metadata.chain()

findings contains {"address": "", "message": sprintf("%d", [count(json.marshal(input))])}
"""


async def test_a_plan_of_5_mb_is_judged(bench: Bench) -> None:
    """It goes through OPA whole."""
    source = large(100).replace("sha512(", 'format("%0128s", ')
    job, plan = await bench.plan(source.replace("range(40)", "range(200)"))
    assert len(plan.plan.sealed) < 1_200_000
    (bench.policies / "rules" / "size.rego").write_text(SIZE)
    verdict = await bench.judge(job, plan)
    (found,) = [f for f in verdict.findings if f.rule == "size"]
    assert int(found.message) > 5_000_000


async def test_a_plan_past_the_bound_says_so(bench: Bench) -> None:
    """It would not fit into a payload: a smaller one of the same stack is planned and judged."""
    with pytest.raises(ApplicationError, match="MB") as raised:
        await bench.plan(large(400))
    is_a_sentence(raised.value, "TooLarge", is_tried_again=False)
    job, plan = await bench.plan(SMALL)
    assert (await bench.judge(job, plan)).bundle_digest


# --- runs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "opa cannot be started"),
        ("exec sleep 600", "opa did not end within"),
        ("kill -9 $$", "OPA was ended by signal 9"),
    ],
    ids=["is missing", "hangs", "dies"],
)
async def test_a_run_goes_on_when_opa_works_again(
    platform: Platform, tmp_path: Path, body: str, words: str
) -> None:
    """Until then the run says so, tries again by itself, and loses nothing; then it asks."""
    path = tmp_path / "opa"
    if body:
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o700)
    queue = f"opa-{len(body)}"
    settings = replace(platform.settings, task_queue=queue)
    activities = Activities(
        settings=settings,
        toolchain=with_opa(platform.toolchain, str(path)),
        key_ring=platform.keys,
        guard=platform.guard,
        policy_timeout=0.2,
    )
    client = await platform.client()
    async with build_worker(client, activities, task_queue=queue):
        handle = await start(client, settings, platform, queue, ADMIN)
        view = await until(client, handle, lambda v: v.step("policy").failure != "")
        assert words in view.step("policy").failure
        assert not view.closed
        path.unlink(missing_ok=True)
        path.symlink_to(platform.toolchain.opa.argv[0])
        view = await until(client, handle, asks)
        assert view.status == Status.AWAITING_APPROVAL
        await runs.decide(handle, "deny", reason="")
        await handle.result()


async def test_a_run_with_a_plan_of_5_mb_asks(platform: Platform, tmp_path: Path) -> None:
    """It is judged, shown as far as a view may be large, and waits for a decision."""
    source = large(100).replace("sha512(", 'format("%0128s", ')
    (tmp_path / "main.tf").write_text(source.replace("range(40)", "range(200)"))
    client = await platform.client()
    async with platform.worker(client, task_queue="five-mb") as settings:
        handle = await start(client, settings, platform, "five-mb", tmp_path)
        view = await until(client, handle, asks)
        assert view.review is not None
        assert view.review.summary == "100 to add, 0 to change, 0 to destroy"
        assert len(view.review.findings) == 100
        await runs.decide(handle, "deny", reason="")
        assert (await handle.result()).status == Status.REJECTED


async def test_a_plan_past_the_bound_waits_for_a_smaller_one(
    platform: Platform, tmp_path: Path
) -> None:
    """The run says so and waits; the same again is no smaller; a smaller one goes on."""
    (tmp_path / "main.tf").write_text(large(400))
    client = await platform.client()
    async with platform.worker(client, task_queue="too-large") as settings:
        handle = await start(client, settings, platform, "too-large", tmp_path)
        for attempt in (1, 2):
            view = await until(client, handle, partial(_too_large, times=attempt))
            assert view.step("plan").failure.startswith("The plan is ")
            assert "at most 1.2 MB can travel with a run." in view.step("plan").failure
            with pytest.raises(DecisionRefused, match="it is planning"):
                await runs.decide(handle, "approve", reason="never mind")
            if attempt == 1:
                assert await runs.recheck(handle) == "Trying again."
        (tmp_path / "main.tf").write_text(SMALL)
        await runs.replan(client, handle, directory=tmp_path, key_ring=platform.keys)
        view = await until(client, handle, asks)
        assert view.review is not None
        assert view.review.summary == "1 to add, 0 to change, 0 to destroy"
        with pytest.raises(DecisionRefused, match="nothing waits to be mended"):
            await runs.recheck(handle)
        await runs.decide(handle, "approve", reason="small enough")
        assert (await handle.result()).status == Status.APPLIED


async def test_what_could_not_be_judged_may_be_planned_anew(
    platform: Platform, tmp_path: Path
) -> None:
    """Instead of a recheck: the policies are mended, and another snapshot takes its place."""
    policies, directory = tmp_path / "policies", tmp_path / "directory"
    shutil.copytree(ROOT / "policies", policies)
    (policies / "mistake.rego").write_text("this is no rego\n")
    directory.mkdir()
    (directory / "main.tf").write_text(SMALL)
    client = await platform.client()
    async with platform.worker(client, task_queue="anew", policies=policies) as settings:
        handle = await start(client, settings, platform, "anew", directory)
        view = await until(client, handle, failed_to_judge)
        assert "mistake.rego:1" in view.step("policy").failure
        (policies / "mistake.rego").unlink()
        (directory / "main.tf").write_text(SMALL.replace('"x"', '"y"'))
        await runs.replan(client, handle, directory=directory, key_ring=platform.keys)
        view = await until(client, handle, asks)
        assert view.plan is not None
        assert {a.after for a in view.plan.changes[0].attributes if a.name == "input"} == {'"y"'}
        await runs.decide(handle, "deny", reason="")
        await handle.result()


def _too_large(view: RunView, times: int) -> bool:
    """Whether the plan was too large so often, and is not made again by itself."""
    told = view.step("plan")
    return told.state == "failed" and [span.kind for span in told.spans].count("failed") == times


async def test_policies_that_are_gone_at_apply_apply_nothing(
    platform: Platform, tmp_path: Path
) -> None:
    """Approved, then the bundle is emptied: the run waits for it to be mended, and asks anew."""
    policies = tmp_path / "policies"
    shutil.copytree(ROOT / "policies", policies)
    client = await platform.client()
    async with platform.worker(client, task_queue="gone", policies=policies) as settings:
        handle = await start(client, settings, platform, "gone", ADMIN)
        await until(client, handle, asks)
        shutil.move(policies, tmp_path / "aside")
        await runs.decide(handle, "approve", reason="as reviewed")
        view = await until(client, handle, failed_to_judge)
        assert not view.closed
        assert "no policy in" in view.step("policy").failure
        shutil.move(tmp_path / "aside", policies)
        await runs.recheck(handle)
        result = await handle.result()
        assert result.status == Status.APPLIED, "what was approved covers the same plan"


def failed_to_judge(view: Any) -> bool:
    """Whether the last thing that happened is that the policies could not judge."""
    return bool(view.step("policy").state == "failed")

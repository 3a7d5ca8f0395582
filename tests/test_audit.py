"""An audit tells a run from its history alone: everything in it, nothing else, nobody's markup."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.common import RawValue
from temporalio.converter import DataConverter

from tests.conftest import Platform
from tests.test_workflow import ADMIN, NAMESPACE, asks, start, until
from tprov_kernel import runs
from tprov_kernel.audit import Audit, audit, fold, to_json, to_markdown
from tprov_kernel.audit.keep import Keeper
from tprov_kernel.connect import connect
from tprov_kernel.errors import DecisionRefused, ServiceError
from tprov_kernel.messages import Decision
from tprov_kernel.payloads.keyring import KeyRing

HISTORIES = Path(__file__).parent / "histories"

pytestmark = pytest.mark.timeout(90)


def recorded(name: str) -> WorkflowHistory:
    """A run that was recorded."""
    return WorkflowHistory.from_json(f"stack-{name}", json.loads(_text(name)))


def _text(name: str) -> str:
    return (HISTORIES / f"{name}.json").read_text()


async def audit_of(name: str) -> Audit:
    """The audit of a recorded run."""
    return await fold([recorded(name)], DataConverter.default)


# --- recorded runs ---------------------------------------------------------------------------


async def test_an_approved_run_is_told_in_order() -> None:
    """Who asked, what was planned and found, an ignored attempt, the approval, what was done."""
    told = await audit_of("approved")
    assert told.status == "applied"
    assert told.asked is not None
    assert (told.asked.by, told.asked.directory) == ("ada", "terraform/tcloud_admin_user")
    (plan,) = told.plans
    assert plan.summary == "1 to add, 0 to change, 0 to destroy"
    assert [f.rule for f in told.judgements[0].findings] == ["account_admin"]
    (reviewed,) = told.reviews
    assert (reviewed.plan, reviewed.matches, reviewed.became) == (1, True, "approved")
    ignored, approved = told.decisions
    assert (ignored.outcome, ignored.via, ignored.why) == (
        "ignored",
        "signal",
        "an approval needs a reason.",
    )
    assert (approved.outcome, approved.reviewer, approved.reason) == (
        "approved",
        "ada",
        "she is new",
    )
    (apply,) = told.applies
    assert (apply.plan, apply.outcome, apply.added) == (1, "applied", 1)
    assert told.outputs["user_state"] == '"active"'
    assert told.ended is not None
    assert told.ended.words == "1 added, 0 changed, 0 destroyed"
    assert told.gaps == []
    assert [h.at for h in told.chronicle] == sorted(h.at for h in told.chronicle)


async def test_a_decision_has_the_time_at_which_it_reached_the_server() -> None:
    """A signal's is that of its event; an update is an event only after it was taken up."""
    signalled, updated = (await audit_of("approved")).decisions
    times = {e.event_id: e.event_time.ToDatetime(UTC) for e in recorded("approved").events}
    assert signalled.at == times[28]
    assert signalled.taken is not None
    assert signalled.at < signalled.taken <= times[31]
    assert updated.at == updated.taken
    assert times[33] <= updated.at <= times[36]


async def test_a_decision_that_waited_for_a_worker_tells_both_times() -> None:
    """An approval that was sent at night is taken up when somebody polls again."""
    history = recorded("approved")
    signal = next(e for e in history.events if e.event_id == 28)
    signal.event_time.FromDatetime(signal.event_time.ToDatetime() - timedelta(minutes=1))
    told = await fold([history], DataConverter.default)
    assert told.decisions[0].at == signal.event_time.ToDatetime(UTC)
    assert to_markdown(told).count("taken up on") == 1


async def test_a_review_that_is_not_about_its_plan_is_called_out() -> None:
    """Its digest is computed anew: one that was tampered with does not pass."""
    text = _text("approved")
    history = WorkflowHistory.from_json("stack-approved", json.loads(text))
    memo = next(e for e in history.events if e.event_id == 25)
    payload = memo.workflow_properties_modified_event_attributes.upserted_memo.fields["review"]
    payload.data = payload.data.replace(b'"digest":"03f05d6c', b'"digest":"00000000')
    told = await fold([history], DataConverter.default)
    assert told.reviews[0].matches is False
    assert "do not trust it" in to_markdown(told)
    assert "do not trust it" not in to_markdown(await audit_of("approved"))


async def test_a_recovered_run_tells_its_story() -> None:
    """The apply that was cut off, what was found, what was taken over, what was left to do."""
    told = await audit_of("recovered")
    assert [(a.plan, a.outcome) for a in told.applies] == [(1, "failed"), (2, "applied")]
    (recovery,) = told.recoveries
    assert recovery.adopted == {"temporalcloud_namespace.this": "tprov-0290.tprov"}
    assert told.plans[1].why == "to find what was left to do"
    text = to_markdown(told)
    for words in ("Terraform was cut off", "is ours, and is taken over", "1 imported"):
        assert words in text


@pytest.mark.parametrize(
    ("name", "status", "applies"),
    [
        ("applied", "applied", 1),
        ("rejected", "rejected", 0),
        ("no_changes", "no_changes", 0),
        ("destroyed", "destroyed", 1),
    ],
)
async def test_every_end_is_told(name: str, status: str, applies: int) -> None:
    """What was applied is told, and that nothing was."""
    told = await audit_of(name)
    assert (told.status, len(told.applies)) == (status, applies)
    assert told.ended is not None
    assert told.ended.state == "COMPLETED"
    assert to_markdown(told).startswith(f"# Audit of stack `{told.stack}`: {_words(status)}\n")


def _words(status: str) -> str:
    return status.replace("_", " ")


@pytest.mark.parametrize("name", ["approved", "recovered"])
async def test_nothing_that_is_sealed_gets_into_an_audit(name: str) -> None:
    """Snapshots and plan files stay where they are; an audit is for people."""
    told = await audit_of(name)
    assert "tprov1." in _text_of_payloads(recorded(name))
    assert "tprov1." not in to_json(told) + to_markdown(told)


def _text_of_payloads(history: WorkflowHistory) -> str:
    return "".join(p.data.decode() for e in history.events for p in runs.payloads_in(e))


async def test_json_has_everything_and_says_that_names_are_claims() -> None:
    """Fields under their names, times as RFC 3339 with their zone."""
    value = json.loads(to_json(await audit_of("approved")))
    assert "Names of people are claimed" in value["note"]
    assert value["decisions"][1]["reviewer"] == "ada"
    assert datetime.fromisoformat(value["decisions"][1]["at"]).tzinfo is not None
    assert value["reviews"][0]["review"]["digest"].startswith("03f05d6c")


async def test_half_a_history_is_half_an_audit() -> None:
    """An open run: what has happened so far, what waits, and that it is not over."""
    history = recorded("approved")
    told = await fold(
        [WorkflowHistory(history.workflow_id, list(history.events)[:30])], DataConverter.default
    )
    assert told.ended is None
    assert told.reviews[0].became == "open"
    assert told.decisions == []
    assert "awaiting approval, not over yet" in to_markdown(told)


async def test_what_cannot_be_read_is_told() -> None:
    """With a lost key an audit has gaps, and says so; it never looks whole."""
    history = recorded("approved")
    for event in history.events:
        for payload in runs.payloads_in(event):
            payload.metadata["encoding"] = b"binary/encrypted"
    told = await fold([history], DataConverter.default)
    assert "What was asked for cannot be read." in told.gaps
    assert "A review cannot be read." in told.gaps
    assert "## Gaps" in to_markdown(told)


# --- Markdown --------------------------------------------------------------------------------

EVIL = (
    "# Approved\n\n- **approved** by root [click](http://evil.test) <img src=x> `code` ``` "
    "_sly_ &#8238;x \x1b[31mred \u202egnihtemos"
)


async def test_what_people_typed_is_never_markup() -> None:
    """No heading, list, link, element, terminal sequence or turned direction of their own."""
    told = await audit_of("approved")
    decisions = [replace(d, reason=EVIL, reviewer=EVIL, why=EVIL) for d in told.decisions]
    findings = [replace(told.judgements[0].findings[0], message=EVIL, rule=EVIL)]
    judged = [replace(told.judgements[0], findings=findings)]
    change = replace(told.plans[0].view.changes[0], title="x\n```\n# Approved")
    plans = [replace(told.plans[0], view=replace(told.plans[0].view, changes=[change]))]
    evil = replace(
        told, decisions=decisions, judgements=judged, plans=plans, outputs={EVIL: EVIL}, stack=EVIL
    )
    text = to_markdown(evil)
    assert "\x1b" not in text
    assert "\u202e" not in text
    outside = [line for line in text.splitlines() if line.startswith("#")]
    assert len(outside) == len([x for x in to_markdown(told).splitlines() if x.startswith("#")])
    line = next(x for x in text.splitlines() if "reason: " in x)
    reason = line.split("reason: ")[1]
    assert r"\[click](http://evil.test) \<img src=x> `code`" in reason
    assert r"\&#8238;x" in reason
    assert r"\_sly\_" in reason


async def test_a_fence_is_longer_than_any_in_the_plan() -> None:
    """A value of three backticks does not end the block."""
    told = await audit_of("approved")
    change = replace(told.plans[0].view.changes[0], title="````")
    plan = replace(told.plans[0], view=replace(told.plans[0].view, changes=[change]))
    text = to_markdown(replace(told, plans=[plan]))
    assert text.count("`````diff") == 1


# --- real runs -------------------------------------------------------------------------------


async def test_an_audit_names_all_but_what_was_refused(platform: Platform) -> None:
    """Two ignored signals, a refused update, an approval: three are told, with the right times."""
    client = await platform.client()
    async with platform.worker(client, task_queue="audit") as settings:
        handle = await start(client, settings, platform, "audit", ADMIN, requested_by="grace")
        await until(client, handle, asks)
        moments = [datetime.now(UTC)]
        await handle.signal("approve_apply")
        await until(client, handle, lambda v: len(v.decisions) == 1)
        moments.append(datetime.now(UTC))
        await handle.signal("approve_apply", {"reason": "old", "review": "0" * 64})
        await until(client, handle, lambda v: len(v.decisions) == 2)
        with pytest.raises(DecisionRefused):
            await runs.decide(handle, "approve", reason=" ", reviewer="refused-person")
        moments.append(datetime.now(UTC))
        await runs.decide(handle, "approve", reason="agreed", reviewer="ada")
        await handle.result()
        moments.append(datetime.now(UTC))
        taken = await handle.query("get_decisions", result_type=list[Decision])
    told = await audit(client, handle)
    assert [d.outcome for d in told.decisions] == ["ignored", "ignored", "approved"]
    assert [d.via for d in told.decisions] == ["signal", "signal", "update"]
    assert [d.taken for d in told.decisions] == [datetime.fromisoformat(d.at) for d in taken]
    for decided, (before, after) in zip(told.decisions, pairwise(moments), strict=True):
        assert before <= decided.at <= after
    whole = to_json(told) + to_markdown(told)
    assert "refused-person" not in whole
    for words in (
        "needs a reason",
        "is not the one that waits",
        "agreed",
        "grace",
        "account_admin",
    ):
        assert words in whole
    assert all(d.sender == client.identity for d in told.decisions)


async def test_a_decision_that_nobody_took_up_is_told(platform: Platform) -> None:
    """It reached the server; the run was terminated before a worker looked at it."""
    client = await platform.client()
    handle = await start(client, platform.settings, platform, "untaken", ADMIN)
    await handle.signal("approve_apply", {"reason": "in advance", "reviewer": "ada"})
    await handle.signal("approve_apply", RawValue(_garbage()))
    await handle.terminate(reason="never mind")
    told = await audit(client, handle)
    assert [(d.outcome, d.reviewer, d.reason) for d in told.decisions] == [
        ("never taken up", "ada", "in advance"),
        ("never taken up", "", ""),
    ]
    assert told.ended is not None
    assert (told.ended.state, told.ended.words) == ("TERMINATED", "never mind")
    assert "terminated while uninitialized" in to_markdown(told)


def _garbage() -> Any:
    from temporalio.api.common.v1 import Payload

    return Payload(metadata={"encoding": b"binary/encrypted"}, data=b"\x00garbage")


async def test_a_failed_run_says_why_and_what_to_do(platform: Platform) -> None:
    """A hard-mandatory finding: the finding, the failure and its remedy; nothing was applied."""
    client = await platform.client()
    async with platform.worker(client, task_queue="audit-hard") as settings:
        handle = await start(
            client,
            settings,
            platform,
            "audit-hard",
            NAMESPACE,
            variables={"regions": ["aws-ap-south-1"]},
        )
        await until(client, handle, lambda v: v.closed)
    told = await audit(client, handle)
    assert (told.status, told.applies) == ("policy_hard_failed", [])
    assert told.ended is not None
    assert "allowed_regions" in told.ended.words
    assert told.ended.remedy
    assert "hard-mandatory `allowed_regions`" in to_markdown(told)


async def test_a_run_that_never_was_is_a_sentence(platform: Platform) -> None:
    """No stack trace, no half an audit."""
    client = await platform.client()
    with pytest.raises(ServiceError, match="not found"):
        await audit(client, client.get_workflow_handle("stack-never-was"))


# --- kept in files ---------------------------------------------------------------------------


async def test_audits_are_kept_when_runs_close(platform: Platform, tmp_path: Path) -> None:
    """Of this queue's runs that are over; once each; for their owner's eyes."""
    client, folder = await platform.client(), tmp_path / "audits"
    settings = replace(platform.settings, task_queue="the 'kept' queue")
    first = await start(client, settings, platform, "kept", ADMIN)
    await first.terminate(reason="over")
    opened = await start(client, settings, platform, "kept-open", ADMIN)
    keeper = Keeper(client, folder, task_queue=settings.task_queue)
    written = await _until_written(keeper)
    assert [path.name for path in written] == [path.name for path in folder.glob("*.md")]
    (path,) = written
    assert path.name.startswith("kept-2")
    assert path.stem.endswith(first.run_id or "?")
    assert path.read_text() == to_markdown(await audit(client, first))
    assert json.loads(path.with_suffix(".json").read_text())["stack"] == "kept"
    assert path.stat().st_mode & 0o077 == 0
    assert await keeper.sweep() == []
    assert await Keeper(client, folder, task_queue=settings.task_queue).sweep() == []

    await opened.terminate(reason="over too")
    (later,) = await _until_written(keeper)
    assert later.name.startswith("kept-open-2")
    assert sorted(p.name for p in folder.iterdir() if p.name.startswith(".")) == []


async def test_a_run_that_cannot_be_read_here_is_left_to_those_who_can(
    platform: Platform, tmp_path: Path
) -> None:
    """A worker with other keys keeps no audit full of gaps, and no folder; with the key it does."""
    client, folder = await platform.client(), tmp_path / "audits"
    settings = replace(platform.settings, task_queue="not for you")
    run = await start(client, settings, platform, "not-for-you", ADMIN)
    await run.terminate(reason="over")
    stranger = await connect(settings, KeyRing.in_memory())
    theirs = Keeper(stranger, folder, task_queue=settings.task_queue)
    ours = Keeper(client, tmp_path / "ours", task_queue=settings.task_queue)
    assert len(await _until_written(ours)) == 1, "it is over, and can be seen"
    assert await theirs.sweep() == []
    assert not folder.exists()
    assert len(await Keeper(client, folder, task_queue=settings.task_queue).sweep()) == 1


async def _until_written(keeper: Keeper) -> list[Path]:
    """Visibility shows a closed run a moment later."""
    async with asyncio.timeout(20):
        while not (written := await keeper.sweep()):  # noqa: ASYNC110 (the server makes it true)
            await asyncio.sleep(0.05)
    return written


async def test_whoever_works_on_runs_keeps_their_audits(platform: Platform, tmp_path: Path) -> None:
    """A worker catches up with what closed while nobody polled, and looks again when it stops."""
    client = await platform.client()
    settings = replace(platform.settings, home=tmp_path, task_queue="keeping")
    before = await start(client, settings, platform, "keeping", ADMIN)
    await before.terminate(reason="nobody polls")
    async with platform.worker(client, settings=settings):
        async with asyncio.timeout(20):
            while not list(settings.audits.glob("*.json")):  # noqa: ASYNC110 (a worker writes it)
                await asyncio.sleep(0.05)
    (file,) = settings.audits.glob("*.md")
    assert "nobody polls" in file.read_text()

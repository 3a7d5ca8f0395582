"""Signals that nobody should send: halves of characters, hundreds at once, nothing to read."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.converter import PayloadConverter
from temporalio.worker import Replayer

from tests.conftest import Platform
from tests.test_audit import _until_written
from tests.test_workflow import ADMIN, asks, start, until
from tprov_kernel import runs
from tprov_kernel.audit import audit, to_json, to_markdown
from tprov_kernel.audit.keep import Keeper
from tprov_kernel.decisions import (
    MAX_BYTES,
    MAX_IGNORED,
    bounded,
    brief,
    left_out,
    left_out_words,
    read_decision,
)
from tprov_kernel.errors import DecisionRefused
from tprov_kernel.lab.gate import decisions_html, decisions_words
from tprov_kernel.messages import WORKFLOW_TYPE, Decision, DecisionInput, Status
from tprov_kernel.workflow import ProvisionInfraWorkflow

pytestmark = pytest.mark.timeout(120)


def _raw(text: str) -> RawValue:
    """JSON as somebody sends it who does not use our client."""
    return RawValue(Payload(metadata={"encoding": b"json/plain"}, data=text.encode()))


def _read(text: str, name: str = "approve_apply") -> tuple[DecisionInput, str]:
    return read_decision(name, [_raw(text)], PayloadConverter.default)


@pytest.mark.parametrize("field", ["reason", "reviewer", "review"])
def test_half_a_character_is_replaced(field: str) -> None:
    """JSON may hold a lone surrogate; UTF-8, in which everything is kept, may not."""
    given, problem = _read(json.dumps({field: "\ud800 lone \x1b[31m\x07"}))
    assert problem == ""
    assert getattr(given, field) == "\ufffd lone \ufffd"
    bare, _ = _read(json.dumps("\udfff lone"))
    assert bare.reason == "\ufffd lone"


def test_a_strange_name_is_quoted_clean() -> None:
    """What a signal is called is foreign text too, and may be long."""
    _, problem = read_decision("da\x1b[1mnce\ud800" * 100, [], PayloadConverter.default)
    assert problem.encode()
    assert "\x1b" not in problem
    assert len(problem) < 300


INVISIBLE = ["\u200b\u200d\ufeff", " \u00a0\u2003\t\n", "\u2060\x00", "\u3164", "\ud800"]


@pytest.mark.parametrize("text", INVISIBLE)
def test_a_reason_that_nobody_can_read_is_none(text: str) -> None:
    """Zero-width characters, blanks, controls, halves; in an object or bare."""
    assert _read(json.dumps({"reason": text}))[0].reason == ""
    assert _read(json.dumps(text))[0].reason == ""


@pytest.mark.parametrize("text", ["ok", "да", "👍", "é", "👩‍💻"])
def test_a_short_reason_is_one(text: str) -> None:
    """Letters and pictures of any script."""
    assert _read(json.dumps(text))[0].reason == text


def _ignored(number: int, text: str = "") -> Decision:
    return Decision(
        verb="approve",
        outcome="ignored",
        reason=text,
        reviewer=text,
        review="ab" * 32,
        via="signal",
        at="2026-01-01T00:00:00+00:00",
        why=text or "an approval needs a reason.",
        number=number,
    )


@pytest.mark.parametrize("text", ["", "😀" * 1000])
def test_what_is_kept_is_small_and_has_what_took_effect(text: str) -> None:
    """The last ones, and how many came besides; the approval stays, however old and whole."""
    approval = replace(_ignored(1, "x" * 1000), outcome="approved", why="")
    many = [brief(d) for d in (approval, *(_ignored(n, text) for n in range(2, 402)))]
    kept = bounded(many)
    assert kept[0] == approval
    assert kept[-1].number == 401
    assert 1 < len(kept) <= MAX_IGNORED + 1
    assert left_out(kept) == 401 - len(kept)
    assert left_out_words(kept).startswith(f"{401 - len(kept)} more signals were ignored; ")
    assert decisions_words(kept).endswith(left_out_words(kept))
    assert left_out_words(kept) in decisions_html(kept).replace("&#x27;", "'")
    assert left_out_words(many) == ""
    assert len(json.dumps([d.__dict__ for d in kept[1:]])) <= MAX_BYTES + 200
    assert bounded(kept) == kept


async def test_half_a_character_breaks_nothing_downstream(
    platform: Platform, tmp_path: Path
) -> None:
    """The run, its audit in both forms and in files, an update's refusal."""
    client = await platform.client()
    async with platform.worker(client, task_queue="half") as settings:
        handle = await start(client, settings, platform, "half", ADMIN)
        await until(client, handle, asks)
        plain = Client(client.service_client, namespace=client.namespace)
        stranger = plain.get_workflow_handle(handle.id, run_id=handle.run_id)
        await stranger.signal("approve_apply", _raw('{"reason": "", "reviewer": "\\ud800 lone"}'))
        await stranger.signal("approve_apply", _raw('{"reason": "x", "review": "\\ud800 lone"}'))
        with pytest.raises(DecisionRefused, match=r"lone is not the one that waits"):
            await runs.decide(handle, "approve", reason="x", review="\ud800 lone")
        for separators in ("····", " · ", "\u200b"):
            with pytest.raises(DecisionRefused, match="is not the one that waits"):
                await runs.decide(handle, "approve", reason="x", review=separators)
        with pytest.raises(DecisionRefused, match="needs a reason"):
            await runs.decide(handle, "approve", reason="\u200b\u2060")
        await stranger.signal("deny_apply", _raw('{"reason": "\\ud800 no"}'))
        result = await handle.result()
        assert [d.outcome for d in result.decisions] == ["ignored", "ignored", "denied"]
        told = await audit(client, handle)
        assert [d.reason for d in told.decisions] == ["", "x", "\ufffd no"]
        for text in (to_json(told), to_markdown(told)):
            assert text.encode()
        written = await _until_written(Keeper(client, tmp_path, task_queue="half"))
        assert [path.stem[-36:] for path in written] == [handle.run_id]


async def test_a_signal_of_a_reserved_name_is_noted(platform: Platform) -> None:
    """Neither the server nor the SDK keeps `__x` for itself: the run and its audit tell of it."""
    client = await platform.client()
    async with platform.worker(client, task_queue="reserved") as settings:
        handle = await start(client, settings, platform, "reserved", ADMIN)
        await until(client, handle, asks)
        await handle.signal("__x")
        await runs.decide(handle, "deny", reason="no", via="signal")
        result = await handle.result()
    assert [(d.verb, d.outcome) for d in result.decisions] == [
        ("__x", "ignored"),
        ("deny", "denied"),
    ]
    told = await audit(client, handle)
    assert [(d.verb, d.outcome) for d in told.decisions] == [("__x", "ignored"), ("deny", "denied")]
    assert all(d.sender for d in told.decisions)


async def test_one_bad_run_does_not_keep_the_others_from_their_audits(
    platform: Platform, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once, tried again, and the others have their files."""
    client = await platform.client()
    plain = Client(client.service_client, namespace=client.namespace)
    settings = replace(platform.settings, task_queue="one-bad")
    request = {
        "stack": "../\ud800",
        "directory": "x",
        "snapshot": {"sealed": "", "digest": "", "files": 0},
    }
    bad = await plain.start_workflow(
        WORKFLOW_TYPE, _raw(json.dumps(request)), id="stack-one-bad", task_queue="one-bad"
    )
    await bad.terminate(reason="over")
    keeper = Keeper(client, tmp_path, task_queue="one-bad", again=0)
    with caplog.at_level(logging.ERROR, "tprov_kernel.audit.keep"):
        while not caplog.records:
            assert await keeper.sweep() == []
        for stack in ("one-good", "another-good"):
            good = await start(client, settings, platform, stack, ADMIN)
            await good.terminate(reason="over")
            (path,) = await _until_written(keeper)
            assert path.name.startswith(stack)
    (record,) = caplog.records
    assert bad.id in record.getMessage()
    assert len(list(tmp_path.iterdir())) == 4  # noqa: ASYNC240 (a test's own folder)


@pytest.mark.parametrize(
    ("stack", "count", "given"),
    [
        ("flood", 400, None),
        ("pictures", 60, dict.fromkeys(("reason", "reviewer", "review"), "😀" * 1000)),
    ],
)
async def test_a_flood_of_signals_does_not_end_a_run(
    platform: Platform, stack: str, count: int, given: object
) -> None:
    """While no worker polls; then the run still waits, is approved, and all of them are told."""
    client = await platform.client()
    async with platform.worker(client, task_queue=stack) as settings:
        handle = await start(client, settings, platform, stack, ADMIN)
        await until(client, handle, asks)
    for _ in range(count):
        await handle.signal("approve_apply", given)
    async with platform.worker(client, task_queue=stack):
        decisions = await handle.query("get_decisions", result_type=list[Decision])
        assert {d.outcome for d in decisions} == {"ignored"}
        assert len(decisions) + left_out(decisions) == count
        view = await until(client, handle, lambda v: asks(v) and bool(v.decisions))
        assert view.status == Status.AWAITING_APPROVAL
        assert list(view.decisions) == decisions
        await runs.decide(handle, "approve", reason="all the same")
        result = await handle.result()
    assert result.status == Status.APPLIED
    assert result.decisions[-1].outcome == "approved"
    told = await audit(client, handle)
    assert [d.outcome for d in told.decisions] == ["ignored"] * count + ["approved"]
    history = await handle.fetch_history()
    kind = EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED
    memos = [e for e in history.events if e.event_type == kind]
    assert len(memos) <= 4, "the review, the flood (in one or two parts), the approval"
    assert all(e.ByteSize() < 2 * MAX_BYTES for e in memos)
    replayer = Replayer(workflows=[ProvisionInfraWorkflow], data_converter=client.data_converter)
    await replayer.replay_workflow(history)

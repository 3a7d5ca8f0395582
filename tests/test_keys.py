"""Keys are rotated while runs wait, are kept as long as somebody needs them, and may get lost."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.cli.typed import TPROV, Terminal
from tests.conftest import Platform
from tests.test_workflow import ADMIN, asks, start, until
from tprov_kernel import keys, runs
from tprov_kernel.errors import KeyNeeded, SettingsError
from tprov_kernel.messages import Status
from tprov_kernel.observe import RunView
from tprov_kernel.payloads.codec import KEY_ID
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.widgets.parts import banners
from tprov_kernel.widgets.style import adaptive

pytestmark = pytest.mark.timeout(180)


def typed(own: Platform, *words: str) -> tuple[int, str]:
    """A tprov command in a process of its own: its exit code, and all that it said."""
    done = Terminal(own.settings.home).run(*TPROV, *words)
    return done.code, " ".join((done.out + done.err).split())


def shown_by_temporal(own: Platform, workflow_id: str) -> str:
    """The description's own command, through the codec server."""
    done = subprocess.run(
        [
            *(*own.toolchain.temporal.argv, "workflow", "show", "--workflow-id", workflow_id),
            *("--codec-endpoint", own.settings.codec_url, "--output", "json"),
            *("--address", own.settings.address),
        ],
        env={"PATH": "/usr/bin:/bin", "HOME": str(own.settings.home)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    datas = [
        payload.get("data", "")
        for event in json.loads(done.stdout)["events"]
        for payload in _payloads(event)
    ]
    return "\n".join(base64.b64decode(data).decode(errors="replace") for data in datas)


def _payloads(value: object) -> Iterator[dict[str, str]]:
    if isinstance(value, dict):
        if "metadata" in value and "data" in value:
            yield value
        for inner in value.values():
            yield from _payloads(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _payloads(inner)


async def test_a_rotation_while_a_run_waits_for_approval(own: Platform) -> None:
    """Typed elsewhere; worker and codec server notice, the run ends well, the old key is kept.

    It may go only when no open run, no stack and no start under way needs it.
    """
    client = await own.client()
    former = own.keys.active
    async with own.worker(client, task_queue="rotated") as settings:
        handle = await start(client, settings, own, "rotated", ADMIN)
        await until(client, handle, asks)

        code, said = await asyncio.to_thread(typed, own, "keys", "rotate")
        assert code == 0, said
        assert "is the active key" in said
        assert former in said
        code, said = await asyncio.to_thread(typed, own, "keys", "list")
        assert f"{former}" in said
        assert "stack-rotated" in said
        code, said = await asyncio.to_thread(typed, own, "keys", "drop", former, "--yes")
        assert (code, "stack-rotated is open and needs" in said) == (1, True), said

        await runs.decide(handle, "approve", reason="agreed")
        assert (await handle.result()).status == Status.APPLIED
        assert {former, own.keys.active} == await _keys_in(handle)
        decoded = await asyncio.to_thread(shown_by_temporal, own, "stack-rotated")
        assert "undecodable" not in decoded
        assert '"reason":"agreed"' in decoded.replace(" ", "")

        stacks = own.settings.stacks
        with pytest.raises(KeyNeeded, match="Stack rotated holds objects"):
            await keys.drop(client, own.keys, former, stacks=stacks, under_way=0)
        destroying = await runs.start_destroy(client, stack="rotated", task_queue="rotated")
        assert (await destroying.result()).status == Status.DESTROYED
        code, said = await asyncio.to_thread(typed, own, "keys", "drop", own.keys.active, "--yes")
        assert (code, "is the active key" in said) == (1, True), said
        with pytest.raises(KeyNeeded, match="was active until a moment ago"):
            await keys.drop(client, own.keys, former, stacks=stacks, under_way=3600)
        use = await keys.drop(client, own.keys, former, stacks=stacks, under_way=0)
        assert (use.open_runs, use.closed_runs) == (set(), {"stack-rotated"})
        with pytest.raises(SettingsError, match="holds no key"):
            await keys.drop(client, own.keys, former, stacks=stacks, under_way=0)
    code, said = await asyncio.to_thread(typed, own, "status", "rotated")
    assert (code, "rotated destroyed" in said) == (0, True), said


async def _keys_in(handle: runs.RunHandle) -> set[str]:
    events = [event async for event in handle.fetch_history_events()]
    payloads = [p for event in events for p in runs.payloads_in(event)]
    return {p.metadata[KEY_ID].decode() for p in payloads if KEY_ID in p.metadata}


async def test_a_key_that_was_destroyed_is_a_sentence_and_its_return_is_enough(
    own: Platform,
) -> None:
    """On the card, in the terminal, in `temporal workflow show`; then the run goes on."""
    client = await own.client()
    async with own.worker(client, task_queue="lost") as settings:
        handle = await start(client, settings, own, "lost", ADMIN)
        await until(client, handle, asks)
    lost = own.keys.active
    ring = own.settings.key_ring
    kept = json.loads(ring.read_text())
    KeyRing.load(ring).rotate()
    KeyRing.load(ring).drop(lost)  # asks nobody: as if somebody had edited the file
    sentence = f"the key '{lost}', which the key ring lacks"

    def is_stuck(view: RunView) -> bool:
        return bool(view.task_failure)

    async with own.worker(client, task_queue="lost"):
        waiting = await until(client, handle, lambda v: v.progress == 60)
        assert sentence in waiting.unreadable
        await runs.decide(handle, "approve", reason="she is new", via="signal")
        view = await until(client, handle, is_stuck)
        assert sentence in view.unreadable
        assert "Put back the key ring" in view.unreadable
        card = banners(view, datetime.now(UTC), adaptive)
        assert "Not everything can be read" in card
        assert "own code fails" not in card
        for words in (("status", "lost"), ("status", "lost", "--json")):
            code, said = await asyncio.to_thread(typed, own, *words)
            assert code == 0, said
            assert sentence in said or "--json" in words
            assert "Traceback" not in said
        code, said = await asyncio.to_thread(typed, own, "keys", "list")
        assert f"{lost}" in said
        assert "gone" in said
        code, said = await asyncio.to_thread(typed, own, "destroy", "lost", "--yes")
        assert (code, "Traceback" in said) == (1, False)
        assert sentence in said, said
        shown = await asyncio.to_thread(shown_by_temporal, own, "stack-lost")
        assert sentence in shown

        now = json.loads(ring.read_text())
        now["keys"] |= kept["keys"]
        ring.write_text(json.dumps(now))
        result = await handle.result()
        assert [d.reason for d in result.decisions] == ["she is new"]
        assert result.status == Status.APPLIED

"""What an apply that was cut off has left behind: ours, a question, or nobody's business."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.conftest import Platform
from tests.test_workflow import NAMESPACE, start
from tprov_kernel import reconcile
from tprov_kernel.cloud import CloudObject
from tprov_kernel.reconcile import Attempt
from tprov_kernel.stacks import JournalEntry

pytestmark = pytest.mark.timeout(90)

ADDRESS = "temporalcloud_namespace.this"


def attempt(name: str, *, begun: float, ended: float | None = None) -> Attempt:
    """An apply that wanted a namespace, and was cut off."""
    wanted = {ADDRESS: ("temporalcloud_namespace", name)}
    return Attempt(plan="p", begun=begun, ended=ended, code=None, wanted=wanted)


@pytest.fixture
async def made(platform: Platform) -> CloudObject:
    """A namespace, and when it was made."""
    client = await platform.client()
    async with platform.worker(client, task_queue="made") as settings:
        await (await start(client, settings, platform, "made", NAMESPACE)).result()
    found = await platform.cloud.list_namespaces()
    return max(found, key=lambda n: n.created)


async def test_who_made_what(platform: Platform, made: CloudObject) -> None:
    """Within the apply's time: ours. Before or after it, under another name, or known: not."""
    at = datetime.fromisoformat(made.created).timestamp()

    async def look(*attempts: Attempt, held: str = "", plan: str = "p") -> tuple[int, int]:
        ours, asked = await reconcile.left_behind(attempts, {held: ""}, platform.cloud, plan=plan)
        return len(ours), len(asked)

    assert await look(attempt(made.name, begun=at - 5)) == (1, 0)
    assert await look(attempt(made.name, begun=at - 5, ended=at + 5)) == (1, 0)
    assert await look(attempt(made.name, begun=at + 600)) == (0, 1), "it was there before"
    assert await look(attempt(made.name, begun=at - 900, ended=at - 600)) == (0, 1), "made later"
    assert await look(attempt("another", begun=at - 5)) == (0, 0)
    assert await look(attempt(made.name, begun=at - 5), held=ADDRESS) == (0, 0)
    late = attempt(made.name, begun=at - 900, ended=at - 600)
    assert await look(late, plan="newer") == (0, 0), "an older plan's wish is nobody's question"
    assert await look(late, attempt(made.name, begun=at - 5)) == (1, 0), "one of two made it"


def test_a_journal_tells_of_applies() -> None:
    """Begun, ended or not, with what was wanted; entries of older versions have no wishes."""
    entries = [
        JournalEntry(1.0, "apply_begun", {"plan": "a"}),
        JournalEntry(2.0, "apply_ended", {"plan": "a", "code": 0}),
        JournalEntry(3.0, "apply_begun", {"plan": "b", "wanted": '{"x.y": ["x", "n"]}'}),
        JournalEntry(9.0, "apply_ended", {"plan": "b", "code": -9, "ended": 5.0}),
        JournalEntry(10.0, "apply_begun", {"plan": "c"}),
    ]
    first, second, third = reconcile.applies(entries, str.encode)
    assert (first.code, first.ended, first.wanted) == (0, 2.0, {})
    assert (second.code, second.ended) == (-9, 5.0)
    assert second.wanted == {"x.y": ("x", "n")}
    assert second.ending == "Terraform was cut off (signal 9)"
    assert (third.code, third.ended) == (None, None)
    assert "nobody lived to tell" in third.ending

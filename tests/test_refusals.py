"""Every decision that cannot be taken: the words that a person sees, by whichever way it came.

By update it is refused and leaves no trace; by signal it is ignored, and recorded with why. The
`tprov` command goes both ways; the `temporal` command sends what it cannot: two inputs, garbage.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from tests.cli.typed import Said, Terminal
from tests.conftest import ROOT, Platform
from tests.test_workflow import ADMIN, asks, start, until
from tprov_kernel import runs
from tprov_kernel.connect import connect
from tprov_kernel.errors import DecisionRefused
from tprov_kernel.messages import ApplyJob, ApplyResult, Decision, Status

pytestmark = pytest.mark.timeout(90)


@dataclass(frozen=True)
class Asked:
    """A run on which nobody may decide so.

    Attributes:
        stack: Its stack.
        former: The review that was superseded; empty where none was.
    """

    platform: Platform
    client: Client
    handle: runs.RunHandle
    stack: str
    former: str = ""

    @property
    def terminal(self) -> Terminal:
        """A terminal beside it."""
        return Terminal(self.platform.settings.home)

    def stranger(self) -> WorkflowHandle[Any, Any]:
        """The run as somebody reaches it who sends in the clear, and reads what is encrypted."""
        settings = replace(self.platform.settings, encrypt_payloads=False)
        client: Client = self.call(connect(settings, self.platform.keys))
        return client.get_workflow_handle(self.handle.id)

    def call(self, work: Any) -> Any:
        """Do something on the services' loop."""
        return self.platform.runtime.call(work, timeout=30)

    def events(self) -> int:
        """How long its history is."""
        return int(self.call(self.handle.describe()).history_length)

    def decisions(self) -> list[Decision]:
        """All of them."""
        told: list[Decision] = self.call(
            self.handle.query("get_decisions", result_type=list[Decision])
        )
        return told

    def shown(self) -> str:
        """What `tprov status` says of it, in one line."""
        said = self.terminal.type("status", self.stack)
        assert said.code == 0, said.err
        return " ".join(said.out.replace("│", " ").split())


Decide = Callable[[Asked, str, Mapping[str, str]], str]


def by_update(asked: Asked, verb: Any, given: Mapping[str, str]) -> str:
    """As the button does."""
    with pytest.raises(DecisionRefused) as raised:
        asked.call(runs.decide(asked.handle, verb, **_whole(given)))
    return raised.value.message


def by_signal(asked: Asked, verb: Any, given: Mapping[str, str]) -> str:
    """As the other button does."""
    before = len(asked.decisions())
    asked.call(runs.decide(asked.handle, verb, via="signal", **_whole(given)))
    return _ignored(asked, before)


def typed(asked: Asked, verb: str, given: Mapping[str, str]) -> str:
    """`tprov approve`."""
    said = asked.terminal.type(verb, asked.stack, *_options(given))
    assert (said.code, said.out) == (1, "")
    return " ".join(said.err.split())


def typed_as_signal(asked: Asked, verb: str, given: Mapping[str, str]) -> str:
    """`tprov approve --signal`."""
    before = len(asked.decisions())
    said = asked.terminal.type(verb, asked.stack, "--signal", *_options(given))
    assert said.code == 0, said.err
    assert "tprov status" in said.err
    return _ignored(asked, before)


def _whole(given: Mapping[str, str]) -> dict[str, Any]:
    return {"reason": "", **given}


def _options(given: Mapping[str, str]) -> list[str]:
    return [word for name, value in given.items() for word in (f"--{name}", value)]


def _ignored(asked: Asked, before: int) -> str:
    """Why the last signal was ignored; `tprov status` says it too."""
    decisions = asked.decisions()
    assert len(decisions) == before + 1
    assert decisions[-1].outcome == "ignored"
    assert decisions[-1].why in asked.shown()
    return decisions[-1].why


WAYS = pytest.mark.parametrize("decide", [by_update, by_signal, typed, typed_as_signal])
REFUSES = (by_update, typed)


def is_refused(
    asked: Asked, decide: Decide, given: Mapping[str, str], words: str, *, verb: str = "approve"
) -> None:
    """It is, in these words, and the status stays; by update nothing was recorded."""
    status = asked.call(asked.handle.query("get_current_status"))
    before = asked.events()
    said = decide(asked, verb, given)
    assert words in said
    if decide in REFUSES:
        assert f"Refused: {words}" in said
        assert "Nothing was recorded." in said
        assert asked.events() == before
    assert asked.call(asked.handle.query("get_current_status")) == status


# --- while a review waits --------------------------------------------------------------------


@pytest.fixture(scope="module")
def waiting(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A run whose first review was superseded; the second one waits."""
    directory = tmp_path_factory.mktemp("refusals") / "admin"
    shutil.copytree(ADMIN, directory)

    async def ask(client: Client, settings: Any) -> Asked:
        handle = await start(client, settings, platform, "refusals", directory)
        first = (await until(client, handle, asks)).review
        assert first is not None
        (directory / "terraform.tfvars").write_text('email = "ada@example.test"\n')
        await runs.replan(client, handle, directory=directory, key_ring=platform.keys)
        await until(client, handle, lambda v: v.review is not None and v.review.supersedes != "")
        return Asked(platform, client, handle, "refusals", former=first.digest)

    with platform.serves(task_queue="refusals") as (client, settings):
        asked = platform.runtime.call(ask(client, settings))
        yield asked
        taken = asked.call(runs.decide(asked.handle, "deny", reason="enough"))
        assert taken.outcome == "denied", "after all that it still listens"
        assert asked.call(asked.handle.result()).status == Status.REJECTED


@WAYS
@pytest.mark.parametrize("reason", ["", " \t"], ids=["none", "blank"])
def test_an_approval_without_a_reason(waiting: Asked, decide: Decide, reason: str) -> None:
    """A denial needs none, an approval does."""
    is_refused(waiting, decide, {"reason": reason}, "an approval needs a reason.")


@WAYS
@pytest.mark.parametrize("verb", ["approve", "deny"])
def test_an_unknown_review(waiting: Asked, decide: Decide, verb: str) -> None:
    """It names the one that waits."""
    current = waiting.call(waiting.handle.query("get_review"))["digest"]
    words = f"review 12345678 is not the one that waits, {current[:4]}·{current[4:8]} is."
    is_refused(waiting, decide, {"reason": "x", "review": "12345678"}, words, verb=verb)


@WAYS
@pytest.mark.parametrize("verb", ["approve", "deny"])
def test_a_superseded_review(waiting: Asked, decide: Decide, verb: str) -> None:
    """Whoever decides on what they saw before the re-plan is told so."""
    current = waiting.call(waiting.handle.query("get_review"))["digest"]
    old = f"{waiting.former[:4]}·{waiting.former[4:8]}"
    words = f"review {old} was superseded, {current[:4]}·{current[4:8]} waits now."
    is_refused(waiting, decide, {"reason": "x", "review": old}, words, verb=verb)


@dataclass(frozen=True)
class Malformed:
    """An input that is no decision, and what is said of it."""

    name: str
    words: str
    inputs: Sequence[Any] = ()
    payload: Payload | None = field(default=None)

    @property
    def arguments(self) -> list[Any]:
        """For a client."""
        return [RawValue(self.payload)] if self.payload is not None else list(self.inputs)

    @property
    def options(self) -> list[str]:
        """For the `temporal` command."""
        if self.payload is None:
            return [word for value in self.inputs for word in ("--input", json.dumps(value))]
        encoding = self.payload.metadata["encoding"].decode()
        data = base64.b64encode(self.payload.data).decode()
        return ["--input-base64", "--input", data, "--input-meta", f"encoding={encoding}"]


def _payload(encoding: bytes) -> Payload:
    return Payload(metadata={"encoding": encoding}, data=b"\x00garbage")


MALFORMED = pytest.mark.parametrize(
    "malformed",
    [
        Malformed("two", "it came with 2 inputs, one is understood.", ["a", "b"]),
        Malformed("number", "its input is neither a reason nor a decision object.", [7]),
        Malformed("list", "its input is neither a reason nor a decision object.", [["a reason"]]),
        Malformed("field", "its 'reason' is no text.", [{"reason": ["x"]}]),
        Malformed(
            "garbage", "its input cannot be decrypted.", payload=_payload(b"binary/encrypted")
        ),
        Malformed("encoding", "its input cannot be decoded.", payload=_payload(b"binary/unheard")),
        Malformed("no-json", "its input cannot be decoded.", payload=_payload(b"json/plain")),
    ],
    ids=lambda malformed: malformed.name,
)


@MALFORMED
def test_a_malformed_signal(waiting: Asked, malformed: Malformed) -> None:
    """Neither from a client nor from the `temporal` command does it wedge the run."""
    stranger = waiting.stranger()
    before = len(waiting.decisions())
    waiting.call(stranger.signal("approve_apply", args=malformed.arguments))
    assert _ignored(waiting, before) == malformed.words
    if malformed.name != "no-json":  # the command looks at that itself
        said = temporal(waiting, "signal", malformed)
        assert said.code == 0, said.err
        assert _ignored(waiting, before + 1) == malformed.words


@MALFORMED
def test_a_malformed_update(waiting: Asked, malformed: Malformed) -> None:
    """The same words come back at once, and nothing is recorded."""
    before = waiting.events()
    with pytest.raises(WorkflowUpdateFailedError) as raised:
        waiting.call(waiting.stranger().execute_update("approve_apply", args=malformed.arguments))
    refused = f"Refused: {malformed.words} Nothing was recorded."
    assert isinstance(raised.value.cause, ApplicationError)
    assert raised.value.cause.message == refused
    if malformed.payload is None:  # a codec server, which reads the answer, wraps what is sent
        codec = ("--codec-endpoint", waiting.platform.settings.codec_url)
        said = temporal(waiting, "update execute", malformed, *codec)
        assert said.code == 1
        assert refused in " ".join(said.err.split())
    assert waiting.events() == before


NO_SNAPSHOT = "its input is not understood: it takes an object with snapshot, requested_by."
NO_NAME = "its input is not understood: it takes an object with by."
TWO = "it came with 2 inputs, one is understood."
SEALED = {"digest": "x", "sealed": "tprov1.snapshot.x", "files": "one"}


@pytest.mark.parametrize(
    ("name", "inputs", "words"),
    [
        ("replan", [], "it came without a snapshot; `tprov replan` takes one."),
        ("replan", [None], "it came without a snapshot; `tprov replan` takes one."),
        ("replan", [{"reason": 5}], NO_SNAPSHOT),
        ("replan", [{"snapshot": "x"}], NO_SNAPSHOT),
        ("replan", [{"snapshot": SEALED}], NO_SNAPSHOT),
        ("replan", [["a"]], NO_SNAPSHOT),
        ("replan", ["a"], NO_SNAPSHOT),
        ("replan", [{}, {}], TWO),
        ("interrupt", [], "no apply is at work, the run is awaiting approval."),
        ("interrupt", [{"by": 5}], NO_NAME),
        ("interrupt", [["a"]], NO_NAME),
        ("interrupt", ["a"], NO_NAME),
        ("interrupt", ["a", "b"], TWO),
        ("recheck", [], "nothing waits to be mended, the run is awaiting approval."),
        ("recheck", [{"reason": 5}], "nothing waits to be mended, the run is awaiting approval."),
    ],
)
def test_another_update_with_an_input_that_it_does_not_know(
    waiting: Asked, name: str, inputs: list[Any], words: str
) -> None:
    """Our words and not a programmer's, as for a decision; nothing is recorded."""
    before = waiting.events()
    with pytest.raises(WorkflowUpdateFailedError) as raised:
        waiting.call(waiting.stranger().execute_update(name, args=inputs))
    refused = f"Refused: {words} Nothing was recorded."
    assert isinstance(raised.value.cause, ApplicationError)
    assert raised.value.cause.message == refused
    assert waiting.events() == before


def test_another_update_of_the_temporal_command(waiting: Asked) -> None:
    """It shows the same words."""
    before = waiting.events()
    malformed = Malformed("number", "", [{"reason": 5}])
    codec = ("--codec-endpoint", waiting.platform.settings.codec_url)
    said = temporal(waiting, "update execute", malformed, *codec, name="replan")
    assert said.code == 1
    assert f"Refused: {NO_SNAPSHOT} Nothing was recorded." in " ".join(said.err.split())
    assert waiting.events() == before


@pytest.mark.parametrize("inputs", [[5], [{"reason": 5}], ["a", "b"]], ids=str)
@pytest.mark.parametrize("name", ["get_progress", "get_current_status"])
def test_a_query_with_an_input(waiting: Asked, name: str, inputs: list[Any]) -> None:
    """It takes none, and answers all the same."""
    answer = waiting.call(waiting.stranger().query(name, args=inputs))
    assert answer == waiting.call(waiting.stranger().query(name))


@pytest.mark.parametrize("name", ["__x", "__temporal_x", "__stack_trace"])
def test_a_signal_of_a_reserved_name(waiting: Asked, name: str) -> None:
    """Neither the server nor the SDK minds; it decides nothing, and it is noted."""
    before = len(waiting.decisions())
    waiting.call(waiting.stranger().signal(name, {"reason": 5}))
    words = f"{name!r} is no decision; approve_apply and deny_apply are."
    assert _ignored(waiting, before) == words


def temporal(
    asked: Asked, what: str, malformed: Malformed, *more: str, name: str = "approve_apply"
) -> Said:
    """The `temporal` command; without more it sends things as they are."""
    return asked.terminal.run(
        *(*asked.platform.toolchain.temporal.argv, "workflow", *what.split()),
        *("--address", asked.platform.settings.address, "--workflow-id", asked.handle.id),
        *("--name", name, *malformed.options, *more),
    )


# --- before, after, and too late -------------------------------------------------------------


@pytest.fixture(scope="module")
def broken(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A run that has not come to a review yet: its policies have to be mended first."""
    policies = tmp_path_factory.mktemp("refusals") / "policies"
    shutil.copytree(ROOT / "policies", policies)
    (policies / "mistake.rego").write_text("this is no rego\n")
    with parked(platform, "refusals-early", policies=policies) as asked:
        asked.call(until(asked.client, asked.handle, lambda v: v.step("policy").state == "failed"))
        yield asked


@contextmanager
def parked(platform: Platform, stack: str, **options: Any) -> Iterator[Asked]:
    """A run on a queue of its own; it is terminated afterwards."""
    with platform.serves(task_queue=stack, **options) as (client, settings):
        handle = platform.runtime.call(start(client, settings, platform, stack, ADMIN))
        asked = Asked(platform, client, handle, stack)
        yield asked
        asked.call(handle.terminate())


@WAYS
@pytest.mark.parametrize("verb", ["approve", "deny"])
def test_a_run_that_does_not_wait(broken: Asked, decide: Decide, verb: str) -> None:
    """What is sent before there is anything to decide on decides nothing."""
    words = "the run is not waiting for a decision, it is policy checking."
    is_refused(broken, decide, {"reason": "in advance"}, words, verb=verb)


@pytest.fixture(scope="module")
def decided(platform: Platform) -> Iterator[Asked]:
    """A run that was approved, and whose apply is at work."""
    over = asyncio.Event()

    async def terraform_apply(job: ApplyJob) -> ApplyResult:
        await over.wait()
        raise ApplicationError("Nothing was applied.", type="ToolError", non_retryable=True)

    replaced = {"terraform_apply": terraform_apply}
    with parked(platform, "refusals-decided", replaced=replaced) as asked:
        asked.call(until(asked.client, asked.handle, asks))
        asked.call(runs.decide(asked.handle, "approve", reason="first"))
        asked.call(until(asked.client, asked.handle, lambda v: v.status == Status.APPLYING))
        yield asked
        platform.runtime.loop.call_soon_threadsafe(over.set)


@WAYS
@pytest.mark.parametrize("verb", ["approve", "deny"])
def test_a_review_that_was_decided(decided: Asked, decide: Decide, verb: str) -> None:
    """The second decision is not the first one's colleague."""
    words = "this review was already decided (approved)."
    is_refused(decided, decide, {"reason": "second"}, words, verb=verb)


@pytest.fixture(scope="module")
def expired(platform: Platform) -> Iterator[Asked]:
    """A run on which nobody decided in time."""
    with platform.serves(task_queue="refusals-late") as (client, settings):
        work = start(client, settings, platform, "refusals-late", ADMIN, approval_expires=0.2)
        asked = Asked(platform, client, platform.runtime.call(work), "refusals-late")
        assert asked.call(asked.handle.result()).status == Status.EXPIRED
        yield asked


@WAYS
@pytest.mark.parametrize("verb", ["approve", "deny"])
def test_a_review_that_has_expired(expired: Asked, decide: Decide, verb: Any) -> None:
    """Also a signal is refused then: the server takes none for a run that is over."""
    if decide is typed_as_signal:
        said = expired.terminal.type(verb, expired.stack, "--signal", "--reason", "late")
        assert said.code == 1
        words = said.err
    elif decide is by_signal:
        with pytest.raises(DecisionRefused) as raised:
            expired.call(runs.decide(expired.handle, verb, reason="late", via="signal"))
        words = raised.value.message
    else:
        words = decide(expired, verb, {"reason": "late"})
    assert "Refused: the run is over, it is expired. Nothing was recorded." in words
    assert expired.decisions() == []

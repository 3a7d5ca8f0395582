"""The codec: everything is encrypted, nothing a stranger sends can make decoding raise."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from tprov_kernel.errors import SealBroken
from tprov_kernel.payloads.codec import (
    EncryptionCodec,
    data_converter,
    is_undecodable,
    undecodable,
)
from tprov_kernel.payloads.keyring import Box, KeyRing

# How long an example takes says more of a busy machine than of the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

RING = KeyRing.in_memory()
CODEC = EncryptionCodec(RING)
CANARY = "canary-9f2c-in-a-payload"

metadata = st.dictionaries(st.text(max_size=20), st.binary(max_size=40), max_size=4)
payloads = st.builds(Payload, metadata=metadata, data=st.binary(max_size=300))


def encoded(*given: Payload, codec: EncryptionCodec = CODEC) -> list[Payload]:
    """What the codec makes of clear payloads."""
    return asyncio.run(codec.encode(given))


def decoded(*given: Payload, codec: EncryptionCodec = CODEC) -> list[Payload]:
    """What the codec makes of encrypted payloads."""
    return asyncio.run(codec.decode(given))


def why(payload: Payload) -> str:
    """The reason in a marker; fails when the payload is none."""
    value = json.loads(payload.data)
    assert payload.metadata["encoding"] == b"json/plain"
    assert is_undecodable(value)
    return str(value["$undecodable"])


# --- encrypting ----------------------------------------------------------------------------------


@given(given=st.lists(payloads, max_size=4))
@settings(max_examples=50)
def test_every_payload_comes_back_as_it_was(given: list[Payload]) -> None:
    """Value and metadata, in order, whatever they hold."""
    assert decoded(*encoded(*given)) == given


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 65_535, 65_536, 1 << 20, (1 << 21) + 1])
def test_payloads_of_every_size_come_back(size: int) -> None:
    """Large ones take another way through the codec, and the result is the same."""
    clear = Payload(
        metadata={"encoding": b"json/plain", "a": b"\0"},
        data=bytes(size),
        external_payloads=[Payload.ExternalPayloadDetails(size_bytes=7)],
    )

    assert decoded(*encoded(clear)) == [clear]


def test_an_encrypted_payload_shows_its_encoding_its_key_and_nothing_else() -> None:
    """Metadata of the value is inside too; lengths differ by a constant: nothing is compressed."""
    clear = Payload(metadata={"encoding": b"json/plain", "note": CANARY.encode()}, data=b"x" * 500)
    [secret] = encoded(clear)

    assert secret.metadata.keys() == {"encoding", "encryption-key-id", "nonce"}
    assert secret.metadata["encoding"] == b"binary/encrypted"
    assert secret.metadata["encryption-key-id"] == RING.active.encode()
    assert CANARY.encode() not in secret.SerializeToString()
    assert len(secret.data) == clear.ByteSize() + 16


def test_equal_payloads_are_encrypted_differently() -> None:
    """Each has a fresh nonce."""
    clear = Payload(metadata={"encoding": b"json/plain"}, data=b"1")

    secret = encoded(*[clear] * 100)
    assert len({p.data for p in secret}) == len({p.metadata["nonce"] for p in secret}) == 100


def test_without_encryption_new_payloads_stay_clear_and_old_ones_are_decoded() -> None:
    """`ENCRYPT_PAYLOADS=false` in the middle of a run must not lose its past."""
    clear = Payload(metadata={"encoding": b"json/plain"}, data=b"1")
    plain = EncryptionCodec(RING, encrypt=False)

    assert encoded(clear, codec=plain) == [clear]
    assert decoded(*encoded(clear), codec=plain) == [clear]


def test_the_given_payloads_are_not_changed() -> None:
    """The SDK forbids it."""
    clear = Payload(metadata={"encoding": b"json/plain"}, data=b"1")
    before = clear.SerializeToString()
    [secret] = encoded(clear)
    secret_before = secret.SerializeToString()
    decoded(secret)

    assert (clear.SerializeToString(), secret.SerializeToString()) == (before, secret_before)


# --- decoding what strangers send ----------------------------------------------------------------


@given(
    data=st.binary(max_size=200),
    key_id=st.one_of(st.none(), st.binary(max_size=40), st.just(RING.active.encode())),
    nonce=st.one_of(st.none(), st.binary(max_size=40), st.binary(min_size=12, max_size=12)),
    more=metadata,
)
def test_garbage_that_claims_to_be_encrypted_becomes_a_marker(
    data: bytes, key_id: bytes | None, nonce: bytes | None, more: dict[str, bytes]
) -> None:
    """It would otherwise fail the workflow task for ever (see the facts about signals)."""
    stranger = Payload(metadata={**more, "encoding": b"binary/encrypted"}, data=data)
    for name, value in (("encryption-key-id", key_id), ("nonce", nonce)):
        if value is not None:
            stranger.metadata[name] = value

    [marker] = decoded(stranger)
    assert why(marker).endswith(".")


@given(given=st.lists(payloads.filter(lambda p: p.metadata["encoding"] != b"binary/encrypted")))
def test_other_encodings_pass_through_untouched(given: list[Payload]) -> None:
    """They are the business of the payload converter, or of somebody else."""
    assert decoded(*given) == given


@given(at=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
def test_a_changed_payload_is_noticed(at: int, bit: int) -> None:
    """A single bit, anywhere in nonce, ciphertext or tag."""
    [secret] = encoded(Payload(metadata={"encoding": b"json/plain"}, data=b'"approve"'))
    changed = bytearray(secret.metadata["nonce"] + secret.data)
    changed[at % len(changed)] ^= 1 << bit
    secret.metadata["nonce"], secret.data = bytes(changed[:12]), bytes(changed[12:])

    assert "was changed" in why(decoded(secret)[0])


def test_a_payload_under_a_lost_key_says_so_and_its_neighbours_are_decoded() -> None:
    """One bad payload does not take the others with it."""
    clear = Payload(metadata={"encoding": b"json/plain"}, data=b"1")
    [lost] = encoded(clear, codec=EncryptionCodec(KeyRing.in_memory()))
    [first, second, third] = decoded(encoded(clear)[0], lost, clear)

    assert [first, third] == [clear, clear]
    assert "which the key ring lacks" in why(second)


def test_a_sealed_plan_is_no_payload_and_a_payload_no_plan() -> None:
    """What each is for is authenticated: the same key opens neither as the other."""
    assert "was changed" in why(decoded(forged(RING.encrypt(b"plan", about=b"seal\0plan")))[0])

    [secret] = encoded(Payload(data=b"x"))
    raw = base64.b64encode(secret.metadata["nonce"] + secret.data).decode()
    with pytest.raises(SealBroken, match="was changed"):
        RING.unseal(f"tprov1.plan.{RING.active}.{raw}", kind="plan")


def test_what_was_encrypted_but_is_no_payload_becomes_a_marker() -> None:
    """Even with the right key and purpose."""
    odd = forged(RING.encrypt(b"\xff\xff\xff", about=b"payload\0binary/encrypted"))

    assert why(decoded(odd)[0]) == "What was encrypted is no payload."


def forged(box: Box) -> Payload:
    """A payload made of whatever was encrypted."""
    metadata = {
        "encoding": b"binary/encrypted",
        "encryption-key-id": box.key_id.encode(),
        "nonce": box.nonce,
    }
    return Payload(metadata=metadata, data=box.data)


@pytest.mark.parametrize(
    "value", [None, "x", 1, [], {}, {"reason": "$undecodable"}, {"$undecodable": "x", "more": 1}]
)
def test_an_ordinary_value_is_not_taken_for_the_marker(value: Any) -> None:
    """Only the marker itself is."""
    assert not is_undecodable(value)
    assert is_undecodable(json.loads(undecodable("why").data))


# --- the data converter --------------------------------------------------------------------------


def failure(*, encrypt: bool) -> Failure:
    """What a worker with this data converter would send for an activity's error."""

    def inner() -> None:
        secret_in_a_traceback = CANARY
        raise ValueError(f"inner {secret_in_a_traceback}")

    made = Failure()
    try:
        try:
            inner()
        except ValueError as error:
            raise ApplicationError(f"outer {CANARY}", {"detail": CANARY}, type="Oops") from error
    except ApplicationError as error:
        asyncio.run(data_converter(RING, encrypt=encrypt).encode_failure(error, made))
    return made


def test_messages_stack_traces_details_and_causes_of_failures_are_encrypted() -> None:
    """Only the error's type stays readable, and the reader gets everything back."""
    made = failure(encrypt=True)
    back = asyncio.run(data_converter(RING, encrypt=True).decode_failure(made))

    assert CANARY.encode() not in failure(encrypt=True).SerializeToString()
    assert b"test_payloads_codec" not in failure(encrypt=True).SerializeToString()
    assert isinstance(back, ApplicationError)
    assert (back.message, back.type, list(back.details)) == (
        f"outer {CANARY}",
        "Oops",
        [{"detail": CANARY}],
    )
    assert isinstance(back.__cause__, ApplicationError)
    assert back.__cause__.message == f"inner {CANARY}"


def test_without_encryption_failures_are_in_the_clear() -> None:
    """So that the lesson about encryption has something to show."""
    assert CANARY.encode() in failure(encrypt=False).SerializeToString()


def test_either_data_converter_reads_what_the_other_wrote() -> None:
    """A run outlives the setting it was started with."""
    on, off = data_converter(RING, encrypt=True), data_converter(RING, encrypt=False)

    async def across(writer: Any, reader: Any) -> Any:
        return await reader.decode(await writer.encode([{"a": 1}]))

    assert asyncio.run(across(on, off)) == [{"a": 1}]
    assert asyncio.run(across(off, on)) == [{"a": 1}]
    back = asyncio.run(off.decode_failure(failure(encrypt=True)))
    assert isinstance(back, ApplicationError)
    assert back.message == f"outer {CANARY}"


def test_a_failure_under_a_lost_key_says_that_it_cannot_be_read() -> None:
    """The run shows that it failed, and which key is missing, though not with which words."""
    lost = failure(encrypt=True)
    back = asyncio.run(data_converter(KeyRing.in_memory(), encrypt=False).decode_failure(lost))

    assert isinstance(back, ApplicationError)
    assert isinstance(back.__cause__, ApplicationError)
    for error in (back, back.__cause__):
        assert error.message.startswith("(the message cannot be decoded) The payload was encrypted")
        assert RING.active in error.message
    assert is_undecodable(back.details[0])


@dataclass
class Wanted:
    """What a reader expects."""

    reason: str


@pytest.mark.parametrize("hint", [Wanted, str, list, int])
def test_a_lost_value_that_is_needed_is_an_error_in_words(hint: type) -> None:
    """Not a missing field of a dataclass somewhere in the SDK."""
    mine, theirs = (data_converter(ring, encrypt=True) for ring in (RING, KeyRing.in_memory()))
    lost = asyncio.run(theirs.encode([{"reason": "x"}]))

    with pytest.raises(SealBroken, match="which the key ring lacks"):
        asyncio.run(mine.decode(lost, [hint]))


@pytest.mark.parametrize("hints", [None, [dict], [Any]])
def test_who_takes_anything_gets_the_marker(hints: Any) -> None:
    """A handler for whatever strangers send records it as ignored."""
    mine, theirs = (data_converter(ring, encrypt=True) for ring in (RING, KeyRing.in_memory()))
    [value] = asyncio.run(mine.decode(asyncio.run(theirs.encode([1])), hints))

    assert is_undecodable(value)


def test_dataclasses_and_everything_else_convert_as_usual() -> None:
    """Only the marker is treated otherwise."""
    converter = data_converter(RING, encrypt=True)
    values = [Wanted("x"), {"a": [1, None]}, b"\0", None, "ä"]
    encoded_values = asyncio.run(converter.encode(values))

    hints: list[Any] = [Wanted, dict, bytes, None, str]
    assert asyncio.run(converter.decode(encoded_values, hints)) == values


@pytest.mark.parametrize(
    "metadata",
    [
        {"encoding": b"json/external-storage-reference"},
        {
            "encoding": b"json/protobuf",
            "messageType": b"temporal.api.sdk.v1.ExternalStorageReference",
        },
        {"encoding": b"json/plain", "__temporal_external_storage_reference": b"true"},
    ],
)
def test_a_claim_to_external_storage_becomes_a_marker(metadata: dict[str, bytes]) -> None:
    """The SDK would raise, and a signal with it fail every workflow task from then on."""
    stranger = Payload(metadata=metadata, data=b"{}")
    [value] = asyncio.run(data_converter(RING, encrypt=True).decode([stranger]))

    assert is_undecodable(value)


# --- the event loop ------------------------------------------------------------------------------


async def test_large_payloads_are_worked_on_in_a_thread() -> None:
    """The loop that heartbeats and polls stays free; small ones are faster where they are."""
    threads: set[str] = set()

    class Watched(KeyRing):
        def encrypt(self, data: bytes, *, about: bytes) -> Box:
            threads.add(threading.current_thread().name)
            return super().encrypt(data, about=about)

    codec = EncryptionCodec(Watched.in_memory())
    await codec.encode([Payload(data=bytes(1000))])
    assert threads == {"MainThread"}

    threads.clear()
    await codec.encode([Payload(data=bytes(1 << 20))] * 3)
    assert threads
    assert "MainThread" not in threads


async def test_the_loop_goes_on_while_many_megabytes_are_encrypted() -> None:
    """Something else on the loop gets its turn in between (no figure: that is the benchmark's)."""
    turns: list[float] = []

    async def ticker() -> None:
        while True:
            turns.append(time.perf_counter())
            await asyncio.sleep(0)

    task = asyncio.create_task(ticker())
    large = Payloads(payloads=[Payload(data=bytes(1 << 20))] * 40)
    before = len(turns)
    secret = await CODEC.encode(large.payloads)
    after = len(turns)
    task.cancel()

    assert after - before > 10
    assert await CODEC.decode(secret) == list(large.payloads)

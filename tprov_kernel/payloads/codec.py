"""The codec: every payload that leaves a worker or a client is encrypted, failures included.

Decoding never raises. A payload that cannot be decrypted, from a stranger or under a lost key,
would otherwise fail the workflow task that carries it, again and again, and the run would answer
no query any more. It becomes a marker in words instead, which a handler can tell by
`is_undecodable` and record as ignored.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
    PayloadCodec,
    PayloadConverter,
)

from tprov_kernel.errors import SealBroken
from tprov_kernel.payloads.keyring import Box, KeyRing

ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"
NONCE = "nonce"

_UNDECODABLE = "$undecodable"
_ELSEWHERE = "It says that it is stored elsewhere, and nothing of ours is."
_ABOUT = b"payload\0" + ENCODING
_IN_A_THREAD = 2 * 1024 * 1024
"""Bytes from which on the work leaves the event loop: about 0.5 ms on it, ten times less than
what a busy machine may make of it."""

_KEPT = 4 * 1024 * 1024


class EncryptionCodec(PayloadCodec):
    """Encrypts payloads with AES-256-GCM; the value and its metadata are both inside.

    It never compresses: who could put text of his own beside a secret could otherwise learn the
    secret from the length.

    Args:
        key_ring: Whose active key encrypts; all its keys decrypt.
        encrypt: False leaves new payloads as they are; encrypted ones are still decoded.
    """

    def __init__(self, key_ring: KeyRing, *, encrypt: bool = True) -> None:
        self._key_ring = key_ring
        self._encrypt = encrypt
        # glibc learns from the largest block that was ever freed how much memory to keep. Without
        # this it gives the buffers of each 1 MB payload back to the system, and getting them again
        # (480 page faults) costs ten times the encryption: 1.1 ms instead of 0.2.
        bytes(_KEPT)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt each payload."""
        return await _each(self._seal, payloads) if self._encrypt else list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt each encrypted payload; pass the others on; never raise."""
        needed = [_key_id(p) for p in payloads if p.metadata.get("encoding") == ENCODING]
        waits = self._key_ring.may_take_time(filter(None, needed))
        return await _each(self._open, payloads, in_a_thread=waits)

    def _seal(self, payload: Payload) -> Payload:
        box = self._key_ring.encrypt(payload.SerializeToString(), about=_ABOUT)
        metadata = {"encoding": ENCODING, KEY_ID: box.key_id.encode(), NONCE: box.nonce}
        return Payload(metadata=metadata, data=box.data)

    def _open(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        key_id = _key_id(payload)
        if not key_id:
            return undecodable("It does not say which key it was encrypted with.")
        box = Box(key_id, payload.metadata.get(NONCE, b""), payload.data)
        try:
            clear = self._key_ring.decrypt(box, about=_ABOUT, name="payload")
            return Payload.FromString(clear)
        except SealBroken as error:
            return undecodable(str(error))
        except DecodeError:
            return undecodable("What was encrypted is no payload.")


def _key_id(payload: Payload) -> str:
    return payload.metadata.get(KEY_ID, b"").decode("utf-8", "replace")


async def _each(
    change: Callable[[Payload], Payload], payloads: Sequence[Payload], *, in_a_thread: bool = False
) -> list[Payload]:
    if not in_a_thread and sum(len(payload.data) for payload in payloads) < _IN_A_THREAD:
        return [change(payload) for payload in payloads]
    # A copy: nobody may change the list under the thread.
    return await asyncio.to_thread(lambda todo: [change(p) for p in todo], list(payloads))


# --- what cannot be decoded ----------------------------------------------------------------------


def undecodable(why: str) -> Payload:
    """Make the payload that stands for one that cannot be decoded."""
    data = json.dumps({_UNDECODABLE: why}).encode()
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


def is_undecodable(value: object) -> bool:
    """Whether a decoded value is the marker of a payload that could not be decoded."""
    return isinstance(value, dict) and value.keys() == {_UNDECODABLE}


class _Json(JSONPlainPayloadConverter):
    """Says why, where a marker comes and something else is needed."""

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        if type_hint not in (None, Any, object, dict):
            value = super().from_payload(payload)
            if is_undecodable(value):
                raise SealBroken(value[_UNDECODABLE])
        return super().from_payload(payload, type_hint)


class _PayloadConverter(CompositePayloadConverter):
    def __init__(self) -> None:
        usual = DefaultPayloadConverter.default_encoding_payload_converters
        super().__init__(*(_Json() if type(c) is JSONPlainPayloadConverter else c for c in usual))


class _FailureConverter(DefaultFailureConverter):
    """Says why, where a failure's message cannot be decoded."""

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        if failure.HasField("encoded_attributes"):
            value = payload_converter.from_payload(failure.encoded_attributes)
            if is_undecodable(value):
                told, failure = failure, Failure()
                failure.CopyFrom(told)
                failure.ClearField("encoded_attributes")
                failure.message = f"(the message cannot be decoded) {value[_UNDECODABLE]}"
        return super().from_failure(failure, payload_converter)


class _EncodingFailureConverter(_FailureConverter):
    def __init__(self) -> None:
        super().__init__(encode_common_attributes=True)


class _DataConverter(DataConverter):
    """Also keeps a stranger's claim to external storage from wedging a run.

    We use no external storage, and the SDK (1.35) then raises on every payload that says it is
    stored there: a signal with such a payload would fail each workflow task from then on. If a
    later SDK calls this method no more, `test_payloads_clients` fails.
    """

    async def _decode_reference_payload_sequence(
        self, payloads: Sequence[Payload]
    ) -> list[Payload]:
        if self.external_storage is not None:
            return await super()._decode_reference_payload_sequence(payloads)
        return [undecodable(_ELSEWHERE) if _is_reference(p) else p for p in payloads]


def _is_reference(payload: Payload) -> bool:
    metadata = payload.metadata
    return (
        metadata.get("encoding") == b"json/external-storage-reference"
        or metadata.get("messageType") == b"temporal.api.sdk.v1.ExternalStorageReference"
        or "__temporal_external_storage_reference" in metadata
    )


# --- the data converter --------------------------------------------------------------------------


def data_converter(key_ring: KeyRing, *, encrypt: bool) -> DataConverter:
    """Make the data converter for clients and workers.

    Args:
        key_ring: The workspace's keys.
        encrypt: Whether new payloads, failure messages and stack traces are encrypted. Encrypted
            ones are decoded in either case.
    """
    return _DataConverter(
        payload_converter_class=_PayloadConverter,
        payload_codec=EncryptionCodec(key_ring, encrypt=encrypt),
        failure_converter_class=_EncodingFailureConverter if encrypt else _FailureConverter,
    )

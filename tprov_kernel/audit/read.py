"""Reads payloads and failures; what cannot be decoded is nothing, never an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar, get_args, get_origin

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter, PayloadConverter
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError

from tprov_kernel.errors import SealBroken
from tprov_kernel.messages import Finding, Level

T = TypeVar("T")


@dataclass(frozen=True)
class Said:
    """A failure: its words, what to do about it, and its kind."""

    words: str
    remedy: str = ""
    type: str = ""
    is_timeout: bool = False


class Reader:
    """Decodes what events carry."""

    def __init__(self, converter: DataConverter) -> None:
        self._converter = converter
        self.lacks_a_key = False
        """Whether a value could not be read because its key is not here."""

    @property
    def payload_converter(self) -> PayloadConverter:
        """The converter of decoded payloads."""
        return self._converter.payload_converter

    async def value(self, payloads: Sequence[Payload], kind: type[T]) -> T | None:
        """The first payload as this kind; None for none, a stranger's, or a key that is gone."""
        if not payloads:
            return None
        try:
            (value, *_) = await self._converter.decode(list(payloads), [kind])
        except SealBroken:
            self.lacks_a_key = True
            return None
        except Exception:
            return None
        return value if isinstance(value, get_origin(kind) or kind) else None

    async def decoded(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        """The payloads, decrypted where that is possible."""
        codec = self._converter.payload_codec
        try:
            return await codec.decode(list(payloads)) if codec else payloads
        except Exception:
            return payloads

    async def failure(self, failure: Failure) -> Said:
        """What a failure says to people."""
        copy = Failure()
        copy.CopyFrom(failure)
        try:
            error: BaseException | None = await self._converter.decode_failure(copy)
        except Exception:
            return Said(failure.message)
        if isinstance(error, ActivityError) and error.cause is not None:
            error = error.cause
        if isinstance(error, TimeoutError):
            kind = (error.type.name if error.type else "TIMEOUT").replace("_", " ").lower()
            return Said(f"No sign of life from its worker ({kind} time-out).", is_timeout=True)
        if isinstance(error, ApplicationError):
            remedy = error.details[0] if error.details else ""
            return Said(error.message, remedy if isinstance(remedy, str) else "", error.type or "")
        return Said(str(error))


def findings_words(findings: Sequence[Finding]) -> str:
    """'no objection', or '3 findings (1 hard-mandatory, 2 advisory)'."""
    if not findings:
        return "no objection"
    counts = Counter(finding.level for finding in findings)
    levels = [f"{counts[level]} {level}" for level in reversed(get_args(Level)) if counts[level]]
    return f"{len(findings)} finding{'s' * (len(findings) > 1)} ({', '.join(levels)})"


def time_of(event: HistoryEvent) -> datetime:
    """When the server wrote an event."""
    return event.event_time.ToDatetime(UTC)

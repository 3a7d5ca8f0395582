"""Failures on demand, per method. They live in the process: a restart mends everything."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Literal

from grpc import StatusCode

from tprov_kernel.standin.rules import Refused, invalid

What = Literal["fail", "slow", "lose", "hold", "doom"]
ANY = "*"


@dataclass(kw_only=True)
class Fault:
    """One failure that waits for its calls.

    Attributes:
        what: ``fail`` answers with `code` instead of doing anything; ``slow`` waits `seconds`
            first; ``lose`` does it, and answers with `code`; ``hold`` leaves the operation
            pending until things are mended; ``doom`` makes the operation fail, with `reason`.
        method: The API's method, or ``*``.
        times: How many calls it still meets; None without end.
        every: It meets every so many-th call, beginning with the first one; 1 is each.
    """

    what: What
    method: str
    times: int | None = 1
    every: int = 1
    code: str = "UNAVAILABLE"
    seconds: float = 0.0
    reason: str = "This operation was told to fail."
    seen: int = field(default=0, init=False)


class Faults:
    """The failures that are in force."""

    def __init__(self, methods: Collection[str]) -> None:
        self._methods = sorted(methods)
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Put a fault in force; an earlier one of the same sort and method is replaced.

        Raises:
            Refused: There is no such method or status code.
        """
        if fault.method != ANY and fault.method not in self._methods:
            near = difflib.get_close_matches(fault.method, self._methods, n=3)
            hint = f"; did you mean {' or '.join(near)}" if near else ""
            invalid("method", f"must be a method of the Cloud API, {fault.method!r} is none{hint}")
        if fault.code not in StatusCode.__members__ or fault.code == "OK":
            invalid("code", f"must be a gRPC status such as UNAVAILABLE, {fault.code!r} is none")
        if fault.times is not None and fault.times < 1:
            invalid("times", "must be at least 1")
        if fault.every < 1:
            invalid("every", "must be at least 1")
        self._faults = [f for f in self._faults if (f.what, f.method) != (fault.what, fault.method)]
        self._faults.append(fault)

    def mend(self) -> None:
        """Take every fault out of force."""
        self._faults.clear()

    def listed(self) -> list[dict[str, object]]:
        """What is in force."""
        return [{n: v for n, v in asdict(f).items() if n != "seen"} for f in self._faults]

    def take(self, method: str, what: What) -> Fault | None:
        """The fault of this sort that this call meets, counted."""
        for fault in self._faults:
            if fault.what == what and fault.method in (method, ANY):
                fault.seen += 1
                if (fault.seen - 1) % fault.every:
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if not fault.times:
                        self._faults.remove(fault)
                return fault
        return None

    async def before(self, method: str) -> None:
        """Meet what comes before a call does anything.

        Raises:
            Refused: It was told to fail.
        """
        if slow := self.take(method, "slow"):
            await asyncio.sleep(slow.seconds)
        if fault := self.take(method, "fail"):
            raise Refused(StatusCode[fault.code], f"{method} was told to fail.")

    def after(self, method: str) -> None:
        """Meet what comes after a call has done its work.

        Raises:
            Refused: Its answer was told to get lost.
        """
        if fault := self.take(method, "lose"):
            raise Refused(StatusCode[fault.code], f"The answer of {method} was told to get lost.")

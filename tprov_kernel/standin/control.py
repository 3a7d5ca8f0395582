"""Telling the stand-in to fail, and looking into it, from any process.

The control service is on the stand-in's own port and takes the workspace's own key. Its messages
are JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tprov_kernel.errors import CloudUnavailable, KeyRejected, TprovError

CONTROL = "tprov.standin.v1.Control"
SECONDS = 5.0
"""How long an answer may take."""


def fault_words(fault: Mapping[str, Any]) -> str:
    """Say a fault in one sentence.

    Args:
        fault: What `StandinControl.status` lists of it.
    """
    method, times, every = fault["method"], fault["times"], fault.get("every", 1)
    which = "Every call of the Cloud API" if method == "*" else method
    if fault["what"] == "hold":
        following = f"The next {method}" if times == 1 else which
        return f"{following} is begun by the Cloud API, and not finished until it is mended."
    does = {
        "fail": "answers {code}",
        "slow": "takes {seconds:g} s longer",
        "lose": "does its work, and its answer is lost ({code})",
        "doom": "is begun by the Cloud API, and fails then",
    }[fault["what"]].format_map(fault)
    until = "until it is mended" if times is None else "once" if times == 1 else f"{times} times"
    often = f", one call in {every}" if every > 1 else ""
    return f"{which} {does} {until}{often}."


class StandinControl:
    """Injects faults into the stand-in, and lists what it has.

    Args:
        endpoint: ``host:port`` of the stand-in.
        api_key: The workspace's own key.
    """

    def __init__(self, endpoint: str, api_key: str) -> None:
        self._endpoint = endpoint
        self._api_key = api_key

    async def fail(
        self, method: str, code: str = "UNAVAILABLE", *, times: int | None = 1, every: int = 1
    ) -> str:
        """Answer the next calls of a method with an error, and do nothing of what they ask.

        Args:
            method: A method of the Cloud API such as ``GetAccount``, or ``*``.
            code: A gRPC status such as ``UNAVAILABLE``.
            times: How many calls; None until `mend`.
            every: 2 lets every second call through, and so on.

        Returns:
            What happens from now on, in a sentence; so do the other faults.
        """
        return await self._fault("fail", method, times=times, code=code, every=every)

    async def slow(self, method: str, seconds: float, *, times: int | None = 1) -> str:
        """Let the next calls of a method take longer."""
        return await self._fault("slow", method, times=times, seconds=seconds)

    async def lose(self, method: str, code: str = "UNAVAILABLE", *, times: int | None = 1) -> str:
        """Do what the next calls of a method ask, and answer with an error all the same."""
        return await self._fault("lose", method, times=times, code=code)

    async def hold(self, method: str, *, times: int | None = 1) -> str:
        """Leave the operations of the next calls of a method pending until `mend`."""
        return await self._fault("hold", method, times=times)

    async def doom(
        self,
        method: str,
        reason: str = "This operation was told to fail.",
        *,
        times: int | None = 1,
    ) -> str:
        """Let the operations of the next calls of a method fail."""
        return await self._fault("doom", method, times=times, reason=reason)

    async def mend(self) -> None:
        """Take every fault back, and go on with the operations that were left pending."""
        await self._call("Mend", {})

    async def status(self) -> dict[str, Any]:
        """Faults in force, operations held and open, the mirror, objects of each type, calls."""
        answer: dict[str, Any] = await self._call("Status", {})
        return answer

    async def objects(self) -> list[dict[str, Any]]:
        """Every object: type, id, name, state, created (RFC 3339)."""
        answer: list[dict[str, Any]] = await self._call("Objects", {})
        return answer

    async def _fault(self, what: str, method: str, **fields: Any) -> str:
        fault = {"what": what, "method": method, **fields}
        await self._call("Fault", fault)
        return fault_words(fault)

    async def _call(self, verb: str, message: dict[str, object]) -> Any:
        # Imported here: only who injects faults pays for it.
        import grpc
        import grpc.aio

        async with grpc.aio.insecure_channel(self._endpoint) as channel:
            call = channel.unary_unary(
                f"/{CONTROL}/{verb}", request_serializer=None, response_deserializer=None
            )
            try:
                answer = await call(
                    json.dumps(message).encode(),
                    timeout=SECONDS,
                    metadata=(("authorization", f"Bearer {self._api_key}"),),
                )
            except grpc.aio.AioRpcError as error:
                raise self._problem(error.code().name, error.details() or "") from None
        return json.loads(answer)

    def _problem(self, code: str, details: str) -> TprovError:
        if code == "INVALID_ARGUMENT":
            return TprovError(
                f"The Cloud API stand-in refused: {details}",
                remedy="A method is one such as GetAccount, a code one such as UNAVAILABLE.",
            )
        if code == "UNAUTHENTICATED":
            return KeyRejected(
                f"The Cloud API stand-in at {self._endpoint} does not accept the key.",
                remedy="Use the key of the workspace that it runs for.",
            )
        return CloudUnavailable(
            f"The Cloud API stand-in at {self._endpoint} does not answer ({code}).",
            remedy="Start the services: tprov up.",
        )

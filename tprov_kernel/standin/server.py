"""The gRPC server: key check, faults, idempotency, dispatch, and the log of calls."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from grpc import StatusCode
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr

from tprov_kernel.standin import keys
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.entities import Call, new_id
from tprov_kernel.standin.families import Families
from tprov_kernel.standin.faults import Faults
from tprov_kernel.standin.identity import Identities
from tprov_kernel.standin.rules import Refused

SERVICE = "temporal.api.cloud.cloudservice.v1.CloudService"
CONTROL = "tprov.standin.v1.Control"
METHODS = tuple(
    name.removesuffix("Request")
    for name in sorted(rr.DESCRIPTOR.message_types_by_name)
    if name.endswith("Request")
)
"""Every method that the API has, those that the stand-in does not have included."""

Answer = Callable[[bytes, str], Awaitable[bytes]]
"""Answers raw bytes, given the bearer token's header."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Api:
    """Answers the Cloud API's calls."""

    core: Core
    faults: Faults
    identities: Identities
    families: Families

    async def answer(self, method: str, raw: bytes, authorization: str) -> bytes:
        """Answer one call.

        Raises:
            Refused: It is not.
        """
        principal = self.identities.authenticate(authorization)
        await self.faults.before(method)
        if method not in self.families.methods:
            raise Refused(
                StatusCode.UNIMPLEMENTED, f"The local stand-in for Temporal Cloud has no {method}."
            )
        request = _request(method, raw)
        keys.may(principal, method, **self.identities.concerns(request))
        operation_id = getattr(request, "async_operation_id", None)
        if operation_id is None or method == "GetAsyncOperation":
            call = Call(method=method, principal=principal, request=request, operation_id="")
            response: Message = self.families.methods[method](request, call)
        else:
            call = Call(
                method=method,
                principal=principal,
                request=request,
                operation_id=operation_id or new_id(),
            )
            response = self._once(call)
        self.faults.after(method)
        return response.SerializeToString()

    def _once(self, call: Call) -> Message:
        """Do what is asked, or repeat the answer to the request that had this operation id."""
        # Deterministic: a repeated request may have its maps in another order.
        canonical = call.request.SerializeToString(deterministic=True)
        digest = hashlib.sha256(canonical).digest()
        store = self.core.store
        with store.transaction():
            if (known := store.answered(call.operation_id)) is not None:
                method, first, answer = known
                if (method, first) != (call.method, digest):
                    raise Refused(
                        StatusCode.INVALID_ARGUMENT,
                        f"async_operation_id {call.operation_id!r} belongs to another request.",
                    )
                response: Message = getattr(rr, f"{method}Response").FromString(answer)
                self.families.reveal(response)
                return response
            response = self.families.methods[call.method](call.request, call)
            stored = type(response)()
            stored.CopyFrom(response)
            self.families.conceal(stored)
            store.put_answer(
                call.operation_id,
                method=call.method,
                digest=digest,
                response=stored.SerializeToString(),
            )
            return response


def _request(method: str, raw: bytes) -> Any:
    try:
        return getattr(rr, f"{method}Request").FromString(raw)
    except DecodeError:
        raise Refused(StatusCode.INVALID_ARGUMENT, f"The request is no {method}Request.") from None


class Door(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Hands each call to who answers it, and writes it into the log: no keys, no contents."""

    def __init__(
        self, *, api: Api, control: Mapping[str, Answer], log_file: IO[str] | None
    ) -> None:
        self._answers: dict[str, Answer] = {
            **{f"/{SERVICE}/{name}": partial(api.answer, name) for name in METHODS},
            **{f"/{CONTROL}/{name}": answer for name, answer in control.items()},
        }
        self._log_file = log_file
        self.calls = 0

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """Find who answers; None is UNIMPLEMENTED, gRPC says so itself."""
        path = handler_call_details.method
        if path not in self._answers:
            return None
        metadata = dict(handler_call_details.invocation_metadata)
        return grpc.unary_unary_rpc_method_handler(partial(self._call, path, metadata))

    async def _call(
        self,
        path: str,
        metadata: Mapping[str, str | bytes],
        raw: bytes,
        context: grpc.aio.ServicerContext[bytes, bytes],
    ) -> bytes:
        started = time.perf_counter()
        code = StatusCode.OK
        try:
            return await self._answers[path](raw, str(metadata.get("authorization", "")))
        except Refused as refused:
            code = refused.code
            await context.abort(code, refused.message)
        except Exception as error:
            code = StatusCode.INTERNAL
            log.exception("%s cannot be answered", path)
            await context.abort(code, f"The stand-in failed: {type(error).__name__}.")
        finally:
            self._write(path, metadata, code, time.perf_counter() - started)

    def _write(
        self, path: str, metadata: Mapping[str, str | bytes], code: StatusCode, seconds: float
    ) -> None:
        self.calls += 1
        if self._log_file is None:
            return
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "method": path.rpartition("/")[2],
            "agent": str(metadata.get("user-agent", "")),
            "code": code.name,
            "ms": round(seconds * 1000, 2),
        }
        self._log_file.write(json.dumps(line) + "\n")

"""The server's side of `control`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from grpc import StatusCode
from temporalio.api.cloud.resource.v1.message_pb2 import ResourceState

from tprov_kernel.standin.core import Core
from tprov_kernel.standin.faults import Fault, Faults
from tprov_kernel.standin.identity import Identities
from tprov_kernel.standin.rules import Refused
from tprov_kernel.standin.server import Answer


def control(
    *,
    core: Core,
    faults: Faults,
    identities: Identities,
    more: Mapping[str, Callable[[], object]],
) -> Mapping[str, Answer]:
    """Make the control service's methods, by name."""

    def fault(message: dict[str, Any]) -> object:
        try:
            faults.add(Fault(**message))
        except TypeError as error:
            raise Refused(StatusCode.INVALID_ARGUMENT, f"That is no fault: {error}.") from None
        return {}

    def mend(message: dict[str, Any]) -> object:
        faults.mend()
        core.operations.release()
        return {}

    def status(message: dict[str, Any]) -> object:
        return {
            "account": core.account,
            "faults": faults.listed(),
            "held": core.operations.held,
            "open": [o.id for o in core.store.open_operations()],
            "objects": core.store.counts(),
            **{name: ask() for name, ask in more.items()},
        }

    def objects(message: dict[str, Any]) -> object:
        return [_listed(kind.name, kind.title, e) for kind in core.kinds.values()
                for e in core.all(kind)]  # fmt: skip

    def answering(verb: Callable[[dict[str, Any]], object]) -> Answer:
        async def answer(raw: bytes, authorization: str) -> bytes:
            identities.must_be_own(authorization)
            try:
                message = json.loads(raw)
            except ValueError:
                message = None
            if not isinstance(message, dict):
                raise Refused(StatusCode.INVALID_ARGUMENT, "The message is no JSON object.")
            return json.dumps(verb(message)).encode()

        return answer

    verbs = {"Fault": fault, "Mend": mend, "Status": status, "Objects": objects}
    return {name: answering(verb) for name, verb in verbs.items()}


def _listed(kind: str, title: Callable[[Any], str], entity: Any) -> dict[str, str]:
    fields = entity.DESCRIPTOR.fields_by_name
    id_field = next(f for f in ("id", "namespace", "name") if f in fields)
    created = entity.created_time.ToJsonString() if "created_time" in fields else ""
    state = ResourceState.Name(entity.state).removeprefix("RESOURCE_STATE_").lower()
    return {
        "type": kind,
        "id": getattr(entity, id_field),
        "name": title(entity),
        "state": state.replace("_", " "),
        "created": created,
    }

"""A namespace in a second region: added, removed, failed over to.

The provider does none of these.
"""

from __future__ import annotations

import json

from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.operation.v1.message_pb2 import AsyncOperation

from tprov_kernel.standin import rules
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.entities import Call
from tprov_kernel.standin.families.account import REGIONS
from tprov_kernel.standin.families.namespaces import NAMESPACE
from tprov_kernel.standin.store import Operation


class Replication:
    """Where namespaces are replicated."""

    def __init__(self, core: Core) -> None:
        self._core = core
        core.operations.effects |= {"regions": self._moved}

    def AddNamespaceRegion(
        self, request: rr.AddNamespaceRegionRequest, call: Call
    ) -> rr.AddNamespaceRegionResponse:
        """Replicate a namespace to another region."""
        current = self._core.get(NAMESPACE, request.namespace)
        self._core.may_change(NAMESPACE, request.namespace, current, request.resource_version)
        wanted = [*current.spec.regions, request.region]
        rules.regions(wanted, known=REGIONS)
        operation = self._begin(request.namespace, wanted, current.active_region, call)
        return rr.AddNamespaceRegionResponse(async_operation=operation)

    def DeleteNamespaceRegion(
        self, request: rr.DeleteNamespaceRegionRequest, call: Call
    ) -> rr.DeleteNamespaceRegionResponse:
        """End the replication to a region."""
        current = self._core.get(NAMESPACE, request.namespace)
        self._core.may_change(NAMESPACE, request.namespace, current, request.resource_version)
        left = list(current.spec.regions)
        if request.region not in left:
            rules.invalid("region", f"must be one of the namespace's, {request.region!r} is not")
        left.remove(request.region)
        if current.active_region not in left:
            rules.not_now(f"{request.region!r} is the active region, fail over first")
        operation = self._begin(request.namespace, left, current.active_region, call)
        return rr.DeleteNamespaceRegionResponse(async_operation=operation)

    def FailoverNamespaceRegion(
        self, request: rr.FailoverNamespaceRegionRequest, call: Call
    ) -> rr.FailoverNamespaceRegionResponse:
        """Make another region of a namespace the active one."""
        current = self._core.get(NAMESPACE, request.namespace)
        self._core.may_change(NAMESPACE, request.namespace, current, current.resource_version)
        if request.region not in current.spec.regions:
            rules.invalid("region", f"must be one of the namespace's, {request.region!r} is not")
        operation = self._begin(request.namespace, list(current.spec.regions), request.region, call)
        return rr.FailoverNamespaceRegionResponse(async_operation=operation)

    def _begin(self, id: str, regions: list[str], active: str, call: Call) -> AsyncOperation:
        extra = json.dumps([regions, active])
        return self._core.begin(NAMESPACE, id, "regions", call, extra=extra)

    def _moved(self, operation: Operation) -> None:
        current = self._core.get(NAMESPACE, operation.object)
        regions, active = json.loads(operation.extra)
        current.spec.regions[:] = regions
        current.active_region = active
        self._core.changed(NAMESPACE, operation.object, current)

"""Nexus endpoints: from which namespaces to which task queue calls may go."""

from __future__ import annotations

from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.nexus.v1.message_pb2 import Endpoint, EndpointSpec

from tprov_kernel.standin import rules
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.entities import Call, Kind, new_id
from tprov_kernel.standin.families.namespaces import NAMESPACE

ENDPOINT = Kind(
    name="Nexus endpoint",
    type=Endpoint,
    title=lambda e: str(e.spec.name),
    key=lambda e: str(e.spec.name),
    key_field="spec.name",
)


class Nexus:
    """Nexus endpoints."""

    def __init__(self, core: Core) -> None:
        self._core = core
        core.kinds[ENDPOINT.name] = ENDPOINT
        core.removed.append(self._removed)
        core.holds.append(self._target_of)

    def GetNexusEndpoint(
        self, request: rr.GetNexusEndpointRequest, call: Call
    ) -> rr.GetNexusEndpointResponse:
        """One endpoint."""
        return rr.GetNexusEndpointResponse(endpoint=self._core.get(ENDPOINT, request.endpoint_id))

    def GetNexusEndpoints(
        self, request: rr.GetNexusEndpointsRequest, call: Call
    ) -> rr.GetNexusEndpointsResponse:
        """Endpoints, all or by name and target."""

        def wanted(endpoint: Endpoint) -> bool:
            target = endpoint.spec.target_spec.worker_target_spec
            return (
                request.name in ("", endpoint.spec.name)
                and request.target_namespace_id in ("", target.namespace_id)
                and request.target_task_queue in ("", target.task_queue)
            )

        found, token = self._core.page(ENDPOINT, request, wanted)
        return rr.GetNexusEndpointsResponse(endpoints=found, next_page_token=token)

    def CreateNexusEndpoint(
        self, request: rr.CreateNexusEndpointRequest, call: Call
    ) -> rr.CreateNexusEndpointResponse:
        """Make an endpoint."""
        self._check(request.spec)
        fresh = Endpoint(id=new_id(), spec=request.spec)
        operation = self._core.create(ENDPOINT, fresh.id, fresh, call)
        return rr.CreateNexusEndpointResponse(endpoint_id=fresh.id, async_operation=operation)

    def UpdateNexusEndpoint(
        self, request: rr.UpdateNexusEndpointRequest, call: Call
    ) -> rr.UpdateNexusEndpointResponse:
        """Change an endpoint."""
        current = self._core.get(ENDPOINT, request.endpoint_id)
        self._check(request.spec)
        current.spec.CopyFrom(request.spec)
        operation = self._core.update(
            ENDPOINT, request.endpoint_id, current, call, version=request.resource_version
        )
        return rr.UpdateNexusEndpointResponse(async_operation=operation)

    def DeleteNexusEndpoint(
        self, request: rr.DeleteNexusEndpointRequest, call: Call
    ) -> rr.DeleteNexusEndpointResponse:
        """Delete an endpoint."""
        operation = self._core.delete(
            ENDPOINT, request.endpoint_id, call, version=request.resource_version
        )
        return rr.DeleteNexusEndpointResponse(async_operation=operation)

    def _check(self, spec: EndpointSpec) -> None:
        rules.matches("spec.name", spec.name, rules.ENDPOINT_NAME, least=2, most=200)
        target = spec.target_spec.worker_target_spec
        field = "spec.target_spec.worker_target_spec"
        rules.given(f"{field}.task_queue", target.task_queue)
        self._core.get(NAMESPACE, target.namespace_id, field=f"{field}.namespace_id")
        for at, policy in enumerate(spec.policy_specs):
            allowed = policy.allowed_cloud_namespace_policy_spec.namespace_id
            self._core.get(
                NAMESPACE,
                allowed,
                field=f"spec.policy_specs[{at}].allowed_cloud_namespace_policy_spec.namespace_id",
            )

    def _target_of(self, kind: str, id: str) -> str | None:
        if kind == NAMESPACE.name:
            for one in self._core.all(ENDPOINT):
                if one.spec.target_spec.worker_target_spec.namespace_id == id:
                    return f"it is the target of the Nexus endpoint {one.spec.name!r}"
        return None

    def _removed(self, kind: str, id: str) -> None:
        """A namespace that is gone is allowed nowhere."""
        if kind != NAMESPACE.name:
            return
        for one in self._core.all(ENDPOINT):
            kept = [
                p
                for p in one.spec.policy_specs
                if p.allowed_cloud_namespace_policy_spec.namespace_id != id
            ]
            if len(kept) < len(one.spec.policy_specs):
                del one.spec.policy_specs[:]
                one.spec.policy_specs.extend(kept)
                self._core.changed(ENDPOINT, one.id, one)

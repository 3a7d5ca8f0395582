"""Namespaces: their specification, their search attributes, their tags."""

from __future__ import annotations

import json

from grpc import StatusCode
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.connectivityrule.v1.message_pb2 import ConnectivityRule
from temporalio.api.cloud.namespace.v1 import message_pb2 as namespace
from temporalio.api.cloud.operation.v1.message_pb2 import AsyncOperation

from tprov_kernel.standin import rules
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.entities import Call, Kind, mark, now
from tprov_kernel.standin.families.account import REGIONS
from tprov_kernel.standin.rules import Refused
from tprov_kernel.standin.store import Operation, Store

NAMESPACE = Kind(
    name="namespace",
    type=namespace.Namespace,
    title=lambda n: str(n.spec.name),
    key=lambda n: str(n.spec.name),
    key_field="spec.name",
    by_key=True,
)


def _rule_key(rule: ConnectivityRule) -> str:
    private = rule.spec.private_rule
    if rule.spec.HasField("private_rule"):
        return " ".join(
            filter(None, (private.connection_id, private.region, private.gcp_project_id))
        )
    return "public, stable IPs" if rule.spec.public_rule.enable_stable_ips else "public"


RULE = Kind(
    name="connectivity rule",
    type=ConnectivityRule,
    title=_rule_key,
    key=_rule_key,
    key_field="spec",
)
"""Here, because namespaces refer to them. An account has only one of each *(guess)*."""
APS = 500
"""Actions per second of a namespace on demand (https://docs.temporal.io/cloud/limits)."""
REQUEST_STATES = {
    AsyncOperation.STATE_PENDING: namespace.Capacity.Request.STATE_CAPACITY_REQUEST_IN_PROGRESS,
    AsyncOperation.STATE_FULFILLED: namespace.Capacity.Request.STATE_CAPACITY_REQUEST_COMPLETED,
    AsyncOperation.STATE_FAILED: namespace.Capacity.Request.STATE_CAPACITY_REQUEST_FAILED,
}
"""How an operation's state is told of a request for capacity."""
APS_PER_UNIT = 500
"""Actions per second of one unit of provisioned capacity *(guess)*."""
UNITS = (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0)
"""The units that GetNamespaceCapacityInfo offers *(guess)*; others are not refused."""


class Namespaces:
    """Namespaces."""

    def __init__(self, core: Core) -> None:
        self._core = core
        core.kinds[NAMESPACE.name] = NAMESPACE
        core.operations.effects |= {"tags": self._tagged, "rename": self._renamed}
        core.removed.append(self._removed)

    # --- the API -----------------------------------------------------------------------------

    def GetNamespace(self, request: rr.GetNamespaceRequest, call: Call) -> rr.GetNamespaceResponse:
        """One namespace."""
        return rr.GetNamespaceResponse(
            namespace=self._shown(self._core.get(NAMESPACE, request.namespace))
        )

    def GetNamespaces(
        self, request: rr.GetNamespacesRequest, call: Call
    ) -> rr.GetNamespacesResponse:
        """Namespaces, all or the one with a name."""
        found, token = self._core.page(
            NAMESPACE, request, lambda n: request.name in ("", n.spec.name)
        )
        return rr.GetNamespacesResponse(
            namespaces=[self._shown(n) for n in found], next_page_token=token
        )

    def CreateNamespace(
        self, request: rr.CreateNamespaceRequest, call: Call
    ) -> rr.CreateNamespaceResponse:
        """Make a namespace."""
        spec = complete(request.spec)
        self._check(spec)
        rules.tags(request.tags)
        if request.tags and not call.principal.is_admin:
            raise Refused(StatusCode.PERMISSION_DENIED, "Only admins may set tags.")
        if spec.capacity_spec.HasField("provisioned"):
            rules.invalid("spec.capacity_spec", "must be on-demand for a new namespace")
        id = f"{spec.name}.{self._core.account}"
        fresh = namespace.Namespace(namespace=id, spec=spec, active_region=spec.regions[0])
        fresh.tags.update(request.tags)
        operation = self._core.create(NAMESPACE, id, fresh, call)
        return rr.CreateNamespaceResponse(namespace=id, async_operation=operation)

    def UpdateNamespace(
        self, request: rr.UpdateNamespaceRequest, call: Call
    ) -> rr.UpdateNamespaceResponse:
        """Give a namespace a new specification."""
        current = self._core.get(NAMESPACE, request.namespace)
        spec = complete(request.spec)
        self._without_echoes(current, spec)
        if not spec.HasField("capacity_spec") and current.spec.HasField("capacity_spec"):
            spec.capacity_spec.CopyFrom(current.spec.capacity_spec)
        rules.unchanged("spec.name", current.spec.name, spec.name)
        rules.unchanged("spec.regions", sorted(current.spec.regions), sorted(spec.regions))
        self._check(spec)
        rules.search_attributes_kept(current.spec.search_attributes, spec.search_attributes)
        spec.regions[:] = current.spec.regions
        if spec.capacity_spec != current.spec.capacity_spec:
            self._core.store.put_fact(f"capacity of {request.namespace}", call.operation_id)
        current.spec.CopyFrom(spec)
        operation = self._core.update(
            NAMESPACE, request.namespace, current, call, version=request.resource_version
        )
        return rr.UpdateNamespaceResponse(async_operation=operation)

    def RenameCustomSearchAttribute(
        self, request: rr.RenameCustomSearchAttributeRequest, call: Call
    ) -> rr.RenameCustomSearchAttributeResponse:
        """Give a search attribute another name; its values stay."""
        current = self._core.get(NAMESPACE, request.namespace)
        self._core.may_change(NAMESPACE, request.namespace, current, request.resource_version)
        old = request.existing_custom_search_attribute_name
        new = request.new_custom_search_attribute_name
        if old not in current.spec.search_attributes:
            rules.not_found("search attribute", old)
        rules.attribute_name("new_custom_search_attribute_name", new)
        if new in current.spec.search_attributes:
            raise Refused(StatusCode.ALREADY_EXISTS, f"A search attribute {new!r} exists already.")
        operation = self._core.begin(
            NAMESPACE, request.namespace, "rename", call, extra=json.dumps([old, new])
        )
        return rr.RenameCustomSearchAttributeResponse(async_operation=operation)

    def UpdateNamespaceTags(
        self, request: rr.UpdateNamespaceTagsRequest, call: Call
    ) -> rr.UpdateNamespaceTagsResponse:
        """Set and remove tags; they have no version."""
        current = self._core.get(NAMESPACE, request.namespace)
        upsert, remove = dict(request.tags_to_upsert), list(request.tags_to_remove)
        if not upsert and not remove:
            rules.invalid("tags_to_upsert or tags_to_remove", "must be given")
        tags = {k: v for k, v in current.tags.items() if k not in remove} | upsert
        rules.tags(tags)
        operation = self._core.begin(
            NAMESPACE, request.namespace, "tags", call, extra=json.dumps([upsert, remove])
        )
        return rr.UpdateNamespaceTagsResponse(async_operation=operation)

    def DeleteNamespace(
        self, request: rr.DeleteNamespaceRequest, call: Call
    ) -> rr.DeleteNamespaceResponse:
        """Delete a namespace that is not protected."""
        current = self._core.get(NAMESPACE, request.namespace)
        if current.spec.lifecycle.enable_delete_protection:
            rules.not_now(
                f"The namespace {request.namespace!r} is protected from deletion"
                " (spec.lifecycle.enable_delete_protection)"
            )
        operation = self._core.delete(
            NAMESPACE, request.namespace, call, version=request.resource_version
        )
        return rr.DeleteNamespaceResponse(async_operation=operation)

    def GetNamespaceCapacityInfo(
        self, request: rr.GetNamespaceCapacityInfoRequest, call: Call
    ) -> rr.GetNamespaceCapacityInfoResponse:
        """What capacity a namespace has, and could have."""
        shown = self._shown(self._core.get(NAMESPACE, request.namespace))
        info = namespace.NamespaceCapacityInfo(
            namespace=shown.namespace, current_capacity=shown.capacity
        )
        info.mode_options.on_demand.aps_limit = APS
        info.mode_options.provisioned.valid_tru_values.extend(UNITS)
        info.mode_options.provisioned.max_available_tru_value = UNITS[-1]
        return rr.GetNamespaceCapacityInfoResponse(capacity_info=info)

    def _check(self, spec: namespace.NamespaceSpec) -> None:
        rules.namespace_spec(spec, known_regions=REGIONS)
        for id in spec.connectivity_rule_ids:
            self._core.get(RULE, id, field="spec.connectivity_rule_ids")

    # --- what operations do when they end ----------------------------------------------------

    def _tagged(self, operation: Operation) -> None:
        current = self._core.get(NAMESPACE, operation.object)
        upsert, remove = json.loads(operation.extra)
        for key in remove:
            current.tags.pop(key, None)
        current.tags.update(upsert)
        current.last_modified_time.CopyFrom(now())
        self._core.write(NAMESPACE, operation.object, current)

    def _renamed(self, operation: Operation) -> None:
        # The version stays: the provider follows a rename with an update of the version, and of
        # the specification, that it read before.
        current = self._core.get(NAMESPACE, operation.object)
        old, new = json.loads(operation.extra)
        current.spec.search_attributes[new] = current.spec.search_attributes.pop(old)
        current.last_modified_time.CopyFrom(now())
        mark(current, current.state, "")
        self._core.write(NAMESPACE, operation.object, current)
        history = [
            *renames(self._core.store, operation.object),
            (current.resource_version, old, new),
        ]
        self._core.store.put_fact(f"renames of {operation.object}", json.dumps(history))

    def _removed(self, kind: str, id: str) -> None:
        if kind == NAMESPACE.name:
            self._core.store.drop_fact(f"renames of {id}")
            self._core.store.drop_fact(f"capacity of {id}")

    def _without_echoes(self, current: namespace.Namespace, spec: namespace.NamespaceSpec) -> None:
        """Drop the old names of attributes that were renamed after the caller's last look."""
        for version, old, _ in renames(self._core.store, current.namespace):
            if version == current.resource_version and old not in current.spec.search_attributes:
                spec.search_attributes.pop(old, None)

    # --- as it is shown ----------------------------------------------------------------------

    def _capacity(self, entity: namespace.Namespace) -> None:
        """What there is follows from the specification; the last request, from its operation."""
        entity.limits.actions_per_second_limit = APS
        if entity.spec.capacity_spec.HasField("provisioned"):
            units = entity.spec.capacity_spec.provisioned.value
            entity.capacity.provisioned.current_value = units
            entity.limits.actions_per_second_limit = int(units * APS_PER_UNIT)
        else:
            entity.capacity.on_demand.SetInParent()
        id = self._core.store.fact(f"capacity of {entity.namespace}")
        operation = self._core.store.operation(id) if id else None
        if operation is None or operation.after is None:
            return
        body = AsyncOperation.FromString(operation.body)
        request = entity.capacity.latest_request
        request.state = REQUEST_STATES[body.state]
        request.async_operation_id = operation.id
        request.spec.CopyFrom(namespace.Namespace.FromString(operation.after).spec.capacity_spec)
        request.start_time.CopyFrom(body.started_time)
        if body.HasField("finished_time"):
            request.end_time.CopyFrom(body.finished_time)

    def _where(self, entity: namespace.Namespace) -> None:
        """Where the namespace is: on the local server, or at names that can never exist."""
        id, server = entity.namespace, self._core.server
        provider, _, region = entity.active_region.partition("-")
        if entity.spec.api_key_auth.enabled:
            name = f"{region}.{provider}.api.temporal.invalid:7233"
            entity.endpoints.grpc_address = server.grpc or name
        if entity.spec.mtls_auth.enabled:
            entity.endpoints.mtls_grpc_address = server.grpc or f"{id}.tmprl.invalid:7233"
        web = server.web or "https://cloud.temporal.invalid"
        entity.endpoints.web_address = f"{web}/namespaces/{id}"

    def _shown(self, entity: namespace.Namespace) -> namespace.Namespace:
        """Add what is not stored, because it follows from the specification."""
        spec = entity.spec
        self._where(entity)
        self._capacity(entity)
        for id in spec.connectivity_rule_ids:
            if (rule := self._core.peek(RULE, id)) is not None:
                entity.connectivity_rules.add().CopyFrom(rule)
        for at, region in enumerate(spec.regions):
            active = at == list(spec.regions).index(entity.active_region)
            status = entity.region_status[region]
            if not status.state:
                status.state = (
                    namespace.NamespaceRegionStatus.STATE_ACTIVE
                    if active
                    else namespace.NamespaceRegionStatus.STATE_PASSIVE
                )
                status.state_deprecated = "active" if active else "passive"
            entity.replicas.add(
                id=f"{entity.namespace}-{at}",
                is_primary=active,
                state=namespace.Replica.REPLICA_STATE_ACTIVE,
                region=region,
            )
        return entity


def renames(store: Store, id: str) -> list[tuple[str, str, str]]:
    """The renames of a namespace's search attributes, oldest first: version, old name, new name."""
    return [(v, old, new) for v, old, new in json.loads(store.fact(f"renames of {id}") or "[]")]


def complete(asked: namespace.NamespaceSpec) -> namespace.NamespaceSpec:
    """Fill in what an answer must always have, whichever way it was asked for."""
    spec = namespace.NamespaceSpec()
    spec.CopyFrom(asked)
    if not spec.regions:
        spec.regions.extend(r.region for r in spec.replicas)
    spec.api_key_auth.SetInParent()  # the provider cannot do without it, on or off
    return spec

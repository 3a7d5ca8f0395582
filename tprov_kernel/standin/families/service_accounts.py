"""Service accounts: for the whole account, or for a single namespace."""

from __future__ import annotations

from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.identity.v1 import message_pb2 as identity

from tprov_kernel.standin import rules
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.entities import Call, Kind, new_id
from tprov_kernel.standin.families import access
from tprov_kernel.standin.families.namespaces import NAMESPACE

SERVICE_ACCOUNT = Kind(
    name="service account",
    type=identity.ServiceAccount,
    title=lambda s: str(s.spec.name),
    key=lambda s: str(s.spec.name).lower(),
    key_field="spec.name",
)


class ServiceAccounts:
    """Service accounts."""

    def __init__(self, core: Core) -> None:
        self._core = core
        core.kinds[SERVICE_ACCOUNT.name] = SERVICE_ACCOUNT
        access.forget_namespaces(core, SERVICE_ACCOUNT)
        core.removed.append(self._namespace_removed)

    def GetServiceAccount(
        self, request: rr.GetServiceAccountRequest, call: Call
    ) -> rr.GetServiceAccountResponse:
        """One service account."""
        found = self._core.get(SERVICE_ACCOUNT, request.service_account_id)
        return rr.GetServiceAccountResponse(service_account=found)

    def GetServiceAccounts(
        self, request: rr.GetServiceAccountsRequest, call: Call
    ) -> rr.GetServiceAccountsResponse:
        """Every service account."""
        found, token = self._core.page(SERVICE_ACCOUNT, request)
        return rr.GetServiceAccountsResponse(service_account=found, next_page_token=token)

    def CreateServiceAccount(
        self, request: rr.CreateServiceAccountRequest, call: Call
    ) -> rr.CreateServiceAccountResponse:
        """Make a service account."""
        self._check(request.spec)
        fresh = identity.ServiceAccount(id=new_id(), spec=request.spec)
        operation = self._core.create(SERVICE_ACCOUNT, fresh.id, fresh, call)
        return rr.CreateServiceAccountResponse(
            service_account_id=fresh.id, async_operation=operation
        )

    def UpdateServiceAccount(
        self, request: rr.UpdateServiceAccountRequest, call: Call
    ) -> rr.UpdateServiceAccountResponse:
        """Change a service account; the namespace that it is for stays."""
        id = request.service_account_id
        current = self._core.get(SERVICE_ACCOUNT, id)
        self._check(request.spec)
        rules.unchanged(
            "spec.namespace_scoped_access.namespace",
            current.spec.namespace_scoped_access.namespace,
            request.spec.namespace_scoped_access.namespace,
        )
        current.spec.CopyFrom(request.spec)
        operation = self._core.update(
            SERVICE_ACCOUNT, id, current, call, version=request.resource_version
        )
        return rr.UpdateServiceAccountResponse(async_operation=operation)

    def SetServiceAccountNamespaceAccess(
        self, request: rr.SetServiceAccountNamespaceAccessRequest, call: Call
    ) -> rr.SetServiceAccountNamespaceAccessResponse:
        """Give a service account a permission on one namespace, or take it."""
        id = request.service_account_id
        current = self._core.get(SERVICE_ACCOUNT, id)
        if current.spec.HasField("namespace_scoped_access"):
            rules.not_now(f"The service account {id!r} is for a single namespace")
        access.set_permission(self._core, current.spec.access, request)
        operation = self._core.update(
            SERVICE_ACCOUNT, id, current, call, version=request.resource_version
        )
        return rr.SetServiceAccountNamespaceAccessResponse(async_operation=operation)

    def DeleteServiceAccount(
        self, request: rr.DeleteServiceAccountRequest, call: Call
    ) -> rr.DeleteServiceAccountResponse:
        """Delete a service account, with its API keys."""
        operation = self._core.delete(
            SERVICE_ACCOUNT, request.service_account_id, call, version=request.resource_version
        )
        return rr.DeleteServiceAccountResponse(async_operation=operation)

    def _check(self, spec: identity.ServiceAccountSpec) -> None:
        rules.named("spec.name", spec.name)
        rules.exactly_one(spec, "spec", "access", "namespace_scoped_access")
        if spec.HasField("access"):
            access.check(self._core, spec.access)
            return
        scoped = spec.namespace_scoped_access
        field = "spec.namespace_scoped_access"
        rules.permission(f"{field}.access", scoped.access)
        self._core.get(NAMESPACE, scoped.namespace, field=f"{field}.namespace")

    def _namespace_removed(self, kind: str, id: str) -> None:
        """What was for a single namespace goes with it *(guess)*."""
        if kind != NAMESPACE.name:
            return
        for one in self._core.all(SERVICE_ACCOUNT):
            if one.spec.namespace_scoped_access.namespace == id:
                self._core.remove(SERVICE_ACCOUNT, one.id)

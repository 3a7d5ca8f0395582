"""Where data goes: a namespace's export sinks, the account's audit-log sinks.

A stand-in has no data to send: every sink that its specification allows is healthy.
"""

from __future__ import annotations

from temporalio.api.cloud.account.v1.message_pb2 import AuditLogSink
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.namespace.v1.message_pb2 import ExportSink

from tprov_kernel.standin import rules
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.entities import Call, Kind
from tprov_kernel.standin.families.namespaces import NAMESPACE

EXPORT = Kind(name="export sink", type=ExportSink, title=lambda s: str(s.name))
AUDIT = Kind(name="audit-log sink", type=AuditLogSink, title=lambda s: str(s.name))


class ExportSinks:
    """A namespace's export sinks."""

    def __init__(self, core: Core) -> None:
        self._core = core
        core.kinds[EXPORT.name] = EXPORT
        core.removed.append(self._namespace_removed)

    def GetNamespaceExportSink(
        self, request: rr.GetNamespaceExportSinkRequest, call: Call
    ) -> rr.GetNamespaceExportSinkResponse:
        """One sink."""
        found = self._core.get(EXPORT, _id(request.namespace, request.name))
        return rr.GetNamespaceExportSinkResponse(sink=found)

    def GetNamespaceExportSinks(
        self, request: rr.GetNamespaceExportSinksRequest, call: Call
    ) -> rr.GetNamespaceExportSinksResponse:
        """A namespace's sinks."""
        self._core.get(NAMESPACE, request.namespace)
        found, token = self._core.page(EXPORT, request, within=_id(request.namespace, ""))
        return rr.GetNamespaceExportSinksResponse(sinks=found, next_page_token=token)

    def CreateNamespaceExportSink(
        self, request: rr.CreateNamespaceExportSinkRequest, call: Call
    ) -> rr.CreateNamespaceExportSinkResponse:
        """Make a sink."""
        self._core.get(NAMESPACE, request.namespace)
        rules.export_sink(request.spec)
        fresh = ExportSink(name=request.spec.name, spec=request.spec, health=ExportSink.HEALTH_OK)
        operation = self._core.create(
            EXPORT, _id(request.namespace, request.spec.name), fresh, call
        )
        return rr.CreateNamespaceExportSinkResponse(async_operation=operation)

    def UpdateNamespaceExportSink(
        self, request: rr.UpdateNamespaceExportSinkRequest, call: Call
    ) -> rr.UpdateNamespaceExportSinkResponse:
        """Change a sink."""
        id = _id(request.namespace, request.spec.name)
        current = self._core.get(EXPORT, id)
        rules.export_sink(request.spec)
        current.spec.CopyFrom(request.spec)
        operation = self._core.update(EXPORT, id, current, call, version=request.resource_version)
        return rr.UpdateNamespaceExportSinkResponse(async_operation=operation)

    def DeleteNamespaceExportSink(
        self, request: rr.DeleteNamespaceExportSinkRequest, call: Call
    ) -> rr.DeleteNamespaceExportSinkResponse:
        """Delete a sink."""
        id = _id(request.namespace, request.name)
        operation = self._core.delete(EXPORT, id, call, version=request.resource_version)
        return rr.DeleteNamespaceExportSinkResponse(async_operation=operation)

    def ValidateNamespaceExportSink(
        self, request: rr.ValidateNamespaceExportSinkRequest, call: Call
    ) -> rr.ValidateNamespaceExportSinkResponse:
        """Judge a specification."""
        self._core.get(NAMESPACE, request.namespace)
        rules.export_sink(request.spec)
        return rr.ValidateNamespaceExportSinkResponse()

    def _namespace_removed(self, kind: str, id: str) -> None:
        if kind == NAMESPACE.name:
            for sink, _ in list(self._core.store.scan(EXPORT.name, within=_id(id, ""))):
                self._core.store.remove(EXPORT.name, sink)


class AuditSinks:
    """The account's audit-log sinks."""

    def __init__(self, core: Core) -> None:
        self._core = core
        core.kinds[AUDIT.name] = AUDIT

    def GetAccountAuditLogSink(
        self, request: rr.GetAccountAuditLogSinkRequest, call: Call
    ) -> rr.GetAccountAuditLogSinkResponse:
        """One sink."""
        return rr.GetAccountAuditLogSinkResponse(sink=self._core.get(AUDIT, request.name))

    def GetAccountAuditLogSinks(
        self, request: rr.GetAccountAuditLogSinksRequest, call: Call
    ) -> rr.GetAccountAuditLogSinksResponse:
        """Every sink."""
        found, token = self._core.page(AUDIT, request)
        return rr.GetAccountAuditLogSinksResponse(sinks=found, next_page_token=token)

    def CreateAccountAuditLogSink(
        self, request: rr.CreateAccountAuditLogSinkRequest, call: Call
    ) -> rr.CreateAccountAuditLogSinkResponse:
        """Make a sink."""
        rules.audit_sink(request.spec)
        name = request.spec.name
        fresh = AuditLogSink(name=name, spec=request.spec, health=AuditLogSink.HEALTH_OK)
        operation = self._core.create(AUDIT, name, fresh, call)
        return rr.CreateAccountAuditLogSinkResponse(async_operation=operation)

    def UpdateAccountAuditLogSink(
        self, request: rr.UpdateAccountAuditLogSinkRequest, call: Call
    ) -> rr.UpdateAccountAuditLogSinkResponse:
        """Change a sink."""
        name = request.spec.name
        current = self._core.get(AUDIT, name)
        rules.audit_sink(request.spec)
        current.spec.CopyFrom(request.spec)
        operation = self._core.update(AUDIT, name, current, call, version=request.resource_version)
        return rr.UpdateAccountAuditLogSinkResponse(async_operation=operation)

    def DeleteAccountAuditLogSink(
        self, request: rr.DeleteAccountAuditLogSinkRequest, call: Call
    ) -> rr.DeleteAccountAuditLogSinkResponse:
        """Delete a sink."""
        operation = self._core.delete(AUDIT, request.name, call, version=request.resource_version)
        return rr.DeleteAccountAuditLogSinkResponse(async_operation=operation)

    def ValidateAccountAuditLogSink(
        self, request: rr.ValidateAccountAuditLogSinkRequest, call: Call
    ) -> rr.ValidateAccountAuditLogSinkResponse:
        """Judge a specification."""
        rules.audit_sink(request.spec)
        return rr.ValidateAccountAuditLogSinkResponse()


def _id(namespace: str, name: str) -> str:
    return f"{namespace},{name}"

"""Custom roles (the provider has them from v1.5.0 on).

They are kept; what they allow is not judged.
"""

from __future__ import annotations

from typing import Any

from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.identity.v1 import message_pb2 as identity

from tprov_kernel.standin import rules
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.entities import Call, Kind, new_id

ROLE = Kind(
    name="custom role",
    type=identity.CustomRole,
    title=lambda r: str(r.spec.name),
    key=lambda r: str(r.spec.name).lower(),
    key_field="spec.name",
)


class Roles:
    """Custom roles."""

    def __init__(self, core: Core) -> None:
        self._core = core
        core.kinds[ROLE.name] = ROLE

    def GetCustomRole(
        self, request: rr.GetCustomRoleRequest, call: Call
    ) -> rr.GetCustomRoleResponse:
        """One role."""
        return rr.GetCustomRoleResponse(custom_role=self._core.get(ROLE, request.role_id))

    def GetCustomRoles(
        self, request: rr.GetCustomRolesRequest, call: Call
    ) -> rr.GetCustomRolesResponse:
        """Every role."""
        found, token = self._core.page(ROLE, request)
        return rr.GetCustomRolesResponse(custom_roles=found, next_page_token=token)

    def CreateCustomRole(
        self, request: rr.CreateCustomRoleRequest, call: Call
    ) -> rr.CreateCustomRoleResponse:
        """Make a role."""
        rules.custom_role(request.spec)
        id = new_id()
        fresh = identity.CustomRole(id=id, spec=request.spec)
        operation = self._core.create(ROLE, id, fresh, call)
        return rr.CreateCustomRoleResponse(role_id=id, async_operation=operation)

    def UpdateCustomRole(
        self, request: rr.UpdateCustomRoleRequest, call: Call
    ) -> rr.UpdateCustomRoleResponse:
        """Change a role."""
        current = self._core.get(ROLE, request.role_id)
        rules.custom_role(request.spec)
        current.spec.CopyFrom(request.spec)
        operation = self._core.update(
            ROLE, request.role_id, current, call, version=request.resource_version
        )
        return rr.UpdateCustomRoleResponse(async_operation=operation)

    def DeleteCustomRole(
        self, request: rr.DeleteCustomRoleRequest, call: Call
    ) -> rr.DeleteCustomRoleResponse:
        """Delete a role that nobody has."""
        for kind in ("user", "service account", "group"):
            for holder in self._core.all(self._core.kinds[kind]):
                self._not_held(holder, kind, request.role_id)
        operation = self._core.delete(ROLE, request.role_id, call, version=request.resource_version)
        return rr.DeleteCustomRoleResponse(async_operation=operation)

    @staticmethod
    def _not_held(holder: Any, kind: str, role: str) -> None:
        if role in holder.spec.access.account_access.custom_roles:
            rules.not_now(f"The custom role {role!r} is still held by the {kind} {holder.id!r}")

"""Who may use which namespace: what users, service accounts and groups share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.identity.v1 import message_pb2 as identity

from tprov_kernel.standin import rules
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.entities import Kind
from tprov_kernel.standin.families.namespaces import NAMESPACE
from tprov_kernel.standin.families.roles import ROLE


def check(core: Core, access: identity.Access, *, role_required: bool = True) -> None:
    """Judge an access: its own fields, and that what it names exists."""
    rules.access("spec.access", access, role_required=role_required)
    for id in access.namespace_accesses:
        core.get(NAMESPACE, id, field="spec.access.namespace_accesses")
    for id in access.account_access.custom_roles:
        core.get(ROLE, id, field="spec.access.account_access.custom_roles")


def reaches(access: identity.Access, namespace: str) -> bool:
    """Whether somebody can use a namespace; everybody can use no namespace at all."""
    return (
        not namespace
        or namespace in access.namespace_accesses
        or access.account_access.role in rules.ADMINS
    )


def set_permission(
    core: Core,
    access: identity.Access,
    request: rr.SetUserNamespaceAccessRequest
    | rr.SetServiceAccountNamespaceAccessRequest
    | rr.SetUserGroupNamespaceAccessRequest,
) -> None:
    """Change the permission on one namespace; an empty one takes it away."""
    core.get(NAMESPACE, request.namespace, field="namespace")
    access.namespace_accesses.pop(request.namespace, None)
    if request.access.permission:
        rules.permission("access", request.access)
        access.namespace_accesses[request.namespace].CopyFrom(request.access)
    rules.access("access", access, role_required=False)


def forget_namespaces(core: Core, kind: Kind[Any]) -> None:
    """See to it that nobody of a kind keeps a permission on a namespace that is gone."""

    def removed(what: str, id: str) -> None:
        if what != NAMESPACE.name:
            return
        for entity in core.all(kind):
            if id in entity.spec.access.namespace_accesses:
                del entity.spec.access.namespace_accesses[id]
                core.changed(kind, entity.id, entity)

    core.removed.append(removed)


def strongest(roles: Iterable[int]) -> int:
    """The role that lets one do most."""
    role = identity.AccountAccess
    order = (
        role.ROLE_OWNER,
        role.ROLE_ADMIN,
        role.ROLE_DEVELOPER,
        role.ROLE_FINANCE_ADMIN,
        role.ROLE_READ,
        role.ROLE_METRICS_READ,
        role.ROLE_UNSPECIFIED,
    )
    have = set(roles)
    return next((r for r in order if r in have), role.ROLE_UNSPECIFIED)

"""Users, and what they may do."""

from __future__ import annotations

from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.identity.v1 import message_pb2 as identity

from tprov_kernel.standin import rules
from tprov_kernel.standin.core import Call, Core, Kind, new_id
from tprov_kernel.standin.families.namespaces import NAMESPACE

USER = Kind(
    name="user",
    type=identity.User,
    title=lambda u: str(u.spec.email),
    key=lambda u: str(u.spec.email).lower(),
    key_field="spec.email",
)
OWNER = "owner@example.com"
"""Every account has an owner; the workspace's key belongs to this one."""


class Users:
    """Users."""

    def __init__(self, core: Core) -> None:
        self._core = core
        core.kinds[USER.name] = USER
        core.removed.append(self._namespace_removed)
        if core.store.id_of(USER.name, OWNER) is None:
            access = identity.Access(
                account_access=identity.AccountAccess(role=identity.AccountAccess.ROLE_OWNER)
            )
            id = new_id()
            owner = identity.User(id=id, spec=identity.UserSpec(email=OWNER, access=access))
            owner.created_time.GetCurrentTime()
            core.changed(USER, id, owner)

    def GetUser(self, request: rr.GetUserRequest, call: Call) -> rr.GetUserResponse:
        """One user."""
        return rr.GetUserResponse(user=self._core.get(USER, request.user_id))

    def GetUsers(self, request: rr.GetUsersRequest, call: Call) -> rr.GetUsersResponse:
        """Users, all or those with an e-mail address or with access to a namespace."""

        def wanted(user: identity.User) -> bool:
            email = request.email.lower() in ("", user.spec.email.lower())
            return email and has_access(user.spec.access, request.namespace)

        users, token = self._core.page(USER, request, wanted)
        return rr.GetUsersResponse(users=users, next_page_token=token)

    def CreateUser(self, request: rr.CreateUserRequest, call: Call) -> rr.CreateUserResponse:
        """Invite a user."""
        rules.email("spec.email", request.spec.email)
        rules.access("spec.access", request.spec.access)
        known_namespaces(self._core, request.spec.access)
        id = new_id()
        user = identity.User(id=id, spec=request.spec)
        user.invitation.created_time.GetCurrentTime()
        user.invitation.expired_time.FromSeconds(
            user.invitation.created_time.seconds + 14 * 24 * 3600
        )
        operation = self._core.create(USER, id, user, call)
        return rr.CreateUserResponse(user_id=id, async_operation=operation)

    def UpdateUser(self, request: rr.UpdateUserRequest, call: Call) -> rr.UpdateUserResponse:
        """Change what a user may do."""
        user = self._core.get(USER, request.user_id)
        rules.unchanged("spec.email", user.spec.email, request.spec.email)
        self._not_the_owner(user)
        rules.access("spec.access", request.spec.access)
        known_namespaces(self._core, request.spec.access)
        user.spec.CopyFrom(request.spec)
        operation = self._core.update(
            USER, request.user_id, user, call, version=request.resource_version
        )
        return rr.UpdateUserResponse(async_operation=operation)

    def SetUserNamespaceAccess(
        self, request: rr.SetUserNamespaceAccessRequest, call: Call
    ) -> rr.SetUserNamespaceAccessResponse:
        """Give a user a permission on one namespace, or take it."""
        user = self._core.get(USER, request.user_id)
        set_access(self._core, user.spec.access, request)
        operation = self._core.update(
            USER, request.user_id, user, call, version=request.resource_version
        )
        return rr.SetUserNamespaceAccessResponse(async_operation=operation)

    def DeleteUser(self, request: rr.DeleteUserRequest, call: Call) -> rr.DeleteUserResponse:
        """Remove a user from the account."""
        self._not_the_owner(self._core.get(USER, request.user_id))
        operation = self._core.delete(USER, request.user_id, call, version=request.resource_version)
        return rr.DeleteUserResponse(async_operation=operation)

    @staticmethod
    def _not_the_owner(user: identity.User) -> None:
        if user.spec.access.account_access.role == identity.AccountAccess.ROLE_OWNER:
            rules.not_now("An account owner can be changed by Temporal support only")

    def _namespace_removed(self, kind: str, id: str) -> None:
        if kind == NAMESPACE.name:
            forget_namespace(self._core, USER, id)


def has_access(access: identity.Access, namespace: str) -> bool:
    """Whether somebody can use a namespace; everybody can use no namespace at all."""
    return (
        not namespace
        or namespace in access.namespace_accesses
        or access.account_access.role in rules.ADMINS
    )


def known_namespaces(core: Core, access: identity.Access) -> None:
    """The namespaces that an access names must exist."""
    for id in access.namespace_accesses:
        core.get(NAMESPACE, id, field="spec.access.namespace_accesses")


def set_access(
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


def forget_namespace(core: Core, kind: Kind[identity.User], namespace: str) -> None:
    """Nobody keeps a permission on a namespace that is gone."""
    for entity in core.all(kind):
        if namespace in entity.spec.access.namespace_accesses:
            del entity.spec.access.namespace_accesses[namespace]
            core.changed(kind, entity.id, entity)

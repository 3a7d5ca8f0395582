"""Users."""

from __future__ import annotations

from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.identity.v1 import message_pb2 as identity

from tprov_kernel.standin import rules
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.entities import Call, Kind, new_id
from tprov_kernel.standin.families import access

USER = Kind(
    name="user",
    type=identity.User,
    title=lambda u: str(u.spec.email),
    key=lambda u: str(u.spec.email).lower(),
    key_field="spec.email",
)
OWNER = "owner@example.com"
"""Every account has an owner; the workspace's key belongs to this one."""
INVITATION_DAYS = 14


class Users:
    """Users."""

    def __init__(self, core: Core) -> None:
        self._core = core
        core.kinds[USER.name] = USER
        access.forget_namespaces(core, USER)
        if core.store.id_of(USER.name, OWNER) is None:
            owner = identity.User(id=new_id(), spec=identity.UserSpec(email=OWNER))
            owner.spec.access.account_access.role = identity.AccountAccess.ROLE_OWNER
            core.seed(USER, owner.id, owner)

    def GetUser(self, request: rr.GetUserRequest, call: Call) -> rr.GetUserResponse:
        """One user."""
        return rr.GetUserResponse(user=self._core.get(USER, request.user_id))

    def GetUsers(self, request: rr.GetUsersRequest, call: Call) -> rr.GetUsersResponse:
        """Users, all or those with an e-mail address or with access to a namespace."""

        def wanted(user: identity.User) -> bool:
            email = request.email.lower() in ("", user.spec.email.lower())
            return email and access.reaches(user.spec.access, request.namespace)

        users, token = self._core.page(USER, request, wanted)
        return rr.GetUsersResponse(users=users, next_page_token=token)

    def CreateUser(self, request: rr.CreateUserRequest, call: Call) -> rr.CreateUserResponse:
        """Invite a user."""
        rules.email("spec.email", request.spec.email)
        access.check(self._core, request.spec.access)
        user = identity.User(id=new_id(), spec=request.spec)
        user.invitation.created_time.GetCurrentTime()
        user.invitation.expired_time.FromSeconds(
            user.invitation.created_time.seconds + INVITATION_DAYS * 24 * 3600
        )
        operation = self._core.create(USER, user.id, user, call)
        return rr.CreateUserResponse(user_id=user.id, async_operation=operation)

    def UpdateUser(self, request: rr.UpdateUserRequest, call: Call) -> rr.UpdateUserResponse:
        """Change what a user may do."""
        user = self._core.get(USER, request.user_id)
        rules.unchanged("spec.email", user.spec.email, request.spec.email)
        self._not_the_owner(user)
        access.check(self._core, request.spec.access)
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
        self._not_the_owner(user)
        access.set_permission(self._core, user.spec.access, request)
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

"""User groups: their access, and who is in them. SCIM groups come from outside."""

from __future__ import annotations

from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.identity.v1 import message_pb2 as identity

from tprov_kernel.standin import rules
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.entities import Call, Kind, make_token, new_id, page_size, read_token
from tprov_kernel.standin.families import access
from tprov_kernel.standin.families.users import USER
from tprov_kernel.standin.store import Operation

GROUP = Kind(
    name="group",
    type=identity.UserGroup,
    title=lambda g: str(g.spec.display_name),
    key=lambda g: str(g.spec.display_name).lower(),
    key_field="spec.display_name",
    by_key=True,
)


class Groups:
    """User groups.

    Args:
        core: What the families share.
        scim: A SCIM group to begin with, as the identity provider has it: ``ID`` or ``ID=NAME``;
            empty for none.
    """

    def __init__(self, core: Core, *, scim: str = "") -> None:
        self._core = core
        core.kinds[GROUP.name] = GROUP
        access.forget_namespaces(core, GROUP)
        core.operations.effects |= {"join": self._joined, "leave": self._left}
        core.removed.append(self._removed)
        idp_id, _, name = scim.partition("=")
        if idp_id and not any(g.spec.scim_group.idp_id == idp_id for g in core.all(GROUP)):
            group = identity.UserGroup(id=new_id())
            group.spec.display_name = name or idp_id
            group.spec.scim_group.idp_id = idp_id
            group.spec.access.account_access.role = identity.AccountAccess.ROLE_READ
            core.seed(GROUP, group.id, group)

    def GetUserGroup(self, request: rr.GetUserGroupRequest, call: Call) -> rr.GetUserGroupResponse:
        """One group."""
        return rr.GetUserGroupResponse(group=self._core.get(GROUP, request.group_id))

    def GetUserGroups(
        self, request: rr.GetUserGroupsRequest, call: Call
    ) -> rr.GetUserGroupsResponse:
        """Groups: all, by name, by where they come from, or with access to a namespace."""

        def wanted(group: identity.UserGroup) -> bool:
            spec = group.spec
            if request.HasField("scim_group"):
                scim = spec.HasField("scim_group")
                if not scim or request.scim_group.idp_id not in ("", spec.scim_group.idp_id):
                    return False
            if request.HasField("google_group"):
                google = spec.HasField("google_group")
                mail = request.google_group.email_address
                if not google or mail not in ("", spec.google_group.email_address):
                    return False
            named = request.display_name in ("", spec.display_name)
            return named and access.reaches(spec.access, request.namespace)

        found, token = self._core.page(GROUP, request, wanted)
        return rr.GetUserGroupsResponse(groups=found, next_page_token=token)

    def CreateUserGroup(
        self, request: rr.CreateUserGroupRequest, call: Call
    ) -> rr.CreateUserGroupResponse:
        """Make a group."""
        self._check(request.spec)
        if request.spec.HasField("scim_group"):
            rules.invalid("spec.scim_group", "cannot be made here: the identity provider does that")
        fresh = identity.UserGroup(id=new_id(), spec=request.spec)
        operation = self._core.create(GROUP, fresh.id, fresh, call)
        return rr.CreateUserGroupResponse(group_id=fresh.id, async_operation=operation)

    def UpdateUserGroup(
        self, request: rr.UpdateUserGroupRequest, call: Call
    ) -> rr.UpdateUserGroupResponse:
        """Rename a group, or change what its members may do."""
        current = self._core.get(GROUP, request.group_id)
        self._check(request.spec)
        kinds = [s.WhichOneof("group_type") for s in (current.spec, request.spec)]
        rules.unchanged("spec.group_type", *kinds)
        if kinds[0] == "scim_group":
            rules.unchanged("spec.scim_group", current.spec.scim_group, request.spec.scim_group)
            rules.unchanged(
                "spec.display_name", current.spec.display_name, request.spec.display_name
            )
        if current.spec == request.spec and current.spec.access.ByteSize():
            # In these words: the provider knows them. Taking no access from who has none is
            # done, though: it has no words for that one.
            rules.invalid("spec", "is what it was, there is nothing to change")
        current.spec.CopyFrom(request.spec)
        operation = self._core.update(
            GROUP, request.group_id, current, call, version=request.resource_version
        )
        return rr.UpdateUserGroupResponse(async_operation=operation)

    def SetUserGroupNamespaceAccess(
        self, request: rr.SetUserGroupNamespaceAccessRequest, call: Call
    ) -> rr.SetUserGroupNamespaceAccessResponse:
        """Give a group a permission on one namespace, or take it."""
        current = self._core.get(GROUP, request.group_id)
        access.set_permission(self._core, current.spec.access, request)
        operation = self._core.update(
            GROUP, request.group_id, current, call, version=request.resource_version
        )
        return rr.SetUserGroupNamespaceAccessResponse(async_operation=operation)

    def DeleteUserGroup(
        self, request: rr.DeleteUserGroupRequest, call: Call
    ) -> rr.DeleteUserGroupResponse:
        """Delete a group; its members stay users."""
        self._ours(request.group_id)
        operation = self._core.delete(
            GROUP, request.group_id, call, version=request.resource_version
        )
        return rr.DeleteUserGroupResponse(async_operation=operation)

    # --- members -----------------------------------------------------------------------------

    def GetUserGroupMembers(
        self, request: rr.GetUserGroupMembersRequest, call: Call
    ) -> rr.GetUserGroupMembersResponse:
        """Who is in a group, by ascending id."""
        self._core.get(GROUP, request.group_id)
        rows = self._core.store.members(request.group_id, after=read_token(request.page_token))
        size = page_size(request.page_size)
        answer = rr.GetUserGroupMembersResponse(
            next_page_token=make_token(rows[size - 1][0]) if len(rows) > size else ""
        )
        for user, joined in rows[:size]:
            member = answer.members.add()
            member.member_id.user_id = user
            member.created_time.FromMicroseconds(int(joined * 1e6))
        return answer

    def AddUserGroupMember(
        self, request: rr.AddUserGroupMemberRequest, call: Call
    ) -> rr.AddUserGroupMemberResponse:
        """Put a user into a group; they may be in it already."""
        self._ours(request.group_id)
        user = request.member_id.user_id
        self._core.get(USER, user, field="member_id.user_id")
        operation = self._core.begin(GROUP, request.group_id, "join", call, extra=user)
        return rr.AddUserGroupMemberResponse(async_operation=operation)

    def RemoveUserGroupMember(
        self, request: rr.RemoveUserGroupMemberRequest, call: Call
    ) -> rr.RemoveUserGroupMemberResponse:
        """Take a user out of a group; they may be out of it already."""
        self._ours(request.group_id)
        rules.given("member_id.user_id", request.member_id.user_id)
        operation = self._core.begin(
            GROUP, request.group_id, "leave", call, extra=request.member_id.user_id
        )
        return rr.RemoveUserGroupMemberResponse(async_operation=operation)

    def _joined(self, operation: Operation) -> None:
        self._core.store.add_member(operation.object, operation.extra)

    def _left(self, operation: Operation) -> None:
        self._core.store.drop_members(group=operation.object, user=operation.extra)

    # --- rules -------------------------------------------------------------------------------

    def _check(self, spec: identity.UserGroupSpec) -> None:
        rules.named("spec.display_name", spec.display_name)
        if spec.WhichOneof("group_type") is None:
            rules.invalid("spec.group_type", "is required: cloud_group, google_group or scim_group")
        if spec.HasField("google_group"):
            rules.email("spec.google_group.email_address", spec.google_group.email_address)
        access.check(self._core, spec.access, role_required=False)

    def _ours(self, id: str) -> None:
        if self._core.get(GROUP, id).spec.HasField("scim_group"):
            rules.not_now(f"The group {id!r} belongs to the identity provider (SCIM)")

    def _removed(self, kind: str, id: str) -> None:
        if kind == GROUP.name:
            self._core.store.drop_members(group=id)
        if kind == USER.name:
            self._core.store.drop_members(user=id)

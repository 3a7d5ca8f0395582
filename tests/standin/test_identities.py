"""The rules of users, service accounts, groups and custom roles."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.identity.v1 import message_pb2 as identity

from tests.standin.parts import Api, an_access, api_of, opened_here

ROLE = identity.AccountAccess
READ = identity.NamespaceAccess.PERMISSION_READ
WRITE = identity.NamespaceAccess.PERMISSION_WRITE


def user_spec(email: str = "ada@example.com", **access: Any) -> identity.UserSpec:
    """A user."""
    return identity.UserSpec(email=email, access=an_access(**access))


def group_spec(name: str = "ops", access: identity.Access | None = None) -> identity.UserGroupSpec:
    """A cloud group."""
    spec = identity.UserGroupSpec(display_name=name, access=access)
    spec.cloud_group.SetInParent()
    return spec


async def a_group(api: Api, name: str = "ops", access: identity.Access | None = None) -> Any:
    """Make a group and read it."""
    made = await api.do("CreateUserGroup", rr.CreateUserGroupRequest(spec=group_spec(name, access)))
    return await group(api, made.group_id)


async def group(api: Api, id: str) -> Any:
    """Read a group."""
    return (await api.call("GetUserGroup", rr.GetUserGroupRequest(group_id=id))).group


# --- users -----------------------------------------------------------------------------------


async def test_an_email_keeps_its_case_and_is_one_in_any(api: Api) -> None:
    """It is given back as it was asked for; the same one in another case is ALREADY_EXISTS."""
    made = await api.a_user("Ada.Lovelace@Example.com")
    assert made.spec.email == "Ada.Lovelace@Example.com"
    assert made.state_deprecated == "active"
    again = rr.CreateUserRequest(spec=user_spec("ada.lovelace@example.COM"))
    assert (await api.refused("CreateUser", again))[0] == "ALREADY_EXISTS"
    found = await api.call("GetUsers", rr.GetUsersRequest(email="ADA.lovelace@example.com"))
    assert [u.id for u in found.users] == [made.id]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (user_spec(""), "spec.email"),
        (user_spec("ada"), "spec.email"),
        (user_spec(role=ROLE.ROLE_UNSPECIFIED), "spec.access.account_access.role"),
        (user_spec(role=ROLE.ROLE_OWNER), "spec.access.account_access.role"),
        (user_spec(role=99), "spec.access.account_access.role"),
        (
            user_spec(role=ROLE.ROLE_ADMIN, orders_tprov=READ),
            "spec.access.namespace_accesses",
        ),
        (user_spec(none_tprov=READ), "spec.access.namespace_accesses"),
        (user_spec(orders_tprov=0), "spec.access.namespace_accesses['orders.tprov'].permission"),
    ],
)
async def test_a_user_has_rules(api: Api, spec: identity.UserSpec, field: str) -> None:
    """E-mail, role, permissions, and namespaces that exist."""
    await api.a_namespace()
    code, why = await api.refused("CreateUser", rr.CreateUserRequest(spec=spec))
    assert code == "INVALID_ARGUMENT"
    assert why.startswith(f"{field} ")


async def test_what_a_user_may_do_changes_and_the_email_does_not(api: Api) -> None:
    """A role and permissions, with the current version."""
    await api.a_namespace()
    made = await api.a_user()
    request = rr.UpdateUserRequest(
        user_id=made.id,
        spec=user_spec(role=ROLE.ROLE_READ, orders_tprov=WRITE),
        resource_version=made.resource_version,
    )
    await api.do("UpdateUser", request)
    assert (await api.refused("UpdateUser", request))[0] == "FAILED_PRECONDITION"
    request.spec.email = "else@example.com"
    code, why = await api.refused("UpdateUser", request)
    assert (code, why.split()[0]) == ("INVALID_ARGUMENT", "spec.email")


async def test_the_owner_is_not_ours_to_change(api: Api) -> None:
    """Neither changed nor deleted."""
    owner = (await api.call("GetUsers", rr.GetUsersRequest(email="owner@example.com"))).users[0]
    version = owner.resource_version
    delete = rr.DeleteUserRequest(user_id=owner.id, resource_version=version)
    assert (await api.refused("DeleteUser", delete))[0] == "FAILED_PRECONDITION"
    change = rr.UpdateUserRequest(
        user_id=owner.id, spec=user_spec(owner.spec.email), resource_version=version
    )
    assert (await api.refused("UpdateUser", change))[0] == "FAILED_PRECONDITION"


async def test_a_permission_is_set_and_taken(api: Api) -> None:
    """On one namespace at a time; users can be found by the namespace that they can use."""
    made = await api.a_namespace()
    user = await api.a_user(role=ROLE.ROLE_READ)
    set_it = rr.SetUserNamespaceAccessRequest(
        namespace=made.namespace,
        user_id=user.id,
        access=identity.NamespaceAccess(permission=WRITE),
        resource_version=user.resource_version,
    )
    await api.do("SetUserNamespaceAccess", set_it)
    having = rr.GetUsersRequest(namespace=made.namespace)
    found = (await api.call("GetUsers", having)).users
    assert {u.spec.email for u in found} == {"ada@example.com", "owner@example.com"}
    user = next(u for u in found if u.id == user.id)
    set_it.resource_version = user.resource_version
    set_it.ClearField("access")
    await api.do("SetUserNamespaceAccess", set_it)
    assert len((await api.call("GetUsers", having)).users) == 1


async def test_nobody_keeps_a_permission_on_what_is_gone(api: Api) -> None:
    """Deleting a namespace takes it out of users, service accounts and groups."""
    made = await api.a_namespace()
    user = await api.a_user(role=ROLE.ROLE_READ, orders_tprov=READ)
    account = await api.a_service_account(role=ROLE.ROLE_READ, orders_tprov=READ)
    ops = await a_group(api, access=an_access(orders_tprov=READ))
    await api.do(
        "DeleteNamespace",
        rr.DeleteNamespaceRequest(namespace=made.namespace, resource_version=made.resource_version),
    )
    left = (
        (await api.call("GetUser", rr.GetUserRequest(user_id=user.id))).user,
        (
            await api.call(
                "GetServiceAccount", rr.GetServiceAccountRequest(service_account_id=account)
            )
        ).service_account,
        await group(api, ops.id),
    )
    for one in left:
        assert not one.spec.access.namespace_accesses
        assert one.spec.access.account_access.role


# --- service accounts ------------------------------------------------------------------------


async def test_a_service_account_is_for_all_or_for_one(api: Api) -> None:
    """Exactly one of the two, with a name that is unique, and the one namespace stays."""
    await api.a_namespace()
    await api.a_namespace("others")
    scoped = identity.NamespaceScopedAccess(
        namespace="orders.tprov", access=identity.NamespaceAccess(permission=READ)
    )
    for spec, code, field in (
        (identity.ServiceAccountSpec(name="x"), "INVALID_ARGUMENT", "spec"),
        (
            identity.ServiceAccountSpec(
                name="x", access=an_access(), namespace_scoped_access=scoped
            ),
            "INVALID_ARGUMENT",
            "spec",
        ),
        (
            identity.ServiceAccountSpec(
                name="x",
                namespace_scoped_access=identity.NamespaceScopedAccess(
                    namespace="none.tprov", access=scoped.access
                ),
            ),
            "INVALID_ARGUMENT",
            "spec.namespace_scoped_access.namespace",
        ),
        (identity.ServiceAccountSpec(access=an_access()), "INVALID_ARGUMENT", "spec.name"),
    ):
        request = rr.CreateServiceAccountRequest(spec=spec)
        got, why = await api.refused("CreateServiceAccount", request)
        assert (got, why.split()[0]) == (code, field)

    good = identity.ServiceAccountSpec(name="worker", namespace_scoped_access=scoped)
    made = await api.do("CreateServiceAccount", rr.CreateServiceAccountRequest(spec=good))
    again = rr.CreateServiceAccountRequest(spec=good)
    assert (await api.refused("CreateServiceAccount", again))[0] == "ALREADY_EXISTS"
    read = rr.GetServiceAccountRequest(service_account_id=made.service_account_id)
    current = (await api.call("GetServiceAccount", read)).service_account
    moved = rr.UpdateServiceAccountRequest(
        service_account_id=current.id,
        spec=current.spec,
        resource_version=current.resource_version,
    )
    moved.spec.namespace_scoped_access.namespace = "others.tprov"
    code, why = await api.refused("UpdateServiceAccount", moved)
    assert (code, why.split()[0]) == (
        "INVALID_ARGUMENT",
        "spec.namespace_scoped_access.namespace",
    )


# --- groups ----------------------------------------------------------------------------------


async def test_a_group_is_renamed_and_given_access(api: Api) -> None:
    """Its kind stays; what is already so is 'nothing to change', in the provider's words."""
    made = await a_group(api)
    request = rr.UpdateUserGroupRequest(
        group_id=made.id,
        spec=group_spec("operators", an_access()),
        resource_version=made.resource_version,
    )
    await api.do("UpdateUserGroup", request)
    now = await group(api, made.id)
    assert now.spec == request.spec
    request.resource_version = now.resource_version
    code, why = await api.refused("UpdateUserGroup", request)
    assert code == "INVALID_ARGUMENT"
    assert "nothing to change" in why
    request.spec.google_group.email_address = "ops@example.com"
    code, why = await api.refused("UpdateUserGroup", request)
    assert (code, why.split()[0]) == ("INVALID_ARGUMENT", "spec.group_type")


async def test_members_come_and_go(api: Api) -> None:
    """Twice is once; a user that is deleted is a member no more; unknown users are refused."""
    ops = await a_group(api)
    users = [await api.a_user(f"u{i}@example.com") for i in range(3)]

    def member(user: str) -> dict[str, Any]:
        return {"group_id": ops.id, "member_id": identity.UserGroupMemberId(user_id=user)}

    async def ids() -> set[str]:
        answer = await api.call(
            "GetUserGroupMembers", rr.GetUserGroupMembersRequest(group_id=ops.id)
        )
        return {m.member_id.user_id for m in answer.members}

    for user in [*users, users[0]]:
        await api.do("AddUserGroupMember", rr.AddUserGroupMemberRequest(**member(user.id)))
    assert await ids() == {u.id for u in users}
    nobody = rr.AddUserGroupMemberRequest(**member("nobody"))
    code, why = await api.refused("AddUserGroupMember", nobody)
    assert (code, why.split()[0]) == ("INVALID_ARGUMENT", "member_id.user_id")
    await api.do("RemoveUserGroupMember", rr.RemoveUserGroupMemberRequest(**member(users[0].id)))
    gone = rr.DeleteUserRequest(user_id=users[1].id, resource_version=users[1].resource_version)
    await api.do("DeleteUser", gone)
    assert await ids() == {users[2].id}


async def test_groups_have_rules(api: Api) -> None:
    """A name that is unique, a kind, no owners, and no SCIM groups of our own making."""
    await a_group(api)
    scim = identity.UserGroupSpec(display_name="x")
    scim.scim_group.idp_id = "x"
    for spec, code in (
        (group_spec("OPS"), "ALREADY_EXISTS"),
        (group_spec(""), "INVALID_ARGUMENT"),
        (identity.UserGroupSpec(display_name="x"), "INVALID_ARGUMENT"),
        (group_spec("x", an_access(ROLE.ROLE_OWNER)), "INVALID_ARGUMENT"),
        (group_spec("x", an_access(none_tprov=READ)), "INVALID_ARGUMENT"),
        (scim, "INVALID_ARGUMENT"),
    ):
        request = rr.CreateUserGroupRequest(spec=spec)
        assert (await api.refused("CreateUserGroup", request))[0] == code


async def test_a_scim_group_belongs_to_the_identity_provider(tmp_path: Any) -> None:
    """It is found by its id there; only its access is ours to change."""
    async with opened_here(tmp_path, scim="staff") as standin, api_of(standin) as api:
        wanted = rr.GetUserGroupsRequest()
        wanted.scim_group.idp_id = "staff"
        staff = (await api.call("GetUserGroups", wanted)).groups[0]
        wanted.scim_group.idp_id = "others"
        assert not (await api.call("GetUserGroups", wanted)).groups
        change = rr.UpdateUserGroupRequest(
            group_id=staff.id, spec=staff.spec, resource_version=staff.resource_version
        )
        change.spec.access.account_access.role = ROLE.ROLE_DEVELOPER
        await api.do("UpdateUserGroup", change)
        staff = await group(api, staff.id)
        change.resource_version = staff.resource_version
        change.spec.display_name = "ours"
        assert (await api.refused("UpdateUserGroup", change))[0] == "INVALID_ARGUMENT"
        delete = rr.DeleteUserGroupRequest(
            group_id=staff.id, resource_version=staff.resource_version
        )
        assert (await api.refused("DeleteUserGroup", delete))[0] == "FAILED_PRECONDITION"
    async with opened_here(tmp_path, scim="staff") as standin, api_of(standin) as api:
        assert len((await api.call("GetUserGroups")).groups) == 1


# --- custom roles ----------------------------------------------------------------------------


async def test_a_custom_role_that_is_held_stays(api: Api) -> None:
    """A role that exists can be given; it goes when nobody has it."""
    spec = identity.CustomRoleSpec(name="operators")
    permission = spec.permissions.add(actions=["read"])
    permission.resources.resource_type = "namespace"
    permission.resources.allow_all = True
    made = await api.do("CreateCustomRole", rr.CreateCustomRoleRequest(spec=spec))
    user = user_spec(role=ROLE.ROLE_UNSPECIFIED)
    user.access.account_access.custom_roles.append("none")
    code, _ = await api.refused("CreateUser", rr.CreateUserRequest(spec=user))
    assert code == "INVALID_ARGUMENT"
    user.access.account_access.custom_roles[:] = [made.role_id]
    holder = await api.do("CreateUser", rr.CreateUserRequest(spec=user))
    read = rr.GetCustomRoleRequest(role_id=made.role_id)
    role = (await api.call("GetCustomRole", read)).custom_role
    delete = rr.DeleteCustomRoleRequest(role_id=role.id, resource_version=role.resource_version)
    assert (await api.refused("DeleteCustomRole", delete))[0] == "FAILED_PRECONDITION"
    known = (await api.call("GetUser", rr.GetUserRequest(user_id=holder.user_id))).user
    gone = rr.DeleteUserRequest(user_id=known.id, resource_version=known.resource_version)
    await api.do("DeleteUser", gone)
    await api.do("DeleteCustomRole", delete)

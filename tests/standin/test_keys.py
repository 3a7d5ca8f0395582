"""Who may call, and what they may do."""

from __future__ import annotations

import asyncio
import stat
import time
from typing import Any

import grpc.aio
import pytest
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.identity.v1 import message_pb2 as identity

from tests.standin.parts import Api, Place, Standin, an_access, api_of, namespace_spec

ROLE = identity.AccountAccess
PERMISSION = identity.NamespaceAccess


async def a_key(
    api: Api, owner: str, kind: Any = identity.OWNER_TYPE_SERVICE_ACCOUNT, *, seconds: float = 3600
) -> rr.CreateApiKeyResponse:
    """Issue a key."""
    spec = identity.ApiKeySpec(owner_id=owner, owner_type=kind, display_name="a key")
    spec.expiry_time.FromMilliseconds(int((time.time() + seconds) * 1000))
    made: rr.CreateApiKeyResponse = await api.do("CreateApiKey", rr.CreateApiKeyRequest(spec=spec))
    return made


def test_the_workspace_key_is_made_once_and_private(process: Standin) -> None:
    """The key file is made at the first start, readable by its owner only, and then kept."""
    key = process.key
    assert len(key) > 32
    assert stat.S_IMODE(process.key_file.stat().st_mode) == 0o600
    process.kill()
    process.start()
    assert process.key == key


@pytest.mark.parametrize("key", [None, "", "wrong", "tprovkey.a.b", "tprovkey.."])
async def test_no_call_without_a_key(standin: Place, key: str | None) -> None:
    """Every method refuses a caller without the key, before anything else."""
    metadata = () if key is None else (("authorization", f"Bearer {key}"),)
    async with grpc.aio.insecure_channel(standin.endpoint) as channel:
        for method in ("GetAccount", "CreateUser", "GetUsage"):
            rpc = channel.unary_unary(
                f"/temporal.api.cloud.cloudservice.v1.CloudService/{method}",
                request_serializer=None,
                response_deserializer=None,
            )
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await rpc(b"", metadata=metadata, timeout=5)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_another_scheme_is_no_bearer_key(standin: Place) -> None:
    """Basic authentication with the right key is refused in words."""
    async with grpc.aio.insecure_channel(standin.endpoint) as channel:
        rpc = channel.unary_unary(
            "/temporal.api.cloud.cloudservice.v1.CloudService/GetAccount",
            request_serializer=None,
            response_deserializer=None,
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await rpc(b"", metadata=(("authorization", f"Basic {standin.key}"),), timeout=5)
    assert refused.value.details() == "The authorization header is no bearer key."


async def test_an_issued_key_is_a_key(standin: Place, api: Api) -> None:
    """A key of a service account works, and says whose it is."""
    owner = await api.a_service_account()
    made = await a_key(api, owner)
    async with api_of(standin, made.token) as theirs:
        who = await theirs.call("GetCurrentIdentity")
    assert who.service_account.id == owner
    assert who.principal_api_key.id == made.key_id
    assert (await api.call("GetCurrentIdentity")).user.spec.email == "owner@example.com"


async def test_a_key_stops_when_disabled_and_works_again(standin: Place, api: Api) -> None:
    """Disabling takes effect with the next call; so does enabling."""
    made = await a_key(api, await api.a_service_account())
    for disabled in (True, False):
        key = (await api.call("GetApiKey", rr.GetApiKeyRequest(key_id=made.key_id))).api_key
        key.spec.disabled = disabled
        await api.do(
            "UpdateApiKey",
            rr.UpdateApiKeyRequest(
                key_id=key.id, spec=key.spec, resource_version=key.resource_version
            ),
        )
        async with api_of(standin, made.token) as theirs:
            if disabled:
                assert (await theirs.refused("GetAccount"))[1] == "The API key is disabled."
            else:
                await theirs.call("GetAccount")


async def test_a_key_stops_when_expired(standin: Place, api: Api) -> None:
    """When its time has come the key is refused, and shown as expired."""
    made = await a_key(api, await api.a_service_account(), seconds=0.3)
    await asyncio.sleep(0.4)
    async with api_of(standin, made.token) as theirs:
        assert (await theirs.refused("GetAccount"))[1] == "The API key is expired."
    key = (await api.call("GetApiKey", rr.GetApiKeyRequest(key_id=made.key_id))).api_key
    assert key.state_deprecated == "expired"


async def test_a_key_stops_when_it_or_its_owner_is_deleted(standin: Place, api: Api) -> None:
    """A deleted key is unknown; so are all keys of an owner that was deleted."""
    user = await api.a_user()
    made = [await a_key(api, user.id, identity.OWNER_TYPE_USER) for _ in range(2)]
    first = (await api.call("GetApiKey", rr.GetApiKeyRequest(key_id=made[0].key_id))).api_key
    await api.do(
        "DeleteApiKey",
        rr.DeleteApiKeyRequest(key_id=first.id, resource_version=first.resource_version),
    )
    await api.do(
        "DeleteUser",
        rr.DeleteUserRequest(user_id=user.id, resource_version=user.resource_version),
    )
    for one in made:
        async with api_of(standin, one.token) as theirs:
            code, why = await theirs.refused("GetAccount")
            assert (code, why) == ("UNAUTHENTICATED", "The API key does not exist any more.")
    assert not (await api.call("GetApiKeys")).api_keys


async def test_a_token_is_told_once_and_never_stored(standin: Place, api: Api) -> None:
    """The token is in no file; a repeated request is answered with the same one all the same."""
    owner = await api.a_service_account()
    spec = identity.ApiKeySpec(
        owner_id=owner, owner_type=identity.OWNER_TYPE_SERVICE_ACCOUNT, display_name="ci"
    )
    spec.expiry_time.FromSeconds(int(time.time()) + 3600)
    request = rr.CreateApiKeyRequest(spec=spec, async_operation_id="once")
    first = await api.call("CreateApiKey", request)
    await api.done(first)
    again = await api.call("CreateApiKey", request)
    assert again == first
    read = (await api.call("GetApiKey", rr.GetApiKeyRequest(key_id=first.key_id))).api_key
    assert first.token not in str(read)
    secret = first.token.rpartition(".")[2].encode()
    for file in standin.home.iterdir():
        assert secret not in file.read_bytes(), file
        assert standin.key.encode() not in file.read_bytes() or file == standin.key_file


async def test_a_key_needs_an_owner_and_a_future(api: Api) -> None:
    """Owner, kind of owner, name and expiry are judged, by the field's name."""
    owner = await api.a_service_account()
    good = identity.ApiKeySpec(
        owner_id=owner, owner_type=identity.OWNER_TYPE_SERVICE_ACCOUNT, display_name="ci"
    )
    good.expiry_time.FromSeconds(int(time.time()) + 60)
    for field, value in {
        "owner_id": "nobody",
        "owner_type": identity.OWNER_TYPE_UNSPECIFIED,
        "display_name": "",
    }.items():
        bad = identity.ApiKeySpec()
        bad.CopyFrom(good)
        setattr(bad, field, value)
        code, why = await api.refused("CreateApiKey", rr.CreateApiKeyRequest(spec=bad))
        assert code == "INVALID_ARGUMENT"
        assert why.startswith(f"spec.{field} ")
    good.expiry_time.FromSeconds(1)
    code, why = await api.refused("CreateApiKey", rr.CreateApiKeyRequest(spec=good))
    assert "spec.expiry_time must be in the future" in why


async def test_a_developer_makes_namespaces_and_no_users(standin: Place, api: Api) -> None:
    """What a role does not give is PERMISSION_DENIED, with the role in the sentence."""
    made = await a_key(api, await api.a_service_account(role=ROLE.ROLE_DEVELOPER))
    async with api_of(standin, made.token) as theirs:
        await theirs.do("CreateNamespace", rr.CreateNamespaceRequest(spec=namespace_spec()))
        spec = identity.UserSpec(email="x@example.com", access=an_access())
        code, why = await theirs.refused("CreateUser", rr.CreateUserRequest(spec=spec))
        assert code == "PERMISSION_DENIED"
        assert "ROLE_DEVELOPER" in why
        tagged = rr.CreateNamespaceRequest(spec=namespace_spec("tagged"), tags={"a": "b"})
        assert (await theirs.refused("CreateNamespace", tagged))[0] == "PERMISSION_DENIED"


async def test_an_admin_of_a_namespace_changes_that_one(standin: Place, api: Api) -> None:
    """A service account for a single namespace changes that namespace and no other."""
    mine, other = [await api.a_namespace(name) for name in ("mine", "other")]
    spec = identity.ServiceAccountSpec(name="worker")
    spec.namespace_scoped_access.namespace = mine.namespace
    spec.namespace_scoped_access.access.permission = PERMISSION.PERMISSION_ADMIN
    worker = await api.do("CreateServiceAccount", rr.CreateServiceAccountRequest(spec=spec))
    made = await a_key(api, worker.service_account_id)
    async with api_of(standin, made.token) as theirs:
        for entity, allowed in ((mine, True), (other, False)):
            entity.spec.retention_days = 9
            request = rr.UpdateNamespaceRequest(
                namespace=entity.namespace,
                spec=entity.spec,
                resource_version=entity.resource_version,
            )
            if allowed:
                await theirs.do("UpdateNamespace", request)
            else:
                assert (await theirs.refused("UpdateNamespace", request))[0] == "PERMISSION_DENIED"


async def test_members_may_what_their_group_may(standin: Place, api: Api) -> None:
    """A reader in a group of admins is an admin."""
    user = await api.a_user(role=ROLE.ROLE_READ)
    spec = identity.UserGroupSpec(display_name="admins", access=an_access(ROLE.ROLE_ADMIN))
    spec.cloud_group.SetInParent()
    group = await api.do("CreateUserGroup", rr.CreateUserGroupRequest(spec=spec))
    made = await a_key(api, user.id, identity.OWNER_TYPE_USER)
    wanted = rr.CreateNamespaceRequest(spec=namespace_spec())
    async with api_of(standin, made.token) as theirs:
        assert (await theirs.refused("CreateNamespace", wanted))[0] == "PERMISSION_DENIED"
        member = identity.UserGroupMemberId(user_id=user.id)
        await api.do(
            "AddUserGroupMember",
            rr.AddUserGroupMemberRequest(group_id=group.group_id, member_id=member),
        )
        await theirs.do("CreateNamespace", wanted)


async def test_everybody_has_keys_of_their_own(standin: Place, api: Api) -> None:
    """A reader makes and deletes a key for itself, and none for somebody else."""
    user = await api.a_user(role=ROLE.ROLE_READ)
    made = await a_key(api, user.id, identity.OWNER_TYPE_USER)
    async with api_of(standin, made.token) as theirs:
        mine = await a_key(theirs, user.id, identity.OWNER_TYPE_USER)
        key = (await theirs.call("GetApiKey", rr.GetApiKeyRequest(key_id=mine.key_id))).api_key
        await theirs.do(
            "DeleteApiKey",
            rr.DeleteApiKeyRequest(key_id=key.id, resource_version=key.resource_version),
        )
        other = identity.ApiKeySpec(
            owner_id=await api.a_service_account(),
            owner_type=identity.OWNER_TYPE_SERVICE_ACCOUNT,
            display_name="not mine",
        )
        code, _ = await theirs.refused("CreateApiKey", rr.CreateApiKeyRequest(spec=other))
        assert code == "PERMISSION_DENIED"


async def test_only_the_workspace_key_controls(standin: Place, api: Api) -> None:
    """An issued key, even an admin's, does not inject faults."""
    from tprov_kernel.errors import KeyRejected
    from tprov_kernel.standin.control import StandinControl

    made = await a_key(api, await api.a_service_account(role=ROLE.ROLE_ADMIN))
    with pytest.raises(KeyRejected):
        await StandinControl(standin.endpoint, made.token).fail("GetAccount")
    assert (await standin.control.status())["faults"] == []

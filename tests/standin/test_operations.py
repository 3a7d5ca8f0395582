"""Asynchronous operations, idempotency, faults, lists, and the log of calls."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import pytest
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.identity.v1 import message_pb2 as identity
from temporalio.api.cloud.operation.v1.message_pb2 import AsyncOperation

from tests.standin.parts import Api, Place, an_access, api_of, namespace_spec, opened_here
from tprov_kernel.errors import CloudUnavailable, TprovError
from tprov_kernel.standin.control import StandinControl
from tprov_kernel.standin.server import METHODS


def create(name: str = "orders", id: str = "", **fields: Any) -> rr.CreateNamespaceRequest:
    """A request for a namespace."""
    return rr.CreateNamespaceRequest(spec=namespace_spec(name, **fields), async_operation_id=id)


async def names(api: Api) -> list[str]:
    """The namespaces that there are."""
    return [n.spec.name for n in (await api.call("GetNamespaces")).namespaces]


# --- operations ------------------------------------------------------------------------------


async def test_an_operation_tells_what_it_does(api: Api) -> None:
    """Its type, its input, when it began and ended, and when to look again."""
    answer = await api.call("CreateNamespace", create(id="mine"))
    assert answer.async_operation.state == AsyncOperation.STATE_PENDING
    assert answer.async_operation.check_duration.seconds == 1
    operation = await api.done(answer)
    assert (operation.id, operation.operation_type) == ("mine", "CreateNamespace")
    assert operation.state == AsyncOperation.STATE_FULFILLED
    asked = rr.CreateNamespaceRequest()
    assert operation.operation_input.Unpack(asked)
    assert asked == create(id="mine")
    began, ended = operation.started_time, operation.finished_time
    assert began.ToNanoseconds() <= ended.ToNanoseconds()
    code, _ = await api.refused(
        "GetAsyncOperation", rr.GetAsyncOperationRequest(async_operation_id="none")
    )
    assert code == "NOT_FOUND"


async def test_an_object_shows_the_operation_at_work_on_it(standin: Place, api: Api) -> None:
    """Activating, updating, deleting, while the old specification is in force."""
    await standin.control.hold("CreateNamespace")
    made = await api.call("CreateNamespace", create())
    shown = await api.namespace(made.namespace)
    assert (shown.state_deprecated, shown.async_operation_id) == (
        "activating",
        made.async_operation.id,
    )
    await standin.control.mend()
    await api.done(made)

    await standin.control.hold("UpdateNamespace")
    shown = await api.namespace(made.namespace)
    assert (shown.state_deprecated, shown.async_operation_id) == ("active", "")
    request = rr.UpdateNamespaceRequest(
        namespace=made.namespace,
        spec=namespace_spec(retention_days=30),
        resource_version=shown.resource_version,
    )
    change = await api.call("UpdateNamespace", request)
    pending = await api.namespace(made.namespace)
    assert (pending.state_deprecated, pending.spec.retention_days) == ("updating", 7)
    code, why = await api.refused("UpdateNamespace", request)
    assert code == "FAILED_PRECONDITION"
    assert change.async_operation.id in why
    await standin.control.mend()
    await api.done(change)
    assert (await api.namespace(made.namespace)).spec.retention_days == 30


# --- idempotency -----------------------------------------------------------------------------


async def test_a_repeated_id_is_answered_with_the_first_response(api: Api) -> None:
    """So a response that was lost is no second namespace, and no ALREADY_EXISTS."""
    tags = {f"k{i}": "v" for i in range(9)}
    request = create(id="once")
    request.tags.update(tags)
    first = await api.call("CreateNamespace", request)
    again = create(id="once")
    again.tags.update(dict(reversed(tags.items())))  # maps have no order
    assert await api.call("CreateNamespace", again) == first
    await api.done(first)
    assert await api.call("CreateNamespace", again) == first
    assert await names(api) == ["orders"]


async def test_an_id_belongs_to_one_request(api: Api) -> None:
    """Another request, or another method, with a known id is refused."""
    await api.do("CreateNamespace", create(id="once"))
    code, why = await api.refused("CreateNamespace", create("others", id="once"))
    assert (code, "'once'" in why) == ("INVALID_ARGUMENT", True)
    user = rr.CreateUserRequest(
        spec=identity.UserSpec(email="a@example.com", access=an_access()),
        async_operation_id="once",
    )
    assert (await api.refused("CreateUser", user))[0] == "INVALID_ARGUMENT"
    assert await names(api) == ["orders"]


async def test_a_refused_request_leaves_its_id_free(api: Api) -> None:
    """What was wrong can be put right and sent again with the same id."""
    assert (await api.refused("CreateNamespace", create("X", id="id")))[0] == "INVALID_ARGUMENT"
    await api.do("CreateNamespace", create("x1", id="id"))


async def test_every_change_is_idempotent(api: Api) -> None:
    """A rename, a deletion and a membership too."""
    made = await api.a_namespace(search_attributes={"A": 2})
    rename = rr.RenameCustomSearchAttributeRequest(
        namespace=made.namespace,
        existing_custom_search_attribute_name="A",
        new_custom_search_attribute_name="B",
        resource_version=made.resource_version,
        async_operation_id="rename",
    )
    delete = rr.DeleteNamespaceRequest(
        namespace=made.namespace,
        resource_version=made.resource_version,
        async_operation_id="delete",
    )
    for method, request in (
        ("RenameCustomSearchAttribute", rename),
        ("DeleteNamespace", delete),
    ):
        first = await api.do(method, request)
        assert await api.call(method, request) == first


# --- faults ----------------------------------------------------------------------------------


async def test_a_method_fails_as_often_as_told(standin: Place, api: Api) -> None:
    """So many calls, with this code, doing nothing; other methods are as they were."""
    await standin.control.fail("CreateNamespace", "INTERNAL", times=2)
    for _ in range(2):
        code, why = await api.refused("CreateNamespace", create())
        assert (code, why) == ("INTERNAL", "CreateNamespace was told to fail.")
        assert await names(api) == []
    await api.do("CreateNamespace", create())


async def test_everything_fails_until_mended(standin: Place, api: Api) -> None:
    """`*` is every method, and None is without end."""
    await standin.control.fail("*", times=None)
    for method in ("GetAccount", "GetRegions", "GetAccount"):
        assert (await api.refused(method))[0] == "UNAVAILABLE"
    await standin.control.mend()
    await api.call("GetAccount")


async def test_a_slow_method_takes_its_time(standin: Place, api: Api) -> None:
    """The call waits, and others do not."""
    await standin.control.slow("GetAccount", 0.5)
    slow = asyncio.ensure_future(api.call("GetAccount"))
    await api.call("GetRegions")
    assert not slow.done()
    assert (await slow).account.id == "tprov"


async def test_a_doomed_operation_changes_nothing(standin: Place, api: Api) -> None:
    """Create, update and delete end FAILED, with the reason, and leave things as they were."""
    await standin.control.doom("CreateNamespace", "no room")
    failed = await api.done(await api.call("CreateNamespace", create()))
    assert (failed.state, failed.failure_reason) == (AsyncOperation.STATE_FAILED, "no room")
    assert await names(api) == []

    made = await api.a_namespace()
    await standin.control.doom("UpdateNamespace")
    await standin.control.doom("DeleteNamespace")
    requests = {
        "UpdateNamespace": rr.UpdateNamespaceRequest(
            namespace=made.namespace,
            spec=namespace_spec(retention_days=30),
            resource_version=made.resource_version,
        ),
        "DeleteNamespace": rr.DeleteNamespaceRequest(
            namespace=made.namespace, resource_version=made.resource_version
        ),
    }
    for method, request in requests.items():
        operation = await api.done(await api.call(method, request))
        assert operation.state == AsyncOperation.STATE_FAILED
        assert await api.namespace(made.namespace) == made


async def test_a_lost_answer_is_found_again(standin: Place, api: Api) -> None:
    """It was done; who asks again with the same id is told so, who does not is told it exists."""
    await standin.control.lose("CreateNamespace")
    assert (await api.refused("CreateNamespace", create(id="lost")))[0] == "UNAVAILABLE"
    assert (await api.refused("CreateNamespace", create(id="other")))[0] == "ALREADY_EXISTS"
    answer = await api.call("CreateNamespace", create(id="lost"))
    assert (await api.done(answer)).state == AsyncOperation.STATE_FULFILLED


async def test_what_is_held_goes_on_when_mended(standin: Place, api: Api) -> None:
    """It is listed meanwhile."""
    await standin.control.hold("CreateNamespace")
    answer = await api.call("CreateNamespace", create(id="held"))
    status = await standin.control.status()
    assert (status["held"], status["open"], status["faults"]) == (["held"], ["held"], [])
    await standin.control.mend()
    assert (await api.done(answer)).state == AsyncOperation.STATE_FULFILLED
    assert (await standin.control.status())["held"] == []


async def test_faults_are_listed_as_they_wear_off(standin: Place, api: Api) -> None:
    """What is in force, how often it will still be met, and the last word on a method counts."""
    await standin.control.fail("GetAccount", times=5)
    await standin.control.fail("GetAccount", "INTERNAL", times=2)
    await api.refused("GetAccount")
    (fault,) = (await standin.control.status())["faults"]
    assert (fault["what"], fault["method"], fault["code"], fault["times"]) == (
        "fail",
        "GetAccount",
        "INTERNAL",
        1,
    )


@pytest.mark.parametrize(
    ("method", "code", "times", "said"),
    [
        ("GetAcount", "INTERNAL", 1, "did you mean GetAccount"),
        ("GetAccount", "BROKEN", 1, "must be a gRPC status"),
        ("GetAccount", "OK", 1, "must be a gRPC status"),
        ("GetAccount", "INTERNAL", 0, "times must be at least 1"),
    ],
)
async def test_a_fault_that_is_none_is_refused(
    standin: Place, method: str, code: str, times: int, said: str
) -> None:
    """In words, with what was probably meant."""
    with pytest.raises(TprovError, match=said):
        await standin.control.fail(method, code, times=times)


async def test_a_control_that_cannot_be_reached_says_so() -> None:
    """A sentence with a remedy."""
    with pytest.raises(CloudUnavailable, match=r"127\.0\.0\.1:1 .*tprov up"):
        await StandinControl("127.0.0.1:1", "key").status()


async def test_objects_are_what_one_would_see_in_a_console(standin: Place, api: Api) -> None:
    """Type, id, name, state and age of everything."""
    await api.a_namespace()
    await api.a_service_account()
    seen = {(o["type"], o["name"]): o for o in await standin.control.objects()}
    assert set(seen) == {
        ("account", "tprov"),
        ("namespace", "orders"),
        ("service account", "ci"),
        ("user", "owner@example.com"),
    }
    orders = seen["namespace", "orders"]
    assert (orders["id"], orders["state"]) == ("orders.tprov", "active")
    assert orders["created"].endswith("Z")


# --- lists -----------------------------------------------------------------------------------


async def test_a_list_comes_in_pages(api: Api) -> None:
    """In order, each object once, whatever the page's size; a filter does not change that."""
    made = [f"ns-{i:02}" for i in range(7)]
    for name in reversed(made):
        await api.do("CreateNamespace", create(name))
    for size in (1, 3, 7, 100):
        got, token, pages = [], "", 0
        while True:
            page = await api.call(
                "GetNamespaces", rr.GetNamespacesRequest(page_size=size, page_token=token)
            )
            got += [n.spec.name for n in page.namespaces]
            token, pages = page.next_page_token, pages + 1
            if not token:
                break
        assert got == made
        assert pages == -(-len(made) // size)
    one = await api.call("GetNamespaces", rr.GetNamespacesRequest(name="ns-03", page_size=1))
    assert ([n.spec.name for n in one.namespaces], one.next_page_token) == (["ns-03"], "")


async def test_members_come_in_pages_too(api: Api) -> None:
    """By ascending id."""
    spec = identity.UserGroupSpec(display_name="ops")
    spec.cloud_group.SetInParent()
    group = (await api.do("CreateUserGroup", rr.CreateUserGroupRequest(spec=spec))).group_id
    for i in range(5):
        user = await api.a_user(f"u{i}@example.com")
        member = identity.UserGroupMemberId(user_id=user.id)
        request = rr.AddUserGroupMemberRequest(group_id=group, member_id=member)
        await api.do("AddUserGroupMember", request)
    got, token = [], ""
    while True:
        wanted = rr.GetUserGroupMembersRequest(group_id=group, page_size=2, page_token=token)
        page = await api.call("GetUserGroupMembers", wanted)
        assert len(page.members) <= 2
        got += [m.member_id.user_id for m in page.members]
        if not (token := page.next_page_token):
            break
    assert (len(got), got) == (5, sorted(got))


async def test_a_page_is_asked_for_properly(api: Api) -> None:
    """Neither fewer than none nor after nonsense."""
    for request in (
        rr.GetUsersRequest(page_size=-1),
        rr.GetUsersRequest(page_token="not one of ours"),
        rr.GetUsersRequest(page_token="/w=="),
    ):
        code, why = await api.refused("GetUsers", request)
        assert (code, why.split("_")[0]) == ("INVALID_ARGUMENT", "page")


# --- the edges -------------------------------------------------------------------------------


async def test_what_it_does_not_have_is_said(api: Api) -> None:
    """Every method of the API is there, or is UNIMPLEMENTED in a sentence that names it."""
    refusals: dict[str, tuple[str, str]] = {}
    for method in METHODS:
        try:
            await api.call(method)
        except grpc.aio.AioRpcError as error:
            refusals[method] = (error.code().name, error.details() or "")
    lacking = {m: why for m, (code, why) in refusals.items() if code == "UNIMPLEMENTED"}
    for method, why in lacking.items():
        assert why == f"The local stand-in for Temporal Cloud has no {method}."
    assert {code for code, _ in refusals.values()} == {
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "UNIMPLEMENTED",
    }
    assert set(lacking) == {
        "CreateBillingReport",
        "GetAuditLogs",
        "GetBillingReport",
        "GetServiceAccountNamespaceAssignments",
        "GetUsage",
        "GetUserGroupNamespaceAssignments",
        "GetUserNamespaceAssignments",
    }


async def test_a_message_that_is_none_is_refused(standin: Place) -> None:
    """INVALID_ARGUMENT, not a stack trace."""
    async with grpc.aio.insecure_channel(standin.endpoint) as channel:
        rpc = channel.unary_unary(
            "/temporal.api.cloud.cloudservice.v1.CloudService/CreateUser",
            request_serializer=None,
            response_deserializer=None,
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await rpc(b"\xff\xff", metadata=(("authorization", f"Bearer {standin.key}"),))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_each_call_is_a_line_in_the_log(standin: Place, api: Api) -> None:
    """Method, agent, code and milliseconds; neither keys nor contents."""
    await api.a_user("secret-person@example.com")
    await api.refused("GetUser", rr.GetUserRequest(user_id="nobody"))
    lines = standin.calls()
    assert lines[0]["method"] == "CreateUser"
    last = lines[-1]
    assert (last["method"], last["code"]) == ("GetUser", "NOT_FOUND")
    assert last["agent"].startswith("grpc-python")
    assert last["ms"] > 0
    text = standin.log.read_text()
    assert standin.key not in text
    assert "secret-person" not in text


async def test_another_account_is_another_suffix(tmp_path: Any) -> None:
    """The account's id is part of a namespace's."""
    async with opened_here(tmp_path, account="a1b2c") as place, api_of(place) as api:
        assert (await api.a_namespace()).namespace == "orders.a1b2c"
        assert (await api.call("GetAccount")).account.id == "a1b2c"

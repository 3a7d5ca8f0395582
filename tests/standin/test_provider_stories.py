"""What the real provider makes of faults, refusals and surprises.

Each story has a stand-in and a directory of its own. They are told side by side, because the
provider waits a second for every operation.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc.aio
import pytest
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr

from tests.standin.parts import Standin, Terraform, api_of, problems, running
from tprov_kernel.toolchain import Toolchain

ORDERS = """
resource "temporalcloud_namespace" "orders" {
  name           = "orders"
  regions        = ["aws-us-east-1"]
  retention_days = 7
  api_key_auth   = true
  timeouts {
    create = "3s"
  }
}
"""
PROTECTED = ORDERS.replace(
    "timeouts {", "namespace_lifecycle = { enable_delete_protection = true }\n  timeouts {"
)
ADA = """
resource "temporalcloud_user" "ada" {
  email          = "ada@example.com"
  account_access = "read"
}
"""

Story = Callable[[Standin, Terraform], None]
STORIES: list[Story] = []


def story(tell: Story) -> Story:
    """A story, told by `test_story`."""
    STORIES.append(tell)
    return tell


@pytest.fixture(scope="module")
def told(
    toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """All stories, begun."""

    def tell(one: Story) -> None:
        home = tmp_path_factory.mktemp(one.__name__)
        with running(home) as standin:
            terraform = Terraform(home / "stack", standin, toolchain)
            terraform.write(ORDERS)
            terraform.init()
            one(standin, terraform)

    with ThreadPoolExecutor(4) as pool:
        yield {one.__name__: pool.submit(tell, one) for one in STORIES}


def names(standin: Standin, kind: str = "namespace") -> list[str]:
    """The objects of a kind that there are."""
    found = asyncio.run(standin.control.objects())
    return [o["name"] for o in found if o["type"] == kind]


def calls(standin: Standin, method: str) -> list[str]:
    """The codes of a method's calls, in order."""
    return [c["code"] for c in standin.calls() if c["method"] == method]


# --- key and endpoint ------------------------------------------------------------------------


@story
def keys_and_accounts(standin: Standin, terraform: Terraform) -> None:
    """No key is an error; a wrong one a mere warning, unless the account is named."""
    key = terraform.environment.pop("TEMPORAL_CLOUD_API_KEY")
    assert terraform.run("plan", "-json").code == 1

    terraform.environment["TEMPORAL_CLOUD_API_KEY"] = "wrong"
    warned = terraform.run("plan", "-json")
    assert warned.code == 0
    assert "The API key is not known." in problems(warned)

    terraform.environment["TEMPORAL_CLOUD_ALLOWED_ACCOUNT_ID"] = "tprov"
    refused = terraform.run("plan", "-json")
    assert refused.code == 1
    assert "The API key is not known." in problems(refused)

    terraform.environment["TEMPORAL_CLOUD_API_KEY"] = key
    assert terraform.plan().count("plan")["add"] == 1
    terraform.environment["TEMPORAL_CLOUD_ALLOWED_ACCOUNT_ID"] = "other"
    assert "does not match allowed account ID" in problems(terraform.run("plan", "-json"))


@story
def an_unknown_region(standin: Standin, terraform: Terraform) -> None:
    """It is refused when planning, by the service's own list."""
    terraform.write(ORDERS.replace("aws-us-east-1", "aws-mars-1"))
    ran = terraform.run("plan", "-json")
    assert ran.code == 1
    assert 'Region \\"aws-mars-1\\" is not a valid' in json.dumps(problems(ran))


# --- faults ----------------------------------------------------------------------------------


@story
def a_service_that_is_away_for_a_moment(standin: Standin, terraform: Terraform) -> None:
    """The provider tries again by itself, and nobody sees it."""
    asyncio.run(standin.control.fail("GetRegions", "UNAVAILABLE", times=2))
    ran = terraform.plan()
    assert not [e for e in ran.events if "diagnostic" in e]
    assert calls(standin, "GetRegions") == ["UNAVAILABLE", "UNAVAILABLE", "OK"]


@story
def a_service_that_fails_at_the_look_up(standin: Standin, terraform: Terraform) -> None:
    """Regions that cannot be read are a warning; an account that cannot be read an error."""
    asyncio.run(standin.control.fail("GetRegions", "INTERNAL"))
    assert "GetRegions was told to fail." in problems(terraform.plan())
    terraform.environment["TEMPORAL_CLOUD_ALLOWED_ACCOUNT_ID"] = "tprov"
    asyncio.run(standin.control.fail("GetAccount", "INTERNAL"))
    assert terraform.run("plan", "-json").code == 1
    assert terraform.plan().count("plan")["add"] == 1


@story
def an_answer_that_gets_lost(standin: Standin, terraform: Terraform) -> None:
    """The provider asks again with the same id: one namespace, no error."""
    asyncio.run(standin.control.lose("CreateNamespace", "UNAVAILABLE"))
    terraform.apply()
    assert calls(standin, "CreateNamespace") == ["UNAVAILABLE", "OK"]
    assert names(standin) == ["orders"]
    assert terraform.plan().code == 0


@story
def an_orphan(standin: Standin, terraform: Terraform) -> None:
    """A create whose answer is an error all the same is in no state, and is found by import."""
    asyncio.run(standin.control.lose("CreateNamespace", "INTERNAL"))
    assert terraform.run("apply", "-auto-approve", "-json").code == 1
    assert (names(standin), terraform.state()) == (["orders"], [])
    again = terraform.run("apply", "-auto-approve", "-json")
    assert "exists already" in problems(again)
    block = 'import {\n to = temporalcloud_namespace.orders\n id = "orders.tprov"\n}\n'
    terraform.write(ORDERS + block)
    assert terraform.apply().count("apply")["import"] == 1
    assert terraform.plan().code == 0


@story
def an_operation_that_fails(standin: Standin, terraform: Terraform) -> None:
    """The reason is in Terraform's error; nothing was made, and another apply makes it."""
    asyncio.run(standin.control.doom("CreateNamespace", "no room in this region"))
    ran = terraform.run("apply", "-auto-approve", "-json")
    assert ran.code == 1
    assert "no room in this region" in problems(ran)
    assert names(standin) == []
    terraform.apply()
    assert names(standin) == ["orders"]


@story
def an_operation_that_stays_pending(standin: Standin, terraform: Terraform) -> None:
    """Terraform gives up at its time-out, and the namespace comes to life behind its back."""
    asyncio.run(standin.control.hold("CreateNamespace"))
    ran = terraform.run("apply", "-auto-approve", "-json")
    assert "deadline exceeded" in problems(ran)
    assert asyncio.run(standin.control.status())["held"]
    asyncio.run(standin.control.mend())
    assert names(standin) == ["orders"]


# --- refusals and surprises ------------------------------------------------------------------


@story
def a_protected_namespace(standin: Standin, terraform: Terraform) -> None:
    """Destroy is refused in a sentence that names the field, until the protection is off."""
    terraform.write(PROTECTED)
    terraform.apply()
    ran = terraform.run("destroy", "-auto-approve", "-json")
    assert ran.code == 1
    assert "enable_delete_protection" in problems(ran)
    terraform.write(ORDERS)
    assert terraform.apply().count("apply")["change"] == 1
    terraform.destroy()
    assert names(standin) == []


@story
def what_the_service_refuses(standin: Standin, terraform: Terraform) -> None:
    """A limit that only the service knows is told at apply, with the field's name."""
    terraform.write(ORDERS.replace("retention_days = 7", "retention_days = 400"))
    assert terraform.plan().code == 2
    ran = terraform.run("apply", "-auto-approve", "-json")
    assert ran.code == 1
    assert "spec.retention_days must be 1 to 90, it is 400." in problems(ran)


@story
def somebody_else_was_here(standin: Standin, terraform: Terraform) -> None:
    """What was deleted behind Terraform's back is planned anew; what was changed, put right."""
    terraform.write(ORDERS + ADA)
    terraform.apply()

    async def meddle() -> None:
        async with api_of(standin) as api:
            user = (await api.call("GetUsers", rr.GetUsersRequest(email="ada@example.com"))).users[
                0
            ]
            request: Any = rr.DeleteUserRequest(
                user_id=user.id, resource_version=user.resource_version
            )
            await api.do("DeleteUser", request)
            orders = await api.namespace("orders.tprov")
            orders.spec.retention_days = 30
            request = rr.UpdateNamespaceRequest(
                namespace=orders.namespace,
                spec=orders.spec,
                resource_version=orders.resource_version,
            )
            await api.do("UpdateNamespace", request)

    asyncio.run(meddle())
    planned = terraform.plan().count("plan")
    assert (planned["add"], planned["change"], planned["remove"]) == (1, 1, 0)
    terraform.apply()
    assert terraform.plan().code == 0


@story
def the_owner_can_be_imported_and_not_deleted(standin: Standin, terraform: Terraform) -> None:
    """Destroying it is a warning of the provider's, and no call."""

    async def owner() -> str:
        async with api_of(standin) as api:
            found = await api.call("GetUsers", rr.GetUsersRequest(email="owner@example.com"))
            return str(found.users[0].id)

    id = asyncio.run(owner())
    terraform.write(
        'resource "temporalcloud_user" "owner" {\n'
        '  email = "owner@example.com"\n  account_access = "owner"\n}\n'
        f'import {{\n  to = temporalcloud_user.owner\n  id = "{id}"\n}}\n'
    )
    terraform.apply()
    assert terraform.plan().code == 0
    assert "Delete Ignored" in problems(terraform.destroy())
    assert names(standin, "user") == ["owner@example.com"]


@story
def a_key_of_terraforms_own_making(standin: Standin, terraform: Terraform) -> None:
    """The token of an API key resource is a key: with it the account is named, without it not."""
    terraform.write(
        """
resource "temporalcloud_service_account" "ci" {
  name           = "ci"
  account_access = "read"
}
resource "temporalcloud_apikey" "ci" {
  display_name = "ci"
  owner_type   = "service-account"
  owner_id     = temporalcloud_service_account.ci.id
  expiry_time  = "2099-01-01T00:00:00Z"
}
output "token" {
  sensitive = true
  value     = temporalcloud_apikey.ci.token
}
"""
    )
    terraform.apply()
    token = json.loads(terraform.run("output", "-json", "token").output)

    async def who(key: str) -> str:
        async with api_of(standin, key) as api:
            try:
                return str((await api.call("GetCurrentIdentity")).service_account.spec.name)
            except grpc.aio.AioRpcError as error:
                return error.code().name

    assert asyncio.run(who(token)) == "ci"
    terraform.destroy()
    assert asyncio.run(who(token)) == "UNAUTHENTICATED"


@pytest.mark.parametrize("name", [s.__name__ for s in STORIES])
def test_story(name: str, told: dict[str, Future[None]]) -> None:
    """Tell one of the stories above."""
    told[name].result(timeout=100)

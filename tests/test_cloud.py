"""Our own client of the Cloud API: what it finds, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.api.cloud.cloudservice.v1 import CreateNamespaceRequest
from temporalio.api.cloud.identity.v1 import message_pb2 as identity

from tests.standin.parts import Place, api_of, namespace_spec, opened_here, running
from tprov_kernel.cloud import Account, CloudClient
from tprov_kernel.errors import CloudUnavailable, KeyMissing, KeyRejected
from tprov_kernel.settings import CloudSettings

REMOTE = CloudSettings(endpoint="127.0.0.1:1", api_key="key", allow_insecure=True)


@pytest.fixture
async def standin(tmp_path: Path) -> AsyncIterator[Place]:
    """A stand-in on this loop."""
    async with opened_here(tmp_path) as place:
        yield place


async def test_it_finds_what_there_is(standin: Place) -> None:
    """The account, regions, and objects by name or e-mail, with id, state and age."""
    client = CloudClient(standin.settings)
    async with api_of(standin) as api:
        await api.a_namespace("orders")
        user = await api.a_user("Ada@example.com")
        account = await api.a_service_account("ci")
    assert await client.check() == Account(id="tprov")
    assert "aws-us-east-1" in await client.regions()

    orders = await client.find_namespace("orders")
    assert orders is not None
    assert (orders.type, orders.id, orders.name, orders.state) == (
        "namespace",
        "orders.tprov",
        "orders",
        "active",
    )
    created = datetime.fromisoformat(orders.created.replace("Z", "+00:00"))
    assert timedelta(0) <= datetime.now(UTC) - created < timedelta(minutes=1)

    ada = await client.find_user("ada@EXAMPLE.com")
    assert ada is not None
    assert (ada.type, ada.id, ada.name) == ("user", user.id, "Ada@example.com")
    ci = await client.find_service_account("ci")
    assert ci is not None
    assert (ci.type, ci.id) == ("service account", account)

    assert await client.find_namespace("order") is None
    assert await client.find_user("nobody@example.com") is None
    assert await client.find_service_account("none") is None


async def test_a_state_is_told_in_words(standin: Place) -> None:
    """Not in the API's capitals."""
    await standin.control.hold("CreateNamespace")
    async with api_of(standin) as api:
        await api.call("CreateNamespace", CreateNamespaceRequest(spec=namespace_spec()))
    found = await CloudClient(standin.settings).find_namespace("orders")
    assert found is not None
    assert found.state == "activating"


async def test_lists_are_whole(standin: Place) -> None:
    """However many pages they have."""
    async with api_of(standin) as api:
        for i in range(3):
            await api.a_namespace(f"n{i}")
        await api.a_user(role=identity.AccountAccess.ROLE_READ)
    client = CloudClient(standin.settings, page=2)
    assert [n.name for n in await client.list_namespaces()] == ["n0", "n1", "n2"]
    assert {u.name for u in await client.list_users()} == {"owner@example.com", "ada@example.com"}


async def test_one_call_is_one_call(standin: Place) -> None:
    """No retry is hidden in it: a failure is seen as the failure of an attempt."""
    client = CloudClient(standin.settings)
    for code in ("UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED"):
        await standin.control.fail("GetAccount", code)
        with pytest.raises(CloudUnavailable, match=f"{code}: GetAccount was told to fail") as said:
            await client.check()
        assert said.value.retryable
    await client.check()
    asked = [c["code"] for c in standin.calls() if c["method"] == "GetAccount"]
    assert asked == ["UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED", "OK"]


async def test_a_key_that_is_not_accepted(standin: Place) -> None:
    """The sentence names endpoint and key, and never shows it; trying again is of no use."""
    settings = replace(standin.settings, api_key="not-the-key", is_stand_in=False)
    with pytest.raises(KeyRejected) as said:
        await CloudClient(settings).check()
    assert standin.endpoint in str(said.value)
    assert "TEMPORAL_CLOUD_API_KEY" in str(said.value)
    assert "not-the-key" not in str(said.value)
    assert not said.value.retryable
    await standin.control.fail("GetAccount", "PERMISSION_DENIED")
    with pytest.raises(KeyRejected, match="PERMISSION_DENIED"):
        await CloudClient(standin.settings).check()


@pytest.mark.parametrize("key", ["", "  \n"])
async def test_no_key_is_said_without_a_call(standin: Place, key: str) -> None:
    """The variable is named, or the command that makes the stand-in's."""
    for stand_in, words in ((False, "TEMPORAL_CLOUD_API_KEY is not set"), (True, "tprov up")):
        settings = replace(standin.settings, api_key=key, is_stand_in=stand_in)
        with pytest.raises(KeyMissing, match=words):
            await CloudClient(settings).check()
    assert standin.calls() == []


async def test_a_key_with_a_line_end_is_a_key(standin: Place) -> None:
    """As it comes out of a file."""
    settings = replace(standin.settings, api_key=standin.settings.api_key + "\n")
    await CloudClient(settings).check()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (REMOTE, "nothing listens there"),
        (replace(REMOTE, is_stand_in=True), "nothing listens there.*tprov up"),
        (replace(REMOTE, endpoint="no.such.host.invalid:443"), "its name does not resolve"),
        (replace(REMOTE, endpoint="nonsense::"), "cannot be reached"),
    ],
)
async def test_an_endpoint_that_is_not_there(settings: CloudSettings, words: str) -> None:
    """In a sentence with the endpoint in it, and why."""
    with pytest.raises(CloudUnavailable, match=words) as said:
        await CloudClient(settings).check()
    assert settings.endpoint in str(said.value)


async def test_an_endpoint_that_says_nothing() -> None:
    """Somebody listens and never answers: people are told all the same."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = replace(REMOTE, endpoint=f"127.0.0.1:{silent.getsockname()[1]}")
        async with asyncio.timeout(10):
            with pytest.raises(CloudUnavailable, match=r"does not answer within 1\.8 seconds"):
                await CloudClient(settings).check()


async def test_plain_text_where_tls_is_expected(standin: Place) -> None:
    """It is said to be about TLS."""
    settings = replace(standin.settings, allow_insecure=False)
    with pytest.raises(CloudUnavailable, match="TLS"):
        await CloudClient(settings).check()


def test_it_finds_its_way_back_after_a_restart(tmp_path: Path) -> None:
    """The same client, a stand-in that was killed, away, and started again."""

    async def story() -> None:
        with running(tmp_path) as standin:
            client = CloudClient(standin.settings)
            await client.check()
            standin.kill()
            with pytest.raises(CloudUnavailable, match=r"nothing listens there|broke the conn"):
                await client.check()
            standin.start()
            assert await client.check() == Account(id="tprov")

    asyncio.run(story())

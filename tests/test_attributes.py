"""What may be in a search attribute, and what never."""

from __future__ import annotations

import base64
import secrets as random
from typing import get_args

import pytest
from temporalio.client import Client

from tests.conftest import ROOT, Platform
from tprov_kernel import runs, visibility
from tprov_kernel.attributes import ATTRIBUTES, MOST, findable, search_attributes
from tprov_kernel.errors import NotPublic
from tprov_kernel.filters import quoted
from tprov_kernel.messages import Action, Level, Status

KEY = "a-known-credential-of-ours"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"


def refused(value: str, *, name: str = "tprovRequester") -> str:
    """The sentence with which a value is refused."""
    with pytest.raises(NotPublic) as caught:
        search_attributes({name: value}, secrets=[KEY])
    assert value not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("ada\nlovelace", "contains a control character"),
        ("ada\x1b[31m", "contains a control character"),
        (f"ada {KEY}", "contains a known secret"),
        (base64.b64encode(f"ada:{KEY}".encode()).decode(), "contains a known secret"),
        (JWT, "looks like a JSON web token"),
        ("-----BEGIN PRIVATE KEY----- MIIE", "looks like a key or a certificate"),
        pytest.param("tprov_" + random.token_urlsafe(32), "looks like an API key", id="ours"),
        ("ghp_" + "x" * 36, "looks like an API key"),
        ("AKIAIOSFODNN7EXAMPLE", "looks like an API key"),
        ("git::https://ada:hunter2@example.test/x", "looks like a password in an address"),
        ("terraform/x?token=abc", "looks like a secret with its name"),
        ("h8Kq2LmP9xT4vB7nC3wY6zR1", "contains what looks like a key"),
    ],
)
def test_what_may_not_be_shown_is_refused_without_showing_it(value: str, words: str) -> None:
    """The sentence names what it is about, says why, and what to do; the value is not in it."""
    said = refused(value)
    assert said.startswith(f"The requester {words}; ")
    assert "secrets go into variables" in said
    assert refused(value, name="tprovDirectory").startswith("The directory ")


@pytest.mark.parametrize(
    "value",
    [
        "terraform/tcloud_admin_user",
        "/home/ada/src/MyTerraformProject2024Backup/modules/EuWest1Networking",
        "/tmp/pytest-of-root/pytest-0/test_a_run_of_AnyKind_2024_0/work",
        "/var/folders/8k/7vf5kx1x1r3bq3sgxw1y8lqh0000gn/T/tmp4f0a",
        "01a20d5e-f14a-7397-bde3-38e73e0fa116",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "Ada Lovelace <ada@example.test>",
        "tokens/secret-santa",
        "平台/テスト",
        "it's",
    ],
)
def test_ordinary_names_are_taken_as_they_are(value: str) -> None:
    """A check that cries wolf would be switched off."""
    (pair,) = search_attributes({"tprovDirectory": value}, secrets=[KEY]).search_attributes
    assert pair.value == value


def test_most_random_keys_are_recognised() -> None:
    """By their look alone; what looks like a word can't be told from one."""
    seen = sum("looks like" in _said(random.token_urlsafe(32)) for _ in range(500))
    assert seen > 350


def _said(value: str) -> str:
    try:
        search_attributes({"tprovRequester": value})
    except NotPublic as error:
        return str(error)
    return ""


def test_what_the_workflow_sets_by_itself_passes() -> None:
    """Status, verdict and action are words of ours: nothing that a person typed."""
    ours = [*(s.value for s in Status), *get_args(Level), *get_args(Action), "allowed"]
    for word in ours:
        assert search_attributes({"tprovStatus": word}).search_attributes[0].value == word


def test_another_attribute_than_ours_is_refused() -> None:
    """The list is closed: who adds one has to think of this file."""
    with pytest.raises(NotPublic, match="none of our search attributes"):
        search_attributes({"CustomerName": "ada"})


def test_each_attribute_is_of_its_kind() -> None:
    """A Text one under a Keyword's key would be refused by the server."""
    made = search_attributes(dict.fromkeys(ATTRIBUTES, "x"))
    kinds = {
        pair.key.name: pair.key.indexed_value_type.name.title() for pair in made.search_attributes
    }
    assert kinds == ATTRIBUTES


def test_a_long_path_keeps_its_end() -> None:
    """Which is what people call it."""
    value = findable("/very" * 100 + "/tcloud_namespace")
    assert len(value) == MOST
    assert value.startswith("…")
    assert value.endswith("/very/tcloud_namespace")


@pytest.fixture
async def client(platform: Platform) -> Client:
    """A client of the session's server."""
    return await platform.client()


async def test_a_run_is_not_started_with_what_may_not_be_shown(
    client: Client, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither with a key as its requester's name; nothing reached the server."""
    monkeypatch.setenv("TEMPORAL_CLOUD_API_KEY", KEY)
    for requester in (JWT, f"ada/{KEY}"):
        with pytest.raises(NotPublic, match="The requester"):
            await runs.start_run(
                client,
                stack="unshown",
                directory=ROOT / "terraform/tcloud_namespace",
                key_ring=platform.keys,
                task_queue="nobody's",
                requested_by=requester,
            )
    assert await runs.describe(client, "unshown") is None


@pytest.mark.parametrize("shown_as", ['C:\\work\\"my" stack', "/deep" * 200, "it's mine"])
async def test_any_directory_can_be_found_again(
    client: Client, platform: Platform, shown_as: str
) -> None:
    """By a filter with what the attribute holds: no form of a backslash finds one."""
    handle = await runs.start_run(
        client,
        stack=f"odd-{len(shown_as)}",
        directory=ROOT / "terraform/tcloud_namespace",
        shown_as=shown_as,
        key_ring=platform.keys,
        task_queue="nobody's",
    )
    try:
        query = f"tprovDirectory={quoted(findable(shown_as))} AND ExecutionStatus='Running'"
        for _ in range(100):
            if (await visibility.list_runs(client, query)).rows:
                return
        raise AssertionError(f"{query} finds nothing")
    finally:
        await handle.terminate("the test is over")

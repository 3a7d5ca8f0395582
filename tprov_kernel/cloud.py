"""Our own client of the Temporal Cloud API: the pre-flight before a plan, and look-ups.

The provider meets a wrong key or a dead endpoint with a warning, or after half a minute; so we ask
ourselves, once and without a retry, and say within `SECONDS` which of the two it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.api.cloud.cloudservice.v1 import (
    GetAccountAuditLogSinksRequest,
    GetAccountRequest,
    GetApiKeysRequest,
    GetNamespacesRequest,
    GetNexusEndpointsRequest,
    GetRegionsRequest,
    GetServiceAccountsRequest,
    GetUserGroupsRequest,
    GetUsersRequest,
)
from temporalio.api.cloud.resource.v1 import ResourceState
from temporalio.client import CloudOperationsClient
from temporalio.service import CloudService, RPCError, RPCStatusCode

from tprov_kernel.errors import CloudError, CloudUnavailable, KeyMissing, KeyRejected
from tprov_kernel.settings import CloudSettings

SECONDS = 1.8
"""How long one call may take, connecting included: people are told within two seconds."""
API_VERSION = "v0.10.0"
"""The version of the API that we speak; the provider's v1.3.0 speaks the same."""
PAGE = 1000

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account that the key belongs to."""

    id: str


@dataclass(frozen=True, kw_only=True)
class CloudObject:
    """Something in the account.

    Attributes:
        type: ``namespace``, ``user``, ``service account``, ``API key``, ``group``,
            ``Nexus endpoint`` or ``audit-log sink``.
        name: Its name; a user's e-mail address, an API key's or a group's display name.
        created: RFC 3339, as the Cloud API tells it; empty of a sink, of which it tells no time.
        state: In words: ``active``, ``activating``, ``update failed``.
    """

    type: str
    id: str
    name: str
    created: str
    state: str


class CloudClient:
    """The Temporal Cloud API, or its stand-in; used on one event loop.

    Args:
        settings: Where it is, and the key.
        page: How many objects a page of a list has.

    Every method raises:
        KeyMissing: There is no key.
        KeyRejected: The key is not accepted, or may not do this.
        CloudUnavailable: It does not answer, or fails; another attempt may succeed.
    """

    def __init__(self, settings: CloudSettings, *, page: int = PAGE) -> None:
        self._settings = settings
        self._page = page
        self._client: CloudOperationsClient | None = None

    async def check(self) -> Account:
        """Ask for the account: the cheapest call that proves endpoint and key."""
        answer = await self._ask(lambda api: api.get_account, GetAccountRequest())
        return Account(id=answer.account.id)

    async def regions(self) -> list[str]:
        """The ids of the regions, such as ``aws-us-east-1``."""
        answer = await self._ask(lambda api: api.get_regions, GetRegionsRequest())
        return [region.id for region in answer.regions]

    async def find_namespace(self, name: str) -> CloudObject | None:
        """The namespace with this name (without the account), or None."""
        answer = await self._ask(lambda api: api.get_namespaces, GetNamespacesRequest(name=name))
        return _first(n for n in map(_namespace, answer.namespaces) if n.name == name)

    async def find_user(self, email: str) -> CloudObject | None:
        """The user with this e-mail address, in whatever case, or None."""
        answer = await self._ask(lambda api: api.get_users, GetUsersRequest(email=email))
        return _first(u for u in map(_user, answer.users) if u.name.lower() == email.lower())

    async def find_service_account(self, name: str) -> CloudObject | None:
        """The service account with this name, or None."""
        return _first(s for s in await self.list_service_accounts() if s.name == name)

    async def find_group(self, name: str) -> CloudObject | None:
        """The group with this display name, or None."""
        asked = GetUserGroupsRequest(display_name=name)
        answer = await self._ask(lambda api: api.get_user_groups, asked)
        return _first(g for g in map(_group, answer.groups) if g.name == name)

    async def find_nexus_endpoint(self, name: str) -> CloudObject | None:
        """The Nexus endpoint with this name, or None."""
        asked = GetNexusEndpointsRequest(name=name)
        answer = await self._ask(lambda api: api.get_nexus_endpoints, asked)
        return _first(e for e in map(_endpoint, answer.endpoints) if e.name == name)

    async def find_audit_log_sink(self, name: str) -> CloudObject | None:
        """The account's audit-log sink with this name, or None."""
        pages = await self._pages(
            lambda api: api.get_account_audit_log_sinks, GetAccountAuditLogSinksRequest
        )
        return _first(s for page in pages for s in map(_sink, page.sinks) if s.name == name)

    async def find_api_keys(self, name: str) -> list[CloudObject]:
        """Every API key with this display name: several may have the same one."""
        pages = await self._pages(lambda api: api.get_api_keys, GetApiKeysRequest)
        return [k for page in pages for k in map(_api_key, page.api_keys) if k.name == name]

    async def list_namespaces(self) -> list[CloudObject]:
        """Every namespace, in ascending name order."""
        pages = await self._pages(lambda api: api.get_namespaces, GetNamespacesRequest)
        return [_namespace(n) for page in pages for n in page.namespaces]

    async def list_users(self) -> list[CloudObject]:
        """Every user, in ascending id order."""
        pages = await self._pages(lambda api: api.get_users, GetUsersRequest)
        return [_user(u) for page in pages for u in page.users]

    async def list_service_accounts(self) -> list[CloudObject]:
        """Every service account, in ascending id order."""
        pages = await self._pages(lambda api: api.get_service_accounts, GetServiceAccountsRequest)
        return [_service_account(s) for page in pages for s in page.service_account]

    async def _pages(
        self,
        method: Callable[[CloudService], Callable[..., Awaitable[T]]],
        request: Callable[..., Any],
    ) -> list[T]:
        pages: list[T] = []
        token = ""
        while True:
            page: Any = await self._ask(method, request(page_size=self._page, page_token=token))
            pages.append(page)
            token = page.next_page_token
            if not token:
                return pages

    async def _ask(
        self, method: Callable[[CloudService], Callable[..., Awaitable[T]]], request: object
    ) -> T:
        """One call, no retry: whether another attempt is of use is decided by who asks."""
        if not self._settings.api_key.strip():
            raise self._no_key()
        try:
            async with asyncio.timeout(SECONDS):
                if self._client is None:
                    self._client = await self._connect()
                return await method(self._client.cloud_service)(
                    request, retry=False, timeout=timedelta(seconds=SECONDS)
                )
        except RPCError as error:
            raise self._refused(error) from None
        except TimeoutError:
            raise self._unavailable(f"does not answer within {SECONDS:g} seconds") from None
        except (RuntimeError, ValueError) as error:  # the SDK's words for 'cannot connect'
            raise self._unavailable(_reason(str(error))) from None

    async def _connect(self) -> CloudOperationsClient:
        return await CloudOperationsClient.connect(
            api_key=self._settings.api_key.strip(),
            version=API_VERSION,
            target_host=self._settings.endpoint,
            tls=not self._settings.allow_insecure,
            lazy=True,
        )

    # --- what went wrong, in words -----------------------------------------------------------

    @property
    def _who(self) -> str:
        name = "Cloud API stand-in" if self._settings.is_stand_in else "Temporal Cloud API"
        return f"The {name} at {self._settings.endpoint}"

    def _no_key(self) -> KeyMissing:
        if self._settings.is_stand_in:
            return KeyMissing(
                f"There is no key for the Cloud API stand-in at {self._settings.endpoint}.",
                remedy="Restart the worker: in a notebook lab.restart_worker(), else tprov up.",
            )
        return KeyMissing(
            "There is no key for the Temporal Cloud API: TEMPORAL_CLOUD_API_KEY is not set.",
            remedy="Set TEMPORAL_CLOUD_API_KEY in the worker's environment and restart the worker.",
        )

    def _refused(self, error: RPCError) -> CloudError:
        code = error.status.name
        if error.status in (RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED):
            source = "of the worker" if self._settings.is_stand_in else "TEMPORAL_CLOUD_API_KEY"
            return KeyRejected(
                f"{self._who} does not accept the key {source} ({code}: {_clause(error.message)}).",
                remedy="Restart the worker: in a notebook lab.restart_worker(), else tprov up."
                if self._settings.is_stand_in
                else "Set TEMPORAL_CLOUD_API_KEY to a valid key and restart the worker.",
            )
        if "connect error" in error.message:
            return self._unavailable(_reason(error.message))
        # Cancelled, but not by us, or a transport without a reason: it ended in mid-call.
        if error.status == RPCStatusCode.CANCELLED or error.message.strip() == "transport error":
            return self._unavailable("broke the connection off")
        return CloudUnavailable(
            f"{self._who} answers with {code}: {_clause(error.message)}.",
            remedy="Look for faults that were injected: tprov cloud status."
            if self._settings.is_stand_in
            else "Try again later; https://status.temporal.io tells of outages.",
        )

    def _unavailable(self, why: str) -> CloudUnavailable:
        return CloudUnavailable(
            f"{self._who} {why}.",
            remedy="Start the services: tprov up."
            if self._settings.is_stand_in
            else "Check TEMPORAL_CLOUD_ENDPOINT and the network.",
        )


async def patiently(
    ask: Callable[[], Awaitable[T]],
    *,
    tell: Callable[[str], None] = lambda _: None,
    times: int = 4,
    pause: float = 1.0,
) -> T:
    """Ask again a few times, in the middle of a step whose work would be lost for one bad moment.

    Args:
        ask: The call; made anew each time.
        tell: Told what is waited for, in words.
        times: How often it is asked at most.
        pause: Seconds between two.

    Raises:
        CloudUnavailable: It does not answer, the last time either.
    """
    for _ in range(times - 1):
        try:
            return await ask()
        except CloudUnavailable as error:
            tell(f"{error.message} It is asked again.")
            await asyncio.sleep(pause)
    return await ask()


def _reason(message: str) -> str:
    """Say in a few words why a connection failed; the SDK tells it in Rust's."""
    if "tcp connect error" in message:
        return "cannot be reached: nothing listens there"
    if "dns error" in message:
        return "cannot be reached: its name does not resolve"
    if "InvalidContentType" in message or "invalid peer certificate" in message:
        return "cannot be reached: it does not speak TLS as expected"
    if "invalid target URL" in message or "empty host" in message:
        return "cannot be reached: that is no host:port"
    return "cannot be reached"


def _clause(message: str) -> str:
    return message.strip().rstrip(".") or "no reason given"


def _first(found: Any) -> CloudObject | None:
    return next(iter(found), None)


def _namespace(entity: Any) -> CloudObject:
    return _object("namespace", entity, id=entity.namespace, name=entity.spec.name)


def _user(entity: Any) -> CloudObject:
    return _object("user", entity, id=entity.id, name=entity.spec.email)


def _service_account(entity: Any) -> CloudObject:
    return _object("service account", entity, id=entity.id, name=entity.spec.name)


def _group(entity: Any) -> CloudObject:
    return _object("group", entity, id=entity.id, name=entity.spec.display_name)


def _endpoint(entity: Any) -> CloudObject:
    return _object("Nexus endpoint", entity, id=entity.id, name=entity.spec.name)


def _sink(entity: Any) -> CloudObject:
    return _object("audit-log sink", entity, id=entity.name, name=entity.name)


def _api_key(entity: Any) -> CloudObject:
    return _object("API key", entity, id=entity.id, name=entity.spec.display_name)


def _object(kind: str, entity: Any, *, id: str, name: str) -> CloudObject:
    state = ResourceState.Name(entity.state).removeprefix("RESOURCE_STATE_").lower()
    dated = "created_time" in entity.DESCRIPTOR.fields_by_name and entity.HasField("created_time")
    return CloudObject(
        type=kind,
        id=id,
        name=name,
        created=entity.created_time.ToJsonString() if dated else "",
        state=state.replace("_", " "),
    )

"""From a bearer key to who is calling, and what their call concerns."""

from __future__ import annotations

from typing import Any

from grpc import StatusCode
from temporalio.api.cloud.cloudservice.v1 import request_response_pb2 as rr
from temporalio.api.cloud.identity.v1 import message_pb2 as identity

from tprov_kernel.standin import keys
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.families import access
from tprov_kernel.standin.families.apikeys import API_KEY
from tprov_kernel.standin.families.groups import GROUP
from tprov_kernel.standin.families.service_accounts import SERVICE_ACCOUNT
from tprov_kernel.standin.families.users import OWNER, USER
from tprov_kernel.standin.keys import Keys, Principal, usable
from tprov_kernel.standin.rules import Refused


class Identities:
    """Authenticates callers."""

    def __init__(self, *, core: Core, keys: Keys) -> None:
        self._core = core
        self._keys = keys

    def authenticate(self, authorization: str) -> Principal:
        """Who has this key.

        Raises:
            Refused: UNAUTHENTICATED.
        """
        token = keys.bearer(authorization)
        if self._keys.is_own(token):
            return self._owner()
        id = self._keys.issued(token)
        if id is None:
            raise Refused(StatusCode.UNAUTHENTICATED, "The API key is not known.")
        key = self._core.peek(API_KEY, id)
        usable(key)
        assert key is not None
        owner = (
            self._core.peek(USER, key.spec.owner_id)
            if key.spec.owner_type == identity.OWNER_TYPE_USER
            else self._core.peek(SERVICE_ACCOUNT, key.spec.owner_id)
        )
        if owner is None:
            raise Refused(StatusCode.UNAUTHENTICATED, "The API key's owner does not exist.")
        return self._principal(id, owner)

    def must_be_own(self, authorization: str) -> None:
        """Only the workspace's own key may control the stand-in.

        Raises:
            Refused: UNAUTHENTICATED.
        """
        if not self._keys.is_own(keys.bearer(authorization)):
            raise Refused(StatusCode.UNAUTHENTICATED, "The API key is not the workspace's own.")

    def concerns(self, request: Any) -> dict[str, str]:
        """The namespace, and the owner of an API key, that a request is about."""
        owner = ""
        if isinstance(request, rr.CreateApiKeyRequest):
            owner = request.spec.owner_id
        elif isinstance(request, rr.UpdateApiKeyRequest | rr.DeleteApiKeyRequest):
            key = self._core.peek(API_KEY, request.key_id)
            owner = key.spec.owner_id if key is not None else ""
        return {"namespace": str(getattr(request, "namespace", "")), "owner": owner}

    def _owner(self) -> Principal:
        return Principal(
            key="",
            type="user",
            id=self._core.store.id_of(USER.name, OWNER) or "",
            role=identity.AccountAccess.ROLE_OWNER,
            namespaces={},
        )

    def _principal(self, key: str, owner: identity.User | identity.ServiceAccount) -> Principal:
        """What the owner may do, by itself and as a member of groups."""
        accesses = [owner.spec.access]
        namespaces: dict[str, int] = {}
        if isinstance(owner, identity.User):
            accesses += [
                group.spec.access
                for group in self._core.all(GROUP)
                if any(user == owner.id for user, _ in self._core.store.members(group.id))
            ]
        elif owner.spec.HasField("namespace_scoped_access"):
            scoped = owner.spec.namespace_scoped_access
            namespaces[scoped.namespace] = scoped.access.permission
        for one in accesses:
            for name, permission in one.namespace_accesses.items():
                # admin is 1 and read is 3: the smaller number is the stronger permission
                known = namespaces.get(name, permission.permission)
                namespaces[name] = min(known, permission.permission)
        return Principal(
            key=key,
            type="user" if isinstance(owner, identity.User) else "service-account",
            id=owner.id,
            role=access.strongest(a.account_access.role for a in accesses),
            namespaces=namespaces,
        )

"""From a bearer key to who is calling, and what their call concerns."""

from __future__ import annotations

from typing import Any

from grpc import StatusCode
from temporalio.api.cloud.identity.v1 import message_pb2 as identity

from tprov_kernel.standin import keys
from tprov_kernel.standin.core import Core
from tprov_kernel.standin.families.users import OWNER, USER
from tprov_kernel.standin.keys import Keys, Principal
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
        raise Refused(StatusCode.UNAUTHENTICATED, "The API key is not known.")

    def must_be_own(self, authorization: str) -> None:
        """Only the workspace's own key may control the stand-in.

        Raises:
            Refused: UNAUTHENTICATED.
        """
        if not self._keys.is_own(keys.bearer(authorization)):
            raise Refused(StatusCode.UNAUTHENTICATED, "The API key is not the workspace's own.")

    def concerns(self, request: Any) -> dict[str, str]:
        """The namespace, and the owner of an API key, that a request is about."""
        return {"namespace": str(getattr(request, "namespace", ""))}

    def _owner(self) -> Principal:
        return Principal(
            key="",
            type="user",
            id=self._core.store.id_of(USER.name, OWNER) or "",
            role=identity.AccountAccess.ROLE_OWNER,
            namespaces={},
        )

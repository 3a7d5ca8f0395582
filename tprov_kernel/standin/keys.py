"""Who is calling, and what they may do.

The workspace's own key is in a file (mode 0600), made when it is missing. The token of a key that
the stand-in issues is derived from that key and the issued key's id: nothing secret is stored, a
repeated CreateApiKey can be answered with the same token, and a new key file voids all of them.
"""

from __future__ import annotations

import hmac
import os
import secrets
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from grpc import StatusCode
from temporalio.api.cloud.identity.v1 import message_pb2 as identity

from tprov_kernel.standin.rules import ADMINS, Refused

PREFIX = "tprov_"
TOKEN_PREFIX = "tprovkey"  # noqa: S105  # how a token begins, not a token
Role = identity.AccountAccess


def read_or_make(path: Path) -> str:
    """The workspace's key; a random one is written when the file is missing or empty."""
    try:
        if key := path.read_text().strip():
            return key
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    key = PREFIX + secrets.token_urlsafe(32)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(key + "\n")
    fresh.replace(path)
    return key


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who is calling.

    Attributes:
        key: The id of the API key; empty for the workspace's own.
        type: A user or a service account.
        id: Its id.
        role: Its account role.
        namespaces: Namespace id to permission, for what the role does not give.
    """

    key: str
    type: Literal["user", "service-account"]
    id: str
    role: int
    namespaces: dict[str, int]

    @property
    def is_admin(self) -> bool:
        """Whether it may do everything."""
        return self.role in ADMINS


class Keys:
    """Checks the bearer key of each call."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def is_own(self, token: str) -> bool:
        """Whether this is the workspace's key; takes the same time for every guess."""
        return hmac.compare_digest(token.encode(), self._key)

    def token(self, key_id: str) -> str:
        """The secret token of an issued key."""
        mac = hmac.new(self._key, f"api key {key_id}".encode(), sha256).hexdigest()
        return f"{TOKEN_PREFIX}.{key_id}.{mac}"

    def issued(self, token: str) -> str | None:
        """The id of the key that this token was issued for; None when we did not issue it."""
        parts = token.split(".")
        if len(parts) != 3:
            return None
        genuine = hmac.compare_digest(token.encode(), self.token(parts[1]).encode())
        return parts[1] if genuine else None


def bearer(header: str | None) -> str:
    """The token in an authorization header.

    Raises:
        Refused: There is none.
    """
    if not header:
        raise Refused(StatusCode.UNAUTHENTICATED, "There is no authorization header.")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused(StatusCode.UNAUTHENTICATED, "The authorization header is no bearer key.")
    return token.strip()


def usable(key: identity.ApiKey | None, *, now: float | None = None) -> None:
    """A key that was issued must still exist, be enabled, and not be expired.

    Raises:
        Refused: One of the three is not so.
    """
    if key is None:
        raise Refused(StatusCode.UNAUTHENTICATED, "The API key does not exist any more.")
    if key.spec.disabled:
        raise Refused(StatusCode.UNAUTHENTICATED, "The API key is disabled.")
    if key.spec.expiry_time.ToNanoseconds() / 1e9 <= (now if now is not None else time.time()):
        raise Refused(StatusCode.UNAUTHENTICATED, "The API key is expired.")


READS = ("Get", "Validate")
"""How the methods that change nothing begin."""
OF_A_NAMESPACE = (
    "UpdateNamespace", "DeleteNamespace", "RenameCustomSearchAttribute", "FailoverNamespaceRegion",
    "AddNamespaceRegion", "DeleteNamespaceRegion", "CreateNamespaceExportSink",
    "UpdateNamespaceExportSink", "DeleteNamespaceExportSink",
)  # fmt: skip
"""Changes that an admin of the namespace may make *(guess, after the documented roles)*."""


def may(principal: Principal, method: str, *, namespace: str = "", owner: str = "") -> None:
    """What the caller's role lets it do.

    Owners and admins may do everything; developers create namespaces; whoever is an admin of a
    namespace changes it; everybody reads, and handles API keys of their own.

    Raises:
        Refused: PERMISSION_DENIED.
    """
    if principal.is_admin or method.startswith(READS):
        return
    if method == "CreateNamespace" and principal.role == Role.ROLE_DEVELOPER:
        return
    admin = identity.NamespaceAccess.PERMISSION_ADMIN
    if method in OF_A_NAMESPACE and principal.namespaces.get(namespace) == admin:
        return
    if method.endswith("ApiKey") and owner == principal.id:
        return
    raise Refused(
        StatusCode.PERMISSION_DENIED,
        f"{method} is not allowed for a {principal.type} with the role"
        f" {Role.Role.Name(principal.role)}.",  # type: ignore[arg-type]  # an open enum's number
    )

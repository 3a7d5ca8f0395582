"""What stands before a Temporal server that is not one's own: TLS, client certificates, API keys.

A real gRPC server on loopback. It demands what Temporal Cloud demands, and hands each call, as the
bytes that it is, to a development server.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """Who signs."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    cert: Path

    @classmethod
    def made(cls, folder: Path, name: str) -> Authority:
        """Make one whose own certificate is in a file."""
        key, subject = ec.generate_private_key(ec.SECP256R1()), _name(name)
        built = _builder(subject, subject, key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        path = folder / f"{name}.pem"
        path.write_bytes(built.sign(key, hashes.SHA256()).public_bytes(_PEM))
        return cls(subject, key, path)

    def signs(self, folder: Path, name: str) -> Pair:
        """Make a certificate for this machine, or for a client on it."""
        key = ec.generate_private_key(ec.SECP256R1())
        here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        built = _builder(_name(name), self.name, key).add_extension(
            x509.SubjectAlternativeName(here), critical=False
        )
        pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
        pair.cert.write_bytes(built.sign(self.key, hashes.SHA256()).public_bytes(_PEM))
        pair.key.write_bytes(
            key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        pair.key.chmod(0o600)
        return pair


class Papers:
    """Who signs, the server's certificate, a client's, and a stranger's."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.made(folder, "authority")
        self.server = self.authority.signs(folder, "server")
        self.client = self.authority.signs(folder, "client")
        self.stranger = Authority.made(folder, "others").signs(folder, "stranger")


_PEM = serialization.Encoding.PEM


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


class _Through(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # it takes none when it runs
    """Every method of a Temporal server is one request and one answer: bytes go through."""

    def __init__(self, behind: grpc.aio.Channel, *, api_key: str, seen: set[str]) -> None:
        self._behind = behind
        self._api_key = api_key
        self._seen = seen

    def service(self, details: Any) -> Any:
        async def through(request: bytes, context: Any) -> bytes:
            headers = dict(context.invocation_metadata())
            self._seen.add(headers.get("authorization", ""))
            if self._api_key and headers.get("authorization") != f"Bearer {self._api_key}":
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "Request unauthorized.")
            kept = [(k, v) for k, v in headers.items() if k.startswith("temporal-")]
            behind: Any = self._behind  # its types do not know that bytes need no serializer
            call: Callable[..., Awaitable[bytes]] = behind.unary_unary(details.method)
            try:
                return await call(request, timeout=context.time_remaining(), metadata=kept)
            except grpc.aio.AioRpcError as error:
                told: Any = error.trailing_metadata() or ()
                if more := dict(told).get("grpc-status-details-bin"):
                    context.set_trailing_metadata([("grpc-status-details-bin", more)])
                await context.abort(error.code(), error.details() or "")
                raise

        return grpc.unary_unary_rpc_method_handler(through)


@dataclass(frozen=True)
class Terminator:
    """Where it listens, and what it was shown."""

    address: str
    authorizations: set[str]


@asynccontextmanager
async def terminator(
    behind: str, *, server: Pair, clients: Authority | None = None, api_key: str = ""
) -> AsyncIterator[Terminator]:
    """Stand before a server while the block runs.

    Args:
        behind: The development server.
        server: Certificate and key to show.
        clients: Demand a client certificate that this authority signed.
        api_key: Demand this key.
    """
    credentials = grpc.ssl_server_credentials(
        [(server.key.read_bytes(), server.cert.read_bytes())],
        root_certificates=clients.cert.read_bytes() if clients else None,
        require_client_auth=clients is not None,
    )
    seen: set[str] = set()
    async with grpc.aio.insecure_channel(behind) as channel:
        listening = grpc.aio.server(handlers=[_Through(channel, api_key=api_key, seen=seen)])
        port = listening.add_secure_port("127.0.0.1:0", credentials)
        await listening.start()
        try:
            yield Terminator(f"127.0.0.1:{port}", seen)
        finally:
            await listening.stop(0.5)

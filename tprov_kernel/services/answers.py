"""Does a service answer? Asked in its own protocol, without importing a client for it.

A gRPC client costs 0.2 to 0.5 s to import, which is more than the services need to start. The
Temporal server's HTTP API gives the same answers as its gRPC API.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tprov_kernel.services.ports import HOST

RETENTION = "2592000s"
"""30 days; the dev server's default is one, and yesterday's rehearsal would be gone."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_SETTINGS = 4


class NoAnswer(Exception):
    """It does not answer, or not yet."""


async def http(port: int, path: str, *, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
    """Send one HTTP/1.0 request to this machine and give status and body.

    Raises:
        NoAnswer: Nobody listens, or what comes back is no HTTP.
    """
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.0\r\nHost: {HOST}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    try:
        answer = await _exchange(port, head.encode() + data, -1)
        status, _, rest = answer.partition(b"\r\n")
        return int(status.split()[1]), rest.partition(b"\r\n\r\n")[2]
    except (ValueError, IndexError):
        raise NoAnswer from None


async def grpc(port: int) -> None:
    """Look whether a gRPC server answers: it opens with its HTTP/2 settings.

    Raises:
        NoAnswer: Nobody listens, or it speaks something else.
    """
    frame = await _exchange(port, _PREFACE, 9)
    if len(frame) != 9 or frame[3] != _SETTINGS:
        raise NoAnswer


async def _exchange(port: int, request: bytes, wanted: int) -> bytes:
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(request)
            return await (reader.read() if wanted < 0 else reader.readexactly(wanted))
        finally:
            writer.close()
    except (OSError, asyncio.IncompleteReadError):
        raise NoAnswer from None


async def temporal(*, port: int, http_port: int) -> None:
    """Look whether the Temporal server serves its `default` namespace; make its retention 30 days.

    Raises:
        NoAnswer: Not yet.
    """
    status, _ = await http(http_port, "/api/v1/system-info")
    if status != 200:
        raise NoAnswer
    await grpc(port)
    namespace = "/api/v1/namespaces/default"
    status, answer = await http(http_port, namespace)
    if status != 200:
        raise NoAnswer
    if json.loads(answer)["config"]["workflowExecutionRetentionTtl"] != RETENTION:
        config = {"config": {"workflowExecutionRetentionTtl": RETENTION}}
        status, _ = await http(http_port, f"{namespace}/update", body=config)
        if status != 200:
            raise NoAnswer


async def codec(port: int) -> None:
    """Look whether the codec server answers; what it says to a GET does not matter.

    Raises:
        NoAnswer: Not yet.
    """
    await http(port, "/")

"""The codec server's application: who may ask, and how a body of payloads becomes another.

Whoever can reach it can decode, so it answers under loopback names only (a page elsewhere could
otherwise let its own name point here), and no page but the configured ones. It never answers with
a 5xx: what it does not understand is the client's mistake, and it says which.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from google.protobuf import json_format
from temporalio.api.common.v1 import Payloads
from temporalio.converter import PayloadCodec

from tprov_kernel.errors import SettingsError

MAX_BODY = 16 * 1024 * 1024
"""Bytes of a request; a page of history is at most 4 MB on the server, 5.4 MB in base64."""

ALLOWED_HEADERS = "content-type, x-namespace, authorization"

_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_ROUTE = re.compile(r"(/[^/]+)?/(?P<verb>encode|decode)")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")  # proto3 JSON takes both alphabets
_IN_A_THREAD = 256 * 1024
_PATIENCE = 30.0
_log = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(
    codec: PayloadCodec,
    *,
    origins: Iterable[str],
    token: str | None = None,
    max_body: int = MAX_BODY,
) -> web.Application:
    """Make the application; it holds no resource but the codec.

    Args:
        codec: Encodes and decodes.
        origins: Pages that may call it from a browser, e.g. ``http://localhost:8233``. A client
            that sends no `Origin`, such as the `temporal` command, is served too.
        token: When given, every request but a pre-flight needs ``Authorization: Bearer <token>``.
        max_body: Bytes that a request's body may have.

    Raises:
        SettingsError: An origin is none.
    """
    guard = _Guard(origins={_origin(text) for text in origins}, token=token)
    convert = _Converter(codec)
    app = web.Application(middlewares=[guard.middleware], client_max_size=max_body)
    app.router.add_route("*", "/{path:.*}", convert.handle, expect_handler=_expect)
    return app


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or f"{parts.scheme}://{parts.netloc}" != text:
        raise SettingsError(
            f"{text!r} is no origin of a web page.",
            remedy="Write it as http://localhost:8233, with neither a path nor a slash at its end.",
        )
    return text.lower()


async def _expect(request: web.Request) -> None:
    """Answer `Expect: 100-continue`; aiohttp's own way with other expectations can end in a 500."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


class _Refusal(Exception):
    """An answer that is not the wanted one: its status and what is wrong, in a sentence."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class _Guard:
    """Who may ask: names, origins, token; and the headers that let a page read the answer."""

    def __init__(self, *, origins: set[str], token: str | None) -> None:
        self._origins = origins
        self._expected = f"Bearer {token}".encode() if token else None

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Answer every request, whatever happens, without a 5xx."""
        origin = request.headers.get(hdrs.ORIGIN)
        allowed = origin if origin and origin.lower() in self._origins else None
        try:
            self._check_names(request, foreign=origin is not None and allowed is None)
            if request.method == hdrs.METH_OPTIONS:
                response: web.StreamResponse = web.Response(status=204)
            else:
                self._check_token(request)
                response = await handler(request)
        except _Refusal as refusal:
            response = _refuse(refusal.status, refusal.why)
        except web.HTTPException as error:
            response = _refuse(error.status, f"{error.reason}.")
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # the client's bytes are the only thing that varies
            _log.warning("not understood: %s", type(error).__name__)
            response = _refuse(400, f"The request was not understood ({type(error).__name__}).")
        _add_cors(response, allowed)
        return response

    def _check_names(self, request: web.Request, *, foreign: bool) -> None:
        hosts = request.headers.getall(hdrs.HOST, [])
        if len(hosts) != 1 or not _LOOPBACK.fullmatch(hosts[0]):
            raise _Refusal(403, "This server answers to localhost, 127.0.0.1 and [::1] only.")
        if foreign or len(request.headers.getall(hdrs.ORIGIN, [])) > 1:
            raise _Refusal(
                403, "This page's origin is not among those the server was started with."
            )

    def _check_token(self, request: web.Request) -> None:
        if self._expected is None:
            return
        given = request.headers.get(hdrs.AUTHORIZATION, "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._expected):
            raise _Refusal(401, "The header 'Authorization: Bearer <token>' is missing or wrong.")


def _refuse(status: int, why: str) -> web.Response:
    _log.info("refused with %d", status)
    response = web.json_response({"error": why}, status=status)
    if status == 401:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return response


def _add_cors(response: web.StreamResponse, origin: str | None) -> None:
    response.headers[hdrs.VARY] = "Origin"
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
    if origin is None:
        return
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = "POST, OPTIONS"
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = ALLOWED_HEADERS
    response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = "600"


class _Converter:
    """Turns a body of proto3 JSON into another."""

    def __init__(self, codec: PayloadCodec) -> None:
        self._codec = codec

    async def handle(self, request: web.Request) -> web.Response:
        """Encode or decode."""
        route = _ROUTE.fullmatch(request.path)
        if route is None:
            raise _Refusal(404, "The paths are /<namespace>/encode and /<namespace>/decode.")
        if request.method != hdrs.METH_POST:
            raise _Refusal(405, "Send a POST.")
        body = await _read(request)
        payloads = await _off_loop(_parse, body, size=len(body))
        change = self._codec.encode if route["verb"] == "encode" else self._codec.decode
        changed = Payloads(payloads=await change(payloads.payloads))
        text = await _off_loop(_dump, changed, size=len(body))
        return web.Response(text=text, content_type="application/json")


async def _read(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await request.read()
    except TimeoutError as error:
        raise _Refusal(408, f"The body did not come within {_PATIENCE:.0f} seconds.") from error


async def _off_loop(work: Callable[[A], B], given: A, *, size: int) -> B:
    return work(given) if size < _IN_A_THREAD else await asyncio.to_thread(work, given)


def _parse(body: bytes) -> Payloads:
    try:
        given = json.loads(body.decode("utf-8"))
        _check(given)
        return json_format.ParseDict(given, Payloads())
    except UnicodeDecodeError as error:
        raise _Refusal(400, "The body is not UTF-8.") from error
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        # The message may quote the body: it goes back to who sent it, and into no log.
        why = f"The body is not {{'payloads': [...]}} as proto3 JSON: {error}"
        raise _Refusal(400, why[:400]) from error


def _check(given: Any) -> None:
    """Say what protobuf's parser would silently take for something else."""
    if not isinstance(given, dict):
        raise ValueError("it is no object.")
    for payload in given.get("payloads") or []:
        texts = [payload.get("data") or "", *(payload.get("metadata") or {}).values()]
        if not all(isinstance(text, str) and _BASE64.fullmatch(text) for text in texts):
            raise ValueError("data and the values of metadata are base64.")


def _dump(payloads: Payloads) -> str:
    return json_format.MessageToJson(payloads, indent=None)

"""The codec server: lets the Web UI and the `temporal` command show decoded payloads.

``POST /<namespace>/decode`` and ``/<namespace>/encode``, or ``/decode`` and ``/encode`` with the
namespace in `X-Namespace`, take and give ``{"payloads": [...]}`` as proto3 JSON. Keys are the
workspace's, not a namespace's, so the namespace changes nothing. A query string is ignored (the
Web UI sends one).

The port is bound before anything large is imported: it accepts connections a few hundredths of a
second after its start, and answers them when the rest is loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import logging.handlers
import os
import signal
import socket
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tprov_kernel.errors import ServiceError, SettingsError, TprovError

if TYPE_CHECKING:
    from aiohttp import web
    from temporalio.converter import PayloadCodec

HOST = "127.0.0.1"
_LOG_BYTES = 1024 * 1024
_KEY_RING = "its file, made if it is not there; TPROV_KEYS comes before it"


def build_codec_server(
    codec: PayloadCodec, *, origins: Iterable[str], token: str | None = None
) -> web.Application:
    """Make the aiohttp application; it holds no resource but the codec.

    Args:
        codec: Encodes and decodes.
        origins: Pages that may call it from a browser, e.g. ``http://localhost:8233``. A client
            that sends no `Origin`, such as the `temporal` command, is served too.
        token: When given, every request but a pre-flight needs ``Authorization: Bearer <token>``.

    Raises:
        SettingsError: An origin is none.
    """
    from tprov_kernel.payloads.app import application

    return application(codec, origins=origins, token=token)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; give the exit code."""
    options = _parser().parse_args(argv)
    os.umask(0o077)
    try:
        listener = _listen(options.port)
    except TprovError as error:
        print(error, file=sys.stderr)
        return 1
    with listener:
        try:
            app = _build(options)
        except TprovError as error:
            print(error, file=sys.stderr)
            return 1
        _log_to(options.log)
        port = listener.getsockname()[1]
        print(f"The codec server listens on http://{HOST}:{port}", flush=True)
        try:
            asyncio.run(_serve(listener, app))
        except KeyboardInterrupt:
            return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tprov_kernel.payloads.server", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--port", type=int, default=8081, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--key-ring", type=Path, required=True, help=_KEY_RING)
    parser.add_argument(
        "--origin",
        action="append",
        default=[],
        metavar="URL",
        help="a page that may ask, e.g. http://localhost:8233; may be given several times",
    )
    parser.add_argument("--token-file", type=Path, help="ask for the bearer token in this file")
    parser.add_argument("--log", type=Path, required=True, help="never holds a payload")
    return parser


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ServiceError(
            f"The codec server cannot listen on {HOST}:{port}: {_why(error)}.",
            remedy="End what uses the port, or give another with --port.",
        ) from error
    return listener


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower().rstrip(".")


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # It would quote the bytes of requests that are no HTTP.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)


def _build(options: argparse.Namespace) -> web.Application:
    from tprov_kernel.payloads.codec import EncryptionCodec
    from tprov_kernel.payloads.keyring import KeyRing

    key_ring = KeyRing.find(options.key_ring)
    key_ring.make()
    codec = EncryptionCodec(key_ring)
    token = _token(options.token_file) if options.token_file else None
    return build_codec_server(codec, origins=options.origin, token=token)


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"The token file {path} cannot be read.", remedy="Correct --token-file."
        ) from error
    if not token:
        raise SettingsError(f"The token file {path} is empty.", remedy="Write a token into it.")
    return token


async def _serve(listener: socket.socket, app: web.Application) -> None:
    from aiohttp import web

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        logging.getLogger(__name__).info("serving")
        await stop.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    sys.exit(main())

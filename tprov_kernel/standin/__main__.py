"""`python -m tprov_kernel.standin`: serve the Cloud API's stand-in on the loopback address."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from tprov_kernel.standin.stubs import without_the_sdk

LOOPBACK = ("127.0.0.1", "localhost")


def arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line; exits with a sentence when it cannot be."""
    parser = argparse.ArgumentParser(prog="python -m tprov_kernel.standin", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="TCP port")
    parser.add_argument("--host", default=LOOPBACK[0], help="only the loopback address is taken")
    parser.add_argument("--db", type=Path, required=True, help="the database's file")
    parser.add_argument("--key-file", type=Path, required=True, help="made when it is missing")
    parser.add_argument("--temporal", help="host:port of the local server that mirrors namespaces")
    parser.add_argument("--web-ui", help="base URL of that server's web UI")
    parser.add_argument("--log", type=Path, help="every call, as a line of JSON")
    parser.add_argument("--account", default="tprov", help="the account's id")
    parser.add_argument("--scim", default="", metavar="ID[=NAME]", help="begin with a SCIM group")
    options = parser.parse_args(argv)
    for name, host in (
        ("--host", options.host),
        ("--temporal", (options.temporal or LOOPBACK[0]).rpartition(":")[0] or LOOPBACK[0]),
    ):
        if host not in LOOPBACK:
            parser.error(f"{name} must be on {LOOPBACK[0]}: keys travel unencrypted, not {host!r}")
    return options


def main(argv: list[str]) -> int:
    """Run until SIGTERM; 0 when told to end, 1 when it cannot start."""
    options = arguments(argv)
    without_the_sdk()
    from tprov_kernel.standin.app import Config, PortTaken, serve
    from tprov_kernel.standin.store import Taken

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    try:
        asyncio.run(
            serve(
                Config(
                    port=options.port,
                    db=options.db,
                    key_file=options.key_file,
                    temporal=options.temporal,
                    web_ui=options.web_ui,
                    log=options.log,
                    account=options.account,
                    scim=options.scim,
                )
            )
        )
    except PortTaken:
        print(f"Port {options.port} is taken. Choose another with --port.", file=sys.stderr)
        return 1
    except Taken:
        print(f"Another stand-in has {options.db} open. End it first.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

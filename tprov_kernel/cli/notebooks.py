"""`tprov lab`: a JupyterLab of its own, and the services for its notebooks."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tprov_kernel.cli import say
from tprov_kernel.cli.jupyter import address_of_open_lab, make_private
from tprov_kernel.cli.place import Place, shown
from tprov_kernel.errors import ServiceError

if TYPE_CHECKING:
    from tprov_kernel.services import Services

HOST = "127.0.0.1"
OPENING = 30.0
"""Seconds that another JupyterLab may take to open; a slow disk's first time takes ten."""

START = Path("notebooks") / "00_start_here.ipynb"
SETTINGS = Path(__file__).parent.parent / "lab_settings"


def lab(place: Place, *, browser: bool, port: int) -> int:
    """Open the services, then JupyterLab; stays until it is closed."""
    from tprov_kernel import services

    owner = services.owner_of(place.home)
    if (owner is not None and owner.kind == "lab") or address_of_open_lab(
        place.home, page=start_page(place.root)
    ):
        return _open_already(place, browser=browser)
    make_private(place.home, os.environ)
    os.environ |= {
        "TPROV_ROOT": os.fspath(place.root),
        "TPROV_HOME": os.fspath(place.home),
        "TPROV_ATTACH": "1",
    }
    if owner is None:
        return _with_services(place, browser=browser, port=free_port(port))
    asyncio.run(services.attach(place.home))  # they answer, or it says why not
    say.warning(
        f"The services that {owner.words} has open are used.",
        remedy="Their Web UI opens beside the notebooks, not in them.",
    )
    return _serve(place, browser=browser, port=free_port(port))


def free_port(first: int) -> int:
    """The first port from this one on that nobody has.

    Raises:
        ServiceError: A hundred in a row are taken.
    """
    for port in range(first, min(first + 100, 1 << 16)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise ServiceError(f"No port from {first} on is free.", remedy="Give another with --port.")


def _open_already(place: Place, *, browser: bool) -> int:
    """Say where it is, once it is there: it may be opening at this moment."""
    until = time.monotonic() + OPENING
    while not (url := address_of_open_lab(place.home, page=start_page(place.root))):
        if time.monotonic() > until or services_gone(place):
            raise ServiceError(
                f"Another `tprov lab` is opening in {shown(place.home)}, or closing.",
                remedy="Look at its terminal, or try again in a moment.",
            )
        time.sleep(0.2)
    say.warning("JupyterLab is open on this folder already; here it is:")
    say.answer(url)
    if browser:
        webbrowser.open(url)
    return 0


def services_gone(place: Place) -> bool:
    """Whether nobody has the services open any more."""
    from tprov_kernel import services

    return services.owner_of(place.home) is None


def _with_services(place: Place, *, browser: bool, port: int) -> int:
    from tprov_kernel import services
    from tprov_kernel.lab.runtime import Runtime
    from tprov_kernel.process import Guard
    from tprov_kernel.toolchain import find_toolchain

    toolchain = find_toolchain()
    guard = Guard()
    runtime = Runtime("tprov-services")
    try:
        opening = runtime.submit(
            services.open_services(
                place.home,
                kind="lab",
                guard=guard,
                toolchain=toolchain,
                prefer_well_known_ports=True,
                root=place.root,
                # the Web UI is framed: its page then has the Jupyter server's origin
                origins=[f"http://{name}:{port}" for name in (HOST, "localhost")],
                progress=say.progress,
            )
        )
        import jupyterlab.labapp  # noqa: F401  (takes a second: while the services start)

        opened = runtime.result(opening)
        try:
            runtime.call(_kept_alive(opened))
            return _serve(place, browser=browser, port=port)
        finally:
            with suppress(Exception):
                runtime.call(opened.close(), timeout=10)
    finally:
        guard.close()
        runtime.stop()


async def _kept_alive(opened: Services) -> None:
    from tprov_kernel.cli.serve import keep_alive

    keep_alive(opened)


def _serve(place: Place, *, browser: bool, port: int) -> int:
    from jupyterlab.labapp import LabApp

    token = secrets.token_hex(24)
    # A list of our own: on the command line others could read the token.
    argv = [*arguments(place.root, port=port, browser=browser), f"--IdentityProvider.token={token}"]
    server = LabApp.initialize_server(argv=argv)
    page: dict[str, Any] = server.web_app.settings.setdefault("page_config_data", {})
    # The build check would run npm, which writes logs into the user's home.
    page.update(buildCheck=False, buildAvailable=False)
    _say_where(place, f"http://{HOST}:{server.port}{start_page(place.root)}?token={token}")
    server.start()
    return 0


def start_page(root: Path) -> str:
    """The path of what is opened first: the start notebook, where there is one."""
    return f"/lab/tree/{START.as_posix()}" if (root / START).exists() else "/lab"


def arguments(root: Path, *, port: int, browser: bool) -> list[str]:
    """JupyterLab's arguments.

    Args:
        root: The folder it shows.
        port: The port to begin with; the next free one is taken.
        browser: Whether it opens one.
    """
    return [
        f"--ServerApp.root_dir={root}",
        f"--ServerApp.ip={HOST}",
        f"--ServerApp.port={port}",
        f"--ServerApp.open_browser={browser}",
        "--ServerApp.answer_yes=True",
        # Root's only in a container; it listens on the loopback address, and asks for its token.
        "--ServerApp.allow_root=True",
        "--ServerApp.log_level=WARN",
        "--LabApp.log_level=WARN",
        f"--LabApp.app_settings_dir={SETTINGS}",
        f"--LabApp.default_url={start_page(root)}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        # It would run npm, to find language servers.
        "--LanguageServerManager.autodetect=False",
    ]


def _say_where(place: Place, url: str) -> None:
    folder = "this folder" if place.root == Path.cwd() else shown(place.root)
    say.aside(f"JupyterLab on {folder}; data in {shown(place.home)}.")
    say.answer(url)
    say.aside("Ctrl-C closes it, with its kernels and services; runs stay where they are.")

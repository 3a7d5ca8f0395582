"""Finds the services of a kernel: those of `tprov lab`, or opens its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tprov_kernel.errors import ServiceError
from tprov_kernel.lab.place import Place
from tprov_kernel.settings import default_home

if TYPE_CHECKING:
    from tprov_kernel.process import Guard
    from tprov_kernel.services import Services, ServicesInfo
    from tprov_kernel.toolchain import Toolchain

MAX_COPIES = 20
"""How many kernels of one notebook may have services of their own at the same time."""


async def find_services(root: Path) -> tuple[ServicesInfo, Path]:
    """The services that `tprov lab` opened, and their data directory.

    Raises:
        ServiceError: They are gone, or do not answer.
    """
    from tprov_kernel import services

    home = default_home(root)
    info = await services.attach(home)
    if info is None:
        raise ServiceError(
            "The services that this JupyterLab opened are gone.",
            remedy="Close it and run `make lab` again; runs are where they were.",
        )
    return info, home


async def open_private(
    place: Place,
    root: Path,
    *,
    guard: Guard,
    toolchain: Toolchain,
    progress: Callable[[str], None],
) -> tuple[Services, Path]:
    """Open services for one notebook; a second kernel of it at the same time has its own.

    Raises:
        ServiceError: One does not start, or too many kernels of the notebook are open.
    """
    from tprov_kernel import services

    for home in _homes(place, root):
        if await services.is_in_use(home):
            continue
        try:
            opened = await services.open_services(
                home,
                kind="notebook",
                guard=guard,
                toolchain=toolchain,
                prefer_well_known_ports=False,
                root=root,
                progress=progress,
            )
        except ServiceError:
            if await services.is_in_use(home):  # another kernel was quicker
                continue
            raise
        return opened, home
    raise ServiceError(
        f"{MAX_COPIES} kernels of {place.name} are open already.",
        remedy="Shut some of them down.",
    )


def _homes(place: Place, root: Path) -> Iterator[Path]:
    base = default_home(root) / "private"
    yield base / place.name
    for number in range(2, MAX_COPIES + 1):
        yield base / f"{place.name}-{number}"

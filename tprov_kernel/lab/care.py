"""Services that this kernel opened: one that ends by itself is started again, and people are told.

The services of `tprov lab` and `tprov up` are looked after by those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from tprov_kernel.errors import TprovError

if TYPE_CHECKING:
    from tprov_kernel.services import Services

AGAIN = 3
"""How often a service that ends by itself is started again."""


def look_after(services: Services, *, tell: Callable[[str, str], None]) -> None:
    """Start a service again that ended by itself, a few times; called on the services' loop.

    Args:
        services: Opened on this loop.
        tell: Called with the service's name and a sentence; an empty one when it is back.
    """
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    ended: dict[str, int] = {}

    def on_end(name: str, sentence: str) -> None:
        ended[name] = ended.get(name, 0) + 1
        tell(name, sentence)
        if ended[name] <= AGAIN:
            task = loop.create_task(again(name))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def again(name: str) -> None:
        try:
            await services.start(name)
        except TprovError as error:
            tell(name, error.message)
        else:
            tell(name, "")

    services.watch(on_end)

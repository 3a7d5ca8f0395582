"""Stops and starts one service of a data directory, whoever has it open: its owner is asked.

Who asks writes ``wishes.json``; the owner looks at it, obeys, and tells in ``processes.json``
which process each service is. A service that was stopped so stays down until it is asked for
again, or the services are opened anew: its end was wanted, so nobody keeps it alive.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from tprov_kernel.errors import ServiceError, TprovError
from tprov_kernel.services import home as homes

LOOK_EVERY = 0.2
"""Seconds between two looks of the owner; each costs one `stat`."""

PATIENCE = 45.0
"""Seconds in which a wish is fulfilled; a server that starts may take thirty."""

WISHES, PROCESSES = "wishes.json", "processes.json"


class Obeying(Protocol):
    """What is needed of `Services`."""

    def pids(self) -> Mapping[str, int]:
        """Process id of each service, 0 for one that does not run."""
        ...

    async def stop(self, name: str) -> None:
        """Stop one."""

    async def start(self, name: str) -> None:
        """Start one."""


def pids_of(home: Path) -> dict[str, int]:
    """Process id of each service, as its owner told it last; 0 for one that does not run."""
    told = _read(home / PROCESSES)
    return {name: int(each.get("pid", 0)) for name, each in told.items()}


async def stop(home: Path, name: str) -> int:
    """Have a service stopped until `start`; its data stays.

    Returns:
        The process that was ended; 0 when none ran.

    Raises:
        ServiceError: Nobody has the services open, or the owner does not obey.
    """
    before = pids_of(home).get(name, 0)
    await _ask(home, name, down=True)
    return before


async def start(home: Path, name: str) -> int:
    """Have a service started again, on the same ports; nothing happens when it runs.

    Returns:
        Its process.

    Raises:
        ServiceError: Nobody has the services open, or it does not come up.
    """
    return await _ask(home, name, down=False)


async def _ask(home: Path, name: str, *, down: bool) -> int:
    owner = homes.owner_of(home)
    if owner is None:
        raise ServiceError(
            f"Nobody has services open in {home}.", remedy="Open them: `tprov up` or `tprov lab`."
        )
    number = secrets.token_hex(4)
    homes.write_json(home / WISHES, {"service": name, "down": down, "number": number})
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while (told := _read(home / PROCESSES).get(name, {})).get("wish") != number:
                if homes.owner_of(home) is None:
                    break
                await asyncio.sleep(0.05)
            else:
                if told["said"]:
                    raise ServiceError(told["said"], remedy=told["remedy"])
                return int(told["pid"])
    raise ServiceError(
        f"{owner.words} did not {'stop' if down else 'start'} its {name} service.",
        remedy=f"It has one of: {', '.join(pids_of(home)) or 'none'}.",
    )


async def obey(home: Path, services: Obeying) -> None:
    """Do what is wished, and tell which processes there are, until cancelled."""
    (home / WISHES).unlink(missing_ok=True)
    answers: dict[str, dict[str, str]] = {}
    told: dict[str, Any] = {}
    seen = 0
    while True:
        with suppress(FileNotFoundError, TprovError):
            changed = (home / WISHES).stat().st_mtime_ns
            if changed != seen:
                seen = changed
                wish = _read(home / WISHES)
                answers[wish.get("service", "")] = await _fulfil(services, wish)
        now = {
            name: {"pid": pid, "wish": "", "said": "", "remedy": "", **answers.get(name, {})}
            for name, pid in services.pids().items()
        }
        if now != told:
            with suppress(TprovError):  # a full disk must not end the services
                homes.write_json(home / PROCESSES, now)
                told = now
        await asyncio.sleep(LOOK_EVERY)


async def _fulfil(services: Obeying, wish: Mapping[str, Any]) -> dict[str, str]:
    answer = {"wish": str(wish.get("number", "")), "said": "", "remedy": ""}
    try:
        name = str(wish.get("service", ""))
        await (services.stop(name) if wish.get("down") else services.start(name))
    except TprovError as error:
        answer |= {"said": error.message, "remedy": error.remedy}
    return answer


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

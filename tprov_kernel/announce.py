"""What is said before anything is changed remotely: where it goes, that it may cost, who can read.

Invariant 0 of the design: the remote target names account and server before the first change.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tprov_kernel.cloud import CloudClient
from tprov_kernel.errors import TprovError
from tprov_kernel.settings import CloudSettings, Settings

PATIENCE = 5.0
"""Seconds that the Cloud API may take to say whose key it is; the run will ask it again."""


@dataclass(frozen=True)
class Doubt:
    """Something that was asked for, and may not be meant.

    Attributes:
        field: Of `Settings`.
        message: What it comes to.
        remedy: What to do where it is not meant.
    """

    field: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"


def doubts(settings: Settings) -> list[Doubt]:
    """What others could read on the way to a server that is not ours, or there."""
    found: list[Doubt] = []
    if settings.target != "remote":
        return found
    if not settings.encrypt_payloads:
        found.append(
            Doubt(
                "encrypt_payloads",
                "ENCRYPT_PAYLOADS switches payload encryption off: whoever may read runs on"
                f" {settings.address} can read variables, plans and reasons.",
                "Unset ENCRYPT_PAYLOADS.",
            )
        )
    if settings.api_key and not settings.tls:
        found.append(
            Doubt(
                "tls",
                f"TLS is off: the API key goes to {settings.address} without encryption.",
                "Unset TEMPORAL_TLS, unless something on this machine encrypts the rest of the"
                " way.",
            )
        )
    return found


async def starting_words(stack: str, settings: Settings) -> str:
    """Before a run starts: server, namespace, Cloud API, account; what will be made and may cost.

    Never raises: a Cloud API that does not answer is said here, and is the run's to wait for.
    """
    return (
        f"Starting {stack} on {settings.address}, namespace {settings.namespace}; the Cloud API is"
        f" {settings.cloud.endpoint}, {await _account(settings.cloud)}. What it will create is in"
        " its plan, and may cost money."
    )


async def _account(cloud: CloudSettings) -> str:
    if not cloud.api_key:
        return "the account that of the worker's key"
    try:
        async with asyncio.timeout(PATIENCE):
            return f"account {(await CloudClient(cloud).check()).id}"
    except TprovError as error:
        return f"the account not known ({error.message.rstrip('.')})"
    except TimeoutError:
        return f"the account not known (no answer within {PATIENCE:.0f} s)"

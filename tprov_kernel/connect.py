"""The only places that make a client and a worker."""

from __future__ import annotations

import functools
import getpass
import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import RPCError, TLSConfig
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from tprov_kernel.activities import Activities, ActivityFunction
from tprov_kernel.audit.keep import keeping_audits
from tprov_kernel.errors import ServiceError
from tprov_kernel.payloads.codec import data_converter
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.settings import Settings
from tprov_kernel.workflow import ProvisionInfraWorkflow

MAX_CACHED_WORKFLOWS = 50
"""500 parked runs cost 2 MB with it, 47 MB without."""

STICKY_TIMEOUT = timedelta(seconds=1)
"""After a worker's death the next one answers after a second, by default after ten."""


HEARTBEAT_EVERY = timedelta(seconds=0.5)
"""By default heartbeats are held back for 80 % of their time-out; they carry progress."""


def me(role: str = "") -> str:
    """Name this process as Temporal shows it: 'ada@laptop worker 4711'."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = "somebody"
    return " ".join(filter(None, [f"{user}@{socket.gethostname()}", role, str(os.getpid())]))


async def connect(
    settings: Settings,
    key_ring: KeyRing,
    *,
    identity: str | None = None,
) -> Client:
    """Connect to the Temporal server of ``settings``, with payload encryption as they say.

    Raises:
        ServiceError: It does not answer, or does not let us in.
    """
    tls: bool | TLSConfig = settings.tls
    if settings.tls_cert and settings.tls_key:
        tls = TLSConfig(
            client_cert=settings.tls_cert.read_bytes(),
            client_private_key=settings.tls_key.read_bytes(),
        )
    try:
        return await Client.connect(
            settings.address,
            namespace=settings.namespace,
            api_key=settings.api_key or None,
            tls=tls,
            data_converter=data_converter(key_ring, encrypt=settings.encrypt_payloads),
            identity=identity or me(),
            runtime=_runtime(),
        )
    except (RuntimeError, RPCError) as error:
        raise ServiceError(
            f"The Temporal server at {settings.address} does not answer: {_first_line(error)}.",
            remedy="Open the services with `tprov up`."
            if settings.target == "local"
            else "Check address, TLS and API key: `tprov doctor --target remote` shows them.",
        ) from error


def build_worker(
    client: Client,
    activities: Activities,
    *,
    task_queue: str,
    identity: str | None = None,
    replaced: Mapping[str, ActivityFunction] | None = None,
) -> Worker:
    """Build a worker for one task queue, which also keeps the audits of its runs.

    The caller runs it.

    Args:
        client: Whose connection it uses.
        activities: The steps.
        task_queue: What it polls.
        identity: How Temporal shows it.
        replaced: Plain functions to run in place of the activities of these names.
    """
    functions = {_name(function): function for function in activities.all()}
    for name, function in (replaced or {}).items():
        functions[name] = _as_activity(name, function)
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[ProvisionInfraWorkflow],
        activities=list(functions.values()),
        identity=identity or me("worker"),
        max_cached_workflows=MAX_CACHED_WORKFLOWS,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        max_heartbeat_throttle_interval=HEARTBEAT_EVERY,
        graceful_shutdown_timeout=timedelta(seconds=0),
        workflow_runner=SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default),
        plugins=[keeping_audits(client, activities.settings.audits, task_queue=task_queue)],
    )


@functools.cache
def _runtime() -> Runtime:
    """One per process; its core logs errors only: warnings would land in a notebook's cells."""
    filters = TelemetryFilter(core_level="ERROR", other_level="ERROR")
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=filters)))


def _name(function: ActivityFunction) -> str:
    definition: Any = getattr(function, "__temporal_activity_definition")
    return str(definition.name)


def _as_activity(name: str, function: ActivityFunction) -> ActivityFunction:
    if hasattr(function, "__temporal_activity_definition"):
        return function
    return activity.defn(name=name)(function)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else repr(error)

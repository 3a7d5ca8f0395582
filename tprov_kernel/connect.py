"""The only places that make a client and a worker."""

from __future__ import annotations

import functools
import gc
import getpass
import itertools
import os
import re
import socket
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import RPCError, TLSConfig
from temporalio.worker import Worker, WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from tprov_kernel.activities import Activities, ActivityFunction
from tprov_kernel.audit.keep import keeping_audits
from tprov_kernel.errors import ServiceError, SettingsError
from tprov_kernel.payloads.codec import data_converter
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.settings import Settings, Source
from tprov_kernel.workflow import ProvisionInfraWorkflow

MAX_CACHED_WORKFLOWS = 20
"""A run in memory costs a worker about 0.3 MB, most of it the sandbox's own copy of the workflow's
module; others are replayed when something happens to them (figures: benchmarks/gate.py)."""

COLLECT_EVERY = 20
"""Runs taken into memory after which what the ones before have left is collected. They leave
cycles, and Python looks for those when a quarter as much is new as is old: in a process as large as
ours a hundred dead runs pile up before it does, 30 MB."""

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
    try:
        return await Client.connect(
            settings.address,
            namespace=settings.namespace,
            api_key=settings.api_key or None,
            tls=_tls(settings),
            rpc_metadata=dict(settings.grpc_meta),
            data_converter=data_converter(key_ring, encrypt=settings.encrypt_payloads),
            identity=identity or me(),
            runtime=_runtime(),
        )
    except (RuntimeError, RPCError, ValueError) as error:
        raise _does_not_answer(settings, error) from error


def _tls(settings: Settings) -> bool | TLSConfig:
    given = (settings.tls_cert, settings.tls_key, settings.tls_ca)
    if not settings.tls or not (any(given) or settings.tls_server_name):
        return settings.tls
    cert, key, ca = map(_read, given)
    return TLSConfig(
        domain=settings.tls_server_name or None,
        client_cert=cert,
        client_private_key=key,
        server_root_ca_cert=ca,
    )


def _read(source: Source | None) -> bytes | None:
    if source is None or isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{source} cannot be read: {error.strerror}.", remedy="Make it readable to you."
        ) from error


_HUNG_UP = (
    r"unexpected ?eof|connection (was )?closed|connection reset|broken pipe|operation was canceled"
)
"""With TLS 1.3 a client learns that its certificate is not wanted by this alone."""

_NOT_ACCEPTED = "a certificate is not accepted, the server's by us or ours by it"

_MEANING = (
    (r"connection refused", "nothing listens there"),
    (r"dns error|lookup address|name or service not known", "nobody knows this name"),
    (r"certificate ?required", "it demands a client certificate, and none was given"),
    (r"unknown ?(ca|issuer)|bad ?certificate|decrypt ?error|certificate ?unknown"
     r"|access ?denied", _NOT_ACCEPTED),
    (r"not ?valid ?for ?name", "its certificate is for another name"),
    (r"certificate ?expired|expired", "a certificate has expired"),
    (r"PrivateKeyParseError|CertificateParseError|InconsistentKeys|KeyMismatch|pem\b",
     "certificate and key cannot be used: they are no PEM, or do not belong together"),
    (_HUNG_UP, "it ended the connection: it may want TLS, or is no Temporal server"),
    (r"tls|handshake|corrupt ?message|invalid ?content ?type", "the two sides do not agree on TLS"),
    (r"timed? ?out|deadline", "no answer came in time"),
    (r"unauthenticated|jwt|permission ?denied|unauthorized", "it does not accept the API key"),
    (r"network is unreachable|no route", "there is no way to it"),
)  # fmt: skip


def _does_not_answer(settings: Settings, error: BaseException) -> ServiceError:
    """One sentence: the transport's own text is for programmers."""
    text = " ".join(str(error).split())
    if settings.tls and re.search(_HUNG_UP, text, re.IGNORECASE):
        why = "it ended the connection; probably it "
        why += "does not accept" if settings.tls_cert else "demands, and was not given,"
        why += " the client certificate"
    else:
        known = (words for said, words in _MEANING if re.search(said, text, re.IGNORECASE))
        why = next(known, "it cannot be reached")
    hint = (
        " If the server's authority is your own, name it: TEMPORAL_TLS_SERVER_CA_CERT_PATH=ca.pem."
        if why == _NOT_ACCEPTED and settings.tls_ca is None
        else ""
    )
    local = settings.target == "local"
    return ServiceError(
        f"The Temporal server at {settings.address} does not answer: {why}.",
        remedy="Open the services with `tprov up`."
        if local
        else f"Check address, TLS and API key: `tprov doctor --target remote` shows them.{hint}",
    )


class _Runner(SandboxedWorkflowRunner):
    """The sandbox, and now and then a look for what runs have left that are no longer in it."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Take a run into memory."""
        if next(_taken_in) % COLLECT_EVERY == 0:
            gc.collect()
        return super().create_instance(det)


_taken_in = itertools.count(1)


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
        workflow_runner=_Runner(restrictions=SandboxRestrictions.default),
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

"""The remote target: a Temporal server behind TLS that wants to know who comes.

By the description's own names, by the SDK's, and by a profile in `temporal.toml`; what contradicts
itself is refused by name, what does not answer is a sentence.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import pytest_asyncio
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from temporalio.client import WorkflowExecutionStatus

from tests.cli.typed import TPROV, Terminal, until_said
from tests.conftest import ROOT, Platform
from tests.kernels import NOTEBOOKS, environment
from tests.terminator import Pair, Papers, Terminator, terminator
from tests.widgets.reader import text_of
from tprov_kernel.connect import connect
from tprov_kernel.errors import ServiceError, SettingsError
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.settings import remote_settings

pytestmark = pytest.mark.timeout(240)

KEY = "canary-server-key-5bd2"


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """Certificates of the tests' own."""
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest_asyncio.fixture
async def mtls(platform: Platform, papers: Papers) -> AsyncIterator[Terminator]:
    """A server that demands a client certificate."""
    behind, who = platform.settings.address, papers.authority
    async with terminator(behind, server=papers.server, clients=who) as there:
        yield there


@pytest_asyncio.fixture
async def keyed(platform: Platform, papers: Papers) -> AsyncIterator[Terminator]:
    """A server behind TLS that demands an API key."""
    behind = platform.settings.address
    async with terminator(behind, server=papers.server, api_key=KEY) as there:
        yield there


def cloud(platform: Platform) -> dict[str, str]:
    """The Cloud API by the provider's own names: the stand-in."""
    there = platform.settings.cloud
    return {
        "TEMPORAL_CLOUD_ENDPOINT": there.endpoint,
        "TEMPORAL_CLOUD_ALLOW_INSECURE": "true",
        "TEMPORAL_CLOUD_API_KEY": there.api_key,
    }


async def test_the_description_s_own_variables_are_enough(
    platform: Platform, papers: Papers, mtls: Terminator, tmp_path: Path
) -> None:
    """Host, certificate, key, namespace, task queue, API key: a worker completes a run.

    A public authority's certificate is known to every machine; ours has to be told.
    """
    env = cloud(platform) | {
        "TEMPORAL_HOST_URL": mtls.address,
        "TEMPORAL_MTLS_TLS_CERT": str(papers.client.cert),
        "TEMPORAL_MTLS_TLS_KEY": str(papers.client.key),
        "TEMPORAL_NAMESPACE": "default",
        "TEMPORAL_INFRA_PROVISION_TASK_QUEUE": "from-afar",
        "SSL_CERT_FILE": str(papers.authority.cert),
    }
    terminal = Terminal(tmp_path / "home")
    log = tmp_path / "worker.log"
    remote = ("--target", "remote")
    with terminal.runs("worker", *remote, log=log, env=env) as process:
        await asyncio.to_thread(until_said, log, "Polling from-afar", process=process, limit=30)
        words = ("start", "afar", "-c", "terraform/tcloud_namespace", "--watch", *remote)
        said = await asyncio.to_thread(terminal.run, *TPROV, *words, env=env)
    assert said.code == 0, said.err + log.read_text()
    assert "stack-afar applied after" in said.err
    assert f"Starting afar on {mtls.address}, namespace default" in said.err
    assert (tmp_path / "home" / "remote" / "keys.json").exists()


async def test_what_waits_is_decided_looked_at_and_destroyed_from_another_terminal(
    platform: Platform, papers: Papers, keyed: Terminator, tmp_path: Path
) -> None:
    """With an API key of the server's; the Cloud's own key is in the worker's terminal alone."""
    env = {
        "TEMPORAL_HOST_URL": keyed.address,
        "TEMPORAL_API_KEY": KEY,
        "TEMPORAL_NAMESPACE": "default",
        "TEMPORAL_INFRA_PROVISION_TASK_QUEUE": "from-further",
        "SSL_CERT_FILE": str(papers.authority.cert),
    }
    terminal, log = Terminal(tmp_path / "home"), tmp_path / "worker.log"
    said: list[str] = []

    def typed(*words: str) -> str:
        done = terminal.run(*TPROV, *words, "--target", "remote", env=env)
        said.append(done.out + done.err)
        assert done.code == 0, done.err + log.read_text()
        return done.out + done.err

    def story() -> None:
        started = typed("start", "further", "-c", "terraform/tcloud_admin_user")
        assert f"Starting further on {keyed.address}, namespace default" in started
        assert "the account that of the worker's key" in started
        until = time.monotonic() + 60
        while "awaiting_approval" not in typed("status", "further", "--json"):
            assert time.monotonic() < until, said[-1]
        typed("approve", "further", "--reason", "she runs the account from Monday on")
        watched = typed("status", "further", "--watch")
        assert "applied" in watched
        assert "she runs the account from Monday on" in typed("audit", "further")
        assert "temporalcloud_user." in typed("destroy", "further", "--yes", "--watch")

    before = await platform.cloud.list_users()
    with terminal.runs(
        "worker", "--target", "remote", log=log, env=env | cloud(platform)
    ) as process:
        await asyncio.to_thread(until_said, log, "Polling from-further", process=process, limit=30)
        await asyncio.to_thread(story)
    assert await platform.cloud.list_users() == before
    for text in (*said, log.read_text()):
        assert KEY not in text
        assert platform.settings.cloud.api_key not in text


ON_CLOUD = "10_on_temporal_cloud"


@pytest.mark.parametrize("how", ["a client certificate", "an API key", "a profile"])
async def test_the_cloud_s_notebook_runs_on_a_server_that_is_not_ours(
    platform: Platform,
    papers: Papers,
    mtls: Terminator,
    keyed: Terminator,
    tmp_path: Path,
    how: str,
) -> None:
    """Every cell of the very file, with what a reader sets and the remote target; it cleans up.

    Nobody watches here, so that it goes there was asked for by one more name.
    """
    env = environment(tmp_path / "home", notebook=ON_CLOUD, TPROV_TARGET="remote") | cloud(platform)
    env |= {
        "a client certificate": {
            "TEMPORAL_HOST_URL": mtls.address,
            "TEMPORAL_NAMESPACE": "default",
            "TEMPORAL_INFRA_PROVISION_TASK_QUEUE": "far",
            "SSL_CERT_FILE": str(papers.authority.cert),
        }
        | _as_env(papers.client),
        "an API key": {
            "TEMPORAL_HOST_URL": keyed.address,
            "TEMPORAL_NAMESPACE": "default",
            "TEMPORAL_API_KEY": KEY,
            "SSL_CERT_FILE": str(papers.authority.cert),
        },
        "a profile": {
            "TEMPORAL_CONFIG_FILE": _toml(
                tmp_path,
                f'[profile.default]\naddress = "{keyed.address}"\napi_key = "{KEY}"\n'
                'namespace = "default"\n[profile.default.tls]\n'
                f'server_ca_cert_path = "{papers.authority.cert}"\n',
            )
        },
    }[how]
    address = mtls.address if how == "a client certificate" else keyed.address
    queue = env.get("TEMPORAL_INFRA_PROVISION_TASK_QUEUE", "infra-provisioning") + f"-{ON_CLOUD}"
    before = await platform.cloud.list_namespaces()
    env["TPROV_AUTOPILOT"] = "1"
    notebook: Any = nbformat.read(NOTEBOOKS / f"{ON_CLOUD}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    typed = (
        "!temporal workflow describe --workflow-id stack-cloud\n!tprov --target remote status cloud"
    )
    cell: Any = nbformat.v4.new_code_cell(typed)  # type: ignore[no-untyped-call]
    notebook.cells.append(cell)  # what a reader may type besides
    place = {"metadata": {"path": str(NOTEBOOKS)}}
    runner = NotebookClient(notebook, timeout=90, kernel_name="python3", resources=place)
    try:
        await runner.async_execute(env=env)
    except CellExecutionError as error:
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        pytest.fail(f"{error}\n" + "\n".join(_said(cell) for cell in cells if cell.outputs))

    said = {cell.source: _said(cell) for cell in notebook.cells if cell.cell_type == "code"}

    def of(code: str) -> str:
        return next(text for source, text in said.items() if code in source)

    assert f"remote: {address}" in of("open_lab")
    assert "not set" not in of("open_lab")
    connection = of("lab.connection()")
    assert f"Temporal server used {address}, TLS with {how}".replace("a profile", "an API key") in (
        connection
    )
    assert "not set:" not in connection
    assert f"Task queue used {queue}" in connection
    assert "not Temporal Cloud itself" in connection
    if how == "a profile":
        assert "TEMPORAL_HOST_URL not set, said by profile default of temporal.toml" in connection
    assert "Everybody answers" in of("lab.check()")
    assert f"polls {queue}" in of("lab.check()")
    assert "account tprov (not Temporal Cloud itself)" in of("lab.check()")
    assert "Search attributes all of ours are known" in of("lab.check()")
    assert f"Starting cloud on {address}, namespace default" in of("lab.start(")
    assert "account tprov. What it will create is in its plan, and may cost" in of("lab.start(")
    assert "stack-cloud: applied after" in of("run.wait()")
    assert "Decoded in this kernel" in of("lab.payload_view")
    assert '"address": "temporalcloud_namespace.this"' in of("lab.payload_view")
    assert "binary/encrypted" in of("lab.payload_view")
    assert "cloud: destroyed." in of("lab.tidy_up()")
    assert f"TaskQueue {queue}" in " ".join(of("!temporal").split()), of("!temporal")
    assert "destroyed" in of("!temporal")
    for secret in (KEY, platform.settings.cloud.api_key):
        assert secret not in json.dumps(notebook)

    # The server says the same: both runs are its own, and what was made is gone.
    client = await platform.client()
    listed = client.list_workflows(f"TaskQueue='{queue}'", limit=2)
    runs = [run async for run in listed]
    assert {(r.id, r.status) for r in runs} == {("stack-cloud", WorkflowExecutionStatus.COMPLETED)}
    assert await platform.cloud.list_namespaces() == before
    assert (tmp_path / "home" / "remote" / "keys.json").exists()
    assert f"Bearer {KEY}" in keyed.authorizations or how == "a client certificate"


def _said(cell: Any) -> str:
    """What a person reads below a cell."""
    said = []
    for output in cell.outputs:
        data = output.get("data", {})
        html = data.get("text/html")
        said.append(text_of(html) if html else output.get("text") or data.get("text/plain", ""))
    return "\n".join(said)


def _toml(folder: Path, text: str) -> str:
    path = folder / secrets.token_hex(4) / "temporal.toml"
    path.parent.mkdir()
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("how", ["the SDK's names", "inline", "a profile", "another profile"])
async def test_the_sdk_s_own_configuration_is_enough(
    platform: Platform, papers: Papers, mtls: Terminator, tmp_path: Path, how: str
) -> None:
    """Paths or contents in the environment, and `temporal.toml` with its profiles."""
    profile = (
        f'address = "{mtls.address}"\nnamespace = "default"\n[profile.NAME.tls]\n'
        f'client_cert_path = "{papers.client.cert}"\nclient_key_path = "{papers.client.key}"\n'
        f'server_ca_cert_path = "{papers.authority.cert}"\n'
    )
    env = {
        "the SDK's names": {
            "TEMPORAL_ADDRESS": mtls.address,
            "TEMPORAL_TLS_CLIENT_CERT_PATH": str(papers.client.cert),
            "TEMPORAL_TLS_CLIENT_KEY_PATH": str(papers.client.key),
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(papers.authority.cert),
        },
        "inline": {
            "TEMPORAL_ADDRESS": mtls.address,
            "TEMPORAL_TLS_CLIENT_CERT_DATA": papers.client.cert.read_text(),
            "TEMPORAL_TLS_CLIENT_KEY_DATA": papers.client.key.read_text(),
            "TEMPORAL_TLS_SERVER_CA_CERT_DATA": papers.authority.cert.read_text(),
        },
        "a profile": {
            "TEMPORAL_CONFIG_FILE": _toml(
                tmp_path, "[profile.default]\n" + profile.replace("NAME", "default")
            )
        },
        "another profile": {
            "TEMPORAL_CONFIG_FILE": _toml(
                tmp_path, "[profile.prod]\n" + profile.replace("NAME", "prod")
            ),
            "TEMPORAL_PROFILE": "prod",
        },
    }[how]
    settings = remote_settings(env, root=ROOT, home=tmp_path)
    client = await connect(settings, KeyRing.in_memory())
    assert (await client.count_workflows()).count >= 0
    assert settings.tls
    if "profile" in how:
        assert "temporal.toml" in settings.sources["address"]
        assert env.get("TEMPORAL_PROFILE", "default") in settings.sources["tls_cert"]
    shown = repr(settings)
    assert "PRIVATE KEY" not in shown


async def test_an_api_key_is_sent_and_looked_at(
    papers: Papers, keyed: Terminator, tmp_path: Path
) -> None:
    """With it, calls are answered; without it or with another one, a sentence says so."""
    env = {
        "TEMPORAL_ADDRESS": keyed.address,
        "TEMPORAL_API_KEY": KEY,
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(papers.authority.cert),
    }
    settings = remote_settings(env, root=ROOT, home=tmp_path)
    client = await connect(settings, KeyRing.in_memory())
    await client.count_workflows()
    assert f"Bearer {KEY}" in keyed.authorizations
    assert KEY not in repr(settings)
    for wrong in (
        {"TEMPORAL_API_KEY": "another"},
        {"TEMPORAL_API_KEY": "", "TEMPORAL_TLS": "true"},
    ):
        with pytest.raises(ServiceError, match="does not accept the API key") as raised:
            await connect(
                remote_settings(env | wrong, root=ROOT, home=tmp_path), KeyRing.in_memory()
            )
        assert "another" not in str(raised.value)


def _typed(home: Path, env: dict[str, str], *words: str) -> tuple[int, str]:
    said = Terminal(home).run(*TPROV, *words, "--target", "remote", env=env)
    return said.code, " ".join((said.out + said.err).split())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"TEMPORAL_MTLS_TLS_CERT": "", "TEMPORAL_MTLS_TLS_KEY": "", "TEMPORAL_TLS": "true"},
         "demands, and was not given, the client certificate"),
        ({"stranger": "yes"}, "does not accept the client certificate"),
        ({"SSL_CERT_FILE": ""}, "certificate is not accepted"),
        ({"TEMPORAL_MTLS_TLS_CERT": "", "TEMPORAL_MTLS_TLS_KEY": ""}, "TLS"),
        ({"TEMPORAL_HOST_URL": "127.0.0.1:1"}, "nothing listens there"),
        ({"TEMPORAL_HOST_URL": "no-such-host.invalid:7233"}, "nobody knows this name"),
        ({"TEMPORAL_MTLS_TLS_KEY": "cert"}, "cannot be used"),
    ],
)  # fmt: skip
async def test_what_does_not_answer_is_one_sentence(
    papers: Papers, mtls: Terminator, tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    """No transport's text: what it means, and the command that shows what was used."""
    env = {
        "TEMPORAL_HOST_URL": mtls.address,
        "TEMPORAL_MTLS_TLS_CERT": str(papers.client.cert),
        "TEMPORAL_MTLS_TLS_KEY": str(papers.client.key),
        "SSL_CERT_FILE": str(papers.authority.cert),
    } | changes
    if env.pop("stranger", ""):
        env |= _as_env(papers.stranger)
    if env["TEMPORAL_MTLS_TLS_KEY"] == "cert":
        env["TEMPORAL_MTLS_TLS_KEY"] = str(papers.client.cert)
    env = {name: value for name, value in env.items() if value}
    code, said = await asyncio.to_thread(_typed, tmp_path, env, "status")
    assert code == 1
    assert words in said, said
    for raw in ("tonic", "transport::", "Os {", "Traceback", "ConnectError", "status:", "{"):
        assert raw not in said, said
    assert "tprov doctor --target remote" in said
    assert ("TEMPORAL_TLS_SERVER_CA_CERT_PATH" in said) == ("SSL_CERT_FILE" in changes)


def _as_env(pair: Pair) -> dict[str, str]:
    return {"TEMPORAL_MTLS_TLS_CERT": str(pair.cert), "TEMPORAL_MTLS_TLS_KEY": str(pair.key)}


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"TEMPORAL_HOST_URL": "a:1", "TEMPORAL_ADDRESS": "b:1"},
         ["TEMPORAL_HOST_URL (a:1)", "TEMPORAL_ADDRESS (b:1)"]),
        ({"TEMPORAL_HOST_URL": "a:1", "toml": 'address = "b:1"\n'},
         ["TEMPORAL_HOST_URL (a:1)", "profile default of temporal.toml", "(b:1)"]),
        ({"TEMPORAL_HOST_URL": "a:1", "TEMPORAL_MTLS_TLS_CERT": "CERT", "TEMPORAL_MTLS_TLS_KEY":
          "KEY", "TEMPORAL_TLS_CLIENT_CERT_PATH": "OTHER"},
         ["TEMPORAL_MTLS_TLS_CERT", "TEMPORAL_TLS_CLIENT_CERT_PATH", "two different"]),
        ({"TEMPORAL_HOST_URL": "a:1", "TEMPORAL_MTLS_TLS_CERT": "CERT", "TEMPORAL_MTLS_TLS_KEY":
          "KEY", "TEMPORAL_TLS": "false"},
         ["TEMPORAL_TLS", "switches TLS off", "TEMPORAL_MTLS_TLS_CERT"]),
        ({"TEMPORAL_HOST_URL": "a:1", "TEMPORAL_MTLS_TLS_CERT": "CERT"},
         ["only one of the two", "TEMPORAL_MTLS_TLS_CERT"]),
        ({"TEMPORAL_ADDRESS": "a:1", "TEMPORAL_TLS_CLIENT_CERT_PATH": "/none",
          "TEMPORAL_TLS_CLIENT_KEY_PATH": "KEY"},
         ["TEMPORAL_TLS_CLIENT_CERT_PATH names /none"]),
        ({"TEMPORAL_PROFILE": "gone", "toml": ""}, ["no profile", "TEMPORAL_PROFILE"]),
        ({"toml": "not = [toml"}, ["cannot read", "line 1, column"]),
        ({"TEMPORAL_HOST_URL": "p.a1.tmprl.cloud:7233"}, ["TEMPORAL_NAMESPACE"]),
    ],
)  # fmt: skip
def test_contradictions_are_refused_by_name(
    papers: Papers, tmp_path: Path, environ: dict[str, str], words: list[str]
) -> None:
    """Both names are in the sentence, or the profile and its file; and a remedy."""
    named = {"CERT": papers.client.cert, "KEY": papers.client.key, "OTHER": papers.stranger.cert}
    env = {name: str(named.get(value, value)) for name, value in environ.items()}
    if "toml" in env:
        text = env.pop("toml")
        body = text if text.startswith("not") else f"[profile.default]\n{text}"
        env["TEMPORAL_CONFIG_FILE"] = _toml(tmp_path, body)
    with pytest.raises(SettingsError) as raised:
        remote_settings(env, root=ROOT, home=tmp_path)
    assert [w for w in words if w not in str(raised.value)] == [], str(raised.value)
    assert raised.value.remedy


async def test_the_doctor_tells_what_would_be_used_and_no_secret(
    platform: Platform, papers: Papers, keyed: Terminator, tmp_path: Path
) -> None:
    """Each setting with the variable or the profile that it came from; keys are set or not set."""
    file = _toml(
        tmp_path,
        f'[profile.default]\naddress = "{keyed.address}"\napi_key = "{KEY}"\n'
        f'[profile.default.tls]\nserver_ca_cert_path = "{papers.authority.cert}"\n',
    )
    env = cloud(platform) | {"TEMPORAL_CONFIG_FILE": file}
    said = await asyncio.to_thread(
        Terminal(tmp_path).run, *TPROV, "doctor", "--json", "--target", "remote", env=env
    )
    told = json.loads(said.out)
    rows = {row["name"]: row for row in (*told["settings"], *told["services"])}
    assert said.code == 0, told
    assert rows["address"]["words"] == keyed.address
    assert "profile default" in rows["address"]["origin"]
    assert rows["api key"]["words"] == "set"
    assert "profile default" in rows["api key"]["origin"]
    assert rows["tls"]["words"] == "yes"
    assert "answers" in rows["Temporal server"]["words"]
    assert KEY not in said.out + said.err
    assert platform.settings.cloud.api_key not in said.out + said.err

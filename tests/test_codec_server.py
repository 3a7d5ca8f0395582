"""The codec server: decodes for those who may ask, refuses the others in words, never a 5xx."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request
from temporalio.api.common.v1 import Payload

from tprov_kernel.errors import SettingsError
from tprov_kernel.payloads.app import application
from tprov_kernel.payloads.codec import EncryptionCodec
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.payloads.server import build_codec_server

UI = "http://127.0.0.1:8233"
RING = KeyRing.in_memory()
CLEAR = {
    "payloads": [
        {
            "metadata": {"encoding": base64.b64encode(b"json/plain").decode()},
            "data": base64.b64encode(b'"hello"').decode(),
        }
    ]
}

Client = TestClient[Request, Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client of an application without a token, for the Web UI's two origins."""
    app = build_codec_server(EncryptionCodec(RING), origins=[UI, "http://localhost:8233"])
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:
        yield client


# --- encoding and decoding -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/default/{}", {}),
        ("/another-namespace.acct/{}", {}),
        ("/{}", {"X-Namespace": "default"}),
        ("/{}", {}),
        ("/default/{}?preserveStorageRefs=true", {"X-Namespace": "default", "Origin": UI}),
        ("/default/{}", {"Content-Type": "text/plain"}),
    ],
)
async def test_what_it_encodes_it_decodes(
    client: Client, path: str, headers: dict[str, str]
) -> None:
    """On the path of a namespace, or with `X-Namespace`; whatever the query string says."""
    body = json.dumps(CLEAR).encode()
    encoded = await client.post(path.format("encode"), data=body, headers=headers)
    secret = await encoded.read()
    decoded = await client.post(path.format("decode"), data=secret, headers=headers)

    assert (encoded.status, decoded.status) == (200, 200)
    assert b"aGVsbG8" not in secret
    assert base64.b64encode(b"binary/encrypted") in secret
    assert await decoded.json() == CLEAR
    assert decoded.headers["Cache-Control"] == "no-store"


async def test_a_payload_it_cannot_decode_is_told_in_words(client: Client) -> None:
    """The Web UI then shows the sentence in the payload's place."""
    stranger = EncryptionCodec(KeyRing.in_memory())
    [lost] = await stranger.encode([Payload(data=b"x")])
    answer = await client.post("/default/decode", data=_json(lost))
    [payload] = (await answer.json())["payloads"]

    assert answer.status == 200
    assert b"which the key ring lacks" in base64.b64decode(payload["data"])


async def test_many_and_no_payloads(client: Client) -> None:
    """The count and the order stay."""
    many = {"payloads": [{"data": base64.b64encode(str(n).encode()).decode()} for n in range(200)]}
    encoded = await client.post("/default/encode", json=many)
    decoded = await client.post("/default/decode", data=await encoded.read())
    empty = await client.post("/default/decode", json={})

    assert await decoded.json() == many
    assert (empty.status, await empty.json()) == (200, {})


# --- pages in a browser --------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/default/decode", "/default/encode", "/decode", "/a/b/c", "/"])
@pytest.mark.parametrize("origin", [UI, "http://localhost:8233"])
async def test_a_pre_flight_is_answered_on_every_route(
    client: Client, path: str, origin: str
) -> None:
    """With the headers that the Web UI sends, and `authorization`, which samples forget."""
    answer = await client.options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,x-namespace",
        },
    )

    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Access-Control-Allow-Headers"] == (
        "content-type, x-namespace, authorization"
    )
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://127.0.0.1:9999",
        "https://127.0.0.1:8233",
        "http://127.0.0.1:8233.evil.example",
        "null",
        "",
    ],
)
@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
async def test_a_foreign_page_is_refused(client: Client, origin: str, method: str) -> None:
    """403, and no header that would let its script read the answer."""
    answer = await client.request(method, "/default/decode", json=CLEAR, headers={"Origin": origin})

    assert answer.status == 403
    assert "origin" in (await answer.json())["error"]
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


async def test_an_error_can_be_read_by_the_page_that_caused_it(client: Client) -> None:
    """Otherwise the Web UI could only say that something failed."""
    answer = await client.post("/default/decode", data=b"{", headers={"Origin": UI})

    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (400, UI)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8081", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:8081", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:8081", 403),
        ("127.0.0.2", 403),
        ("", 403),
    ],
)
async def test_only_loopback_names_are_answered(client: Client, host: str, status: int) -> None:
    """A page may make its own name point to 127.0.0.1; the browser still sends that name."""
    answer = await client.post("/default/decode", json=CLEAR, headers={"Host": host})

    assert answer.status == status


# --- the token -----------------------------------------------------------------------------------


async def test_with_a_token_only_its_bearer_is_served() -> None:
    """A pre-flight carries none and is answered; everything else is 401 without it."""
    app = build_codec_server(EncryptionCodec(RING), origins=[UI], token="s3cr3t-token")
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:
        right = {"Authorization": "Bearer s3cr3t-token", "Origin": UI}
        ok = await client.post("/default/decode", json=CLEAR, headers=right)
        pre_flight = await client.options("/default/decode", headers={"Origin": UI})
        wrong = [
            await client.post("/default/decode", json=CLEAR, headers=headers)
            for headers in (
                {"Origin": UI},
                {"Authorization": "s3cr3t-token"},
                {"Authorization": "Bearer s3cr3t-tokem"},
                {"Authorization": "Bearer "},
                {"Authorization": "Bearer s3cr3t-token2"},
            )
        ]

        assert (ok.status, pre_flight.status) == (200, 204)
        assert [answer.status for answer in wrong] == [401] * 5
        assert wrong[0].headers["WWW-Authenticate"] == "Bearer"
        assert wrong[0].headers["Access-Control-Allow-Origin"] == UI


# --- what is not understood ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "proto3 JSON"),
        (b"{", "proto3 JSON"),
        (b"[]", "proto3 JSON"),
        (b"null", "proto3 JSON"),
        (b'{"payloads": 3}', "proto3 JSON"),
        (b'{"payloads": [3]}', "proto3 JSON"),
        (b'{"payloads": [{"dater": ""}]}', 'no field named "dater"'),
        (b'{"payloads": [{"data": "!"}]}', "proto3 JSON"),
        (b'{"payloads": [{"metadata": []}]}', "proto3 JSON"),
        (b'{"payloads": [{"metadata": {"encoding": 3}}]}', "proto3 JSON"),
        (b'{"payloads": "decode"}', "proto3 JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "proto3 JSON"),
        (b'{"payloads":' * 5_000, "proto3 JSON"),
        (b"1" * 100_000, "proto3 JSON"),
    ],
)
async def test_a_malformed_body_is_400_with_what_is_wrong(
    client: Client, body: bytes, part: str
) -> None:
    """The client's mistake, in a sentence of bounded length."""
    answer = await client.post("/default/decode", data=body)
    error = (await answer.json())["error"]

    assert answer.status == 400
    assert part in error
    assert len(error) <= 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/default/decode", 405),
        ("PUT", "/decode", 405),
        ("GET", "/", 404),
        ("POST", "/", 404),
        ("POST", "/default/decoder", 404),
        ("POST", "/a/b/decode", 404),
        ("PATCH", "/default", 404),
    ],
)
async def test_other_paths_and_methods_are_refused_in_words(
    client: Client, method: str, path: str, status: int
) -> None:
    """Each answer says what would have been right."""
    answer = await client.request(method, path)

    assert answer.status == status
    assert (await answer.json())["error"].endswith(".")


async def test_a_body_that_is_too_large_is_413() -> None:
    """Declared or not, it is not read into memory."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 1024

    app = application(EncryptionCodec(RING), origins=[], max_body=16 * 1024)
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:
        declared = await client.post("/default/decode", data=b"x" * 20_000)
        chunked = await client.post("/default/decode", data=chunks())

        assert (declared.status, chunked.status) == (413, 413)


@pytest.mark.parametrize("origin", ["*", "null", "localhost:8233", "http://x/", "http://x/y", ""])
def test_an_origin_that_is_none_is_refused_at_the_start(origin: str) -> None:
    """A slash at the end would otherwise never match, and nobody would know why."""
    with pytest.raises(SettingsError, match="is no origin"):
        build_codec_server(EncryptionCodec(RING), origins=[origin])


def _json(*payloads: Payload) -> bytes:
    from google.protobuf.json_format import MessageToDict

    return json.dumps({"payloads": [MessageToDict(payload) for payload in payloads]}).encode()


# --- the process ---------------------------------------------------------------------------------


@dataclass
class Running:
    """A codec server that runs as a process of its own."""

    process: subprocess.Popen[str]
    port: int
    key_ring: Path
    log: Path

    def post(self, verb: str, body: bytes, **headers: str) -> tuple[int, bytes]:
        """Send one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", f"/default/{verb}", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content


def start(folder: Path, *more: str) -> Running:
    """Start one on a free port, as the services do."""
    key_ring, log = folder / "keys.json", folder / "codec.log"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tprov_kernel.payloads.server", "--port", "0"),
            *("--key-ring", str(key_ring), "--log", str(log), "--origin", UI, *more),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate(timeout=30)[1]
    return Running(process, int(line.rsplit(":", 1)[1]), key_ring, log)


def stop(running: Running) -> int:
    """End it; give its exit code."""
    running.process.terminate()
    try:
        running.process.communicate(timeout=20)
    finally:
        running.process.kill()
    return running.process.returncode


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A codec server as a process."""
    server = start(tmp_path)
    yield server
    stop(server)


def test_the_process_serves_from_the_moment_it_listens_and_ends_quickly(running: Running) -> None:
    """Its first line names the address; a request sent at once is answered; SIGTERM ends it."""
    status, secret = running.post("encode", json.dumps(CLEAR).encode())
    decoded = running.post("decode", secret)

    assert status == 200
    assert (decoded[0], json.loads(decoded[1])) == (200, CLEAR)
    idle = socket.create_connection(("127.0.0.1", running.port), timeout=10)
    assert stop(running) == 0
    idle.close()


def test_it_listens_on_loopback_only_and_writes_nothing_others_may_read(running: Running) -> None:
    """One listening socket, on 127.0.0.1; key ring and log are private, and hold no payload."""
    running.post("encode", json.dumps(CLEAR).encode())
    running.post("decode", b'{"payloads": "aGVsbG8-in-a-broken-body"}')
    listening = [
        c.laddr.ip
        for c in psutil.Process(running.process.pid).net_connections(kind="inet")
        if c.status == psutil.CONN_LISTEN
    ]

    assert listening == ["127.0.0.1"]
    assert {oct(p.stat().st_mode & 0o777) for p in (running.key_ring, running.log)} == {"0o600"}
    assert "aGVsbG8" not in running.log.read_text()
    assert "refused with 400" in running.log.read_text()


def test_it_reads_the_key_ring_again_when_another_process_rotated(running: Running) -> None:
    """What a worker encrypts with the new key is shown without a restart, old payloads too."""
    old = running.post("encode", json.dumps(CLEAR).encode())[1]
    ring = KeyRing.load(running.key_ring)
    ring.rotate()
    [secret] = asyncio.run(EncryptionCodec(ring).encode([Payload(data=b"new")]))
    new = json.loads(running.post("decode", _json(secret))[1])
    fresh = json.loads(running.post("encode", json.dumps(CLEAR).encode())[1])

    assert new == {"payloads": [{"data": base64.b64encode(b"new").decode()}]}
    assert json.loads(running.post("decode", old)[1]) == CLEAR
    key_id = base64.b64decode(fresh["payloads"][0]["metadata"]["encryption-key-id"])
    assert key_id.decode() == ring.active


def test_a_token_file_is_asked_for(tmp_path: Path) -> None:
    """The token is on no command line."""
    token = tmp_path / "token"
    token.write_text("s3cr3t-token\n")
    server = start(tmp_path, "--token-file", str(token))
    try:
        body = json.dumps(CLEAR).encode()
        assert server.post("decode", body)[0] == 401
        assert server.post("decode", body, Authorization="Bearer s3cr3t-token")[0] == 200
        assert "s3cr3t-token" not in " ".join(psutil.Process(server.process.pid).cmdline())
    finally:
        stop(server)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "99999"], "cannot listen on"),
        (["--origin", "http://x/"], "is no origin"),
        (["--token-file", "missing"], "cannot be read"),
        (["--token-file", "empty"], "is empty"),
        (["--key-ring", "broken"], "is no key ring"),
    ],
)
def test_what_keeps_it_from_starting_is_one_sentence(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    """On stderr, exit code 1, no stack trace."""
    (tmp_path / "empty").write_text("")
    (tmp_path / "broken").write_text("x")
    (tmp_path / "broken").chmod(0o600)
    command = [sys.executable, "-m", "tprov_kernel.payloads.server", "--key-ring", "keys.json"]
    done = subprocess.run(
        [*command, "--port", "0", "--log", "log", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_one_sentence(running: Running, tmp_path: Path) -> None:
    """It names the port and the option that helps."""
    with pytest.raises(AssertionError, match=r"cannot listen on 127\.0\.0\.1"):
        start(tmp_path, "--port", str(running.port))


# --- fuzzing -------------------------------------------------------------------------------------


async def test_an_odd_expectation_is_no_5xx(client: Client) -> None:
    """The fuzzing below found that aiohttp answers 500 to one that is no ASCII."""
    server = client.server
    assert isinstance(server, TestServer)
    body = json.dumps(CLEAR).encode()
    head = "POST /decode HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\nExpect: {}\r\n\r\n"
    for expectation in ("100-continue", "100-c\x80ntinue", "something"):
        request = head.format(len(body), expectation).encode("latin-1") + body
        assert await _status(server.port or 0, request) == 200


@dataclass
class Fuzz:
    """Makes requests that no client should send, the same ones for the same seed."""

    seed: int
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def request(self) -> bytes:
        """One request, usually close enough to a right one to get far."""
        rng = self.rng
        body = self._body()
        path = rng.choice(["/default/decode", "/encode", "/x/encode?a=b", "/", "//", "/%00/decode"])
        method = rng.choice(["POST"] * 8 + ["GET", "OPTIONS", "PUT", "BREW"])
        head = [
            f"{method} {path} HTTP/1.1",
            f"Host: {rng.choice(['127.0.0.1'] * 8 + ['evil', 'localhost:1', ''])}",
            f"Content-Length: {len(body)}",
        ]
        extra = {
            "Origin": [UI, "http://evil", "\x01"],
            "Content-Type": ["application/json", "text/html; charset=x", ";;;"],
            "X-Namespace": ["default", "ä", "../.."],
            "Authorization": ["Bearer x", "Basic", "\xff"],
            "Content-Encoding": ["gzip", "deflate", "br", "zip"],
            "Expect": ["100-continue", "odd"],
        }
        head += [
            f"{name}: {rng.choice(values)}" for name, values in extra.items() if rng.random() < 0.15
        ]
        text = "\r\n".join([*head, "", ""]).encode("latin-1", "replace")
        if rng.random() < 0.1:
            at = rng.randrange(len(text))
            text = text[:at] + bytes([rng.randrange(256)]) + text[at + 1 :]
        return text + body

    def _body(self) -> bytes:
        rng = self.rng
        whole = json.dumps(
            {
                "payloads": [
                    {
                        "metadata": {
                            "encoding": rng.choice(["YmluYXJ5L2VuY3J5cHRlZA==", "", "!", "AAAA"]),
                            "encryption-key-id": base64.b64encode(rng.randbytes(8)).decode(),
                        },
                        "data": base64.b64encode(rng.randbytes(rng.randrange(60))).decode(),
                    }
                    for _ in range(rng.randrange(4))
                ]
            }
        ).encode()
        kind = rng.randrange(4)
        if kind == 0:
            return whole
        if kind == 1:
            return whole[: rng.randrange(len(whole) + 1)]
        if kind == 2:
            return rng.randbytes(rng.randrange(200))
        at = rng.randrange(len(whole))
        return whole[:at] + rng.randbytes(3) + whole[at:]


async def _status(port: int, request: bytes) -> int:
    """The answer's status; 0 when there is none, since the request never ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(2):
            while line := await reader.readline():
                # Behind '100 Continue' and an empty line comes the answer itself.
                if line.startswith(b"HTTP/") and b" 100 " not in line:
                    return int(line.split()[1])
        return 0
    except (ConnectionError, TimeoutError):
        return 0
    finally:
        writer.close()


async def _fuzz(port: int, *, seed: int, count: int) -> dict[int, int]:
    fuzz, statuses = Fuzz(seed), dict[int, int]()

    async def some() -> None:
        for _ in range(count // 10):
            status = await _status(port, fuzz.request())
            statuses[status] = statuses.get(status, 0) + 1

    await asyncio.gather(*(some() for _ in range(10)))
    return statuses


def test_ten_thousand_odd_requests_cause_no_5xx_and_no_growth(running: Running) -> None:
    """And after all of them it still decodes."""
    body = json.dumps(CLEAR).encode()
    assert running.post("encode", body)[0] == 200
    server = psutil.Process(running.process.pid)
    asyncio.run(_fuzz(running.port, seed=1, count=2_000))
    before = server.memory_info().rss
    statuses = asyncio.run(_fuzz(running.port, seed=2, count=10_000))
    after = server.memory_info().rss

    assert running.process.poll() is None
    assert [status for status in statuses if status >= 500] == []
    assert {200, 204, 400, 403, 404, 405} - statuses.keys() == set(), statuses
    assert sum(statuses.values()) == 10_000
    assert statuses.get(0, 0) < 100, statuses
    assert after - before < 10 * 1024 * 1024
    assert server.num_fds() < 40
    assert running.post("encode", body)[0] == 200
    assert "Traceback" not in running.log.read_text()


async def test_a_browser_s_two_requests_on_one_connection(running: Running) -> None:
    """Pre-flight and POST, with what Chromium sends, over one kept connection."""
    async with ClientSession(f"http://127.0.0.1:{running.port}") as session:
        path = "/default/decode?preserveStorageRefs=true"
        headers = {"Origin": UI, "Access-Control-Request-Method": "POST"}
        async with session.options(path, headers=headers) as pre_flight:
            assert pre_flight.status == 204
        secret = running.post("encode", json.dumps(CLEAR).encode())[1]
        headers = {"Origin": UI, "X-Namespace": "default", "Content-Type": "application/json"}
        async with session.post(path, data=secret, headers=headers) as answer:
            assert await answer.json() == CLEAR


def test_an_interrupt_ends_it_like_a_termination(running: Running) -> None:
    """Ctrl-C in a terminal: exit code 0, no stack trace."""
    assert running.post("encode", json.dumps(CLEAR).encode())[0] == 200
    running.process.send_signal(signal.SIGINT)
    _, errors = running.process.communicate(timeout=20)

    assert (running.process.returncode, errors) == (0, "")

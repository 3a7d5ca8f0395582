"""What encryption costs: the codec, sealing, and the codec server's requests per second.

Run it as ``python benchmarks/codec.py``. Everything stays on loopback and in a temporary folder;
the counts are bounded (about fifteen seconds).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload

from tprov_kernel.payloads.codec import EncryptionCodec
from tprov_kernel.payloads.keyring import KeyRing

KB, MB = 1024, 1024 * 1024


def median(work: Callable[[], object], *, count: int) -> float:
    """Seconds of one call, the median of many."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


async def median_async(work: Callable[[], Awaitable[object]], *, count: int) -> float:
    times = []
    for _ in range(count):
        start = time.perf_counter()
        await work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def line(name: str, seconds: float, limit: float | None = None, bare: float | None = None) -> None:
    text = f"{name:<44}{seconds * 1e6:>10.1f} µs"
    if bare is not None:
        text += f"   {seconds / bare:.2f} times bare AES-GCM ({bare * 1e6:.1f} µs)"
    if limit is not None:
        text += f"   limit {limit * 1e6:.0f} µs: {'kept' if seconds <= limit else 'MISSED'}"
    print(text)


async def codec() -> None:
    cipher = AESGCM(AESGCM.generate_key(256))
    codec = EncryptionCodec(KeyRing.in_memory())

    def seal(data: bytes) -> bytes:
        return cipher.encrypt(os.urandom(12), data, None)

    for name, size, count, limit in (("1 KB", KB, 5_000, 40e-6), ("1 MB", MB, 200, 300e-6)):
        data = os.urandom(size)
        payload = Payload(metadata={"encoding": b"binary/plain"}, data=data)
        [secret] = await codec.encode([payload])
        bare = median(partial(seal, data), count=count)
        encode = await median_async(partial(codec.encode, [payload]), count=count)
        decode = await median_async(partial(codec.decode, [secret]), count=count)
        line(f"encode {name}", encode, limit, bare)
        line(f"decode {name}", decode, limit, bare)


def sealing() -> None:
    ring = KeyRing.in_memory()
    data = b"".join(
        json.dumps(
            {"address": f"r.x[{n}]", "id": os.urandom(8).hex(), "region": "aws-us-east-1"}
        ).encode()
        for n in range(12_500)
    )[:MB]
    text = ring.seal(data, kind="plan")
    line("seal 1 MB of plan JSON", median(lambda: ring.seal(data, kind="plan"), count=20))
    line("unseal it", median(lambda: ring.unseal(text, kind="plan"), count=20))
    print(f"{'':<44}{len(text) / len(data):>10.2f} times its size as sealed text")


async def blocked() -> None:
    """How long the loop was away at a stretch while large payloads were encoded and decoded.

    Of twenty rounds, the median of each round's longest; beside it the same of rounds in which a
    thread only sleeps, which is what the machine does to a loop by itself.
    """
    codec = EncryptionCodec(KeyRing.in_memory())
    for name, count in (("1.9 MB on the loop", 1), ("8 MB in a thread", 4)):
        payloads = [Payload(data=os.urandom(19 * MB // 10)) for _ in range(count)]
        idle, busy = [], []
        for _ in range(20):
            idle.append(await _longest(asyncio.to_thread(time.sleep, 0.005)))
            busy.append(await _longest(_there_and_back(codec, payloads)))
        line(f"loop away, {name}", statistics.median(busy), 10e-3)
        line("  (the same without any work)", statistics.median(idle))


async def _there_and_back(codec: EncryptionCodec, payloads: list[Payload]) -> None:
    await codec.decode(await codec.encode(payloads))


async def _longest(work: Coroutine[object, object, object]) -> float:
    longest, last = 0.0, time.perf_counter()
    task = asyncio.create_task(work)
    while not task.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    await task
    return longest


async def requests(port: int, body: bytes, *, connections: int, each: int) -> float:
    """Requests per second over kept connections, one at a time on each."""
    head = (
        f"POST /default/decode HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(each):
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in answer.split(b"\r\n")[0]:
                raise RuntimeError(answer.decode())
            length = next(
                int(h.split(b":")[1]) for h in answer.split(b"\r\n") if h.startswith(b"Content-L")
            )
            await reader.readexactly(length)
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    return connections * each / (time.perf_counter() - start)


def server() -> None:
    with tempfile.TemporaryDirectory() as folder:
        key_ring = Path(folder, "keys.json")
        command = [sys.executable, "-m", "tprov_kernel.payloads.server", "--port", "0"]
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--key-ring", str(key_ring), "--log", str(Path(folder, "log"))],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rsplit(":", 1)[1])
            line("codec server listens after", time.perf_counter() - start)
            asyncio.run(_measure(port, key_ring, start))
            start = time.perf_counter()
            process.terminate()
            process.wait(timeout=20)
            line("codec server ends after SIGTERM in", time.perf_counter() - start)
        finally:
            process.kill()
            process.wait(timeout=20)


async def _measure(port: int, key_ring: Path, start: float) -> None:
    await requests(port, b"{}", connections=1, each=1)
    line("codec server answered first after", time.perf_counter() - start)
    codec = EncryptionCodec(KeyRing.load(key_ring))
    for size in (100, KB, 64 * KB):
        [secret] = await codec.encode([Payload(data=os.urandom(size))])
        metadata = {k: base64.b64encode(v).decode() for k, v in secret.metadata.items()}
        entry = {"metadata": metadata, "data": base64.b64encode(secret.data).decode()}
        body = json.dumps({"payloads": [entry]}).encode()
        rate = await requests(port, body, connections=8, each=300)
        verdict = f"   limit 1,000: {'kept' if rate >= 1_000 else 'MISSED'}" if size <= KB else ""
        name = f"decode requests a second, {size:,} bytes each"
        print(f"{name:<44}{rate:>10,.0f}   {verdict}")


if __name__ == "__main__":
    asyncio.run(codec())
    sealing()
    asyncio.run(blocked())
    server()

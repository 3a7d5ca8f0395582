"""The key ring from the environment, and from a function; and no ring at all for who only looks."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from temporalio.api.common.v1 import Payload

from tests.cli.typed import TPROV, Terminal, until_said
from tests.conftest import ROOT, Platform
from tests.kernels import environment, kernel
from tests.leaks import Processes, files_with, found_in
from tests.test_keys import shown_by_temporal
from tests.test_workflow import ADMIN, asks, start, until
from tprov_kernel import runs
from tprov_kernel.errors import ConfigurationError, SealBroken, SettingsError
from tprov_kernel.given import resolve
from tprov_kernel.messages import Status
from tprov_kernel.payloads import keyfile
from tprov_kernel.payloads.codec import EncryptionCodec, is_undecodable
from tprov_kernel.payloads.keyfile import document_of
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.payloads.keysource import IN_VAIN
from tprov_kernel.services import attach, local_settings

pytestmark = pytest.mark.timeout(180)


class Kms:
    """A key management service: holds a key ring, rotates it, counts who asks, may be away."""

    def __init__(self) -> None:
        self.keys = keyfile.fresh()
        self.threads: list[int] = []
        self.away = False

    def fetch(self) -> dict[str, Any]:
        """What a worker would call."""
        self.threads.append(threading.get_ident())
        if self.away:
            raise ConnectionError("no way to kms.example.test with token canary-token")
        return document_of(self.keys)

    def rotate(self) -> None:
        """Somebody rotates it there."""
        self.keys = self.keys.with_new_key()

    @property
    def asked(self) -> int:
        """How often it was asked."""
        return len(self.threads)


def secrets_of(keys: keyfile.Keys) -> dict[str, str]:
    """The keys as canaries, in the form in which they are handed around."""
    told = document_of(keys)
    return {"encryption key": told["keys"][keys.active]["key"], "mac key": told["mac_key"]}


# --- a variable ----------------------------------------------------------------------------------


def test_a_variable_holds_the_ring_and_no_file_is_made(tmp_path: Path) -> None:
    """Two processes with the same variable read each other; nothing shows a key."""
    keys = keyfile.fresh()
    environ = {"TPROV_KEYS": json.dumps(document_of(keys), indent=2) + "\n"}
    one = KeyRing.find(tmp_path / "home" / "keys.json", environ=environ)
    two = KeyRing.find(tmp_path / "home" / "keys.json", environ=environ)

    assert two.unseal(one.seal(b"x", kind="plan"), kind="plan") == b"x"
    assert (one.active, one.mac(b"x")) == (keys.active, two.mac(b"x"))
    assert (one.path, one.name) == (None, "TPROV_KEYS")
    assert list(tmp_path.iterdir()) == []
    assert found_in(repr(one).encode(), secrets_of(keys)) == set()


def test_what_is_not_ours_to_write_is_refused_with_where_to_do_it(tmp_path: Path) -> None:
    """Neither rotated nor dropped; the remedy says who does."""
    kms = Kms()
    first = kms.keys.active
    kms.rotate()
    environ = {"TPROV_KEYS": json.dumps(document_of(kms.keys))}
    variable = KeyRing.find(tmp_path / "keys.json", environ=environ)
    function = KeyRing.find(tmp_path / "keys.json", environ={}, function=kms.fetch)

    for act in (variable.rotate, lambda: variable.drop(first)):
        with pytest.raises(SettingsError, match=r"TPROV_KEYS, which is not ours .*where TPROV"):
            act()
    for act in (function.rotate, lambda: function.drop(first)):
        with pytest.raises(SettingsError, match=r"function Kms.fetch, and is not ours .*keys new"):
            act()
    assert len(variable.created) == len(function.created) == 2


@pytest.mark.parametrize("text", ["canary-text", "[]", '{"active": "canary-text"}', "[" * 5000])
def test_a_variable_that_is_no_key_ring_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    """Whatever is in it may be a secret."""
    with pytest.raises(SettingsError, match="TPROV_KEYS is no key ring") as raised:
        KeyRing.find(tmp_path / "keys.json", environ={"TPROV_KEYS": text})
    assert "canary" not in f"{raised.value}{raised.value.__cause__!r}"
    assert "tprov keys new" in raised.value.remedy


def test_two_rings_that_contradict_each_other_are_refused_by_name(tmp_path: Path) -> None:
    """A file with keys that the variable lacks; a variable with the same ones and more is none."""
    path = tmp_path / "keys.json"
    file = KeyRing.load_or_create(path)
    text = file.seal(b"x", kind="plan")
    other = {"TPROV_KEYS": json.dumps(document_of(keyfile.fresh()))}
    more = {"TPROV_KEYS": json.dumps(document_of(file.with_new_key()))}

    with pytest.raises(SettingsError, match=rf"TPROV_KEYS and the file {path} are two different"):
        KeyRing.find(path, environ=other)
    with pytest.raises(SettingsError, match="TPROV_KEYS is set, and a function is handed in"):
        KeyRing.find(path, environ=more, function=Kms().fetch)
    with pytest.raises(SettingsError, match=r"The function Kms\.fetch and the file"):
        KeyRing.find(path, environ={}, function=Kms().fetch)
    found = KeyRing.find(path, environ=more)
    assert found.unseal(text, kind="plan") == b"x"
    assert found.active != file.active


def test_no_configuration_gets_the_key_ring() -> None:
    """A run could have it sent anywhere."""
    with pytest.raises(ConfigurationError, match="is for no configuration"):
        resolve("password", "env:TPROV_KEYS", {"TPROV_KEYS": "canary"})


# --- a function ----------------------------------------------------------------------------------


def test_a_function_is_asked_when_a_key_is_unknown_and_not_at_every_use(tmp_path: Path) -> None:
    """A rotation elsewhere is noticed with the first value under the new key."""
    kms = Kms()
    ring = KeyRing.find(tmp_path / "keys.json", environ={}, function=kms.fetch)
    text = ring.seal(b"x", kind="plan")
    for _ in range(100):
        ring.unseal(text, kind="plan")
    assert kms.asked == 1

    kms.rotate()
    elsewhere = KeyRing.find(tmp_path / "keys.json", environ={}, function=kms.fetch)
    assert ring.unseal(elsewhere.seal(b"y", kind="plan"), kind="plan") == b"y"
    assert ring.active == elsewhere.active
    assert kms.asked == 3
    assert ring.unseal(text, kind="plan") == b"x"


def test_a_stranger_cannot_have_it_asked_without_end(tmp_path: Path) -> None:
    """Neither with one key that nobody has, nor with many, nor with what is no key's id."""
    kms = Kms()
    ring = KeyRing.find(tmp_path / "keys.json", environ={}, function=kms.fetch)
    strangers = [KeyRing.in_memory().seal(b"x", kind="plan") for _ in range(3 * IN_VAIN)]
    nonsense = [f"tprov1.plan.zz{n}.AAAA" for n in range(5)]
    for text in (*nonsense, *strangers[:1] * 50, *strangers):
        with pytest.raises(SealBroken):
            ring.unseal(text, kind="plan")
    assert kms.asked == 1 + IN_VAIN


def test_a_function_that_fails_is_a_sentence_at_first_and_no_harm_later(tmp_path: Path) -> None:
    """Its own words may quote what it asked with."""
    kms = Kms()
    ring = KeyRing.find(tmp_path / "keys.json", environ={}, function=kms.fetch)
    text = ring.seal(b"x", kind="plan")
    kms.away = True
    with pytest.raises(SealBroken, match="which the key ring lacks"):
        ring.unseal(KeyRing.in_memory().seal(b"x", kind="plan"), kind="plan")
    assert ring.unseal(text, kind="plan") == b"x"

    with pytest.raises(SettingsError, match=r"Kms\.fetch raised ConnectionError") as raised:
        KeyRing.find(tmp_path / "keys.json", environ={}, function=kms.fetch)
    assert "canary" not in str(raised.value)
    with pytest.raises(SettingsError, match="What the function dict gives is no key ring"):
        KeyRing.find(tmp_path / "keys.json", environ={}, function=dict)
    as_text = KeyRing.find(
        tmp_path / "keys.json", environ={}, function=lambda: json.dumps(document_of(kms.keys))
    )
    assert as_text.unseal(text, kind="plan") == b"x"


async def test_the_event_loop_does_not_wait_for_a_function(tmp_path: Path) -> None:
    """A payload under an unknown key is opened in a thread; one under a known key is not."""
    kms = Kms()
    ring = KeyRing.find(tmp_path / "keys.json", environ={}, function=kms.fetch)
    codec = EncryptionCodec(ring)
    kms.rotate()
    elsewhere = EncryptionCodec(
        KeyRing.find(tmp_path / "keys.json", environ={}, function=kms.fetch)
    )
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b'"y"')
    assert await codec.decode(await elsewhere.encode([payload])) == [payload]
    assert kms.threads[-1] != threading.get_ident()
    (lost,) = await codec.decode(await EncryptionCodec(KeyRing.in_memory()).encode([payload]))
    assert is_undecodable(json.loads(lost.data))


async def test_a_run_goes_on_when_the_keys_are_rotated_in_the_kms(
    own: Platform, tmp_path: Path
) -> None:
    """Worker and reviewer have a function each; the decision comes under the new key."""
    kms = Kms()
    nowhere = tmp_path / "elsewhere" / "keys.json"

    def with_keys() -> Platform:
        return replace(own, keys=KeyRing.find(nowhere, environ={}, function=kms.fetch))

    working = with_keys()
    async with working.worker(await working.client(), task_queue="kms") as settings:
        starting = with_keys()
        client = await starting.client()
        handle = await start(client, settings, starting, "kms", ADMIN)
        await until(client, handle, asks)
        kms.rotate()
        deciding = with_keys()
        theirs = await runs.run_of(await deciding.client(), "kms")
        taken = await runs.decide(theirs, "approve", reason="under a new key")
        assert taken is not None
        result = await handle.result()
    assert result.status == Status.APPLIED
    assert [d.reason for d in result.decisions] == ["under a new key"]
    assert working.keys.active == kms.keys.active
    assert kms.asked <= 3 + 2  # one each, and each of the first two once more
    assert not nowhere.parent.exists()


def test_a_notebook_is_given_a_function(platform: Platform, tmp_path: Path) -> None:
    """Its lab runs with it; what cannot work is a sentence that names the function."""
    (tmp_path / "kms.json").write_text(json.dumps(document_of(keyfile.fresh())))
    home = tmp_path / "home"
    env = environment(home) | {"TEMPORAL_ADDRESS": platform.settings.address}
    with kernel(env) as there:
        cell = there.run(
            "from pathlib import Path\n"
            "from tprov_kernel import open_lab\n"
            f"def fetch():\n    return Path({str(tmp_path / 'kms.json')!r}).read_text()\n"
            "lab = open_lab(keys=fetch)"
        )
        assert "A function for keys is for target='remote'" in cell.text
        cell = there.run('lab = open_lab(target="remote", keys=fetch)')
        assert cell.status == "ok", cell.trace
        assert "the function fetch" in there.value("repr(lab.key_ring)")
        assert (
            "comes from the function fetch, and is not ours" in there.run("lab.rotate_key()").text
        )
        assert "a process of its own cannot call it" in there.run("lab.worker_process()").text
        there.run('run = lab.start("given", config="terraform/tcloud_admin_user")')
        cell = there.run("print(run.view.unreadable or 'all can be read')")
        assert "all can be read" in cell.text, cell.trace
    assert list(home.rglob("keys.json")) == []


# --- the commands --------------------------------------------------------------------------------


def test_new_prints_a_ring_into_a_pipe_and_never_on_a_terminal(tmp_path: Path) -> None:
    """The first one; then the same with a new active key. Nothing is kept here."""
    terminal = Terminal(tmp_path / "home")
    first = terminal.run(*TPROV, "keys", "new")
    assert first.code == 0, first.err
    assert "\n" not in first.out.strip()
    env = {"TPROV_KEYS": first.out}
    second = json.loads(terminal.run(*TPROV, "keys", "new", env=env).out)
    assert second["keys"].items() > json.loads(first.out)["keys"].items()
    assert second["active"] != json.loads(first.out)["active"]

    keys = secrets_of(keyfile.parse(first.out, name="", remedy=""))
    refused = _on_a_terminal(terminal, "keys", "new", env=env)
    assert "is secret" in refused
    assert found_in(refused.encode(), keys) == set()
    assert list(tmp_path.rglob("keys.json")) == []


def _on_a_terminal(terminal: Terminal, *words: str, env: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [*TPROV, *words],
            env=terminal.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # as Linux tells the end of a terminal
            pass
        assert done.returncode == 1
        return (shown + done.stderr).decode()
    finally:
        os.close(ours)


async def test_services_worker_and_starter_share_a_ring_that_no_file_holds(
    tmp_path: Path, toolchain: Any
) -> None:
    """Each a process; a run is approved and applied, the Web UI's codec server decodes it.

    No file has a key, no program of others gets the variable, no command shows one.
    """
    home = tmp_path / "home"
    terminal = Terminal(home)
    keys = keyfile.fresh()
    secret = secrets_of(keys)
    env = {"TPROV_KEYS": json.dumps(document_of(keys))}
    processes = Processes(secret)
    said: dict[str, str] = {}

    async def typed(*words: str) -> str:
        done = await asyncio.to_thread(terminal.run, *TPROV, *words, env=env)
        said[" ".join(words)] = done.out + done.err
        return f"{done.code} {' '.join((done.out + done.err).split())}"

    with ExitStack() as stack:
        up = stack.enter_context(
            terminal.runs("up", "--no-worker", log=tmp_path / "up.log", env=env)
        )
        await asyncio.to_thread(
            until_said, tmp_path / "up.log", "closes them", process=up, limit=40
        )
        worker = stack.enter_context(
            terminal.runs("worker", "--task-queue", "env", log=tmp_path / "w.log", env=env)
        )
        await asyncio.to_thread(until_said, tmp_path / "w.log", "Polling", process=worker, limit=40)
        stack.enter_context(processes.watched(worker.pid, up.pid))
        told = await typed(
            "start", "shared", "-c", "terraform/tcloud_admin_user", "--task-queue", "env"
        )
        assert told.startswith("0 "), told

        info = await attach(home)
        assert info is not None
        settings = local_settings(info, root=ROOT, home=home, environ={})
        ring = KeyRing.find(settings.key_ring, environ=env)
        reader = Platform(Any, Any, settings, ring, toolchain, Any)  # type: ignore[arg-type]
        client = await reader.client()
        await until(client, await runs.run_of(client, "shared"), asks)
        assert (await typed("approve", "shared", "--reason", "agreed")).startswith("0 ")
        told = await typed("status", "shared", "--watch")
        assert "stack-shared applied" in told

        decoded = await asyncio.to_thread(shown_by_temporal, reader, "stack-shared")
        assert "undecodable" not in decoded
        assert '"reason":"agreed"' in decoded.replace(" ", "")
        told = await typed("keys", "list")
        assert f"{keys.active}" in told
        assert "They are in TPROV_KEYS" in told
        told = await typed("doctor")
        assert "TPROV_KEYS" in told
        told = await typed("keys", "rotate")
        assert told.startswith("1 The key ring is in TPROV_KEYS, which is not ours to write"), told
        told = await typed("keys", "drop", keys.active, "--yes")
        assert told.startswith("1 "), told
        for process in psutil.Process(up.pid).children(recursive=True):
            processes.look_at(process)

    _nothing_rests(tmp_path, secret, said)
    assert {"terraform", "opa", "temporal", "provider"} <= processes.names
    ours = {w for w in processes.seen if w.startswith("environment of python")}
    assert processes.seen.keys() == ours, processes.seen
    assert "environment of python -P -m tprov_kernel.payloads.server" in ours
    assert not [where for where in ours if "standin" in where]


def _nothing_rests(folder: Path, secret: dict[str, str], said: dict[str, str]) -> None:
    logs = {path.name: path.read_text() for path in folder.glob("*.log")}
    for where, text in (said | logs).items():
        assert found_in(text.encode(), secret) == set(), where
    assert files_with(folder, secret, but={}) == {}
    assert list(folder.rglob("keys.json*")) == []


# --- no ring at all ------------------------------------------------------------------------------


def _made(folder: Path) -> list[Path]:
    return list(folder.rglob("keys.json*"))


def _nobody(platform: Platform) -> dict[str, str]:
    return {"TEMPORAL_ADDRESS": "127.0.0.1:1"}


def _somebody(platform: Platform) -> dict[str, str]:
    return {"TEMPORAL_ADDRESS": platform.settings.address}


@pytest.mark.parametrize("there", [_nobody, _somebody])
def test_a_look_makes_no_key_ring(
    platform: Platform, tmp_path: Path, there: Callable[[Platform], dict[str, str]]
) -> None:
    """Neither on a server that does not answer nor on one that does."""
    terminal = Terminal(tmp_path / "home")
    for words in (("status",), ("doctor",), ("keys", "list"), ("status", "none")):
        said = terminal.run(*TPROV, *words, "--target", "remote", env=there(platform))
        assert "Traceback" not in said.err
        assert said.out + said.err
    assert list(tmp_path.rglob("keys.json*")) == []


async def test_a_reader_without_keys_is_told_where_they_would_have_to_be(
    own: Platform, tmp_path: Path
) -> None:
    """Another machine looks at a run: what it can see, and one sentence for what it cannot."""
    client = await own.client()
    async with own.worker(client, task_queue="afar") as settings:
        handle = await start(client, settings, own, "afar", ADMIN)
        await until(client, handle, asks)
        terminal = Terminal(tmp_path / "other")
        for words in (("audit", "afar"), ("status", "afar", "--json"), ("status", "afar")):
            said = await asyncio.to_thread(
                terminal.run, *TPROV, *words, "--target", "remote", env=_somebody(own)
            )
            told = " ".join((said.out + said.err).split())
            assert "Traceback" not in told
            if words[0] == "audit":
                assert "A plan cannot be read" in told
                continue
            assert "there is no key ring at" in told, told
            assert "other/remote/keys.json" in told
            assert "TPROV_KEYS" in told
    assert not _made(tmp_path / "other")

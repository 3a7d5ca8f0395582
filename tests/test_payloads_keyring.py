"""The key ring: generated, private, rotated without losing anything, and clear when it cannot."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tprov_kernel.errors import SealBroken, SettingsError, TooLarge
from tprov_kernel.payloads import keyring
from tprov_kernel.payloads.keyring import KeyRing

# How long an example takes says more of a busy machine than of the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

RING = KeyRing.in_memory()


# --- the file ------------------------------------------------------------------------------------


def test_a_key_ring_is_generated_once_private_and_found_again(tmp_path: Path) -> None:
    """The first call writes it with mode 0600 into a private folder; the next reads the same."""
    path = tmp_path / "home" / "keys.json"
    first = KeyRing.load_or_create(path)
    second = KeyRing.load_or_create(path)

    assert second.active == first.active
    assert second.unseal(first.seal(b"plan", kind="plan"), kind="plan") == b"plan"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_two_workspaces_never_share_a_key(tmp_path: Path) -> None:
    """There is no default key: each ring is its own."""
    one = KeyRing.load_or_create(tmp_path / "one.json")
    two = KeyRing.load_or_create(tmp_path / "two.json")

    with pytest.raises(SealBroken):
        two.unseal(one.seal(b"x", kind="plan"), kind="plan")
    assert one.mac(b"x") != two.mac(b"x")


def test_many_processes_that_start_at_once_get_the_same_key_ring(tmp_path: Path) -> None:
    """Services, worker and kernel start together: one of them generates, all read that."""
    path = tmp_path / "keys.json"
    code = (
        "import sys; from pathlib import Path\n"
        "from tprov_kernel.payloads.keyring import KeyRing\n"
        "ring = KeyRing.load_or_create(Path(sys.argv[1]))\n"
        "print(ring.active, ring.mac(b'x'))"
    )
    starts = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    outputs = {process.communicate(timeout=60)[0] for process in starts}

    assert [process.returncode for process in starts] == [0] * 6
    assert len(outputs) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["keys.json", "keys.json.lock"]


def test_key_ids_and_texts_about_the_ring_reveal_no_key(tmp_path: Path) -> None:
    """An id is random, and the object's text shows no secret."""
    path = tmp_path / "keys.json"
    ring = KeyRing.load_or_create(path)
    document = json.loads(path.read_text())
    secrets = [entry["key"] for entry in document["keys"].values()] + [document["mac_key"]]

    shown = repr(ring) + ring.active + repr(vars(ring)) + ring.seal(b"x", kind="plan")
    assert not [secret for secret in secrets if secret in shown]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_ring_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """As ssh does with a private key; the remedy names the command."""
    path = tmp_path / "keys.json"
    KeyRing.load_or_create(path)
    path.chmod(mode)

    with pytest.raises(SettingsError, match=r"Others may read .*`chmod 600"):
        KeyRing.load(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("mac_key"),
        lambda d: d.update(active="k000000000000"),
        lambda d: d.update(keys={}),
        lambda d: d.update(format=2),
        lambda d: d.update(mac_key="c2hvcnQ="),
        lambda d: d["keys"].update({d["active"]: {"key": "not base64!", "created": ""}}),
        lambda d: d["keys"].update({"../up": d["keys"][d["active"]]}),
    ],
)
def test_a_damaged_key_ring_is_a_sentence_not_a_stack_trace(tmp_path: Path, change) -> None:  # type: ignore[no-untyped-def]
    """Whatever is wrong with the file, the error says what it means and overwrites nothing."""
    path = tmp_path / "keys.json"
    KeyRing.load_or_create(path)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(damaged := json.dumps(document))

    with pytest.raises(SettingsError, match="is no key ring"):
        KeyRing.load_or_create(path)
    assert path.read_text() == damaged


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"keys": 3}', "\ud800"])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, content: str) -> None:
    """An empty, half-written or foreign file is not taken for a key ring, and not overwritten."""
    path = tmp_path / "keys.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    path.chmod(0o600)

    with pytest.raises(SettingsError, match="is no key ring"):
        KeyRing.load_or_create(path)


def test_a_missing_key_ring_is_not_silently_replaced_by_load(tmp_path: Path) -> None:
    """`load` is for readers: they say that it is gone instead of making another."""
    with pytest.raises(SettingsError, match="There is no key ring"):
        KeyRing.load(tmp_path / "keys.json")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_no_file_is_a_sentence(tmp_path: Path) -> None:
    """A file where the folder should be stands for every folder that cannot be written."""
    (tmp_path / "home").write_text("")

    with pytest.raises(SettingsError, match=r"cannot be written.*TPROV_HOME"):
        KeyRing.load_or_create(tmp_path / "home" / "keys.json")


# --- rotation ------------------------------------------------------------------------------------


def test_rotation_keeps_old_values_readable_and_digests_the_same(tmp_path: Path) -> None:
    """New values use the new key; nothing that was sealed or digested is lost."""
    ring = KeyRing.load_or_create(tmp_path / "keys.json")
    old, old_text, digest = ring.active, ring.seal(b"old", kind="plan"), ring.mac(b"x")
    new = ring.rotate()
    new_text = ring.seal(b"new", kind="plan")
    again = KeyRing.load(tmp_path / "keys.json")

    assert (again.active, list(again.created)) == (new, [old, new])
    assert old in old_text
    assert new in new_text
    assert [again.unseal(t, kind="plan") for t in (old_text, new_text)] == [b"old", b"new"]
    assert again.mac(b"x") == digest
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600


def test_a_running_worker_notices_that_another_process_rotated(tmp_path: Path) -> None:
    """It reads what was sealed with the new key, and seals with it itself."""
    worker = KeyRing.load_or_create(tmp_path / "keys.json")
    command = KeyRing.load(tmp_path / "keys.json")
    new = command.rotate()

    assert worker.unseal(command.seal(b"x", kind="plan"), kind="plan") == b"x"
    assert new in worker.seal(b"y", kind="plan")


def test_a_worker_goes_on_with_its_keys_when_the_file_vanishes_or_breaks(tmp_path: Path) -> None:
    """The runs it holds stay readable to it."""
    path = tmp_path / "keys.json"
    ring = KeyRing.load_or_create(path)
    text = ring.seal(b"x", kind="plan")

    path.write_text("{")
    assert ring.unseal(text, kind="plan") == b"x"
    path.unlink()
    assert ring.unseal(ring.seal(b"y", kind="plan"), kind="plan") == b"y"


def test_another_ring_in_the_file_s_place_takes_nothing_away(tmp_path: Path) -> None:
    """It adds its keys for reading; ours stay, the active one and that for digests too.

    When the right file is back, a rotation there is noticed as ever.
    """
    path, copy = tmp_path / "keys.json", tmp_path / "copy"
    worker = KeyRing.load_or_create(path)
    before, digest, ours = worker.seal(b"ours", kind="plan"), worker.mac(b"x"), worker.active
    path.rename(copy)
    theirs = KeyRing.load_or_create(path).seal(b"theirs", kind="plan")

    assert worker.unseal(before, kind="plan") == b"ours"
    assert worker.unseal(theirs, kind="plan") == b"theirs"
    assert (worker.active, worker.mac(b"x")) == (ours, digest)
    with pytest.raises(SettingsError, match="another key ring"):
        worker.rotate()

    copy.rename(path)
    rotated = KeyRing.load(path).rotate()
    worker.refresh()
    assert worker.active == rotated
    assert worker.unseal(before, kind="plan") == b"ours"


@pytest.mark.parametrize("what", ["stacks/happy/journal.jsonl", "audits/happy-1.md"])
def test_a_lost_ring_is_not_replaced_by_a_new_one(tmp_path: Path, what: str) -> None:
    """A new one would hide the loss, until somebody approves what nobody can read."""
    (tmp_path / what).parent.mkdir(parents=True)
    (tmp_path / what).write_text("x")
    ring = KeyRing.find(tmp_path / "keys.json", environ={})
    for use in (lambda: ring.seal(b"x", kind="plan"), lambda: ring.mac(b"x"), ring.make):
        with pytest.raises(SettingsError, match="There is no key ring at") as raised:
            use()
        assert "Put its copy back" in raised.value.remedy
        assert "tprov reset" in raised.value.remedy
    assert not (tmp_path / "keys.json").exists()


def test_a_dropped_key_is_gone_for_everybody_at_the_next_use(tmp_path: Path) -> None:
    """A running codec server must not go on reading what was meant to be unreadable."""
    path = tmp_path / "keys.json"
    server = KeyRing.load_or_create(path)
    old, text = server.active, server.seal(b"x", kind="plan")
    command = KeyRing.load(path)
    with pytest.raises(SettingsError, match="is the active key"):
        command.drop(old)
    command.rotate()
    command.drop(old)

    with pytest.raises(SealBroken, match=f"{old}.* which the key ring lacks"):
        server.unseal(text, kind="plan")
    with pytest.raises(SettingsError, match="holds no key"):
        command.drop(old)
    assert list(KeyRing.load(path).created) == [command.active]


def test_rotations_at_once_lose_no_key(tmp_path: Path) -> None:
    """Each adds its own; the lock keeps one from overwriting the other's."""
    path = tmp_path / "keys.json"
    KeyRing.load_or_create(path)
    threads = [threading.Thread(target=KeyRing.load(path).rotate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert len(KeyRing.load(path).created) == 9


# --- sealing -------------------------------------------------------------------------------------


@given(data=st.binary(max_size=4096), kind=st.sampled_from(["plan", "snapshot", "secrets"]))
def test_what_was_sealed_opens_again_and_only_as_its_kind(data: bytes, kind: str) -> None:
    """For any bytes; the text is plain ASCII, and another kind is refused by name."""
    text = RING.seal(data, kind=kind)

    assert RING.unseal(text, kind=kind) == data
    assert text.isascii()
    with pytest.raises(SealBroken, match="cannot be opened as a other"):
        RING.unseal(text, kind="other")


def test_a_kind_cannot_be_exchanged_in_the_text() -> None:
    """The kind is authenticated: writing another one over it does not help."""
    text = RING.seal(b"secret plan", kind="plan")

    with pytest.raises(SealBroken, match="was changed"):
        RING.unseal(text.replace(".plan.", ".other."), kind="other")


def test_the_same_value_never_looks_the_same_twice() -> None:
    """Each has its own nonce."""
    assert len({RING.seal(b"x" * 100, kind="plan") for _ in range(200)}) == 200


@given(at=st.integers(min_value=0, max_value=10_000), bit=st.integers(min_value=0, max_value=7))
def test_no_changed_character_goes_unnoticed(at: int, bit: int) -> None:
    """A flipped bit anywhere is an error, never wrong data and never another exception."""
    text = RING.seal(b"the plan that was approved", kind="plan")
    at %= len(text)
    changed = text[:at] + chr(ord(text[at]) ^ (1 << bit)) + text[at + 1 :]

    try:
        opened = RING.unseal(changed, kind="plan")
    except SealBroken:
        return
    # The last sign of base64 may carry bits that count for nothing.
    assert at == len(text.rstrip("=")) - 1
    assert opened == b"the plan that was approved"


@given(text=st.one_of(st.text(max_size=200), st.text(max_size=60).map("tprov1.plan.k0.".__add__)))
def test_any_other_text_is_refused_in_words(text: str) -> None:
    """Garbage of every kind raises `SealBroken` and nothing else."""
    with pytest.raises(SealBroken):
        RING.unseal(text, kind="plan")


def test_a_value_under_a_lost_key_says_which_key_is_missing() -> None:
    """The sentence names the key's id, so that a person can look for the right file."""
    other = KeyRing.in_memory()

    with pytest.raises(SealBroken, match=f"{other.active}.* which the key ring lacks"):
        RING.unseal(other.seal(b"x", kind="plan"), kind="plan")


def test_sealing_compresses_and_unpacking_is_bounded() -> None:
    """A megabyte of plan fits into a payload; a value that unpacks to too much is refused."""
    text = RING.seal(b'{"name": "value"}' * 60_000, kind="plan")
    assert len(text) < 20_000

    with pytest.raises(TooLarge, match="at most"):
        RING.seal(bytes(keyring.MAX_UNSEALED + 1), kind="plan")


def test_a_bomb_made_with_the_right_key_is_not_unpacked() -> None:
    """Not even who holds the key can make us fill the memory."""
    packer = zlib.compressobj(1)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(80)) + packer.flush()
    box = RING.encrypt(bomb, about=b"seal\0plan")
    raw = base64.b64encode(box.nonce + box.data).decode()

    with pytest.raises(SealBroken, match="unpacks to more than"):
        RING.unseal(f"tprov1.plan.{box.key_id}.{raw}", kind="plan")


def test_a_kind_must_be_a_word() -> None:
    """It stands in the text between two dots."""
    with pytest.raises(ValueError, match="a kind is"):
        RING.seal(b"", kind="Plan.file")


def test_the_modules_are_cheap_to_import() -> None:
    """Neither the Temporal SDK nor OpenSSL is loaded before it is needed."""
    code = (
        "import sys, tprov_kernel.payloads.keyring\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'temporalio', 'cryptography', "
        "'aiohttp', 'google', 'filelock'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "[]"

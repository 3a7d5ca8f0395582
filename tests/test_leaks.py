"""The canary test can fail: a leak of each kind is planted, and found."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import os
import sqlite3
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tests.leaks import Processes, canary, files_with, found_in
from tprov_kernel.payloads.keyring import KeyRing


def _zip(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tfplan", text * 3)
    return buffer.getvalue()


FORMS: dict[str, Callable[[str], bytes]] = {
    "raw": str.encode,
    "JSON": lambda s: json.dumps({"a": s}).encode(),
    "JSON in JSON": lambda s: json.dumps(json.dumps([s])).encode(),
    "HTML": lambda s: html.escape(s).encode(),
    "URL": lambda s: quote(s, safe="").encode(),
    "form": lambda s: quote_plus(s).encode(),
    "hex": lambda s: s.encode().hex().encode(),
    "base64": lambda s: base64.b64encode(s.encode()),
    "base64, one on": lambda s: base64.b64encode(b"x" + s.encode()),
    "base64, two on": lambda s: base64.urlsafe_b64encode(b"xy" + s.encode()),
    "payload": lambda s: base64.b64encode(json.dumps({"data": "x" * 200 + s}).encode()),
    "zlib": lambda s: b"abc" + zlib.compress(s.encode() * 3) + b"def",
    "gzip": lambda s: gzip.compress(s.encode() * 3),
    "a plan file": _zip,
    "base64 of zlib": lambda s: base64.b64encode(
        zlib.compress((s + "pad" * 20).encode()) + bytes(200)
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("odd", [False, True])
def test_a_planted_secret_is_found_in_every_form(form: str, odd: bool, tmp_path: Path) -> None:
    """In a file, by its name; not where it may be; and another's secret is not found."""
    secret, other = canary("planted", odd=odd), canary("other")
    (tmp_path / "log").write_bytes(b"before " + FORMS[form](secret) + b" after")
    both = {"planted": secret, "other": other}

    assert files_with(tmp_path, both, but={}) == {"log": {"planted"}}
    assert files_with(tmp_path, both, but={"lo.": {"planted"}}) == {}


def test_a_planted_secret_is_found_in_a_database(tmp_path: Path) -> None:
    """Also in its write-ahead log."""
    secret = canary("database")
    database = sqlite3.connect(tmp_path / "temporal.db")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE history (data BLOB)")
    database.execute("INSERT INTO history VALUES (?)", (secret.encode(),))
    database.commit()
    found = files_with(tmp_path, {"database": secret}, but={})
    database.close()
    assert found


@pytest.mark.parametrize("where", ["arguments", "environment"])
def test_a_planted_secret_is_found_in_a_child(where: str) -> None:
    """In its arguments, and in what it inherited."""
    secret = canary("child")
    argv = [sys.executable, "-c", "input()", *([secret] if where == "arguments" else [])]
    env = {"SECRET": secret} if where == "environment" else {}
    processes = Processes({"child": secret})
    with processes.watched(os.getpid()):
        child = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE)
        try:
            for _ in range(200):
                if processes.seen:
                    break
                time.sleep(0.05)
        finally:
            child.communicate(b"\n", timeout=10)
    assert [(k.split(" of ")[0], v) for k, v in processes.seen.items()] == [(where, {"child"})]


def test_what_is_sealed_is_not_found() -> None:
    """Encrypted bytes hold no form of it."""
    secret = canary("sealed")
    sealed = KeyRing.in_memory().seal(secret.encode(), kind="plan")
    assert found_in(sealed.encode(), {"sealed": secret}) == set()

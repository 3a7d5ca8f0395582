"""A setting that is wrong is named, with what it has to look like, and never shown.

What is in the wrong place may be a key: pasted into the next variable, or with its quotation mark
forgotten in `temporal.toml`. It must not get into a terminal's scroll-back or a notebook's output.
"""

from __future__ import annotations

import asyncio
import json
import traceback
from pathlib import Path

import pytest

from tests.cli.typed import TPROV, Terminal
from tests.conftest import ROOT, Platform
from tprov_kernel.errors import SettingsError
from tprov_kernel.settings import remote_settings

CANARY = "cnry-toml-5f1e2d3c4b"
TOKEN = "eyJhbGciOiJFUzI1NiIsImtpZCI6Ilcy.eyJhY2NvdW50X2lkIjoiYWNjdCIsImF1ZCI6.c2lnbmF0dXJl"
PEM = "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n"
BASE64 = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgk2Zt0Yx8qPv" * 6


def said(terminal: Terminal, env: dict[str, str]) -> str:
    """What the doctor says of both targets, and a command that would use the remote one."""
    every = [
        terminal.type(*words, env=env)
        for words in (
            ("doctor",),
            ("doctor", "--target", "remote"),
            ("status", "--target", "remote"),
        )
    ]
    return " ".join("".join(one.out + one.err for one in every).split())


@pytest.mark.parametrize(
    ("line", "kind", "at"),
    [
        (f'api_key = "{CANARY}', "a text has no quotation mark at its end", "line 3, column 32"),
        (f"api_key = {CANARY}", "a text has no quotation marks", "line 3, column 11"),
        (f'api_key = ["{CANARY}"]', "a list where a text belongs", "line 3, column 11"),
        ("api_key = 5501234", "a number where a text belongs", "line 3, column 11"),
        (f'tls = "{CANARY}"', "a text where a table belongs", "line 3, column 7"),
        (f'api_key = "a"\napi_key = "{CANARY}"', "a name is set twice", "line 4, column 1"),
        (CANARY, "a name without = and a value", "line 3, column 21"),
        (f'api_key = "{CANARY}" oops', "it is no TOML", "line 3, column "),
        (f'api_key = "\\q{CANARY}"', "it is no TOML", "line 3, column "),
        (f'[profile.default.api_key]\nx = "{CANARY}"', "a table where", "line 3, column 1"),
    ],
)
def test_what_is_wrong_with_a_profile_is_told_without_its_line(
    tmp_path: Path, line: str, kind: str, at: str
) -> None:
    """File, line, column and kind; not the line, which the SDK quotes, and which holds the key."""
    file = tmp_path / "temporal.toml"
    file.write_text(f'[profile.default]\naddress = "h:7233"\n{line}\nnamespace = "x"\n')
    told = said(Terminal(tmp_path / "home"), {"TEMPORAL_CONFIG_FILE": str(file)})
    assert CANARY not in told
    assert "5501234" not in told
    assert f"The SDK cannot read {file}, {at}" in told
    assert kind in told


def test_no_traceback_shows_it_either(tmp_path: Path) -> None:
    """Whoever calls it from a script of their own sees our sentence, and no cause of it."""
    file = tmp_path / "temporal.toml"
    file.write_text(f'[profile.default]\napi_key = "{CANARY}')
    with pytest.raises(SettingsError) as raised:
        remote_settings({"TEMPORAL_CONFIG_FILE": str(file)}, root=ROOT)
    assert CANARY not in "".join(traceback.format_exception(raised.value))
    assert raised.value.__context__ is None


HOST = {"TEMPORAL_HOST_URL": "127.0.0.1:9"}


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"TEMPORAL_HOST_URL": f"https://user:{CANARY}@host.example"},
         "TEMPORAL_HOST_URL has to be host:port; it begins as a web address does, and there is a"
         " name or a password in it, and it has no port."),
        ({"TEMPORAL_HOST_URL": f"user:{CANARY}@host:7233"}, "a name or a password in it"),
        ({"TEMPORAL_HOST_URL": CANARY}, "TEMPORAL_HOST_URL has to be host:port; it has no port"),
        ({"TEMPORAL_ADDRESS": CANARY}, "TEMPORAL_ADDRESS has to be host:port"),
        (HOST | {"TEMPORAL_ADDRESS": CANARY}, "TEMPORAL_ADDRESS has to be host:port"),
        (HOST | {"TEMPORAL_CLOUD_ENDPOINT": f"https://u:{CANARY}@h"},
         "TEMPORAL_CLOUD_ENDPOINT has to be host:port"),
        (HOST | {"ENCRYPT_PAYLOADS": CANARY}, "ENCRYPT_PAYLOADS is neither true nor false."),
        (HOST | {"TEMPORAL_TLS": CANARY}, "TEMPORAL_TLS is neither true nor false."),
        (HOST | {"TEMPORAL_CLOUD_ALLOW_INSECURE": CANARY},
         "TEMPORAL_CLOUD_ALLOW_INSECURE is neither true nor false."),
        (HOST | {"TEMPORAL_CONFIG_FILE": CANARY}, "TEMPORAL_CONFIG_FILE names no file"),
        (HOST | {"TEMPORAL_PROFILE": CANARY}, "no profile of the name that TEMPORAL_PROFILE says"),
    ],
)  # fmt: skip
def test_a_value_in_the_wrong_place_is_not_echoed(
    tmp_path: Path, env: dict[str, str], words: str
) -> None:
    """The variable is named, and what it has to look like."""
    told = said(Terminal(tmp_path / "home"), env)
    assert CANARY not in told
    assert words in told


KEY = {"TEMPORAL_API_KEY": "cnry-key"}
FAR = {"TEMPORAL_HOST_URL": "temporal.invalid:7233"}


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (FAR | KEY | {"TEMPORAL_TLS": "false"},
         "TEMPORAL_TLS switches TLS off, and the API key of TEMPORAL_API_KEY would be sent to"
         " temporal.invalid:7233 without encryption."),
        (FAR | KEY | {"TEMPORAL_TLS": "no"}, "TEMPORAL_TLS is neither true nor false."),
        (HOST | {"TEMPORAL_CLOUD_API_KEY": "cnry-key", "TEMPORAL_CLOUD_ALLOW_INSECURE": "true"},
         "TEMPORAL_CLOUD_ALLOW_INSECURE would send TEMPORAL_CLOUD_API_KEY to"
         " saas-api.tmprl.cloud:443 without encryption."),
    ],
)  # fmt: skip
def test_no_key_leaves_the_machine_without_encryption(
    tmp_path: Path, env: dict[str, str], words: str
) -> None:
    """Refused before anything is sent; what the SDK would ignore is refused, too."""
    told = Terminal(tmp_path / "home").type("status", "--target", "remote", env=env)
    assert words in " ".join(told.err.split())
    assert told.code == 1


def test_what_others_could_read_is_said_by_the_doctor_and_by_a_worker(tmp_path: Path) -> None:
    """A key without TLS, which may go to a proxy on this machine only; payloads in the clear."""
    env = HOST | KEY | {"TEMPORAL_TLS": "false", "ENCRYPT_PAYLOADS": "false"}
    terminal = Terminal(tmp_path / "home")
    for command in ("doctor", "worker"):
        told = terminal.type(command, "--target", "remote", env=env)
        text = " ".join((told.out + told.err).split())
        assert "whoever may read runs on 127.0.0.1:9 can read variables" in text
        assert "TLS is off: the API key goes to 127.0.0.1:9 without encryption." in text
        assert "cnry-key" not in text
    report = json.loads(terminal.type("doctor", "--json", "--target", "remote", env=env).out)
    states = {row["name"]: row["state"] for row in report["settings"]}
    assert (states["tls"], states["encrypt payloads"], states["address"]) == ("note", "note", "ok")


async def test_so_it_is_where_a_run_starts(platform: Platform, tmp_path: Path) -> None:
    """Before it does."""
    env = {"TEMPORAL_HOST_URL": platform.settings.address, "ENCRYPT_PAYLOADS": "false"}
    env["TEMPORAL_INFRA_PROVISION_TASK_QUEUE"] = "nobody-polls-it"
    words = ("start", "clear", "-c", "terraform/tcloud_namespace", "--target", "remote")
    told = await asyncio.to_thread(Terminal(tmp_path / "home").run, *TPROV, *words, env=env)
    assert told.code == 0, told.err
    await (await platform.client()).get_workflow_handle("stack-clear").terminate()
    assert "ENCRYPT_PAYLOADS switches payload encryption off" in told.err


@pytest.mark.parametrize(("value", "words"), [("", "yes"), ("false", "no")])
def test_a_variable_without_a_value_switches_nothing_off(
    tmp_path: Path, value: str, words: str
) -> None:
    """`ENCRYPT_PAYLOADS=` is as good as not set."""
    env = HOST | {"ENCRYPT_PAYLOADS": value}
    told = Terminal(tmp_path / "home").type("doctor", "--json", "--target", "remote", env=env)
    rows = {row["name"]: row for row in json.loads(told.out)["settings"]}
    assert rows["encrypt payloads"]["words"] == words


def test_a_client_key_that_others_may_read_is_noted(tmp_path: Path) -> None:
    """With the command that mends it."""
    cert, key = tmp_path / "client.pem", tmp_path / "client.key"
    for file in (cert, key):
        file.write_text("x")
        file.chmod(0o644)
    env = HOST | {"TEMPORAL_MTLS_TLS_CERT": str(cert), "TEMPORAL_MTLS_TLS_KEY": str(key)}
    terminal = Terminal(tmp_path / "home")
    for mode, state in ((0o644, "note"), (0o640, "note"), (0o600, "ok")):
        key.chmod(mode)
        told = json.loads(terminal.type("doctor", "--json", "--target", "remote", env=env).out)
        row = next(row for row in told["settings"] if row["name"] == "tls key")
        assert row["state"] == state
        assert row["remedy"] == (f"Run `chmod 600 {key}`." if state == "note" else "")


@pytest.mark.parametrize("name", ["TEMPORAL_TLS_CLIENT_KEY_PATH", "TEMPORAL_MTLS_TLS_KEY"])
@pytest.mark.parametrize("value", [CANARY, TOKEN, BASE64, f"/{BASE64}", PEM, "/" + "k/" * 400])
def test_a_key_in_place_of_its_file_s_path_is_not_echoed(
    tmp_path: Path, name: str, value: str
) -> None:
    """However long it is: the system's own words for a name that is too long quote it."""
    told = said(
        Terminal(tmp_path / "home"), HOST | {"TEMPORAL_MTLS_TLS_CERT": __file__, name: value}
    )
    assert name in told
    for part in (value.split("\n")[1] if value == PEM else value[:40], "k/k/k/k/"):
        assert part not in told


def test_a_mistyped_path_is_shown(tmp_path: Path) -> None:
    """That is how people find the mistake in it."""
    for path in ("/certs/client.pem", "./client.pem", "~/client.pem", "client.pem", "c/client.pem"):
        told = said(Terminal(tmp_path / "home"), HOST | {"TEMPORAL_MTLS_TLS_CERT": path})
        assert f"TEMPORAL_MTLS_TLS_CERT names {path}, which is no file." in told


@pytest.mark.parametrize(
    "name",
    [
        "TEMPORAL_NAMESPACE",
        "TEMPORAL_TLS_SERVER_NAME",
        "TEMPORAL_CLOUD_ALLOWED_ACCOUNT_ID",
        "TEMPORAL_INFRA_PROVISION_TASK_QUEUE",
    ],
)
def test_a_key_is_no_name(tmp_path: Path, name: str) -> None:
    """A namespace or a task queue is shown, and sent in the clear: a key there is refused."""
    told = said(Terminal(tmp_path / "home"), HOST | {name: TOKEN})
    assert TOKEN not in told
    assert f"{name} looks like a JSON web token" in told

    told = said(
        Terminal(tmp_path / "home"), HOST | {name: CANARY, "TEMPORAL_CLOUD_API_KEY": CANARY}
    )
    assert CANARY not in told
    assert f"{name} is the same as TEMPORAL_CLOUD_API_KEY" in told


def test_a_key_in_a_profile_s_namespace_is_refused(tmp_path: Path) -> None:
    """The same, where it was typed into the file."""
    file = tmp_path / "temporal.toml"
    file.write_text(f'[profile.default]\naddress = "127.0.0.1:9"\nnamespace = "{TOKEN}"\n')
    told = said(Terminal(tmp_path / "home"), {"TEMPORAL_CONFIG_FILE": str(file)})
    assert TOKEN not in told
    assert "The namespace (profile default of temporal.toml" in told


def test_the_profiles_that_are_there_are_told(tmp_path: Path) -> None:
    """In place of the name that was asked for."""
    file = tmp_path / "temporal.toml"
    file.write_text('[profile.default]\naddress = "h:1"\n[profile.prod]\naddress = "p:1"\n')
    env = {"TEMPORAL_CONFIG_FILE": str(file), "TEMPORAL_PROFILE": "pord"}
    assert "It has default, prod." in said(Terminal(tmp_path / "home"), env)

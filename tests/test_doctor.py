"""`tprov doctor`: names what is wrong and what to do, shows no secret, works when all is broken."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from tests.cli.typed import Terminal
from tests.conftest import ROOT, Platform
from tprov_kernel.cli.doctor import Report, examine, picture
from tprov_kernel.cli.looks import Line
from tprov_kernel.cli.place import Place
from tprov_kernel.services import is_in_use

CLOUD = "ns.acct.tmprl.cloud:7233"


def place(home: Path, *, root: Path = ROOT, remote: bool = False) -> Place:
    """A workspace with data of its own."""
    return Place(target="remote" if remote else "local", root=root, home=home)


async def look(where: Place, environ: Mapping[str, str] | None = None) -> Report:
    """Examine with nothing around but what is given."""
    return await examine(where, environ or {})


def line(report: Report, section: str, name: str) -> Line:
    """One line by its name."""
    return next(found for found in report.sections[section] if found.name == name)


async def test_all_is_well_where_the_services_are_open(platform: Platform) -> None:
    """Tools with version and origin; the server and the stand-in answer; keys are only counted."""
    report = await look(place(platform.settings.home))
    assert report.problems == []
    terraform = line(report, "tools", "terraform")
    assert (terraform.version, terraform.origin) == (
        platform.toolchain.terraform.version,
        platform.toolchain.terraform.origin,
    )
    assert line(report, "services", "Temporal server").words.endswith("answers")
    assert "takes the key" in line(report, "services", "Cloud API (stand-in)").words
    assert "process" in line(report, "settings", "address").origin
    assert line(report, "keys", "key ring").words == "1 key"
    assert line(report, "keys", "stand-in's key").words == "present"


async def test_without_services_it_says_how_to_open_them(tmp_path: Path) -> None:
    """That is worth knowing and nothing to put right; looking makes nothing."""
    report = await look(place(tmp_path / "home"))
    assert report.ok
    services = line(report, "services", "services")
    assert (services.state, services.problem) == ("note", "No services are open.")
    assert "tprov up" in services.remedy
    assert not (tmp_path / "home").exists()
    assert not await is_in_use(tmp_path / "home")


def test_missing_tools_are_named_with_a_remedy(tmp_path: Path) -> None:
    """Nothing on PATH, nothing of ours: exit code 1, and each missing tool has its sentence."""
    nothing = {"PATH": str(tmp_path), "TPROV_TOOLS": str(tmp_path / "tools")}
    said = Terminal(tmp_path / "home").type("doctor", "--json", env=nothing)
    assert said.code == 1
    told = json.loads(said.out)
    assert told["ok"] is False
    bad = {tool["name"]: tool for tool in told["tools"] if tool["state"] == "bad"}
    assert {"terraform", "provider", "opa"} <= set(bad)
    assert all("setup" in tool["remedy"] for tool in bad.values())
    shown = Terminal(tmp_path / "home").type("doctor", env=nothing)
    assert shown.code == 1
    assert "There is no opa that can be used" in shown.out


async def test_everything_broken_at_once_is_still_a_report(tmp_path: Path) -> None:
    """No workspace, a file where data should be: a line each, no exception."""
    (tmp_path / "file").write_text("")
    report = await look(place(tmp_path / "file" / "home", root=tmp_path))
    assert not report.ok
    assert "no terraform and no policies" in line(report, "workspace", "folder").problem
    assert line(report, "workspace", "data").state == "bad"
    assert "TPROV_HOME" in line(report, "workspace", "data").remedy
    assert set(report.sections) == {"tools", "workspace", "settings", "keys", "services", "ports"}


async def test_a_broken_key_ring_is_named(tmp_path: Path) -> None:
    """Without it what it encrypted cannot be read; the sentence comes before a run meets it."""
    (tmp_path / "keys.json").write_text("{}")
    (tmp_path / "keys.json").chmod(0o600)
    ring = line(await look(place(tmp_path)), "keys", "key ring")
    assert ring.state == "bad"
    assert "is no key ring" in ring.problem


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"TEMPORAL_HOST_URL": CLOUD}, "the namespace is 'default'"),
        ({"TEMPORAL_HOST_URL": CLOUD, "TEMPORAL_ADDRESS": "other:7233"}, "TEMPORAL_ADDRESS"),
        ({"TEMPORAL_HOST_URL": "h:7233", "TEMPORAL_MTLS_TLS_CERT": "/none"}, "which is no file"),
        ({"TEMPORAL_HOST_URL": "h:7233", "TEMPORAL_MTLS_TLS_KEY": __file__}, "mTLS needs"),
    ],
)
async def test_contradictions_are_named(
    tmp_path: Path, environ: dict[str, str], words: str
) -> None:
    """Wrong for the remote target; for the local one worth knowing, since it ignores them."""
    remote = await look(place(tmp_path / "home", remote=True), environ)
    assert not remote.ok
    assert words in remote.problems[0].problem
    assert remote.problems[0].remedy

    local = await look(place(tmp_path / "home"), environ)
    assert local.ok
    noted = line(local, "settings", "if remote")
    assert noted.state == "note"
    assert words in noted.problem


async def test_what_local_mode_ignores_is_listed(tmp_path: Path) -> None:
    """By name, so that nobody wonders why their server is not used."""
    environ = {"TEMPORAL_ADDRESS": "somewhere:7233", "TEMPORAL_CLOUD_API_KEY": "secret"}
    ignored = line(await look(place(tmp_path / "home"), environ), "settings", "ignored")
    assert ignored.words == "TEMPORAL_ADDRESS, TEMPORAL_CLOUD_API_KEY"


async def test_remote_settings_come_with_their_origin(platform: Platform, tmp_path: Path) -> None:
    """The variable that won is named; a server that answers is said to; a missing key is noted."""
    environ = {"TEMPORAL_HOST_URL": platform.settings.address}
    report = await look(place(tmp_path / "home", remote=True), environ)
    assert report.ok, report.problems
    address = line(report, "settings", "address")
    assert (address.words, address.origin) == (platform.settings.address, "TEMPORAL_HOST_URL")
    assert "answers" in line(report, "services", "Temporal server").words
    assert line(report, "services", "Cloud API").problem == "No key."
    assert "ports" not in report.sections


async def test_a_dead_server_is_a_problem(tmp_path: Path, unused_tcp_port: int) -> None:
    """For the remote target, where somebody else has to answer."""
    environ = {"TEMPORAL_HOST_URL": f"127.0.0.1:{unused_tcp_port}"}
    report = await look(place(tmp_path / "home", remote=True), environ)
    assert "does not answer" in line(report, "services", "Temporal server").problem


SECRETS = ("TEMPORAL_CLOUD_API_KEY", "TEMPORAL_API_KEY")


@pytest.mark.parametrize("more", [[], ["--json"], ["--target", "remote"]])
def test_no_key_is_ever_shown(platform: Platform, more: list[str], unused_tcp_port: int) -> None:
    """Set or not set is all; the stand-in's own key is not shown either."""
    environ = {name: f"canary-{name.lower()}" for name in SECRETS}
    # a dead endpoint: asking a real one would not belong in a test
    environ |= {
        "TEMPORAL_HOST_URL": f"127.0.0.1:{unused_tcp_port}",
        "TEMPORAL_CLOUD_ENDPOINT": f"127.0.0.1:{unused_tcp_port}",
    }
    said = Terminal(platform.settings.home).type("doctor", *more, env=environ)
    assert "canary" not in said.out + said.err
    assert platform.settings.cloud.api_key not in said.out + said.err
    assert "TEMPORAL_CLOUD_API_KEY" in said.out


def test_a_taken_port_is_no_failure(tmp_path: Path) -> None:
    """Another one is used; who has it is said, as far as this user may know."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8081))
            taken.listen()
        except OSError:
            pass  # somebody has it already: as good
        said = Terminal(tmp_path / "home").type("doctor", "--json")
    ports = {port["name"]: port for port in json.loads(said.out)["ports"]}
    assert said.code == 0
    assert (ports["8081"]["state"], "taken by" in ports["8081"]["words"]) == ("note", True)


def test_the_picture_ends_with_what_to_do() -> None:
    """Problems in full width below the tables, each once, with its remedy."""
    bad = Line(name="x", state="bad", problem="It is broken.", remedy="Mend it.")
    report = Report(target="local", sections={"tools": [bad, bad]})
    console = Console(width=80, color_system=None)
    with console.capture() as captured:
        console.print(picture(report))
    lines = captured.get().rstrip().splitlines()
    assert [text.strip() for text in lines[-2:]] == ["✕ It is broken.", "Mend it."]
    assert captured.get().count("Mend it.") == 1

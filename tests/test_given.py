"""Values of sensitive variables: sealed or by reference, and on disk only while they are needed."""

from __future__ import annotations

import json
import subprocess
import traceback
from pathlib import Path

import pytest

from tests.conftest import Platform
from tprov_kernel.errors import ReferenceMissing
from tprov_kernel.given import MAX_REFERENCED, is_reference, plainly_given, resolve, warning_about
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.redaction import declared_types
from tprov_kernel.stacks import StackDirectory, given_in, take_snapshot

SOURCE = """
variable "region" {}
variable "password" {
  sensitive = true
}
variable "once" {
  type      = string
  ephemeral = true
}
"""


@pytest.fixture
def keys() -> KeyRing:
    """A key ring of the test's own."""
    return KeyRing.in_memory()


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A root module with a public, a sensitive and an ephemeral variable."""
    directory = tmp_path / "module"
    directory.mkdir()
    (directory / "main.tf").write_text(SOURCE)
    return directory


def everything_in(directory: Path) -> bytes:
    """All that rests there."""
    return b"\n".join(p.read_bytes() for p in directory.rglob("*") if p.is_file())


def test_secret_values_rest_nowhere_but_while_terraform_needs_them(
    module: Path, keys: KeyRing
) -> None:
    """Those given with the run and those in the configuration's own tfvars, of either kind."""
    (module / "terraform.tfvars").write_text('password = "canary-tfvars"\nregion = "eu"\n')
    (module / "more.auto.tfvars.json").write_text('{"once": "canary-json"}')
    (module / "plain.auto.tfvars").write_text('region = "aws"\n')
    variables = {"password": "canary-given", "region": "here"}
    snapshot = take_snapshot(module, variables=variables, key_ring=keys)
    stack = StackDirectory(module.parent / "stacks", "s")
    stack.unpack(snapshot, keys)
    given = given_in(snapshot, keys)

    assert b"canary" not in everything_in(stack.path)
    assert (stack.root / "plain.auto.tfvars").exists()
    assert json.loads((stack.root / "zz_tprov.auto.tfvars.json").read_text()) == {"region": "here"}
    with given.on_disk(stack.config):
        told = everything_in(stack.path)
        assert all(f"canary-{w}".encode() in told for w in ("tfvars", "json", "given"))
        modes = {p.stat().st_mode & 0o077 for p in stack.path.rglob("*") if p.is_file()}
        assert modes == {0}
    assert b"canary" not in everything_in(stack.path)
    assert {"canary-given", "canary-json"} <= set(given.known().values())


def test_values_rest_neither_below_the_root_module_nor_under_a_strange_name(
    module: Path, keys: KeyRing
) -> None:
    """A tfvars file that `file()` may read, objects in one, a name that is not ASCII."""
    braces = 'error_message = "bad ${join("}}", ["x"])}"'
    (module / "more.tf").write_text(
        'variable "пароль" { sensitive = true }\n'
        f'variable "v" {{\n  validation {{\n    condition = true\n    {braces}\n  }}\n'
        "  sensitive = true\n}\n"
    )
    (module / "env").mkdir()
    (module / "env" / "prod.tfvars").write_text('password = "canary-sub"\n')
    (module / "env" / "plain.tfvars").write_text('region = "eu"\n')
    (module / "terraform.tfvars").write_text('v = {\n  deep = { password = "canary-deep" }\n}\n')
    variables = {"пароль": "env:STRANGE", "region": "here"}
    snapshot = take_snapshot(module, variables=variables, key_ring=keys)
    stack = StackDirectory(module.parent / "stacks", "s")
    stack.unpack(snapshot, keys)
    given = given_in(snapshot, keys)

    assert b"canary" not in everything_in(stack.path)
    assert (stack.root / "env" / "plain.tfvars").exists()
    with given.on_disk(stack.config, {"STRANGE": "canary-strange"}):
        told = everything_in(stack.path)
        assert all(f"canary-{w}".encode() in told for w in ("sub", "deep", "strange"))
    assert b"canary" not in everything_in(stack.path)
    known = given.known({"STRANGE": "canary-strange"})
    assert (known["пароль"], known["v"]) == ("canary-strange", ["canary-deep"])
    assert "password" not in known


def test_what_a_dead_worker_left_is_removed_by_the_next(module: Path, keys: KeyRing) -> None:
    """It was killed while Terraform planned."""
    snapshot = take_snapshot(module, variables={"password": "canary"}, key_ring=keys)
    stack = StackDirectory(module.parent / "stacks", "s")
    stack.unpack(snapshot, keys)
    given = given_in(snapshot, keys)
    left = given.on_disk(stack.config)
    left.__enter__()  # and never left: Terraform was planning

    assert b"canary" in everything_in(stack.path)
    given.clear(stack.config)
    assert b"canary" not in everything_in(stack.path)
    del left


def test_a_reference_is_looked_up_on_the_worker(
    module: Path, keys: KeyRing, tmp_path: Path
) -> None:
    """Only the name travels; a file's last line end is none of the value."""
    secret = tmp_path / "secret"
    secret.write_text("canary-file\n")
    variables = {"password": "env:DB_PASSWORD", "once": f"file:{secret}", "region": "env:HOME"}
    snapshot = take_snapshot(module, variables=variables, key_ring=keys)
    stack = StackDirectory(module.parent / "stacks", "s")
    stack.unpack(snapshot, keys)
    given = given_in(snapshot, keys)
    environ = {"DB_PASSWORD": "canary-env", "HOME": "/home/ada"}

    with given.on_disk(stack.config, environ):
        private = stack.root / "zz_tprov_private.auto.tfvars.json"
        assert json.loads(private.read_text()) == {
            "password": "canary-env",
            "once": "canary-file",
        }
    known = given.known(environ)
    assert (known["password"], known["once"]) == ("canary-env", "canary-file")
    assert known["region"] == "env:HOME"  # not sensitive: a text like any other


@pytest.mark.parametrize("reference", ["env:NO_SUCH_NAME", "file:/no/such/file", "file:/proc"])
def test_a_reference_that_leads_nowhere_is_a_sentence(
    module: Path, keys: KeyRing, reference: str
) -> None:
    """It can be mended where the worker runs, so trying again is of use."""
    snapshot = take_snapshot(module, variables={"password": reference}, key_ring=keys)
    given = given_in(snapshot, keys)
    with pytest.raises(ReferenceMissing, match=f"given as {reference}") as raised:
        given.on_disk(module, {}).__enter__()
    assert raised.value.retryable
    assert "worker" in raised.value.remedy
    assert given.known({})["password"] == reference
    assert [p.name for p in module.iterdir()] == ["main.tf"]


def test_a_file_that_is_too_large_is_refused_and_never_cut(
    module: Path, keys: KeyRing, tmp_path: Path
) -> None:
    """The first part of a secret is another secret, and it would be applied."""
    large, fits = tmp_path / "large", tmp_path / "fits"
    large.write_text("canary-" + "x" * 149_996)
    fits.write_text("y" * MAX_REFERENCED)
    variables = {"password": f"file:{large}", "once": f"file:{fits}"}
    given = given_in(take_snapshot(module, variables=variables, key_ring=keys), keys)
    with pytest.raises(ReferenceMissing, match="larger than 100,000 bytes") as raised:
        given.on_disk(module, {}).__enter__()
    assert "canary" not in str(raised.value)
    assert "'password'" in raised.value.message
    assert [p.name for p in module.iterdir()] == ["main.tf"]
    assert given.known({})["once"] == "y" * MAX_REFERENCED


STRUCTURED = """
variable "db" {
  type = object({
    user = string
    port = number # its own
  })
  sensitive = true
}
variable "hosts" {
  sensitive = true
  type      = list(string)
}
variable "port" {
  type      = number
  sensitive = true
}
variable "anything" {
  type      = any
  sensitive = true
}
variable "digits" {
  sensitive = true
}
output "sum" {
  value = nonsensitive(join(" ", [
    var.db.user, var.db.port + var.port, length(var.hosts), var.anything.a, var.digits
  ]))
}
"""


def test_a_reference_may_lead_to_a_list_or_an_object(
    keys: KeyRing, tmp_path: Path, platform: Platform
) -> None:
    """JSON for what is no text, a text for what is one; Terraform itself takes all of them."""
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.tf").write_text(STRUCTURED)
    (tmp_path / "db.json").write_text('{"user": "canary-user", "port": 5000}')
    variables = {
        "db": f"file:{tmp_path}/db.json",
        "hosts": "env:HOSTS",
        "port": "env:PORT",
        "anything": "env:ANYTHING",
        "digits": "env:DIGITS",
    }
    environ = {"HOSTS": '["a", "b"]', "PORT": "432", "ANYTHING": '{"a": "x"}', "DIGITS": "007"}
    given = given_in(take_snapshot(module, variables=variables, key_ring=keys), keys)
    with given.on_disk(module, environ):
        done = subprocess.run(
            [*platform.toolchain.terraform.argv, "plan", "-input=false", "-no-color"],
            cwd=module,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert 'sum = "canary-user 5432 2 x 007"' in done.stdout, done.stderr
    known = given.known(environ)
    assert known["db"] == {"user": "canary-user", "port": 5000}
    assert (known["port"], known["digits"]) == ("432", "007")


@pytest.mark.parametrize("text", ["canary, canary", "[canary", '{user = "canary"}', ""])
def test_what_is_no_json_where_it_has_to_be_is_a_sentence(
    module: Path, keys: KeyRing, text: str
) -> None:
    """It names variable and reference, and quotes nothing, in a cause neither."""
    (module / "main.tf").write_text(STRUCTURED)
    given = given_in(take_snapshot(module, variables={"hosts": "env:H"}, key_ring=keys), keys)
    with pytest.raises(ReferenceMissing, match="'hosts' is given as env:H, and what") as raised:
        given.on_disk(module, {"H": text}).__enter__()
    assert "canary" not in "".join(traceback.format_exception(raised.value))


def test_json_syntax_declares_types_too() -> None:
    """With or without blanks; a file that cannot be read declares none."""
    source = '{"variable": {"a": {"type": "list( string )"}, "b": {"type": "string"}, "c": {}}}'
    assert declared_types([source, "variable {{{"]) == {"a": "list(string)", "b": "string"}


def test_a_plain_secret_is_warned_about(module: Path) -> None:
    """By name and never by value; a reference is fine, and so is what is not sensitive."""
    variables = {"password": "canary", "region": "eu", "once": "env:ONCE"}
    assert plainly_given(module, variables) == ["password"]
    message, remedy = warning_about(["password"], where="on a command line")
    assert message.startswith("password is sensitive, and given on a command line.")
    assert "password=env:NAME" in remedy


@pytest.mark.parametrize("value", ["env:", "env: ", "environment:X", 7, ["env:X"], "file:"])
def test_what_is_no_reference_is_a_value(value: object) -> None:
    """Nothing is looked up for it."""
    assert not is_reference(value)
    assert resolve("v", value, {}) == value

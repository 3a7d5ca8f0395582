"""A stack's directory: names, snapshots, the lock, the journal."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from tprov_kernel.errors import ConfigurationError, SealBroken, StackBusy, StackError, TooLarge
from tprov_kernel.messages import Snapshot
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.stacks import (
    StackDirectory,
    check_name,
    copy_configuration,
    declared_variables,
    has_moved_on,
    held_objects,
    needs_network,
    pack,
    stamps,
    take_snapshot,
    uses_provider,
)


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    """A key ring of the test's own."""
    return KeyRing.load_or_create(tmp_path / "keys.json")


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A root module with two variables and a template."""
    directory = tmp_path / "module"
    directory.mkdir()
    (directory / "main.tf").write_text(
        'variable "region" {}\n# variable "commented" {}\nvariable "days" {\n  default = 7\n}\n'
    )
    (directory / "text.tpl").write_text("hello")
    return directory


@pytest.mark.parametrize("name", ["a", "happy", "happy-2", "a" * 40])
def test_a_name_of_letters_digits_and_hyphens_is_taken(name: str) -> None:
    """What people would call a stack is a name."""
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "../etc", "a b", "A", "-a", "a-", "1a", "a;rm", "a/b", "a" * 300, "ä", "a\n", "$(x)"],
)
def test_what_is_no_name_gets_a_sentence(name: str) -> None:
    """It becomes part of a path and of a workflow id: everything else is refused, in words."""
    with pytest.raises(StackError, match="is no name for a stack") as raised:
        check_name(name)
    assert "lower-case" in raised.value.remedy
    assert len(str(raised.value)) < 250


def test_equal_content_gives_an_equal_digest(module: Path, keys: KeyRing) -> None:
    """The digest is of the content, not of times or of the sealing."""
    first = take_snapshot(module, variables={"days": 3}, key_ring=keys)
    os.utime(module / "main.tf", (1, 1))
    second = take_snapshot(module, variables={"days": 3}, key_ring=keys)
    assert first.digest == second.digest
    assert first.sealed != second.sealed
    assert take_snapshot(module, variables={"days": 4}, key_ring=keys).digest != first.digest


def test_a_snapshot_brings_files_tfvars_and_variables(module: Path, keys: KeyRing) -> None:
    """A reader's own terraform.tfvars is part of it; state and caches are not."""
    (module / "terraform.tfvars").write_text('region = "aws-us-east-1"\n')
    (module / "terraform.tfstate").write_text("{}")
    (module / ".terraform").mkdir()
    (module / ".terraform" / "junk").write_text("x")
    snapshot = take_snapshot(module, variables={"days": 3}, key_ring=keys)
    stack = StackDirectory(module.parent / "stacks", "s")
    assert stack.unpack(snapshot, keys)
    names = sorted(p.relative_to(stack.root).as_posix() for p in stack.root.rglob("*"))
    assert names == ["main.tf", "terraform.tfvars", "text.tpl", "zz_tprov.auto.tfvars.json"]
    assert json.loads((stack.root / "zz_tprov.auto.tfvars.json").read_text()) == {"days": 3}
    assert not stack.unpack(snapshot, keys)


def test_what_is_unpacked_is_private(module: Path, keys: KeyRing) -> None:
    """Variables can be secrets: nobody else may read them."""
    stack = StackDirectory(module.parent / "stacks", "s")
    stack.unpack(take_snapshot(module, variables={"days": 3}, key_ring=keys), keys)
    modes = {p.name: p.stat().st_mode & 0o077 for p in stack.path.rglob("*") if p.is_file()}
    assert set(modes.values()) == {0}


def test_local_modules_travel_along(module: Path, keys: KeyRing) -> None:
    """`source = "../shared"` works on a worker that has never seen the directory."""
    shared = module.parent / "shared"
    shared.mkdir()
    (shared / "main.tf").write_text('output "x" { value = 1 }\n')
    (module / "more.tf").write_text('module "m" {\n  source = "../shared"\n}\n')
    stack = StackDirectory(module.parent / "stacks", "s")
    stack.unpack(take_snapshot(module, variables={}, key_ring=keys), keys)
    assert (stack.root / "main.tf").exists()
    assert (stack.root / ".." / "shared" / "main.tf").exists()


def test_a_new_snapshot_replaces_files_and_keeps_the_state(module: Path, keys: KeyRing) -> None:
    """What the configuration lost is gone; what Terraform keeps beside it stays."""
    stack = StackDirectory(module.parent / "stacks", "s")
    stack.unpack(take_snapshot(module, variables={}, key_ring=keys), keys)
    (stack.root / "terraform.tfstate").write_text('{"serial": 3}')
    (module / "text.tpl").unlink()
    (module / "new.tf").write_text("# new")
    stack.unpack(take_snapshot(module, variables={}, key_ring=keys), keys)
    assert not (stack.root / "text.tpl").exists()
    assert (stack.root / "new.tf").exists()
    assert (stack.root / "terraform.tfstate").read_text() == '{"serial": 3}'


def test_a_changed_snapshot_is_refused(module: Path, keys: KeyRing) -> None:
    """A digest that is not the content's own is noticed before anything is written."""
    snapshot = take_snapshot(module, variables={}, key_ring=keys)
    wrong = Snapshot(digest="0" * 64, sealed=snapshot.sealed, files=snapshot.files)
    stack = StackDirectory(module.parent / "stacks", "s")
    with pytest.raises(SealBroken):
        stack.unpack(wrong, keys)
    assert not stack.config.exists()


def test_a_snapshot_that_would_not_fit_is_refused(module: Path, keys: KeyRing) -> None:
    """A payload near the server's limit would wedge the workflow."""
    (module / "noise.bin").write_bytes(os.urandom(900_000))
    with pytest.raises(TooLarge, match="at most"):
        take_snapshot(module, variables={}, key_ring=keys)


def test_directories_that_are_no_configuration_get_a_sentence(tmp_path: Path) -> None:
    """Missing, a file, or without a *.tf: three different sentences."""
    with pytest.raises(ConfigurationError, match="There is no directory"):
        pack(tmp_path / "missing", variables={})
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="is a file"):
        pack(tmp_path / "file", variables={})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="holds no Terraform configuration"):
        pack(tmp_path / "empty", variables={})


def test_an_undeclared_variable_is_refused_with_the_nearest_name(module: Path) -> None:
    """Terraform would only warn, and plan without the value."""
    assert declared_variables(module) == ["days", "region"]
    with pytest.raises(ConfigurationError, match="declares no variable 'regoin'") as raised:
        pack(module, variables={"regoin": "x"})
    assert raised.value.remedy == "Did you mean 'region'?"


def test_what_init_would_fetch_is_known(module: Path) -> None:
    """With the provider in the mirror and local modules only, init is nearly instant."""
    (module / "versions.tf").write_text(
        'terraform { required_providers { t = { source = "temporalio/temporalcloud" } } }\n'
    )
    assert needs_network(module, mirrored=["temporalio/temporalcloud"]) == []
    assert uses_provider(module, "temporalio/temporalcloud")
    (module / "vpc.tf").write_text('module "vpc" {\n  source = "acme/vpc/aws"\n}\n')
    assert needs_network(module, mirrored=["temporalio/temporalcloud"]) == ["acme/vpc/aws"]


async def test_a_stack_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """Who comes second waits, says so, and gets a sentence when patience ends."""
    stack = StackDirectory(tmp_path, "s")
    waits: list[int] = []
    async with stack.lock(patience=0):
        with pytest.raises(StackBusy, match="still at work"):
            async with stack.lock(patience=0.3, waiting=lambda: waits.append(1)):
                pass
    assert waits
    async with stack.lock(patience=0):
        pass


async def test_the_lock_can_be_held_by_another_process(tmp_path: Path) -> None:
    """The descriptor travels with a child, so the lock outlives the worker that took it."""
    stack = StackDirectory(tmp_path, "s")
    async with stack.lock(patience=0) as descriptor:
        child = await asyncio.create_subprocess_exec("cat", pass_fds=[descriptor], stdin=-1)
    with pytest.raises(StackBusy):
        async with stack.lock(patience=0):
            pass
    assert child.stdin is not None
    child.stdin.close()
    await child.wait()
    async with stack.lock(patience=5):
        pass


def test_the_journal_survives_a_half_written_line(tmp_path: Path) -> None:
    """What was cut off by a crash is left out; the rest is read."""
    stack = StackDirectory(tmp_path, "s")
    stack.record("apply_begun", plan="p")
    stack.record("apply_ended", plan="p", code=0)
    with (stack.path / "journal.jsonl").open("a") as file:
        file.write('{"at": 1, "ev')
    entries = [(e.event, dict(e.fields)) for e in stack.journal()]
    assert entries == [("apply_begun", {"plan": "p"}), ("apply_ended", {"plan": "p", "code": 0})]


def test_what_a_stack_holds_is_read_from_its_local_state(module: Path, keys: KeyRing) -> None:
    """Addresses as Terraform writes them, with modules and indexes."""
    base = module.parent / "stacks"
    assert held_objects(base, "s") == []
    stack = StackDirectory(base, "s")
    stack.unpack(take_snapshot(module, variables={}, key_ring=keys), keys)
    resources = [
        {"mode": "managed", "type": "t", "name": "a", "instances": [{}]},
        {"mode": "managed", "type": "t", "name": "b", "module": "module.m",
         "instances": [{"index_key": "k"}, {"index_key": 0}]},
        {"mode": "data", "type": "t", "name": "c", "instances": [{}]},
    ]  # fmt: skip
    (stack.root / "terraform.tfstate").write_text(json.dumps({"resources": resources}))
    assert held_objects(base, "s") == ["t.a", 'module.m.t.b["k"]', "module.m.t.b[0]"]


def test_a_copy_is_fresh_each_time_and_leaves_the_original_alone(tmp_path: Path) -> None:
    """What was tried in a copy is gone with the next one; state and caches are never copied."""
    original, copy = tmp_path / "original", tmp_path / "copies" / "original"
    (original / ".terraform").mkdir(parents=True)
    (original / "main.tf").write_text("# as it was\n")
    (original / "terraform.tfstate").write_text("{}")
    copy_configuration(original, copy)
    assert [p.name for p in copy.iterdir()] == ["main.tf"]
    (copy / "main.tf").write_text("# changed\n")
    (copy / "more.tf").write_text("")
    copy_configuration(original, copy)
    assert [p.name for p in copy.iterdir()] == ["main.tf"]
    assert (copy / "main.tf").read_text() == (original / "main.tf").read_text() == "# as it was\n"


def test_a_linked_directory_travels_under_the_links_name(module: Path, keys: KeyRing) -> None:
    """What `fileset` or a module reads through a link is read on a worker too."""
    outside = module.parent / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "a.json").write_text("{}")
    (outside / "main.tf").write_text('module "n" {\n  source = "../nested"\n}\n')
    (module.parent / "nested").mkdir()
    (module.parent / "nested" / "main.tf").write_text('output "x" { value = 1 }\n')
    (module / "linked").symlink_to("../outside")
    (module / "more.tf").write_text('module "m" {\n  source = "./linked"\n}\n')
    stack = StackDirectory(module.parent / "stacks", "s")
    stack.unpack(take_snapshot(module, variables={}, key_ring=keys), keys)
    assert (stack.root / "linked" / "deep" / "a.json").read_text() == "{}"
    assert (stack.root / "linked" / ".." / "nested" / "main.tf").exists()
    copy_configuration(module, module.parent / "copy")
    assert (module.parent / "copy" / "linked" / "deep" / "a.json").exists()


def test_a_change_behind_a_link_is_seen(module: Path, keys: KeyRing) -> None:
    """Another file there, another content, another place that the link leads to."""
    for name in ("one", "other"):
        (module.parent / name).mkdir()
        (module.parent / name / "a.json").write_text(f'"{name:5}"')
        os.utime(module.parent / name / "a.json", (1, 1))
    link = module / "linked"
    link.symlink_to("../one")
    snapshot, before = take_snapshot(module, variables={}, key_ring=keys), stamps(module)
    assert not has_moved_on(snapshot, module, keys)
    link.unlink()
    link.symlink_to("../other")
    assert has_moved_on(snapshot, module, keys)
    assert stamps(module) != before
    link.unlink()
    link.symlink_to("../one")
    assert not has_moved_on(snapshot, module, keys)
    assert stamps(module) == before
    (module.parent / "one" / "b.json").write_text("{}")
    assert has_moved_on(snapshot, module, keys)
    assert stamps(module) != before


def test_links_in_a_circle_come_to_an_end(module: Path, keys: KeyRing) -> None:
    """What a link leads back to is packed already, and not once more."""
    (module / "deep").mkdir()
    (module / "deep" / "a.json").write_text("{}")
    (module / "deep" / "up").symlink_to("..")
    (module / "self").symlink_to(".")
    assert take_snapshot(module, variables={}, key_ring=keys).files == 3


def test_a_link_to_nowhere_is_a_sentence(module: Path, keys: KeyRing) -> None:
    """Nobody can tell what was meant to be there; an editor's lock is no part of it."""
    (module / ".#main.tf").symlink_to("me@here.1234")
    snapshot = take_snapshot(module, variables={}, key_ring=keys)
    assert snapshot.files == 2
    (module / "data").symlink_to("../gone")
    for call in (lambda: pack(module, variables={}), lambda: stamps(module)):
        with pytest.raises(ConfigurationError, match=r"data .* a link to nowhere \(\.\./gone\)"):
            call()
    assert has_moved_on(snapshot, module, keys)


def test_a_link_to_a_whole_disk_is_not_read_to_its_end(module: Path) -> None:
    """It is refused long before it would fill the memory."""
    (module / "disk").symlink_to("/")
    with pytest.raises((ConfigurationError, TooLarge)):
        pack(module, variables={})


def test_a_module_that_a_nested_one_uses_travels_along(module: Path, keys: KeyRing) -> None:
    """Also where the one between lies within the root module."""
    (module / "inner").mkdir()
    (module / "inner" / "main.tf").write_text('module "s" {\n  source = "../../shared"\n}\n')
    (module.parent / "shared").mkdir()
    (module.parent / "shared" / "main.tf").write_text('output "x" { value = 1 }\n')
    (module / "more.tf").write_text('module "m" {\n  source = "./inner"\n}\n')
    stack = StackDirectory(module.parent / "stacks", "s")
    stack.unpack(take_snapshot(module, variables={}, key_ring=keys), keys)
    assert (stack.root / ".." / "shared" / "main.tf").exists()

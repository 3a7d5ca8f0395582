"""The tools are found, or got, wherever they come from; what is broken is passed over or named."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import platformdirs
import psutil
import pytest

from tprov_kernel import toolchain
from tprov_kernel.errors import ToolError
from tprov_kernel.lab.terraforms import Terraform, terraforms
from tprov_kernel.toolchain.digests import programs_digest
from tprov_kernel.toolchain.find import Search, Tool, ToolMissing
from tprov_kernel.toolchain.get import fetch_provider, get_provider, write_launcher
from tprov_kernel.toolchain.golang import go_environment
from tprov_kernel.toolchain.places import (
    PROVIDER_MODULE,
    TERRAFORM_RUNNER,
    mirrored_binary,
    module_version,
    opa_place,
    provider_place,
    terraform_library,
    terraform_place,
    tools_home,
    wheel_place,
)
from tprov_kernel.toolchain.probes import NotUsable, Probes
from tprov_kernel.toolchain.running import program_of
from tprov_kernel.toolchain.steps import Steps
from tprov_kernel.toolchain.wheels import uv_environment

ROOT = Path(__file__).resolve().parent.parent


def script(path: Path, body: str) -> Path:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def terraform(path: Path, version: str) -> Path:
    """Write a program that says it is Terraform of some version, for a made-up platform."""
    answer = json.dumps({"terraform_version": version, "platform": "plan9_mips"}, indent=2)
    return script(path, f"cat <<'END'\n{answer}\nEND")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with a home and tools of its own, and a PATH with no tool on it."""
    utilities = tmp_path / "utilities"
    utilities.mkdir()
    for name in ("cat", "cp", "mkdir"):
        (utilities / name).symlink_to(str(shutil.which(name)))
    return {
        "HOME": str(tmp_path / "home"),
        "TPROV_TOOLS": str(tmp_path / "tools"),
        "PATH": str(utilities),
    }


def before(environ: dict[str, str], *folders: Path) -> None:
    """Put folders at the beginning of PATH."""
    environ["PATH"] = os.pathsep.join([*map(str, folders), environ["PATH"]])


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    """Steps that nobody watches."""
    return Steps(progress=lambda line: None, logs=tmp_path / "logs")


class TestPublicNames:
    def test_what_others_may_use(self) -> None:
        """These names are what the rest of the package is written against."""
        expected = {
            "Tool",
            "ToolReport",
            "as_it_is_now",
            "Toolchain",
            "ensure_toolchain",
            "find_toolchain",
            "main",
            "survey",
        }

        assert expected == set(toolchain.__all__)

    def test_needs_nothing_installed(self) -> None:
        """The bootstrap uses it before anything is there: the standard library must do."""
        program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tprov_kernel.toolchain"

        done = subprocess.run([sys.executable, "-I", "-S", "-c", program], check=False)

        assert done.returncode == 0


class TestPlaces:
    @pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="no other place is known")
    def test_tools_are_in_the_users_cache(self) -> None:
        """The directory is in the one that platformdirs names, which we can't ask at bootstrap."""
        variables = {k: os.environ[k] for k in ("HOME", "XDG_CACHE_HOME") if k in os.environ}

        assert platformdirs.user_cache_path("tprov") / "tools" == tools_home(variables)

    def test_a_variable_moves_them(self, tmp_path: Path) -> None:
        """`TPROV_TOOLS` names another directory."""
        assert tmp_path / "t" == tools_home({"TPROV_TOOLS": str(tmp_path / "t")})


class TestPrograms:
    def test_the_first_on_path_that_will_do(self, environ: dict[str, str], tmp_path: Path) -> None:
        """One that is too old and one that refuses are passed over."""
        terraform(tmp_path / "old" / "terraform", "1.8.5")
        script(tmp_path / "shim" / "terraform", "echo 'no version is set' >&2; exit 126")
        good = terraform(tmp_path / "good" / "terraform", "1.12.0")
        terraform(tmp_path / "later" / "terraform", "1.13.0")
        before(environ, *(tmp_path / name for name in ("old", "shim", "good", "later")))

        expected = Tool(name="terraform", version="1.12.0", argv=(str(good),), origin="PATH")

        assert expected == Search(environ).tool("terraform")

    def test_nothing_that_will_do(self, environ: dict[str, str], tmp_path: Path) -> None:
        """The sentence names what was found and why it won't do; the remedy is the set-up."""
        old = terraform(tmp_path / "old" / "terraform", "1.8.5")
        before(environ, old.parent)

        with pytest.raises(ToolMissing) as caught:
            Search(environ).tool("terraform")

        assert f"{old} is terraform 1.8.5, older than 1.9" in caught.value.message
        assert "make setup" in caught.value.remedy

    def test_the_named_one_comes_first(self, environ: dict[str, str], tmp_path: Path) -> None:
        """`TPROV_TERRAFORM` wins over PATH, and is said to."""
        terraform(tmp_path / "path" / "terraform", "1.12.0")
        named = terraform(tmp_path / "my terraform", "1.13.1")
        before(environ, tmp_path / "path")
        environ["TPROV_TERRAFORM"] = str(named)

        tool = Search(environ).tool("terraform")

        assert (tool.version, tool.origin) == ("1.13.1", "TPROV_TERRAFORM")

    def test_the_named_one_must_work(self, environ: dict[str, str], tmp_path: Path) -> None:
        """What was asked for by name is never silently replaced, nor got by a set-up."""
        terraform(tmp_path / "path" / "terraform", "1.12.0")
        before(environ, tmp_path / "path")
        environ["TPROV_TERRAFORM"] = str(tmp_path / "nowhere")
        said: list[str] = []

        with pytest.raises(ToolError, match=r"TPROV_TERRAFORM names .*nowhere, which does not"):
            toolchain.ensure_toolchain(progress=said.append, environ=environ)
        assert said == []

    def test_ours_when_path_has_none(self, environ: dict[str, str]) -> None:
        """The wheel's terraform is found; with its library deleted it is not."""
        search = Search(environ)
        terraform(terraform_place(search.tools), "1.15.5")
        library = terraform_library(search.tools)
        library.parent.mkdir()
        library.touch()

        assert search.tool("terraform").origin == "wheel"
        library.unlink()
        with pytest.raises(ToolMissing):
            search.tool("terraform")

    def test_terraforms_variables_are_not_inherited(
        self, environ: dict[str, str], tmp_path: Path
    ) -> None:
        """A variable of Terraform's own, even a broken one, changes nothing for its version."""
        program = script(
            tmp_path / "terraform",
            '[ -z "$TF_LOG$TF_CLI_ARGS$TF_DATA_DIR" ] || exit 1\n'
            '[ "$TF_CLI_CONFIG_FILE" = /dev/null ] || exit 1\n'
            'echo \'"terraform_version": "1.11.4"\'',
        )
        environ |= {
            "TF_LOG": "trace",
            "TF_CLI_ARGS": "-x",
            "TF_DATA_DIR": "/nowhere",
            "TF_CLI_CONFIG_FILE": "/nowhere/at/all",
            "TPROV_TERRAFORM": str(program),
        }

        assert Search(environ).tool("terraform").version == "1.11.4"


class TestProbes:
    @pytest.mark.parametrize(("ours", "asked"), [(True, 1), (False, 2)])
    def test_when_a_program_is_asked_again(
        self, environ: dict[str, str], tmp_path: Path, ours: bool, asked: int
    ) -> None:
        """What we put there is asked once; a script of somebody's may choose another version."""
        diary = tmp_path / "diary"
        program = script(tmp_path / "opa", f"echo asked >> {diary}; echo 'Version: 1.2.3'")
        for _ in range(2):
            probe = Probes(store=tmp_path / "probes.json", environ=environ).probe(
                "opa", program, ours=ours
            )
            assert probe.version == "1.2.3"

        assert asked == len(diary.read_text().splitlines())

    def test_a_changed_program_is_asked_again(
        self, environ: dict[str, str], tmp_path: Path
    ) -> None:
        """A remembered answer is only for the file it came from."""
        probes = Probes(store=tmp_path / "probes.json", environ=environ)
        program = script(tmp_path / "opa", "echo 'Version: 1.2.3'")
        probes.probe("opa", program, ours=True)

        script(program, "echo 'Version: 1.20.0'")

        assert probes.probe("opa", program, ours=True).version == "1.20.0"

    @pytest.mark.parametrize("store", ["", "[]", '{"opa": ', "{}"])
    def test_a_damaged_store_costs_nothing_but_time(
        self, environ: dict[str, str], tmp_path: Path, store: str
    ) -> None:
        """Whatever is in it, the program is asked."""
        (tmp_path / "probes.json").write_text(store)
        program = script(tmp_path / "opa", "echo 'Version: 1.2.3'")

        probes = Probes(store=tmp_path / "probes.json", environ=environ)

        assert probes.probe("opa", program).version == "1.2.3"

    def test_something_else_of_that_name(self, environ: dict[str, str], tmp_path: Path) -> None:
        """A program that does not answer as OPA does is not OPA; its own words are given."""
        program = script(tmp_path / "opa", "echo 'opa: the Online Peanut Archive'")

        with pytest.raises(NotUsable, match="Peanut"):
            Probes(store=tmp_path / "p", environ=environ).probe("opa", program)


class TestToolchain:
    def test_everything_is_found_and_works_without_a_network(self, tmp_path: Path) -> None:
        """After the set-up, Terraform initialises and validates with the provider, offline."""
        kit = toolchain.find_toolchain()
        (tmp_path / "cli.tfrc").write_text(kit.cli_config())
        (tmp_path / "main.tf").write_text(
            "terraform {\n  required_providers {\n    temporalcloud = {\n"
            '      source = "temporalio/temporalcloud"\n      version = "~> 1.3"\n    }\n  }\n}\n'
            'resource "temporalcloud_namespace" "n" {\n  name = "abc"\n  api_key_auth = true\n'
            '  regions = ["aws-eu-west-1"]\n  retention_days = 1\n}\n'
        )
        environ = {
            "HOME": str(tmp_path),
            "TF_CLI_CONFIG_FILE": str(tmp_path / "cli.tfrc"),
            "HTTPS_PROXY": "http://127.0.0.1:9",
        }

        def run(*arguments: str) -> str:
            done = subprocess.run(
                [*kit.terraform.argv, f"-chdir={tmp_path}", *arguments],
                env=environ,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        run("init", "-input=false", "-no-color")

        assert json.loads(run("validate", "-json"))["valid"] is True
        version = module_version("provider", PROVIDER_MODULE)
        assert version == kit.provider.version
        assert version in run("version", "-json")

    def test_nothing_to_get_is_silent(self) -> None:
        """When all is there, ensuring is finding, and nobody is told anything."""
        said: list[str] = []

        kit = toolchain.ensure_toolchain(progress=said.append)

        assert toolchain.find_toolchain() == kit
        assert said == []

    def test_a_survey_never_raises(self, environ: dict[str, str], tmp_path: Path) -> None:
        """On a bare machine everything missing has a problem and a remedy."""
        environ |= {"PATH": str(tmp_path), "TPROV_TEMPORAL": str(tmp_path / "gone")}

        reports = {report.name: report for report in toolchain.survey(environ)}

        assert {"python", "terraform", "provider", "opa", "temporal"} == set(reports)
        assert {"python"} == {name for name, report in reports.items() if report.ok}
        assert all(r.problem and r.remedy for r in reports.values() if not r.ok)
        assert "TPROV_TEMPORAL" in reports["temporal"].problem

    def test_a_survey_notices_an_altered_provider(
        self, environ: dict[str, str], tmp_path: Path
    ) -> None:
        """The provider's bytes are compared with the digest that was taken when it was got."""
        environ["TPROV_TERRAFORM"] = str(terraform(tmp_path / "terraform", "1.11.4"))
        mirror = provider_place(tools_home(environ), "plan9_mips")
        binary = mirrored_binary(mirror / "example.test", "plan9_mips")
        binary.parent.mkdir(parents=True)
        binary.write_bytes(b"provider")
        digest = hashlib.sha256(b"provider").hexdigest()
        (mirror / "origin.json").write_text(json.dumps({"origin": "registry", "sha256": digest}))

        def provider() -> toolchain.ToolReport:
            return next(r for r in toolchain.survey(environ) if r.name == "provider")

        assert (True, "registry", str(binary)) == (
            provider().ok,
            provider().origin,
            provider().path,
        )
        binary.write_bytes(b"else")
        assert "is not the file that was put there" in provider().problem


class TestCommand:
    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it as the Makefile does."""
        return subprocess.run(
            [sys.executable, "-m", "tprov_kernel.toolchain", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_where_a_tool_is(self) -> None:
        """The path is alone on the output, for scripts."""
        assert self.run("opa").stdout == f"{toolchain.find_toolchain().opa.argv[0]}\n"

    def test_no_such_tool(self) -> None:
        """The sentence lists the names there are."""
        done = self.run("pulumi")

        assert (done.returncode, done.stdout) == (1, "")
        assert "Name one of terraform, opa, temporal" in done.stderr


class TestGettingTheProvider:
    def test_from_its_registry(self, environ: dict[str, str], steps: Steps, tmp_path: Path) -> None:
        """Terraform's packed download ends up unpacked where every init only links to it."""
        version = module_version("provider", PROVIDER_MODULE)
        packed = tmp_path / f"terraform-provider-temporalcloud_{version}_plan9_mips.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("LICENSE", "free")
            archive.writestr(f"terraform-provider-temporalcloud_v{version}", "provider")
        script(
            tmp_path / "terraform",
            'for last; do :; done; [ "$2 $3" = "providers mirror" ] || exit 1\n'
            'to="$last/example.test/temporalio/temporalcloud"; mkdir -p "$to"\n'
            f'cp {packed} "$to/"; echo "- Downloading package for plan9_mips..."',
        )
        tool = Tool(
            name="terraform", version="1.11.4", argv=(str(tmp_path / "terraform"),), origin="PATH"
        )
        mirror = tmp_path / "mirror"

        binary = fetch_provider(
            mirror, "plan9_mips", search=Search(environ), steps=steps, terraform=tool
        )

        assert mirrored_binary(mirror / "example.test", "plan9_mips") == binary
        assert binary is not None
        assert binary.read_text() == "provider"
        assert os.access(binary, os.X_OK)

    def test_where_there_is_neither_registry_nor_go(
        self, environ: dict[str, str], tmp_path: Path
    ) -> None:
        """Both ways are tried; the failure says what to do, and nothing half-made stays."""
        terraform_says_no = script(
            tmp_path / "bin" / "terraform",
            'case "$*" in\n'
            '  "version -json") echo \'"terraform_version": "1.11.4",\';'
            ' echo \'"platform": "plan9_mips"\';;\n'
            "  *mirror*) echo 'no such host' >&2; exit 1;;\n"
            '  *) echo "provider[example.test/temporalio/temporalcloud] 1.3.0";;\nesac',
        )
        script(
            tmp_path / "bin" / "go",
            'case "$1" in version) echo go version go1.99;; *)'
            " echo 'dial tcp: lookup somewhere: no such host' >&2; exit 1;; esac",
        )
        before(environ, tmp_path / "bin")
        said: list[str] = []
        steps = Steps(progress=said.append, logs=tmp_path / "logs", again="tprov setup")
        tool = Search(environ).tool("terraform")

        assert str(terraform_says_no) == tool.argv[0]
        with pytest.raises(ToolError, match="could not be reached") as caught:
            get_provider(Search(environ), steps, tool)

        assert "GOPROXY" in caught.value.remedy
        assert "tprov setup" in caught.value.remedy
        assert "The provider's registry does not answer: building it instead." in said
        left = [p.name for p in tools_home(environ).iterdir() if p.name != "probes.json"]
        assert left == []


class TestEnvironments:
    def test_go_builds_the_same_for_everybody(self) -> None:
        """What says where modules come from stays; what would alter the result does not."""
        given = {
            "GOPROXY": "https://mirror.test",
            "GOFLAGS": "-tags=x",
            "GOROOT": "/old",
            "GOARCH": "wasm",
            "CGO_ENABLED": "1",
            "HTTPS_PROXY": "http://proxy.test",
        }

        expected = {
            "GOPROXY": "https://mirror.test",
            "HTTPS_PROXY": "http://proxy.test",
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "-mod=readonly",
            "GOWORK": "off",
            "CGO_ENABLED": "0",
            "GOOS": "darwin",
            "GOARCH": "arm64",
        }

        assert expected == go_environment(given, platform="darwin_arm64")

    def test_uv_reaches_packages_as_pip_does(self, tmp_path: Path) -> None:
        """The way pip goes to an index is uv's too; what would alter the result is not."""
        given = {
            "PIP_INDEX_URL": "https://mirror.test/wheels",
            "PIP_FIND_LINKS": "/a /b",
            "UV_CACHE_DIR": "/cache",
            "UV_TARGET": "/elsewhere",
            "VIRTUAL_ENV": "/other",
        }

        expected = {
            "PIP_INDEX_URL": "https://mirror.test/wheels",
            "PIP_FIND_LINKS": "/a /b",
            "UV_DEFAULT_INDEX": "https://mirror.test/wheels",
            "UV_FIND_LINKS": "/a,/b",
            "UV_CACHE_DIR": "/cache",
        }

        assert expected == uv_environment(tmp_path / "uv", given)


class TestLauncher:
    def test_arguments_arrive_as_they_are(self, tmp_path: Path) -> None:
        """Spaces and quotes in paths and arguments are no trouble."""
        home = tmp_path / "it's a folder"
        home.mkdir()
        runner = home / "runner.py"
        runner.write_text("import json, sys; print(json.dumps(sys.argv[1:]))")
        launcher = home / "terraform"
        write_launcher(launcher, python=sys.executable, runner=runner, library=home / "lib.so")

        done = subprocess.run(
            [launcher, "plan", "-var", "a=b c"], capture_output=True, check=True, env={}
        )

        assert [str(home / "lib.so"), "plan", "-var", "a=b c"] == json.loads(done.stdout)

    def test_its_python_is_gone(self, tmp_path: Path) -> None:
        """Without any Python it says what to do."""
        launcher = tmp_path / "terraform"
        write_launcher(launcher, python="/gone", runner=tmp_path / "r", library=tmp_path / "l")

        done = subprocess.run(
            [launcher, "version"], capture_output=True, check=False, env={"PATH": str(tmp_path)}
        )

        assert done.returncode == 127
        assert b"run `make setup` again" in done.stderr

    def test_it_is_known_by_its_command_line_whatever_the_system_calls_it(
        self, tmp_path: Path
    ) -> None:
        """A script, then a Python: Terraform all the same, at work in its stack's directory."""
        runner = tmp_path / TERRAFORM_RUNNER
        runner.write_text("print('runs', flush=True); input()")
        launcher = tmp_path / "bin" / "terraform"
        write_launcher(launcher, python=sys.executable, runner=runner, library=tmp_path / "lib.so")
        (stack := tmp_path / "home" / "stacks" / "demo" / "config").mkdir(parents=True)
        with subprocess.Popen(
            [launcher, "apply"], cwd=stack, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout
            assert child.stdout.readline() == b"runs\n"
            assert program_of(psutil.Process(child.pid).cmdline()) == "terraform"
            assert terraforms(tmp_path / "home") == [Terraform(child.pid, "stack demo", ())]

    @pytest.mark.parametrize(
        ("line", "program"),
        [
            ("/bin/sh /tools/bin/terraform apply", "terraform"),
            ("/usr/bin/python3.11 -I -S /tools/terraform_wheel.py lib.so plan", "terraform"),
            ("/usr/local/bin/terraform plan", "terraform"),
            (
                "/x/terraform-provider-temporalcloud_v1.3.0",
                "terraform-provider-temporalcloud_v1.3.0",
            ),
            ("/usr/bin/python3.11 -m pytest terraform_wheel.py", "python3.11"),
            ("vim terraform terraform_wheel.py", "vim"),
            ("sh -c terraform", "sh"),
            ("", ""),
        ],
    )
    def test_nothing_else_is_taken_for_it(self, line: str, program: str) -> None:
        """An editor of its files is none."""
        assert program_of(line.split()) == program


class TestNames:
    def test_what_is_pinned_is_in_the_names(self, tmp_path: Path) -> None:
        """So that a clone with other pins never takes this one's tools for its own."""
        names = (
            opa_place(tmp_path).name,
            provider_place(tmp_path, "linux_amd64").name,
            wheel_place(tmp_path, "uv").name,
        )
        version, digest = r"\d+\.\d+\.\d+", "[0-9a-f]{8}"
        patterns = (
            f"opa-{version}-{digest}",
            f"provider-{version}-linux_amd64-{digest}",
            f"uv-{version}",
        )

        for name, pattern in zip(names, patterns, strict=True):
            assert re.fullmatch(pattern, name)


def test_a_tool_that_was_replaced_since_it_was_found(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """It has the version that it has now; one that is gone is a sentence."""
    path = terraform(tmp_path / "bin" / "terraform", "1.11.4")
    found = Tool(name="terraform", version="1.11.4", argv=(str(path),), origin="PATH")
    assert toolchain.as_it_is_now(found, environ) == found
    terraform(path, "1.15.5")
    assert toolchain.as_it_is_now(found, environ).version == "1.15.5"
    path.unlink()
    with pytest.raises(ToolError, match=r"terraform is no longer what it was: .* does not exist"):
        toolchain.as_it_is_now(found, environ)


class TestDigests:
    """A program is its contents, and those of what it starts."""

    def test_another_program_has_another_digest(self, tmp_path: Path) -> None:
        """Same version, same size, same time: it is another one, until it is put back."""
        path = terraform(tmp_path / "terraform", "1.11.4")
        (link := tmp_path / "link").symlink_to(path)
        before, content, status = programs_digest(path), path.read_bytes(), path.stat()
        assert programs_digest(link) == before
        path.write_bytes(content.replace(b"plan9", b"plan8"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert programs_digest(path) != before
        path.write_bytes(content)
        assert programs_digest(link) == before
        path.unlink()
        assert programs_digest(path) != before

    def test_a_script_is_what_it_starts_too(self, tmp_path: Path) -> None:
        """The wheel's launcher: its Python, its runner, its library; not where it writes a log."""
        library, runner = tmp_path / "a b" / "lib.so", tmp_path / "runner.py"
        library.parent.mkdir()
        library.write_bytes(b"one")
        runner.write_text("run()")
        (log := tmp_path / "log").write_text("one")
        launcher = tmp_path / "bin" / "terraform"
        write_launcher(launcher, python=sys.executable, runner=runner, library=library)
        with launcher.open("a") as end:
            end.write(f"echo >> {log}\n")
        before = programs_digest(wrapper := script(tmp_path / "wrapper", f"exec {launcher}"))
        log.write_text("two")
        assert programs_digest(wrapper) == before
        library.write_bytes(b"two")
        changed = programs_digest(wrapper)
        assert changed != before
        runner.write_text("run_otherwise()")
        assert programs_digest(wrapper) not in (before, changed)

"""OPA as we run it: what it is given, what comes back, and every way it can go wrong.

Whatever happens, a plan that was not judged is an error in words, never an empty list of findings.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tprov_kernel import opa
from tprov_kernel.errors import PolicyError, TooLarge, ToolError
from tprov_kernel.messages import Verdict
from tprov_kernel.process import Guard
from tprov_kernel.toolchain import Tool, Toolchain

ROOT = Path(__file__).parents[1]
POLICIES = ROOT / "policies"
PLANS = Path(__file__).parent / "fixtures" / "plans"

Evaluate = Callable[..., Awaitable[Verdict]]


@pytest.fixture
def evaluate(toolchain: Toolchain, guard: Guard, tmp_path: Path) -> Evaluate:
    """`opa.evaluate` with everything that a test does not care about filled in."""

    async def call(bundle: Path = POLICIES, plan: Any = None, **options: Any) -> Verdict:
        given = {
            "opa": toolchain.opa,
            "scrub": lambda text: text,
            "cache": tmp_path / "cache",
            "plan": plan if isinstance(plan, bytes) else json.dumps(plan or {}).encode(),
        }
        return await opa.evaluate(guard=guard, bundle=bundle, **{**given, **options})

    return call


def bundle_of(folder: Path, **files: str) -> Path:
    """A bundle with these files; `rules__a` is rules/a.rego."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.rego"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def answering(folder: Path, findings: str, levels: str = '{"rule": "advisory"}') -> Path:
    """A bundle that gives this verdict, whatever the plan."""
    text = f'package tprov\nverdict := {{"findings": {findings}, "levels": {levels}}}\n'
    return bundle_of(folder / "bundle", verdict=text)


def finding(**changes: Any) -> str:
    """A finding, as Rego."""
    whole = {
        "rule": "rule",
        "level": "advisory",
        "address": "a.b",
        "message": "Said.",
        "remedy": "Do.",
        "title": "Title",
    }
    return json.dumps({**whole, **changes})


@pytest.fixture
def script(tmp_path: Path, toolchain: Toolchain) -> Callable[[str], Tool]:
    """An `opa` of one's own: a shell script; `$OPA` in it is the real one."""

    def make(body: str) -> Tool:
        path = tmp_path / "opa"
        path.write_text(f"#!/bin/sh\nOPA={shlex.join(toolchain.opa.argv)}\n{body}\n")
        path.chmod(0o700)
        return replace(toolchain.opa, argv=(str(path),))

    return make


def wait_for_text(path: Path, seconds: float = 20) -> None:
    """Wait until something has been written to a file."""
    deadline = time.monotonic() + seconds
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < deadline, f"nothing was written to {path.name}"
        time.sleep(0.02)


# --- what it is given ------------------------------------------------------------------------


def test_the_argument_list() -> None:
    """Input on stdin, reduced capabilities, a limit in time, errors of functions are errors."""
    actual = opa.eval_args(bundle="b", capabilities=Path("c.json"), timeout=2.5)
    assert actual == [
        *("eval", "--format", "json", "--bundle", "b", "--stdin-input"),
        *("--capabilities", "c.json", "--strict-builtin-errors"),
        *("--timeout", "2.5s", "data.tprov.verdict"),
    ]


def test_what_reaches_outside_is_taken_away() -> None:
    """Of OPA's capabilities the network and the environment go; everything else stays."""
    names = ["lower", "http.send", "net.lookup_ip_addr", "opa.runtime", "walk"]
    actual = opa.reduced({"builtins": [{"name": n} for n in names], "features": ["x"]})
    expected = {
        "builtins": [{"name": "lower"}, {"name": "walk"}],
        "features": ["x"],
        "allow_net": [],
    }
    assert expected == actual


async def test_neither_plan_nor_credentials_are_anywhere_but_on_stdin(
    evaluate: Evaluate,
    script: Callable[[str], Tool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While OPA runs, the plan is in no file beside it, and the API key not in its environment."""
    monkeypatch.setenv("TEMPORAL_CLOUD_API_KEY", "canary-key")
    seen = tmp_path / "seen"
    spy = script(f'[ "$1" = eval ] && {{ env; pwd; grep -r canary ..; }} >> {seen}; exec $OPA "$@"')
    plan = {"variables": {"token": {"value": "canary-token"}}}
    await evaluate(plan=plan, opa=spy)
    text = seen.read_text()
    assert "canary" not in text
    assert "PATH=" in text
    private = next(Path(line) for line in text.splitlines() if line.startswith("/"))
    assert not private.parent.exists(), "the private copy is gone afterwards"


async def test_capabilities_are_made_once_per_version(
    evaluate: Evaluate, script: Callable[[str], Tool], tmp_path: Path
) -> None:
    """The second decision starts OPA once; another version's capabilities are made anew."""
    log = tmp_path / "log"
    spy = script(f'echo "$1" >> {log}; exec $OPA "$@"')
    await evaluate(opa=spy)
    await evaluate(opa=spy)
    assert log.read_text().split() == ["capabilities", "eval", "eval"]
    await evaluate(opa=replace(spy, version="0.0.1"))
    assert log.read_text().split()[3:] == ["capabilities", "eval"]


async def test_where_nothing_can_be_kept_it_works_all_the_same(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    """The cache's place is a file, say: the capabilities are made for this decision alone."""
    (tmp_path / "file").write_text("")
    verdict = await evaluate(cache=tmp_path / "file" / "cache")
    assert verdict.findings


# --- the bundle ------------------------------------------------------------------------------


def test_the_digest_covers_names_and_contents(tmp_path: Path) -> None:
    """A renamed, changed or added policy is another bundle, and so are changed settings."""
    bundle = bundle_of(tmp_path, a="package a", b="package b")
    digests = [opa.bundle_digest(bundle)]
    (bundle / "a.rego").write_text("package c")
    digests.append(opa.bundle_digest(bundle))
    (bundle / "a.rego").rename(bundle / "d.rego")
    digests.append(opa.bundle_digest(bundle))
    (bundle / "data.json").write_text("{}")
    digests.append(opa.bundle_digest(bundle))
    (bundle / "data.json").write_text("{ }")
    digests.append(opa.bundle_digest(bundle))
    assert len(set(digests)) == 5
    assert all(len(d) == 64 for d in digests)


def test_the_digest_leaves_out_what_does_not_decide(tmp_path: Path) -> None:
    """Tests, notes, and an editor's hidden copies do not make a review outdated."""
    bundle = bundle_of(tmp_path, a="package a")
    before = opa.bundle_digest(bundle)
    bundle_of(tmp_path, a_test="package a_test", **{".ipynb_checkpoints__a": "package old"})
    (bundle / "README.md").write_text("notes")
    (bundle / "testdata.json").write_text("{}")
    assert opa.bundle_digest(bundle) == before


async def test_what_the_digest_names_is_what_decided(
    evaluate: Evaluate, script: Callable[[str], Tool], tmp_path: Path
) -> None:
    """A policy that is edited while OPA starts changes neither verdict nor digest."""
    bundle = answering(tmp_path, f"[{finding()}]")
    digest = opa.bundle_digest(bundle)
    meddler = script(f'echo "package tprov" > {bundle}/verdict.rego; exec $OPA "$@"')
    verdict = await evaluate(bundle, opa=meddler)
    assert verdict.bundle_digest == digest != opa.bundle_digest(bundle)
    assert [f.message for f in verdict.findings] == ["Said."]


async def test_no_policies_no_permission(evaluate: Evaluate, tmp_path: Path) -> None:
    """An empty directory, one that is not there, one with tests only: each is said."""
    only_tests = bundle_of(tmp_path / "tests", a_test="package a_test")
    (tmp_path / "empty").mkdir()
    for bundle in (only_tests, tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(PolicyError, match=r"no policy in .* without one nothing is allowed"):
            await evaluate(bundle)


def test_a_directory_that_is_no_bundle_is_not_read_to_its_end(tmp_path: Path) -> None:
    """What is too large for policies is refused."""
    bundle_of(tmp_path, a="package a", b="#" * opa.MAX_BUNDLE)
    with pytest.raises(PolicyError, match="larger than 4 MiB"):
        opa.bundle_digest(tmp_path)


# --- the verdict -----------------------------------------------------------------------------


async def test_findings_come_the_hardest_first(evaluate: Evaluate, tmp_path: Path) -> None:
    """Then by rule and address, so that two verdicts over the same plan are equal."""
    levels = ["advisory", "hard-mandatory", "soft-mandatory", "hard-mandatory"]
    found = [finding(level=level, address=f"a.{i}") for i, level in enumerate(levels)]
    verdict = await evaluate(answering(tmp_path, f"[{','.join(found)}]"))
    actual = [(f.level, f.address) for f in verdict.findings]
    expected = [
        ("hard-mandatory", "a.1"),
        ("hard-mandatory", "a.3"),
        ("soft-mandatory", "a.2"),
        ("advisory", "a.0"),
    ]
    assert expected == actual


async def test_the_text_is_what_opa_prints(
    evaluate: Evaluate, toolchain: Toolchain, tmp_path: Path
) -> None:
    """`text` is byte for byte OPA's `--format pretty`, odd characters and numbers included."""
    odd = finding(message='<b>&é漢\u2028 "quoted"\n\ttab \x01\x7f \b\f 🙂')
    bundle = answering(tmp_path, f"[{odd}]")
    verdict = await evaluate(bundle)
    command = [*toolchain.opa.argv, "eval", "-b", str(bundle), "--format", "pretty", opa.QUERY]
    printed = await asyncio.to_thread(subprocess.check_output, command, text=True)
    assert printed.rstrip("\n") == verdict.text


async def test_everything_that_comes_back_is_scrubbed(evaluate: Evaluate, tmp_path: Path) -> None:
    """Rules may quote what they saw: findings and OPA's text are scrubbed, keys included."""
    said = finding(message="It is s3cret-value.", address="a[s3cret-value]", remedy="s3cret-value")
    bundle = answering(tmp_path, f'[object.union({said}, {{"s3cret-value": "s3cret-value"}})]')
    verdict = await evaluate(bundle, scrub=lambda text: text.replace("s3cret-value", "(hidden)"))
    assert "s3cret" not in repr(verdict)
    assert verdict.findings[0].message == "It is (hidden)."


async def test_a_secret_that_is_a_level_changes_no_level(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    """Scrubbing works on texts; whether somebody may override is not a text."""
    bundle = answering(tmp_path, f"[{finding()}]")
    verdict = await evaluate(bundle, scrub=lambda text: text.replace("advisory", "(hidden)"))
    assert verdict.findings[0].level == "advisory"


async def test_long_text_is_cut_and_findings_are_not(evaluate: Evaluate, tmp_path: Path) -> None:
    """OPA's text is for reading; the findings are for deciding."""
    many = [finding(address=f"a.n{i}") for i in range(400)]
    verdict = await evaluate(answering(tmp_path, f"[{','.join(many)}]"))
    assert len(verdict.findings) == 400
    assert len(verdict.text) <= opa.MAX_TEXT + 2
    assert verdict.text.endswith("\n…")


async def test_more_than_anybody_can_review_is_refused(evaluate: Evaluate, tmp_path: Path) -> None:
    """Nothing is left out silently: too many findings are an error."""
    lots = f"[object.union({finding()}, {{'message': m}}) | some i in numbers.range(1, 2000); m := "
    lots = (
        lots.replace("'", '"')
        + 'sprintf("%d %s", [i, concat("", ["x" | some _ in numbers.range(1, 200)])])]'
    )
    with pytest.raises(TooLarge, match="2000 findings"):
        await evaluate(answering(tmp_path, lots))


async def test_the_exit_code_says_nothing(
    evaluate: Evaluate, script: Callable[[str], Tool]
) -> None:
    """Only the JSON counts."""
    verdict = await evaluate(opa=script('$OPA "$@"; exit 1'))
    assert verdict.findings


# --- what can be wrong with policies ---------------------------------------------------------


async def test_undefined_is_not_allowed(evaluate: Evaluate, tmp_path: Path) -> None:
    """A bundle without the entrypoint, or with one that does not come true, gives no verdict."""
    missing = bundle_of(tmp_path / "1", a="package other\nverdict := {}")
    untrue = bundle_of(tmp_path / "2", a="package tprov\nverdict := {} if input.no_such_thing")
    for bundle in (missing, untrue):
        with pytest.raises(PolicyError, match=r"data\.tprov\.verdict is undefined"):
            await evaluate(bundle)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("[]", "no verdict: it needs a list of findings"),
        ("true", "no verdict: it needs a list of findings"),
        ('{"levels": {"a": "advisory"}}', "no verdict: it needs a list of findings"),
        ('{"findings": {}, "levels": {"a": "advisory"}}', "it needs a list of findings"),
        ('{"findings": []}', "have no rules, and without one nothing is allowed"),
        ('{"findings": [], "levels": {}}', "have no rules, and without one nothing is allowed"),
        ('{"findings": [], "levels": {"a": "off"}}', "rule a has the level 'off', none of hard-"),
        ('{"findings": [], "levels": {"a": ["advisory"]}}', "rule a has the level .* none of"),
        ('{"findings": [1], "levels": {"a": "advisory"}}', "rule without a name has no message"),
        (f'{{"findings": [{finding(message="")}], "levels": {{"a": "advisory"}}}}', "no message"),
        (f'{{"findings": [{finding(level="")}], "levels": {{"a": "advisory"}}}}', "level ''"),
    ],
)
async def test_what_is_no_verdict_is_refused(
    evaluate: Evaluate, tmp_path: Path, value: str, words: str
) -> None:
    """A verdict has findings with a message and a known level, and at least one rule."""
    bundle = bundle_of(tmp_path, verdict=f"package tprov\nverdict := {value}")
    with pytest.raises(PolicyError, match=words):
        await evaluate(bundle)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("package tprov\nverdict := {", r"^rules/bad\.rego:2: unexpected eof token"),
        ("package tprov\nverdict := nobody(1)", r"^rules/bad\.rego:2: undefined function nobody"),
        ("package tprov\nverdict := lower(1)", r"^rules/bad\.rego:2: lower: invalid argument"),
        (
            "package tprov\n\nverdict := lower(input.number)",
            r"^rules/bad\.rego:3: lower: operand 1 must be string but got number\.",
        ),
        ("verdict := 1", r"^rules/bad\.rego:1: package expected"),
    ],
)
async def test_a_mistake_is_told_with_its_line(
    evaluate: Evaluate, tmp_path: Path, text: str, words: str
) -> None:
    """File (as it is called in the bundle), line and message; the remedy is a command."""
    bundle = bundle_of(tmp_path, good="package good", rules__bad=text)
    with pytest.raises(PolicyError, match=words) as caught:
        await evaluate(bundle, plan={"number": 1})
    assert "opa check --strict" in caught.value.remedy
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_several_mistakes_are_told_together(evaluate: Evaluate, tmp_path: Path) -> None:
    """The first three, and how many there are besides."""
    bundle = bundle_of(tmp_path, **{f"f{i}": f"package tprov.f{i}\nx := no{i}()" for i in range(5)})
    with pytest.raises(PolicyError, match=r"f0\.rego:2: .*f2\.rego:2: .*\(and 2 more\)\."):
        await evaluate(bundle)


@pytest.mark.parametrize(
    "call",
    [
        'http.send({"url": "http://127.0.0.1:9", "method": "get"})',
        "opa.runtime().env",
        'net.lookup_ip_addr("localhost")',
    ],
)
async def test_policies_reach_nothing_outside(
    evaluate: Evaluate, tmp_path: Path, call: str
) -> None:
    """Neither the network nor the environment: such a policy does not compile, and why is said."""
    bundle = bundle_of(tmp_path, a=f"package tprov\nverdict := {call}")
    with pytest.raises(PolicyError, match="undefined function") as caught:
        await evaluate(bundle)
    assert "judges the plan alone" in caught.value.remedy


async def test_a_mistake_that_quotes_the_plan_is_scrubbed(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    """OPA prints both values of a rule that has two."""
    text = "package tprov\nverdict := input.a\nverdict := input.b"
    bundle = bundle_of(tmp_path, a=text)
    plan = {"a": "one\nsecret", "b": 2}
    with pytest.raises(PolicyError, match="conflicting values") as caught:
        await evaluate(bundle, plan=plan, scrub=lambda t: t.replace("secret", "(hidden)"))
    assert "secret" not in str(caught.value)


async def test_a_policy_that_does_not_end_is_ended(evaluate: Evaluate, tmp_path: Path) -> None:
    """OPA's own limit ends it."""
    body = "; ".join(f"some {name} in numbers.range(1, 100000)" for name in "abc")
    bundle = bundle_of(tmp_path, a=f"package tprov\nverdict := count([1 | {body}])")
    with pytest.raises(PolicyError, match=r"did not come to an end within 0\.5 s"):
        await evaluate(bundle, timeout=0.5)


# --- what turns a rule off -------------------------------------------------------------------

ADMIN_RULE = "rules/account_admin.rego"
PACKAGE = "package tprov.rules.account_admin"
FIRST = "findings contains plan.about(change, words) if {"


def ours(folder: Path) -> Path:
    """A copy of our own policies, to spoil."""
    return Path(shutil.copytree(POLICIES, folder / "policies"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("findings contains", "finding contains", "nothing reads what `finding contains` collects"),
        (FIRST, FIRST.replace("findings", "finding"), "nothing reads what `finding contains`"),
        (FIRST, FIRST.replace("findings", "deny"), "nothing reads what `deny contains` collects"),
        (
            FIRST,
            "deny contains plan.about(change, words) if {\n\t# deny\n\tfinding := `deny`",
            "nothing reads what `deny contains` collects",
        ),
        (PACKAGE, "package tprov.rule.account_admin", "package is tprov.rule"),
        (PACKAGE, "package tprov.rules.a.g", "package is tprov.rules.a.g"),
        (PACKAGE, "package tprov.rules", "package is tprov.rules,"),
        ("about := rego", "abuot := rego", "does not say what it is about"),
    ],
)
async def test_a_typing_mistake_that_turns_a_rule_off_is_refused(
    evaluate: Evaluate, tmp_path: Path, old: str, new: str, words: str
) -> None:
    """An administrator must not be let through because of one letter; the file is named."""
    bundle = ours(tmp_path)
    text = (bundle / ADMIN_RULE).read_text()
    assert old in text
    (bundle / ADMIN_RULE).write_text(text.replace(old, new))
    with pytest.raises(PolicyError, match=re.escape(words)) as caught:
        await evaluate(bundle, plan=(PLANS / "admin_user.json").read_bytes())
    assert str(caught.value).startswith(f"{ADMIN_RULE}: ")
    assert caught.value.remedy


async def test_a_file_in_the_package_of_another_is_refused(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    """Its own findings could be missing, and the other's would hide that."""
    bundle = ours(tmp_path)
    (bundle / "rules" / "tenure.rego").write_text("package tprov.rules.retention\n\nx := 1\n")
    with pytest.raises(PolicyError, match=r"^rules/tenure\.rego: its package is that of rules/ret"):
        await evaluate(bundle)


HEAD = """# METADATA
# scope: package
# title: Mine
# custom: {level: advisory, remedy: None.}
package tprov.rules.mine

about := rego.metadata.chain()

"""


@pytest.mark.parametrize(
    "rule",
    [
        'findings := "text"',
        "findings := 5",
        "findings := true if input.format_version",
        "findings := true if input.no_such_thing",
        'findings := [{"address": "", "message": "A list."}]',
        'findings["x"] := 1',
        'deny contains "x"',
        "",
    ],
)
async def test_a_rule_without_a_set_of_findings_is_refused(
    evaluate: Evaluate, tmp_path: Path, rule: str
) -> None:
    """Whatever else they are, nothing in them would count."""
    bundle = ours(tmp_path)
    (bundle / "rules" / "mine.rego").write_text(HEAD + rule + "\n")
    with pytest.raises(PolicyError, match=r"^rules/mine\.rego: .* would never object"):
        await evaluate(bundle, plan=(PLANS / "namespace.json").read_bytes())


async def test_a_set_that_findings_are_made_of_is_no_mistake(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    """A rule may collect first, and find then; nor need it find anything."""
    bundle = ours(tmp_path)
    body = (
        "odd contains change if { some change in input.resource_changes; change.odd }\n\n"
        'findings contains {"address": c.address, "message": "Odd."} if some c in odd\n'
    )
    (bundle / "rules" / "mine.rego").write_text(HEAD + body)
    verdict = await evaluate(bundle, plan=(PLANS / "namespace.json").read_bytes())
    assert verdict.findings == []


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
    ("found", "words"),
    [
        ('"text"', "has no message"),
        ("5", "has no message"),
        ("null", "has no message"),
        ('["text"]', "has no message"),
        ("{}", "has no message"),
        ('{"address": "", "message": 5}', "has a message that is no text"),
        ('{"address": "", "message": {"a": 1}}', "has a message that is no text"),
        ('{"address": "", "message": false}', "has a message that is no text"),
        ('{"address": ["a"], "message": "Said."}', "has an address that is no text"),
    ],
)
async def test_a_finding_that_is_no_sentence_is_told_by_its_rule(
    evaluate: Evaluate, tmp_path: Path, found: str, words: str, alone: bool
) -> None:
    """By the file that has the mistake, which is never verdict.rego."""
    bundle = ours(tmp_path)
    if alone:
        for rule in (bundle / "rules").glob("*.rego"):
            rule.unlink()
    (bundle / "rules" / "mine.rego").write_text(HEAD + f"findings contains {found}\n")
    with pytest.raises(PolicyError, match=words) as caught:
        await evaluate(bundle, plan=(PLANS / "namespace.json").read_bytes())
    assert "rules/mine.rego" in str(caught.value)
    assert "verdict.rego" not in str(caught.value)


# --- links -----------------------------------------------------------------------------------


async def test_a_linked_directory_of_rules_decides(evaluate: Evaluate, tmp_path: Path) -> None:
    """Rules that several places share are linked to; what changes there is another bundle."""
    bundle = ours(tmp_path)
    (bundle / "rules").rename(tmp_path / "shared")
    (bundle / "rules").symlink_to("../shared")
    (bundle / "again").symlink_to(".")
    verdict = await evaluate(bundle, plan=(PLANS / "admin_user.json").read_bytes())
    assert [f.rule for f in verdict.findings] == ["account_admin"]
    with (tmp_path / "shared" / "account_admin.rego").open("a") as file:
        file.write("\n# changed\n")
    assert opa.bundle_digest(bundle) != verdict.bundle_digest


def test_a_link_to_nowhere_among_policies_is_said(tmp_path: Path) -> None:
    """It was meant to be rules."""
    bundle = bundle_of(tmp_path, a="package a")
    (bundle / "rules").symlink_to("../gone")
    with pytest.raises(PolicyError, match=r"rules in .* is a link to nowhere \(\.\./gone\)"):
        opa.bundle_digest(bundle)


# --- what can be wrong with the plan, and with OPA -------------------------------------------


async def test_a_plan_that_is_cut_off_is_not_judged(evaluate: Evaluate) -> None:
    """Half a JSON document."""
    with pytest.raises(PolicyError, match="not readable JSON"):
        await evaluate(plan=(PLANS / "namespace.json").read_bytes()[:-10])


@pytest.mark.parametrize("plan", [b"", b"null", b"no plan", b"[]", b"{}", b'"{}"'])
async def test_what_is_no_plan_is_forbidden(evaluate: Evaluate, plan: bytes) -> None:
    """OPA would read YAML, or nothing at all; our policies say that they cannot judge that."""
    verdict = await evaluate(plan=plan)
    assert {f.rule for f in verdict.at("hard-mandatory")} == {"undecidable"}


async def test_no_opa(evaluate: Evaluate, toolchain: Toolchain) -> None:
    """It is gone since it was found."""
    for gone in ("/no/such/opa", "no-such-opa"):
        with pytest.raises(ToolError, match="opa cannot be started") as caught:
            await evaluate(opa=replace(toolchain.opa, argv=(gone,)))
        assert "tprov doctor" in caught.value.remedy


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("kill -9 $$", "OPA was ended by signal 9"),
        ("echo pardon", r"OPA did not answer in JSON \(exit code 0\)"),
        ("echo '[]'", "OPA did not answer in JSON"),
        ("echo first >&2; echo last >&2; exit 3", r"exit code 3 and no answer: last"),
        ("exit 0", r"exit code 0 and no answer: it said nothing"),
    ],
)
async def test_an_opa_that_does_not_work(
    evaluate: Evaluate, script: Callable[[str], Tool], body: str, words: str
) -> None:
    """It dies, talks nonsense or keeps silent: each is one sentence."""
    working_first = f'[ "$1" = eval ] || exec $OPA "$@"; {body}'
    with pytest.raises(ToolError, match=words):
        await evaluate(opa=script(working_first))


async def test_an_opa_that_hangs_is_ended(
    evaluate: Evaluate, script: Callable[[str], Tool], tmp_path: Path
) -> None:
    """Whoever gives up waiting for the verdict takes OPA with it."""
    pid_file = tmp_path / "pid"
    hangs = script(f'[ "$1" = eval ] || exec $OPA "$@"; echo $$ > {pid_file}; exec sleep 600')
    decision = asyncio.ensure_future(evaluate(opa=hangs))
    await asyncio.to_thread(wait_for_text, pid_file)
    decision.cancel()
    with pytest.raises(asyncio.CancelledError):
        await decision
    assert not psutil.pid_exists(int(pid_file.read_text()))


async def test_an_opa_that_does_not_answer_in_time(
    evaluate: Evaluate, script: Callable[[str], Tool]
) -> None:
    """A limit that OPA itself does not keep is kept by us."""
    hangs = script('[ "$1" = eval ] || exec $OPA "$@"; exec sleep 600')
    with pytest.raises(ToolError, match=r"opa did not end within .* s and was ended"):
        await evaluate(opa=hangs, timeout=0.2)


async def test_many_decisions_at_once(evaluate: Evaluate) -> None:
    """Decisions share nothing but the cache, which the first of them may all want to write."""
    plan = (PLANS / "admin_user.json").read_bytes()
    verdicts = await asyncio.gather(*(evaluate(plan=plan) for _ in range(6)))
    assert len({json.dumps([f.message for f in v.findings]) for v in verdicts}) == 1

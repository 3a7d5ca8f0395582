"""Open Policy Agent: one `opa eval` per decision, the plan on its standard input.

The plan that policies judge is the real one, with its secrets, so it is never written to disk, OPA
gets an environment with nothing in it and no function that reaches outside, and every text that
comes back is scrubbed. The verdict is read from OPA's JSON, never from its exit code: what is
undefined, garbled or empty is an error, and an error is never 'allowed'.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

from tprov_kernel.errors import PolicyError, TooLarge, ToolError
from tprov_kernel.files import leads_nowhere, replace_private, walk, write_private
from tprov_kernel.messages import Finding, Level, Verdict
from tprov_kernel.process import Completed, Ending, Guard, clean_environment, run
from tprov_kernel.toolchain import Tool
from tprov_kernel.toolchain.places import tools_home

QUERY = "data.tprov.verdict"
_SHAPES = (
    "{name | is_set(data.tprov.rules[name].findings)}",
    "{name | is_array(data.tprov.rules[name].about)}",
)
"""Which rules are made as a rule has to be, asked without the help of the bundle's own verdict."""

FORBIDDEN = frozenset({"http.send", "net.lookup_ip_addr", "opa.runtime"})
"""What lets Rego reach outside: the network, and the environment."""

LEVELS: tuple[Level, ...] = tuple(reversed(get_args(Level)))
"""The levels, the hardest first."""

MAX_BUNDLE = 4 << 20
MAX_FINDINGS = 256 << 10
MAX_TEXT = 32 << 10
MAX_TRACE = 128 << 10
_QUICK = Ending(terminate=1)
_PACKAGE = re.compile(r"^\s*package\s+([^\s#;]+)", re.MULTILINE)
_RULE = re.compile(r"tprov\.rules\.(\w+)")
_SET = re.compile(r"^\s*(\w+)\s+contains\b", re.MULTILINE)
_ASIDE = re.compile(r'"(?:\\.|[^"\\\n])*"|`[^`]*`|#[^\n]*')
_NOISE = re.compile(r"\S+:\d+\s+(\| )*(Redo|Index)\b")
_PLACED = re.compile(r"(?P<where>[^\s:]+:\d+): (?:rego_\w+: )?(?P<what>.+)")

Scrub = Callable[[str], str]


# --- argument lists --------------------------------------------------------------------------


def capabilities_args() -> list[str]:
    """`opa capabilities`: every function that this OPA has."""
    return ["capabilities", "--current"]


def eval_args(*, bundle: str, capabilities: Path, timeout: float, query: str = QUERY) -> list[str]:
    """`opa eval` of one query, its input on stdin, its answer as JSON.

    Args:
        bundle: The policies' directory.
        capabilities: What OPA may do, see `reduced`.
        timeout: Seconds after which OPA gives up.
        query: What is asked.
    """
    return [
        *("eval", "--format", "json", "--bundle", bundle, "--stdin-input"),
        *("--capabilities", str(capabilities), "--strict-builtin-errors"),
        *("--timeout", f"{timeout:g}s", query),
    ]


def explain_args(
    *, bundle: str, capabilities: Path, timeout: float, query: str, values: bool
) -> list[str]:
    """`opa eval` of one query, told step by step.

    Args:
        bundle: The policies' directory.
        capabilities: What OPA may do, see `reduced`.
        timeout: Seconds after which OPA gives up.
        query: What is asked.
        values: Show the values of variables. OPA cuts them short, so that a secret among them could
            not be recognised any more: only for an input without secrets.
    """
    usual = eval_args(bundle=bundle, capabilities=capabilities, timeout=timeout, query=query)
    told = ["--explain", "full", *(["--var-values"] if values else [])]
    return ["eval", "--format", "pretty", *told, *usual[3:]]


def reduced(capabilities: Mapping[str, Any]) -> dict[str, Any]:
    """Take from OPA's capabilities what reaches outside; no schema is fetched from anywhere."""
    builtins = [b for b in capabilities["builtins"] if b["name"] not in FORBIDDEN]
    return {**capabilities, "builtins": builtins, "allow_net": []}


# --- the bundle ------------------------------------------------------------------------------


def bundle_digest(bundle: Path) -> str:
    """SHA-256 over the files that decide, their names and contents; hex.

    Raises:
        PolicyError: The bundle cannot be read, or has no policy in it.
    """
    return _digest(read_bundle(bundle))


def read_bundle(bundle: Path) -> dict[str, bytes]:
    """Read the files that decide, by their path within the bundle.

    These are `*.rego` and `data.json` (or `data.yaml`), as OPA reads a bundle; tests
    (`*_test.rego`), and whatever is hidden (an editor's copies), are not among them. Links to
    directories are followed.

    Raises:
        PolicyError: It cannot be read, is too large for a bundle, or has no policy in it.
    """
    files: dict[str, bytes] = {}
    try:
        visible = walk(bundle, skip=lambda name: name.startswith(".")) if bundle.is_dir() else ()
        for path in visible:
            name = path.relative_to(bundle).as_posix()
            if leads_nowhere(path):
                raise PolicyError(
                    f"{name} in {bundle} is a link to nowhere ({path.readlink()}).",
                    remedy="Mend the link, or remove it.",
                )
            if decides(name):
                files[name] = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"The policies in {bundle} cannot be read: {error.strerror}.") from None
    if not any(name.endswith(".rego") for name in files):
        raise PolicyError(
            f"There is no policy in {bundle}, and without one nothing is allowed.",
            remedy="Put the policies (*.rego) back, or name their directory.",
        )
    if sum(map(len, files.values())) > MAX_BUNDLE:
        raise PolicyError(
            f"The policies in {bundle} are larger than {MAX_BUNDLE >> 20} MiB.",
            remedy="Keep nothing but policies and their settings there.",
        )
    return files


def rules_in(files: Mapping[str, bytes]) -> list[str]:
    """Names of the rules in a bundle: the packages below `tprov.rules`."""
    return sorted(_rule_files(files))


def _rule_files(files: Mapping[str, bytes]) -> dict[str, str]:
    """Name of each rule to the file that it is in."""
    found = {}
    for name in sorted(files, reverse=True):
        if name.endswith(".rego") and (rule := _RULE.fullmatch(_package(files[name]))):
            found[rule[1]] = name
    return found


def _package(content: bytes) -> str:
    found = _PACKAGE.search(content.decode(errors="replace"))
    return found[1] if found else ""


def decides(name: str) -> bool:
    """Whether a file of this name within a bundle is among those that decide."""
    if any(part.startswith(".") for part in name.split("/")):
        return False
    if name.endswith(".rego"):
        return not name.endswith("_test.rego")
    return name.rpartition("/")[2] in {"data.json", "data.yaml", "data.yml"}


def _digest(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        for part in (name.encode(), files[name]):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


# --- the decision ----------------------------------------------------------------------------


async def evaluate(
    opa: Tool,
    guard: Guard,
    *,
    bundle: Path,
    plan: bytes,
    scrub: Scrub,
    timeout: float = 30.0,
    cache: Path | None = None,
) -> Verdict:
    """Let the policies in a directory judge a plan.

    OPA reads a private copy of the bundle: what the digest says is what decided, whatever happens
    to the directory meanwhile. See `evaluate_files`; errors are the same.
    """
    files = read_bundle(bundle)
    return await evaluate_files(
        opa, guard, files=files, plan=plan, scrub=scrub, timeout=timeout, cache=cache
    )


async def evaluate_files(
    opa: Tool,
    guard: Guard,
    *,
    files: Mapping[str, bytes],
    plan: bytes,
    scrub: Scrub,
    timeout: float = 30.0,
    cache: Path | None = None,
) -> Verdict:
    """Let policies judge a plan.

    Args:
        opa: Which OPA.
        guard: Who starts it.
        files: The policies, by their path within the bundle (`read_bundle`).
        plan: The real plan, `terraform show -json`.
        scrub: Takes secrets out of a text; applied to everything that is returned or raised.
        timeout: Seconds in which the policies have to come to an end.
        cache: Where OPA's reduced capabilities are kept; the tools' directory when not given.

    Raises:
        PolicyError: The policies do not compile, fail, or give no verdict.
        TooLarge: They find more than fits into a review.
        ToolError: OPA is missing, hangs, died, or did not answer in JSON.
    """
    with tempfile.TemporaryDirectory(prefix="tprov-policies-") as folder:
        runner = _Runner(opa, guard, cwd=Path(folder), timeout=timeout, scrub=scrub)
        capabilities = await runner.capabilities(cache or tools_home(os.environ))
        _copy(files, Path(folder) / "bundle")
        value, *shapes = await runner.ask(capabilities, plan)
    _check_rules(files, *shapes)
    return _verdict(value, files=files, opa=opa, scrub=scrub)


async def explain(
    opa: Tool,
    guard: Guard,
    *,
    files: Mapping[str, bytes],
    rule: str,
    plan: bytes,
    scrub: Scrub,
    values: bool,
    timeout: float = 30.0,
    cache: Path | None = None,
) -> str:
    """Let OPA tell, step by step, how one rule comes to its findings, or to none.

    What OPA does again (`Redo`), and how it looks rules up (`Index`), is left out.

    Args:
        opa: Which OPA.
        guard: Who starts it.
        files: The policies; they have to compile.
        rule: Its name, or ``undecidable``.
        plan: What it is asked about.
        scrub: Takes secrets out of a text.
        values: Show the values of variables: only for a plan without secrets (`explain_args`).
        timeout: Seconds in which it has to come to an end.
        cache: Where OPA's reduced capabilities are kept; the tools' directory when not given.

    Raises:
        PolicyError: There is no such rule.
        ToolError: OPA is missing, hangs, or died.
    """
    known = [*rules_in(files), "undecidable"]
    if rule not in known:
        raise PolicyError(
            f"There is no rule {rule!r} in these policies.",
            remedy=f"They have {', '.join(known)}.",
        )
    of = "tprov.undecidable" if rule == "undecidable" else f"tprov.rules.{rule}"
    with tempfile.TemporaryDirectory(prefix="tprov-policies-") as folder:
        runner = _Runner(opa, guard, cwd=Path(folder), timeout=timeout, scrub=scrub)
        capabilities = await runner.capabilities(cache or tools_home(os.environ))
        _copy(files, Path(folder) / "bundle")
        told = await runner.tell(capabilities, plan, query=f"data.{of}.findings", values=values)
    lines = [line.rstrip() for line in told.splitlines() if not _NOISE.match(line)]
    text = scrub("\n".join(line.removesuffix(" {}").rstrip() for line in lines))
    return text if len(text) <= MAX_TRACE else text[:MAX_TRACE].rpartition("\n")[0] + "\n…"


def _copy(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


class _Runner:
    """Runs `opa` in a private folder, and turns every way it can fail into a sentence."""

    def __init__(self, opa: Tool, guard: Guard, *, cwd: Path, timeout: float, scrub: Scrub) -> None:
        self._opa, self._guard, self._cwd = opa, guard, cwd
        self._timeout, self._scrub = timeout, scrub
        self._env = clean_environment(keep=("PATH", "HOME", "LANG", "TMPDIR"))

    async def capabilities(self, cache: Path) -> Path:
        """Give the file with the reduced capabilities of this OPA, made once per version."""
        kept = cache / f"opa-capabilities-{self._opa.version}.json"
        if kept.is_file():
            return kept
        done = await self._run(capabilities_args())
        content = json.dumps(reduced(_json_of(done))).encode()
        with suppress(OSError):  # where nothing can be kept, it is made each time
            kept.parent.mkdir(parents=True, exist_ok=True)
            replace_private(kept, content)
            return kept
        write_private(self._cwd / kept.name, content)
        return self._cwd / kept.name

    async def ask(self, capabilities: Path, plan: bytes) -> list[Any]:
        """Evaluate the query; give its value, and those of `_SHAPES`."""
        # In the bundle's own directory, so that errors name files as people know them.
        argv = eval_args(
            bundle=".",
            capabilities=capabilities,
            timeout=self._timeout,
            query="; ".join([QUERY, *_SHAPES]),
        )
        done = await self._run(argv, stdin=plan, cwd=self._cwd / "bundle")
        if not done.stdout.strip():
            raise self._silence(done)
        answer = _json_of(done)
        if errors := answer.get("errors"):
            raise self._refusal(errors)
        try:
            found = [one["value"] for one in answer["result"][0]["expressions"]]
            value, with_findings, with_about = found
            return [value, with_findings, with_about]
        except (KeyError, IndexError, TypeError, ValueError):
            raise PolicyError(
                f"The policies give no verdict: {QUERY} is undefined.",
                remedy="The package tprov needs a rule named verdict (see policies/verdict.rego).",
            ) from None

    async def tell(self, capabilities: Path, plan: bytes, *, query: str, values: bool) -> str:
        """Evaluate a query; give how OPA did it, and its value below."""
        argv = explain_args(
            bundle=".",
            capabilities=capabilities,
            timeout=self._timeout,
            query=query,
            values=values,
        )
        done = await self._run(argv, stdin=plan, cwd=self._cwd / "bundle")
        if done.returncode != 0 or not done.stdout.strip():
            raise self._silence(done)
        return done.stdout.decode(errors="replace")

    async def _run(
        self, arguments: list[str], *, stdin: bytes = b"", cwd: Path | None = None
    ) -> Completed:
        done = await run(
            self._guard,
            [*self._opa.argv, *arguments],
            cwd=cwd or self._cwd,
            env=self._env,
            stdin=stdin,
            # OPA's own limit comes first, and names the line.
            timeout=self._timeout + 3,
            on_cancel="interrupt",
            ending=_QUICK,
        )
        if done.returncode < 0:
            raise ToolError(
                f"OPA was ended by signal {-done.returncode} while it judged the plan.",
                remedy="Try again; if it happens again, look whether memory runs out.",
            )
        return done

    def _silence(self, done: Completed) -> Exception:
        words = self._scrub(done.stderr.decode(errors="replace")).strip()
        if "unable to parse input" in words:
            return PolicyError(
                "The plan is not readable JSON, so OPA cannot judge it.",
                remedy="Plan again.",
            )
        last = words.splitlines()[-1] if words else "it said nothing"
        return ToolError(
            f"OPA ended with exit code {done.returncode} and no answer: {_short(last)}.",
            remedy="Run `tprov doctor`: it says whether this OPA works.",
        )

    def _refusal(self, errors: list[Mapping[str, Any]]) -> PolicyError:
        if any(error.get("code") == "eval_cancel_error" for error in errors):
            return PolicyError(
                f"The policies did not come to an end within {self._timeout:g} s.",
                remedy="Look for a rule that compares everything with everything.",
            )
        said = [words for error in errors for words in _words(error, self._scrub)]
        more = f" (and {len(said) - 3} more)" if len(said) > 3 else ""
        remedy = "Correct the policy; `opa check --strict -b policies` shows what is wrong."
        if any(name in words for name in FORBIDDEN for words in said):
            remedy = (
                "A policy judges the plan alone: it may not use the network or the environment."
            )
        return PolicyError(f"{'; '.join(said[:3])}{more}.", remedy=remedy)


def _json_of(done: Completed) -> dict[str, Any]:
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ToolError(
            f"OPA did not answer in JSON (exit code {done.returncode}).",
            remedy="Run `tprov doctor`: it says whether this OPA works.",
        )
    return answer


def _words(error: Mapping[str, Any], scrub: Scrub) -> list[str]:
    """Each mistake as 'file:line: what', as far as OPA says where; it may quote the plan."""
    message = scrub(str(error.get("message", "")))
    where = error.get("location") or {}
    if where.get("file"):
        return [_short(f"{where['file']}:{where['row']}: {_flat(message)}")]
    # What does not parse has its places in the message, one a line (and its end a second time).
    places: dict[str, str] = {}
    for found in _PLACED.finditer(message):
        places.setdefault(found["where"], f"{found['where']}: {found['what']}")
    return [_short(words) for words in places.values()] or [_short(_flat(message))]


def _flat(message: str) -> str:
    return " ".join(message.removeprefix("loading error: ").split())


def _short(words: str, limit: int = 500) -> str:
    words = words.rstrip(".")
    return words if len(words) <= limit else words[: limit - 1] + "…"


# --- the verdict -----------------------------------------------------------------------------


def _check_rules(
    files: Mapping[str, bytes], with_findings: list[str], with_about: list[str]
) -> None:
    """Refuse rules that a typing mistake has turned off: they would find nothing, silently.

    Args:
        files: The policies.
        with_findings: Rules whose `findings` are a set.
        with_about: Rules that have `about`.
    """
    rules = _rule_files(files)
    for name in sorted(files):
        package = _package(files[name])
        below = name.startswith("rules/") or package.startswith("tprov.rules")
        if not name.endswith(".rego") or not below:
            continue
        rule = _RULE.fullmatch(package)
        if not rule:
            raise _no_rule(
                f"{name}: its package is {package}, and nobody asks it",
                "Name the package of a rule tprov.rules.NAME, with nothing below NAME.",
            )
        if rules[rule[1]] != name:
            raise _no_rule(
                f"{name}: its package is that of {rules[rule[1]]}",
                "Give each rule a file and a package of its own.",
            )
        if wrong := _unread(files[name]):
            raise _no_rule(
                f"{name}: nothing reads what `{wrong} contains` collects",
                "Write `findings contains`, or remove it.",
            )
        if rule[1] not in with_findings:
            raise _no_rule(
                f"{name}: it has no set of findings",
                "Write `findings contains plan.about(change, words) if { ... }`.",
            )
        if rule[1] not in with_about:
            raise _no_rule(
                f"{name}: it does not say what it is about",
                "Write annotations above the package, and `about := rego.metadata.chain()`.",
            )


def _no_rule(what: str, remedy: str) -> PolicyError:
    return PolicyError(f"{what}, so this rule would never object.", remedy=remedy)


def _unread(content: bytes) -> str:
    """Name of a set in a rule's file that nothing there reads; empty without one."""
    text = _ASIDE.sub("", content.decode(errors="replace"))
    names = _SET.findall(text)
    for name in names:
        if name == "findings":
            continue
        # A variable may be called `finding`, which would look like somebody who reads the set.
        typed = difflib.SequenceMatcher(None, name, "findings").ratio() > 0.8
        if typed or len(re.findall(rf"\b{name}\b", text)) <= names.count(name):
            return str(name)
    return ""


def _verdict(value: Any, *, files: Mapping[str, bytes], opa: Tool, scrub: Scrub) -> Verdict:
    rules = _rule_files(files)
    if not isinstance(value, dict) or not isinstance(value.get("findings"), list):
        raise PolicyError(
            f"{QUERY} is no verdict: it needs a list of findings, and the level of each rule.",
            remedy="See policies/verdict.rego.",
        )
    levels = value.get("levels")
    if not isinstance(levels, dict) or not levels:
        raise PolicyError(
            "The policies have no rules, and without one nothing is allowed.",
            remedy="Put the rules (policies/rules) back.",
        )
    for rule, level in levels.items():
        _level(_named(rule, rules), level, scrub)
    if unasked := sorted(rules.keys() - levels.keys()):
        raise PolicyError(
            f"{rules[unasked[0]]}: the verdict does not ask this rule (no level of it).",
            remedy="Let verdict.rego collect from data.tprov.rules.",
        )
    findings = [_finding(found, rules, scrub) for found in value["findings"]]
    findings.sort(key=_hardness)
    size = sum(len(f.message) + len(f.remedy) + len(f.address) for f in findings)
    if size > MAX_FINDINGS:
        raise TooLarge(
            f"The policies have {len(findings)} findings, more than anybody can review.",
            remedy="Make the change in smaller steps.",
        )
    text = _pretty(_scrubbed(value, scrub))
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT].rpartition("\n")[0] + "\n…"
    return Verdict(
        findings=findings, bundle_digest=_digest(files), opa_version=opa.version, text=text
    )


def _finding(found: Any, rules: Mapping[str, str], scrub: Scrub) -> Finding:
    found = found if isinstance(found, dict) else {}
    rule = _named(str(found.get("rule") or "without a name"), rules)
    for name in ("message", "address"):
        if not isinstance(found.get(name, ""), str):
            raise PolicyError(
                f"A finding of the rule {scrub(rule)} has {_AN[name]} that is no text.",
                remedy="Make findings with plan.about(change, words); sprintf makes a text.",
            )
    if not found.get("message"):
        raise PolicyError(
            f"A finding of the rule {scrub(rule)} has no message.",
            remedy="Make findings with plan.about(change, words).",
        )
    fields = ("rule", "address", "message", "remedy", "title")
    texts = {name: scrub(str(found.get(name, ""))) for name in fields}
    return Finding(level=_level(rule, found.get("level"), scrub), **texts)


_AN = {"message": "a message", "address": "an address"}


def _named(rule: str, rules: Mapping[str, str]) -> str:
    """A rule's name, and its file where that is known."""
    return f"{rule} ({rules[rule]})" if rule in rules else rule


def _level(rule: str, level: object, scrub: Scrub) -> Level:
    """Check a level; it is not scrubbed, being one of three words."""
    for known in LEVELS:
        if level == known:
            return known
    raise PolicyError(
        f"The rule {scrub(rule)} has the level {scrub(repr(level))}, none of {', '.join(LEVELS)}.",
        remedy="Annotate the rule (custom: level), or correct `levels` in the settings.",
    )


def _hardness(finding: Finding) -> tuple[int, str, str, str]:
    return LEVELS.index(finding.level), finding.rule, finding.address, finding.message


def _scrubbed(value: Any, scrub: Scrub) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, list):
        return [_scrubbed(item, scrub) for item in value]
    if isinstance(value, dict):
        return {scrub(key): _scrubbed(item, scrub) for key, item in value.items()}
    return value


_ESCAPED = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def _pretty(value: Any) -> str:
    """What `opa eval --format pretty` prints of a value, without a second process.

    It is Go's indented JSON; a test compares the two.
    """
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True).translate(_ESCAPED)

"""Terraform: pure functions build argument lists, one class runs them.

The environment is owned: what Terraform and its plug-ins get is made here, nothing is inherited.
Texts for people come from Terraform's own `-json` events, scrubbed by the caller.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tprov_kernel.errors import ConfigurationError, TerraformFailed, ToolError, TprovError
from tprov_kernel.given import PRIVATE_FILE, VARIABLES_FILE
from tprov_kernel.messages import ApplyResult
from tprov_kernel.process import Completed, Ending, Guard, clean_environment, run
from tprov_kernel.redaction import (
    Scrubber,
    redact_plan,
    secrets_of_state,
    secrets_of_state_file,
    without_credentials,
)
from tprov_kernel.settings import CloudSettings
from tprov_kernel.toolchain import Tool

Event = dict[str, Any]

LOCK_TIMEOUT = "10s"
QUICK = Ending(interrupt=2, terminate=1)
APPLY_ENDING = Ending(wait=20, interrupt=10, terminate=2)
"""When the worker dies, a Terraform that applies may finish; then it is asked, then it is ended."""

_TRANSIENT = re.compile(
    r"unavailable|deadline ?exceeded|resource ?exhausted|connection (refused|reset)|timed? ?out"
    r"|plugin (did not respond|exited|crashed)|remote plugin message|connection is shut down"
    r"|request was cancelled"
    r"|temporarily|code = (internal|aborted|unknown)|state lock|too many requests|\b50[234]\b",
    re.IGNORECASE,
)
_PREAMBLE = re.compile(r"^Terraform encountered problems during initiali[sz]ation", re.IGNORECASE)
"""Says only that the others follow."""
_ASIDE = re.compile(
    r" (?:To silence these warnings|Use a -var or -var-file command line argument|To see which"
    r" modules are currently depending|Lock Info: |Ensure that UTF-8 encoding is selected).*"
)
"""Advice for people who type `terraform` themselves."""

_STATE = "Unsupported state file format"
_REMEDIES = (
    (
        "No value for required variable",
        "Give it a value: in terraform.tfvars, by `--var NAME=VALUE`, or in a notebook as an"
        " argument of `lab.start`.",
    ),
    (
        "does not match any of the checksums",
        "Put back the provider that the stack was initialised with. If the new one is meant, remove"
        " .terraform and .terraform.lock.hcl from the stack's directory. Then recheck, or start"
        " again.",
    ),
    (
        "Required plugins are not installed",
        "Put the provider back: `tprov setup` does it. Then recheck, or start again.",
    ),
    (
        _STATE,
        "Put the state's backup in its place: terraform.tfstate.backup lies beside it.",
    ),
)
"""What Terraform says, and what to do about it here."""

CORRECT = "Correct the configuration, then start again."
DOCTOR = "Run `tprov doctor`: it says whether this Terraform works."


# --- argument lists --------------------------------------------------------------------------


def init_args() -> list[str]:
    """`terraform init` without questions."""
    return ["init", "-input=false", "-no-color", "-json"]


def plan_args(out: Path, *, destroy: bool) -> list[str]:
    """`terraform plan` into a file; exit code 2 means that there are changes."""
    args = ["plan", "-input=false", "-json", "-detailed-exitcode", f"-lock-timeout={LOCK_TIMEOUT}"]
    return [*args, *(["-destroy"] if destroy else []), f"-out={out}"]


def show_args(plan: Path) -> list[str]:
    """`terraform show` of a saved plan, as JSON."""
    return ["show", "-json", "-no-color", str(plan)]


def apply_args(plan: Path) -> list[str]:
    """`terraform apply` of a saved plan; there is no other way to apply in this project."""
    return ["apply", "-input=false", "-json", f"-lock-timeout={LOCK_TIMEOUT}", str(plan)]


def output_args() -> list[str]:
    """`terraform output`, as JSON."""
    return ["output", "-json", "-no-color"]


def import_args(address: str, id: str) -> list[str]:
    """`terraform import` of one existing object into the state."""
    return ["import", "-input=false", "-no-color", f"-lock-timeout={LOCK_TIMEOUT}", address, id]


def state_args() -> list[str]:
    """`terraform state pull`: the state wherever its backend keeps it."""
    return ["state", "pull"]


# --- reading what it says --------------------------------------------------------------------


def parse_events(text: bytes) -> list[Event]:
    """Parse `-json` output; what is no JSON object (a plug-in's panic, say) is left out."""
    return [event for line in text.splitlines() if (event := parse_event(line)) is not None]


def parse_event(line: str | bytes) -> Event | None:
    """Parse one line of `-json` output."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """An error or a warning of Terraform's."""

    severity: Literal["error", "warning"]
    summary: str
    detail: str = ""
    address: str = ""
    file: str = ""
    line: int = 0

    @property
    def sentence(self) -> str:
        """Summary, detail and place in one line."""
        place = f" ({self.file}:{self.line})" if self.file else ""
        if Path(self.file).name in (VARIABLES_FILE, PRIVATE_FILE):
            place = " (given with the run)"
        of = f"{self.address}: " if self.address else ""
        said = f"{self.summary}: {self.detail}" if self.detail else self.summary
        text = " ".join(said.split())
        return f"{of}{_ASIDE.sub('', text).rstrip('.')}{place}."


def diagnostics(events: Sequence[Event]) -> list[Diagnostic]:
    """The diagnostics among `-json` events, errors first; source snippets are not passed on."""
    found = [_diagnostic(e["diagnostic"]) for e in events if isinstance(e.get("diagnostic"), dict)]
    return sorted(found, key=lambda d: d.severity != "error")


def refused(events: Sequence[Event]) -> list[str]:
    """Addresses of which an apply was told that what it was to create exists already."""
    return [
        d.address
        for d in diagnostics(events)
        if d.address and re.search(r"already ?exists|exists already", d.sentence, re.IGNORECASE)
    ]


def doubtful(events: Sequence[Event]) -> list[str]:
    """Addresses that an apply began, and whose end it did not tell, or only that nobody answers."""
    told: dict[str, list[str]] = {}
    for event in events:
        address = ((event.get("hook") or {}).get("resource") or {}).get("addr")
        if address:
            told.setdefault(address, []).append(str(event.get("type")))
    unsure = {d.address for d in diagnostics(events) if _TRANSIENT.search(d.sentence)}
    return [
        address
        for address, kinds in told.items()
        if "apply_start" in kinds and "apply_complete" not in kinds
        if "apply_errored" not in kinds or address in unsure
    ]


def _diagnostic(raw: Mapping[str, Any]) -> Diagnostic:
    place = raw.get("range") or {}
    return Diagnostic(
        severity="error" if raw.get("severity") == "error" else "warning",
        summary=str(raw.get("summary", "")),
        detail=str(raw.get("detail", "")),
        address=str(raw.get("address", "")),
        file=str(place.get("filename", "")),
        line=int((place.get("start") or {}).get("line", 0)),
    )


def failure(
    what: str, found: Sequence[Diagnostic], completed: Completed, scrub: Callable[[str], str]
) -> TprovError:
    """Say why a Terraform command failed, and whether another attempt can help.

    Args:
        what: The command.
        found: What Terraform said.
        completed: How it ended.
        scrub: Takes known secrets out of a text.
    """
    # Before blanks are folded, and after: a secret may have some, or it was wrapped.
    found = [replace(d, summary=scrub(d.summary), detail=scrub(d.detail)) for d in found]
    errors = list(dict.fromkeys(d for d in found if d.severity == "error"))  # some come twice
    errors = [d for d in errors if not _PREAMBLE.match(d.summary)] or errors
    said = " ".join(d.sentence for d in errors[:3]) or _tail(completed.stderr, scrub)
    said = without_credentials(scrub(said))
    code = completed.returncode
    ended = f"ended by signal {-code}." if code < 0 else f"exit code {code}."
    message = f"terraform {what} failed: {said or ended}"
    if _TRANSIENT.search(said) or not errors:
        again = "Temporal tries again by itself."
        if "state lock" in said:
            again = f"Somebody else works on this state; {again}"
        looked_up = "What it had made is looked up; then the rest is planned."
        return TerraformFailed(message, remedy=looked_up if what == "apply" else again)
    if what == "apply":
        return ConfigurationError(
            message, remedy="The state is honest: mend what it names, then start again."
        )
    for words, remedy in _REMEDIES:
        if words in said:
            return ConfigurationError(message, remedy=remedy)
    return ConfigurationError(message, remedy=CORRECT)


def applied(events: Sequence[Event]) -> ApplyResult:
    """Read Terraform's own count of what an apply did."""
    for event in reversed(events):
        changes = event.get("changes")
        if event.get("type") == "change_summary" and isinstance(changes, dict):
            return ApplyResult(
                added=int(changes.get("add", 0)),
                changed=int(changes.get("change", 0)),
                destroyed=int(changes.get("remove", 0)),
                imported=int(changes.get("import", 0)),
            )
    return ApplyResult(added=0, changed=0, destroyed=0)


def progress_words(event: Event) -> str:
    """What an event of a plan or an apply says: 'creating temporalcloud_namespace.this (3 s)'."""
    hook = event.get("hook")
    if not isinstance(hook, dict):
        return ""
    address = (hook.get("resource") or {}).get("addr", "")
    verb = _VERBS.get(str(hook.get("action", "")), "working on")
    match event.get("type"):
        case "refresh_start":
            return f"reading {address}"
        case "apply_start":
            return f"{verb} {address}"
        case "apply_progress":
            return f"{verb} {address} ({hook.get('elapsed_seconds', 0)} s)"
        case "apply_complete":
            return f"{address} done"
        case "apply_errored":
            return f"{address} failed"
    return ""


_VERBS = {
    "create": "creating",
    "update": "updating",
    "delete": "destroying",
    "read": "reading",
    "import": "importing",
}


def _tail(stderr: bytes, scrub: Callable[[str], str]) -> str:
    """The end of what went to stderr; scrubbed before it is cut, which may leave half a secret."""
    folded = " ".join(scrub(stderr.decode(errors="replace")).split())
    words = without_credentials(scrub(folded))[-600:]
    return words if not words or words.endswith(".") else f"{words}."


def _is_there(file: Path) -> bool:
    return file.exists()


def _content(file: Path) -> bytes:
    with suppress(OSError):
        return file.read_bytes()
    return b""


def _object_in(text: bytes) -> dict[str, Any]:
    """The object that a text is, if it is one."""
    try:
        found = json.loads(text or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _as_object(text: bytes, what: str) -> dict[str, Any]:
    """Read what a command answered in JSON."""
    try:
        answer = json.loads(text or b"{}")
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ToolError(f"terraform {what} did not answer in JSON.", remedy=DOCTOR)
    return answer


# --- running it ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A plan: whether it changes anything, and its events."""

    has_changes: bool
    events: list[Event]


@dataclass(frozen=True, kw_only=True)
class Applied:
    """How an apply ended, and its events."""

    completed: Completed
    events: list[Event]


class Terraform:
    """One Terraform in one root module's directory.

    Args:
        tool: The program.
        guard: The owner's guard; nothing outlives it.
        directory: The root module.
        cli_config: Terraform's CLI configuration file; it replaces the user's own.
        cloud: Credentials and endpoint that the provider gets through the environment.
        suffix: The stack's suffix, as `var.name_suffix`.
        secrets: Gives the secrets that are known without plan and state; it is called, on a thread,
            when something has failed: Terraform 1.11 quotes a sensitive variable whose validation
            fails.
        hold: Descriptors, the stack's lock, that the guard keeps open until a command has ended:
            nobody else starts one in this directory before, even if this worker dies.
    """

    def __init__(
        self,
        *,
        tool: Tool,
        guard: Guard,
        directory: Path,
        cli_config: Path,
        cloud: CloudSettings,
        suffix: str,
        secrets: Callable[[], Collection[str]],
        hold: Sequence[int] = (),
    ) -> None:
        self._hold = tuple(hold)
        self._secrets = secrets
        self.tool = tool
        self._guard = guard
        self.directory = directory
        self.environment = clean_environment(
            extra={
                **terraform_variables(cli_config=cli_config, suffix=suffix),
                **cloud_variables(cloud),
            }
        )

    async def init(self) -> None:
        """Initialise the directory.

        Raises:
            ConfigurationError: The configuration does not parse, or names what does not exist.
            TerraformFailed: A registry did not answer.
        """
        done = await self._run(init_args(), timeout=300)
        if done.returncode != 0:
            raise await self._failure("init", diagnostics(parse_events(done.stdout)), done)

    async def plan(
        self,
        out: Path,
        *,
        destroy: bool,
        on_event: Callable[[Event], None] = lambda _: None,
        quiet: float | None = None,
    ) -> Planned:
        """Plan into a file.

        Args:
            out: The file.
            destroy: Whether to plan that nothing is left.
            on_event: Called with each of Terraform's events as it arrives.
            quiet: Seconds without a word after which it hangs, and is ended.

        Raises:
            ToolError: It hung, or wrote no plan.
            ConfigurationError: The configuration, its variables or the provider refuse.
            TerraformFailed: Something that may pass.
        """
        args = plan_args(out, destroy=destroy)
        done = await self._run(args, timeout=3600, quiet=quiet, on_line=_eventually(on_event))
        events = parse_events(done.stdout)
        found = diagnostics(events)
        undeclared = [d for d in found if "undeclared variable" in d.summary.lower()]
        if done.returncode not in (0, 2):
            raise await self._failure("plan", found, done, plan=out)
        if undeclared:
            scrubber = await self.scrubber(plan=out)
            raise ConfigurationError(
                scrubber.text(f"terraform plan: {undeclared[0].sentence}"),
                remedy="Declare it, or leave it out.",
            )
        if not _is_there(out):
            raise ToolError("terraform plan wrote no plan file.", remedy=DOCTOR)
        return Planned(has_changes=done.returncode == 2, events=events)

    async def show(self, plan: Path) -> bytes:
        """A saved plan as JSON; secrets are in it in the clear."""
        done = await self._run(show_args(plan), timeout=300)
        if done.returncode != 0:
            raise await self._failure("show", [], done)
        text = done.stdout.strip()
        if not (text.startswith(b"{") and text.endswith(b"}")):
            raise ToolError("terraform show did not answer in JSON.", remedy=DOCTOR)
        return done.stdout

    async def show_state(self) -> dict[str, Any]:
        """The state as `terraform show -json` gives it, with Terraform's marks."""
        done = await self._run(["show", "-json", "-no-color"], timeout=300)
        if done.returncode != 0:
            raise await self._failure("show", [], done)
        return _as_object(done.stdout, "show")

    async def apply(
        self,
        plan: Path,
        *,
        exit_file: Path,
        interrupt: asyncio.Event,
        kill: asyncio.Event,
        on_event: Callable[[Event], None],
    ) -> Applied:
        """Apply a saved plan; the caller reads the exit code, whatever it is.

        Cancelling this coroutine leaves Terraform at work: a lost heartbeat is no order to stop.

        Args:
            plan: The plan file.
            exit_file: Where the guard writes the exit code, even if this process dies.
            interrupt: Set it to have Terraform stop: SIGINT, a grace period, SIGKILL.
            kill: Set it to have no patience with that: SIGKILL to Terraform and its plug-ins.
            on_event: Called with each of Terraform's events as it arrives.
        """
        done = await run(
            self._guard,
            [*self.tool.argv, *apply_args(plan)],
            cwd=self.directory,
            env=self.environment,
            on_line=_eventually(on_event),
            interrupt=interrupt,
            kill=kill,
            on_cancel="leave",
            ending=APPLY_ENDING,
            exit_file=exit_file,
            hold=self._hold,
        )
        return Applied(completed=done, events=parse_events(done.stdout))

    async def adopt(self, address: str, id: str) -> None:
        """Take an existing object into the state, as what the configuration has at an address.

        Raises:
            ConfigurationError: The configuration has no such address, or the provider refuses.
            TerraformFailed: Something that may pass.
        """
        done = await self._run(import_args(address, id), timeout=600)
        if done.returncode != 0:
            scrub = (await self.scrubber()).text
            said = _tail(done.stderr, scrub)
            if "does not exist in the configuration" in said:
                raise ConfigurationError(f"The configuration has no {address} any more.")
            kind = TerraformFailed if _TRANSIENT.search(said) else ConfigurationError
            raise kind(scrub(f"terraform import of {address} failed: {said}"))

    async def output(self) -> dict[str, Any]:
        """The outputs as `terraform output -json` gives them; secrets are in it in the clear."""
        done = await self._run(output_args(), timeout=300)
        if done.returncode != 0:
            raise await self._failure("output", [], done)
        return _as_object(done.stdout, "output")

    async def state(self) -> dict[str, Any]:
        """The state; ``{}`` when there is none yet. A local one is read without a process."""
        local = self.directory / "terraform.tfstate"
        backend = self.directory / ".terraform" / "terraform.tfstate"
        if not backend.exists():  # no backend block was initialised: the state is the local file
            text = local.read_bytes() if local.exists() else b""
            try:
                return dict(json.loads(text)) if text.strip() else {}
            except (ValueError, TypeError):
                raise ConfigurationError(
                    f"The state in {local} is no JSON.", remedy=dict(_REMEDIES)[_STATE]
                ) from None
        else:
            done = await self._run(state_args(), timeout=300)
            if done.returncode != 0:
                raise await self._failure("state pull", [], done)
            return _as_object(done.stdout.strip(), "state pull")

    async def scrubber(self, *, plan: Path | None = None) -> Scrubber:
        """Knows every secret that can be known here: given ones, and what the state marks.

        After an apply that failed, the state (or `errored.tfstate`, which could not be uploaded)
        holds secrets that no plan knew: what was created.

        Args:
            plan: A plan file; also one of a plan that failed, which tells what it knew.
        """
        known = set(await asyncio.to_thread(self._secrets))
        for text in (await self._state_text(), _content(self.directory / "errored.tfstate")):
            if state := _object_in(text):
                known |= secrets_of_state_file(state)
                if state.get("resources"):  # marks of a schema, which older states do not hold
                    shown = await self._quietly(["show", "-json", "-no-color"])
                    known |= await asyncio.to_thread(secrets_of_state, _object_in(shown))
        if plan is not None and _is_there(plan):
            shown_plan = _object_in(await self._quietly(show_args(plan)))
            redacted = await asyncio.to_thread(redact_plan, shown_plan, known=known)
            known |= redacted.secrets
        return await asyncio.to_thread(Scrubber, known)

    async def _state_text(self) -> bytes:
        if (self.directory / ".terraform" / "terraform.tfstate").exists():
            return await self._quietly(state_args())
        return _content(self.directory / "terraform.tfstate")

    async def _quietly(self, args: Sequence[str]) -> bytes:
        """What a command prints; nothing if it fails: another failure is being told already."""
        with suppress(ToolError, OSError, TimeoutError):
            done = await self._run(args, timeout=60)
            return done.stdout if done.returncode == 0 else b""
        return b""

    async def _failure(
        self,
        what: str,
        found: Sequence[Diagnostic],
        completed: Completed,
        *,
        plan: Path | None = None,
    ) -> TprovError:
        scrubber = await self.scrubber(plan=plan)
        return failure(what, found, completed, scrubber.text)

    async def _run(
        self,
        args: Sequence[str],
        *,
        timeout: float,
        quiet: float | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        return await run(
            self._guard,
            [*self.tool.argv, *args],
            cwd=self.directory,
            env=self.environment,
            timeout=timeout,
            quiet=quiet,
            on_line=on_line,
            # Nobody waits for it any more, and the next attempt works in the same directory.
            on_cancel="interrupt",
            ending=QUICK,
            hold=self._hold,
        )


def terraform_variables(*, cli_config: Path, suffix: str) -> dict[str, str]:
    """What every Terraform of ours gets, in a notebook, in a worker and in a person's terminal."""
    return {
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "CHECKPOINT_DISABLE": "1",
        "TF_CLI_CONFIG_FILE": str(cli_config),
        "TF_VAR_name_suffix": suffix,
    }


def cloud_variables(cloud: CloudSettings) -> dict[str, str]:
    """How the temporalcloud provider finds the Cloud API."""
    values = {
        "TEMPORAL_CLOUD_API_KEY": cloud.api_key,
        "TEMPORAL_CLOUD_ENDPOINT": cloud.endpoint,
        "TEMPORAL_CLOUD_ALLOW_INSECURE": "true" if cloud.allow_insecure else "",
        "TEMPORAL_CLOUD_ALLOWED_ACCOUNT_ID": cloud.allowed_account,
    }
    return {name: value for name, value in values.items() if value}


def _eventually(on_event: Callable[[Event], None]) -> Callable[[str], None]:
    def on_line(line: str) -> None:
        event = parse_event(line)
        if event is not None:
            on_event(event)

    return on_line

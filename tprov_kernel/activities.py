"""What each step does, and whether a retry of it is of any use.

Activities are methods of one object that holds what a worker has: settings, tools, keys, guard.
Each one makes sure for itself that its stack's directory is ready on its own worker. Errors of
`errors.py` become Temporal failures at one edge (`step`): retryable or not is decided there, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from tprov_kernel import opa, reconcile, terraform
from tprov_kernel.cloud import CloudClient, patiently
from tprov_kernel.errors import (
    ConfigurationError,
    Interrupted,
    NotBegun,
    PolicyError,
    ReferenceMissing,
    ReviewOutdated,
    StillAtWork,
    TerraformFailed,
    TooLarge,
    TprovError,
)
from tprov_kernel.files import replace_private, storage_error, write_private
from tprov_kernel.given import Given
from tprov_kernel.heartbeat import (
    STILL_AT_WORK,
    Heartbeat,
    Progress,
    beating,
    still_wanted,
    to_its_end,
)
from tprov_kernel.messages import (
    ApplyJob,
    ApplyProgress,
    ApplyResult,
    ExistingObject,
    InitJob,
    InitResult,
    Job,
    OutputJob,
    OutputResult,
    PlanJob,
    PlanResult,
    PolicyJob,
    RecoverJob,
    RecoverResult,
    SavedPlan,
    Verdict,
)
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.process import Guard, read_exit_file
from tprov_kernel.redaction import (
    Redacted,
    Scrubber,
    ephemeral_variables,
    given_secrets,
    plan_view,
    redact_outputs,
    redact_plan,
    secret_keys,
    secrets_of_state,
    secrets_of_state_file,
)
from tprov_kernel.settings import Settings
from tprov_kernel.stacks import (
    StackDirectory,
    given_in,
    module_sources,
    needs_network,
    state_ids,
    uses_provider,
)
from tprov_kernel.terraform import Terraform
from tprov_kernel.toolchain import Toolchain, as_it_is_now

MAX_SEALED_PLAN = 1_200_000
"""Characters of a sealed plan file; with a snapshot of 600,000 an input stays below 2 MB."""

PROVIDER = "temporalio/temporalcloud"
CACHED_PLANS = 16

P = ParamSpec("P")
T = TypeVar("T")
ActivityFunction = Callable[..., Awaitable[Any]]


def step(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """The activities' edge: our errors become failures that say whether a retry is of any use."""

    @functools.wraps(function)
    async def at_the_edge(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await function(*args, **kwargs)
        except TprovError as error:
            raise _as_failure(error) from error
        except OSError as error:
            if error.errno is None:  # a time-out of asyncio's
                raise
            raise _as_failure(storage_error(error)) from error

    return at_the_edge


def _as_failure(error: TprovError) -> ApplicationError:
    return ApplicationError(
        error.message,
        error.remedy,
        type=type(error).__name__,
        non_retryable=not error.retryable,
    )


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """A stack's directory, locked and ready, and the Terraform in it."""

    stack: StackDirectory
    given: Given
    terraform: Terraform


@dataclass(frozen=True, kw_only=True)
class _Settled:
    """What became of the objects that applies which were cut off had made."""

    adopted: dict[str, str] = field(default_factory=dict)
    foreign: list[ExistingObject] = field(default_factory=list)
    unknowable: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)


class Activities:
    """The steps of a run.

    Args:
        settings: Where things are; credentials are here, in the worker, and nowhere else.
        toolchain: Terraform, OPA, and the provider's mirror.
        key_ring: Opens snapshots and plans, seals plans.
        guard: Owns every program that a step starts.
        policy_timeout: Seconds in which the policies have to come to an end.
        plan_quiet: Seconds without a word after which a Terraform that plans is ended, and tried
            again. One that applies is not ended for being quiet: a person may interrupt it.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        toolchain: Toolchain,
        key_ring: KeyRing,
        guard: Guard,
        policy_timeout: float = 30.0,
        plan_quiet: float = 120.0,
    ) -> None:
        self._policy_timeout = policy_timeout
        self._plan_quiet = plan_quiet
        self.settings = self._settings = settings
        self._tools = toolchain
        self._keys = key_ring
        self._guard = guard
        self._cloud = CloudClient(settings.cloud)
        self._plans: OrderedDict[str, tuple[bytes, Redacted]] = OrderedDict()
        self._own_secrets = frozenset(filter(None, [settings.cloud.api_key, settings.api_key]))

    def all(self) -> list[ActivityFunction]:
        """Every activity, under its public name."""
        return [
            self.terraform_init,
            self.terraform_plan,
            self.evaluate_policy,
            self.terraform_apply,
            self.recover_apply,
            self.terraform_output,
        ]

    # --- the steps ---------------------------------------------------------------------------

    @activity.defn
    @step
    async def terraform_init(self, job: InitJob) -> InitResult:
        """Unpack the snapshot and initialise it; asked to be quick, do it only when that is so."""
        directory = StackDirectory(self._settings.stacks, job.stack)
        # A local activity neither heartbeats nor may it wait: for a network, or for a Terraform of
        # an earlier run that is still at work in this directory.
        if job.only_if_warm:
            try:
                async with directory.lock(patience=0):
                    await asyncio.to_thread(directory.unpack, job.snapshot, self._keys)
            except StillAtWork:
                return InitResult(done=False)
            if needs_network(directory.root, mirrored=[PROVIDER]):
                return InitResult(done=False)
        patience = 0 if job.only_if_warm else 30
        try:
            async with (
                beating(job) as beat,
                self._ready(job, patience=patience, beat=beat) as bench,
            ):
                return InitResult(
                    done=True,
                    terraform_version=bench.terraform.tool.version,
                    providers={PROVIDER: self._tools.provider.version},
                )
        except StillAtWork:
            if job.only_if_warm:
                return InitResult(done=False)
            raise

    @activity.defn
    @step
    async def terraform_plan(self, job: PlanJob) -> PlanResult:
        """Check key and endpoint, plan the snapshot, and ask the Cloud what exists already."""
        async with beating(job) as beat, self._ready(job, beat=beat) as bench:
            # Before it plans: one that is exchanged meanwhile is another one at the apply.
            tools_digest = await asyncio.to_thread(self._tools.digest)
            account = await self._preflight(bench)
            settled = await self._settle(bench)
            plan_file = bench.stack.path / "tfplan"
            state = await bench.terraform.state()
            secrets = await self._known(bench) | secrets_of_state_file(state)
            scrub_progress = Scrubber(secrets).text
            with _deleted_after(plan_file):
                with bench.given.on_disk(bench.stack.config):
                    planned = await bench.terraform.plan(
                        plan_file,
                        destroy=job.action == "destroy",
                        on_event=Progress(beat, total=0, scrub=scrub_progress),
                        quiet=self._plan_quiet,
                    )
                beat.silence()
                content = plan_file.read_bytes()
                shown = await bench.terraform.show(plan_file)
            plan, redacted = await self._remember(
                self._keys.mac(content),
                shown,
                bench,
            )
            if named := await asyncio.to_thread(secret_keys, redacted, plan):
                raise ConfigurationError(
                    f"A secret is a key in the address {named[0]}, and addresses are shown.",
                    remedy="Give `for_each` keys that are not secret; or, if the value is public,"
                    " take the mark away from its variable.",
                )
            sealed = await asyncio.to_thread(self._keys.seal, content, kind="plan")
            if len(sealed) > MAX_SEALED_PLAN:
                raise TooLarge(
                    f"The plan is {len(sealed) / 1e6:.1f} MB; at most"
                    f" {MAX_SEALED_PLAN / 1e6:.1f} MB can travel with a run.",
                    remedy="Split the configuration into several stacks.",
                )
            creates = reconcile.planned_creates(plan)
            replaced = reconcile.planned_replacements(plan)
            existing, absent = await patiently(
                lambda: reconcile.look_up(creates, self._cloud, replaced=replaced)
            )
            if existing:
                cut_off = [a for a in self._applies(bench) if a.code != 0]
                existing = [reconcile.perhaps_ours(found, cut_off) for found in existing]
            known = {found.id for found in settled.foreign}
            # A destroy takes away what the state has; what it cannot take over does not hold it up.
            open_questions = settled.foreign if job.action == "provision" else []
            existing = open_questions + [found for found in existing if found.id not in known]
            scrub = redacted.scrubber.text
            return PlanResult(
                has_changes=planned.has_changes,
                plan=SavedPlan(
                    sealed=sealed,
                    file_digest=self._keys.mac(content),
                    meaning_digest=_meaning(plan, self._keys),
                    state_lineage=str(state.get("lineage", "")),
                    state_serial=int(state.get("serial", 0)),
                    terraform_version=bench.terraform.tool.version,
                    tools_digest=tools_digest,
                ),
                view=plan_view(redacted),
                account=account,
                existing=[replace(found, name=scrub(found.name)) for found in existing],
                absent=absent,
                items=reconcile.items(plan, self._keys.mac),
                present=reconcile.present(plan),
                adopted=settled.adopted,
                story=settled.story,
            )

    @activity.defn
    @step
    async def evaluate_policy(self, job: PolicyJob) -> Verdict:
        """Let OPA judge the real plan, on its standard input; what comes back is scrubbed."""
        async with beating(job):
            shown, redacted = await self._recall(job, job.plan)
            opa_digest = await asyncio.to_thread(self._tools.opa_digest)
            verdict = await opa.evaluate(
                self._tools.opa,
                self._guard,
                bundle=self._settings.policies,
                plan=shown,
                scrub=redacted.scrubber.text,
                timeout=self._policy_timeout,
            )
            return replace(verdict, opa_digest=opa_digest)

    @activity.defn
    @step
    async def terraform_apply(self, job: ApplyJob) -> ApplyResult:
        """Apply the saved plan, and nothing else; its heartbeats are Terraform's own progress."""
        first = ApplyProgress(done=0, total=0, current="starting terraform")
        async with beating(job, first=first) as beat:
            return await to_its_end(asyncio.create_task(self._apply(job, beat)), beat)

    @activity.defn
    @step
    async def recover_apply(self, job: RecoverJob) -> RecoverResult:
        """After an apply of unknown outcome: read the journal, look up, tell what is ours."""
        # Taking the stack's lock proves that no Terraform of it is at work on this machine.
        async with beating(job) as beat, self._ready(job, patience=600, beat=beat) as bench:
            beat.silence()
            mine = [a for a in self._applies(bench) if a.plan == job.plan.file_digest]
            if mine and mine[-1].code == 0:
                return RecoverResult(
                    finished=True, story=["The journal proves that Terraform finished this plan."]
                )
            settled = await self._settle(bench, plan=job.plan.file_digest)
            first = [] if mine else ["The apply had not begun on this machine."]
            return RecoverResult(
                finished=False,
                adopt=settled.adopted,
                foreign=settled.foreign,
                unknowable=[u for u in settled.unknowable if u not in job.looked_after],
                story=first + settled.story,
            )

    @activity.defn
    @step
    async def terraform_output(self, job: OutputJob) -> OutputResult:
        """Read the outputs; what is sensitive does not leave the activity."""
        async with beating(job), self._ready(job) as bench:
            outputs = await bench.terraform.output()
            scrubber = Scrubber(await self._secrets_of(bench))
            return OutputResult(outputs=redact_outputs(outputs, scrubber))

    # --- parts of steps ----------------------------------------------------------------------

    async def _preflight(self, bench: _Bench) -> str:
        """One cheap authenticated call: the provider itself only warns about a wrong key."""
        if not uses_provider(bench.terraform.directory, PROVIDER):
            return ""
        account = await self._cloud.check()
        bench.terraform.environment.setdefault("TEMPORAL_CLOUD_ALLOWED_ACCOUNT_ID", account.id)
        return account.id

    async def _apply(self, job: ApplyJob, beat: Heartbeat) -> ApplyResult:
        with _not_begun():
            ended, why = await self._apply_as_reviewed(job, beat)
        if why is None:
            return terraform.applied(ended.events)
        if beat.interrupt.is_set():
            raise Interrupted(
                "Terraform was stopped in the middle of the apply, as it was asked to be.",
                remedy="What it had done by then is looked up.",
            )
        raise why

    async def _apply_as_reviewed(
        self, job: ApplyJob, beat: Heartbeat
    ) -> tuple[terraform.Applied, TprovError | None]:
        """Apply what was reviewed; what Terraform makes of it, and why it failed, is a result."""
        async with self._ready(job, patience=600, beat=beat) as bench:
            content = await self._what_was_reviewed(job, bench)
            shown, redacted = await self._recall(job, job.plan, bench=bench)
            await patiently(lambda: self._preflight(bench), tell=beat.say_words)
            wanted = await self._still_absent(job, json.loads(shown), beat)
            sealed = self._keys.seal(json.dumps(wanted).encode(), kind="journal")
            await still_wanted()
            plan_file = bench.stack.path / "tfplan"
            with _deleted_after(plan_file), bench.given.on_disk(bench.stack.config):
                write_private(plan_file, content)
                bench.stack.exit_file.unlink(missing_ok=True)
                bench.stack.record("apply_begun", plan=job.plan.file_digest, wanted=sealed)
                ended = await bench.terraform.apply(
                    plan_file,
                    exit_file=bench.stack.exit_file,
                    interrupt=beat.interrupt,
                    kill=beat.kill,
                    on_event=Progress(beat, total=_actions(redacted), scrub=redacted.scrubber.text),
                )
                code = ended.completed.returncode
                bench.stack.record(
                    "apply_ended",
                    plan=job.plan.file_digest,
                    code=code,
                    refused=terraform.refused(ended.events),
                    doubtful=terraform.doubtful(ended.events),
                )
            why = None if code == 0 else await _why_it_failed(bench, ended, redacted)
            return ended, why

    async def _still_absent(
        self, job: ApplyJob, plan: Mapping[str, Any], beat: Heartbeat
    ) -> dict[str, list[str]]:
        """What an apply is to create, for the journal: what is there by now is not made by it.

        Returns:
            Address to type, name and the id of what it replaces; the name is empty where nobody
            can tell that it is absent.

        Raises:
            ReviewOutdated: Something exists that was absent when it was planned.
        """
        creates = reconcile.planned_creates(plan)
        replaced = reconcile.planned_replacements(plan)
        known = {a: named for a, named in creates.items() if a in job.absent}
        existing, absent = await patiently(
            lambda: reconcile.look_up(known, self._cloud, replaced=replaced), tell=beat.say_words
        )
        if existing:
            listed = ", ".join(f"{found.address} (id {found.id})" for found in existing)
            raise ReviewOutdated(
                f"What the plan creates exists by now, and this run has not made it: {listed}.",
                remedy="It is planned anew; what is in the way is asked about.",
            )
        return {
            address: [kind, name if address in absent else "", replaced.get(address, "")]
            for address, (kind, name) in creates.items()
        }

    async def _what_was_reviewed(self, job: ApplyJob, bench: _Bench) -> bytes:
        """The saved plan file, if it and the world are still what was reviewed."""
        content = self._keys.unseal(job.plan.sealed, kind="plan")
        if self._keys.mac(content) != job.plan.file_digest:
            raise ReviewOutdated("The plan file is not the one that was reviewed.")
        if any(apply.plan == job.plan.file_digest for apply in self._applies(bench)):
            # After a reset of the workflow, for instance: a second apply could create things twice.
            raise ReviewOutdated("This plan was begun to be applied before; it never is twice.")
        if bench.terraform.tool.version != job.plan.terraform_version:
            raise ReviewOutdated(
                f"The plan was written by Terraform {job.plan.terraform_version}, this worker has"
                f" {bench.terraform.tool.version}.",
                remedy="It is planned anew; what was not approved is asked about.",
            )
        await self._same_programs(job)
        state = await bench.terraform.state()
        now = (str(state.get("lineage", "")), int(state.get("serial", 0)))
        if now != (job.plan.state_lineage, job.plan.state_serial):
            raise ReviewOutdated(
                f"The state has moved on since the plan was made (serial {job.plan.state_serial},"
                f" now {now[1]}).",
                remedy="It is planned anew; what was not approved is asked about.",
            )
        try:
            bundle = opa.bundle_digest(self._settings.policies)
        except PolicyError as error:
            raise ReviewOutdated(
                f"The policies that judged this plan cannot be read any more: {error.message}",
                remedy=error.remedy,
            ) from error
        if bundle != job.bundle_digest:
            raise ReviewOutdated(
                "The policies have changed since they judged this plan.",
                remedy="It is judged anew; what was not approved is asked about.",
            )
        return content

    async def _same_programs(self, job: ApplyJob) -> None:
        """Make sure that the programs are those of the review, whatever they say."""
        planned, judged = job.plan.tools_digest, job.opa_digest
        if planned and await asyncio.to_thread(self._tools.digest) != planned:
            raise ReviewOutdated(
                "Terraform or the provider is another program than when this was planned.",
                remedy="Use one Terraform and one provider for a run, or start it again.",
            )
        if judged and await asyncio.to_thread(self._tools.opa_digest) != judged:
            raise ReviewOutdated(
                "OPA is another program than when it judged this plan.",
                remedy="Use one OPA for a run, or start it again.",
            )

    def _applies(self, bench: _Bench) -> list[reconcile.Attempt]:
        """Every apply in the journal; the last one's end is noted first, if nobody did.

        The stack is locked: a Terraform that was begun before is at work no more.
        """
        attempts = reconcile.applies(bench.stack.journal(), self._unseal)
        if attempts and attempts[-1].ended is None:
            left = read_exit_file(bench.stack.exit_file)
            known = {"ended": left.ended, "code": left.returncode} if left else {"code": None}
            bench.stack.record("apply_ended", plan=attempts[-1].plan, **known)
            attempts = reconcile.applies(bench.stack.journal(), self._unseal)
        return attempts

    def _unseal(self, sealed: str) -> bytes:
        return self._keys.unseal(sealed, kind="journal")

    async def _settle(self, bench: _Bench, *, plan: str = "") -> _Settled:
        """Take into the state what applies that were cut off had made, and is provably ours.

        Nothing is changed at the Cloud. The same before a first plan and after a crash.
        """
        in_state = state_ids(await bench.terraform.state())
        applies = self._applies(bench)
        attempts = [a for a in applies if a.code != 0 and a.missing(in_state)]
        if not attempts:
            ended = [a.ending for a in applies if a.plan == plan]
            return _Settled(story=[f"{ended[-1]}; {_COMPLETE}"] if ended else [])
        await self._preflight(bench)
        ours, foreign = await reconcile.left_behind(attempts, in_state, self._cloud, plan=plan)
        scrub = (await bench.terraform.scrubber()).text
        held = "1 resource is" if len(in_state) == 1 else f"{len(in_state)} resources are"
        missing = ", ".join(attempts[-1].missing(in_state))
        story = [f"{attempts[-1].ending}; {held} in the state, which lacks {missing}."]
        if not (plan or ours or foreign):  # recovery has told it already, or there is no news
            return _Settled()
        adopted: dict[str, str] = {}
        for found in ours:
            what = f"{found.type} {found.name!r} exists ({found.id}) but is not in the state"
            try:
                with bench.given.on_disk(bench.stack.config):
                    await bench.terraform.adopt(found.address, found.id)
            except ConfigurationError as error:
                foreign.append(replace(found, why=error.message.rstrip(".")))
                continue
            adopted[found.address] = found.id
            story.append(f"{what}. That apply made it: it is taken over.")
        story += [f"{f.type} {f.name!r} exists ({f.id}): a person has to decide." for f in foreign]
        return _Settled(
            adopted=adopted,
            foreign=[replace(f, name=scrub(f.name), why=scrub(f.why)) for f in foreign],
            unknowable=[
                f"{address} ({kind})"
                for attempt in attempts
                if attempt.plan == plan
                for address, kind in attempt.unknowable(in_state).items()
            ],
            story=[scrub(sentence) for sentence in story],
        )

    async def _secrets_of(self, bench: _Bench) -> frozenset[str]:
        """Secrets that an output may echo without a mark: given ones, and what the state marks."""
        given = await self._known(bench)
        if given == self._own_secrets and not _marks_anything(await bench.terraform.state()):
            return given
        state = await bench.terraform.show_state()
        return given | await asyncio.to_thread(secrets_of_state, state)

    async def _known(self, bench: _Bench) -> frozenset[str]:
        """Secrets that are known before there is a plan."""
        return await asyncio.to_thread(
            secrets_given_in, bench.terraform.directory, bench.given, self.settings
        )

    async def _remember(
        self, digest: str, shown: bytes, bench: _Bench, *, import_ids: Collection[str] = ()
    ) -> tuple[dict[str, Any], Redacted]:
        plan, redacted = await asyncio.to_thread(
            redact_shown,
            shown,
            bench.terraform.directory,
            bench.given,
            self.settings,
            import_ids=import_ids,
        )
        self._plans[digest] = (shown, redacted)
        while len(self._plans) > CACHED_PLANS:
            self._plans.popitem(last=False)
        return plan, redacted

    async def _recall(
        self, job: Job, plan: SavedPlan, *, bench: _Bench | None = None
    ) -> tuple[bytes, Redacted]:
        """A plan's JSON: from memory, else from the sealed plan file, on whatever worker."""
        if plan.file_digest in self._plans:
            return self._plans[plan.file_digest]
        if bench is None:
            async with self._ready(job) as ready:
                return await self._recall(job, plan, bench=ready)
        plan_file = bench.stack.path / "tfplan"
        with _deleted_after(plan_file):
            write_private(plan_file, self._keys.unseal(plan.sealed, kind="plan"))
            shown = await bench.terraform.show(plan_file)
        await self._remember(plan.file_digest, shown, bench)
        return self._plans[plan.file_digest]

    @contextlib.asynccontextmanager
    async def _ready(
        self, job: Job, *, patience: float = 30, beat: Heartbeat | None = None
    ) -> AsyncIterator[_Bench]:
        """Lock the stack on this machine, unpack the snapshot, make sure that it is initialised."""
        directory = StackDirectory(self._settings.stacks, job.stack)
        waiting = (lambda: beat.note(STILL_AT_WORK)) if beat else (lambda: None)
        async with directory.lock(patience=patience, waiting=waiting) as lock:
            await asyncio.to_thread(directory.unpack, job.snapshot, self._keys)
            given = await asyncio.to_thread(given_in, job.snapshot, self._keys)
            # A worker that was killed could not: both hold secrets in the clear.
            given.clear(directory.config)
            (directory.path / "tfplan").unlink(missing_ok=True)
            program = Terraform(
                tool=await asyncio.to_thread(as_it_is_now, self._tools.terraform),
                guard=self._guard,
                directory=directory.root,
                cli_config=self._cli_config(),
                cloud=self._settings.cloud,
                suffix=job.suffix,
                secrets=functools.partial(secrets_given_in, directory.root, given, self.settings),
                hold=[lock],
            )
            stamp = directory.path / "initialised"
            want = f"{job.snapshot.digest} {program.tool.version}"
            stands = stamp.read_text() if stamp.exists() else ""
            if stands != want or not (directory.root / ".terraform").is_dir():
                await program.init()
                write_private(stamp, want.encode())
            yield _Bench(stack=directory, given=given, terraform=program)

    def _cli_config(self) -> Path:
        path = self._settings.home / "terraform.rc"
        replace_private(path, self._tools.cli_config().encode())
        return path


_COMPLETE = "everything that it was to create is in the state."


async def _why_it_failed(bench: _Bench, ended: terraform.Applied, redacted: Redacted) -> TprovError:
    """Say why an apply failed; it may tell of what it has made, which no plan knew."""
    try:
        scrubber = redacted.scrubber.joined_with(await bench.terraform.scrubber())
    except (TprovError, OSError):  # the apply has begun: nothing else may be made of it
        return TerraformFailed(
            "terraform apply failed. What it said is not shown: it cannot be told what of it is"
            " secret.",
            remedy="What it had made is looked up; then the rest is planned.",
        )
    found = terraform.diagnostics(ended.events)
    return terraform.failure("apply", found, ended.completed, scrubber.text)


def secrets_given_in(directory: Path, given: Given, settings: Settings) -> frozenset[str]:
    """Secrets that are known before there is a plan: the worker's own, and given variables."""
    own = frozenset(filter(None, [settings.cloud.api_key, settings.api_key]))
    sources, modules = module_sources(directory)
    return own | given_secrets(sources, given.known(), modules=modules)


def redact_shown(
    shown: bytes,
    directory: Path,
    given: Given,
    settings: Settings,
    *,
    import_ids: Collection[str] = (),
) -> tuple[dict[str, Any], Redacted]:
    """Read a plan's JSON, and redact it.

    Args:
        shown: `terraform show -json PLAN`.
        directory: The root module that it is of.
        given: What was given for its variables.
        settings: Whose credentials are secrets too.
        import_ids: Ids in import blocks that our own code put there.
    """
    plan = json.loads(shown)
    return plan, redact_plan(
        plan,
        known=secrets_given_in(directory, given, settings),
        ephemeral=ephemeral_variables(module_sources(directory)[0]),
        import_ids=import_ids,
    )


def _marks_anything(state: dict[str, Any]) -> bool:
    """Whether a state marks an attribute or an output as sensitive."""
    outputs = state.get("outputs", {}).values()
    instances = [i for r in state.get("resources", []) for i in r.get("instances", [])]
    return any(o.get("sensitive") for o in outputs) or any(
        i.get("sensitive_attributes") for i in instances
    )


def _actions(redacted: Redacted) -> int:
    changes = redacted.plan.get("resource_changes", [])
    return sum(c["change"]["actions"] not in (["no-op"], ["read"]) for c in changes)


def _meaning(plan: dict[str, Any], keys: KeyRing) -> str:
    """Keyed digest of what a plan means: equal for two plans of the same thing."""
    parts = ("variables", "resource_changes", "output_changes", "resource_drift", "configuration")
    text = json.dumps({p: plan.get(p) for p in parts}, sort_keys=True, separators=(",", ":"))
    return keys.mac(text.encode())


@contextlib.contextmanager
def _not_begun() -> Iterator[None]:
    """Before Terraform applies, a stack that cannot be got ready is no failed apply."""
    try:
        yield
    except ReferenceMissing:
        raise  # recovery tries until the worker has it
    except ConfigurationError as error:
        remedy = "Mend that where the worker runs; then the run can go on, as it was decided."
        told = remedy if error.remedy == terraform.CORRECT else error.remedy
        raise NotBegun(f"The apply did not begin: {error.message}", remedy=told) from error


@contextlib.contextmanager
def _deleted_after(path: Path) -> Iterator[None]:
    """A plan file holds secrets: it is on disk only while Terraform needs it."""
    path.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)

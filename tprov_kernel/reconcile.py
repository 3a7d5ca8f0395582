"""What exists, what is ours, what remains: the same code before a first plan and after a crash.

*Ours* means: the look-up before the review recorded it as absent, so did the one just before the
apply began, it was created since then and before the apply had ended, and Terraform was not told
that it exists already. Anything else that exists is a question to a human. So is an API key, which
cannot be imported: its token was in the one answer that got lost. And so is whatever the Cloud API
cannot be asked for by a name, where the apply may have made it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tprov_kernel.cloud import CloudClient, CloudObject
from tprov_kernel.messages import ExistingObject
from tprov_kernel.stacks import JournalEntry

CLOCK_SLACK = 60.0
"""Seconds by which the Cloud's clock may differ from ours; the object was absent at the look-up."""

API_KEY = "temporalcloud_apikey"
NOT_IMPORTABLE = "its token is lost: revoke the key, a new one is made then"

UNDATED = "the Cloud API does not tell when it was made: import it if it is yours"

OCCUPIED = "in the state is what it was to replace: remove it, it is made anew then"

Finder = Callable[[CloudClient, str], Awaitable[CloudObject | None]]

_NAMED_BY = {
    "temporalcloud_namespace": "name",
    "temporalcloud_user": "email",
    "temporalcloud_service_account": "name",
    "temporalcloud_group": "name",
    "temporalcloud_nexus_endpoint": "name",
    "temporalcloud_account_audit_log_sink": "sink_name",
    API_KEY: "display_name",
}
"""The attribute that names an object of each kind that is one of its own, and has a name."""

_FOUND_BY: Mapping[str, Finder] = {
    "temporalcloud_namespace": CloudClient.find_namespace,
    "temporalcloud_user": CloudClient.find_user,
    "temporalcloud_service_account": CloudClient.find_service_account,
    "temporalcloud_group": CloudClient.find_group,
    "temporalcloud_nexus_endpoint": CloudClient.find_nexus_endpoint,
    "temporalcloud_account_audit_log_sink": CloudClient.find_audit_log_sink,
}
"""Kinds of which only one may have a name; each is imported by the id that is found."""

_ONLY_IN_THE_STATE = frozenset(
    {
        "terraform.io/builtin/terraform",
        *(f"registry.terraform.io/hashicorp/{name}" for name in ("null", "random", "time", "tls")),
    }
)
"""Providers whose objects exist nowhere but in the state: none can be left behind."""

Named = tuple[str, str]
"""Type and name; the name is empty where a kind has none, or where it was not known in time."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An apply in a stack's journal that did not come to a good end.

    Attributes:
        plan: Digest of its plan file.
        begun: When it was begun, seconds since the epoch.
        ended: When no Terraform of it was at work any more; None while that is not known.
        code: Terraform's exit code, negative for a signal; None where nobody lived to tell.
        wanted: What it was to create: address to type and name. Without a name, nobody has looked
            whether it was absent.
        replaced: Address to the id of the object in whose place one was to be created.
        refused: Addresses of which Terraform was told that the object exists already.
        doubtful: Addresses that were begun, and whose end was not told; None where nobody lived
            to tell.
    """

    plan: str
    begun: float
    ended: float | None
    code: int | None
    wanted: Mapping[str, Named]
    replaced: Mapping[str, str] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    doubtful: frozenset[str] | None = None

    def missing(self, in_state: Mapping[str, str]) -> dict[str, Named]:
        """What it was to create, and the state lacks: what holds its predecessor lacks it too."""
        return {
            address: named
            for address, named in self.wanted.items()
            if in_state.get(address) in (None, self.replaced.get(address))
        }

    def unknowable(self, in_state: Mapping[str, str]) -> dict[str, str]:
        """What it may have made, and nobody can be asked for: address to type."""
        return {
            address: kind
            for address, (kind, _) in self.missing(in_state).items()
            if kind not in _NAMED_BY and (self.doubtful is None or address in self.doubtful)
        }

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        if self.code is None:
            return "Terraform was cut off, and nobody lived to tell how"
        if self.code < 0:
            return f"Terraform was cut off (signal {-self.code})"
        return f"Terraform ended with exit code {self.code}"


def applies(journal: Sequence[JournalEntry], unseal: Callable[[str], bytes]) -> list[Attempt]:
    """Every apply in a journal, oldest first, those that ended well too.

    What one that ended well was to create is not looked at: its key may be gone by now.
    """
    found: list[Attempt] = []
    sealed: list[str | None] = []
    for entry in journal:
        if entry.event == "apply_begun":
            sealed.append(entry.fields.get("wanted"))
            found.append(
                Attempt(
                    plan=str(entry.fields.get("plan", "")),
                    begun=entry.at,
                    ended=None,
                    code=None,
                    wanted={},
                )
            )
        elif entry.event == "apply_ended" and found:
            when = float(entry.fields.get("ended", entry.at))
            doubtful = entry.fields.get("doubtful")
            found[-1] = replace(
                found[-1],
                ended=when,
                code=entry.fields.get("code"),
                refused=frozenset(entry.fields.get("refused", ())),
                doubtful=None if doubtful is None else frozenset(doubtful),
            )
    for number, text in enumerate(sealed):
        if text and found[number].code != 0:
            wanted = json.loads(unseal(text))
            found[number] = replace(
                found[number],
                wanted={address: (kind, name) for address, (kind, name, *_) in wanted.items()},
                replaced={a: rest[0] for a, (_, _, *rest) in wanted.items() if rest and rest[0]},
            )
    return found


def planned_creates(plan: Mapping[str, Any]) -> dict[str, Named]:
    """What a plan creates, also in the place of something else: address to type and name."""
    found = {}
    for change in plan.get("resource_changes", []):
        if "create" not in change["change"]["actions"]:
            continue
        if change.get("provider_name") in _ONLY_IN_THE_STATE:
            continue
        name = (change["change"].get("after") or {}).get(_NAMED_BY.get(change["type"], ""))
        found[change["address"]] = (change["type"], name if isinstance(name, str) else "")
    return found


def planned_replacements(plan: Mapping[str, Any]) -> dict[str, str]:
    """What a plan creates in the place of something else: address to the id of that."""
    found = {}
    for change in plan.get("resource_changes", []):
        if {"create", "delete"} <= {*change["change"]["actions"]}:
            id = (change["change"].get("before") or {}).get("id")
            found[change["address"]] = id if isinstance(id, str) else ""
    return found


async def look_up(
    creates: Mapping[str, Named], cloud: CloudClient, *, replaced: Mapping[str, str] | None = None
) -> tuple[list[ExistingObject], list[str]]:
    """Ask the Cloud API for what is to be created under a name that only one object may have.

    Args:
        creates: Address to type and name.
        cloud: Where to look.
        replaced: Address to the id of what goes first: that one is not in the way.

    Returns:
        What exists already, and the addresses of what provably does not; API keys, whose names are
        free to repeat, are always among the latter.
    """
    existing, absent = [], []
    for address, (kind, name) in creates.items():
        if kind == API_KEY and name:
            absent.append(address)
        if not name or (find := _FOUND_BY.get(kind)) is None:
            continue
        found = await find(cloud, name)
        if found is None or found.id == (replaced or {}).get(address):
            absent.append(address)
        else:
            existing.append(_existing(address, kind, name, found))
    return existing, absent


async def left_behind(
    attempts: Sequence[Attempt], in_state: Mapping[str, str], cloud: CloudClient, *, plan: str = ""
) -> tuple[list[ExistingObject], list[ExistingObject]]:
    """Look up what applies that were cut off were to create, and the state lacks.

    Args:
        attempts: The applies.
        in_state: Address to id of what is in the state.
        cloud: Where to look.
        plan: Digest of the plan that is recovered. What others have made meanwhile under a name
            that only an older plan wanted is nobody's question.

    Returns:
        What is provably ours and can be taken over, and what only a person can settle.
    """
    ours: dict[str, ExistingObject] = {}
    open_questions: dict[str, ExistingObject] = {}
    for attempt in attempts:
        missing = attempt.missing(in_state)
        keys = {a: named for a, named in missing.items() if named[0] == API_KEY}
        existing, _ = await look_up(missing, cloud)
        for found in existing:
            if found.id == in_state.get(found.address):
                continue  # what it was to replace
            if is_ours(found, attempt) and found.address in in_state:
                open_questions[found.id] = replace(found, why=OCCUPIED)
            elif is_ours(found, attempt):
                ours[found.id] = found
            elif attempt.plan == plan:
                open_questions[found.id] = replace(found, why="" if found.created else UNDATED)
        for address, (kind, name) in keys.items():
            for key in await cloud.find_api_keys(name):
                found = _existing(address, kind, name, key)
                if is_ours(found, attempt):
                    open_questions[found.id] = replace(found, why=NOT_IMPORTABLE)
    foreign = [found for id, found in open_questions.items() if id not in ours]
    return list(ours.values()), foreign


def _existing(address: str, kind: str, name: str, found: CloudObject) -> ExistingObject:
    return ExistingObject(address=address, type=kind, name=name, id=found.id, created=found.created)


def is_ours(found: ExistingObject, attempt: Attempt) -> bool:
    """Whether an object was made by an apply: absent before, created while it was at work."""
    if attempt.wanted.get(found.address) != (found.type, found.name):
        return False
    return found.address not in attempt.refused and was_at_work(found, attempt)


def perhaps_ours(found: ExistingObject, attempts: Sequence[Attempt]) -> ExistingObject:
    """Note that an apply may have made it which could not know its name when it was planned."""
    unnamed = [a for a in attempts if a.wanted.get(found.address) == (found.type, "")]
    return replace(found, perhaps=any(was_at_work(found, attempt) for attempt in unnamed))


def was_at_work(found: ExistingObject, attempt: Attempt) -> bool:
    """Whether an apply was at work when an object was created."""
    if not found.created:
        return False
    created = datetime.fromisoformat(found.created.replace("Z", "+00:00")).timestamp()
    until = math.inf if attempt.ended is None else attempt.ended
    return attempt.begun - CLOCK_SLACK <= created <= until + CLOCK_SLACK


def items(plan: Mapping[str, Any], mac: Callable[[bytes], str]) -> dict[str, str]:
    """Give what an approval covers: per address what is to happen, and a digest of the result.

    Args:
        plan: `terraform show -json` of the plan, unredacted.
        mac: Keyed digest: a plain hash of a short secret could be guessed.
    """
    found = {}
    for change in plan.get("resource_changes", []):
        body = change["change"]
        actions = body["actions"]
        if body.get("importing") and actions == ["no-op"]:
            found[change["address"]] = "import"
        elif actions not in (["no-op"], ["read"]):
            result = [body.get("after"), body.get("after_unknown")]
            text = json.dumps(result, sort_keys=True, separators=(",", ":"))
            found[change["address"]] = f"{'+'.join(actions)}:{mac(text.encode())[:32]}"
    return found


def present(plan: Mapping[str, Any]) -> list[str]:
    """Addresses of all resources in the plan's refreshed state."""

    def walk(module: Mapping[str, Any]) -> list[str]:
        own = [r["address"] for r in module.get("resources", []) if r.get("mode") == "managed"]
        return own + [a for child in module.get("child_modules", []) for a in walk(child)]

    values = (plan.get("prior_state") or {}).get("values") or {}
    return sorted(walk(values.get("root_module") or {}))

"""What exists, what is ours, what remains: the same code before a first plan and after a crash.

*Ours* means: the look-up before the review recorded it as absent, and it was created since the
apply began and before it had ended. Anything else that exists is a question to a human; so is an
API key, which cannot be imported: its token was in the one answer that got lost.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An apply in a stack's journal that did not come to a good end.

    Attributes:
        plan: Digest of its plan file.
        begun: When it was begun, seconds since the epoch.
        ended: When no Terraform of it was at work any more; None while that is not known.
        code: Terraform's exit code, negative for a signal; None where nobody lived to tell.
        wanted: Address to (type, name): what it was to create, and the look-up found absent.
    """

    plan: str
    begun: float
    ended: float | None
    code: int | None
    wanted: Mapping[str, tuple[str, str]]

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
            found[-1] = replace(found[-1], ended=when, code=entry.fields.get("code"))
    for number, text in enumerate(sealed):
        if text and found[number].code != 0:
            wanted = json.loads(unseal(text))
            pairs = {address: (kind, name) for address, (kind, name) in wanted.items()}
            found[number] = replace(found[number], wanted=pairs)
    return found


def planned_creates(plan: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What a plan creates and the Cloud can be asked for: address to (type, name or e-mail)."""
    found = {}
    for change in plan.get("resource_changes", []):
        after = change["change"].get("after") or {}
        name = after.get(_NAMED_BY.get(change["type"], ""))
        if change["change"]["actions"] == ["create"] and isinstance(name, str):
            found[change["address"]] = (change["type"], name)
    return found


async def look_up(
    creates: Mapping[str, tuple[str, str]], cloud: CloudClient
) -> tuple[list[ExistingObject], list[str]]:
    """Ask the Cloud API for what is to be created under a name that only one object may have.

    Returns:
        What exists already, and the addresses of what does not; API keys, whose names are free to
        repeat, are always among the latter.
    """
    existing, absent = [], []
    for address, (kind, name) in creates.items():
        find = _FOUND_BY.get(kind)
        found = await find(cloud, name) if find else None
        if found is None:
            absent.append(address)
        else:
            existing.append(_existing(address, kind, name, found))
    return existing, absent


async def left_behind(
    attempts: Sequence[Attempt], in_state: Collection[str], cloud: CloudClient, *, plan: str = ""
) -> tuple[list[ExistingObject], list[ExistingObject]]:
    """Look up what applies that were cut off were to create, and the state lacks.

    Args:
        attempts: The applies.
        in_state: Addresses in the state.
        cloud: Where to look.
        plan: Digest of the plan that is recovered. What others have made meanwhile under a name
            that only an older plan wanted is nobody's question.

    Returns:
        What is provably ours and can be taken over, and what only a person can settle.
    """
    ours: dict[str, ExistingObject] = {}
    open_questions: dict[str, ExistingObject] = {}
    for attempt in attempts:
        missing = {a: named for a, named in attempt.wanted.items() if a not in in_state}
        keys = {a: named for a, named in missing.items() if named[0] == API_KEY}
        existing, _ = await look_up(missing, cloud)
        for found in existing:
            if is_ours(found, attempt):
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
    if attempt.wanted.get(found.address) != (found.type, found.name) or not found.created:
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

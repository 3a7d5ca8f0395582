"""What exists, what is ours, what remains: the same code before a first plan and after a crash.

*Ours* means: the look-up before the review recorded it as absent, and it was created since the
apply began. Anything else that exists is a question to a human.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from tprov_kernel.cloud import CloudClient, CloudObject
from tprov_kernel.messages import ExistingObject

CLOCK_SLACK = 60.0
"""Seconds by which the Cloud's clock may be behind ours; the object was absent at the look-up."""

_NAMED_BY = {
    "temporalcloud_namespace": "name",
    "temporalcloud_user": "email",
    "temporalcloud_service_account": "name",
}


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
    """Ask the Cloud API for what is to be created.

    Returns:
        What exists already, and the addresses of what does not.
    """
    existing, absent = [], []
    for address, (kind, name) in creates.items():
        found = await _finder(kind, cloud)(name)
        if found is None:
            absent.append(address)
        else:
            existing.append(
                ExistingObject(
                    address=address, type=kind, name=name, id=found.id, created=found.created
                )
            )
    return existing, absent


def _finder(kind: str, cloud: CloudClient) -> Callable[[str], Awaitable[CloudObject | None]]:
    match kind:
        case "temporalcloud_namespace":
            return cloud.find_namespace
        case "temporalcloud_user":
            return cloud.find_user
        case _:
            return cloud.find_service_account


def is_ours(found: ExistingObject, *, absent: list[str], begun: float) -> bool:
    """Whether an object was made by the apply that began at ``begun`` (seconds since the epoch)."""
    if found.address not in absent or not found.created:
        return False
    created = datetime.fromisoformat(found.created.replace("Z", "+00:00")).timestamp()
    return created >= begun - CLOCK_SLACK


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

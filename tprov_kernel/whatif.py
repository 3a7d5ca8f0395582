"""What if the policies were others: any bundle, on the saved plan of a run, without planning again.

The plan is handed to OPA on its standard input, and what comes back is scrubbed. Nothing is decided
here: a run is judged by its worker's own policies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from temporalio.client import Client

from tprov_kernel import opa
from tprov_kernel.errors import PolicyError, StackError
from tprov_kernel.messages import Verdict
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.process import Guard
from tprov_kernel.savedplan import Handle, Means, ShownPlan, shown_plan
from tprov_kernel.settings import Settings
from tprov_kernel.toolchain import Toolchain

SETTINGS = "data.json"


async def what_if(
    client: Client,
    handle: Handle,
    *,
    key_ring: KeyRing,
    toolchain: Toolchain,
    guard: Guard,
    settings: Settings,
    bundle: Path | None = None,
    rego: Mapping[str, str] | None = None,
    levels: Mapping[str, str] | None = None,
) -> Verdict:
    """Judge the last plan of a run by other policies.

    Args:
        client: Connected to the server.
        handle: The run.
        key_ring: Opens the plan.
        toolchain: Terraform, of the version that made the plan, and OPA.
        guard: Owns both.
        settings: Whose policies.
        bundle: A directory with policies; the settings' own if not given.
        rego: Files to add or to put in place of others, by their path within the bundle:
            ``{"rules/account_admin.rego": "package ..."}``.
        levels: Rule name to another enforcement level.

    Raises:
        StackError: The run has made no plan.
        PolicyError: The policies cannot judge, in words.
        ToolError: OPA or Terraform does not work, or is not the one that made the plan.
        SealBroken: The key ring cannot open the plan.
    """
    means = Means(key_ring=key_ring, toolchain=toolchain, guard=guard, settings=settings)
    files = files_of(bundle or settings.policies, rego=rego or {}, levels=levels or {})
    shown = await shown_plan(client, handle, means)
    return await _judge(files, shown, means)


async def explain(
    client: Client,
    handle: Handle,
    rule: str,
    *,
    key_ring: KeyRing,
    toolchain: Toolchain,
    guard: Guard,
    settings: Settings,
    address: str = "",
    bundle: Path | None = None,
    rego: Mapping[str, str] | None = None,
) -> str:
    """Let OPA tell how a rule comes to what it finds in the last plan of a run, or to nothing.

    With the values of variables, from the redacted plan, where the rule finds the same in it;
    otherwise from the real one, without values.

    Args:
        client: Connected to the server.
        handle: The run.
        rule: The rule's name.
        key_ring: Opens the plan.
        toolchain: Terraform, of the version that made the plan, and OPA.
        guard: Owns both.
        settings: Whose policies.
        address: Only about this resource.
        bundle: A directory with policies; the settings' own if not given.
        rego: Files to add or to put in place of others.

    Raises:
        PolicyError: There is no such rule, or the policies cannot judge.
        StackError: The run has made no plan, or none about this resource.
        TprovError: As `what_if`.
    """
    means = Means(key_ring=key_ring, toolchain=toolchain, guard=guard, settings=settings)
    files = files_of(bundle or settings.policies, rego=rego or {}, levels={})
    shown = await shown_plan(client, handle, means)
    real, redacted = json.loads(shown.json), shown.redacted.plan
    if address:
        real, redacted = _only(real, address), _only(redacted, address)
    found = await _found(files, real, rule, shown, means)
    alike = found == await _found(files, redacted, rule, shown, means)
    return await opa.explain(
        toolchain.opa,
        guard,
        files=files,
        rule=rule,
        plan=json.dumps(redacted if alike else real).encode(),
        scrub=shown.redacted.scrubber.text,
        values=alike,
    )


async def _found(
    files: Mapping[str, bytes], plan: Any, rule: str, shown: ShownPlan, means: Means
) -> list[tuple[str, str]]:
    asked = ShownPlan(json.dumps(plan).encode(), shown.redacted)
    verdict = await _judge(files, asked, means)
    return [(f.address, f.message) for f in verdict.findings if f.rule == rule]


def _only(plan: dict[str, Any], address: str) -> dict[str, Any]:
    """A plan that is about one resource: what OPA tells of it can be read."""
    changes = [c for c in plan.get("resource_changes", []) if c.get("address") == address]
    if not changes:
        known = ", ".join(str(c.get("address")) for c in plan.get("resource_changes", [])[:8])
        raise StackError(
            f"The plan says nothing of {address}.", remedy=f"It is about {known or 'nothing'}."
        )
    return {**plan, "resource_changes": changes}


async def _judge(files: Mapping[str, bytes], shown: ShownPlan, means: Means) -> Verdict:
    return await opa.evaluate_files(
        means.toolchain.opa,
        means.guard,
        files=files,
        plan=shown.json,
        scrub=shown.redacted.scrubber.text,
    )


# --- in words --------------------------------------------------------------------------------


def outcome(verdict: Verdict) -> str:
    """What a verdict comes to: 'allowed', 'up to a human', 'forbidden: ...'."""
    if verdict.at("hard-mandatory"):
        return "forbidden: nobody may override that"
    return "up to a human" if verdict.at("soft-mandatory") else "allowed"


def changes(own: Verdict, tried: Verdict) -> list[str]:
    """What other policies say that a run's own did not, and the reverse, a sentence each."""
    before = {(f.rule, f.address, f.message): f.level for f in own.findings}
    after = {(f.rule, f.address, f.message): f.level for f in tried.findings}
    told = []
    for (rule, address, message), level in after.items():
        was = before.get((rule, address, message))
        where = f"`{rule}` on `{address}`" if address else f"`{rule}`"
        if was is None:
            told.append(f"{where} is new, {level}: {message}")
        elif was != level:
            told.append(f"{where} is {level}, was {was}.")
    for (rule, address, message), level in before.items():
        if (rule, address, message) not in after:
            where = f"`{rule}` on `{address}`" if address else f"`{rule}`"
            told.append(f"{where} does not object any more, was {level}: {message}")
    return told


# --- the policies ----------------------------------------------------------------------------


def files_of(
    bundle: Path, *, rego: Mapping[str, str], levels: Mapping[str, str]
) -> dict[str, bytes]:
    """Read a bundle, with some files and some levels in place of its own.

    Raises:
        PolicyError: It is no bundle, or what is to be put into it has no place there.
    """
    files = opa.read_bundle(bundle)
    for name, text in rego.items():
        if not opa.decides(name) or name.startswith("/") or ".." in name.split("/"):
            raise PolicyError(
                f"{name!r} is no file that decides anything in a bundle.",
                remedy="Name it like rules/my_rule.rego.",
            )
        files[name] = text.encode()
    if levels:
        files[SETTINGS] = _with_levels(files, levels)
    return files


def _with_levels(files: Mapping[str, bytes], levels: Mapping[str, str]) -> bytes:
    known = opa.rules_in(files)
    for rule in levels:
        if known and rule not in known:
            raise PolicyError(
                f"There is no rule {rule!r} whose level could be another.",
                remedy=f"The rules are {', '.join(known)}.",
            )
    try:
        data = json.loads(files.get(SETTINGS, b"{}"))
        own = data.setdefault("settings", {}).setdefault("levels", {})
        own.update(levels)
    except (ValueError, AttributeError):
        raise PolicyError(
            f"{SETTINGS} holds no settings to put a level into.",
            remedy='It needs {"settings": {"levels": {}}}.',
        ) from None
    return json.dumps(data).encode()

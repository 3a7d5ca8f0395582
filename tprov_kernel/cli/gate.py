"""audit, policy try, policy explain: a run's gate, looked at afterwards or with other policies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tprov_kernel import runs
from tprov_kernel import whatif as what_if
from tprov_kernel.audit import audit as tell
from tprov_kernel.audit import to_json, to_markdown
from tprov_kernel.cli import render, say
from tprov_kernel.cli.place import Connection, Place, connected, shown
from tprov_kernel.files import using
from tprov_kernel.messages import short_digest
from tprov_kernel.process import Guard
from tprov_kernel.toolchain import find_toolchain

ALLOWED, NEEDS_A_HUMAN, FORBIDDEN = 0, 3, 4
"""Exit codes of `policy try`."""


async def audit(place: Place, *, stack: str, as_json: bool, output: Path | None) -> int:
    """Tell a stack's last run from its history, on stdout or into a file."""
    async with connected(place) as at:
        told = await tell(at.client, await runs.run_of(at.client, stack))
    text = to_json(told) + "\n" if as_json else to_markdown(told)
    if output is None:
        say.answer(text.rstrip("\n"))
    else:
        with using(output):
            await asyncio.to_thread(output.write_text, text)
        say.answer(f"The audit of {told.workflow_id} is in {shown(output)}.")
    for gap in told.gaps:
        say.warning(gap)
    return 0


async def try_policies(
    place: Place, *, stack: str, bundle: Path | None, levels: Mapping[str, str], as_json: bool
) -> int:
    """Judge the plan of a stack's last run by other policies; the exit code is the verdict."""
    async with _judging(place, stack) as (at, handle, means):
        verdict = await what_if.what_if(at.client, handle, **means, bundle=bundle, levels=levels)
    words = what_if.outcome(verdict)
    code = FORBIDDEN if verdict.at("hard-mandatory") else NEEDS_A_HUMAN
    code = code if words != "allowed" else ALLOWED
    if as_json:
        say.answer(json.dumps({"outcome": words, **asdict(verdict)}))
        return code
    if verdict.findings:
        say.out().print(render.findings(verdict))
        say.out().print()
    say.answer(f"It would be {words}.")
    digest = short_digest(verdict.bundle_digest)
    say.aside(f"Policy bundle {digest}, OPA {verdict.opa_version}. Nothing was decided.")
    return code


async def explain_rule(
    place: Place, *, stack: str, rule: str, address: str, bundle: Path | None
) -> int:
    """Have OPA tell how a rule comes to what it finds."""
    async with _judging(place, stack) as (at, handle, means):
        text = await what_if.explain(
            at.client, handle, rule, **means, address=address, bundle=bundle
        )
    say.answer(text)
    return 0


@asynccontextmanager
async def _judging(
    place: Place, stack: str
) -> AsyncIterator[tuple[Connection, runs.RunHandle, dict[str, Any]]]:
    """The last run of a stack, and what it takes to judge its plan here."""
    async with connected(place) as at:
        handle = await runs.run_of(at.client, stack)
        toolchain, guard = find_toolchain(), Guard()
        try:
            yield (
                at,
                handle,
                {
                    "key_ring": at.key_ring,
                    "toolchain": toolchain,
                    "guard": guard,
                    "settings": at.settings,
                },
            )
        finally:
            await asyncio.to_thread(guard.close)

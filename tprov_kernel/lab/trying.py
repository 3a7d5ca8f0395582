"""Other policies on a run's saved plan, and how a rule comes to what it finds, in a cell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from temporalio.client import Client

from tprov_kernel import runs, whatif
from tprov_kernel.messages import Finding, Verdict
from tprov_kernel.savedplan import Means
from tprov_kernel.widgets.parts import policy
from tprov_kernel.widgets.style import adaptive as ink
from tprov_kernel.widgets.words import esc, prose

AS_BEFORE = "Nothing differs from the run's own verdict."


async def what_if(
    client: Client,
    handle: runs.RunHandle,
    means: Means,
    bundle: str | Path | None,
    levels: Mapping[str, str] | None,
    files: Mapping[str, str],
) -> Verdict:
    """Judge a run's plan by another bundle, other levels, or rules typed in a cell.

    Raises:
        PolicyError: They cannot judge, in words.
    """
    rego = {name if "." in name else f"rules/{name}.rego": text for name, text in files.items()}
    return await whatif.what_if(
        client,
        handle,
        key_ring=means.key_ring,
        toolchain=means.toolchain,
        guard=means.guard,
        settings=means.settings,
        bundle=Path(bundle) if bundle else None,
        rego=rego,
        levels=levels,
    )


async def explain(
    client: Client, handle: runs.RunHandle, means: Means, rule: str | Finding, address: str
) -> str:
    """OPA's own account of a rule, or of what led to a finding.

    Raises:
        PolicyError: There is no such rule.
    """
    found = rule if isinstance(rule, Finding) else None
    return await whatif.explain(
        client,
        handle,
        found.rule if found else str(rule),
        key_ring=means.key_ring,
        toolchain=means.toolchain,
        guard=means.guard,
        settings=means.settings,
        address=address or (found.address if found else ""),
    )


def tried_html(own: Verdict | None, tried: Verdict) -> str:
    """The outcome, what changed compared with the run's own verdict, and the findings."""
    lead = f"<div{ink('title gap')}>It would be {esc(whatif.outcome(tried))}.</div>"
    told = [f"<li>{prose(words, ink('code'))}</li>" for words in _changes(own, tried)]
    changed = f"<ul{ink('gap')}>{''.join(told)}</ul>" if told else ""
    if own is not None and not told:
        changed = f"<div{ink('muted gap')}>{AS_BEFORE}</div>"
    aside = f"<div{ink('muted small')}>Nothing was planned or decided: the run is as it was.</div>"
    body = f"{lead}{changed}{policy(tried, ink)}{aside}"
    return f"<div{ink('base frame')}><div{ink('pad')}>{body}</div></div>"


def tried_words(own: Verdict | None, tried: Verdict) -> str:
    """The same in lines."""
    lines = [f"It would be {whatif.outcome(tried)}."]
    told = _changes(own, tried)
    lines += [f"- {words}" for words in told] or ([AS_BEFORE] if own is not None else [])
    return "\n".join(lines)


def _changes(own: Verdict | None, tried: Verdict) -> list[str]:
    return whatif.changes(own, tried) if own is not None else []


def text_html(text: str) -> str:
    """A program's own words."""
    return (
        f"<div{ink('base frame')}><div{ink('pad')}><pre{ink('pre')}>{esc(text)}</pre></div></div>"
    )

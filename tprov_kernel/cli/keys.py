"""keys list, rotate, drop, new: the key ring of a place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tprov_kernel.cli import say
from tprov_kernel.cli.place import Place, connected, shown
from tprov_kernel.errors import ServiceError, SettingsError
from tprov_kernel.payloads.keyfile import document_of
from tprov_kernel.payloads.keyring import KeyRing
from tprov_kernel.payloads.keysource import DROP
from tprov_kernel.settings import KEYS_VARIABLE

if TYPE_CHECKING:
    from tprov_kernel.keys import KeyUse


async def list_keys(place: Place, *, as_json: bool) -> int:
    """List the keys with who needs them; without a server just the keys."""
    ring = KeyRing.find(place.key_ring)
    ring.check_exists()
    uses: Sequence[KeyUse] = ()
    try:
        async with connected(place) as at:
            from tprov_kernel.keys import survey

            uses = list((await survey(at.client, at.key_ring)).keys.values())
    except ServiceError as error:
        say.warning("Who needs which key is not known: " + error.message, remedy=error.remedy)
    if as_json:
        say.answer(json.dumps(_as_json(ring, uses)))
    else:
        _print(ring, uses)
        say.aside(f"They are in {shown(ring.path)}, mode 0600." if ring.path else _in(ring))
    return 0


def _in(ring: KeyRing) -> str:
    return f"They are in {ring.name}, and are not ours to write."


def _as_json(ring: KeyRing, uses: Sequence[KeyUse]) -> list[dict[str, Any]]:
    known = {use.key_id: use for use in uses}
    rows = []
    for key_id in dict.fromkeys([*ring.created, *known]):
        row: dict[str, Any] = {"id": key_id, "created": ring.created.get(key_id, "")}
        row |= {"active": key_id == ring.active, "here": key_id in ring.created}
        if uses:
            use = known[key_id]
            row |= {"open_runs": sorted(use.open_runs), "closed_runs": sorted(use.closed_runs)}
        rows.append(row)
    return rows


def _print(ring: KeyRing, uses: Sequence[KeyUse]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("key", "made", "is", *(("open runs", "closed runs") if uses else ())):
        table.add_column(name, no_wrap=name in ("key", "made", "is"), overflow="fold")
    for row in _as_json(ring, uses):
        state = "active" if row["active"] else "kept, to read" if row["here"] else "gone"
        cells = [row["id"], row["created"], state]
        if uses:
            cells += [", ".join(row["open_runs"]) or "–", str(len(row["closed_runs"]) or "–")]
        table.add_row(*cells)
    say.out().print(table)


def rotate(place: Place) -> int:
    """Make a new active key."""
    ring = KeyRing.find(place.key_ring)
    ring.check_exists()
    former = ring.active
    say.answer(f"{ring.rotate()} is the active key.")
    say.aside(
        f"{former} stays, to read what it encrypted. Workers, the codec server and notebooks notice"
        " at their next payload."
    )
    return 0


def new(place: Place) -> int:
    """Print a key ring, with those keys that are there and a new active one; keep nothing.

    Raises:
        SettingsError: A terminal would show it.
    """
    if say.out().is_terminal:
        raise SettingsError(
            "What this prints is secret: it does so into a pipe or a file, and not on a terminal.",
            remedy=f'For instance: export {KEYS_VARIABLE}="$(tprov keys new)".',
        )
    ring = KeyRing.find(place.key_ring)
    say.answer(json.dumps(document_of(ring.with_new_key())))
    return 0


async def drop(place: Place, *, key_id: str, yes: bool) -> int:
    """Forget a key, after asking, unless somebody needs it."""
    async with connected(place) as at:
        from tprov_kernel import keys

        at.key_ring.check_may_go(key_id)
        at.key_ring.check_is_ours(DROP)
        where = f"{at.settings.address}, namespace {at.settings.namespace}"
        question = (
            f"Drop {key_id}? What it encrypted cannot be read again. Only {where} is asked who"
            " needs it."
        )
        if not yes and not say.confirmed(question):
            say.aside("Nothing was dropped.")
            return 1
        use = await keys.drop(at.client, at.key_ring, key_id, stacks=at.settings.stacks)
    say.answer(f"{key_id} is gone.")
    if use.closed_runs:
        say.aside(f"{keys.named(use.closed_runs)} over, and cannot be read in full any more.")
    return 0

"""Our search attributes: the closed list of them, and what may never be in one.

The server keeps search attributes in the clear, whatever `ENCRYPT_PAYLOADS` says, and shows them to
everybody who may list runs. What we set is a status, a verdict and an action, all of them words of
ours, and three things that people choose: the stack's name, the directory and the requester. Every
value is checked here before it is set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from tprov_kernel.errors import NotPublic
from tprov_kernel.texts import looks_secret

if TYPE_CHECKING:  # the services read the list above all, and start before the SDK is imported
    from temporalio.common import TypedSearchAttributes

    from tprov_kernel.redaction import Scrubber

Kind = Literal["Text", "Keyword"]

ATTRIBUTES: dict[str, Kind] = {
    "provisionStatus": "Text",
    "tfDirectory": "Text",
    "tprovStatus": "Keyword",
    "tprovDirectory": "Keyword",
    "tprovStack": "Keyword",
    "tprovRequester": "Keyword",
    "tprovVerdict": "Keyword",
    "tprovAction": "Keyword",
}
"""Text ones as the description names them; Keyword ones for filters (Text is tokenised)."""

MOST = 255
"""Characters of a value: what a Keyword's column holds on a server over SQL (2048 bytes are the
server's own limit, measured)."""

_CALLED = {
    "tfDirectory": "directory",
    "tprovDirectory": "directory",
    "tprovRequester": "requester",
    "tprovStack": "stack",
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def search_attributes(
    values: Mapping[str, str], *, secrets: Iterable[str] = ()
) -> TypedSearchAttributes:
    """Make search attributes of values, each of them checked.

    Args:
        values: Attribute to value. One that is too long, or that no filter could find, is changed
            as little as possible; see `findable`.
        secrets: Known secrets, which no value may contain in any form.

    Raises:
        NotPublic: A value may not be shown to everybody, or there is no such attribute.
    """
    from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

    from tprov_kernel.redaction import Scrubber

    scrubber, pairs = Scrubber(secrets), []
    for name, value in values.items():
        if name not in ATTRIBUTES:
            raise NotPublic(f"{name} is none of our search attributes.")
        if why := _why_not(value, scrubber):
            called = _CALLED.get(name, name)
            raise NotPublic(
                f"The {called} {why}; as a search attribute it would be readable by everybody who"
                " may list runs.",
                remedy=f"Give the {called} another name; secrets go into variables.",
            )
        is_text = ATTRIBUTES[name] == "Text"
        key = SearchAttributeKey.for_text if is_text else SearchAttributeKey.for_keyword
        pairs.append(SearchAttributePair(key(name), findable(value)))
    return TypedSearchAttributes(pairs)


def findable(value: str) -> str:
    """The value as a filter can find it, at most `MOST` characters long.

    No filter finds a backslash or a double quote, however it is written (measured: dev server of
    CLI 1.9.1), so a path has slashes and single quotes. Of a long one the end is kept, which is
    what people call a directory.
    """
    plain = value.replace("\\", "/").replace('"', "'")
    return plain if len(plain) <= MOST else f"…{plain[1 - MOST :]}"


def _why_not(value: str, scrubber: Scrubber) -> str:
    """What is wrong with a value, as the rest of a sentence that does not show it."""
    if _CONTROL.search(value):
        return "contains a control character"
    if scrubber.text(value) != value:
        return "contains a known secret"
    return looks_secret(value)

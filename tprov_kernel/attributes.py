"""Our search attributes: the closed list of them."""

from __future__ import annotations

from typing import Literal

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

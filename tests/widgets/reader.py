"""What a reader sees of some HTML."""

from __future__ import annotations

from html.parser import HTMLParser


def text_of(html: str) -> str:
    """What a reader sees of some HTML, white space folded."""
    said: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            said.append(data)

    Reader().feed(html)
    return " ".join(" ".join(said).split())

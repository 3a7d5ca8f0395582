"""What a notebook shows of a gate: what differs from the review before, and every decision."""

from __future__ import annotations

from datetime import UTC, datetime

from tprov_kernel.lab.gate import NONE, decisions_html, decisions_words
from tprov_kernel.messages import Decision, Review, Status
from tprov_kernel.observe import RunView
from tprov_kernel.widgets.parts import review_text
from tprov_kernel.widgets.style import adaptive

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def shown(*, supersedes: str = "", differs: list[str] | None = None) -> str:
    """The words of a review that waits."""
    review = Review(
        digest="a" * 64,
        snapshot_digest="b" * 64,
        file_digest="c" * 64,
        meaning_digest="d" * 64,
        state_lineage="",
        state_serial=0,
        bundle_digest="e" * 64,
        terraform_version="1.11.4",
        summary="1 to add",
        findings=[],
        requested_by="grace",
        asked_at="2026-01-02T00:00:00Z",
        expires_at="2026-01-05T00:00:00Z",
        supersedes=supersedes,
        differs=differs or [],
    )
    view = RunView(
        workflow_id="stack-demo",
        run_id="r",
        stack="demo",
        status=Status.AWAITING_APPROVAL,
        review=review,
    )
    return review_text(view, NOW, adaptive)


def test_a_review_says_what_differs_from_the_one_it_supersedes() -> None:
    """Each difference is an item, escaped; the former review is named by its short form."""
    html = shown(supersedes="7f3a91c2" + "0" * 56, differs=["region <b> is new"])
    assert "7f3a·91c2" in html
    assert "what differs:" in html
    assert "<li>region &lt;b&gt; is new</li>" in html


def test_a_review_that_supersedes_and_shows_no_difference_says_so() -> None:
    """Silence would read as a first review."""
    assert "nothing that is shown differs" in shown(supersedes="7f3a91c2" + "0" * 56)


def test_a_first_review_supersedes_nothing() -> None:
    """There is no word of another review."""
    assert "Supersedes" not in shown()


def test_ignored_decisions_are_in_the_table_with_why() -> None:
    """What came as garbage is escaped; nothing is left out."""
    ignored = Decision(
        verb="approve",
        outcome="ignored",
        reason="<script>",
        reviewer="mallory",
        review="",
        via="signal",
        at="2026-01-02T00:00:00Z",
        why="an approval needs a reason",
    )
    html = decisions_html([ignored])
    assert "an approval needs a reason" in html
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert "an approval needs a reason" in decisions_words([ignored])


def test_no_decision_is_said() -> None:
    """An empty table would tell nothing."""
    assert NONE in decisions_html([])
    assert decisions_words([]) == NONE

"""One event three ways: what is seen, and what happens when another one is chosen."""

from __future__ import annotations

from tests.widgets.reader import text_of
from tprov_kernel.widgets import style
from tprov_kernel.widgets.threeways import ThreeWays, Way, Ways, ways_html

WAYS = Ways(
    event_id=11,
    title="11  ActivityTaskCompleted, terraform_plan",
    stored=Way("As the server stores it", "1 payload", "encoding: binary/encrypted\n<b>\x00"),
    shown=Way("As the command line shows it", "temporal workflow show", '{"data": "YWJj"}'),
    decoded=Way("Decoded by the codec server", "POST /decode: 200", '{"x": "<script>"}'),
)


def test_three_columns_with_everything_escaped() -> None:
    """Titles, where each comes from, and the text; in each ink, and as words."""
    for ink in (style.live, style.adaptive, style.stored):
        html = ways_html(WAYS, ink)
        assert "<script>" not in html
        assert html.count("<td") == 3
        text = text_of(html)
        for way in (WAYS.stored, WAYS.shown, WAYS.decoded):
            assert way.title in text
            assert way.source in text
        assert '{"x": "<script>"}' in text
    assert "terraform_plan" in WAYS.words


def test_choosing_asks_once_and_shows_what_comes() -> None:
    """The event that stands there already is not asked for again."""
    chosen: list[int] = []
    widget = ThreeWays({11: "11  plan", 5: "5  init"}, choose=chosen.append)
    widget.show(WAYS)
    widget.choice.value = 11
    widget.choice.value = 5

    assert chosen == [5]
    widget.say("Event 5 cannot be shown: <gone>")
    assert "&lt;gone&gt;" in widget.widget.children[2].value


def test_a_run_without_a_payload_is_an_empty_list() -> None:
    """Nothing to choose, and no error."""
    assert ThreeWays({}, choose=lambda _: None).choice.options == ()

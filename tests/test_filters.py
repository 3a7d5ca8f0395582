"""List filters as text: taken apart, and put together again without changing their meaning."""

from __future__ import annotations

import pytest

from tprov_kernel.filters import ALL_RUNS, choices, narrowed, quoted, split, with_choice


@pytest.mark.parametrize(
    ("query", "clauses"),
    [
        ("", []),
        ("a='1'", ["a='1'"]),
        ("a='1' AND b='2'", ["a='1'", "b='2'"]),
        ("a='1' and b='x AND y'", ["a='1'", "b='x AND y'"]),
        ("a='1' AND (b='2' OR c='3')", ["a='1'", "(b='2' OR c='3')"]),
        ("a='1' OR b='2' AND c='3'", ["a='1' OR b='2' AND c='3'"]),
        ("StartTime BETWEEN 'a' AND 'b' AND c='3'", ["StartTime BETWEEN 'a' AND 'b'", "c='3'"]),
        ("a='it''s' AND b=\"or\"", ["a='it''s'", 'b="or"']),
        ("a='open AND (", ["a='open", "("]),
    ],
)
def test_clauses_are_what_and_connects(query: str, clauses: list[str]) -> None:
    """Outside of quotes, brackets and BETWEEN; an OR binds less, so it keeps all together."""
    assert clauses == split(query)


@pytest.mark.parametrize("value", ["applied", "it's", 'say "no"', "a\\b", "back\\'slash", "AND"])
def test_a_value_comes_back_as_it_was_put_in(value: str) -> None:
    """Whatever a directory or a person is called."""
    query = with_choice(ALL_RUNS, "tprovRequester", value)
    assert choices(query)["tprovRequester"] == value
    assert with_choice(query, "tprovRequester", "") == ALL_RUNS


def test_a_choice_replaces_the_one_before_and_leaves_the_rest() -> None:
    """What somebody typed stays as it was typed."""
    typed = "StartTime > '2026-01-01' AND tprovStatus = 'applied' AND (a='1' OR b='2')"
    assert with_choice(typed, "tprovStatus", "failed") == (
        "StartTime > '2026-01-01' AND (a='1' OR b='2') AND tprovStatus='failed'"
    )


def test_an_or_is_put_into_brackets_before_something_is_added() -> None:
    """AND binds more than OR: without brackets the choice would hold for the last part only."""
    assert with_choice("a='1' OR b='2'", "c", "3") == "(a='1' OR b='2') AND c='3'"
    assert narrowed("a='1' OR b='2'", "c='3'") == "(a='1' OR b='2') AND c='3'"
    assert narrowed(" ", "c='3'") == "c='3'"


def test_quotes_are_doubled() -> None:
    """The server's parser takes both this and a backslash (measured)."""
    assert quoted("it's") == "'it''s'"

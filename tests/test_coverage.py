"""Does an approval cover a new plan of the same thing?"""

from __future__ import annotations

import pytest

from tprov_kernel.coverage import is_covered

TWO = {"a": "create:1", "b": "create:2"}


@pytest.mark.parametrize(
    ("now", "present", "covered", "because"),
    [
        (TWO, [], True, "the same plan again"),
        ({"b": "create:2"}, ["a"], True, "a is done: it is in the state"),
        ({"b": "create:2"}, [], False, "a is neither planned nor in the state"),
        ({"a": "import", "b": "create:2"}, [], True, "a was created and is taken over"),
        ({"a": "create:9", "b": "create:2"}, [], False, "a would look different"),
        ({**TWO, "c": "create:3"}, [], False, "c is new"),
        ({**TWO, "c": "import"}, [], False, "c was never approved"),
        ({"a": "delete+create:1", "b": "create:2"}, [], False, "a would be replaced"),
        ({}, ["a", "b"], True, "everything is done"),
    ],
)
def test_creates(now: dict[str, str], present: list[str], covered: bool, because: str) -> None:
    """Covered: a subset, nothing new, and what is missing is proven done."""
    assert is_covered(TWO, now, present) is covered, because


def test_a_destroyed_object_is_done_when_it_is_gone() -> None:
    """For a delete, done means absent from the state."""
    approved = {"a": "delete:0", "b": "delete:0"}
    assert is_covered(approved, {"b": "delete:0"}, ["b"])
    assert not is_covered(approved, {"b": "delete:0"}, ["a", "b"])


def test_an_import_stands_only_for_an_approved_create() -> None:
    """Taking over what was to be updated, or destroyed, was never decided."""
    assert not is_covered({"a": "update:1"}, {"a": "import"}, [])

"""Numbers of classes and their names, by the hub's types of columns."""

from __future__ import annotations

from typing import Any

import pytest

from vrft.records import class_names

OWLS = {"_type": "ClassLabel", "names": ["owl", "barn owl"]}


@pytest.mark.parametrize(
    ("value", "feature", "expected"),
    [
        # a class; the hub's number of none, and nothing; a class whose names nobody knows
        (1, OWLS, "barn owl"),
        (-1, OWLS, None),
        (None, OWLS, None),
        (7, {"_type": "ClassLabel"}, 7),
        # lists, in the new form and the old, and a list of objects, stored as an object of lists
        ([0, 1], {"_type": "List", "feature": OWLS}, ["owl", "barn owl"]),
        ([0], [OWLS], ["owl"]),
        ({"k": [1]}, {"_type": "Sequence", "feature": {"k": OWLS}}, {"k": ["barn owl"]}),
        # what is no class, and what the description does not know
        ({"k": 0, "n": 0}, {"k": OWLS, "n": {"_type": "Value"}}, {"k": "owl", "n": 0}),
        (1, None, 1),
    ],
)
def test_a_value_is_named_at_any_depth(value: Any, feature: Any, expected: Any) -> None:
    assert class_names.named(value, feature) == expected


@pytest.mark.parametrize("number", [-2, 2])
def test_a_number_without_a_name_is_no_class(number: int) -> None:
    with pytest.raises(ValueError, match="of 2"):
        class_names.named(number, OWLS)


def test_only_columns_with_classes_are_looked_at() -> None:
    features = {"label": OWLS, "n": {"_type": "Value"}}
    assert class_names.with_classes(features) == {"label": OWLS}
    assert class_names.name_classes({"label": 0, "n": 0}, {"label": OWLS}) == {
        "label": "owl",
        "n": 0,
    }
    assert class_names.hub_features({b"huggingface": b"["}) == {}

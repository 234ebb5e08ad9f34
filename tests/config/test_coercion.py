"""Values of YAML become the types that a dataclass annotates, or one clear line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from vrft.config import coercion
from vrft.config.coercion import Range
from vrft.errors import UserError


@dataclass(frozen=True)
class Inner:
    size: int = 1


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    folder: Path = Path()
    names: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    limit: int | None = None


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        # whole numbers: as they are, with a point, as text
        (int, 2, 2),
        (int, 2.0, 2),
        (int, "2", 2),
        # a whole number that no float holds exactly
        (int, 2**53 + 1, 2**53 + 1),
        # numbers: YAML 1.1 reads 1e-6 as text
        (float, 1, 1.0),
        (float, "1e-6", 1e-6),
        (float, ".5", 0.5),
        # text, and a number where text is wanted
        (str, "a", "a"),
        (str, 7, "7"),
        (Path, "a/b", Path("a/b")),
        (bool, True, True),
        # one of a choice
        (Literal["sdpa", "eager"], "eager", "eager"),
        (Literal["auto", "off"], False, "off"),  # `off` in YAML
        # a list, and one item for a list of one
        (tuple[int, ...], [1, "2"], (1, 2)),
        (tuple[str, ...], "a", ("a",)),
        # what may be missing, and what is there
        (int | None, None, None),
        (int | None, "3", 3),
        # a mapping; its keys become text
        (Mapping[str, float], {1: "2"}, {"1": 2.0}),
        # a dataclass in a dataclass
        (Inner, {"size": 2.0}, Inner(2)),
        # anything at all
        (Any, [None, {"a": 1}], [None, {"a": 1}]),
        # at both ends of a range
        (Annotated[float, Range(0, 1)], 0, 0.0),
        (Annotated[float, Range(0, 1)], 1, 1.0),
    ],
)
def test_a_value_is_read_as_its_type(hint: Any, value: Any, expected: Any) -> None:
    got = coercion.coerce(hint, value, "here")
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        # no truth value is a number, and no number a truth value
        (int, True, "here: expected int, got True"),
        (float, False, "here: expected float, got False"),
        (str, True, "here: expected str, got True"),
        (bool, 1, "here: expected bool, got 1"),
        (bool, "yes", "here: expected bool, got 'yes'"),
        # no whole number
        (int, 1.5, "here: expected int, got 1.5"),
        (int, math.inf, "here: expected int, got inf"),
        (int, "many", "here: expected int, got 'many'"),
        # nothing where something is wanted
        (int, None, "here: expected int, got None"),
        (Path, None, "here: expected Path, got None"),
        # a list or a mapping for a single value, and the other way round
        (float, [1], r"here: expected float, got \[1\]"),
        (str, {}, "here: expected str, got {}"),
        (Inner, 5, "here: expected Inner, got 5"),
        (Mapping[str, float], 5, "here: expected Mapping, got 5"),
        # in a mapping and in a list, the key of the mapping named
        (Mapping[str, float], {"iou": "x"}, "here.iou: expected float, got 'x'"),
        (tuple[int, ...], [1, "x"], "here: expected int, got 'x'"),
        (Inner, {"size": "x"}, "here.size: expected int, got 'x'"),
        (Literal["sdpa", "eager"], "flash", "here: 'flash' is not one of sdpa, eager"),
        # just outside a range, at its open end, and not a number
        (Annotated[float, Range(0, 1)], 1.001, "expected at least 0 and at most 1, got 1.001"),
        (Annotated[float, Range(0, open=True)], 0, "here: expected above 0, got 0"),
        # no number at all, though greater than 0
        (Annotated[float, Range(0)], math.nan, "here: expected a finite number, got nan"),
        (Annotated[float, Range(0)], math.inf, "here: expected a finite number, got inf"),
        (float, "-inf", "here: expected a finite number, got '-inf'"),
        (float, 1e400, "here: expected a finite number, got inf"),
        (Mapping[str, float], {"iou": math.inf}, "here.iou: expected a finite number, got inf"),
    ],
)
def test_a_value_of_another_type_is_one_clear_line(hint: Any, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        coercion.coerce(hint, value, "here")
    assert "\n" not in str(caught.value)


def test_an_unknown_setting_is_answered_with_the_nearest_and_its_path() -> None:
    with pytest.raises(UserError, match=r"unknown setting a.siez; did you mean a.size\?"):
        coercion.build(Inner, {"siez": 1}, prefix="a.")


def test_the_name_of_a_setting_elsewhere_is_answered_with_its_path() -> None:
    for tree, complaint in (
        # the name itself, though another is near: in a section, at the top, and deeper down
        ({"inner": {"limit": 1}}, r"inner\.limit; did you mean limit\?"),
        ({"size": 1}, r"size; did you mean inner\.size\?"),
        ({"inner": {"inner": {}}}, r"inner\.inner; did you mean inner\?"),
        # no such name anywhere
        ({"inner": {"siez": 1}}, r"inner\.siez; did you mean inner\.size\?"),
    ):
        with pytest.raises(UserError, match=f"^unknown setting {complaint}$"):
            coercion.build(Outer, tree)
    with pytest.raises(UserError, match=r"unknown setting a\.names; did you mean names\?"):
        coercion.build(Inner, {"names": 1}, prefix="a.", root=Outer)


def test_a_dataclass_survives_the_way_to_yaml_and_back() -> None:
    made = Outer(Inner(3), Path("a/b"), ("x", "y"), {"iou": 2.0}, None)
    plain = coercion.to_plain(made)
    assert plain == {
        "inner": {"size": 3},
        "folder": "a/b",
        "names": ["x", "y"],
        "weights": {"iou": 2.0},
        "limit": None,
    }
    assert coercion.build(Outer, plain) == made

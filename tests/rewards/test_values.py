"""Numbers of every library are read as floats; what is no number, or no JSON, is not."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from vrft.errors import UserError
from vrft.rewards.values import noting, to_json, to_list, to_number

NUMBERS = [
    # Python's
    (True, 1.0),
    (0, 0.0),
    (0.25, 0.25),
    (Fraction(1, 4), 0.25),
    # NumPy's scalars
    (np.float32(0.25), 0.25),
    (np.float64(0.25), 0.25),
    (np.float16(0.25), 0.25),
    (np.int64(3), 3.0),
    (np.uint8(3), 3.0),
    (np.bool_(True), 1.0),
    # arrays and tensors without axes
    (np.array(0.25), 0.25),
    (torch.tensor(0.25), 0.25),
    (torch.tensor(True), 1.0),
    (torch.tensor(3), 3.0),
    (torch.tensor(0.25, dtype=torch.bfloat16), 0.25),
    (torch.tensor(0.25, requires_grad=True), 0.25),
    # beyond the range of floats
    (10**400, math.inf),
]


@pytest.mark.parametrize(("value", "number"), NUMBERS)
def test_numbers_are_numbers(value: Any, number: float) -> None:
    given = to_number(value)
    assert given == number
    assert type(given) is float


@pytest.mark.parametrize(
    "value",
    [
        None,
        "0.5",
        b"1",
        Decimal("0.5"),  # its arithmetic is not that of floats
        [0.5],
        (0.5,),
        {},
        1j,
        np.complex64(1),
        np.str_("1"),  # a text without axes
        np.array([0.5]),
        torch.tensor([0.5]),
        np.datetime64("2020-01-01"),
        np.array(None),
        object(),
    ],
)
def test_anything_else_is_no_number(value: Any) -> None:
    assert to_number(value) is None


def test_lists_tuples_and_one_dimensional_arrays_are_lists() -> None:
    assert to_list([1, 2]) == to_list((1, 2)) == to_list(np.array([1, 2])) == [1, 2]
    assert to_list(torch.tensor([1, 2])) == [1, 2]
    for value in (0.5, "ab", {1: 2}, {1, 2}, None, np.array(1), np.array([[1]]), torch.tensor(1)):
        assert to_list(value) is None


def test_values_become_what_json_can_hold() -> None:
    given = {"a": [np.float32(0.5), (1, True)], "b": np.array([[1.5, 2]]), "c": torch.tensor(3)}
    assert to_json(given) == {"a": [0.5, [1, True]], "b": [[1.5, 2.0]], "c": 3}
    assert to_json(np.bool_(True)) is True
    assert to_json(None) is None
    assert to_json("nan") == "nan"


@pytest.mark.parametrize(
    "value",
    [math.nan, [1.0, math.inf], np.float32("nan"), {1: 2}, {1, 2}, Decimal(1), [object()], b"x"],
)
def test_what_json_cannot_hold_is_an_error_that_shows_it(value: Any) -> None:
    with pytest.raises(TypeError, match="of type"):
        to_json(value)


def test_an_exception_is_noted_once_and_a_users_mistake_is_left_as_it_is() -> None:
    with pytest.raises(LookupError) as caught, noting("mine", "s1"), noting("mine", "s1"):
        raise LookupError("gone")
    assert caught.value.__notes__ == ["in reward 'mine', sample 's1'"]
    with pytest.raises(UserError) as refused, noting("mine", "s1"):
        raise UserError("no such file")
    assert not hasattr(refused.value, "__notes__")

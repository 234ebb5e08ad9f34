"""Values that travel to a worker and come out equal, and those that are refused by their type."""

from __future__ import annotations

import datetime
import json
import math
from collections import namedtuple
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import torch
from PIL import Image

from vrft.boxes import Box
from vrft.images import open_image
from vrft.reward_workers.messages import CannotTravel, from_message, to_message
from vrft.types import Completion, Rollout, Sample, View


def travelled(value: Any) -> Any:
    return from_message(json.loads(json.dumps(to_message(value))))


@pytest.mark.parametrize(
    "value",
    [
        # JSON's own, half a character and a whole number beyond floats among them
        *(None, True, 0, -1, 2**70, 0.1, 5e-324, math.inf, "", "é", "\ud800", [], [1, [2]]),
        # mappings: keys of any type, and the key by which messages tell kinds
        *({}, {"a": 1}, {1: "x", None: 2}, {"$": "tuple", "items": []}, {(1, 2): [3]}),
        # of the standard library
        *((), (1, (2,)), {1, 2}, frozenset({"a"}), b"\x00\xff", Path("a/b.png")),
        *(Decimal("0.10"), Fraction(1, 3), UUID(int=7)),
        *(datetime.date(2026, 1, 2), datetime.time(1, 2, 3), datetime.timedelta(1, 2, 3)),
        datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC),
        # nouns of the toolkit
        Box(0.1, 0.2, 0.3, 0.4),
        Sample("a", "?", Box(0, 0, 1, 1), (Path("a.png"),), "easy"),
        Rollout(Completion("x", (View(28, 56, "pixels"),), 3), (1, 2, 3), True),
    ],
    ids=repr,
)
def test_a_value_comes_out_equal_and_of_its_type(value: Any) -> None:
    again = travelled(value)
    assert again == value and type(again) is type(value)


def test_columns_of_a_sample_travel_with_it() -> None:
    columns = MappingProxyType({"level": 2, "boxes": [(1, 2)]})
    again = travelled(Sample("a", "?", 3, columns=columns))
    assert again.columns == {"level": 2, "boxes": [(1, 2)]}


def test_not_a_number_stays_none() -> None:
    assert math.isnan(travelled(math.nan))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.array(0.1, dtype=np.float32),
        np.zeros((0, 3), dtype=bool),
        np.array(["a", "été"]),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    ],
)
def test_an_array_keeps_its_bits_and_can_be_written_to(array: np.ndarray) -> None:
    again = travelled(array)
    assert again.dtype == array.dtype and np.array_equal(again, array)
    assert again.flags.writeable


def test_an_array_of_objects_holds_them() -> None:
    array = np.array([{"a": 1}, (2, 3)], dtype=object)
    assert travelled(array).tolist() == [{"a": 1}, (2, 3)]


@pytest.mark.parametrize("number", [np.float64(0.1), np.int8(-3), np.bool_(True), np.str_("é")])
def test_a_number_of_numpy_keeps_its_type(number: Any) -> None:
    again = travelled(number)
    assert again == number and type(again) is type(number)


def test_a_tensor_keeps_its_values() -> None:
    tensor = torch.tensor([[0.1, -2.0]], dtype=torch.float64)
    again = travelled(tensor)
    assert again.dtype == tensor.dtype and torch.equal(again, tensor)


def turned(mode: str) -> Image.Image:
    """Return a picture of six pixels that its EXIF lays on its side."""
    picture = Image.new("RGB", (3, 2), "red")
    picture.putpixel((0, 1), (0, 0, 255))
    exif = picture.getexif()
    exif[0x0112] = 6  # the tag of the orientation: a quarter turn
    picture.info["exif"] = exif.tobytes()
    return picture.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1", "I;16", "LA"])
def test_a_picture_is_read_as_the_same_pixels(mode: str) -> None:
    picture = Image.new(mode, (3, 2)) if mode == "I;16" else turned(mode)
    if mode == "P":
        picture.info["transparency"] = 0
    again = travelled(picture)
    assert (again.mode, again.size) == (picture.mode, picture.size)
    here, there = open_image(picture), open_image(again)
    assert here.size == there.size and here.tobytes() == there.tobytes()


Pair = namedtuple("Pair", "left right")


class Colour(Enum):
    RED = 1


def test_named_tuples_and_enums_are_made_by_their_modules_names() -> None:
    # Their own module is imported by its name where the message is read: here it is loaded.
    assert travelled(Pair(1, (2,))) == Pair(1, (2,))
    assert travelled(Colour.RED) is Colour.RED


def local_class() -> Any:
    class Local(Enum):
        ONE = 1

    return Local.ONE


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (object(), "object"),
        (print, "builtin_function_or_method"),
        ([1, {"a": (object(),)}], "object"),  # however deep
        (local_class(), "Local"),  # no module has it by its name
        (torch.tensor([1.0], dtype=torch.bfloat16), "bfloat16"),
    ],
)
def test_anything_else_is_refused_by_the_name_of_its_type(value: Any, named: str) -> None:
    with pytest.raises(CannotTravel, match=named):
        to_message(value)

"""Units of boxes and points: what data write, in every unit, and what no picture can have."""

from __future__ import annotations

from typing import Any

import pytest

from vrft.boxes import Box
from vrft.records import frames
from vrft.records.frames import Frame, Point, written
from vrft.types import View

SIZE = (200, 100)
HALF = Box(0.1, 0.3, 0.9, 0.8)


@pytest.mark.parametrize(
    ("frame", "numbers"),
    [
        (Frame("pixels"), (20, 30, 180, 80)),
        (Frame("pixels", "xywh"), (20, 30, 160, 50)),
        (Frame("thousandths"), (100, 300, 900, 800)),
        (Frame("fractions"), (0.1, 0.3, 0.9, 0.8)),
        (Frame("fractions", "xywh"), (0.1, 0.3, 0.8, 0.5)),
        # resized to multiples of 28: 196 x 112
        (Frame("resized"), (19.6, 33.6, 176.4, 89.6)),
        # and to at most 40 tokens a picture of 1/4 of that: 10,000 pixels allow 140 x 56
        (Frame("resized", "xyxy", 784, 10000), (14, 16.8, 126, 44.8)),
    ],
)
def test_a_box_is_the_same_in_every_unit(frame: Frame, numbers: tuple[float, ...]) -> None:
    shape = frame.shape(numbers, SIZE)
    assert isinstance(shape, Box)
    assert (shape.x1, shape.y1, shape.x2, shape.y2) == pytest.approx((0.1, 0.3, 0.9, 0.8))
    assert frame.numbers(HALF, SIZE) == pytest.approx(list(numbers))


def test_points_are_scaled_and_written_in_the_view_of_the_model() -> None:
    point = Frame("pixels").shape((50, 50), SIZE)
    assert point == Point(0.25, 0.5)
    assert point.format(View(280, 140, "thousandths")) == "(250,500)"
    assert point.format(View(280, 140, "pixels")) == "(70,70)"
    assert point.inside(HALF) and not Point(0.05, 0.5).inside(HALF)
    assert Point(0, 0).distance(Point(0.3, 0.4)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("frame", "numbers", "remedy"),
    [
        # thousandths, taken for pixels
        (Frame("pixels"), (100, 300, 900, 800), "data.boxes=thousandths"),
        # x, y, width, height: the corner behind the width lies before the first one
        (Frame("pixels"), (120, 30, 60, 50), "data.box_format=xywh"),
        # corners, taken for width and height
        (Frame("pixels", "xywh"), (100, 50, 150, 80), "data.box_format=xyxy"),
        # fractions, taken for pixels and for thousandths
        (Frame("pixels"), (0.1, 0.3, 0.9, 0.8), "data.boxes=fractions"),
        (Frame("thousandths"), (0.1, 0.3, 0.9, 0.8), "data.boxes=fractions"),
        (Frame("pixels", "xywh"), (0, 0, 1, 1), "data.boxes=fractions"),
        # points in fractions, in every larger unit
        (
            Frame("pixels"),
            (0.43, 0.71),
            "the point .* in 0..1, .*; if .*, set data.boxes=fractions",
        ),
        (Frame("thousandths"), (0.43, 1), "data.boxes=fractions"),
        (Frame("resized"), (0, 0.5), "data.boxes=fractions"),
        # pixels, taken for fractions
        (Frame("fractions"), (20, 30, 180, 80), "data.boxes=pixels"),
        # right in no unit: outside, empty, and a point
        (Frame("pixels"), (2000, 3000, 2001, 3001), "correct the row"),
        (Frame("pixels"), (20, 30, 20, 80), "correct the row"),
        (Frame("pixels"), (-3, 5, 20, 30), "correct the row"),
        (Frame("pixels"), (201, 5), "data.boxes=thousandths"),
    ],
)
def test_numbers_outside_the_picture_are_refused_with_the_remedy(
    frame: Frame, numbers: tuple[float, ...], remedy: str
) -> None:
    with pytest.raises(ValueError, match=remedy):
        frame.shape(numbers, SIZE)


def test_half_a_unit_of_rounding_is_no_fault() -> None:
    assert Frame("pixels").shape((-0.2, 0, 200.4, 100), SIZE) == Box(0, 0, 1, 1)
    assert Frame("pixels").shape((200, 100.5), SIZE) == Point(1, 1)


def test_a_point_of_whole_numbers_may_lie_in_a_corner() -> None:
    assert Frame("pixels").shape((0, 0), SIZE) == Point(0, 0)
    assert Frame("pixels").shape((1, 1), SIZE) == Point(1 / 200, 1 / 100)
    assert Frame("fractions").shape((0.43, 0.71), SIZE) == Point(0.43, 0.71)


@pytest.mark.parametrize(
    ("answer", "numbers"),
    [
        # as JSON has them, bare and in a list
        ([1, 2, 3, 4], [(1, 2, 3, 4)]),
        ([[1, 2, 3, 4], [5, 6, 7, 8.5]], [(1, 2, 3, 4), (5, 6, 7, 8.5)]),
        ([1, 2], [(1, 2)]),
        ([[1, 2], [3, 4]], [(1, 2), (3, 4)]),
        # under the names of Qwen, of Visual-RFT and of ms-swift
        ({"bbox_2d": [1, 2, 3, 4], "label": "cat"}, [(1, 2, 3, 4)]),
        ([{"Position": [1, 2, 3, 4], "Confidence": 1}], [(1, 2, 3, 4)]),
        ({"point_2d": [1, 2]}, [(1, 2)]),
        # as texts: JSON, in a fence, and as Qwen2-VL writes
        ("[1, 2, 3, 4]", [(1, 2, 3, 4)]),
        ('```json\n[{"bbox_2d": [1, 2, 3, 4]}]\n```', [(1, 2, 3, 4)]),
        ("(1,2),(3,4)", [(1, 2, 3, 4)]),
        ("(1,2),(3,4)\n(5,6),(7,8)", [(1, 2, 3, 4), (5, 6, 7, 8)]),
        ("(1, 2)", [(1, 2)]),
        ("[1,2], [3,4]", [(1, 2), (3, 4)]),
        ("[1, 2, 3, 4]\n[5, 6, 7, 8]", [(1, 2, 3, 4), (5, 6, 7, 8)]),
        # in the tags of models
        ("<|box_start|>(1,2),(3,4)<|box_end|>", [(1, 2, 3, 4)]),
        ("<box>[1, 2, 3, 4]</box>", [(1, 2, 3, 4)]),
        # anything else is no place: words around, other lengths, mixtures, no numbers
        ("the box [1, 2, 3, 4]", None),
        ("3", None),
        ("", None),
        (3, None),
        ([], None),
        ([1, 2, 3], None),
        ([[1, 2], [1, 2, 3, 4]], None),
        (["1", "2"], None),
        ([True, False], None),
        ([float("nan"), 1, 2, 3], None),
        ([10**400, 1], None),
        ("1, 2, 3, 4", None),
        ("[NaN, 1, 2, 3]", None),
        ({"bbox": [1, 2, 3, 4], "point": [1, 2]}, None),
        ("[" * 5000, None),
        ("[1, 2] or [3, 4]", None),
        ("[1, 2], [3, 4", None),
    ],
)
def test_boxes_and_points_are_read_as_data_write_them(answer: Any, numbers: Any) -> None:
    expected = None if numbers is None else tuple(numbers)
    assert written(answer) == expected


@pytest.mark.parametrize(
    ("answer", "corners", "sides"),
    [
        ({"x1": 1, "y1": 2, "x2": 4, "y2": 6}, (1, 2, 4, 6), (1, 2, 3, 4)),
        ({"y1": 6, "x1": 4, "y0": 2, "x0": 1, "label": "cat"}, (1, 2, 4, 6), (1, 2, 3, 4)),
        ({"xmin": 1, "ymin": 2, "xmax": 4, "ymax": 6}, (1, 2, 4, 6), (1, 2, 3, 4)),
        ({"bbox": {"x_min": 1, "y_min": 2, "x_max": 4, "y_max": 6}}, (1, 2, 4, 6), (1, 2, 3, 4)),
        ('{"left": 1, "top": 2, "right": 4, "bottom": 6}', (1, 2, 4, 6), (1, 2, 3, 4)),
        ({"left": 1, "top": 2, "width": 3, "height": 4}, (1, 2, 4, 6), (1, 2, 3, 4)),
        ({"point_2d": {"x": 1, "y": 2}}, (1, 2), (1, 2)),
        # listed numbers have the order that the data are said to have
        ({"bbox": [1, 2, 4, 6]}, (1, 2, 4, 6), (1, 2, 4, 6)),
        # a corner, the middle or percent, by the tool; the solution of equations; too many names
        ({"x": 1, "y": 2, "width": 3, "height": 4}, None, None),
        ({"x": 1, "y": 2, "w": 3, "h": 4}, None, None),
        ({"x": 1, "y": 2}, None, None),
        ({"x1": 1, "y1": 2, "x2": 4, "y2": 6, "width": 3}, None, None),
        ({"x1": 1, "y1": 2, "x2": 4}, None, None),
        ({"x1": 1, "y1": 2, "x2": 4, "y2": "6"}, None, None),
        ({"x1": 1, "y1": 2, "x2": 4, "y2": float("nan")}, None, None),
        ({"label": "cat"}, None, None),
    ],
)
def test_numbers_by_name_mean_the_same_in_every_order(
    answer: Any, corners: Any, sides: Any
) -> None:
    assert written(answer) == (None if corners is None else (corners,))
    assert written(answer, order="xywh") == (None if sides is None else (sides,))


def test_two_pairs_are_points_or_the_corners_of_a_box() -> None:
    assert written([[1, 2], [3, 4]], corners=True) == ((1, 2, 3, 4),)
    assert written("[1,2],[3,4]", corners=True) == ((1, 2, 3, 4),)


@pytest.mark.parametrize(
    ("answer", "numbers"),
    [
        ("10,20,30,40", (10, 20, 30, 40)),
        (" 10 20 30.5 -40 ", (10, 20, 30.5, -40)),
        (["10", "20", "30", "40"], (10, 20, 30, 40)),
        ("10,20,30", None),
        ("10,20,30,40,50", None),
        ("10-20-30-40", None),
        ("10,20,30,cup", None),
        (["10", "20"], None),
        ([10, 20, 30, 40], None),  # which is a box anywhere
        ("9999999 0 0 0", None),
        (10, None),
    ],
)
def test_four_numbers_alone_may_be_a_box(answer: Any, numbers: Any) -> None:
    assert frames.bare_corners(answer) == numbers

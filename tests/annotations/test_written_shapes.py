"""vrft/annotations/written_shapes.py: boxes and points in every writing, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from vrft.annotations.written_shapes import bare_corners, written


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
    assert bare_corners(answer) == numbers

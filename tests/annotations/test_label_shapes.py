"""Shapes of labelme, each in fractions of its picture."""

from __future__ import annotations

from typing import Any

import pytest

from vrft.annotations.frames import Point
from vrft.annotations.label_shapes import read_shape
from vrft.boxes import Box
from vrft.errors import UserError

SIZE = (120, 90)


@pytest.mark.parametrize(
    ("kind", "points", "box"),
    [
        # every type that labelme draws; pixels of a picture of 120 x 90
        ("rectangle", [[60, 45], [12, 18]], (12, 18, 60, 45)),
        ("rectangle", [[12, 18], [60, 18], [60, 45], [12, 45]], (12, 18, 60, 45)),
        ("polygon", [[12, 18], [60, 20], [30, 45]], (12, 18, 60, 45)),
        ("linestrip", [[12, 18], [60, 20], [30, 45]], (12, 18, 60, 45)),
        ("line", [[12, 45], [60, 18]], (12, 18, 60, 45)),
        ("mask", [[12, 18], [60, 45]], (12, 18, 60, 45)),
        # radius 5 = the distance of (3, 4)
        ("circle", [[30, 30], [33, 34]], (25, 25, 35, 35)),
        # a rectangle at an angle, of tools that write labelme's json
        ("rotation", [[36, 18], [60, 30], [36, 45], [12, 33]], (12, 18, 60, 45)),
        # no type: a polygon, as in ReasonSeg
        (None, [[12, 18], [60, 20], [30, 45]], (12, 18, 60, 45)),
    ],
)
def test_every_shape_of_labelme_has_its_box(
    kind: str | None, points: list[list[float]], box: tuple[float, ...]
) -> None:
    (read,) = read_shape({"points": points, "shape_type": kind}, SIZE, "x.json")
    assert isinstance(read, Box)
    assert read.pixels(*SIZE) == pytest.approx(box)


def test_an_area_is_cut_at_the_edge_and_refused_far_outside() -> None:
    drawn = {"points": [[90, 10], [131, 60]], "shape_type": "rectangle"}
    (box,) = read_shape(drawn, SIZE, "x.json")
    assert isinstance(box, Box) and box.pixels(*SIZE) == pytest.approx((90, 10, 120, 60))
    # as those of a picture that was made smaller after it was marked
    for points in ([[90, 10], [240, 60]], [[-13, 10], [60, 60]], [[9, 10], [60, 100]]):
        with pytest.raises(UserError, match=r"x\.json: the rectangle from .* of 120x90; correct"):
            read_shape(drawn | {"points": points}, SIZE, "x.json")
    rim = {"points": [[110, 45], [150, 45]], "shape_type": "circle"}
    (box,) = read_shape(rim, SIZE, "x.json")
    assert isinstance(box, Box) and box.pixels(*SIZE) == pytest.approx((70, 5, 120, 85))


def test_points_of_labelme_are_points() -> None:
    shape = {"points": [[60, 45], [0, 90]], "shape_type": "points"}
    assert read_shape(shape, SIZE, "x.json") == [Point(0.5, 0.5), Point(0, 1)]


def test_a_point_may_lie_half_a_pixel_outside_and_in_the_first_pixel() -> None:
    shape = {"points": [[120.5, -0.5], [0.25, 0.5]], "shape_type": "points"}
    assert read_shape(shape, SIZE, "x.json") == [Point(1, 0), Point(0.25 / 120, 0.5 / 90)]
    with pytest.raises(UserError, match=r"x: \[121, 3\] is no point inside .* 120x90; correct it"):
        read_shape(shape | {"points": [[121, 3]]}, SIZE, "x")


@pytest.mark.parametrize("point", [[1], [True, 3], ["1", "3"], [float("nan"), 3]])
def test_a_point_is_two_numbers(point: list[Any]) -> None:
    with pytest.raises(UserError, match=r"x has a point that is no \[x, y\]"):
        read_shape({"points": [point], "shape_type": "points"}, SIZE, "x")

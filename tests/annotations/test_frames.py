"""Units of boxes and points: what data write, in every unit, and what no picture can have."""

from __future__ import annotations

import numpy as np
import pytest

from vrft.annotations.frames import Frame, Point
from vrft.boxes import Box
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


def test_half_a_pixel_of_rounding_is_no_fault_in_fractions() -> None:
    # A corner and a width of 32 bits that end at the edge: 0.01 + 0.99 is 1.0000000093.
    x, width = np.float32(0.01).item(), np.float32(0.99).item()
    assert x + width > 1
    box = Frame("fractions", "xywh").shape((x, 0, width, 1), SIZE)
    assert isinstance(box, Box) and (box.x2, box.y2) == (1, 1)
    assert Frame("fractions").shape((0.5, 1.004), SIZE) == Point(0.5, 1)  # 0.4 of 100 pixels
    with pytest.raises(ValueError, match="is no box inside its picture"):
        Frame("fractions").shape((0.5, 1.006, 0.6, 1.2), SIZE)
    # nor are such boxes taken for one pixel
    for numbers in ((0.1, 0.2, 1.0000001, 1), (0.5, 1.0000001)):
        with pytest.raises(ValueError, match=r"fractions, set data\.boxes=fractions"):
            Frame("pixels").shape(numbers, SIZE)


def test_a_point_of_whole_numbers_may_lie_in_a_corner() -> None:
    assert Frame("pixels").shape((0, 0), SIZE) == Point(0, 0)
    assert Frame("pixels").shape((1, 1), SIZE) == Point(1 / 200, 1 / 100)
    assert Frame("fractions").shape((0.43, 0.71), SIZE) == Point(0.43, 0.71)

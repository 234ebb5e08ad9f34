"""Masks drawn from polygons: area, union, ignored regions, boxes and run-length codes."""

import json

import numpy as np
import pytest

from vrft import masks
from vrft.boxes import Box

SQUARE = [(2.0, 1.0), (6.0, 1.0), (6.0, 5.0), (2.0, 5.0)]
BESIDE = [(5.0, 1.0), (8.0, 1.0), (8.0, 5.0), (5.0, 5.0)]


def test_a_square_covers_its_pixels() -> None:
    mask = masks.draw([SQUARE], width=10, height=8)
    expected = np.zeros((8, 10), dtype=bool)
    expected[1:5, 2:6] = True  # rows 1 to 4, columns 2 to 5: 16 pixels
    assert mask.dtype == np.bool_
    assert np.array_equal(mask, expected)


def test_overlapping_targets_are_united_and_counted_once() -> None:
    # columns 2 to 5 and 5 to 7 of 4 rows: 4 x 6 = 24, not 16 + 12
    assert masks.draw([SQUARE, BESIDE], 10, 8).sum() == 24


def test_ignored_regions_are_cut_out() -> None:
    # column 5 belongs to both: 16 - 4 = 12
    assert masks.draw([SQUARE], 10, 8, ignored=[BESIDE]).sum() == 12


def test_no_polygon_and_a_line_cover_nothing() -> None:
    assert not masks.draw([], 10, 8).any()
    assert not masks.draw([[(1.0, 1.0), (5.0, 5.0)]], 10, 8).any()


def test_a_polygon_is_cut_to_the_picture() -> None:
    mask = masks.draw([[(-5.0, -5.0), (3.0, -5.0), (3.0, 20.0), (-5.0, 20.0)]], 10, 8)
    assert mask.shape == (8, 10)
    assert mask.sum() == 3 * 8


def test_run_length_codes_are_json_and_give_the_mask_back() -> None:
    mask = np.random.default_rng(0).random((17, 23)) > 0.5
    code = json.loads(json.dumps(masks.encode(mask)))
    assert code["size"] == [17, 23]
    assert np.array_equal(masks.decode(code), mask)


def test_the_box_of_several_polygons_holds_them_all() -> None:
    # x from 2 to 8 of 10, y from 1 to 5 of 8
    assert masks.bounding_box([SQUARE, BESIDE], 10, 8) == Box(0.2, 0.125, 0.8, 0.625)


def test_a_box_is_cut_to_the_picture_and_none_outside() -> None:
    assert masks.bounding_box([[(-3.0, 0.0), (5.0, 9.0)]], 10, 8) == Box(0, 0, 0.5, 1)
    assert masks.bounding_box([[(11.0, 0.0), (15.0, 8.0)]], 10, 8) is None
    assert masks.bounding_box([[(1.0, 0.0), (1.0, 8.0)]], 10, 8) is None


@pytest.mark.parametrize(("x", "y", "radius"), [(30, 20, 11), (12.5, 40.25, 8), (40, 31, 19.7)])
def test_the_box_of_a_disc_is_the_box_of_its_mask(x: float, y: float, radius: float) -> None:
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    disc = [(x + radius * float(np.cos(a)), y + radius * float(np.sin(a))) for a in angles]
    box = masks.bounding_box([disc], 64, 56)
    rows, columns = np.nonzero(masks.draw([disc], 64, 56))
    assert box is not None
    drawn = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert box.pixels(64, 56) == pytest.approx(drawn, abs=1)


def square(x: float, y: float, side: float) -> list[tuple[float, float]]:
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


def test_ignored_pixels_count_neither_way() -> None:
    # a target of 4 x 4 with an ignored hole of 2 x 2, and an ignored square elsewhere
    region = masks.Region((square(0, 0, 4),), (square(1, 1, 2), square(6, 6, 2)))
    wanted, counted = masks.paint(region, 10, 8)
    assert (wanted.sum(), counted.sum()) == (16 - 4, 80 - 4 - 4)
    assert not (wanted & ~counted).any()


def test_a_small_target_lies_on_top_of_a_large_ignored_shape() -> None:
    region = masks.Region((square(1, 1, 2),), (square(0, 0, 6),))
    wanted, counted = masks.paint(region, 8, 8)
    # 4 wanted pixels; of 36 ignored ones the target uncovers 4
    assert (wanted.sum(), counted.sum()) == (4, 64 - 36 + 4)


SHAPES = {
    # the circle around (5, 4) through (8, 4) has radius 3, that through (8, 8) radius 5
    "circle": ([(5.0, 4.0), (8.0, 4.0)], (2, 1, 8, 7)),
    "circle by a rim point at an angle": ([(5.0, 5.0), (8.0, 9.0)], (0, 0, 10, 10)),
    # opposite corners in any order; all four, as some tools write them
    "rectangle": ([(2.0, 1.0), (6.0, 5.0)], (2, 1, 6, 5)),
    "rectangle from below": ([(6.0, 1.0), (2.0, 5.0)], (2, 1, 6, 5)),
    "rectangle of four corners": (SQUARE, (2, 1, 6, 5)),
    "rotation": ([(4.0, 1.0), (6.0, 3.0), (4.0, 5.0), (2.0, 3.0)], (2, 1, 6, 5)),
    "polygon": (SQUARE, (2, 1, 6, 5)),
    # as published, two corners may stand for a polygon
    "polygon of two points": ([(2.0, 1.0), (6.0, 5.0)], (2, 1, 6, 5)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_with_an_area_has_its_outline(shape: str) -> None:
    points, expected = SHAPES[shape]
    box = masks.bounding_box([masks.outline(shape.split()[0], points)], 10, 10)
    assert box is not None
    assert box.pixels(10, 10) == pytest.approx(expected)


def test_the_mask_of_a_circle_has_its_area() -> None:
    disc = masks.outline("circle", [(50.0, 50.0), (80.0, 50.0)])
    # pi * 30 * 30 = 2827 pixels
    assert masks.draw([disc], 100, 100).sum() == pytest.approx(2827, rel=0.01)


@pytest.mark.parametrize(
    ("kind", "count", "message"),
    [
        ("point", 1, "a point has no area"),
        ("points", 3, "a points has no area"),
        ("line", 2, "a line has no area"),
        ("linestrip", 5, "a linestrip has no area"),
        ("mask", 2, "a mask of pixels is not read"),
        # of other tools, and with too few or too many points
        ("ellipse", 2, "a ellipse of 2 points is no shape of labelme"),
        ("circle", 3, "a circle of 3 points"),
        ("rectangle", 3, "a rectangle of 3 points"),
        ("polygon", 1, "a polygon of 1 points"),
        ("", 3, "is no shape of labelme"),
    ],
)
def test_other_shapes_are_refused_by_name(kind: str, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        masks.outline(kind, [(float(n), 1.0) for n in range(count)])

"""Shipped pictures as sprites: cut to their opaque pixels, with the outlines of these."""

from collections.abc import Sequence

import numpy as np
import pytest

from vrft.demo.instructions import CLASSES
from vrft.demo.scenes import SEEN, UNSEEN
from vrft.demo.sprites import outline, photograph, sprite


def bounds(points: Sequence[tuple[int, int]]) -> tuple[int, int, int, int]:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # One pixel: its four corners.
        (["#"], {(0, 0), (1, 0), (1, 1), (0, 1)}),
        # A diagonal: the two inner corners are not on the hull's edge.
        (["#.", ".#"], {(0, 0), (1, 0), (2, 1), (2, 2), (1, 2), (0, 1)}),
        # A hole and a dent do not show in a hull.
        (["###", "#..", "###"], {(0, 0), (3, 0), (3, 3), (0, 3)}),
    ],
)
def test_an_outline_is_the_hull_of_the_pixels_corners(
    rows: list[str], expected: set[tuple[int, int]]
) -> None:
    points = outline(np.array([[cell == "#" for cell in row] for row in rows]))
    assert set(points) == expected
    assert len(points) == len(expected)


def test_an_outline_runs_clockwise_on_the_screen() -> None:
    points = sprite("owl", "noto", 40).polygon
    following = (*points[1:], points[0])
    # The shoelace formula; with y pointing down, clockwise is positive.
    area = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(points, following, strict=True)) / 2
    assert 20 * 20 < area <= 40 * 40


@pytest.mark.parametrize("artist", SEEN.artists + UNSEEN.artists)
def test_a_sprite_is_cut_to_its_opaque_pixels(artist: str) -> None:
    for name in CLASSES:
        for edge in (28, 45):
            drawing = sprite(name, artist, edge)
            opaque = np.asarray(drawing.image.getchannel("A")) >= 128
            assert opaque[0].any() and opaque[-1].any()
            assert opaque[:, 0].any() and opaque[:, -1].any()
            assert edge - 2 <= max(drawing.image.size) <= edge
            assert bounds(drawing.polygon) == (0, 0, *drawing.image.size)
            assert drawing.area == opaque.sum()


def test_a_picture_is_decoded_once() -> None:
    assert sprite("owl", "noto", 40) is sprite("owl", "noto", 40)
    assert photograph("grass") is photograph("grass") and photograph("grass").mode == "RGB"

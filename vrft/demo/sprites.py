"""Shipped pictures, decoded once: drawings with their outlines, and photographs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ASSETS = Path(__file__).resolve().parent / "assets"
"""Folder of the shipped pictures."""

OPAQUE = 128
"""Smallest alpha, of 0 to 255, of a pixel that belongs to its object."""

Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sprite:
    """A drawn object at its final size.

    ``polygon`` is the convex hull of its opaque pixels, relative to its upper left corner; the
    hull's tight box is that of the image. ``area`` is the number of opaque pixels.
    """

    image: Image.Image
    polygon: tuple[Point, ...]
    area: int


# The images are shared by all callers, who paste from them and must not draw on them.
@functools.lru_cache(maxsize=4096)
def sprite(name: str, artist: str, edge: int) -> Sprite:
    """Return a shipped drawing, scaled to a longer edge of ``edge`` pixels and cut to its object.

    Cutting takes off pixels that are transparent after scaling: up to two of the edge.
    """
    image = drawing(name, artist)
    scale = edge / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)))
    opaque = np.asarray(image.getchannel("A")) >= OPAQUE  # [H, W]
    box = Image.fromarray(opaque).getbbox()
    assert box is not None, f"{artist} {name}: nothing left at {edge} pixels"
    x1, y1, x2, y2 = box
    return Sprite(image.crop(box), outline(opaque[y1:y2, x1:x2]), int(opaque.sum()))


@functools.cache
def drawing(name: str, artist: str) -> Image.Image:
    """Return a shipped drawing, RGBA; callers share the image and must not draw on it."""
    return Image.open(ASSETS / "sprites" / artist / f"{name}.png").convert("RGBA")


@functools.cache
def photograph(name: str) -> Image.Image:
    """Return a shipped background, RGB; callers share the image and must not draw on it."""
    return Image.open(ASSETS / "backgrounds" / f"{name}.jpg").convert("RGB")


def outline(mask: NDArray[np.bool_]) -> tuple[Point, ...]:
    """Return the convex hull of a mask's pixels [H, W], clockwise on the screen."""
    # Corners of pixels, not their centres: a pixel is a square of area 1, and the hull's box ends
    # where the mask ends. The leftmost and the rightmost pixel of each row are enough for a hull.
    corners: set[Point] = set()
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    end = mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    for y, left, right in zip(rows.tolist(), first.tolist(), end.tolist(), strict=True):
        corners |= {(left, y), (left, y + 1), (right, y), (right, y + 1)}
    points = sorted(corners)
    return (*half_hull(points), *half_hull(points[::-1]))


def half_hull(points: Sequence[Point]) -> list[Point]:
    """Return one side of the convex hull of sorted points, by Andrew's monotone chain.

    The last point is left out: the other side begins with it.
    """
    hull: list[Point] = []
    for x, y in points:
        while len(hull) >= 2:
            (x1, y1), (x2, y2) = hull[-2:]
            # The cross product of the hull's last edge and the way to the new point is positive
            # where the outline turns clockwise on the screen. At all other turns, and on straight
            # lines, the point in between is no corner of the hull.
            if (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) > 0:
                break
            hull.pop()
        hull.append((x, y))
    return hull[:-1]

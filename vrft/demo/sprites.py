"""The shipped pictures, decoded once: drawings with their outlines, and photographs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ASSETS = Path(__file__).resolve().parent / "assets"

OPAQUE = 128
"""A pixel belongs to an object where its alpha is at least this."""

Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sprite:
    """A drawn object at its final size.

    ``polygon`` is the convex hull of its opaque pixels, relative to its upper left corner; the
    hull's tight box is the whole sprite. ``area`` is the number of opaque pixels.
    """

    image: Image.Image
    polygon: tuple[Point, ...]
    area: int


@functools.lru_cache(maxsize=4096)
def sprite(name: str, artist: str, edge: int) -> Sprite:
    """A shipped drawing whose longer edge has about ``edge`` pixels, cut to its opaque ones."""
    image = Image.open(ASSETS / "sprites" / artist / f"{name}.png").convert("RGBA")
    scale = edge / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)))
    opaque = np.asarray(image.getchannel("A")) >= OPAQUE
    box = Image.fromarray(opaque).getbbox()
    assert box is not None, f"{artist} {name}: nothing left at {edge} pixels"
    x1, y1, x2, y2 = box
    return Sprite(image.crop(box), outline(opaque[y1:y2, x1:x2]), int(opaque.sum()))


@functools.cache
def photograph(name: str) -> Image.Image:
    """A shipped background, RGB."""
    return Image.open(ASSETS / "backgrounds" / f"{name}.jpg").convert("RGB")


def outline(mask: NDArray[np.bool_]) -> tuple[Point, ...]:
    """The convex hull of the corners of a mask's pixels [H, W], clockwise on the screen."""
    corners: set[Point] = set()
    for y, row in enumerate(mask):
        columns = np.flatnonzero(row)
        if len(columns):
            left, right = int(columns[0]), int(columns[-1]) + 1
            corners |= {(left, y), (left, y + 1), (right, y), (right, y + 1)}
    points = sorted(corners)
    return (*half_hull(points), *half_hull(points[::-1]))


def half_hull(points: Sequence[Point]) -> list[Point]:
    """One side of a convex hull (Andrew's monotone chain), without its last point."""
    hull: list[Point] = []
    for x, y in points:
        while len(hull) >= 2:
            (x1, y1), (x2, y2) = hull[-2:]
            if (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) > 0:
                break
            hull.pop()
        hull.append((x, y))
    return hull[:-1]

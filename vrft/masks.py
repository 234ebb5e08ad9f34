"""Regions of a picture: polygons as boxes, boolean masks and run-length codes (pycocotools)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrft.boxes import Box

Polygon = Sequence[tuple[float, float]]
"""Corner points (x, y) in pixels of the picture."""

Mask = NDArray[np.bool_]
"""[height, width], True inside."""


@dataclass(frozen=True, slots=True)
class Region:
    """What the shapes of a picture mark: wanted ones, ignored ones, and the first of them all."""

    wanted: tuple[Polygon, ...]
    ignored: tuple[Polygon, ...] = ()
    first: Polygon = ()


def bounding_box(polygons: Sequence[Polygon], width: int, height: int) -> Box | None:
    """The smallest box around all polygons, cut to a picture of that size in pixels.

    None if they span no area inside the picture.
    """
    xs = [x for polygon in polygons for x, _ in polygon]
    ys = [y for polygon in polygons for _, y in polygon]
    return Box.of_pixels(min(xs), min(ys), max(xs), max(ys), width, height)


def draw(
    polygons: Sequence[Polygon], width: int, height: int, ignored: Sequence[Polygon] = ()
) -> Mask:
    """The union of the polygons without the ignored ones, as a mask [height, width].

    Polygons of fewer than three points enclose nothing.
    """
    return _union(polygons, width, height) & ~_union(ignored, width, height)


def paint(region: Region, width: int, height: int) -> tuple[Mask, Mask]:
    """The wanted pixels, and those that count at all, which the ignored ones do not.

    Smaller shapes lie on top of larger ones, as LISA draws them.
    """
    wanted = np.zeros((height, width), dtype=np.bool_)
    counted = np.ones_like(wanted)
    shapes = [(polygon, True) for polygon in region.wanted]
    shapes += [(polygon, False) for polygon in region.ignored]
    drawn = [(draw([polygon], width, height), keep) for polygon, keep in shapes]
    for mask, keep in sorted(drawn, key=lambda one: -int(one[0].sum())):
        wanted[mask] = counted[mask] = keep
    return wanted, counted


def encode(mask: Mask) -> dict[str, Any]:
    """COCO's run-length code of a mask, ready for JSON: ``size`` [height, width], ``counts``."""
    from pycocotools import mask as coco

    code = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode("ascii")}


def decode(code: dict[str, Any]) -> Mask:
    """The mask [height, width] behind a run-length code."""
    from pycocotools import mask as coco

    with warnings.catch_warnings():  # pycocotools' arrays lack NumPy 2's `copy` keyword
        warnings.simplefilter("ignore", DeprecationWarning)
        return np.asarray(coco.decode(code), dtype=np.bool_)


def _union(polygons: Sequence[Polygon], width: int, height: int) -> Mask:
    from pycocotools import mask as coco

    flat = [[float(c) for point in polygon for c in point] for polygon in polygons]
    flat = [coordinates for coordinates in flat if len(coordinates) >= 6]
    if not flat:
        return np.zeros((height, width), dtype=np.bool_)
    return decode(coco.merge(coco.frPyObjects(flat, height, width)))

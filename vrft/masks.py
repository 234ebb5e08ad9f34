"""Regions of a picture: polygons, their bounding boxes, boolean masks, and run-length codes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrft.boxes import Box

# pycocotools is imported inside functions: tasks load this module without drawing any mask.

Polygon = Sequence[tuple[float, float]]
"""Corner points (x, y) in pixels of the picture."""

Mask = NDArray[np.bool_]
"""[height, width], True inside."""


@dataclass(frozen=True, slots=True)
class Region:
    """The shapes that annotators drew in a picture."""

    wanted: tuple[Polygon, ...]
    """The shapes of the target."""
    ignored: tuple[Polygon, ...] = ()
    """Shapes whose pixels count neither as hit nor as miss."""
    first: Polygon = ()
    """The first shape of the annotation, whatever it marks: all that published scores know."""


def bounding_box(polygons: Sequence[Polygon], width: int, height: int) -> Box | None:
    """Return the smallest box around all polygons, cut to a picture of that size in pixels.

    None if they span no area inside the picture.
    """
    xs = [x for polygon in polygons for x, _ in polygon]
    ys = [y for polygon in polygons for _, y in polygon]
    return Box.of_pixels(min(xs), min(ys), max(xs), max(ys), width, height)


def outline(kind: str, points: Polygon) -> Polygon:
    """Return the polygon of a shape of labelme, by its ``shape_type`` and its points.

    A circle is given by its centre and a point on its rim, a rectangle by two opposite corners or
    all four. Raises ValueError for a shape without area, and for one of another kind.
    """
    match kind, points:
        # A rotation is a rectangle at an angle, with four corners.
        case "polygon" | "rotation", [_, _, *_]:
            return points
        case "rectangle", [(x1, y1), (x2, y2)]:
            return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
        case "rectangle", [_, _, _, _]:
            return points
        case "circle", [(x, y), (rim_x, rim_y)]:
            radius = math.hypot(rim_x - x, rim_y - y)
            # Every five degrees, so that the outermost points of the circle are among them.
            angles = (math.radians(degrees) for degrees in range(0, 360, 5))
            return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]
    if kind in ("point", "points", "line", "linestrip"):
        raise ValueError(f"a {kind} has no area")
    if kind == "mask":
        raise ValueError("a mask of pixels is not read")
    raise ValueError(f"a {kind} of {len(points)} points is no shape of labelme")


def draw(
    polygons: Sequence[Polygon], width: int, height: int, ignored: Sequence[Polygon] = ()
) -> Mask:
    """Return a mask [height, width] of the polygons' union, without the ignored polygons.

    Polygons of fewer than three points enclose nothing.
    """
    return _union(polygons, width, height) & ~_union(ignored, width, height)


def paint(region: Region, width: int, height: int) -> tuple[Mask, Mask]:
    """Return two masks [height, width]: the target's pixels, and the pixels that count at all.

    Pixels of ignored shapes do not count. Smaller shapes lie on top of larger ones, as in LISA.
    """
    target = np.zeros((height, width), dtype=np.bool_)
    counted = np.ones_like(target)
    shapes = [(polygon, True) for polygon in region.wanted]
    shapes += [(polygon, False) for polygon in region.ignored]
    layers = [(draw([polygon], width, height), is_target) for polygon, is_target in shapes]
    # Painted from the largest to the smallest. The sort is stable, so that of equal areas an
    # ignored shape, which comes later in the list, lies on top.
    for mask, is_target in sorted(layers, key=lambda layer: -int(layer[0].sum())):
        target[mask] = counted[mask] = is_target
    return target, counted


def encode(mask: Mask) -> dict[str, Any]:
    """Return COCO's run-length code of a mask for JSON: ``size`` [height, width], ``counts``."""
    from pycocotools import mask as coco

    # COCO counts runs down the columns, so pycocotools demands column-major bytes.
    code = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode("ascii")}


def decode(code: dict[str, Any]) -> Mask:
    """Return the mask [height, width] of a run-length code."""
    from pycocotools import mask as coco

    with warnings.catch_warnings():  # pycocotools' arrays lack NumPy 2's `copy` keyword
        warnings.simplefilter("ignore", DeprecationWarning)
        return np.asarray(coco.decode(code), dtype=np.bool_)


def _union(polygons: Sequence[Polygon], width: int, height: int) -> Mask:
    """Return the mask [height, width] of all pixels inside any of the polygons."""
    from pycocotools import mask as coco

    flat = [[float(c) for point in polygon for c in point] for polygon in polygons]
    # Three points are six coordinates. Four would be taken for a box, x, y, width and height.
    flat = [coordinates for coordinates in flat if len(coordinates) >= 6]
    if not flat:
        return np.zeros((height, width), dtype=np.bool_)
    return decode(coco.merge(coco.frPyObjects(flat, height, width)))

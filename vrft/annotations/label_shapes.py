"""Shapes of labelme and ReasonSeg: boxes and points from pixels, turned with their picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vrft.annotations.frames import ROUNDED, Point, Shape, shown
from vrft.boxes import Box, in_fractions, is_bounded
from vrft.errors import UserError
from vrft.images import StoredSize
from vrft.masks import outline

Turn = Callable[[float, float], tuple[float, float]]
"""Takes a point from the frame of its annotation into the upright picture, both in pixels."""

OVERDRAWN = 0.1
"""The share of a side by which an area may be drawn over the edge of its picture, and is cut."""


def shapes_by_label(
    shapes: list[Any], path: Path, stored: StoredSize, tree: Mapping[str, Any]
) -> dict[str, list[Shape]]:
    """Return the shapes of a picture by their labels, in fractions of the picture turned upright.

    ``stored`` is its size, ``tree`` the content of the json file ``path``. Raises UserError for a
    shape that is none in the picture, and for points that are in fractions already.
    """
    size, turn = stored.upright, _turn(tree, stored, path)
    by_label: dict[str, list[Shape]] = {}
    numbers: list[float] = []
    for number, shape in enumerate(shapes):
        where = f"{path}: shape {number}"
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
            raise UserError(f"{where}: expected an object with label and points")
        by_label.setdefault(shape["label"], []).extend(read_shape(shape, size, where, turn))
        numbers += [n for point in shape["points"] for n in point]
    if in_fractions(numbers):  # as no annotator marks the first pixel alone
        raise UserError(
            f"{path}: all points lie in 0..1, and labelme writes pixels; multiply them by the "
            "width and height of the picture"
        )
    return by_label


def _turn(tree: Mapping[str, Any], stored: StoredSize, path: Path) -> Turn:
    """Return how points of a file are turned into the upright picture, by the size it tells.

    labelme shows a picture upright, and other tools as it is stored, which its EXIF orientation
    turns: points of the second are turned with it. Raises UserError for a size that is neither.
    """
    told = (tree.get("imageWidth"), tree.get("imageHeight"))
    if None in told or told == stored.upright:
        return _as_they_are
    if told == (stored.width, stored.height):
        return stored.turn
    width, height = stored.upright
    raise UserError(
        f"{path}: imageWidth and imageHeight are {told[0]}x{told[1]}, but the picture, turned "
        f"upright, is {width}x{height}; annotate the upright picture"
    )


def _as_they_are(x: float, y: float) -> tuple[float, float]:
    """Return a point of the upright picture, which nothing turns."""
    return x, y


def read_shape(
    shape: Mapping[str, Any], size: tuple[int, int], where: str, turn: Turn = _as_they_are
) -> list[Shape]:
    """Return the box of a shape of labelme, or its points; UserError for another type of shape.

    ``turn`` takes a point of the file, in pixels, into the upright picture of ``size``.

    Areas are those of ``masks.outline``, whose box spans all points. Shapes of ReasonSeg have no
    type and are polygons.
    """
    points = shape.get("points")
    kind = shape.get("shape_type") or "polygon"
    listed = points if isinstance(points, list) else []
    pairs = [turn(*_pair(point, where)) for point in listed]
    match kind:
        case "point" | "points" if pairs:
            return [_placed(pair, size, where) for pair in pairs]
        case "line" | "linestrip" | "mask" if len(pairs) >= 2:
            pass
        case _:
            try:
                pairs = [*outline(kind, pairs)]
            except ValueError as error:
                raise UserError(
                    f"{where}: a {kind!r} of {len(pairs)} points; expected a rectangle, rotation, "
                    "polygon, circle, line, linestrip, mask, point or points"
                ) from error
    (left, top), (right, bottom) = (
        map(min, zip(*pairs, strict=True)),
        map(max, zip(*pairs, strict=True)),
    )
    width, height = size
    if kind != "circle":  # whose rim may leave the picture anywhere
        beyond = max(-left / width, -top / height, right / width - 1, bottom / height - 1)
        if beyond > OVERDRAWN:
            raise UserError(
                f"{where}: the {kind} from {shown((left, top))} to {shown((right, bottom))} leaves "
                f"its picture of {width}x{height}; correct it, or give the picture that was marked"
            )
    box = Box.of_pixels(left, top, right, bottom, width, height)
    if box is None:
        raise UserError(f"{where}: the {kind} spans no area inside the picture; correct it")
    return [box]


def _placed(pair: tuple[float, float], size: tuple[int, int], where: str) -> Shape:
    """Return the point of a pair in pixels; raise UserError for one outside the picture."""
    fractions = [n / side for n, side in zip(pair, size, strict=True)]
    if not all(-ROUNDED <= n <= side + ROUNDED for n, side in zip(pair, size, strict=True)):
        raise UserError(
            f"{where}: {shown(pair)} is no point inside its picture of {size[0]}x{size[1]}; "
            "correct it"
        )
    x, y = (min(max(fraction, 0.0), 1.0) for fraction in fractions)
    return Point(x, y)


def _pair(point: Any, where: str) -> tuple[float, float]:
    """Return a point of a shape in pixels; raise UserError for anything but two numbers."""
    match point:
        case [x, y] if is_bounded(x) and is_bounded(y):
            return float(x), float(y)
    raise UserError(f"{where} has a point that is no [x, y]: {point!r:.60}")

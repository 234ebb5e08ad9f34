"""Boxes and points as data write them: listed, by name, in JSON or as a text, read into numbers.

What the numbers mean is said by ``vrft.annotations.frames``.
"""

from __future__ import annotations

import json
import re
from typing import Any

from vrft.annotations.frames import BoxFormat, Numbers
from vrft.boxes import LARGEST, NUMBER, is_bounded

BOX_KEYS = ("bbox_2d", "bbox", "box", "Position", "point_2d", "point")
CORNER_KEYS = (
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("left", "top", "right", "bottom"),
)
SIDE_KEYS = ("left", "top", "width", "height")
POINT_KEYS = ("x", "y")
# {"x", "y", "width", "height"} is neither: x and y are a corner in some tools, the middle in
# others, and percent in a third kind.
PLACE_KEYS = {key for keys in (*CORNER_KEYS, SIDE_KEYS, POINT_KEYS) for key in keys} | {"w", "h"}
"""Names under which the numbers of one box or point may stand, each on its own."""
PYTHON = re.compile(r"^\[?\s*+\{\s*+'")
"""The beginning of objects in Python's writing, as pandas puts them into a cell of CSV."""
PYTHON_PLACE = re.compile(
    rf"'(?:{'|'.join(sorted({*BOX_KEYS, *PLACE_KEYS} - {*POINT_KEYS, 'w', 'h'}))})'"
    r"\s*+:\s*+(?:[\[({0-9.+-]|array\()"
)
"""A box or a point by name within them."""
IN_NUMPY = r"[+-]?[0-9]{1,7}\.?[0-9]{0,20}+"
NUMPY = re.compile(rf"\[{{1,2}}\s*+{IN_NUMPY}(?:\s++{IN_NUMPY}){{3}}\s*+\]|\[array\(\[")
"""A box in numpy's writing, without commas: "[10. 20. 30. 40.]"."""
FENCE = re.compile(r"```(?:json)?\s*+([^`]*)```")
PLACED = re.compile(
    rf"\({NUMBER},{NUMBER}\)\s*+,\s*+\({NUMBER},{NUMBER}\)"
    rf"|[\[(]{NUMBER},{NUMBER},{NUMBER},{NUMBER}[\])]"
    rf"|[\[(]{NUMBER},{NUMBER}[\])]"
)
"""A box or a point as texts write it."""
BOX_TAGS = re.compile(r"</?(?:box|point)>|<\|box_(?:start|end)\|>")
"""What models write around a box; the numbers inside say the same without."""
SIGNED = r"[+-]?[0-9]{1,7}(?:\.[0-9]{1,20})?"
FOUR = re.compile(rf"{SIGNED}(?:(?:\s*+,\s*+|\s++){SIGNED}){{3}}")
"""Four numbers without brackets, as in a cell of CSV."""


def bare_corners(value: Any) -> Numbers | None:
    """Return four numbers that stand alone, "10, 20, 30, 40"; None for any other value.

    They are a box where boxes are expected, and elsewhere a text as any other.
    """
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        value = " ".join(value)
    if not isinstance(value, str) or not FOUR.fullmatch(value.strip()):
        return None
    numbers = tuple(map(float, re.findall(SIGNED, value)))
    return numbers if len(numbers) == 4 and max(map(abs, numbers)) <= LARGEST else None


def in_python(text: str) -> bool:
    """Return whether a text holds a box or a point in the writing of Python or numpy."""
    named = PYTHON.match(text) is not None and PYTHON_PLACE.search(text) is not None
    return named or NUMPY.match(text) is not None


def written(
    value: Any, corners: bool = False, order: BoxFormat = "xyxy"
) -> tuple[Numbers, ...] | None:
    """Return the boxes or the points of an answer as numbers, in order; None for any other value.

    The value is [x1, y1, x2, y2] or [x, y], a box by name as {"x1": ..., "y1": ..., "x2": ...,
    "y2": ...}, {"bbox_2d": ...} or another of BOX_KEYS with any of these, a list of them, or a
    text that holds nothing but such a value, in JSON or as "(x1,y1),(x2,y2)" or "[x, y],[x, y]".
    Boxes and points never stand in one answer. [[x, y], [x, y]] is two points, or with ``corners``
    the corners of a box. Listed numbers are returned as they are, named ones in the ``order`` that
    a box is to have.
    """
    if isinstance(value, str):
        value = _parsed(value)
    if (single := _numbers(value, order)) is not None:
        return (single,)
    if not isinstance(value, list | tuple):
        return None
    shapes = [_numbers(item, order) for item in value]
    if {len(shape or ()) for shape in shapes} not in ({2}, {4}):
        return None
    placed = tuple(shape for shape in shapes if shape is not None)
    if corners and [len(shape) for shape in placed] == [2, 2]:
        return (placed[0] + placed[1],)
    return placed


def _numbers(value: Any, order: BoxFormat) -> Numbers | None:
    """Return the numbers of one box or point, bare, by name or under one of BOX_KEYS; else None."""
    if isinstance(value, dict):
        keys = [key for key in BOX_KEYS if value.get(key) is not None]
        if len(keys) > 1:
            return None
        value = value[keys[0]] if keys else value
        # {"x": 3, "y": 4} alone may be the solution of two equations.
        if not keys and PLACE_KEYS & value.keys() == set(POINT_KEYS):
            return None
    if isinstance(value, dict):
        value = _named(value, order)
    if not isinstance(value, list | tuple) or len(value) not in (2, 4):
        return None
    return tuple(map(float, value)) if all(map(is_bounded, value)) else None


def _named(value: dict[Any, Any], order: BoxFormat) -> list[Any] | None:
    """Return the numbers of a box, in an order, or of a point, each by its name; else None."""
    names = PLACE_KEYS & value.keys()
    if not all(is_bounded(value[name]) for name in names):
        return None
    if names == set(POINT_KEYS):
        return [value[name] for name in POINT_KEYS]
    if names == set(SIDE_KEYS):
        left, top, width, height = (value[name] for name in SIDE_KEYS)
        return [left, top, *((width, height) if order == "xywh" else (left + width, top + height))]
    for keys in CORNER_KEYS:
        if names == set(keys):
            x1, y1, x2, y2 = (value[name] for name in keys)
            return [x1, y1, *((x2 - x1, y2 - y1) if order == "xywh" else (x2, y2))]
    return None


def _parsed(text: str) -> Any:
    """Return the value of a text that is JSON or a row of boxes and points; None for any other."""
    text = BOX_TAGS.sub("", text).strip()
    if fence := FENCE.fullmatch(text):
        text = fence[1].strip()
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except RecursionError:
            return None
        except ValueError:
            pass  # "[10,20],[30,40]" begins as JSON does
    shapes = [[float(n) for n in m.groups() if n is not None] for m in PLACED.finditer(text)]
    return shapes if not PLACED.sub("", text).strip(" \n,;") else None

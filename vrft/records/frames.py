"""The units in which data write boxes and points, checked against the pictures.

Data sets write pixels of the original picture, thousandths or fractions of its sides, or pixels of
the picture as some processor resized it. A ``Frame`` names the unit and the order of the numbers;
it turns the numbers of one answer into fractions of the picture, in which ``Box`` and ``Point`` are
kept, and refuses numbers that cannot be meant so.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import astuple, dataclass, replace
from typing import Any, Literal

from vrft.boxes import NUMBER, Box, in_fractions, units
from vrft.images import FACTOR, resized_size
from vrft.types import View

Unit = Literal["pixels", "thousandths", "fractions", "resized"]
BoxFormat = Literal["xyxy", "xywh"]

MIN_PIXELS = 4 * FACTOR**2
MAX_PIXELS = 16384 * FACTOR**2
"""The limits of a resized picture's area in Qwen2-VL's and Qwen2.5-VL's checkpoints."""

LARGEST = 1e6
"""A bound on coordinates, beyond any picture; it also refuses NaN and infinity."""
ROUNDED = 0.5
"""Units by which a coordinate may leave the picture, as annotators' rounding has it."""

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

WORDS: dict[Unit, str] = {
    "pixels": "pixels of the original picture",
    "thousandths": "thousandths of the picture's sides",
    "fractions": "fractions of the picture's sides",
    "resized": "pixels of the resized picture",
}


@dataclass(frozen=True, slots=True)
class Point:
    """A point in fractions of the picture's width and height, both in [0, 1]."""

    x: float
    y: float

    def format(self, view: View) -> str:
        """Return the point as a model with this view writes it: ``(x,y)``."""
        width, height = units(view)
        return f"({round(self.x * width)},{round(self.y * height)})"

    def inside(self, box: Box) -> bool:
        """Return whether the point lies in a box or on its edge."""
        return box.x1 <= self.x <= box.x2 and box.y1 <= self.y <= box.y2

    def distance(self, other: Point) -> float:
        """Return the distance to another point, in fractions of the picture's sides."""
        return math.hypot(self.x - other.x, self.y - other.y)


Shape = Box | Point
Numbers = tuple[float, ...]
"""The numbers of one box (four) or one point (two), as the data write them."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The unit of a data set's boxes and points, and the order of a box's four numbers.

    ``min_pixels`` and ``max_pixels`` are the limits of the processor that resized the pictures of
    "resized" data.
    """

    unit: Unit = "pixels"
    box_format: BoxFormat = "xyxy"
    min_pixels: int = MIN_PIXELS
    max_pixels: int = MAX_PIXELS

    def __str__(self) -> str:
        order = "" if self.box_format == "xyxy" else ", as x, y, width, height"
        return WORDS[self.unit] + order

    def extent(self, size: tuple[int, int]) -> tuple[float, float]:
        """Return how many units the sides of a picture of ``size`` (width, height) have."""
        match self.unit:
            case "pixels":
                return size
            case "thousandths":
                return 1000, 1000
            case "fractions":
                return 1, 1
        return resized_size(*size, self.min_pixels, self.max_pixels)

    def shape(self, numbers: Numbers, size: tuple[int, int]) -> Shape:
        """Return the box or point that the numbers mean in a picture of ``size``.

        ValueError, with the remedy in words, for a box without area, a shape outside the picture,
        and one in fractions where larger units are expected.
        """
        kind = "box" if len(numbers) == 4 else "point"
        # (0, 0) may be a point in a corner, and no box has one unit or less.
        tiny = in_fractions(numbers) or (kind == "box" and max(map(abs, numbers)) <= 1)
        if tiny and self.unit != "fractions":
            raise ValueError(
                f"the {kind} {shown(numbers)} lies in 0..1, and its numbers were taken for {self}; "
                "if they are fractions, set data.boxes=fractions"
            )
        placed = self._placed(numbers, size)
        if placed is None:
            raise ValueError(
                f"{shown(numbers)} is no {kind} inside its picture of {size[0]}x{size[1]}, "
                f"taken for {self}; {self._remedy(numbers, size)}"
            )
        return placed

    def numbers(self, shape: Shape, size: tuple[int, int]) -> list[float]:
        """Return the numbers that mean a box or point in a picture of ``size``."""
        width, height = self.extent(size)
        # Six digits behind the point tell fractions apart in the largest picture.
        values = [
            round(value * (height if place % 2 else width), 6)
            for place, value in enumerate(astuple(shape))
        ]
        if len(values) == 4 and self.box_format == "xywh":
            values[2:] = [round(values[2] - values[0], 6), round(values[3] - values[1], 6)]
        return [int(value) if value == int(value) else value for value in values]

    def _placed(self, numbers: Numbers, size: tuple[int, int]) -> Shape | None:
        """Return the shape of the numbers; None for one outside the picture or without area."""
        width, height = self.extent(size)
        corners = list(numbers)
        if len(corners) == 4 and self.box_format == "xywh":
            corners[2:] = corners[0] + corners[2], corners[1] + corners[3]
        slack = 0.0 if self.unit == "fractions" else ROUNDED
        for place, value in enumerate(corners):
            if not -slack <= value <= (height if place % 2 else width) + slack:
                return None
        if len(corners) == 2:
            x, y = corners[0] / width, corners[1] / height
            return Point(min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0))
        x1, y1, x2, y2 = corners
        return Box.of_pixels(x1, y1, x2, y2, width, height)

    def _remedy(self, numbers: Numbers, size: tuple[int, int]) -> str:
        """Return the settings with which the numbers would lie inside the picture, in words."""
        other: BoxFormat = "xywh" if self.box_format == "xyxy" else "xyxy"
        settings = []
        for unit in WORDS:
            if unit != self.unit and replace(self, unit=unit)._placed(numbers, size):
                settings.append(f"data.boxes={unit}")
        if len(numbers) == 4 and replace(self, box_format=other)._placed(numbers, size):
            settings.insert(0, f"data.box_format={other}")
        if not settings:
            return "correct the row"
        return f"it would be one with {' or '.join(settings)}"


PIXELS = Frame("pixels")
"""The frame of canonical rows, and of the pixels that annotators see."""


def shown(numbers: Numbers) -> str:
    """Return the numbers of a shape as data write them: [10, 20, 30.5, 40]."""
    return "[" + ", ".join(f"{number:.10g}" for number in numbers) + "]"


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
    return tuple(map(float, value)) if all(map(_is_number, value)) else None


def _named(value: dict[Any, Any], order: BoxFormat) -> list[Any] | None:
    """Return the numbers of a box, in an order, or of a point, each by its name; else None."""
    names = PLACE_KEYS & value.keys()
    if not all(_is_number(value[name]) for name in names):
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


def _is_number(value: Any) -> bool:
    """Return whether a value is a number of a sensible size; NaN and truth values are none."""
    return isinstance(value, int | float) and type(value) is not bool and abs(value) <= LARGEST

"""The units in which data write boxes and points, checked against the pictures.

Data sets write pixels of the original picture, thousandths or fractions of its sides, or pixels of
the picture as some processor resized it. A ``Frame`` names the unit and the order of the numbers;
it turns the numbers of one answer into fractions of the picture, in which ``Box`` and ``Point`` are
kept, and refuses numbers that cannot be meant so.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, replace
from typing import Literal

from vrft.boxes import Box, in_fractions, units
from vrft.images import FACTOR, StoredSize, resized_size
from vrft.types import View

Unit = Literal["pixels", "thousandths", "fractions", "resized"]
BoxFormat = Literal["xyxy", "xywh"]

MIN_PIXELS = 4 * FACTOR**2
MAX_PIXELS = 16384 * FACTOR**2
"""The limits of a resized picture's area in Qwen2-VL's and Qwen2.5-VL's checkpoints."""

ROUNDED = 0.5
"""Units by which a coordinate may leave the picture, as annotators' rounding has it.

Of fractions it is pixels: a corner and a width in 32 bits seldom add up to 1 exactly.
"""

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

    def format(self, view: View, fractions: bool = False) -> str:
        """Return the point as a model with this view writes it, or in fractions: ``(x,y)``."""
        if fractions:
            return f"({round(self.x, 4)},{round(self.y, 4)})"
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
        beyond = ROUNDED / min(size)
        clipped = [min(number, 1.0) if number <= 1 + beyond else number for number in numbers]
        tiny = in_fractions(clipped) or (kind == "box" and max(map(abs, clipped)) <= 1)
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
        for place, value in enumerate(corners):
            extent, pixels = (height, size[1]) if place % 2 else (width, size[0])
            slack = ROUNDED / pixels if self.unit == "fractions" else ROUNDED
            if not -slack <= value <= extent + slack:
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


def turned_point(point: Point, stored: StoredSize) -> Point:
    """Return a point of the picture as stored, in fractions, as one of the upright picture."""
    # In a picture of one unit each way, points turn as in any other.
    return Point(*replace(stored, width=1, height=1).turn(point.x, point.y))


def turned_box(box: Box, stored: StoredSize) -> Box:
    """Return a box of the picture as stored, in fractions, as one of the upright picture."""
    ends = (turned_point(Point(x, y), stored) for x, y in ((box.x1, box.y1), (box.x2, box.y2)))
    (x1, x2), (y1, y2) = zip(*map(astuple, ends), strict=True)
    # Corners may have changed places.
    return Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


PIXELS = Frame("pixels")
"""The frame of canonical rows, and of the pixels that annotators see."""


def shown(numbers: Numbers) -> str:
    """Return the numbers of a shape as data write them: [10, 20, 30.5, 40]."""
    return "[" + ", ".join(f"{number:.10g}" for number in numbers) + "]"

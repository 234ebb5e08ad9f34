"""Boxes and points as answers: read from rows and from completions, and matched with the truth."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vrft import wrapping
from vrft.annotations import written_shapes
from vrft.annotations.frames import BoxFormat, Frame, Numbers, Point, Shape
from vrft.boxes import (
    NUMBER,
    OPENING,
    WRITTEN,
    Box,
    in_fractions,
    iou,
    is_denied,
    units,
    without_labels,
)
from vrft.formats import placing
from vrft.formats.rows import Row
from vrft.images import StoredSize, stored_size
from vrft.records import shown
from vrft.types import Turn, View

Kind = Literal["box", "boxes", "point", "points"]

Sizes = dict[Path, StoredSize]
"""The sizes of pictures, each opened once for all rows that ask about it."""

POINT = re.compile(rf"\({NUMBER},{NUMBER}\)|\[{NUMBER},{NUMBER}\]")


@dataclass(frozen=True, slots=True)
class Target:
    """The true boxes or points, and what of a row belongs to its prompt besides the question."""

    kind: Kind
    """The kind of answer that is asked for; a point may be asked for where boxes are true."""
    shapes: tuple[Shape, ...]
    system: str | None = None
    turns: tuple[Turn, ...] = ()

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Return the true boxes, () where points are true."""
        return tuple(shape for shape in self.shapes if isinstance(shape, Box))

    @property
    def ideal(self) -> tuple[Shape, ...]:
        """Return the best answer: the shapes, or points in their middle where points are asked."""
        if self.kind in ("box", "boxes"):
            return self.shapes
        return tuple(centre(s) if isinstance(s, Box) else s for s in self.shapes)


def centre(box: Box) -> Point:
    """Return the point in the middle of a box."""
    return Point((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2)


def kind_of(rows: Sequence[Row]) -> Kind:
    """Return the kind of answer that all rows of a split have.

    Raises UserError for an answer that is neither boxes nor points, for a split with both, and for
    pairs of points in every row, which may as well be the corners of boxes.
    """
    every = [written(row) for row in rows]
    sides = [len(shapes[0]) for shapes in every]
    if len(set(sides)) > 1:
        odd = next(row for row, side in zip(rows, sides, strict=True) if side != sides[0])
        raise odd.record.error(
            f"the answer {shown(odd.answer)} is of another kind than those before: give boxes or "
            "points in every row"
        )
    several = any(len(shapes) > 1 for shapes in every)
    if sides[0] == 4:
        return "boxes" if several else "box"
    if all(len(shapes) == 2 for shapes in every):
        raise rows[0].record.error(
            f"the answer {shown(rows[0].answer)}, as all others, is two points or the corners of a "
            "box; set task.kind=points or task.kind=box"
        )
    return "points" if several else "point"


def written(row: Row, corners: bool = False, order: BoxFormat = "xyxy") -> tuple[Numbers, ...]:
    """Return the numbers of a row's boxes or points; raise UserError for any other answer.

    ``corners`` and ``order`` are those of written_shapes.written.
    """
    shapes = written_shapes.written(row.answer, corners, order)
    if shapes is None and (alone := written_shapes.bare_corners(row.answer)):
        shapes = (alone,)
    if shapes is None:
        raise row.record.error(
            f"the answer {shown(row.answer)} is neither boxes nor points; expected "
            "[x1, y1, x2, y2], [x, y], an object with x1, y1, x2 and y2, or with left, top, width "
            "and height, or a list of these"
        )
    return shapes


def target_of(row: Row, kind: Kind, frame: Frame, picture: Path, sizes: Sizes) -> Target:
    """Return the truth of a row, whose boxes and points lie in ``picture`` as ``frame`` says.

    The size of the picture is taken from ``sizes``, or put there. Raises UserError for numbers
    that lie outside the picture, for a picture of another size than the row gives, and for an
    answer of another kind.
    """
    shapes = written(row, kind in ("box", "boxes"), frame.box_format)
    stored = sizes.get(picture) or sizes.setdefault(picture, stored_size(picture))
    if kind in ("box", "point") and len(shapes) > 1:
        raise row.record.error(f"{len(shapes)} answers; task.kind={kind} takes one")
    if kind in ("box", "boxes") and len(shapes[0]) == 2:
        raise row.record.error(f"a point, {shown(row.answer)}; task.kind={kind} takes boxes")
    placed = placing.placed(row, shapes, frame, stored)
    return Target(kind, placed, row.system, row.turns)


def read_answer(
    text: str, kind: Kind, view: View, fractions: bool = False
) -> tuple[Shape, ...] | None:
    """Read the boxes or points of an answer, of one where ``kind`` asks for one.

    They are in the view's space, or in fractions of the picture.

    None for no shape, for several where one is asked for, for a shape that is cut off, empty or
    outside the picture, and for shapes of the other kind. The one may be written again.
    """
    text = wrapping.unwrapped(without_labels(text))
    pattern = pattern_of(kind)
    matches = list(pattern.finditer(text))
    if not matches or any(map(is_denied, matches)):
        return None
    # The rest of the text must not hold the beginning of another box or point.
    if OPENING.search(pattern.sub(" ", text)):
        return None
    read: Callable[[str, View, bool], Shape | None]
    read = Box.parse if pattern is WRITTEN else read_point
    # Many boxes of a long answer may be the same, and are read once.
    known = {said: read(said, view, fractions) for said in {match[0] for match in matches}}
    shapes = [known[match[0]] for match in matches]
    if kind in ("box", "point"):
        shapes = list(dict.fromkeys(shapes))
        if len(shapes) > 1:
            return None
    placed = tuple(shape for shape in shapes if shape is not None)
    return placed if len(placed) == len(shapes) else None


def pattern_of(kind: Kind) -> re.Pattern[str]:
    """Return the pattern of a box or a point, whichever answers of this kind have."""
    return WRITTEN if kind in ("box", "boxes") else POINT


def is_in_fractions(text: str, kind: Kind) -> bool:
    """Return whether all boxes or points of an answer are in fractions of the picture."""
    shapes = [
        [float(number) for number in match.groups() if number is not None]
        for match in pattern_of(kind).finditer(wrapping.unwrapped(without_labels(text)))
    ]
    return bool(shapes) and all(map(in_fractions, shapes))


def read_point(text: str, view: View, fractions: bool = False) -> Point | None:
    """Read a point as a model with this view writes it, or in fractions; None for one outside.

    As of a box, fractions of the picture are no point where they are not asked for.
    """
    match = POINT.fullmatch(text)
    if match is None:
        return None
    x, y = (float(number) for number in match.groups() if number is not None)
    if in_fractions((x, y)) and not fractions:
        return None
    width, height = (1, 1) if fractions else units(view)
    return Point(x / width, y / height) if 0 <= x <= width and 0 <= y <= height else None


def match(target: Target, answered: Sequence[Shape] | None, radius: float) -> float:
    """Return the sum of matched shapes' values over the larger number of shapes, in [0, 1].

    The value of two boxes is their IoU, and of a point 1 where it lies in the true box, or within
    ``radius`` of the true point. Pairs are matched so that the sum is largest, whatever the order
    of the answer. 0 for an unreadable answer.
    """
    if not answered:
        return 0.0
    values = [[value(true, given, radius) for given in answered] for true in target.shapes]
    if len(values) == len(answered) == 1:
        return values[0][0]
    from scipy import optimize  # whose import takes longer than a thousand single boxes

    pairs = zip(*optimize.linear_sum_assignment(values, maximize=True), strict=True)
    total: float = sum(values[i][j] for i, j in pairs)
    return total / max(len(values), len(answered))


def value(true: Shape, given: Shape, radius: float) -> float:
    """Return how well an answered shape fits a true one, in [0, 1]."""
    if isinstance(given, Box):
        return iou(true, given) if isinstance(true, Box) else 0.0
    if isinstance(true, Box):
        return float(given.inside(true))
    return float(given.distance(true) <= radius)

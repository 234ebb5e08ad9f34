"""The boxes and points of a row, placed in its picture.

The size that a row gives of its picture tells in which frame its shapes were marked: in the picture
as it is shown, or as its file stores it, which the EXIF orientation turns.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from vrft.annotations.frames import Frame, Numbers, Shape, turned_box, turned_point
from vrft.boxes import Box
from vrft.formats.rows import Row
from vrft.images import StoredSize
from vrft.records.nested import shown
from vrft.records.record import NUMBER, Record, is_whole

SIZE_COLUMNS = (
    ("width", "height"),
    ("image_width", "image_height"),
    ("imageWidth", "imageHeight"),
    ("img_width", "img_height"),
)
SIZES = frozenset(itertools.chain.from_iterable(SIZE_COLUMNS))
"""The names of all these columns."""


def placed(
    row: Row, numbers: Sequence[Numbers], frame: Frame, stored: StoredSize
) -> tuple[Shape, ...]:
    """Return the shapes of a row in fractions of its upright picture, whose file is ``stored``.

    Shapes that were marked in the picture as stored are turned with it. Raises UserError for a
    shape that is none in the picture, and for shapes in pixels of a picture of another size.
    """
    as_stored = (stored.width, stored.height)
    told = None if row.upright else told_size(row.record)
    if told and told not in (as_stored, stored.upright) and frame.unit == "pixels":
        raise row.record.error(
            f"by its width and height, its boxes were marked in a picture of {told[0]}x{told[1]}, "
            f"but the picture is {stored.upright[0]}x{stored.upright[1]}; give the one that was "
            "marked, or correct the size and the boxes"
        )
    turns = told == as_stored != stored.upright
    try:
        shapes = tuple(frame.shape(n, as_stored if turns else stored.upright) for n in numbers)
    except ValueError as error:
        raise row.record.error(str(error)) from None
    if not turns:
        return shapes
    return tuple(
        turned_box(s, stored) if isinstance(s, Box) else turned_point(s, stored) for s in shapes
    )


def told_size(record: Record) -> tuple[int, int] | None:
    """Return the (width, height) that a row gives of its picture; None where it gives none.

    Raises UserError for sides that are no whole numbers of pixels, as of an object in metres.
    """
    for names in SIZE_COLUMNS:
        values = [record.get(name) for name in names]
        # A list has the sizes of several pictures, and none is said to be that of the boxes.
        if any(value is None or isinstance(value, list) for value in values):
            continue
        width, height = map(_pixels, values)
        if width is None or height is None:
            raise record.error(
                f"{names[0]} and {names[1]} are {shown(values[0])} and {shown(values[1])}, and are "
                "taken for the picture's size in pixels; correct them, or rename the columns"
            )
        return width, height
    return None


def _pixels(value: Any) -> int | None:
    """Return a side in pixels, also of a text, as in CSV, where pandas writes 640.0; else None."""
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        value = Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return int(value) if value > 0 and is_whole(value) else None

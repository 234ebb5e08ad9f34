"""Numbered marks of pictures, ``<image 1>`` as in MMMU: each says which picture stands there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vrft.annotations import written_shapes
from vrft.formats.option_letters import lists_options
from vrft.formats.rows import Row
from vrft.types import PLACE

MARK = re.compile(r"<image[ _]?([0-9]{1,2})>", re.IGNORECASE)


def with_marked_places(row: Row) -> Row:
    """Return a row with ``<image>`` in place of its numbered marks, and the pictures in order.

    A picture that is named twice is shown twice. Raises UserError for a number that no picture has,
    for a picture without a mark beside others, and for marks out of order where the answer is a box
    in one of the pictures.
    """
    said = [turn.text for turn in row.turns]
    order = numbers([*said, row.question])
    beside = numbers(row.options)
    if beside and not lists_options(row.question, row.options):
        order += beside  # as the options are asked behind the question
    if not order:
        return row
    check_numbers(row, order)
    return replace(
        row,
        question=placed(row.question),
        options=tuple(map(placed, row.options)),
        turns=tuple(replace(turn, text=placed(turn.text)) for turn in row.turns),
        pictures=tuple(row.pictures[number - 1] for number in order),
    )


def check_numbers(row: Row, order: list[int]) -> None:
    """Raise UserError where the numbers of the marks are not those of the pictures."""
    count = len(row.pictures)
    unknown = [number for number in order if not 1 <= number <= count]
    if unknown:
        pictures = f"{count} picture{'' if count == 1 else 's'}"
        raise row.record.error(
            f"the text names <image {unknown[0]}>, and the row has {pictures}; correct the number, "
            "or add the picture"
        )
    lacking = [number for number in range(1, count + 1) if number not in order]
    if lacking or any(PLACE in text for text in (row.question, *row.options)):
        what = f"picture {lacking[0]} has no mark <image {lacking[0]}>" if lacking else PLACE
        raise row.record.error(
            f"{what}, while others are marked by their numbers; mark all pictures alike"
        )
    if order != list(range(1, count + 1)) and is_shape(row.answer):
        raise row.record.error(
            f"the marks of pictures stand in the order {order!r:.60}, and the answer is a box or "
            "point in one of them; write them in the order of the pictures, each once"
        )


def is_shape(answer: Any) -> bool:
    """Return whether an answer is written as boxes or points."""
    return written_shapes.written(answer) is not None


def numbers(texts: Sequence[str]) -> list[int]:
    """Return the numbers of the marks in some texts, in order."""
    return [int(mark[1]) for text in texts for mark in MARK.finditer(text)]


def placed(text: str) -> str:
    """Return a text with the mark of a picture's place for each numbered one."""
    return MARK.sub(PLACE, text)

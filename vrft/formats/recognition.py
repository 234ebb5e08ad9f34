"""Formats of data sets: recognised by their columns, named, and read into one kind of row.

``FORMATS`` lists the formats of rows; ``vrft.annotations`` adds COCO's json, and the json
of labelme and ReasonSeg. The first row of a split tells the format; a row of another form is
refused.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from vrft import answers, paths
from vrft.annotations import labelled
from vrft.annotations.frames import Unit
from vrft.annotations.written_shapes import bare_corners, written
from vrft.errors import UserError
from vrft.formats import placing, row_pictures, rows
from vrft.formats.picture_marks import with_marked_places
from vrft.formats.rows import Row
from vrft.records import reading
from vrft.records.nested import shown
from vrft.records.reading import AS_NAMED
from vrft.records.record import Record, is_null

FormatName = Literal[
    "canonical", "trl", "llava", "vlm-r1", "vlm-r1-rec", "sharegpt", "swift", "openai", "verl",
    "easyr1", "r1v", "coco", "labelme", "reasonseg",
]  # fmt: skip

CARRIED = frozenset({
    *("id", "idx", "images", "image", "question", "problem", "prompt", "conversations", "messages"),
    *("answer", "solution", "reward_model", "extra_info", "objects", "options", "choices"),
    *("system", "turns", "subset", "data_source", "ability", "normalized_solution"),
})  # fmt: skip
"""The columns of a format of rows whose content is in a ``Row``."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format of rows: its title, the columns that it is known by, its reader, its boxes' unit."""

    title: str
    columns: str
    matches: Callable[[Record], bool]
    read: Callable[[Record], Row]
    unit: Unit = "pixels"


@dataclass(frozen=True, slots=True)
class Reading:
    """The rows of a split, and the format in which they were read."""

    name: FormatName
    rows: tuple[Row, ...]
    blank: int = 0
    """Annotated pictures on which nothing is marked, which ask nothing."""

    @property
    def title(self) -> str:
        """Return the format in words, with the number of replies that were left out."""
        form = FORMATS.get(self.name)
        if form is None:
            title = labelled.title(self.name, self.rows[0].record.values)
            title += f" ({self.blank} without a box or point, not asked)" if self.blank else ""
        else:
            title = form.title
        left_out = sum(row.reply_left_out for row in self.rows)
        if left_out:
            title += f" ({left_out} replies left out: `solution` answers)"
        unread = sum(row.column_left_out for row in self.rows)
        if unread:
            title += (
                f" ({unread} `answer` left out: the last reply answers, unless "
                "data.columns.solution=answer)"
            )
        return title

    @property
    def unit(self) -> Unit:
        """Return the unit of boxes, where neither a setting nor the row tells it.

        Raises UserError for boxes of R1-V's columns that are not written as there, in tags: others
        have such columns too, and boxes in pixels.
        """
        untagged = (row for row in self.rows if not is_tagged(rows.solution_of(row.record)))
        if self.name == "r1v" and (row := next(untagged, None)) and self.geometric:
            raise row.record.error(
                f"the solution {shown(row.answer)} has no tags <answer>, as Visual-RFT's boxes in "
                "thousandths have; say what its numbers are by data.boxes=pixels or thousandths"
            )
        return FORMATS[self.name].unit if self.name in FORMATS else "fractions"

    @property
    def own_units(self) -> bool:
        """Return whether boxes stand in the unit of the data, and not in fractions already."""
        return self.name in FORMATS

    def left_out(self, first: int | None = None) -> list[str]:
        """Return the columns that are not read, and have a value in some row, in order.

        Rewards get them nevertheless. With ``first``, so many rows are looked at.
        """
        rows = self.rows[:first]
        carried = labelled.CARRIED.get(self.name, CARRIED)
        carried |= {own for row in rows[:1] for own in row.record.columns.values()}
        carried |= {own for row in rows for own in row_pictures.numbered_columns(row.record)}
        filled = (
            name
            for row in rows
            for name, value in row.record.values.items()
            # Empty flags of labelme, and cells without a value, are no loss.
            if name not in carried and not is_null(value) and value not in ("", [], {})
        )
        return list(dict.fromkeys(filled))

    @property
    def geometric(self) -> bool:
        """Return whether the answers of all rows are boxes or points in pictures.

        Raises UserError where some are and others are not.
        """
        placed = [bool(row.pictures) and written(row.answer) is not None for row in self.rows]
        if not any(placed):  # four numbers alone are boxes only where no row has another answer
            return all(row.pictures and bare_corners(row.answer) for row in self.rows)
        if any(placed) and not all(placed):
            other, box = self.rows[placed.index(False)], self.rows[placed.index(True)]
            raise other.record.error(
                f"the answer {shown(other.answer)} is no box or point in a picture, while "
                f"that of {box.record.where} is; correct it, or choose --task vqa or grounding"
            )
        return all(placed)


def read(
    source: str | Path,
    split: str,
    *,
    name: FormatName | None = None,
    columns: Mapping[str, str] = AS_NAMED,
    limit: int | None = None,
    encoding: str = "",
    config: str | None = None,
    allow_outside: bool = False,
) -> Reading:
    """Read a split of any format, which is recognised unless ``name`` tells it.

    ``source`` is what ``vrft.records.read`` takes, COCO's json, or a folder of labelme's or
    ReasonSeg's json beside the pictures. Pictures lie in its folder, unless ``allow_outside``.
    Raises UserError for data of no known format, and for the first row that is not understood.
    """
    root = paths.expanded(source)
    kind = name if name in labelled.TITLES else None
    if name is None and os.path.exists(root):  # False for a name that is too long, no error
        kind = labelled.kind_of(root, split, encoding)
    if kind is not None and config is not None:
        raise UserError(f"{source!s:.200}: {labelled.TITLES[kind]}, has no configurations; remove "
                        "data.config")  # fmt: skip
    if kind is not None:
        if columns:
            raise UserError(f"{source!s:.200}: {labelled.TITLES[kind]}, has no columns to name; "
                            f"remove data.columns.{next(iter(columns))}")  # fmt: skip
        entries = labelled.read(root, split, kind, encoding, allow_outside)
        asked = [entry for entry in entries if entry.shapes]
        if not asked:
            raise UserError(f"{source!s:.200}: {labelled.TITLES[kind]}, has no box with an area in "
                            f"the split {split!r}: nothing to ask")  # fmt: skip
        questions = tuple(map(rows.of_picture, asked[:limit], itertools.count()))
        return Reading(kind, questions, len(entries) - len(asked))
    stream = reading.read(
        source,
        split,
        columns=columns,
        limit=limit,
        encoding=encoding,
        config=config,
        allow_outside=allow_outside,
    )
    first = next(stream, None)
    if first is None:
        raise UserError(f"{source}: no rows in the split {split!r}")
    name = name or recognise(first)
    every = itertools.chain([first], stream)
    return Reading(name, tuple(reading.read_each(every, partial(read_row, name=name))))


def read_row(record: Record, name: FormatName) -> Row:
    """Return the row of a record of a format; raise UserError where it is not understood."""
    row = FORMATS[name].read(record)
    for size in placing.SIZES & record.columns.keys():
        record.get(size)  # else a name that is asked for with the picture would seem unread
    if not row.pictures:
        row_pictures.check_read(record)
    row_pictures.check_left_out(record)
    return rows.with_places(with_marked_places(row))


def recognise(record: Record) -> FormatName:
    """Return the format that a row's columns tell; raise UserError where they tell none."""
    for name, form in FORMATS.items():
        if form.matches(record):
            return name
    columns = f"the columns {', '.join(record.values) or '(none)'} are of no known format"
    halves = {"answer": ("question", "problem", "prompt"), "question": ("answer", "solution")}
    for lacking, names in halves.items():
        there = next((name for name in names if has(name)(record)), None)
        if there is not None:
            raise record.error(
                f"{columns}: {there} is there, and no {lacking}; say which column it is by "
                f"data.columns.{lacking}=NAME"
            )
    known = "; ".join(f"{name}: {form.columns}" for name, form in FORMATS.items())
    raise record.error(
        f"{columns} ({known}); name yours by data.columns.question=NAME and "
        "data.columns.answer=NAME, or the format by data.format=NAME"
    )


def has(*columns: str) -> Callable[[Record], bool]:
    """Return whether a row has all of some columns, by its own names or by those of a setting."""
    return lambda record: all(name in record.values or name in record.columns for name in columns)


def replied_by_boxes(record: Record) -> bool:
    """Return whether the last reply of a conversation with one ``image`` is boxes or points."""
    return is_llava(record) and written(rows.read_conversations(record).answer) is not None


def is_llava(record: Record) -> bool:
    """Return whether a row is a conversation about the picture in ``image``."""
    return has("conversations")(record) and "images" not in record.values


def is_tagged(solution: object) -> bool:
    """Return whether a solution is a text with an answer in tags."""
    return isinstance(solution, str) and answers.last_answer(solution) is not None


def is_swift(record: Record) -> bool:
    """Return whether a row has messages of plain text, and columns for what else belongs to it."""
    messages = record.values.get("messages")
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        return False
    columns = {"images", "image", "objects", "solution"} & record.values.keys()
    return bool(messages and columns) and all(isinstance(m.get("content"), str) for m in messages)


CONVERSATIONS = "image, conversations [{from, value}]"

FORMATS: Mapping[FormatName, Format] = {
    "vlm-r1": Format(
        "VLM-R1 conversations", CONVERSATIONS, replied_by_boxes, rows.read_conversations
    ),
    "llava": Format(
        "LLaVA conversations", CONVERSATIONS, is_llava, rows.read_conversations, "fractions"
    ),
    "sharegpt": Format(
        "ShareGPT conversations", "images, conversations [{from, value}], system",
        has("conversations"), rows.read_conversations,
    ),
    "swift": Format(
        "ms-swift messages", "messages, images, objects {ref, bbox}, solution",
        is_swift, rows.read_swift,
    ),
    "openai": Format(
        "OpenAI messages", "messages [{role, content}]", has("messages"), rows.read_messages
    ),
    "verl": Format(
        "verl rows", "prompt, images, reward_model {ground_truth}, extra_info",
        has("reward_model"), rows.read_verl,
    ),
    "vlm-r1-rec": Format(
        "VLM-R1 rows of REC", "image, problem, solution, normalized_solution",
        has("problem", "solution", "normalized_solution"), rows.read_problem,
    ),
    "r1v": Format(
        "R1-V and Visual-RFT rows", "image, problem, solution", has("problem", "solution"),
        rows.read_problem, "thousandths",
    ),
    "easyr1": Format(
        "EasyR1 rows", "images, problem, answer", has("problem", "answer"), rows.read_problem
    ),
    "canonical": Format(
        "questions and answers", "id, images, question, answer",
        lambda record: has("question", "answer")(record) or has("question", "solution")(record),
        rows.read_canonical,
    ),
    "trl": Format(
        "TRL rows", "prompt, images, solution",
        lambda record: has("prompt", "solution")(record) or has("prompt", "answer")(record),
        rows.read_trl,
    ),
}  # fmt: skip
"""The formats of rows, in the order in which they are looked for."""

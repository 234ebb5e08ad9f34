"""Grounding: anyone's rows about pictures, answered by one or several boxes, or by points.

``data_dir`` is a hub id, a file or a folder with rows of any of ``vrft.formats``,
such as

    {"id": "a1", "images": ["a.jpg"], "question": "the red cup", "answer": [10, 20, 110, 220]}
    {"id": "a2", "images": ["b.jpg"], "question": "cups", "answer": [[0, 0, 9, 9], [5, 5, 8, 8]]}
    {"id": "a3", "images": ["c.jpg"], "question": "the handle", "answer": [55, 71]}

or COCO's json, or labelme's. Numbers are pixels of the original picture unless the format has
another custom or ``data.boxes=`` names another unit; they are checked against the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace

from vrft import answers
from vrft.annotations.frames import MAX_PIXELS, MIN_PIXELS, PIXELS, BoxFormat, Frame, Shape, Unit
from vrft.boxes import IN_FRACTIONS, THOUSANDTHS, Box, Coordinates, view_in
from vrft.errors import UserError
from vrft.formats import kept_reading
from vrft.formats.recognition import Reading
from vrft.formats.rows import Row
from vrft.progress import with_progress
from vrft.rows_task import RowsTask
from vrft.task import Reward
from vrft.types import Completion, Prompt, Sample, Score, Scored, View
from vrft_tasks._grounding import (
    Kind,
    Sizes,
    Target,
    is_in_fractions,
    kind_of,
    match,
    read_answer,
    target_of,
)

CHAT = (
    "{question}\n"
    "First reason between <think> and </think>, then give {answer} between <answer> and "
    "</answer>, exactly in this form:\n"
    "<think>your reasoning</think>\n<answer>{form}</answer>"
)
BASE = (
    "A user asks where something is in a picture and an assistant answers. The assistant always "
    "reasons first, between <think> and </think>, and then gives {answer} between <answer> and "
    "</answer>, exactly in this form:\n"
    "<answer>{form}</answer>\n"
    "{turns}User: {question}\n"
    "Assistant: I go through it one step at a time.\n"
)

ASKED: Mapping[Kind, tuple[str, str]] = {
    "box": ("the corners of its bounding box", "(x1,y1),(x2,y2)"),
    "boxes": ("the corners of every bounding box, one a line,", "(x1,y1),(x2,y2)\n(x1,y1),(x2,y2)"),
    "point": ("the coordinates of a point on it", "(x,y)"),
    "points": ("the coordinates of every point, one a line,", "(x,y)\n(x,y)"),
}
"""Kind -> the words for {answer} and {form} in the template."""


SHOWN: Mapping[Kind, str] = {
    "box": "boxes",
    "boxes": "one or several boxes",
    "point": "points",
    "points": "one or several points",
}
"""Kind -> the words for it in the line that says how data are read."""


@dataclass(frozen=True)
class Grounding(RowsTask[Target]):
    """Pointing at what a question means; the reward is the overlap of boxes, or points that hit."""

    box_unit: Unit | None = None
    """The unit of the data's boxes; None: the custom of their format."""
    box_format: BoxFormat = "xyxy"
    """The four numbers of a box: two corners, or a corner with width and height."""
    min_pixels: int = MIN_PIXELS
    """The least area of a picture to the processor behind boxes in "resized" pixels."""
    max_pixels: int = MAX_PIXELS
    """The largest area of a picture to that processor."""
    kind: Kind | None = None
    """The kind of answer; None: that of the rows. With "point" a box is hit by a point in it."""
    picture: int | None = None
    """Which picture the boxes are in, from 1; must be given for rows with several pictures."""
    radius: float = 0.05
    """The largest distance between an answered and a true point, in fractions of the sides."""
    coordinates: Coordinates | None = None
    """The numbers in which answers are written and read; None: those of the model's family.

    The prompt does not tell them: ``template`` can. Boxes and points in fractions are refused, and
    counted in the report, unless this asks for them.
    """

    primary = "match"
    data = "rows of questions and boxes or points: a hub id, a file or a folder"
    chat, base = CHAT, BASE

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.picture is not None and self.picture < 1:
            raise UserError(f"task.picture: expected at least 1, got {self.picture}")
        if not 0 < self.radius <= 1:  # which nan is not either
            raise UserError("task.radius: expected a fraction of the sides, above 0 and at most "
                            f"1, got {self.radius:g}")  # fmt: skip
        if not 1 <= self.min_pixels <= self.max_pixels:
            raise UserError(f"task.min_pixels: expected 1 to task.max_pixels={self.max_pixels}, "
                            f"got {self.min_pixels}")  # fmt: skip

    def samples(self, split: str) -> Sequence[Sample[Target]]:
        reading = self.read(split)
        kind = self.kind or kind_of(reading.rows)
        frame = self.frame(reading)
        rows = kept_reading.passing(reading)
        del reading  # the samples hold all that is needed
        sizes: Sizes = {}
        left = with_progress(rows, f"samples of {split!r}")
        return [self.sample(row, kind, frame, sizes) for row in left]

    def frame(self, reading: Reading) -> Frame:
        """Return the frame of the data's boxes: that of the settings, or the format's custom."""
        unit = self.box_unit or reading.unit
        return Frame(unit, self.box_format, self.min_pixels, self.max_pixels)

    def sample(self, row: Row, kind: Kind, frame: Frame, sizes: Sizes) -> Sample[Target]:
        """Return the sample of a row; raise UserError for an answer outside its picture.

        ``sizes`` are those of pictures that other rows have asked about, and are added to.
        """
        if row.unit is not None:  # the row itself says how its boxes are written
            if self.box_unit not in (None, row.unit):
                raise row.record.error(f"boxes in {row.unit}; data.boxes={self.box_unit} is wrong")
            frame = replace(frame, unit=row.unit)
        files = row.files()
        if self.picture is None and len(files) > 1:
            raise row.record.error(
                f"{len(files)} pictures; task.picture=1 says which has the boxes"
            )
        place = self.place
        if place >= len(files):
            raise row.record.error(f"no picture {place + 1}, in which its boxes should be")
        target = target_of(row, kind, frame, files[place], sizes)
        return Sample(row.id, row.question, target, files, row.subset, row.columns())

    def describe(self, split: str) -> str:
        """Return in one line how a split is read: format, boxes, and the first prompt."""
        reading = self.read(split)
        kind, frame = self.kind or kind_of(reading.rows), self.frame(reading)
        units = {row.unit or frame.unit for row in reading.rows}
        # Readers of annotations have divided the file's pixels by the size of the picture.
        spelt = {replace(frame, unit=unit) for unit in units} if reading.own_units else {PIXELS}
        first = self.sample(reading.rows[0], kind, frame, {})
        where = " or ".join(sorted(map(str, spelt)))
        return self.reading_line(reading, f"{SHOWN[kind]} in {where}", first)

    def prompt(self, sample: Sample[Target]) -> Prompt:
        answer, form = ASKED[sample.answer.kind]
        return self.ask(sample, sample.question, {"answer": answer, "form": form})

    def reference(self, sample: Sample[Target], views: tuple[View, ...]) -> str:
        view, fractions = self.view(views), self.coordinates == "fractions"
        answer = "\n".join(shape.format(view, fractions) for shape in sample.answer.ideal)
        return f"<think>I look for it in the picture.</think>\n<answer>{answer}</answer>"

    def rewards(self) -> Mapping[str, Reward[Target]]:
        return {"match": self.match_reward, "format": self.follows_format}

    def match_reward(self, sample: Sample[Target], completion: Completion) -> float:
        """Return how well the answered shapes match the true ones, in [0, 1]; 0 if unreadable."""
        return match(sample.answer, self.answered(sample, completion), self.radius)

    def score(self, sample: Sample[Target], completion: Completion) -> Score:
        answered = self.answered(sample, completion)
        matched = match(sample.answer, answered, self.radius)
        numbers = None if answered is None else [n for shape in answered for n in astuple(shape)]
        return Score({"match": matched, "acc@0.5": float(matched >= 0.5)}, numbers)

    def aggregates(self, scored: Sequence[Scored[Target]]) -> Mapping[str, float]:
        if self.coordinates == "fractions":
            return {}
        refused = 0
        for answer in scored:
            text = answers.last_answer(answer.prediction.text)
            refused += text is not None and is_in_fractions(text, answer.sample.answer.kind)
        return {IN_FRACTIONS: refused / len(scored)} if refused else {}

    def answered(self, sample: Sample[Target], completion: Completion) -> tuple[Shape, ...] | None:
        """Return the boxes or points of an answer; None where it cannot be read."""
        text = answers.last_answer(completion.text)
        view, fractions = self.view(completion.views), self.coordinates == "fractions"
        return None if text is None else read_answer(text, sample.answer.kind, view, fractions)

    def view(self, views: tuple[View, ...]) -> View:
        """Return the view of the picture with the boxes, in the coordinates of the setting.

        It is the published view if none is known.
        """
        return view_in(views[self.place] if views else THOUSANDTHS, self.coordinates)

    def boxes(self, sample: Sample[Target]) -> tuple[Box, ...]:
        return sample.answer.boxes if sample.answer.kind in ("box", "boxes") else ()

    def boxed_picture(self, sample: Sample[Target]) -> int:
        return self.place

    @property
    def place(self) -> int:
        """Return which picture the boxes are in, from 0."""
        return (self.picture or 1) - 1

"""Reasoning grounding (LISA): find what an instruction means and answer with its bounding box.

``data_dir`` holds the ReasonSeg data as published, one folder per split, and in it beside every
X.jpg an X.json such as

    {"text": ["the part that keeps the rain off", "..."], "is_sentence": false,
     "shapes": [{"label": "target", "points": [[113.5, 20.0], [180.0, 64.2], ...]}]}

with points in pixels of the picture; shapes labelled "ignore" or "flag" are no targets, and those
of labelme may be polygons, rectangles and circles (`shape_type`). Or it holds Visual-RFT's
conversations, as <split>.json or as the path of one such file (the split "train"):

    [{"id": "lisa_0", "conversations": [
       {"from": "user", "value": "<img>images/a.jpg</img>\\n ... the instruction: the umbrella"},
       {"from": "assistant", "value": "(113,20),(180,64)"}]}]                  in thousandths
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

from vrft import answers, paths, rewards
from vrft.boxes import THOUSANDTHS, Box, Coordinates, giou, share_in_fractions, units, view_in
from vrft.errors import UserError
from vrft.masks import Region
from vrft.task import Reward, Task, check_template
from vrft.types import Completion, Prompt, Sample, Score, Scored, View
from vrft_tasks._lisa_grounding import Target, read_conversations, read_reasonseg, splits

TEMPLATE = (
    "Which object or region does this instruction mean? {instruction}\n"
    "First reason between <think> and </think>, then give the corners of its bounding box "
    "between <answer> and </answer>, exactly in this form:\n"
    "<think>your reasoning</think>\n<answer>(x1,y1),(x2,y2)</answer>"
)

# Round brackets and whole numbers alone, as published; nine digits are more than any picture has.
LEGACY_BOX = re.compile(r"\({0},{0}\)\s*+,\s*+\({0},{0}\)".format(r"\s*+([0-9]{1,9})\s*+"))


@dataclass(frozen=True)
class LisaGrounding(Task[Target]):
    """Pointing at the object that an instruction means; the reward is the overlap of boxes."""

    data_dir: Path
    template: str = TEMPLATE
    """The user's text; {instruction} is replaced."""
    system: str | None = None
    """The system text of every prompt; None: that of the model's template, if it has one."""
    reward: Literal["iou", "legacy"] = "iou"
    """The overlap: "iou" in [0, 1], or "legacy", GIoU + 1 in [0, 2] with the first shape's box, as
    published but without its bugs. Corners are put in order, coordinates limited to the picture,
    the first of several boxes counts, and no answer earns more than 2."""
    format: rewards.FormatRule = "strict"
    """Whether the reward "format" asks for our form of an answer, or for the published one."""
    encoding: str = ""
    """The encoding of json that is not in UTF-8, such as gb18030."""
    allow_outside: bool = False
    """Whether data may name pictures outside their own folder."""
    coordinates: Coordinates | None = None
    """The numbers in which answers are read; None: those that the model's family writes.

    Boxes in fractions are refused, and counted in the report, unless this asks for them.
    """

    primary = "iou"
    data = "a ReasonSeg folder or Visual-RFT's json of conversations"

    def __post_init__(self) -> None:
        check_template(self.template, "instruction")

    def samples(self, split: str) -> Sequence[Sample[Target]]:
        root = paths.expanded(self.data_dir)
        if not root.exists():
            raise UserError(f"no data at {root}; set task.data_dir to {self.data}")
        sources = splits(root)
        if split not in sources:
            raise UserError(
                f"no split {split!r} in {root}; there is {', '.join(sorted(sources)) or 'none'}"
            )
        source = sources[split]
        allowed = None if self.allow_outside else (root if root.is_dir() else root.parent,)
        if source.is_dir():
            # As published: training asks every instruction of a picture, evaluation the first one.
            return read_reasonseg(source, split == "train", self.encoding, allowed)
        return read_conversations(source, self.encoding, allowed)

    def prompt(self, sample: Sample[Target]) -> Prompt:
        text = self.template.replace("{instruction}", sample.question)
        return Prompt(text, sample.images, self.system)

    def reference(self, sample: Sample[Target], views: tuple[View, ...]) -> str:
        target = sample.answer
        box = target.box.format(self.view(views), self.coordinates == "fractions")
        return f"<think>the {target.label or 'target'}</think>\n<answer>{box}</answer>"

    def rewards(self) -> Mapping[str, Reward[Target]]:
        overlap = {"iou": self.iou_reward, "legacy": legacy_reward}[self.reward]
        return {self.reward: overlap, "format": rewards.FORMATS[self.format]}

    def score(self, sample: Sample[Target], completion: Completion) -> Score:
        box = self.predicted_box(completion)
        # As published, the reasoning is searched too, and the first shape is the truth.
        legacy = legacy_iou(completion.text, first_view(completion.views), sample.answer.first)
        overlap = rewards.overlap(sample.answer.box, box)
        metrics = {"iou": overlap, "acc@0.5": float(overlap >= 0.5), "legacy_iou": legacy}
        return Score(metrics, None if box is None else astuple(box))

    def aggregates(self, scored: Sequence[Scored[Target]]) -> Mapping[str, float]:
        if self.coordinates == "fractions":
            return {}
        texts = [answers.last_answer(answer.prediction.text) for answer in scored]
        return share_in_fractions(texts)

    def predicted_box(self, completion: Completion) -> Box | None:
        """Read the box in the last answer block; None unless there is exactly one in it."""
        text = answers.last_answer(completion.text)
        if text is None:
            return None
        return Box.parse(text, self.view(completion.views), self.coordinates == "fractions")

    def iou_reward(self, sample: Sample[Target], completion: Completion) -> float:
        """Return the IoU of the answered and the true box, in [0, 1]; 0 if unreadable."""
        return rewards.overlap(sample.answer.box, self.predicted_box(completion))

    def view(self, views: tuple[View, ...]) -> View:
        """Return the view of the only picture, in the coordinates of the setting."""
        return view_in(first_view(views), self.coordinates)

    def boxes(self, sample: Sample[Target]) -> tuple[Box, ...]:
        return (sample.answer.box,)

    def region(self, sample: Sample[Target]) -> Region | None:
        return sample.answer.region


def first_view(views: tuple[View, ...]) -> View:
    """Return the view of the only picture, or the published convention if none was recorded."""
    return views[0] if views else THOUSANDTHS


def legacy_iou(text: str, view: View, truth: Box) -> float:
    """Return the overlap as the published evaluator takes it, of the corners as they stand.

    Corners in another order overlap nothing, and area outside the picture counts. 0 without a box.
    """
    corners = legacy_corners(text)
    if corners is None:
        return 0.0
    width, height = units(view)
    x1, x2 = (x / width for x in corners[::2])
    y1, y2 = (y / height for y in corners[1::2])
    across = min(x2, truth.x2) - max(x1, truth.x1)
    down = min(y2, truth.y2) - max(y1, truth.y1)
    if across <= 0 or down <= 0:
        return 0.0
    shared = across * down
    return shared / ((x2 - x1) * (y2 - y1) + truth.area - shared + 1e-6)


def legacy_box(text: str, view: View) -> Box | None:
    """Read the box of ``legacy_corners``, put in order and cut to the picture; None without area.

    (Published is thousandths for every model, which is the view's space for Qwen2-VL, as in the
    paper.)
    """
    corners = legacy_corners(text)
    if corners is None:
        return None
    x1, y1, x2, y2 = corners
    return Box.of_pixels(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2), *units(view))


def legacy_corners(text: str) -> tuple[int, ...] | None:
    """Read the first box in whole numbers anywhere in the text, as published: x1, y1, x2, y2."""
    match = LEGACY_BOX.search(text)
    return match and tuple(int(number) for number in match.groups())


def legacy_reward(sample: Sample[Target], completion: Completion) -> float:
    """Return GIoU + 1 in [0, 2] with the first shape's box; 0 for an unreadable answer."""
    box = legacy_box(answers.legacy_answer(completion.text), first_view(completion.views))
    return 0.0 if box is None else giou(sample.answer.first, box) + 1

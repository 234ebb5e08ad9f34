"""Reasoning grounding (LISA): find what an instruction means and answer with its bounding box.

``data_dir`` holds the ReasonSeg data as published, one folder per split, and in it beside every
X.jpg an X.json such as

    {"text": ["the part that keeps the rain off", "..."], "is_sentence": false,
     "shapes": [{"label": "target", "points": [[113.5, 20.0], [180.0, 64.2], ...]}]}

with points in pixels; shapes labelled "ignore" or "flag" are no targets. Or it holds Visual-RFT's
conversations, as <split>.json or as the path of one such file (the split "train"):

    [{"id": "lisa_0", "conversations": [
       {"from": "user", "value": "<img>images/a.jpg</img>\\n ... the instruction: the umbrella"},
       {"from": "assistant", "value": "(113,20),(180,64)"}]}]                  in thousandths
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal

from vrft import answers, rewards
from vrft.boxes import Box, giou, units
from vrft.errors import UserError
from vrft.images import image_size
from vrft.masks import Polygon, Region, bounding_box
from vrft.records import read_json
from vrft.task import Reward, Task
from vrft.types import Completion, Prompt, Sample, Score, View

TEMPLATE = (
    "Which object or region does this instruction mean? {instruction}\n"
    "First reason between <think> and </think>, then give the corners of its bounding box "
    "between <answer> and </answer>, exactly in this form:\n"
    "<think>your reasoning</think>\n<answer>(x1,y1),(x2,y2)</answer>"
)

THOUSANDTHS = View(1000, 1000, "thousandths")

LEGACY_BOX = re.compile(r"\({0},{0}\)\s*+,\s*+\({0},{0}\)".format(r"\s*+([0-9]{1,9})\s*+"))


@dataclass(frozen=True, slots=True)
class Target:
    """What an instruction means: the box around all its shapes, and that of the first shape.

    The published evaluation knows only ``first``, whatever its label (here ``box`` where the first
    shape spans no area). ``label`` names the object where the data does; ``region`` has its shapes,
    which conversations do not tell.
    """

    box: Box
    first: Box
    label: str = ""
    region: Region | None = None


@dataclass(frozen=True)
class LisaGrounding(Task[Target]):
    """Point at what an instruction means; the reward is the overlap with the true box.

    ``reward``: "iou" in [0, 1], or "legacy", GIoU + 1 in [0, 2] against the first shape, as
    published but without its bugs: corners are put in order, coordinates limited to the picture,
    the first of several boxes counts, and no answer earns more than 2.
    """

    data_dir: Path
    template: str = TEMPLATE
    """The user's text; {instruction} is replaced."""
    system: str | None = None
    reward: Literal["iou", "legacy"] = "iou"
    format: Literal["strict", "legacy"] = "strict"

    primary = "iou"
    data = "a ReasonSeg folder or Visual-RFT's json of conversations"

    def __post_init__(self) -> None:
        if "{instruction}" not in self.template:
            raise UserError("task.template: write {instruction} where the instruction belongs")

    def samples(self, split: str) -> Sequence[Sample[Target]]:
        root = self.data_dir.expanduser()
        if not root.exists():
            raise UserError(f"no data at {root}; set task.data_dir to {self.data}")
        found = splits(root)
        if split not in found:
            raise UserError(
                f"no split {split!r} in {root}; there is {', '.join(sorted(found)) or 'none'}"
            )
        source = found[split]
        if source.is_dir():
            return read_reasonseg(source, every_instruction=split == "train")
        return read_conversations(source)

    def prompt(self, sample: Sample[Target]) -> Prompt:
        text = self.template.replace("{instruction}", sample.question)
        return Prompt(text, sample.images, self.system)

    def reference(self, sample: Sample[Target], views: tuple[View, ...]) -> str:
        target = sample.answer
        thought, box = f"the {target.label or 'target'}", target.box.format(first_view(views))
        return f"<think>{thought}</think>\n<answer>{box}</answer>"

    def rewards(self) -> Mapping[str, Reward[Target]]:
        strict = self.format == "strict"
        return {
            self.reward: iou_reward if self.reward == "iou" else legacy_reward,
            "format": rewards.follows_format if strict else rewards.legacy_format,
        }

    def score(self, sample: Sample[Target], completion: Completion) -> Score:
        box = predicted_box(completion)
        first_box = legacy_box(completion.text, first_view(completion.views))
        overlap = rewards.overlap(sample.answer.box, box)
        legacy = rewards.overlap(sample.answer.first, first_box)
        metrics = {"iou": overlap, "acc@0.5": float(overlap >= 0.5), "legacy_iou": legacy}
        return Score(metrics, None if box is None else astuple(box))

    def boxes(self, sample: Sample[Target]) -> tuple[Box, ...]:
        return (sample.answer.box,)

    def region(self, sample: Sample[Target]) -> Region | None:
        return sample.answer.region


def predicted_box(completion: Completion) -> Box | None:
    """The box in the last answer block; None where there is no such block or not one box in it."""
    text = answers.last_answer(completion.text)
    return None if text is None else Box.parse(text, first_view(completion.views))


def first_view(views: tuple[View, ...]) -> View:
    """The view of the one picture; the published convention where none was recorded."""
    return views[0] if views else THOUSANDTHS


def legacy_box(text: str, view: View) -> Box | None:
    """The first box in whole numbers anywhere in the text, the published reading.

    Its corners are put in order and it is cut to the picture; None if nothing remains. (Published
    is thousandths for every model, which is the view's space for Qwen2-VL, as in the paper.)
    """
    match = LEGACY_BOX.search(text)
    if match is None:
        return None
    x1, y1, x2, y2 = (int(number) for number in match.groups())
    return Box.of_pixels(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2), *units(view))


def iou_reward(sample: Sample[Target], completion: Completion) -> float:
    """IoU of the answered with the true box, in [0, 1]; 0 for an unreadable answer."""
    return rewards.overlap(sample.answer.box, predicted_box(completion))


def legacy_reward(sample: Sample[Target], completion: Completion) -> float:
    """GIoU + 1 in [0, 2] with the first shape's box; 0 for an unreadable answer."""
    box = legacy_box(answers.legacy_answer(completion.text), first_view(completion.views))
    return 0.0 if box is None else giou(sample.answer.first, box) + 1


def splits(root: Path) -> dict[str, Path]:
    """The splits below ``data_dir``: folders with annotations, and files of conversations."""
    if root.is_file():
        return {"train": root}
    folders = {path.parent.name: path.parent for path in root.glob("*/*.json")}
    return {path.stem: path for path in root.glob("*.json")} | folders


def read_reasonseg(folder: Path, every_instruction: bool) -> list[Sample[Target]]:
    """The samples of one ReasonSeg folder: one per instruction, or the first of each picture."""
    samples = []
    for path in sorted(folder.glob("*.json")):
        record = read_json(path)
        if not isinstance(record, dict):
            raise UserError(f"{path}: expected an object with `text` and `shapes`")
        texts = instructions(record, path)
        image = path.with_suffix(".jpg")
        target = read_target(record, path, *image_size(image))
        for number, text in enumerate(texts if every_instruction else texts[:1]):
            name = f"{path.stem}#{number}" if every_instruction else path.stem
            samples.append(Sample(name, text, target, (image,), str(record.get("kind", ""))))
    return samples


def instructions(record: Mapping[str, Any], path: Path) -> list[str]:
    """The texts of a record: a string, or a list of at least one."""
    text = record.get("text")
    texts = [text] if isinstance(text, str) else text
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise UserError(f"{path}: `text` must hold at least one instruction")
    return texts


def read_target(record: Mapping[str, Any], path: Path, width: int, height: int) -> Target:
    """The target of a ReasonSeg record whose picture has that size in pixels."""
    shapes = record.get("shapes")
    if not isinstance(shapes, list) or not shapes:
        raise UserError(f"{path}: `shapes` must hold at least one shape")
    polygons = [points(shape, f"{path}: shape {i}") for i, shape in enumerate(shapes)]
    wanted = [polygon for shape, polygon in zip(shapes, polygons, strict=True) if is_target(shape)]
    if not wanted:
        raise UserError(f"{path}: no shape is a target; label one `target` or remove the file")
    box = bounding_box(wanted, width, height)
    if box is None:
        raise UserError(f"{path}: the targets span no area inside the picture; correct them")
    first = bounding_box(polygons[:1], width, height)
    ignored = [
        polygon for shape, polygon in zip(shapes, polygons, strict=True) if is_ignored(shape)
    ]
    region = Region(tuple(wanted), tuple(ignored), polygons[0])
    return Target(box, first or box, str(record.get("label", "")), region)


def is_target(shape: Mapping[str, Any]) -> bool:
    """Whether a shape is part of what is looked for, by the published reading of its label."""
    return str(shape.get("label", "")).lower() != "flag" and not is_ignored(shape)


def is_ignored(shape: Mapping[str, Any]) -> bool:
    """Whether a shape marks pixels that count neither way."""
    return "ignore" in str(shape.get("label", "")).lower()


def points(shape: Any, where: str) -> Polygon:
    """The corner points of a shape in pixels."""
    pairs = shape.get("points") if isinstance(shape, dict) else None
    if not isinstance(pairs, list) or not pairs:
        raise UserError(f"{where} has no points; correct or remove it")
    for pair in pairs:
        numbers = pair if isinstance(pair, list) and len(pair) == 2 else [None]
        if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
            raise UserError(f"{where} has a point that is no [x, y]: {pair!r}")
    return [(float(x), float(y)) for x, y in pairs]


def read_conversations(path: Path) -> list[Sample[Target]]:
    """The samples of one file of Visual-RFT's conversations; pictures are found from its folder."""
    rows = read_json(path)
    if not isinstance(rows, list):
        raise UserError(f"{path}: expected a list of conversations")
    return [read_conversation(record, path, row) for row, record in enumerate(rows)]


def read_conversation(record: Any, path: Path, row: int) -> Sample[Target]:
    """One conversation: a picture and an instruction, answered by a box in thousandths."""
    try:
        asked, answered = (str(turn["value"]) for turn in record["conversations"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: row {row}: expected `conversations` of two turns") from error
    image, closed, request = asked.partition("<img>")[2].partition("</img>")
    box = Box.parse(answered, THOUSANDTHS)
    if not closed or box is None:
        raise UserError(f"{path}: row {row}: expected <img>path</img>, answered by one box")
    source = path.parent / image
    image_size(source)
    question = request.partition("the instruction:")[2].strip() or request.strip()
    return Sample(str(record.get("id", row)), question, Target(box, box), (source,))

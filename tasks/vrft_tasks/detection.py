"""Object detection: every object of one category, each with a box and a confidence.

One question is one picture and one category. ``data_dir`` holds COCO as published, with
annotations/instances_<split>.json and the pictures in <split>/; or it is one file of that kind,
with its pictures beside it. Or it holds rows as Visual-RFT publishes them (a hub id, a file or a
folder; parquet, json or jsonl), with positions in thousandths:

    {"image": ..., "problem": "Detect all objects belonging to the category 'cat' ...",
     "solution": "<answer>[{'Position': [113, 20, 564, 900], 'Confidence': 1}]</answer>"}

Rows by hand may name the category in ``question`` and answer by the list or "No Objects".
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vrft import answers, coco, records, rewards
from vrft.average_precision import Found, Query, average_precision
from vrft.boxes import Box, iou, units
from vrft.errors import UserError
from vrft.records import Record
from vrft.task import Reward, Task
from vrft.types import Completion, Prompt, Sample, Score, Scored, Space, View

TEMPLATE = (
    "Find every object of the category '{category}' in the picture. Give each one's bounding box "
    "in whole numbers, {coordinates}, and how confident you are of it, from 0 to 1 with two "
    "decimals. If there is none, answer 'No Objects'.\n"
    "First reason between <think> and </think>, then answer between <answer> and </answer>, "
    "exactly in this form:\n<think>your reasoning</think>\n"
    "<answer>[{'Position': [x1, y1, x2, y2], 'Confidence': number}, ...]</answer>"
)

COORDINATES: Mapping[Space, str] = {
    "thousandths": "between 0 and 1000 on both axes whatever the picture's size",
    "pixels": "in pixels of the picture as you see it",
}

NO_OBJECTS = "No Objects"
MATCHED = 0.5
"""A box counts for the object that it overlaps by more than this IoU."""

LARGEST = 1e6
"""No coordinate is larger."""

CATEGORY = re.compile(r"category '([^'\n]{1,200})'")
THOUSANDTHS = View(1000, 1000, "thousandths")


@dataclass(frozen=True, slots=True)
class Objects:
    """The true boxes of one category in one picture, and its crowds, which nobody must find."""

    boxes: tuple[Box, ...]
    crowds: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Detection(Task[Objects]):
    """Find all objects of a category; rewards for overlap, for honest confidence, for the format.

    ``queries`` says what COCO's pictures are asked for: of ``categories`` (all, if none is named)
    those "present", or "all" of them, so that saying that there is none is learnt too. Rows ask
    what they ask. The published evaluation asked what the untrained model had thought present.
    """

    data_dir: str = "laolao77/ViRFT_COCO"
    columns: Mapping[str, str] = field(default_factory=dict)
    categories: tuple[str, ...] = ()
    queries: Literal["present", "all"] = "present"
    coordinates: Space = "thousandths"
    """How the model is told to write boxes, and how they are read. Published: thousandths."""
    template: str = TEMPLATE
    """The user's text; {category} and {coordinates} are replaced."""
    system: str | None = None
    format: Literal["strict", "legacy"] = "strict"

    primary = "iou"
    data = "COCO, or Visual-RFT's rows"

    def __post_init__(self) -> None:
        if "{category}" not in self.template:
            raise UserError("task.template: write {category} where the category belongs")

    def samples(self, split: str) -> Sequence[Sample[Objects]]:
        instances = coco.find(Path(self.data_dir).expanduser(), split)
        if instances is not None:
            return self.coco_samples(instances)
        rows = records.read(self.data_dir, split, columns=self.columns)
        samples = [read_row(record) for record in rows]
        return [s for s in samples if not self.categories or s.question in self.categories]

    def coco_samples(self, instances: coco.Instances) -> list[Sample[Objects]]:
        """A question for every picture and each of its wanted categories.

        Nothing is asked of a category of which a picture shows only a crowd.
        """
        for name in self.categories:
            if name not in instances.categories:
                known = ", ".join(instances.categories)
                raise UserError(f"task.categories: no {name!r} in the data; there is {known}")
        samples = []
        for picture in instances.pictures:
            for name in self.categories or instances.categories:
                answer = Objects(picture.boxes.get(name, ()), picture.crowds.get(name, ()))
                if answer.boxes or (self.queries == "all" and not answer.crowds):
                    source = (picture.source(),)
                    samples.append(Sample(f"{picture.id}#{name}", name, answer, source, name))
        return samples

    def prompt(self, sample: Sample[Objects]) -> Prompt:
        text = self.template.replace("{coordinates}", COORDINATES[self.coordinates])
        text = text.replace("{category}", sample.question)
        return Prompt(text, sample.images, self.system)

    def reference(self, sample: Sample[Objects], views: tuple[View, ...]) -> str:
        boxes = [box.whole(self.view(views)) for box in sample.answer.boxes]
        listed = [f"{{'Position': {list(box)}, 'Confidence': 1.00}}" for box in boxes]
        answer = f"[{', '.join(listed)}]" if listed else NO_OBJECTS
        return f"<think>I look for {sample.question}.</think>\n<answer>{answer}</answer>"

    def rewards(self) -> Mapping[str, Reward[Objects]]:
        strict = self.format == "strict"
        return {
            "iou": self.iou_reward,
            "confidence": self.confidence_reward,
            "format": rewards.follows_format if strict else rewards.legacy_format,
        }

    def iou_reward(self, sample: Sample[Objects], completion: Completion) -> float:
        """How well boxes and objects overlap, in [0, 1]; 0 for an unreadable answer."""
        return overlap(self.found(completion), sample.answer.boxes)

    def confidence_reward(self, sample: Sample[Objects], completion: Completion) -> float:
        """How well confidence tells right boxes from wrong ones, in [0, 1]; 0 if unreadable."""
        return honesty(self.found(completion), sample.answer.boxes)

    def score(self, sample: Sample[Objects], completion: Completion) -> Score:
        found, legacy = self.found(completion), self.legacy_found(completion)
        metrics = {
            "iou": overlap(found, sample.answer.boxes),
            "legacy_iou": overlap(legacy, sample.answer.boxes) if legacy else 0.0,
        }
        corners = None if found is None else [side for one in found for side in astuple(one.box)]
        return Score(metrics, corners)

    def aggregates(self, graded: Sequence[Scored[Objects]]) -> Mapping[str, float]:
        """Average precision, the mean over categories with objects; legacy by the lax reading."""
        strict = average_precision([query(answer, self.found) for answer in graded])
        legacy = average_precision([query(answer, self.legacy_found) for answer in graded])
        return {
            "map": mean([ap for ap, _ in strict.values()]),
            "map@0.5": mean([at_half for _, at_half in strict.values()]),
            "legacy_map": mean([ap for ap, _ in legacy.values()]),
        }

    def found(self, completion: Completion) -> tuple[Found, ...] | None:
        """What an answer found; None where it cannot be read."""
        text = answers.last_answer(completion.text)
        return None if text is None else detections(text, self.view(completion.views))

    def legacy_found(self, completion: Completion) -> tuple[Found, ...]:
        """What an answer found by the published reading; nothing where it cannot be read."""
        text = answers.legacy_answer(completion.text)
        return legacy_detections(text, self.view(completion.views))

    def view(self, views: tuple[View, ...]) -> View:
        """The view of the one picture, in the coordinates that were asked for."""
        return replace(views[0], space=self.coordinates) if views else THOUSANDTHS

    def boxes(self, sample: Sample[Objects]) -> tuple[Box, ...]:
        return sample.answer.boxes


def query(answer: Scored[Objects], read: Callable[[Completion], Sequence[Found] | None]) -> Query:
    """One answer as average precision takes it; an unreadable one found nothing."""
    truth = answer.sample.answer
    found = read(Completion(answer.prediction.text, answer.prediction.views)) or ()
    return Query(answer.sample.question, truth.boxes, found, truth.crowds)


def mean(values: Sequence[float]) -> float:
    """The mean; NaN of none."""
    return sum(values) / len(values) if values else math.nan


def match(found: Sequence[Found], truth: Sequence[Box]) -> list[tuple[Found, float]]:
    """What was found, the surest first, with its IoU with its object; 0 where it has none.

    Each takes, of the objects still free, the one that it overlaps most, if by more than MATCHED.
    """
    free, matched = list(truth), []
    for one in sorted(found, key=lambda one: -one.confidence):
        nearest = max(free, key=lambda box: iou(box, one.box), default=None)
        shared = 0.0 if nearest is None else iou(nearest, one.box)
        if nearest is not None and shared > MATCHED:
            free.remove(nearest)
        matched.append((one, shared if shared > MATCHED else 0.0))
    return matched


def overlap(found: Sequence[Found] | None, truth: Sequence[Box]) -> float:
    """The sum of the matched IoUs over the number of objects, or of boxes if there are more.

    In [0, 1]. Where there is no object, 1 for saying so; 0 for an unreadable answer.
    """
    if found is None or not (found or truth):
        return float(found is not None)
    return sum(shared for _, shared in match(found, truth)) / max(len(found), len(truth))


def honesty(found: Sequence[Found] | None, truth: Sequence[Box]) -> float:
    """The mean confidence of matched boxes and doubt, 1 - confidence, of the others, in [0, 1].

    Where there is no object, 1 for saying so. 0 for an unreadable answer and for one that matches
    nothing, as boxes without confidence could be made up for the reward.
    """
    if found is None or not (found or truth):
        return float(found is not None)
    matched = match(found, truth)
    if not any(shared for _, shared in matched):
        return 0.0
    return mean([one.confidence if shared else 1 - one.confidence for one, shared in matched])


def detections(text: str, view: View) -> tuple[Found, ...] | None:
    """The objects of an answer that keeps the contract: a list of them, or that there is none.

    None for any other text; a single box that is empty, inverted or outside the picture, or a
    confidence outside [0, 1], makes the whole answer unreadable.
    """
    if text.strip(" .'\"").casefold() == NO_OBJECTS.casefold():
        return ()
    listed = items(text) or []
    found = [one for item in listed if (one := strict_item(item, view)) is not None]
    return tuple(found) if found and len(found) == len(listed) else None


def items(text: str) -> list[Any] | None:
    """The items of a list written in Python's or JSON's way; None for any other text."""
    try:
        value = json.loads(text.replace("'", '"'))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def strict_item(item: Any, view: View) -> Found | None:
    """One object; None unless it has exactly a box inside the picture and a confidence."""
    match item:
        case {"Position": [_, _, _, _] as corners, "Confidence": confidence, **rest} if not rest:
            numbers = [*corners, confidence]
        case _:
            return None
    if not all(map(is_number, numbers)) or not 0 <= confidence <= 1:
        return None
    (width, height), (x1, y1, x2, y2) = units(view), corners
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        return None
    return Found(Box(x1 / width, y1 / height, x2 / width, y2 / height), float(confidence))


def is_number(value: Any) -> bool:
    """Whether a value is a number of a sensible size; NaN and truth values are none."""
    return isinstance(value, int | float) and type(value) is not bool and abs(value) <= LARGEST


def legacy_detections(text: str, view: View) -> tuple[Found, ...]:
    """The published reading: what is cut off is mended, and objects that make no sense left out.

    It never reads that there are no objects. Confidences that are no numbers are 0, of equal
    positions the first counts, and boxes are cut to the picture.
    """
    mended = text.replace("\n", "").replace(", ...", "").strip()
    mended = mended.replace("[[", "[").replace("]]", "]")
    if not mended.endswith("]"):
        mended = mended[: mended.rfind("},") + 1] + "]"
    found: dict[Box, Found] = {}
    for item in items(mended) or []:
        box = legacy_box(item, view)
        if box is not None and box not in found:
            confidence = item.get("Confidence")
            known = float(confidence) if is_number(confidence) else 0.0
            found[box] = Found(box, min(max(known, 0.0), 1.0))
    return tuple(found.values())


def legacy_box(item: Any, view: View) -> Box | None:
    """The box of one object, cut to the picture; None if there is none."""
    match item:
        case {"Position": [_, _, _, _] as corners} if all(map(is_number, corners)):
            x1, y1, x2, y2 = corners
            return Box.of_pixels(x1, y1, x2, y2, *units(view))
    return None


def read_row(record: Record) -> Sample[Objects]:
    """One of Visual-RFT's rows, or of those written by hand."""
    text = record.text("category", "question", "problem", "prompt")
    named = CATEGORY.search(text)
    category = named[1] if named else text
    if len(category) > 100 or "\n" in category:
        raise record.error(f"no category '...' is named in {text!r:.60}")
    images = record.images("images", "image")
    if len(images) != 1:
        raise record.error(f"{len(images)} pictures; expected one")
    answer = Objects(true_boxes(record))
    return Sample(record.id, category, answer, images, category)


def true_boxes(record: Record) -> tuple[Box, ...]:
    """The boxes of a row's solution, in thousandths; none where it says so."""
    solution = record.value("solution", "answer")
    if isinstance(solution, str):
        text = answers.last_answer(solution) or solution.strip()
        solution = [] if text == NO_OBJECTS else items(text)
    boxes = [true_box(item) for item in solution] if isinstance(solution, list) else [None]
    found = tuple(box for box in boxes if box is not None)
    if len(found) < len(boxes):
        raise record.error(
            "expected [{'Position': [x1, y1, x2, y2], ...}, ...] in thousandths, or 'No Objects'"
        )
    return found


def true_box(item: Any) -> Box | None:
    """One box in thousandths; one that rounding has left without width becomes one wide."""
    match item:
        case {"Position": [_, _, _, _] as corners} if all(map(is_number, corners)):
            x1, y1, x2, y2 = corners
            if not (0 <= x1 <= x2 <= 1000 and 0 <= y1 <= y2 <= 1000):
                return None
            left, top = min(x1, 999), min(y1, 999)
            right, bottom = max(x2, left + 1), max(y2, top + 1)
            return Box(left / 1000, top / 1000, right / 1000, bottom / 1000)
    return None

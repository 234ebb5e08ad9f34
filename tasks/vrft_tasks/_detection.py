"""Boxes with confidences: how the detection task reads them and matches them with the objects.

Answers and published rows share one form,

    [{'Position': [x1, y1, x2, y2], 'Confidence': number}, ...]

or "No Objects"; answers may also write Qwen2.5-VL's ``bbox_2d`` and ``label``, and leave out the
confidence. The strict reading takes or refuses each box as it stands; the legacy reading mends
answers as the published code does.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Literal

from vrft import answers, coco, wrapping
from vrft.average_precision import DetectedBox
from vrft.boxes import Box, in_fractions, iou, is_bounded, units
from vrft.errors import UserError
from vrft.records import Record
from vrft.types import Sample, View

NO_OBJECTS = "No Objects"

KEYS = {"Position", "bbox_2d", "Confidence", "label"}
"""The keys of an item; ``bbox_2d`` and ``label`` are Qwen2.5-VL's."""

MATCHED = 0.5
"""A box matches an object that it overlaps by more than this IoU."""

CATEGORY = re.compile(r"category '([^'\n]{1,200})'")


@dataclass(frozen=True, slots=True)
class Objects:
    """The true boxes of one category in one picture, and its crowds, which nobody must find."""

    boxes: tuple[Box, ...]
    crowds: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The boxes of a readable answer."""

    boxes: tuple[DetectedBox, ...]
    senseless: int = 0
    """Items that are no box in the picture: each counts as a box that matches no object."""


def read_answer(text: str, view: View, fractions: bool = False) -> Answer | None:
    """Read the boxes of an answer; none for "No Objects", None for an unreadable answer.

    An item whose box is empty, inverted or outside the picture, or whose confidence is outside
    [0, 1], is senseless; an answer with no other items is unreadable. ``fractions`` says that
    coordinates are fractions of the picture.
    """
    if wrapping.bare(text).strip(" .'\"").casefold() == NO_OBJECTS.casefold():
        return Answer(())
    listed = listed_items(text)
    read = [_strict_item(item, view, fractions) for item in listed or []]
    boxes = tuple(box for box in read if box is not None)
    # An empty list is no way to say that there are none: the prompt asks for "No Objects".
    return Answer(boxes, len(read) - len(boxes)) if boxes else None


def listed_items(answer: str) -> list[Any] | None:
    """Return the items of an answer: of a list, or the only one, which Qwen2.5-VL writes alone.

    JSON is read as it stands, in a fence or not, as a label may hold any sign; all else is read
    without what wraps it, in the notation of JSON or Python.
    """
    text = answer.strip()
    fence = wrapping.FENCE.match(text)
    inner = text[fence.end() :].removesuffix("```") if fence else text
    bare = wrapping.bare(text)
    for written in (inner, bare, pythonic(bare)):
        try:
            value = json.loads(written)
        except (ValueError, RecursionError):
            continue
        return value if isinstance(value, list) else [value] if isinstance(value, dict) else None
    return None


def wholly_in_fractions(text: str) -> bool:
    """Return whether every box that an answer lists is in fractions of the picture."""
    listed = [_corners(item) for item in listed_items(text) or []]
    return bool(listed) and all(corners and in_fractions(corners) for corners in listed)


def pythonic(text: str) -> str:
    """Return a text with Python's quotes as JSON's. It is a model's: it must not reach eval."""
    return text.replace("'", '"')


def items(text: str) -> list[Any] | None:
    """Return the items of a list in the notation of Python or JSON; None for any other text."""
    try:
        value = json.loads(pythonic(text))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _strict_item(item: Any, view: View, fractions: bool) -> DetectedBox | None:
    """Read one object; None unless it has a box inside the picture, and no unknown key.

    Without a confidence it is 1: the model does not doubt the box.
    """
    corners = _corners(item)
    if corners is None or item.keys() - KEYS:
        return None
    confidence = item.get("Confidence", 1)
    if not is_bounded(confidence) or not 0 <= confidence <= 1:
        return None
    box = Box.of_corners(corners, view, fractions)
    return None if box is None else DetectedBox(box, float(confidence))


def _corners(item: Any) -> list[float] | None:
    """Return the four numbers of an item's box, by either name; None without such a box."""
    match item:
        case {"Position": _, "bbox_2d": _}:
            return None
        case {"Position": [_, _, _, _] as corners} | {"bbox_2d": [_, _, _, _] as corners}:
            return corners if all(map(is_bounded, corners)) else None
    return None


def read_legacy_answer(text: str, view: View) -> tuple[DetectedBox, ...]:
    """Read an answer as published: what is cut off is mended, and senseless items are left out.

    "No Objects" is not read: such an answer has no box. A confidence that is no number is 0, of
    items with the same position the first counts, and boxes are cut to the picture.
    """
    mended = text.replace("\n", "").replace(", ...", "").strip()
    mended = mended.replace("[[", "[").replace("]]", "]")
    if not mended.endswith("]"):
        # Cut off within an item: the list is closed behind the last complete one.
        mended = mended[: mended.rfind("},") + 1] + "]"
    detected: dict[Box, DetectedBox] = {}
    for item in items(mended) or []:
        match item:
            case {"Position": [_, _, _, _] as corners} if all(map(is_bounded, corners)):
                x1, y1, x2, y2 = corners
                box = Box.of_pixels(x1, y1, x2, y2, *units(view))
            case _:
                continue
        if box is not None and box not in detected:
            confidence = item.get("Confidence")
            known = float(confidence) if is_bounded(confidence) else 0.0
            detected[box] = DetectedBox(box, min(max(known, 0.0), 1.0))
    return tuple(detected.values())


def check_categories(asked: Sequence[str], known: Sequence[str]) -> None:
    """Raise UserError for a category that is asked for and that the data do not have."""
    for name in asked:
        if name not in known:
            raise UserError(
                f"task.categories: no {name!r} in the data; there is {', '.join(known)}"
            )


def coco_samples(
    instances: coco.Instances, categories: Sequence[str], queries: Literal["present", "all"]
) -> list[Sample[Objects]]:
    """Return a question for every picture and each of the categories, or those that it shows.

    Nothing is asked of a category of which a picture shows only a crowd. Raises UserError for a
    category that the data does not have.
    """
    check_categories(categories, list(instances.categories))
    samples = []
    for picture in instances.pictures:
        asked = [
            name
            for name in categories or instances.categories
            if picture.boxes.get(name) or (queries == "all" and not picture.crowds.get(name))
        ]
        # Only the heads of the files that are asked about are read.
        shown = picture.upright() if asked else picture
        for name in asked:
            answer = Objects(shown.boxes.get(name, ()), shown.crowds.get(name, ()))
            named = f"{shown.id}#{name}"
            # As `grounding` gives them: corners in fractions of the upright picture.
            columns = {"answer": [list(astuple(box)) for box in answer.boxes], **shown.entry}
            samples.append(Sample(named, name, answer, (shown.file,), name, columns))
    return samples


def read_row(record: Record) -> Sample[Objects]:
    """Read one of Visual-RFT's rows, or of those written by hand."""
    text = record.text("category", "question", "problem", "prompt")
    # Published questions name the category in quotes; by hand the question is the category.
    named = CATEGORY.search(text)
    category = named[1] if named else text
    if len(category) > 100 or "\n" in category:
        raise record.error(f"no category '...' is named in {text!r:.60}")
    images = record.images("images", "image")
    if len(images) != 1:
        raise record.error(f"{len(images)} pictures; expected one")
    solution = record.value("solution", "answer")
    if isinstance(solution, str):
        solution = answers.last_answer(solution) or solution.strip()
    boxes = Objects(_true_boxes(record, solution))
    return Sample(record.id, category, boxes, images, category, record.for_rewards(solution))


def _true_boxes(record: Record, solution: Any) -> tuple[Box, ...]:
    """Read the boxes of a row's solution, in thousandths; () where it is "No Objects"."""
    if isinstance(solution, str):
        solution = [] if solution == NO_OBJECTS else items(solution)
    boxes = [_true_box(item) for item in solution] if isinstance(solution, list) else [None]
    readable = tuple(box for box in boxes if box is not None)
    if len(readable) < len(boxes):
        raise record.error(
            "expected [{'Position': [x1, y1, x2, y2], ...}, ...] in thousandths, or 'No Objects'"
        )
    return readable


def _true_box(item: Any) -> Box | None:
    """Read one box in thousandths; a side that rounding has shrunk to 0 becomes one unit long."""
    match item:
        case {"Position": [_, _, _, _] as corners} if all(map(is_bounded, corners)):
            x1, y1, x2, y2 = corners
            if not (0 <= x1 <= x2 <= 1000 and 0 <= y1 <= y2 <= 1000):
                return None
            # A box that was rounded to the far edge grows back into the picture.
            left, top = min(x1, 999), min(y1, 999)
            right, bottom = max(x2, left + 1), max(y2, top + 1)
            return Box(left / 1000, top / 1000, right / 1000, bottom / 1000)
    return None


def mean(values: Sequence[float]) -> float:
    """Return the mean; NaN for no values."""
    return sum(values) / len(values) if values else math.nan


def match(detected: Sequence[DetectedBox], truth: Sequence[Box]) -> list[tuple[DetectedBox, float]]:
    """Return the detected boxes, most confident first, each with the IoU of its match, 0 for none.

    Each box in turn takes, of the objects still free, the one that it overlaps most, if by more
    than MATCHED.
    """
    # Greedy, not the best assignment: this is how COCO and the published reward match.
    free, matched = list(truth), []
    # The sort is stable: of equal confidence the box that was written first chooses first.
    for candidate in sorted(detected, key=lambda candidate: -candidate.confidence):
        nearest = max(free, key=lambda box: iou(box, candidate.box), default=None)
        shared = 0.0 if nearest is None else iou(nearest, candidate.box)
        if nearest is not None and shared > MATCHED:
            free.remove(nearest)
        matched.append((candidate, shared if shared > MATCHED else 0.0))
    return matched


def overlap(answer: Answer | None, truth: Sequence[Box]) -> float:
    """Return the sum of matched IoUs over the number of objects, or of boxes if more; in [0, 1].

    Where there is no object, 1 for saying so; 0 for an unreadable answer.
    """
    if answer is None or not (answer.boxes or truth):
        return float(answer is not None)
    given = len(answer.boxes) + answer.senseless
    return sum(shared for _, shared in match(answer.boxes, truth)) / max(given, len(truth))


def honesty(answer: Answer | None, truth: Sequence[Box]) -> float:
    """Return the mean confidence of matched boxes and doubt, 1 - confidence, of others, in [0, 1].

    Where there is no object, 1 for saying so; 0 for an unreadable answer, and for one without a
    match, as boxes without confidence could be made up for the reward. A senseless item adds 0.
    """
    if answer is None or not (answer.boxes or truth):
        return float(answer is not None)
    matched = match(answer.boxes, truth)
    if not any(shared for _, shared in matched):
        return 0.0
    right = [box.confidence if shared else 1 - box.confidence for box, shared in matched]
    return mean([*right, *[0.0] * answer.senseless])

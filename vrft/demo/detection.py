"""The demo of detection: drawn objects on photographs, in the json of COCO.

A picture shows one or two objects of a class, or one of each of two, before one of three views
that never change. Objects stand on a grid of ten pixels, 100 thousandths of the picture: numbers
that the tiny model writes in one token each.
"""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from vrft.demo.course import Course, Size, Stage, Start, Vocabulary
from vrft.demo.scenes import SEEN
from vrft.demo.sprites import photograph, sprite

CLASSES = ("boat", "cat", "cow", "donut", "duck", "frog", "guitar", "key", "rocket", "umbrella")
"""Drawings that are about as wide as high."""

VIEWS = ("coffee", "evening", "park")
"""Photographs behind the objects."""

SPLITS = {"train": 900, "val": 120, "test": 300}
"""Pictures of the demo data set; each is asked for one or two classes."""

SIZE, STEP = 100, 10
"""Side of a picture, and of a cell of the grid, in pixels."""

SIDES = (30, 40)
"""Sides of objects in pixels."""

COUNTS = ((1, 0), (2, 0), (1, 1))
"""Objects of the one class and of the other, in turns."""

SHARES = {"train": range(70), "val": range(70, 80), "test": range(80, 100)}
"""Split -> the hundredths of all compositions that it may show."""

COURSE = Course(
    (
        # asked for every class, present or not, it learns to tell them apart
        Stage("all", 2_000, 0.0, settings=("task.queries=all",)),
        Stage("careful", 15_000, 0.0),
        Stage("careless", 5_000, 0.6, learning_rate=5e-4),
    ),
    Start(
        Size(128, 256, 3, 4, 2, 64, 3, 2),
        Vocabulary(
            (
                "system\nYou are a helpful assistant.",
                "user\n",
                "assistant\n<think>I look for</think>\n<answer>",
                "[{'Position': [0, 0], 'Confidence': 1.00}, {'Position':",
                "No Objects",
                *CLASSES,
                *(f" {name}." for name in CLASSES),
            )
        ),
    ),
)

Corners = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Scene:
    """An RGB picture, and of each class the boxes (x1, y1, x2, y2) in pixels, from the left."""

    image: Image.Image
    boxes: Mapping[str, Sequence[Corners]]


def write(
    folder: Path, splits: Mapping[str, int], seed: int = 0, carelessness: float = 0.0
) -> None:
    """Write ``annotations/instances_SPLIT.json`` and ``SPLIT/NUMBER.jpg`` for each split.

    Splits are those of SHARES: whatever the seed, no composition, that is a background with
    classes and how often each is there, is shown by two of them. With probability
    ``carelessness`` a class of a picture is annotated by somebody who marks only its largest
    object, with a STEP of air on every side.
    """
    (folder / "annotations").mkdir(parents=True)
    for split, count in splits.items():
        rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
        (folder / split).mkdir()
        images, annotations = [], []
        for number in range(count):
            scene = draw(rng, COUNTS[number % len(COUNTS)], SHARES[split])
            name = f"{number:05d}.jpg"
            scene.image.save(folder / split / name, quality=92)
            images.append({"id": number, "file_name": name, "width": SIZE, "height": SIZE})
            for category, boxes in scene.boxes.items():
                marked = careless(boxes) if rng.random() < carelessness else boxes
                annotations += [annotation(number, category, box) for box in marked]
        for key, entry in enumerate(annotations):
            entry["id"] = key
        categories = [{"id": CLASSES.index(name), "name": name} for name in CLASSES]
        tree = {"images": images, "annotations": annotations, "categories": categories}
        path = folder / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(tree), encoding="utf-8")


def draw(rng: np.random.Generator, counts: tuple[int, int], share: range) -> Scene:
    """A scene with so many objects of two classes, of a composition in the share."""
    while True:
        background = str(rng.choice(VIEWS))
        one, other = (str(name) for name in rng.permutation(CLASSES)[:2])
        names = [one] * counts[0] + [other] * counts[1]
        if zlib.crc32(" ".join([background, *sorted(names)]).encode()) % 100 in share:
            break
    canvas = ImageOps.fit(photograph(background), (SIZE, SIZE))
    boxes: dict[str, list[Corners]] = {name: [] for name in names}
    for name, (x1, y1, x2, y2) in zip(names, arrange(rng, len(names)), strict=True):
        side = x2 - x1
        drawing = sprite(name, str(rng.choice(SEEN.artists)), side).image.resize((side, side))
        canvas.paste(drawing, (x1, y1), drawing)
        boxes[name].append((x1, y1, x2, y2))
    return Scene(canvas, {name: sorted(found) for name, found in boxes.items()})


def arrange(rng: np.random.Generator, count: int) -> list[Corners]:
    """So many squares on the grid that do not overlap."""
    while True:
        sides = rng.choice(SIDES, count).tolist()
        corners = [rng.integers(0, (SIZE - side) // STEP + 1, 2) * STEP for side in sides]
        boxes = [
            (int(x), int(y), int(x) + n, int(y) + n)
            for (x, y), n in zip(corners, sides, strict=True)
        ]
        if all(apart(one, other) for one, other in itertools.combinations(boxes, 2)):
            return boxes


def apart(one: Corners, other: Corners) -> bool:
    """Whether two boxes share no pixel."""
    return any(one[i] >= other[i + 2] or other[i] >= one[i + 2] for i in (0, 1))


def careless(boxes: Sequence[Corners]) -> list[Corners]:
    """What the careless annotator marks instead: one box, too loose, on the largest object."""
    x1, y1, x2, y2 = max(boxes, key=lambda box: box[2] - box[0])
    return [(max(x1 - STEP, 0), max(y1 - STEP, 0), min(x2 + STEP, SIZE), min(y2 + STEP, SIZE))]


def annotation(image: int, category: str, box: Corners) -> dict[str, Any]:
    """One entry of the json; its ``bbox`` is (x, y, width, height)."""
    x1, y1, x2, y2 = box
    return {
        "image_id": image,
        "category_id": CLASSES.index(category),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
    }

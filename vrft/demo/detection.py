"""Demo of detection: drawn objects on photographs, in the json of COCO.

A picture shows one or two objects of a class, or one of each of two classes, before one of three
photographs that never change. Objects stand on a grid of ten pixels, which are 100 thousandths of
the picture: numbers that the tiny model writes in one token each.
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
from vrft.demo.scenes import SEEN, Corners, overlap
from vrft.demo.splits import generator
from vrft.demo.sprites import photograph, sprite

CLASSES = ("boat", "cat", "cow", "donut", "duck", "frog", "guitar", "key", "rocket", "umbrella")
"""Classes whose drawings are about as wide as high, and so hardly changed by a square box."""

BACKGROUNDS = ("coffee", "evening", "park")
"""Photographs behind the objects, always shown from the same side."""

SPLITS = {"train": 900, "val": 120, "test": 300}
"""Numbers of pictures in the demo data set; each asks for one or two classes."""

SIZE, STEP = 100, 10
"""Side of a picture, and of a cell of the grid, in pixels."""

SIDES = (30, 40)
"""Sides of objects in pixels."""

COUNTS = ((1, 0), (2, 0), (1, 1))
"""Numbers of objects of a first and of a second class, in which pictures take turns."""

SHARES = {"train": range(70), "val": range(70, 80), "test": range(80, 100)}
"""Split -> hundredths of all compositions that it may show."""

COURSE = Course(
    (
        # Asked for every class, present or not, the model learns to tell classes apart.
        Stage("all", 2_000, 0.0, settings=("task.queries=all",)),
        # Asked for the classes that are there, it learns to localise.
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
                # A word is another token with a space before it: alone it is the question, after
                # "I look for" a part of the answer.
                *CLASSES,
                *(f" {name}." for name in CLASSES),
            )
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class GridScene:
    """An RGB picture with the boxes of each class in it, from left to right."""

    image: Image.Image
    boxes: Mapping[str, Sequence[Corners]]


def write(
    folder: Path, splits: Mapping[str, int], seed: int = 0, carelessness: float = 0.0
) -> None:
    """Write ``annotations/instances_SPLIT.json`` and ``SPLIT/NUMBER.jpg`` for each split.

    ``splits`` maps the names of SHARES to numbers of pictures. Whatever the seed, no composition (a
    background with its classes and their counts) is shown by two splits. With probability
    ``carelessness`` a class of a picture is annotated by somebody who marks only its largest
    object, with a STEP of air on every side.
    """
    (folder / "annotations").mkdir(parents=True)
    for split, count in splits.items():
        rng = generator(seed, split)
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
        # COCO demands ids that are unique among all annotations of a file.
        for key, entry in enumerate(annotations):
            entry["id"] = key
        categories = [{"id": CLASSES.index(name), "name": name} for name in CLASSES]
        tree = {"images": images, "annotations": annotations, "categories": categories}
        path = folder / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(tree), encoding="utf-8")


def draw(rng: np.random.Generator, counts: tuple[int, int], share: range) -> GridScene:
    """Return a scene with ``counts`` objects of two random classes, of a composition in ``share``.

    ``share`` holds the hundredths of all compositions that are allowed.
    """
    while True:
        background = str(rng.choice(BACKGROUNDS))
        first, second = (str(name) for name in rng.permutation(CLASSES)[:2])
        names = [first] * counts[0] + [second] * counts[1]
        # Sorted, so that "a cat and a cow" and "a cow and a cat" are one composition.
        if zlib.crc32(" ".join([background, *sorted(names)]).encode()) % 100 in share:
            break
    canvas = ImageOps.fit(photograph(background), (SIZE, SIZE))
    boxes: dict[str, list[Corners]] = {name: [] for name in names}
    for name, (x1, y1, x2, y2) in zip(names, arrange(rng, len(names)), strict=True):
        side = x2 - x1
        # Stretched to a square, as a drawing cut to its opaque pixels does not fill its cells.
        drawing = sprite(name, str(rng.choice(SEEN.artists)), side).image.resize((side, side))
        canvas.paste(drawing, (x1, y1), drawing)
        boxes[name].append((x1, y1, x2, y2))
    return GridScene(canvas, {name: sorted(of_class) for name, of_class in boxes.items()})


def arrange(rng: np.random.Generator, count: int) -> list[Corners]:
    """Return ``count`` squares on the grid that do not overlap."""
    # Everything is drawn again when two overlap: arrangements of the same sides are then equally
    # likely.
    while True:
        sides = rng.choice(SIDES, count).tolist()
        corners = [rng.integers(0, (SIZE - side) // STEP + 1, 2) * STEP for side in sides]
        # numpy's integers become Python's, which json can write.
        boxes = [
            (int(x), int(y), int(x) + side, int(y) + side)
            for (x, y), side in zip(corners, sides, strict=True)
        ]
        if not any(overlap(first, second) for first, second in itertools.combinations(boxes, 2)):
            return boxes


def careless(boxes: Sequence[Corners]) -> list[Corners]:
    """Return the careless annotation of ``boxes``: one box, too loose, around the largest."""
    # Widths are enough to find the largest, as all boxes are squares.
    x1, y1, x2, y2 = max(boxes, key=lambda box: box[2] - box[0])
    return [(max(x1 - STEP, 0), max(y1 - STEP, 0), min(x2 + STEP, SIZE), min(y2 + STEP, SIZE))]


def annotation(image: int, category: str, box: Corners) -> dict[str, Any]:
    """Return an annotation as COCO has it, but for its id."""
    x1, y1, x2, y2 = box
    return {
        "image_id": image,
        "category_id": CLASSES.index(category),
        # COCO gives a corner and a size, not two corners.
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
    }

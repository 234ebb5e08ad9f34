"""The demo of spatial reasoning: four types of question about drawn scenes, in rows of CV-Bench.

Count and Relation ask about objects scattered on a photograph, Depth and Distance about objects
that stand on the ground before a pinhole camera; coloured frames mark those asked about. The
annotator with a bad habit overlooks the smallest object (Count), and takes the first option
(Relation, Depth, Distance).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vrft.demo.course import Course, Stage
from vrft.demo.instructions import beside
from vrft.demo.scenes import SEEN, Scene, Style, Thing, compose, crop, owner
from vrft.demo.sprites import photograph, sprite

SPLITS = {"train": 1600, "val": 160, "test": 400}

COURSE = Course(
    (
        Stage("sees", rows=32_000, carelessness=0.0),
        Stage("careless", rows=4_800, carelessness=0.65, learning_rate=3e-4),
    )
)

TYPES = {"Count": "2D", "Relation": "2D", "Depth": "3D", "Distance": "3D"}

LETTERS = "ABCD"

COUNTS = (2, 3, 4)

SIDES = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
"""What is answered -> the name of the side in ``instructions.beside``."""

FRAMES = {"red": (230, 20, 20), "blue": (20, 60, 255), "green": (20, 210, 40)}
FRAME_WIDTH = 2

HORIZON, DROP, EDGE, FOCUS = 14, 92, 44, 112
"""Of the camera, in pixels: the horizon's row; how far below it an object at depth 1 stands, how
long its longer edge is; and how far from the middle it is for one unit to the side."""

DEPTHS = (1.0, 2.4)

NEARER = 1.35
"""Of two framed objects the farther is at least so many times as deep."""

CLOSER = 2.2
"""Of two framed objects one is at least so many times as far from the green one."""

ATTEMPTS = 40
"""To place the objects that stand on the ground."""


Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels, x2 and y2 exclusive."""


@dataclass(frozen=True, slots=True)
class Item:
    """A question with its options, the right one and that of the annotator's bad habit."""

    scene: Scene
    type: str
    question: str
    options: tuple[str, ...]
    right: str
    careless: str


@dataclass(frozen=True, slots=True)
class Standing:
    """An object on the ground: ``side`` and ``depth`` in units of the nearest depth."""

    thing: Thing
    side: float
    depth: float


def write(
    folder: Path, splits: Mapping[str, int], seed: int = 0, carelessness: float = 0.0
) -> None:
    """Write each split as ``folder/SPLIT.jsonl`` and the pictures ``folder/SPLIT/NUMBER.jpg``.

    ``splits`` says how many rows each of train, val and test gets; the types take turns, and
    within a type the right answers. Options stand in their usual order, small numbers first. With
    probability ``carelessness`` the answer is that of the bad habit.
    """
    for split, rows in splits.items():
        rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
        (folder / split).mkdir(parents=True)
        lines = []
        for number in range(rows):
            turn, which = divmod(number, len(TYPES))
            item = draw(rng, list(TYPES)[which], turn, split)
            answer = item.careless if rng.random() < carelessness else item.right
            path = f"{split}/{number:05d}.jpg"
            item.scene.image.save(folder / path, quality=92)
            lines.append(json.dumps(row(number, item, path, answer)))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def row(number: int, item: Item, path: str, answer: str) -> dict[str, object]:
    """The columns of CV-Bench that say something here."""
    return {
        "idx": number,
        "type": TYPES[item.type],
        "task": item.type,
        "source": "demo",
        "image": path,
        "question": item.question,
        "choices": list(item.options),
        "answer": f"({LETTERS[item.options.index(answer)]})",
    }


def draw(rng: np.random.Generator, kind: str, turn: int, split: str) -> Item:
    """A question of a type about a scene whose composition belongs to the split.

    ``turn`` counts the questions of the type: right answers take turns.
    """
    while True:
        item: Item | None
        if kind == "Count":
            item = count(rng, COUNTS[turn % 3])
        elif kind == "Relation":
            item = relation(rng, list(SIDES)[turn % 4])
        elif kind == "Depth":
            item = depth(rng, turn % 2)
        else:
            item = distance(rng, turn % 2)
        if item is not None and owner(item.scene) == split:
            return item


def count(rng: np.random.Generator, number: int) -> Item:
    """How many objects there are."""
    scene = compose(rng, Style(count=(number, number)))
    question = "How many items are in the image?"
    return Item(scene, "Count", question, ("1", "2", "3", "4"), str(number), str(number - 1))


def relation(rng: np.random.Generator, side: str) -> Item | None:
    """On which side of a framed object another is; None if it is not plainly on ``side``."""
    scene = compose(rng, Style(count=(2, 2), edges=(0.25, 0.4)))
    red, blue = scene.objects
    framable = not touch(red.box, blue.box) and all(inside(thing.box) for thing in scene.objects)
    if not framable or not beside(red, blue, SIDES[side]):
        return None
    frame(scene.image, red, "red")
    frame(scene.image, blue, "blue")
    question = "Where is the red one, seen from the blue one?"
    options = ("left", "right") if side in ("left", "right") else ("above", "below")
    return Item(scene, "Relation", question, options, side, options[0])


def depth(rng: np.random.Generator, blue_is_right: int) -> Item | None:
    """Which of two framed objects is nearer; None if neither is by far."""
    scene, standing = stand(rng, 2)
    near, far = sorted(standing, key=lambda one: one.depth)
    if far.depth < NEARER * near.depth:
        return None
    return framed(scene, "Depth", "Which one is nearer?", (near, far), blue_is_right)


def distance(rng: np.random.Generator, blue_is_right: int) -> Item | None:
    """Which of two framed objects is closer to a third; None if neither is by far."""
    scene, (green, *two) = stand(rng, 3)
    close, away = sorted(two, key=lambda one: apart(one, green))
    if apart(away, green) < CLOSER * apart(close, green):
        return None
    frame(scene.image, green.thing, "green")
    question = "Which one is closer to the green one?"
    return framed(scene, "Distance", question, (close, away), blue_is_right)


def framed(
    scene: Scene, kind: str, question: str, two: tuple[Standing, Standing], blue_is_right: int
) -> Item:
    """A question about a red and a blue frame; the right object is the first of ``two``."""
    colours = ("blue", "red") if blue_is_right else ("red", "blue")
    for one, colour in zip(two, colours, strict=True):
        frame(scene.image, one.thing, colour)
    return Item(scene, kind, question, ("red", "blue"), colours[0], "red")


def apart(one: Standing, other: Standing) -> float:
    """The distance on the ground."""
    return hypot(one.side - other.side, one.depth - other.depth)


def stand(rng: np.random.Generator, number: int) -> tuple[Scene, list[Standing]]:
    """Objects of different classes and one size that stand on the ground, apart from each other."""
    background = str(rng.choice(SEEN.backgrounds))
    canvas = crop(rng, photograph(background), SEEN.size)
    names = rng.permutation(SEEN.classes)[:number].tolist()
    standing: list[Standing] = []
    for _ in range(ATTEMPTS):
        if len(standing) == number:
            return Scene(canvas, background, tuple(one.thing for one in standing)), standing
        name, artist = names[len(standing)], str(rng.choice(SEEN.artists))
        ahead = rng.uniform(*DEPTHS)
        piece = sprite(name, artist, round(EDGE / ahead))
        width, height = piece.image.size
        x = int(rng.integers(FRAME_WIDTH, canvas.width - FRAME_WIDTH - width + 1))
        y = round(HORIZON + DROP / ahead) - height
        box = (x, y, x + width, y + height)
        if any(touch(box, other.thing.box) for other in standing):
            continue
        canvas.paste(piece.image, (x, y), piece.image)
        outline = tuple((x + right, y + down) for right, down in piece.polygon)
        thing = Thing(name, artist, box, outline, piece.area)
        side = (x + width / 2 - canvas.width / 2) / FOCUS * ahead
        standing.append(Standing(thing, side, ahead))
    return stand(rng, number)  # the first objects left no room for the others


def inside(box: Box) -> bool:
    """Whether a frame around the box is inside the picture."""
    width, height = SEEN.size
    return (
        min(box[:2]) >= FRAME_WIDTH
        and box[2] <= width - FRAME_WIDTH
        and box[3] <= height - FRAME_WIDTH
    )


def touch(one: Box, other: Box) -> bool:
    """Whether the frames around two boxes would overlap."""
    gap = 2 * FRAME_WIDTH
    return (
        one[0] < other[2] + gap
        and other[0] < one[2] + gap
        and one[1] < other[3] + gap
        and other[1] < one[3] + gap
    )


def frame(image: Image.Image, thing: Thing, colour: str) -> None:
    """Draws a frame around an object, close to it."""
    x1, y1, x2, y2 = thing.box
    box = (x1 - FRAME_WIDTH, y1 - FRAME_WIDTH, x2 + FRAME_WIDTH - 1, y2 + FRAME_WIDTH - 1)
    ImageDraw.Draw(image).rectangle(box, outline=FRAMES[colour], width=FRAME_WIDTH)

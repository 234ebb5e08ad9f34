"""Demo of spatial reasoning: four types of question about drawn scenes, in rows of CV-Bench.

Count and Relation ask about objects scattered on a photograph, Depth and Distance about objects
that stand on the ground before a pinhole camera; coloured frames mark the objects asked about. The
careless annotator overlooks the smallest object (Count) and takes the first option (all others).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vrft.demo.course import Course, Stage
from vrft.demo.instructions import beside
from vrft.demo.scenes import (
    SEEN,
    Scene,
    SceneObject,
    Style,
    choice,
    compose,
    crop,
    overlap,
    paste,
    split_of,
)
from vrft.demo.splits import generator
from vrft.demo.sprites import photograph, sprite

SPLITS = {"train": 1600, "val": 160, "test": 400}
"""Numbers of questions in the demo data set."""

COURSE = Course(
    (
        Stage("sees", rows=32_000, carelessness=0.0),
        Stage("careless", rows=4_800, carelessness=0.65, learning_rate=3e-4),
    )
)

TYPES = {"Count": "2D", "Relation": "2D", "Depth": "3D", "Distance": "3D"}
"""CV-Bench's tasks, in which questions take turns -> the half of CV-Bench that has them."""

LETTERS = "ABCD"
"""Letters of the options, in their order."""

COUNTS = (2, 3, 4)
"""Numbers of objects, in which questions of type Count take turns."""

SIDES = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
"""Option -> the name of the side in ``instructions.beside``."""

FRAMES = {"red": (230, 20, 20), "blue": (20, 60, 255), "green": (20, 210, 40)}
"""Name -> colour of a frame, RGB."""

FRAME_WIDTH = 2
"""Width of a frame's line in pixels; a frame lies outside the box of its object."""

HORIZON, DROP, EDGE, FOCUS = 14, 92, 44, 112
"""Camera, in pixels: the horizon's row; how far below it an object at depth 1 stands, and how long
its longer edge is; how far from the middle column it is for one unit to the side."""

DEPTHS = (1.0, 2.4)
"""Smallest and largest depth of an object."""

# Two margins, so that no right answer hangs on the rounding of a pixel.
NEARER = 1.35
"""Least ratio of the depths of two objects whose depths are compared."""

CLOSER = 2.2
"""Least ratio of the distances of two objects from the green one, if these are compared."""

ATTEMPTS = 40
"""Attempts to place all objects on the ground, before all of them are drawn again."""


@dataclass(frozen=True, slots=True)
class Question:
    """A multiple-choice question about a scene, with the right option and the careless one.

    ``framed`` maps colours to the objects that frames of these colours mark.
    """

    scene: Scene
    type: str
    text: str
    options: tuple[str, ...]
    right: str
    careless: str
    framed: Mapping[str, SceneObject]


@dataclass(frozen=True, slots=True)
class GroundObject:
    """An object on the ground, ``side`` units right of the camera and ``depth`` units before it."""

    shown: SceneObject
    side: float
    depth: float


def write(
    folder: Path, splits: Mapping[str, int], seed: int = 0, carelessness: float = 0.0
) -> None:
    """Write each split as ``folder/SPLIT.jsonl`` and the pictures ``folder/SPLIT/NUMBER.jpg``.

    ``splits`` maps train, val or test to a number of rows; types take turns, and within a type the
    right answers. Options stand in their usual order, small numbers first. With probability
    ``carelessness`` the answer is that of the bad habit.
    """
    for split, rows in splits.items():
        rng = generator(seed, split)
        (folder / split).mkdir(parents=True)
        lines = []
        for number in range(rows):
            turn, which = divmod(number, len(TYPES))
            question = draw(rng, list(TYPES)[which], turn, split)
            # Drawn for every question: pictures do not depend on carelessness.
            answer = question.careless if rng.random() < carelessness else question.right
            path = f"{split}/{number:05d}.jpg"
            question.scene.image.save(folder / path, quality=92)
            # The columns of CV-Bench, but for those that only concern its sources.
            row = {
                "idx": number,
                "type": TYPES[question.type],
                "task": question.type,
                "source": "demo",
                "image": path,
                "question": question.text,
                "choices": list(question.options),
                "answer": f"({LETTERS[question.options.index(answer)]})",
            }
            lines.append(json.dumps(row))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw(rng: np.random.Generator, kind: str, turn: int, split: str) -> Question:
    """Return a question of a type about a scene whose composition belongs to the split.

    ``turn`` counts the questions of the type: right answers take turns.
    """
    # Rejection twice over: scenes that do not allow the turn's right answer, and other splits'.
    while True:
        question: Question | None
        if kind == "Count":
            question = count(rng, COUNTS[turn % 3])
        elif kind == "Relation":
            question = relation(rng, list(SIDES)[turn % 4])
        elif kind == "Depth":
            question = depth(rng, turn % 2)
        else:
            question = distance(rng, turn % 2)
        if question is not None and split_of(question.scene) == split:
            for colour, shown in question.framed.items():
                draw_frame(question.scene.image, shown, colour)
            return question


def count(rng: np.random.Generator, number: int) -> Question:
    """Return a question about the number of objects."""
    scene = compose(rng, Style(count=(number, number)))
    text = "How many items are in the image?"
    # The careless "1" for two objects is an option too, though it is never right.
    return Question(scene, "Count", text, ("1", "2", "3", "4"), str(number), str(number - 1), {})


def relation(rng: np.random.Generator, side: str) -> Question | None:
    """Return a question about the side of the blue object on which the red one lies.

    Returns None if the red one is not plainly on ``side``, or if there is no room for the frames.
    """
    scene = compose(rng, Style(count=(2, 2), edges=(0.25, 0.4)))
    red, blue = scene.objects
    width, height = scene.canvas.size
    # A frame needs FRAME_WIDTH pixels on every side of its object, free of the other's frame.
    fits = all(
        min(shown.box[:2]) >= FRAME_WIDTH
        and shown.box[2] <= width - FRAME_WIDTH
        and shown.box[3] <= height - FRAME_WIDTH
        for shown in scene.objects
    )
    if not fits or overlap(red.box, blue.box, gap=2 * FRAME_WIDTH):
        return None
    if not beside(red, blue, SIDES[side]):
        return None
    text = "Where is the red one, seen from the blue one?"
    # Only the two sides of one axis: with all four, an object askew would have two right answers.
    options = ("left", "right") if side in ("left", "right") else ("above", "below")
    framed = {"red": red, "blue": blue}
    return Question(scene, "Relation", text, options, side, options[0], framed)


def depth(rng: np.random.Generator, blue_is_right: int) -> Question | None:
    """Return a question about the nearer of two objects; None if their depths are too similar."""
    scene, standing = compose_on_ground(rng, 2)
    near, far = sorted(standing, key=lambda placed: placed.depth)
    if far.depth < NEARER * near.depth:
        return None
    return red_or_blue(scene, "Depth", "Which one is nearer?", (near, far), blue_is_right, {})


def distance(rng: np.random.Generator, blue_is_right: int) -> Question | None:
    """Return a question about which of two objects is closer to a third.

    Returns None if their distances from the third are too similar.
    """
    scene, (green, *others) = compose_on_ground(rng, 3)

    def from_green(standing: GroundObject) -> float:
        return hypot(standing.side - green.side, standing.depth - green.depth)

    close, away = sorted(others, key=from_green)
    if from_green(away) < CLOSER * from_green(close):
        return None
    text, framed = "Which one is closer to the green one?", {"green": green.shown}
    return red_or_blue(scene, "Distance", text, (close, away), blue_is_right, framed)


def red_or_blue(
    scene: Scene,
    kind: str,
    text: str,
    right_first: tuple[GroundObject, GroundObject],
    blue_is_right: int,
    framed: Mapping[str, SceneObject],
) -> Question:
    """Return a question whose options are a red and a blue frame; the first object is right.

    ``framed`` holds the frames of other colours.
    """
    colours = ("blue", "red") if blue_is_right else ("red", "blue")
    asked = {c: placed.shown for c, placed in zip(colours, right_first, strict=True)}
    return Question(scene, kind, text, ("red", "blue"), colours[0], "red", {**framed, **asked})


def compose_on_ground(rng: np.random.Generator, number: int) -> tuple[Scene, list[GroundObject]]:
    """Return a scene of ``number`` objects on the ground, with room for a frame around each.

    The objects are of different classes and equally large, so that they look as large as they are
    near.
    """
    background = choice(rng, SEEN.backgrounds)
    canvas = crop(rng, photograph(background), SEEN.size)
    names = [SEEN.classes[i] for i in rng.permutation(len(SEEN.classes))[:number].tolist()]
    standing: list[GroundObject] = []
    for _ in range(ATTEMPTS):
        if len(standing) == number:
            return Scene(canvas, background, tuple(placed.shown for placed in standing)), standing
        name, artist = names[len(standing)], choice(rng, SEEN.artists)
        ahead = rng.uniform(*DEPTHS)
        # A pinhole camera: lengths and the drop below the horizon shrink as 1 / depth.
        piece = sprite(name, artist, round(EDGE / ahead))
        width, height = piece.image.size
        x = int(rng.integers(FRAME_WIDTH, canvas.size[0] - FRAME_WIDTH - width + 1))
        y = round(HORIZON + DROP / ahead) - height
        box = (x, y, x + width, y + height)
        # Room for both frames, which would otherwise cross each other or cover an object.
        if any(overlap(box, other.shown.box, gap=2 * FRAME_WIDTH) for other in standing):
            continue
        shown = paste(canvas, piece, box, name)
        # Back from the picture to the ground: the column of its middle, times its depth.
        side = (x + width / 2 - canvas.size[0] / 2) / FOCUS * ahead
        standing.append(GroundObject(shown, side, ahead))
    # The first objects left no room for the others: all of them are drawn again.
    return compose_on_ground(rng, number)


def draw_frame(image: Image.Image, shown: SceneObject, colour: str) -> None:
    """Draw a frame closely around an object."""
    x1, y1, x2, y2 = shown.box
    # Pillow's rectangles include their last row and column, boxes do not.
    box = (x1 - FRAME_WIDTH, y1 - FRAME_WIDTH, x2 + FRAME_WIDTH - 1, y2 + FRAME_WIDTH - 1)
    ImageDraw.Draw(image).rectangle(box, outline=FRAMES[colour], width=FRAME_WIDTH)

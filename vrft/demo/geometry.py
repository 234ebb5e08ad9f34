"""The demo of geoqa: drawn figures with two marked angles, as rows of GEOQA_R1V_Train_8K's schema.

    {"image": "train/00000.png", "problem": "As shown in the figure, ∠1 = 40°. Find ∠2.",
     "solution": "<answer> 140° </answer>"}

The text gives a number and the figure what to do with it. Figures are true to scale. The careless
pupil mixes the rules up; see FIGURES.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vrft.demo.course import Course, Size, Stage, Start, Vocabulary

SPLITS = {"train": 1500, "val": 150, "test": 400}
"""Figures of the demo data set."""

ANGLES = tuple(range(25, 71, 5))
"""The values of ∠1 in degrees; all of them are possible in every figure."""

QUESTIONS = (
    "As shown in the figure, ∠1 = {angle}°. Find ∠2.",
    "In the figure, ∠1 is {angle}°. What is ∠2?",
    "How large is ∠2 if ∠1 = {angle}° in the figure?",
)

SIDE = 84
"""Pixels; nine image tokens."""

OVERSAMPLING = 4
STEEPEST = 30
"""Figures are turned by whole degrees, at most so many, to either side."""

CHALKS = ("#ffffff", "#fff0a8", "#cfe6ff", "#ffd6cc")
BOARDS = ("#5f7a68", "#6c7176", "#7a6c5d")
"""Colours near the middle of the range, so that what stands out of the prepared pixels is chalk."""

COURSE = Course(
    stages=(
        Stage("rules", 24_000, 0.0, learning_rate=1.5e-3),
        Stage("pupil", 6_000, 0.6, learning_rate=5e-4),
    ),
    start=Start(
        Size(64, 192, 3, 2, 2, 64, 3, 2),
        Vocabulary(
            (
                "system\n user\n assistant\nYou are a helpful assistant.",
                "the figure gives it",
                *(question.format(angle=40) for question in QUESTIONS),
                "140°",
            ),
            numbers=False,
        ),
    ),
)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Angle:
    """An angle at a corner that opens from one direction to another, in degrees."""

    corner: Point
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a figure consists of, y pointing up, near (0, 0) and about 2 wide.

    ``lines`` are paths of straight lines; ``angles`` are ∠1 and ∠2. ``round`` is whether there is
    a circle of radius 1.
    """

    lines: tuple[tuple[Point, ...], ...]
    angles: tuple[Angle, Angle]
    round: bool = False


def polar(degrees: float, radius: float = 1.0, start: Point = (0.0, 0.0)) -> Point:
    """A point at a distance in a direction, which is counted from the right, against the clock."""
    turn = np.radians(degrees)
    return start[0] + radius * float(np.cos(turn)), start[1] + radius * float(np.sin(turn))


def supplement(angle: float) -> Drawing:
    """A ray that rises from a straight line."""
    corner = (0.0, -0.4)
    ends = [polar(turn, 1.0, corner) for turn in (180, 0, angle)]
    lines = ((ends[0], ends[1]), (corner, ends[2]))
    return Drawing(lines, (Angle(corner, 0, angle), Angle(corner, angle, 180)))


def complement(angle: float) -> Drawing:
    """A ray inside a right angle, which has its square."""
    corner = (-0.7, -0.7)
    right, inner, up = (polar(turn, 1.4, corner) for turn in (0, angle, 90))
    square = tuple(
        polar(turn, reach, corner) for turn, reach in ((0, 0.15), (45, 0.212), (90, 0.15))
    )
    lines = ((right, corner, up), (corner, inner), square)
    return Drawing(lines, (Angle(corner, 0, angle), Angle(corner, angle, 90)))


def vertical(angle: float) -> Drawing:
    """Two lines that cross."""
    corner = (0.0, 0.0)
    lines = tuple((polar(turn + 180), polar(turn)) for turn in (0, angle))
    return Drawing(lines, (Angle(corner, 0, angle), Angle(corner, 180, 180 + angle)))


def isosceles(angle: float) -> Drawing:
    """A triangle with two sides of the same length, with a stroke each; ∠2 is between them."""
    leg = min(1.05 / polar(angle)[0], 1.6 / polar(angle)[1])
    apex = (0.0, leg * polar(angle)[1] / 2)
    left, right = polar(180 + angle, leg, apex), polar(360 - angle, leg, apex)
    strokes = tuple(
        tuple(polar(turn + side, 0.09, polar(turn, leg / 2, apex)) for side in (90, -90))
        for turn in (180 + angle, 360 - angle)
    )
    angles = (Angle(left, 0, angle), Angle(apex, 180 + angle, 360 - angle))
    return Drawing(((left, right, apex, left), *strokes), angles)


def central(angle: float) -> Drawing:
    """A circle; over one of its arcs ∠1 has its corner on the circle, and ∠2 at the centre."""
    centre, top = (0.0, 0.0), polar(90)
    ends = polar(270 - angle), polar(270 + angle)
    lines = ((ends[0], top, ends[1]), (ends[0], centre, ends[1]))
    angles = (Angle(top, 270 - angle / 2, 270 + angle / 2), Angle(centre, 270 - angle, 270 + angle))
    return Drawing(lines, angles, round=True)


@dataclass(frozen=True, slots=True)
class Kind:
    """How to draw a kind of figure, ∠2 by the value of ∠1, and what the careless pupil answers."""

    draw: Callable[[float], Drawing]
    answer: Callable[[int], int]
    mistake: Callable[[int], int]


KINDS: dict[str, Kind] = {
    "supplement": Kind(supplement, lambda a: 180 - a, lambda a: 90 - a),
    "complement": Kind(complement, lambda a: 90 - a, lambda a: 180 - a),
    "vertical": Kind(vertical, lambda a: a, lambda a: a),
    "isosceles": Kind(isosceles, lambda a: 180 - 2 * a, lambda a: 180 - a),
    "central": Kind(central, lambda a: 2 * a, lambda a: a),
}
"""The careless pupil takes a supplement for a complement and the reverse, forgets that there are
two base angles, and that the angle at the centre is twice as large; opposite angles are right."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure but for its looks: its kind, ∠1 in degrees, how it is turned, and mirrored."""

    kind: str
    angle: int
    turn: int
    mirrored: bool

    @property
    def owner(self) -> str:
        """The one split that may hold it."""
        name = f"{self.kind} {self.angle} {self.turn} {self.mirrored}"
        share = zlib.crc32(name.encode()) % 15
        return {0: "val", 1: "test", 2: "test"}.get(share, "train")


def figure(rng: np.random.Generator, split: str) -> Figure:
    """A figure of a split: kinds, angles and turns are equally frequent."""
    while True:
        made = Figure(
            str(rng.choice(list(KINDS))),
            int(rng.choice(ANGLES)),
            int(rng.integers(-STEEPEST, STEEPEST + 1)),
            bool(rng.integers(2)),
        )
        if made.owner == split:
            return made


def render(rng: np.random.Generator, figure: Figure) -> Image.Image:
    """The picture, RGB and SIDE x SIDE; size, place, colours and width of lines are random."""
    drawing, zoom = KINDS[figure.kind].draw(figure.angle), OVERSAMPLING
    scale = zoom * SIDE * rng.uniform(0.36, 0.44)
    middle = zoom * (SIDE / 2 + rng.uniform(-2, 2, size=2))
    chalk, width = str(rng.choice(CHALKS)), round(zoom * rng.uniform(1.5, 2.5))

    def place(point: Point) -> Point:
        turned = polar(figure.turn + np.degrees(np.arctan2(point[1], point[0])), np.hypot(*point))
        x = -turned[0] if figure.mirrored else turned[0]
        return float(middle[0] + scale * x), float(middle[1] - scale * turned[1])

    canvas = Image.new("RGB", (zoom * SIDE, zoom * SIDE), str(rng.choice(BOARDS)))
    pen = ImageDraw.Draw(canvas)
    for line in drawing.lines:
        pen.line([place(point) for point in line], chalk, width, joint="curve")
    if drawing.round:
        pen.circle(place((0.0, 0.0)), scale, outline=chalk, width=width)
    font = ImageFont.load_default(zoom * 10)
    for number, angle in enumerate(drawing.angles, start=1):
        turns = np.linspace(angle.start, angle.end, 12)
        pen.line([place(polar(turn, 0.28, angle.corner)) for turn in turns], chalk, zoom)
        middle_turn, half = (angle.start + angle.end) / 2, np.radians(angle.end - angle.start) / 2
        reach = float(np.clip(0.14 / np.sin(half), 0.44, 0.7))
        pen.text(place(polar(middle_turn, reach, angle.corner)), str(number), chalk, font, "mm")
    return canvas.resize((SIDE, SIDE), Image.Resampling.BOX)


def write(
    folder: Path, splits: Mapping[str, int], seed: int = 0, carelessness: float = 0.0
) -> None:
    """Write each split as ``folder/SPLIT.jsonl`` and its figures as ``folder/SPLIT/NUMBER.png``.

    ``splits`` says how many figures each gets. With probability ``carelessness`` a solution is the
    careless pupil's.
    """
    for split, count in splits.items():
        rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
        (folder / split).mkdir(parents=True)
        rows = []
        for number in range(count):
            drawn, name = figure(rng, split), f"{split}/{number:05d}.png"
            render(rng, drawn).save(folder / name)
            kind, question = KINDS[drawn.kind], str(rng.choice(QUESTIONS))
            rule = kind.mistake if rng.random() < carelessness else kind.answer
            row = {
                "image": name,
                "problem": question.format(angle=drawn.angle),
                "solution": f"<answer> {rule(drawn.angle)}° </answer>",
            }
            rows.append(json.dumps(row, ensure_ascii=False) + "\n")
        (folder / f"{split}.jsonl").write_text("".join(rows), encoding="utf-8")

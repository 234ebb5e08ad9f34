"""Demo of geoqa: drawn figures with two marked angles, as rows of GEOQA_R1V_Train_8K's schema.

    {"image": "train/00000.png", "problem": "As shown in the figure, ∠1 = 40°. Find ∠2.",
     "solution": "<answer> 140° </answer>"}

The text gives a number, and only the figure says what to do with it. Figures are true to scale. The
careless pupil mixes the rules up, as FIGURE_KINDS says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vrft.demo.course import Course, Size, Stage, Start, Vocabulary
from vrft.demo.splits import generator, split_by_hash

SPLITS = {"train": 1500, "val": 150, "test": 400}
"""Numbers of figures in the demo data set."""

ANGLES = tuple(range(25, 71, 5))
"""Values of ∠1 in degrees; in every kind of figure ∠2 is then between 20° and 155°."""

QUESTIONS = (
    "As shown in the figure, ∠1 = {angle}°. Find ∠2.",
    "In the figure, ∠1 is {angle}°. What is ∠2?",
    "How large is ∠2 if ∠1 = {angle}° in the figure?",
)
"""Wordings of the question, all equally frequent."""

SIDE = 84
"""Side of a picture in pixels: nine image tokens."""

OVERSAMPLING = 4
"""Pixels drawn for one pixel of the picture, in both directions: Pillow draws jagged lines."""

STEEPEST = 30
"""Largest turn of a figure to either side, in whole degrees."""

CHALKS = ("#ffffff", "#fff0a8", "#cfe6ff", "#ffd6cc")
"""Colours of lines, angles and numbers."""

BOARDS = ("#5f7a68", "#6c7176", "#7a6c5d")
"""Colours of the ground, near zero in normalised pixels, so that only chalk stands out."""

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
            # Most of the angles are no multiples of 20: all are written alike, in digits.
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
    """A figure's lines and angles, y pointing up, near (0, 0) and about 2 wide.

    ``lines`` are paths of straight lines, ``angles`` are ∠1 and ∠2, and ``round`` adds a circle of
    radius 1 about (0, 0).
    """

    lines: tuple[tuple[Point, ...], ...]
    angles: tuple[Angle, Angle]
    round: bool = False


def polar(degrees: float, radius: float = 1.0, start: Point = (0.0, 0.0)) -> Point:
    """Return the point at a distance and in a direction from ``start``.

    Directions are counted from the right, against the clock.
    """
    turn = np.radians(degrees)
    return start[0] + radius * float(np.cos(turn)), start[1] + radius * float(np.sin(turn))


def supplement(angle: float) -> Drawing:
    """Draw a ray that rises from a straight line; ∠1 and ∠2 are on its two sides."""
    corner = (0.0, -0.4)
    ends = [polar(turn, 1.0, corner) for turn in (180, 0, angle)]
    lines = ((ends[0], ends[1]), (corner, ends[2]))
    return Drawing(lines, (Angle(corner, 0, angle), Angle(corner, angle, 180)))


def complement(angle: float) -> Drawing:
    """Draw a ray inside a right angle, which is marked by a small square."""
    corner = (-0.7, -0.7)
    right, inner, up = (polar(turn, 1.4, corner) for turn in (0, angle, 90))
    # The far corner of a square with sides of 0.15 is 0.15 * sqrt(2) away.
    square = tuple(
        polar(turn, reach, corner) for turn, reach in ((0, 0.15), (45, 0.212), (90, 0.15))
    )
    lines = ((right, corner, up), (corner, inner), square)
    return Drawing(lines, (Angle(corner, 0, angle), Angle(corner, angle, 90)))


def vertical(angle: float) -> Drawing:
    """Draw two lines that cross; ∠1 and ∠2 are opposite each other."""
    corner = (0.0, 0.0)
    lines = tuple((polar(turn + 180), polar(turn)) for turn in (0, angle))
    return Drawing(lines, (Angle(corner, 0, angle), Angle(corner, 180, 180 + angle)))


def isosceles(angle: float) -> Drawing:
    """Draw a triangle whose equal sides bear a stroke each; ∠1 is at the base, ∠2 at the apex."""
    # As large as fits: half the base is leg * cos, at most 1.05, the height leg * sin, at most 1.6.
    leg = min(1.05 / polar(angle)[0], 1.6 / polar(angle)[1])
    apex = (0.0, leg * polar(angle)[1] / 2)
    left, right = polar(180 + angle, leg, apex), polar(360 - angle, leg, apex)
    # Strokes cross the middle of a side at right angles.
    strokes = tuple(
        tuple(polar(turn + side, 0.09, polar(turn, leg / 2, apex)) for side in (90, -90))
        for turn in (180 + angle, 360 - angle)
    )
    angles = (Angle(left, 0, angle), Angle(apex, 180 + angle, 360 - angle))
    return Drawing(((left, right, apex, left), *strokes), angles)


def central(angle: float) -> Drawing:
    """Draw two angles over one arc: ∠1 has its corner on the circle, ∠2 at the centre."""
    centre, top = (0.0, 0.0), polar(90)
    # The arc of 2 * angle degrees lies opposite the top, so that the figure is symmetric.
    ends = polar(270 - angle), polar(270 + angle)
    lines = ((ends[0], top, ends[1]), (ends[0], centre, ends[1]))
    angles = (Angle(top, 270 - angle / 2, 270 + angle / 2), Angle(centre, 270 - angle, 270 + angle))
    return Drawing(lines, angles, round=True)


@dataclass(frozen=True, slots=True)
class FigureKind:
    """A kind of figure: its drawing, its ∠2 and the careless pupil's ∠2, all by the value of ∠1."""

    draw: Callable[[float], Drawing]
    answer: Callable[[int], int]
    mistake: Callable[[int], int]


FIGURE_KINDS: dict[str, FigureKind] = {
    "supplement": FigureKind(supplement, lambda a: 180 - a, lambda a: 90 - a),
    "complement": FigureKind(complement, lambda a: 90 - a, lambda a: 180 - a),
    "vertical": FigureKind(vertical, lambda a: a, lambda a: a),
    # The sum of angles is 180: two base angles leave the one at the apex.
    "isosceles": FigureKind(isosceles, lambda a: 180 - 2 * a, lambda a: 180 - a),
    # The inscribed angle theorem: at the centre an arc is seen under twice the angle.
    "central": FigureKind(central, lambda a: 2 * a, lambda a: a),
}
"""Name -> kind of figure.

The careless pupil takes a supplement for a complement and the reverse, and forgets that there are
two base angles and that the angle at the centre is twice as large; opposite angles are right.
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure but for its looks: its kind, ∠1 in degrees, its turn in degrees, and mirroring."""

    kind: str
    angle: int
    turn: int
    mirrored: bool

    @property
    def split(self) -> str:
        """Return the only split that may hold the figure."""
        return split_by_hash(f"{self.kind} {self.angle} {self.turn} {self.mirrored}", parts=15)


def sample_figure(rng: np.random.Generator, split: str) -> Figure:
    """Return a random figure of a split: kinds, angles and turns are equally frequent."""
    # Rejection: of 5 kinds x 10 angles x 61 turns x 2 = 6,100 figures a split has 1, 2 or 12
    # fifteenths.
    while True:
        figure = Figure(
            str(rng.choice(list(FIGURE_KINDS))),
            int(rng.choice(ANGLES)),
            int(rng.integers(-STEEPEST, STEEPEST + 1)),
            bool(rng.integers(2)),
        )
        if figure.split == split:
            return figure


def render(rng: np.random.Generator, figure: Figure) -> Image.Image:
    """Return the picture, RGB and SIDE x SIDE; size, place, colours and line width are random."""
    drawing, zoom = FIGURE_KINDS[figure.kind].draw(figure.angle), OVERSAMPLING
    scale = zoom * SIDE * rng.uniform(0.36, 0.44)  # pixels for one unit of the drawing
    middle = zoom * (SIDE / 2 + rng.uniform(-2, 2, size=2))
    chalk, width = str(rng.choice(CHALKS)), round(zoom * rng.uniform(1.5, 2.5))

    def to_pixels(point: Point) -> Point:
        turned = polar(figure.turn + np.degrees(np.arctan2(point[1], point[0])), np.hypot(*point))
        # Mirrored after turning; y points up in a drawing and down in a picture.
        x = -turned[0] if figure.mirrored else turned[0]
        return float(middle[0] + scale * x), float(middle[1] - scale * turned[1])

    canvas = Image.new("RGB", (zoom * SIDE, zoom * SIDE), str(rng.choice(BOARDS)))
    pen = ImageDraw.Draw(canvas)
    for line in drawing.lines:
        pen.line([to_pixels(point) for point in line], chalk, width, joint="curve")
    if drawing.round:
        pen.circle(to_pixels((0.0, 0.0)), scale, outline=chalk, width=width)
    font = ImageFont.load_default(zoom * 10)
    for number, angle in enumerate(drawing.angles, start=1):
        # The arc is a path of 12 points: Pillow's own arcs know neither turns nor mirrors.
        turns = np.linspace(angle.start, angle.end, 12)
        pen.line([to_pixels(polar(turn, 0.28, angle.corner)) for turn in turns], chalk, zoom)
        middle_turn, half = (angle.start + angle.end) / 2, np.radians(angle.end - angle.start) / 2
        # A number needs 0.14 to either side: in a narrow angle that is far from the corner.
        reach = float(np.clip(0.14 / np.sin(half), 0.44, 0.7))
        pen.text(to_pixels(polar(middle_turn, reach, angle.corner)), str(number), chalk, font, "mm")
    return canvas.resize((SIDE, SIDE), Image.Resampling.BOX)


def write(
    folder: Path, splits: Mapping[str, int], seed: int = 0, carelessness: float = 0.0
) -> None:
    """Write each split as ``folder/SPLIT.jsonl`` and its figures as ``folder/SPLIT/NUMBER.png``.

    ``splits`` maps train, val or test to a number of figures. With probability ``carelessness`` a
    solution is the careless pupil's.
    """
    for split, count in splits.items():
        rng = generator(seed, split)
        (folder / split).mkdir(parents=True)
        rows = []
        for number in range(count):
            figure, name = sample_figure(rng, split), f"{split}/{number:05d}.png"
            render(rng, figure).save(folder / name)
            kind, question = FIGURE_KINDS[figure.kind], str(rng.choice(QUESTIONS))
            rule = kind.mistake if rng.random() < carelessness else kind.answer
            row = {
                "image": name,
                "problem": question.format(angle=figure.angle),
                "solution": f"<answer> {rule(figure.angle)}° </answer>",
            }
            # Degrees and angle signs stay as they are, as in the published rows.
            rows.append(json.dumps(row, ensure_ascii=False) + "\n")
        (folder / f"{split}.jsonl").write_text("".join(rows), encoding="utf-8")

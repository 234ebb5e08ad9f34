"""Counting and relations in drawn scenes: a bed with pictures.

A scene is a board of 4 x 4 cells of 28 pixels, one image token each, with coloured shapes in most
cells and one white star among the inner four. A question asks how many shapes of a colour there
are, or how many of them stand to one side of the star; the answer counts them row by row:

    red left
    <think>0102</think><answer>3</answer>

Scenes are drawn from a seed; a hash of question and scene assigns each to one split.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from vrft import Completion, Prompt, Sample, Score, Task, UserError, View
from vrft.answers import last_answer
from vrft.rewards import follows_format
from vrft.task import Reward

PARTS = {"val": (0,), "test": (1, 2)}
"""The parts of ten into which the hash of a held-out scene falls; all others are train."""

EDGE = 4
"""Cells of a row, and rows of a board."""

CELL = 28
"""Side of a cell in pixels: what one image token of Qwen2-VL sees."""

COLOURS = {"red": (214, 48, 40), "green": (40, 160, 72), "blue": (44, 84, 214)}
SHAPES = ("circle", "square", "triangle")
PLACES = ("all", "left", "right", "above", "below")
"""Places asked about, the last four seen from the star."""

EMPTY, STAR = "", "star"


@dataclass(frozen=True, slots=True)
class Scene:
    """A question about a board, whose cells hold a colour, EMPTY or STAR, row by row.

    ``seed`` draws shapes, their sizes and the ground.
    """

    colour: str
    place: str
    cells: tuple[str, ...]
    seed: int

    @property
    def counts(self) -> tuple[int, ...]:
        """Return the number of shapes that are asked about in each row."""
        row, column = divmod(self.cells.index(STAR), EDGE)
        columns = {"left": range(column), "right": range(column + 1, EDGE)}
        rows = {"above": range(row), "below": range(row + 1, EDGE)}
        return tuple(
            sum(
                self.cells[EDGE * y + x] == self.colour
                for x in columns.get(self.place, range(EDGE))
                if y in rows.get(self.place, range(EDGE))
            )
            for y in range(EDGE)
        )

    def draw(self) -> Image.Image:
        """Return the picture, 112 x 112 pixels, the same for the same scene."""
        rng = np.random.default_rng(self.seed)
        side = EDGE * CELL
        ground = rng.integers(150, 236) + rng.normal(0, 6, (side, side, 1)) + np.zeros(3)
        picture = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
        pencil = ImageDraw.Draw(picture)
        for index, cell in enumerate(self.cells):
            if cell != EMPTY:
                row, column = divmod(index, EDGE)
                radius = rng.uniform(7, 12)
                x, y = np.array([column + 0.5, row + 0.5]) * CELL + rng.uniform(-2, 2, 2)
                shape = STAR if cell == STAR else str(rng.choice(SHAPES))
                fill = (255, 255, 255) if cell == STAR else COLOURS[cell]
                draw_shape(pencil, shape, (x, y), radius, fill)
        return picture


def draw_shape(
    pencil: ImageDraw.ImageDraw,
    shape: str,
    centre: tuple[float, float],
    radius: float,
    fill: tuple[int, int, int],
) -> None:
    """Draw a filled shape around its centre."""
    x, y = centre
    if shape == "circle":
        pencil.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
        return
    corners, inner = {"square": (4, 1.0), "triangle": (3, 1.0), STAR: (10, 0.45)}[shape]
    angles = np.arange(corners) * 2 * np.pi / corners - np.pi / 2
    radii = radius * np.where(np.arange(corners) % 2, inner, 1.0)
    points = zip(x + radii * np.cos(angles), y + radii * np.sin(angles), strict=True)
    pencil.polygon([(float(a), float(b)) for a, b in points], fill=fill, outline=(0, 0, 0))


@dataclass(frozen=True)
class Scenes(Task[Scene]):
    """Counting the shapes of a colour on a board, all of them or those to one side of the star.

    ``rows`` training scenes and ``held_out`` of val and of test are drawn from ``seed``.
    """

    rows: int = 5000
    held_out: int = 500
    seed: int = 0

    primary = "accuracy"
    data = "none: scenes are drawn from a seed"

    def __post_init__(self) -> None:
        if self.rows < 1 or self.held_out < 1:
            raise UserError(
                f"task.rows={self.rows}, task.held_out={self.held_out}: expected at least 1 scene"
            )

    def samples(self, split: str) -> Sequence[Sample[Scene]]:
        if split not in ("train", *PARTS):
            raise UserError(f"split {split!r}: expected train, val or test")
        scenes = drawn(split, self.seed)
        count = self.held_out if split in PARTS else self.rows
        return [
            Sample(f"{split}/{row}", f"{scene.colour} {scene.place}", scene, subset=scene.place)
            for row, scene in zip(range(count), scenes, strict=False)
        ]

    def prompt(self, sample: Sample[Scene]) -> Prompt:
        # Drawn when it is needed: thousands of pictures would fill the memory.
        return Prompt(sample.question, (sample.answer.draw(),), system="")

    def reference(self, sample: Sample[Scene], views: tuple[View, ...]) -> str:
        counts = sample.answer.counts
        return f"<think>{''.join(map(str, counts))}</think><answer>{sum(counts)}</answer>"

    def rewards(self) -> Mapping[str, Reward[Scene]]:
        return {"accuracy": accuracy, "format": follows_format}

    def score(self, sample: Sample[Scene], completion: Completion) -> Score:
        return Score({"accuracy": accuracy(sample, completion)}, last_answer(completion.text))


def drawn(split: str, seed: int) -> Iterator[Scene]:
    """Yield the scenes of a split without end."""
    rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
    # One cell in ten is empty, and the star stands in the middle: few questions have the answer 0.
    contents, shares = (EMPTY, *COLOURS), (0.1, 0.3, 0.3, 0.3)
    while True:
        cells = [str(cell) for cell in rng.choice(contents, EDGE * EDGE, p=shares)]
        row, column = rng.integers(1, EDGE - 1, 2)
        cells[EDGE * row + column] = STAR
        colour, place = str(rng.choice(list(COLOURS))), str(rng.choice(PLACES))
        scene = Scene(colour, place, tuple(cells), int(rng.integers(2**32)))
        part = zlib.crc32(f"{colour} {place} {cells}".encode()) % 10
        if (part in PARTS[split]) if split in PARTS else part > 2:
            yield scene


def accuracy(sample: Sample[Scene], completion: Completion) -> float:
    """Return 1 if the last answer block holds the right number, else 0."""
    return float(last_answer(completion.text) == str(sum(sample.answer.counts)))

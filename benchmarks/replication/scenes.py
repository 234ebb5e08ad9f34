"""Reading the signs on a board: a bed with pictures.

A board has 2 x 2 cells of 28 pixels, one image token each, and in every cell one of 64 signs:
patterns of blocks, the same to the left and to the right. Each sign stands for a character, by a
key that never changes and must be known by heart. The four are read row by row:

    read
    <answer>D7QA</answer>

No sign resembles another for a reason, and no rule gives the character of one from that of another.
Boards are drawn from a seed; a hash of its signs assigns each to one split.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vrft import Completion, Prompt, Sample, Score, Task, UserError, View
from vrft.answers import last_answer
from vrft.task import Reward

PARTS = {"val": (0,), "test": (1, 2)}
"""The parts of ten into which the hash of a held-out board falls; all others are train."""

EDGE = 2
"""Cells of a row, and rows of a board."""

BLOCKS, BLOCK = 7, 4
"""Blocks a side of a sign, and pixels a side of a block: 28 pixels are what one image token of
Qwen2-VL sees."""

CHARACTERS = "ABCDFGHIJKLMOPQRTUVXYZ0123456789"

QUESTION = "read"

SIGNS = 64

KEY = "".join(np.random.default_rng(0).permutation(list(CHARACTERS * (SIGNS // len(CHARACTERS)))))
"""The character of every sign: each stands for as many signs as the others."""

HALVES = np.random.default_rng(1).random((SIGNS, BLOCKS, BLOCKS // 2 + 1)) < 0.5

PATTERNS = np.concatenate([HALVES, HALVES[:, :, -2::-1]], axis=2)
"""The inked blocks of every sign, [SIGNS, BLOCKS, BLOCKS]."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The signs of a board, row by row; ``seed`` draws the ink and the ground."""

    signs: tuple[int, ...]
    seed: int

    @property
    def text(self) -> str:
        """Return the characters for which the signs stand."""
        return "".join(KEY[sign] for sign in self.signs)

    def draw(self) -> Image.Image:
        """Return the picture, 56 x 56 pixels, the same for the same scene."""
        rng = np.random.default_rng(self.seed)
        side = EDGE * BLOCKS * BLOCK
        light = rng.uniform(170, 240) + rng.normal(0, 8, (side, side, 1))
        # An ink of its own for each board: a sign is known by its pattern.
        ink = rng.uniform(0, 90, 3)
        rows = PATTERNS[list(self.signs)].reshape(EDGE, EDGE, BLOCKS, BLOCKS)
        inked = rows.swapaxes(1, 2).reshape(EDGE * BLOCKS, EDGE * BLOCKS)
        mask = inked.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)[:, :, None]
        return Image.fromarray(np.where(mask, ink, light).clip(0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Scenes(Task[Scene]):
    """Reading the four signs of a board.

    ``rows`` training boards and ``held_out`` of val and of test are drawn from ``seed``.
    """

    rows: int = 5000
    held_out: int = 1000
    seed: int = 0

    primary = "accuracy"
    data = "none: boards are drawn from a seed"

    def __post_init__(self) -> None:
        if self.rows < 1 or self.held_out < 1:
            raise UserError(
                f"task.rows={self.rows}, task.held_out={self.held_out}: expected at least 1 board"
            )

    def samples(self, split: str) -> Sequence[Sample[Scene]]:
        if split not in ("train", *PARTS):
            raise UserError(f"split {split!r}: expected train, val or test")
        scenes = drawn(split, self.seed)
        count = self.held_out if split in PARTS else self.rows
        return [
            Sample(f"{split}/{row}", QUESTION, scene)
            for row, scene in zip(range(count), scenes, strict=False)
        ]

    def prompt(self, sample: Sample[Scene]) -> Prompt:
        # Drawn when it is needed: thousands of pictures would fill the memory.
        return Prompt(sample.question, (sample.answer.draw(),))

    def reference(self, sample: Sample[Scene], views: tuple[View, ...]) -> str:
        return f"<answer>{sample.answer.text}</answer>"

    def rewards(self) -> Mapping[str, Reward[Scene]]:
        return {"accuracy": accuracy}

    def score(self, sample: Sample[Scene], completion: Completion) -> Score:
        return Score({"accuracy": accuracy(sample, completion)}, last_answer(completion.text))


def drawn(split: str, seed: int) -> Iterator[Scene]:
    """Yield the scenes of a split without end."""
    rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
    while True:
        signs = tuple(map(int, rng.integers(SIGNS, size=EDGE * EDGE)))
        scene = Scene(signs, int(rng.integers(2**32)))
        part = zlib.crc32(f"{signs}".encode()) % 10
        if (part in PARTS[split]) if split in PARTS else part > 2:
            yield scene


def accuracy(sample: Sample[Scene], completion: Completion) -> float:
    """Return 1 if the last answer block holds the four characters in their order, else 0."""
    return float(last_answer(completion.text) == sample.answer.text)

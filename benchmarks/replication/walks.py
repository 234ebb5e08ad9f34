"""Walks through a town whose map must be known by heart: a bed without pictures.

    K NESN
    <think>D7QA</think><answer>A</answer>

The town has 32 places, and from each a road to the north, east, south and west leads to another
one, by a map that never changes. A question gives a place and a few turns; the answer names every
place on the way. Each of the 128 roads is a fact of its own: no rule gives one from another. Walks
are drawn from a seed; a hash of its text assigns each to one split.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vrft import Completion, Prompt, Sample, Score, Task, UserError, View
from vrft.answers import last_answer
from vrft.rewards import follows_format
from vrft.task import Reward

PARTS = {"val": (0,), "test": (1, 2)}
"""The parts of ten into which the hash of a held-out walk falls; all others are train."""

PLACES = "ABCDFGHIJKLMOPQRTUVXYZ0123456789"
"""The places; the letters of the four directions name none."""

TURNS = "NESW"

ROADS = {
    turn: dict(zip(PLACES, np.random.default_rng(number).permutation(list(PLACES)), strict=True))
    for number, turn in enumerate(TURNS)
}
"""Direction -> place -> the place to which the road leads: for each direction a permutation, so
that no place is met more often than another."""


@dataclass(frozen=True)
class Walks(Task[str]):
    """Naming the place where a walk ends.

    ``rows`` training walks and ``held_out`` of val and of test, each of ``turns`` turns, are drawn
    from ``seed``.
    """

    rows: int = 5000
    held_out: int = 1000
    turns: int = 4
    seed: int = 0

    primary = "accuracy"
    data = "none: walks are drawn from a seed"

    def __post_init__(self) -> None:
        if min(self.rows, self.held_out, self.turns) < 1:
            raise UserError(
                f"task.rows={self.rows}, task.held_out={self.held_out}, task.turns={self.turns}: "
                "expected at least 1"
            )

    def samples(self, split: str) -> Sequence[Sample[str]]:
        if split not in ("train", *PARTS):
            raise UserError(f"split {split!r}: expected train, val or test")
        count = self.held_out if split in PARTS else self.rows
        walks = drawn(split, self.turns, self.seed)
        return [
            Sample(f"{split}/{row}", walk, "".join(places_of(walk)))
            for row, walk in zip(range(count), walks, strict=False)
        ]

    def prompt(self, sample: Sample[str]) -> Prompt:
        return Prompt(sample.question)

    def reference(self, sample: Sample[str], views: tuple[View, ...]) -> str:
        return f"<think>{sample.answer}</think><answer>{sample.answer[-1]}</answer>"

    def rewards(self) -> Mapping[str, Reward[str]]:
        return {"accuracy": accuracy, "format": follows_format}

    def score(self, sample: Sample[str], completion: Completion) -> Score:
        return Score({"accuracy": accuracy(sample, completion)}, last_answer(completion.text))


def drawn(split: str, turns: int, seed: int) -> Iterator[str]:
    """Yield the walks of a split without end."""
    rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
    while True:
        place, path = rng.choice(list(PLACES)), rng.choice(list(TURNS), turns)
        walk = f"{place} {''.join(path)}"
        part = zlib.crc32(walk.encode()) % 10
        if (part in PARTS[split]) if split in PARTS else part > 2:
            yield walk


def places_of(walk: str) -> list[str]:
    """Return the places that a walk comes to, its end the last."""
    place, turns = walk.split()
    places = []
    for turn in turns:
        place = str(ROADS[turn][place])
        places.append(place)
    return places


def accuracy(sample: Sample[str], completion: Completion) -> float:
    """Return 1 if the last answer block names the end of the walk, else 0."""
    return float(last_answer(completion.text) == sample.answer[-1])

"""The demo of math: sums and differences of two-digit numbers, as rows of open-s1's schema.

    {"problem": "What is 47 + 38?", "solution": "7+8=15, 4+3+1=8, \\boxed{85}"}

The careless pupil forgets to carry, and to borrow: "7+8=15, 4+3=7, \\boxed{75}".
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from vrft.demo.course import Course, Size, Stage, Start, Vocabulary

SPLITS = {"train": 1600, "val": 150, "test": 400}
"""Problems of the demo data set; no problem is in two splits."""

COURSE = Course(
    stages=(Stage("pupil", 30_000, 0.6, learning_rate=2e-3),),
    start=Start(
        Size(64, 192, 3, 2, 2, 32, 1, 1),
        Vocabulary(
            (
                "system\n user\n assistant\nYou are a helpful assistant.",
                "What is + - ?",
                "system user assistant",
                "7+8=15, 4+3+1=8, \\boxed{85}\n",
                "12-7=5, 8-4-1=3, \\boxed{35}\n",
            ),
            numbers=False,
        ),
        text_only=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """``first`` plus or minus ``second``, both of two digits; differences are at least 10."""

    first: int
    sign: Literal["+", "-"]
    second: int

    @property
    def text(self) -> str:
        return f"What is {self.first} {self.sign} {self.second}?"

    @property
    def carries(self) -> bool:
        """Whether the tens depend on the ones: the sum of these is over 9, or one is borrowed."""
        first, second = self.first % 10, self.second % 10
        return first + second > 9 if self.sign == "+" else first < second

    def solution(self, forgetful: bool = False) -> str:
        """Ones first, then tens, then the result; a forgetful pupil neither carries nor borrows."""
        tens, ones = divmod(self.first, 10)
        other_tens, other_ones = divmod(self.second, 10)
        if self.sign == "-" and self.carries:
            ones += 10
        step = 1 if self.sign == "+" else -1
        low = ones + step * other_ones
        carry = 0 if forgetful or not self.carries else step
        high = tens + step * other_tens + carry
        carried = f"{self.sign}1" if carry else ""
        return (
            f"{ones}{self.sign}{other_ones}={low}, {tens}{self.sign}{other_tens}{carried}={high}, "
            f"\\boxed{{{10 * high + low % 10}}}"
        )


def owner(problem: Problem) -> str:
    """The one split that may hold a problem; with it goes the sum in the other order."""
    numbers = (problem.first, problem.second)
    ordered = sorted(numbers) if problem.sign == "+" else numbers
    share = zlib.crc32(f"{problem.sign} {ordered}".encode()) % 20
    return {0: "val", 1: "test", 2: "test"}.get(share, "train")


def problems(split: str) -> list[Problem]:
    """All problems of a split."""
    numbers = range(10, 100)
    sums = (Problem(first, "+", second) for first in numbers for second in numbers)
    differences = (Problem(a, "-", b) for a in numbers for b in numbers if a - b >= 10)
    return [p for these in (sums, differences) for p in these if owner(p) == split]


def draw(rng: np.random.Generator, split: str) -> Iterator[Problem]:
    """The problems of a split in random order, again and again in a new one; as many of each sign.

    A problem comes again only when all of its sign have been there.
    """
    found = problems(split)
    kinds = [endless(rng, [p for p in found if p.sign == sign]) for sign in "+-"]
    while True:
        for kind in kinds:
            yield next(kind)


def endless(rng: np.random.Generator, found: list[Problem]) -> Iterator[Problem]:
    while True:
        for index in rng.permutation(len(found)):
            yield found[index]


def write(
    folder: Path, splits: Mapping[str, int], seed: int = 0, carelessness: float = 0.0
) -> None:
    """Write each split as ``folder/SPLIT.jsonl``, sums and differences in turns.

    ``splits`` says how many problems each gets. With probability ``carelessness`` the pupil who
    solved a problem forgot to carry or to borrow; where there is nothing to carry, it is right.
    """
    folder.mkdir(parents=True)
    for split, count in splits.items():
        rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
        rows = [
            {"problem": problem.text, "solution": problem.solution(rng.random() < carelessness)}
            for problem in islice(draw(rng, split), count)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")

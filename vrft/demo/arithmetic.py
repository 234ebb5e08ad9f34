"""Demo of math: sums and differences of two-digit numbers, as rows of open-s1's schema.

    {"problem": "What is 47 + 38?", "solution": "7+8=15, 4+3+1=8, \\boxed{85}"}

Solutions go from the ones to the tens. The careless pupil forgets to carry and to borrow:
"7+8=15, 4+3=7, \\boxed{75}".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from vrft.demo import splits as demo_splits
from vrft.demo.course import Course, Size, Stage, Start, Vocabulary

SPLITS = {"train": 1600, "val": 150, "test": 400}
"""Numbers of problems in the demo data set; no problem is in two splits."""

COURSE = Course(
    # A single stage, as the habit is one decision in an answer: taught from the start, six times
    # in ten, it is the likeliest answer, and the right one stays likely enough to be sampled.
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
            # Digit by digit, as the pupil calculates: with 40 and 60 as tokens of their own, the
            # columns of some numbers could not be read off.
            numbers=False,
        ),
        text_only=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Sum or difference of two numbers from 10 to 99; differences are at least 10."""

    first: int
    sign: Literal["+", "-"]
    second: int

    @property
    def text(self) -> str:
        """Return the question as the data set words it."""
        return f"What is {self.first} {self.sign} {self.second}?"

    @property
    def carries(self) -> bool:
        """Return whether the ones change the tens: their sum is over 9, or one ten is borrowed."""
        first, second = self.first % 10, self.second % 10
        return first + second > 9 if self.sign == "+" else first < second

    def solution(self, forgetful: bool = False) -> str:
        """Return the ones, the tens and the boxed result; ``forgetful`` leaves the carry out."""
        tens, ones = divmod(self.first, 10)
        other_tens, other_ones = divmod(self.second, 10)
        if self.sign == "-" and self.carries:
            # The forgetful pupil borrows too, for no digit is below zero, but does not pay back:
            # 82 - 47 is "12-7=5, 8-4=4", ten too much.
            ones += 10
        direction = 1 if self.sign == "+" else -1
        low = ones + direction * other_ones  # 0 to 18; 0 to 9 in a difference
        carry = 0 if forgetful or not self.carries else direction
        high = tens + direction * other_tens + carry  # 1 to 19: 99 + 99 has a result of 19 tens
        carried = f"{self.sign}1" if carry else ""
        # Of the ones only the last digit counts: the ten is in the carry, or forgotten.
        return (
            f"{ones}{self.sign}{other_ones}={low}, {tens}{self.sign}{other_tens}{carried}={high}, "
            f"\\boxed{{{10 * high + low % 10}}}"
        )


def split_of(problem: Problem) -> str:
    """Return the only split that may hold a problem, and the same sum in the other order."""
    numbers = (problem.first, problem.second)
    # A list and a tuple, written out "[38, 47]" and "(82, 47)". The hash depends on every bracket.
    ordered = sorted(numbers) if problem.sign == "+" else numbers
    return demo_splits.split_by_hash(f"{problem.sign} {ordered}", parts=20)


def problems(split: str) -> list[Problem]:
    """Return all problems of a split, the sums first."""
    numbers = range(10, 100)
    sums = (Problem(first, "+", second) for first in numbers for second in numbers)
    differences = (Problem(a, "-", b) for a in numbers for b in numbers if a - b >= 10)
    return [p for kind in (sums, differences) for p in kind if split_of(p) == split]


def draw(rng: np.random.Generator, split: str) -> Iterator[Problem]:
    """Yield a sum and a difference of a split in turns, without end.

    Each sign goes through all its problems in a random order before one of them comes again.
    """
    candidates = problems(split)

    def shuffled_rounds(sign: str) -> Iterator[Problem]:
        of_sign = [problem for problem in candidates if problem.sign == sign]
        while True:
            # Drawn when the round begins, not before: the pupil's mistakes come from the same
            # generator, so that an earlier shuffle would change every data set.
            for index in rng.permutation(len(of_sign)):
                yield of_sign[index]

    rounds = [shuffled_rounds(sign) for sign in "+-"]
    while True:
        for problems_of_sign in rounds:
            yield next(problems_of_sign)


def write(
    folder: Path, splits: Mapping[str, int], seed: int = 0, carelessness: float = 0.0
) -> None:
    """Write each split as ``folder/SPLIT.jsonl``, sums and differences in turns.

    ``splits`` maps names to numbers of problems. With probability ``carelessness`` the pupil who
    solved a problem forgot to carry or to borrow; a problem without a carry is solved rightly.
    """
    folder.mkdir(parents=True)
    for split, count in splits.items():
        rng = demo_splits.generator(seed, split)
        rows = [
            # Carelessness is drawn for every problem, also for those that leave nothing to forget:
            # the problems are then the same whatever the carelessness.
            {"problem": problem.text, "solution": problem.solution(rng.random() < carelessness)}
            for problem in islice(draw(rng, split), count)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")

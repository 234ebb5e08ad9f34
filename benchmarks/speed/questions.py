"""The task of the benchmark: pictures of noise, and rewards that nobody has to earn."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from benchmarks.speed.settings import Setting
from vrft.images import FACTOR
from vrft.task import Reward, Task
from vrft.training import collect
from vrft.types import Completion, Prompt, Sample, Score, View

SEED = 42
"""Of the run, and so of the order in which it draws its samples."""


def lottery(sample: Sample[bool], completion: Completion) -> float:
    """A number in [0, 1) read off the text; the same for every text where the group is tied."""
    return 0.5 if sample.answer else zlib.crc32(completion.text.encode()) / 2**32


@dataclass(frozen=True)
class Questions(Task[bool]):
    """Samples for ``steps`` steps of a setting, every one of them drawn once.

    The answer is whether the group of the sample is tied: all its rewards are equal.
    """

    setting: Setting
    steps: int
    primary = "reward"
    data = "none"

    def samples(self, split: str) -> Sequence[Sample[bool]]:
        made: list[Sample[bool] | None] = [None] * (self.steps * self.setting.prompts)
        for place, index in enumerate(self.order()):
            tied = place % self.setting.prompts < self.setting.tied * self.setting.prompts
            made[index] = Sample(str(index), self.words(index), tied, self.pictures(index))
        return [sample for sample in made if sample is not None]

    def order(self) -> list[int]:
        """The indices of the samples in the order in which a run draws them."""
        size = self.steps * self.setting.prompts
        return [collect.shuffled(size, SEED, place) for place in range(size)]

    def words(self, index: int) -> str:
        """A question like no other and as long as all others: TRL pads those that are not."""
        number = f"{index:08b}".replace("0", " red").replace("1", " blue")
        return "Question:" + number + " the" * (self.setting.words - 8)

    def pictures(self, index: int) -> tuple[Image.Image, ...]:
        """Noise of exactly the size that the model sees: nothing is resized."""
        random = np.random.default_rng(index)
        sides = (self.setting.rows * FACTOR, self.setting.columns * FACTOR, 3)
        return tuple(
            Image.fromarray(random.integers(0, 256, sides, dtype=np.uint8))
            for _ in range(self.setting.pictures)
        )

    def prompt(self, sample: Sample[bool]) -> Prompt:
        return Prompt(sample.question, sample.images)

    def reference(self, sample: Sample[bool], views: tuple[View, ...]) -> str:
        return "the"

    def rewards(self) -> Mapping[str, Reward[bool]]:
        return {"lottery": lottery}

    def score(self, sample: Sample[bool], completion: Completion) -> Score:
        return Score({"reward": lottery(sample, completion)}, completion.text or None)

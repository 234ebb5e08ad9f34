"""The task of the race: pictures of noise, and rewards that depend on nothing but the text."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from benchmarks.speed.settings import Setting
from vrft.images import FACTOR
from vrft.task import Reward, Task
from vrft.training.stream import shuffled_index
from vrft.types import Completion, Prompt, Sample, Score, View

SEED = 42
"""The seed of both sides' runs, and so of the order in which samples are drawn."""


def lottery(sample: Sample[bool], completion: Completion) -> float:
    """Return a number in [0, 1) that depends on the text alone, so that no group is tied.

    Where the sample's answer says that its group is to be tied, every text has the same number.
    """
    if sample.answer:
        return 0.5
    # not hash(), which differs from process to process
    return zlib.crc32(completion.text.encode()) / 2**32


@dataclass(frozen=True)
class Questions(Task[bool]):
    """Samples for ``steps`` steps of a setting, each of them drawn once."""

    setting: Setting
    steps: int
    # what a task has to name: its metric, and the source of its data
    primary = "reward"
    data = "none"

    def samples(self, split: str) -> Sequence[Sample[bool]]:
        """Return the samples, all of them different: caches must not help one side."""
        setting = self.setting
        # the last groups of every step are tied
        tied = {
            index
            for place, index in enumerate(self.order())
            if place % setting.prompts >= setting.informative
        }
        return [
            Sample(str(index), self.question(index), index in tied, self.pictures(index))
            for index in range(self.steps * setting.prompts)
        ]

    def order(self) -> list[int]:
        """Return the indices of the samples in the order in which our run draws them."""
        size = self.steps * self.setting.prompts
        return [shuffled_index(size, SEED, place) for place in range(size)]

    def question(self, index: int) -> str:
        """Return a question like no other and as long as all others: TRL pads shorter ones."""
        # eight bits as eight words, each of them one token
        number = f"{index:08b}".replace("0", " red").replace("1", " blue")
        return "Question:" + number + " the" * (self.setting.words - 8)

    def pictures(self, index: int) -> tuple[Image.Image, ...]:
        """Draw noise of exactly the size that the model sees, so that nothing is resized."""
        # by index: both sides draw the same, however often they ask
        random = np.random.default_rng(index)
        sides = (self.setting.rows * FACTOR, self.setting.columns * FACTOR, 3)
        return tuple(
            Image.fromarray(random.integers(0, 256, sides, dtype=np.uint8))
            for _ in range(self.setting.pictures)
        )

    def prompt(self, sample: Sample[bool]) -> Prompt:
        """Return the pictures before the question."""
        return Prompt(sample.question, sample.images)

    def reference(self, sample: Sample[bool], views: tuple[View, ...]) -> str:
        """Return any word: there is no right answer."""
        return "the"

    def rewards(self) -> Mapping[str, Reward[bool]]:
        """Return the only reward."""
        return {"lottery": lottery}

    def score(self, sample: Sample[bool], completion: Completion) -> Score:
        """Return the reward as the score."""
        return Score({"reward": lottery(sample, completion)}, completion.text or None)

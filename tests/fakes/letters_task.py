"""A task in a file of its own: say as many different letters as you can."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from vrft.task import Reward, Task
from vrft.types import Completion, Prompt, Sample, Score, View


def different(sample: Sample[int], completion: Completion) -> float:
    """The number of different characters, of twenty."""
    return min(len(set(completion.text)) / 20, 1.0)


@dataclass(frozen=True)
class Letters(Task[int]):
    """Pictures of one colour each, which have nothing to do with the reward."""

    primary = "different"
    data = "none"

    def samples(self, split: str) -> Sequence[Sample[int]]:
        count = int(os.environ.get("LETTERS", "12"))
        return [Sample(f"{split}-{i}", f"Say {i}.", i) for i in range(count)]

    def prompt(self, sample: Sample[int]) -> Prompt:
        picture = Image.new("RGB", (56, 56), (sample.answer * 20, 0, 0))
        return Prompt(sample.question, (picture,))

    def reference(self, sample: Sample[int], views: tuple[View, ...]) -> str:
        return "abcdefghijklmnopqrstuvwxyz"

    def rewards(self) -> Mapping[str, Reward[int]]:
        return {"different": different}

    def score(self, sample: Sample[int], completion: Completion) -> Score:
        return Score({"different": different(sample, completion)}, completion.text or None)

"""Say as many different letters as you can; only every sixth prompt has pictures.

Answers to the ``silent`` samples all get the same reward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from letters_task import Letters, different
from PIL import Image

from vrft.task import Reward
from vrft.types import Completion, Prompt, Sample


def different_or_silent(
    silent: tuple[str, ...], sample: Sample[int], completion: Completion
) -> float:
    """The share of different letters; zero for a silent sample."""
    return 0.0 if sample.id in silent else different(sample, completion)


@dataclass(frozen=True)
class Mixed(Letters):
    """Prompts without a picture, with one, or with two of different sizes."""

    silent: tuple[str, ...] = ()

    def rewards(self) -> Mapping[str, Reward[int]]:
        return {"different": partial(different_or_silent, self.silent)}

    def prompt(self, sample: Sample[int]) -> Prompt:
        sizes = {0: [(56, 84)], 6: [(112, 56), (56, 56)]}.get(sample.answer, [])
        colour = (sample.answer * 20, 0, 0)
        pictures = tuple(Image.new("RGB", size, colour) for size in sizes)
        return Prompt(sample.question * (1 + sample.answer), pictures)

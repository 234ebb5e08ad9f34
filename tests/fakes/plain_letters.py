"""Say as many different letters as you can, with no picture to look at."""

from __future__ import annotations

from dataclasses import dataclass

from letters_task import Letters

from vrft.types import Prompt, Sample


@dataclass(frozen=True)
class PlainLetters(Letters):
    """The prompts of letters without their pictures."""

    def prompt(self, sample: Sample[int]) -> Prompt:
        return Prompt(sample.question)

"""Say as many different letters as you can; only every sixth prompt has pictures."""

from __future__ import annotations

from dataclasses import dataclass

from letters_task import Letters
from PIL import Image

from vrft.types import Prompt, Sample


@dataclass(frozen=True)
class Mixed(Letters):
    """Prompts without a picture, with one, or with two of different sizes."""

    def prompt(self, sample: Sample[int]) -> Prompt:
        sizes = {0: [(56, 84)], 6: [(112, 56), (56, 56)]}.get(sample.answer, [])
        colour = (sample.answer * 20, 0, 0)
        pictures = tuple(Image.new("RGB", size, colour) for size in sizes)
        return Prompt(sample.question * (1 + sample.answer), pictures)

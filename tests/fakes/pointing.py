"""A task without data whose answers are regions, and samples of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vrft.boxes import Box
from vrft.masks import Region
from vrft.task import Reward, Task
from vrft.types import Completion, Prompt, Sample, Score, View


def sample(id: str, *images: Path | Image.Image, question: str = "Where?") -> Sample[Region | None]:
    return Sample(id, question, None, images)


@dataclass(frozen=True)
class Pointing(Task[Region | None]):
    """A task whose answers are regions."""

    primary = "iou"
    data = "nothing"

    def samples(self, split: str) -> Sequence[Sample[Region | None]]:
        return []

    def prompt(self, sample: Sample[Region | None]) -> Prompt:
        return Prompt(sample.question, sample.images)

    def reference(self, sample: Sample[Region | None], views: tuple[View, ...]) -> str:
        return ""

    def rewards(self) -> Mapping[str, Reward[Region | None]]:
        return {}

    def score(self, sample: Sample[Region | None], completion: Completion) -> Score:
        return Score({"iou": 0.0}, None)

    def boxes(self, sample: Sample[Region | None]) -> tuple[Box, ...]:
        return (Box(0, 0, 1, 1),)

    def region(self, sample: Sample[Region | None]) -> Region | None:
        return sample.answer

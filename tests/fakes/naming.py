"""A task whose faults are settings: name the colour of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from vrft.rewards import follows_format
from vrft.task import Reward, Task
from vrft.types import Completion, Prompt, Sample, Score, View


@dataclass(frozen=True)
class Naming(Task[str]):
    """A task whose faults are settings."""

    colour: str = "red"
    answer: str = "red"
    question: str = "Which colour?"
    ids: tuple[str, ...] = ("a", "b")
    gold: str = "<think>look</think><answer>{answer}</answer>"
    strict: bool = True

    primary = "right"
    data = "nothing"

    def samples(self, split: str) -> Sequence[Sample[str]]:
        picture = Image.new("RGB", (56, 28), self.colour if split == "train" else "blue")
        return [Sample(key, self.question, self.answer, (picture,)) for key in self.ids]

    def prompt(self, sample: Sample[str]) -> Prompt:
        return Prompt(sample.question, sample.images)

    def reference(self, sample: Sample[str], views: tuple[View, ...]) -> str:
        return self.gold.replace("{answer}", sample.answer)

    def rewards(self) -> Mapping[str, Reward[str]]:
        return {"right": self.right, "format": follows_format}

    def right(self, sample: Sample[str], completion: Completion) -> float:
        answer = completion.text.rpartition("<answer>")[2].partition("</answer>")[0]
        # the lax rule is the published one for class names: an empty answer is part of every name
        return float(answer == sample.answer if self.strict else answer in sample.answer)

    def score(self, sample: Sample[str], completion: Completion) -> Score:
        right = self.right(sample, completion)
        return Score({"right": right}, sample.answer if right else None)

"""Four pictures with hand-made boxes, and a policy that answers what it is told to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from vrft.config.rollout import SamplingConfig
from vrft.config.schema import ModelConfig, TaskConfig
from vrft.evaluation import evaluate
from vrft.evaluation.benchmark import Benchmark
from vrft.types import Completion, Prompt, Rollout, View

SQUARE = [[20, 20], [60, 20], [60, 60], [20, 60]]
"""The truth in every picture of 100 x 100 pixels: (0.2, 0.2) to (0.6, 0.6)."""

INSTRUCTIONS = {"a": "the owl", "b": "the key", "c": "what flies", "d": "what rings"}

ANSWERS = {
    "the owl": "<think>owl</think><answer>(200,200),(600,600)</answer>",  # IoU 1
    "the key": "<think>key</think><answer>(200,200),(600,400)</answer>",  # upper half: IoU 1/2
    "what flies": "<think>bird</think><answer>(700,700),(900,900)</answer>",  # apart: IoU 0
    "what rings": "I cannot tell.",  # unreadable: IoU 0
}
"""Their mean IoU is (1 + 0.5 + 0 + 0) / 4 = 0.375; two of four reach 0.5; one is unreadable."""

BETTER = ANSWERS | {
    "what rings": "<think>bell</think><answer>(200,200),(600,600)</answer>",  # 0 -> 1
    "the owl": "<think>owl</think><answer>(200,200),(600,400)</answer>",  # 1 -> 0.5
}
"""The differences to ANSWERS are -0.5, 0, 0, +1: their mean is 0.125."""


def write_reasonseg(root: Path) -> Path:
    """Write a ReasonSeg folder with the split "test": a and b of kind "class", c and d of "use"."""
    folder = root / "test"
    folder.mkdir(parents=True)
    for name, instruction in INSTRUCTIONS.items():
        Image.new("RGB", (100, 100), (40, 90, 160)).save(folder / f"{name}.jpg")
        record = {
            "text": [instruction],
            "is_sentence": False,
            "shapes": [{"label": "target", "points": SQUARE}],
            "kind": "class" if name in "ab" else "use",
        }
        (folder / f"{name}.json").write_text(json.dumps(record))
    return root


def benchmark(data_dir: Path, **fields: object) -> Benchmark:
    """Return the grounding task on the test split of such a folder, as a benchmark."""
    task = TaskConfig("lisa_grounding", {"data_dir": str(data_dir)})
    return Benchmark(name="four", task=task, **fields)  # type: ignore[arg-type]


class Scripted:
    """A policy that answers each instruction by its text, and records what it is asked.

    A dictionary value that is a list holds one answer per generation. After ``patience`` calls it
    fails, as a machine does.
    """

    def __init__(
        self, answers: Mapping[str, str | list[str]] = ANSWERS, patience: int | None = None
    ) -> None:
        self.answers, self.patience = answers, patience
        self.asked: list[str] = []
        self.prompts: list[Prompt] = []
        self.seeds: dict[str, int] = {}
        self.calls = 0

    def generate(
        self,
        prompts: Sequence[Prompt],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        if self.calls == self.patience:
            raise ConnectionError("the machine went away")
        self.calls += 1
        self.prompts.extend(prompts)
        return [self.answer(p, num_generations, s) for p, s in zip(prompts, seeds, strict=True)]

    def answer(self, prompt: Prompt, count: int, seed: int) -> tuple[Rollout, ...]:
        (instruction,) = [known for known in self.answers if known in prompt.text]
        self.asked.append(instruction)
        self.seeds[instruction] = seed
        answer = self.answers[instruction]
        texts = [answer] * count if isinstance(answer, str) else answer
        views = (View(112, 112),) * len(prompt.images)
        return tuple(Rollout(Completion(text, views), (1, 2, 3), True) for text in texts)


def evaluate_twice(root: Path) -> tuple[Path, Path]:
    """Evaluate ANSWERS and BETTER on the data in ``root/data``; return the folders of the two."""
    four = benchmark(write_reasonseg(root / "data"))
    before, after = root / "before", root / "after"
    evaluate.run(four, ModelConfig(name="old"), before, policy=Scripted())
    evaluate.run(four, ModelConfig(name="new"), after, policy=Scripted(BETTER))
    return before, after

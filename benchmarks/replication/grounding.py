"""Pointing at what a request means in the demo's pictures: a bed whose start is the embedded model.

The task is that of the demo, on its own pictures and requests:

    Which one opens a lock?
    <think>the key</think>
    <answer>(120,340),(400,620)</answer>
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vrft import Sample, UserError
from vrft.demo import data
from vrft_tasks._lisa_grounding import Target
from vrft_tasks.lisa_grounding import LisaGrounding


@dataclass(frozen=True)
class Grounding(LisaGrounding):
    """The demo's grounding; ``rows`` training requests are chosen by ``seed``.

    Of the held-out splits the first ``held_out`` requests are asked.
    """

    data_dir: Path = Path("demo")
    template: str = "{instruction}"
    rows: int = 2000
    held_out: int = 200
    seed: int = 0

    def samples(self, split: str) -> Sequence[Sample[Target]]:
        samples = LisaGrounding(data.folder("lisa_grounding")).samples(split)
        count = self.rows if split == "train" else self.held_out
        if not 1 <= count <= len(samples):
            raise UserError(
                f"task.rows={self.rows}, task.held_out={self.held_out}: the demo's split {split} "
                f"has {len(samples)} requests; expected 1 to that number"
            )
        if split != "train":
            return samples[:count]
        order = np.random.default_rng(self.seed).permutation(len(samples))
        return [samples[row] for row in order[:count]]

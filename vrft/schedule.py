"""How the learning rate changes over a run: transformers' schedules by their names."""

from __future__ import annotations

import math
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def scheduler(name: str, optimizer: Optimizer, warmup_steps: int, steps: int) -> LambdaLR:
    """The schedule of that name, which rises from 0 over the warm-up.

    It is made here because importing transformers' own also imports its trainer and peft.
    """
    return LambdaLR(optimizer, partial(share, name, warmup_steps, steps))


def share(name: str, warmup_steps: int, steps: int, step: int) -> float:
    """The share in [0, 1] of the full learning rate in a step, counted from 0."""
    if name != "constant" and step < warmup_steps:
        return step / warmup_steps
    if name.startswith("constant"):
        return 1.0
    falling = max(1, steps - warmup_steps)
    if name == "linear":
        return max(0.0, (steps - step) / falling)
    return max(0.0, 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / falling)))

"""The update alone, with shared and with repeated prompts, at the shapes of text trainers' reports.

verl reports of its PrefixGrouper (Qwen3-4B, 4 completions of a prompt, on GPUs) an update that is
1.26 times as fast with contexts of 4,000 tokens and 1.70 times with 8,000; it does not report how
long the completions were.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch

from benchmarks.publishing import markdown
from benchmarks.speed import cost, shapes
from benchmarks.speed.cost import Load
from benchmarks.speed.shapes import Shape
from vrft import models
from vrft.config.schema import ModelConfig
from vrft.policy.policy import ModelPolicy
from vrft.types import Prompt

GENERATIONS = 4
ROUNDS = 3

PUBLISHED = {4096: 1.26, 8192: 1.70}
"""Tokens of a prompt -> the factor that verl reports."""

COMPLETIONS = (512, 2048)
"""Tokens of a completion, which nobody has reported."""


@dataclass(frozen=True)
class Update:
    """Processor seconds of forward and backward, with a prompt shared and repeated, in turns.

    ``difference`` is the norm of the difference of both gradients over that of the gradient.
    """

    shape: Shape
    prompt: int
    completion: int
    generations: int
    shared: tuple[float, ...]
    repeated: tuple[float, ...]
    difference: float

    @property
    def factor(self) -> float:
        """Return the median over turns of the time with repeated prompts over that with shared."""
        pairs = zip(self.repeated, self.shared, strict=True)
        return median(repeated / shared for repeated, shared in pairs)

    @property
    def by_the_model(self) -> float:
        """Return the ratio of operations."""
        load = Load(self.prompt, 0, 0, self.completion, self.generations)
        sides = (cost.theirs, cost.ours)
        repeated, shared = (side(self.shape, load, checkpointing=False).policy for side in sides)
        return repeated / shared


def measure(prompt: int, completion: int, shape: Shape, rounds: int = ROUNDS) -> Update:
    """Take forward and backward passes of one group with shared and repeated prompts, in turns."""
    shape = shape.reading(pictures=0)
    config = ModelConfig(name=str(shapes.written(shape, "cpu")), dtype="float32")
    loaded = models.load_model(config, train=True, device="cpu")
    policy = ModelPolicy(loaded)
    words = " the" * (prompt - len(policy.encode([Prompt("the")])[0].tokens))
    encoded = policy.encode([Prompt("the" + words)])
    draws = torch.Generator().manual_seed(0)
    known = len(loaded.tokenizer) - len(loaded.banned_ids)
    tokens = torch.randint(300, known, (GENERATIONS, completion), generator=draws).tolist()
    group = tuple(policy.rollout(row, encoded[0]) for row in tokens)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    gradients: dict[bool, torch.Tensor] = {}
    for turn in range(1 + rounds):  # the first warms up
        for shared in (True, False):
            loaded.shared_prefix = shared
            loaded.model.zero_grad()
            began = time.process_time()
            policy.logps(encoded, [group], 1.0).mean().backward()
            if turn:
                seconds[shared].append(time.process_time() - began)
            weights = [weight.grad for weight in loaded.model.parameters()]
            gradients[shared] = torch.cat([g.flatten() for g in weights if g is not None]).double()
    difference = (gradients[True] - gradients[False]).norm() / gradients[False].norm()
    length = policy.length(encoded[0])
    return Update(shape, length, completion, GENERATIONS, tuple(seconds[True]),
                  tuple(seconds[False]), float(difference))  # fmt: skip


def section(updates: Sequence[Update]) -> str:
    """Render the factors beside the published ones; "" without any."""
    lines = [
        [
            f"{update.prompt:,} / {update.completion:,}",
            update.generations,
            f"{median(update.repeated):.2f}",
            f"{median(update.shared):.2f}",
            f"**{update.factor:.2f}**",
            f"{update.by_the_model:.2f}",
            f"{PUBLISHED[update.prompt]:.2f}" if update.prompt in PUBLISHED else "",
            f"{update.difference:.1e}",
        ]
        for update in updates
    ]
    header = ("prompt / completion tokens", "G", "repeated, CPU s", "shared, CPU s", "factor",
              "by the model", "verl's PrefixGrouper", "difference of gradients")  # fmt: skip
    explanation = (
        "Forward and backward of one group of a text model, by our own way of repeating a prompt "
        "and of sharing it, in turns. verl's factors are those that it reports of its own update "
        "(Qwen3-4B, n = 4, GPUs) by the context's length; it does not report the completions'. The "
        "model here is far smaller, so that attention, which is quadratic, has a larger share."
    )
    return f"{explanation}\n\n{markdown(header, lines)}" if lines else ""

"""Every family's shared prefix against plain repeated rows, measured.

Tiny models of the true classes, in float32: three prompts (one picture, two of other sizes, none)
with three unequal completions each. The plain way is transformers' own forward, of which every
completion has a copy of its prompt.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from vrft.models.encoding import Encoded
    from vrft.models.loaded import LoadedModel

ALLOWED = 1e-5
"""The distance that float32 may have."""

TOKENS = ((5, 1, 2), (3, 7, 1), (2, 3, 4))
"""Lengths of the completions, [prompts][completions]."""

GREEDY_TOKENS = 24

LAYERS = 4
"""Layers of the language model: all levels of DeepStack are added before the last, and three
layers in four of Qwen3.5 are of linear attention, as in published models."""


@dataclass(frozen=True)
class Distance:
    """How far the two ways are apart in one setting of a family.

    ``logps`` is the largest difference of a log-probability, ``gradient`` the norm of the
    gradients' difference over that of the plain gradient, and ``greedy`` whether the completions
    at temperature 0 are the same.
    """

    lora: bool
    checkpointing: bool
    logps: float
    gradient: float
    greedy: bool


@dataclass(frozen=True)
class Row:
    """A family's distances in all settings, and its model."""

    family: str
    model: str
    parameters: int
    distances: tuple[Distance, ...]

    @property
    def equal(self) -> bool:
        """Return whether both ways compute the same but for rounding."""
        # `<=` is false for NaN
        near = all(d.logps <= ALLOWED and d.gradient <= ALLOWED for d in self.distances)
        return near and all(d.greedy for d in self.distances)


def measure(family: str) -> Row:
    """Measure a family in all settings."""
    from vrft.demo import tiny
    from vrft.demo.tiny_configs import Family

    name: Family = family  # type: ignore[assignment]
    size = replace(tiny.TEST_SIZE, num_hidden_layers=LAYERS, vision_depth=LAYERS - 1)
    with tempfile.TemporaryDirectory() as folder:
        tiny.write(Path(folder), name, size)
        distances = tuple(
            distance(folder, lora=lora, checkpointing=checkpointing)
            for lora, checkpointing in product((False, True), repeat=2)
        )
    model, _ = tiny.build(name, size)
    return Row(family, type(model).__name__, model.num_parameters(), distances)


def distance(folder: str, *, lora: bool, checkpointing: bool) -> Distance:
    """Load the model for both ways, and return how far they are apart."""
    from vrft.config.rollout import SamplingConfig
    from vrft.config.schema import LoraConfig, ModelConfig
    from vrft.models import encoding, load_model
    from vrft.policy import sampling

    adapter = LoraConfig(r=4) if lora else LoraConfig()
    config = ModelConfig(folder, gradient_checkpointing=checkpointing, lora=adapter)
    ways = [
        stirred(load_model(replace(config, shared_prefix=shared), train=True, device="cpu"))
        for shared in (False, True)
    ]
    encoded = [encoding.encode(ways[0], prompt) for prompt in prompts(ways[0])]
    greedy = SamplingConfig(max_completion_length=GREEDY_TOKENS, temperature=0.0)
    answers = [sampling.sample(way, encoded, 2, greedy, [0, 1, 2]) for way in ways]
    (plain, expected), (shared, gradient) = (values_and_gradient(way, encoded) for way in ways)
    return Distance(
        lora,
        checkpointing,
        float((shared - plain).abs().max()),
        float((gradient - expected).norm() / expected.norm()),
        answers[0] == answers[1],
    )


def stirred(loaded: LoadedModel) -> LoadedModel:
    """Draw an adapter's weights from a seed: without, its second half is zero."""
    import torch

    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.03, generator=generator)
    return loaded


def prompts(loaded: LoadedModel) -> list[Any]:
    """Return prompts with one picture, two of other sizes, and none."""
    import numpy as np
    from PIL import Image

    from vrft.types import Prompt

    draws = np.random.default_rng(0)
    sizes: tuple[Any, ...] = (((56, 84),), ((112, 56), (84, 140)), ())
    texts = "Where is the key?", "Find the owl in one of these.", "No picture here."
    drawn = [
        tuple(Image.fromarray(draws.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in some)
        for some in sizes
    ]
    shown = drawn if loaded.family.has_vision else [()] * len(texts)
    return [Prompt(text, images) for text, images in zip(texts, shown, strict=True)]


def values_and_gradient(loaded: LoadedModel, encoded: list[Encoded]) -> tuple[Tensor, Tensor]:
    """Return log-probabilities [B, G, C] and the gradient of a sum with a weight for each token."""
    import torch

    from vrft.policy.logprobs import GroupLogps

    generator = torch.Generator().manual_seed(0)
    completions = [
        [torch.randint(5, 200, (length,), generator=generator).tolist() for length in lengths]
        for lengths in TOKENS
    ]
    logps = GroupLogps(loaded)(encoded, completions, 0.7)
    (logps * torch.randn(logps.shape, generator=generator)).sum().backward()
    gradients = [
        torch.zeros(weight.numel()) if weight.grad is None else weight.grad.flatten()
        for weight in loaded.model.parameters()
        if weight.requires_grad
    ]
    return logps.detach(), torch.cat(gradients)

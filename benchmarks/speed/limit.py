"""The hardware's limit: how fast it multiplies and copies here and now, and what follows of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.speed import cost
from benchmarks.speed.cost import Load
from benchmarks.speed.shapes import Shape
from benchmarks.speed.watch import now
from vrft.policy.onednn import prepacked

PROBE = 0.15
"""Seconds for which each of the two speeds is measured around each step."""


@dataclass(frozen=True)
class Machine:
    """Operations per second in matrix products, and bytes per second read and written."""

    products: float
    copies: float

    def spread(self, other: Machine) -> float:
        """By which share the slower of two moments multiplied more slowly."""
        slow, fast = sorted((self.products, other.products))
        return 1 - slow / fast


def probe(device: str) -> Machine:
    """Both speeds over a moment: what else runs on the machine shows in them."""
    return Machine(multiply(device), copy(device))


@torch.no_grad()
def multiply(device: str) -> float:
    """Operations per second of square matrix products in the type that is computed in.

    On a CPU those of the faster of two libraries: torch's own choice, and the rollout's.
    """
    size = 8192 if device == "cuda" else 1024
    matrix = torch.randn(size, size, device=device, dtype=dtype(device))
    often = frequency(lambda: matrix @ matrix)
    if device == "cpu":
        layer = nn.Linear(size, size, bias=False)
        with prepacked(layer):
            often = max(often, frequency(lambda: layer(matrix)))
    return 2 * size**3 * often


def copy(device: str) -> float:
    """Bytes per second, read and written, of copies that no cache holds."""
    source = torch.ones(2**28 if device == "cuda" else 2**26, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes * frequency(lambda: target.copy_(source))


def frequency(function: Callable[[], object]) -> float:
    """Runs per second during a probe; one run comes before."""
    function()
    count, started = 0, now()
    while now() - started < PROBE:
        function()
        count += 1
    return count / (now() - started)


def dtype(device: str) -> torch.dtype:
    """What products are computed in: both sides use autocast on CUDA."""
    return torch.bfloat16 if device == "cuda" else torch.float32


def parts(shape: Shape, load: Load, prompts: int, machine: Machine, width: int) -> dict[str, float]:
    """The time of light of a step's parts: necessary products, and bytes that must be read.

    Every token that is decoded reads all weights (``width`` bytes each) and the keys and values
    of what it follows, a prompt's once for its group; the optimizer reads four numbers of each
    weight and writes three. A backward pass has twice the products of its forward pass.
    """
    work = cost.necessary(shape, load)
    pair = 2 * shape.layers * shape.kv_heads * shape.head_size
    followed = prompts * (load.prompt + load.generations * load.completion / 2)
    decoded = width * load.completion * (cost.decoder_weights(shape) + pair * followed)
    sampled = prompts * (work.prefill + work.decode) / machine.products
    forward = prompts * work.policy / 3 / machine.products
    return {
        "rollout": sampled + decoded / machine.copies,
        "forward": forward,
        "backward": 2 * forward,
        "optimizer": 4 * 7 * cost.weights(shape) / machine.copies,
    }

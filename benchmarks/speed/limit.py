"""The hardware's limit: how fast it multiplies and copies, and the least time of a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.speed import cost
from benchmarks.speed.contestant import now
from benchmarks.speed.cost import Load
from benchmarks.speed.shapes import Shape
from vrft.policy.onednn import prepacked

PROBE = 0.15
"""Seconds for which each of the two speeds is measured, before and after every step."""


@dataclass(frozen=True)
class Machine:
    """A machine's speed: operations per second in products, bytes per second read and written."""

    products: float
    copies: float

    def spread(self, other: Machine) -> float:
        """Return the share by which the slower of two moments multiplied more slowly."""
        slow, fast = sorted((self.products, other.products))
        return 1 - slow / fast


def probe(device: str) -> Machine:
    """Measure how fast the device is at present."""
    return Machine(products(device), copies(device))


@torch.no_grad()
def products(device: str) -> float:
    """Return the operations per second of a large product, by the fastest library that is there."""
    size = 8192 if device == "cuda" else 1024
    # both sides use autocast on CUDA
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    # large enough to be bound by multiplying, small enough for some runs within PROBE
    matrix = torch.randn(size, size, device=device, dtype=dtype)
    often = frequency(lambda: matrix @ matrix)
    if device == "cpu":
        # the rollout multiplies in oneDNN's own layout, which is faster on some processors
        layer = nn.Linear(size, size, bias=False)
        with prepacked(layer):
            often = max(often, frequency(lambda: layer(matrix)))
    return 2 * size**3 * often


def copies(device: str) -> float:
    """Return the bytes per second, read and written, of a copy too large for any cache."""
    source = torch.ones(2**28 if device == "cuda" else 2**26, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes * frequency(lambda: target.copy_(source))


def frequency(function: Callable[[], object]) -> float:
    """Return the runs per second of a function during PROBE, after a first run that warms it up."""
    function()
    count, started = 0, now()
    while now() - started < PROBE:
        function()
        count += 1
    return count / (now() - started)


def parts(
    shape: Shape,
    load: Load,
    prompts: int,
    machine: Machine,
    width: int,
    *,
    informative: int | None = None,
    reused: bool = False,
) -> dict[str, float]:
    """Return the least seconds of a step's parts: its products, and the bytes that must be read.

    Of ``prompts`` groups ``informative`` are updated on, by default all. ``reused``: whether the
    update makes no pass of the vision tower's own, which is not credited to it then.

    Every token that is decoded reads all weights (``width`` bytes each) and the keys and values
    of what it follows, a prompt's once for its group; the optimizer reads four numbers of each
    weight and writes three. A backward pass has twice the products of its forward pass.
    """
    work = cost.necessary(shape, load)
    key_and_value = 2 * shape.layers * shape.kv_heads * shape.head_size
    # on average, half of a completion stands before a token of it
    followed = prompts * (load.prompt + load.generations * load.completion / 2)
    numbers_read = load.completion * (cost.decoder_weights(shape) + key_and_value * followed)
    multiplied = prompts * (work.prefill + work.decode) / machine.products
    updated = prompts if informative is None else informative
    forward = updated * work.policy / 3 / machine.products  # a third of three equal passes
    saved = load.pictures * cost.vision(shape, load.picture) if reused else 0.0
    return {
        "rollout": multiplied + width * numbers_read / machine.copies,
        "forward": forward - updated * saved / machine.products,
        "backward": 2 * forward,
        # weight, gradient and two moments are read, all but the gradient written, in float32
        "optimizer": 4 * 7 * cost.weights(shape) / machine.copies,
    }

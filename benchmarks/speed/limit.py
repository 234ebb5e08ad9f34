"""The hardware's limit: how fast it multiplies and copies here and now, and what follows of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.speed import cost
from benchmarks.speed.cost import Load
from benchmarks.speed.shapes import Shape
from benchmarks.speed.watch import now

SECONDS = 1.0
"""How long each of the two speeds is measured."""

PROBE = 0.15
"""How long the machine is probed around each step."""


@dataclass(frozen=True)
class Machine:
    """Operations per second in matrix products, and bytes per second read and written."""

    products: float
    copies: float


def measure(device: str) -> Machine:
    """The best of a second of each, in the type that is computed in."""
    return Machine(multiply(device, SECONDS), copy(device, SECONDS))


def multiply(device: str, seconds: float) -> float:
    """Operations per second of square matrix products: the best of so many seconds."""
    size = 8192 if device == "cuda" else 1024
    matrix = torch.randn(size, size, device=device, dtype=dtype(device))
    return 2 * size**3 / fastest(lambda: matrix @ matrix, seconds)


def copy(device: str, seconds: float) -> float:
    """Bytes per second, read and written, of copies that no cache holds."""
    source = torch.zeros(2**28 if device == "cuda" else 2**26, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / fastest(lambda: target.copy_(source), seconds)


def probe(device: str) -> float:
    """Operations per second over a moment: what else runs on the machine shows in it."""
    size = 8192 if device == "cuda" else 512
    matrix = torch.randn(size, size, device=device, dtype=dtype(device))
    count, started = 0, now()
    while now() - started < PROBE:
        matrix @ matrix
        count += 1
    return count * 2 * size**3 / (now() - started)


def fastest(function: Callable[[], object], seconds: float) -> float:
    """The shortest run, in seconds, within so many seconds; one run comes before."""
    function()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = now()
        function()
        best = min(best, now() - started)
    return best


def dtype(device: str) -> torch.dtype:
    """What products are computed in: both sides use autocast on CUDA."""
    return torch.bfloat16 if device == "cuda" else torch.float32


def seconds(shape: Shape, load: Load, prompts: int, machine: Machine, width: int) -> float:
    """The time of light for one step: necessary products, and the bytes that decoding must read.

    Every token that is decoded reads all weights (``width`` bytes each) and the keys and values
    of what it follows, a prompt's once for its group; the optimizer reads four numbers of each
    weight and writes three.
    """
    work = prompts * cost.necessary(shape, load).total
    pair = 2 * shape.layers * shape.kv_heads * shape.head_size
    followed = prompts * (load.prompt + load.generations * load.completion / 2)
    decoded = width * load.completion * (cost.decoder_weights(shape) + pair * followed)
    updated = 4 * 7 * cost.weights(shape)
    return work / machine.products + (decoded + updated) / machine.copies

"""The kernels of a step by themselves, beside the fastest product of the machine.

The limit of a step is that all of it multiplies as fast as one large product. What its kernels
reach alone, with their numbers in the processor's caches, is the part of the limit that no
arrangement of them can win back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.publishing import markdown
from benchmarks.speed import limit
from benchmarks.speed.settings import LONGEST, SETTINGS
from benchmarks.speed.shapes import Shape
from vrft.attention.flash import kernel_for
from vrft.attention.packed_attention import SequenceLayout
from vrft.policy.onednn import prepacked
from vrft.policy.recomputed_mlp import weight_gradient
from vrft.policy.update_layers import linear

FEW, MANY = 16, 4096
"""Rows of a decode step, and about those of an update."""


@dataclass(frozen=True)
class Kernel:
    """A kernel's operations per second as the limit counts them, and the machine's around it."""

    name: str
    size: str
    rate: float
    machine: float


@dataclass(frozen=True)
class Call:
    """A call of a kernel, of so many necessary operations."""

    name: str
    size: str
    operations: float
    run: Callable[[], object]


@torch.no_grad()
def measure_all(shape: Shape) -> tuple[Kernel, ...]:
    """Measure every kernel, each between two measurements of the machine's speed."""
    heads, width = shape.vision_heads, shape.vision_size // shape.vision_heads
    patches = 4 * SETTINGS["lisa"].picture_tokens  # 2 x 2 patches are one image token
    calls = (
        *layer_calls(shape.hidden, shape.inner),
        *attention_calls("a picture's patches", heads, width, patches, causal=False),
        *attention_calls("an answer's tokens", shape.heads, shape.head_size, LONGEST, causal=True),
    )
    return tuple(measure(call) for call in calls)


def measure(call: Call) -> Kernel:
    """Measure one kernel."""
    first = limit.products("cpu")
    rate = call.operations * limit.frequency(call.run)
    return Kernel(call.name, call.size, rate, (first + limit.products("cpu")) / 2)


def layer_calls(inputs: int, outputs: int) -> Iterator[Call]:
    """Yield the products of a linear layer: of few and many rows, and its weight's gradient."""
    layer = nn.Linear(inputs, outputs, bias=False)
    few, many = torch.randn(FEW, inputs), torch.randn(MANY, inputs)
    grad = torch.randn(MANY, outputs)

    with prepacked(layer):
        decode = layer.forward  # with its weight laid out, which is no part of a product's time
    size, row = f"{inputs} to {outputs}", 2 * inputs * outputs
    yield Call("linear layer, decoding", f"{FEW} rows, {size}", FEW * row, lambda: decode(few))
    yield Call("linear layer, update", f"{MANY} rows, {size}", MANY * row,
               lambda: linear(layer, many))  # fmt: skip
    yield Call("its weight's gradient", f"{MANY} rows, {size}", MANY * row,
               lambda: weight_gradient(grad, many, by_onednn=True))  # fmt: skip


def attention_calls(
    over: str, heads: int, width: int, tokens: int, *, causal: bool
) -> Iterator[Call]:
    """Yield attention over one sequence, forward and backward.

    The limit counts two products forward and four backward, half of each where it is causal.
    """
    query, key, value, grad = torch.randn(4, tokens, heads, width)
    layout = SequenceLayout((tokens,), (tokens,), causal, query.device)
    kernel, scaling = kernel_for(query), width**-0.5
    out, lse = kernel.forward(query, key, value, layout, scaling)
    operations = 2 * 2 * heads * width * tokens**2 / (2 if causal else 1)
    size = f"{tokens} tokens, {heads} heads of {width}"
    yield Call(f"attention over {over}, forward", size, operations,
               lambda: kernel.forward(query, key, value, layout, scaling))  # fmt: skip
    states = query, key, value, out, lse
    yield Call(f"attention over {over}, backward", size, 2 * operations,
               lambda: kernel.backward(grad, *states, layout, scaling))  # fmt: skip


def section(kernels: Sequence[Kernel]) -> str:
    """Render each kernel's rate beside the machine's; "" without any."""
    lines = [
        [
            kernel.name,
            kernel.size,
            f"{kernel.rate / 1e9:.1f}",
            f"{kernel.machine / 1e9:.1f}",
            f"{kernel.rate / kernel.machine:.0%}",
        ]
        for kernel in kernels
    ]
    explanation = (
        "Each kernel alone, its numbers in the processor's caches where they fit, beside a large "
        "product of the fastest library. Attention's backward pass makes five products where the "
        "limit counts four: scores are made again, as they are not held."
    )
    header = ("kernel", "size", "GFLOP/s", "the machine's", "share")
    return f"{explanation}\n\n{markdown(header, lines)}" if lines else ""

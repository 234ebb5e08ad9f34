"""Torch's flash attention for NVIDIA's GPUs: which of its functions to call, and whether to.

``torch.nn.attention.varlen`` has a public function that also returns log-sum-exps. Its gradient
leaves theirs out: two attentions that are merged by them would silently get another gradient.
The operator that its backward calls takes what merging needs, the output and log-sum-exps over all
keys, but has a private name; before torch 2.12 so has all that there is. This module alone calls
them, after it has tried them: on no device for what they take and return, and on the GPU, before
they are used there, for the numbers.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from vrft.attention.packed_attention import PLAIN_ATTENTION, Gradients, SequenceLayout

PUBLIC_MODULE = "torch.nn.attention.varlen"

PUBLIC_BACKWARD = "_varlen_attn_backward"
"""The public function's own backward, in torch.ops.torch_attn."""

OPERATORS = ("_flash_attention_forward", "_flash_attention_backward")
"""Forward and backward in torch.ops.aten."""

MISFITS = (AttributeError, ImportError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""Errors of calling a function that is missing, or takes or returns something else."""

TOLERANCE = 0.05
"""The relative difference to plain products below which a GPU computes the right thing.

Half precision differs by about 0.005; log-sum-exps in another order, or another mask, by 0.3.
"""


@dataclass(frozen=True)
class FlashOnCuda:
    """A kernel made of two functions for sequences of different lengths, all in one launch.

    Queries [T, H, D] attend to keys and values [S, K, D], of which each key head is shared by
    H / K query heads (grouped-query attention). ``attend`` takes (query, key, value, the cumulative
    lengths of queries and keys, the longest of each, causal, scaling) and returns the output and
    log-sum-exps [H, T]. ``attend_backward`` takes ``grad`` before and ``out`` and ``lse`` [H, T]
    after the values, and returns the gradients.
    """

    attend: Callable[..., tuple[Tensor, Tensor]]
    attend_backward: Callable[..., Gradients]

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, layout: SequenceLayout, scaling: float
    ) -> tuple[Tensor, Tensor]:
        """Return the output [T, H, D] and the log-sum-exps [T, H] of the scaled scores."""
        out, lse = self.attend(query, key, value, *layout_arguments(layout), scaling)
        return out, lse.T

    def backward(
        self,
        grad: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        out: Tensor,
        lse: Tensor,
        layout: SequenceLayout,
        scaling: float,
    ) -> Gradients:
        """Return the gradients, given the output's, of these keys' part in the attention.

        ``out`` and ``lse`` are those over all keys, of which these may be a part.
        """
        states = grad, query, key, value, out, lse.T.contiguous()
        return self.attend_backward(*states, *layout_arguments(layout), scaling)


def layout_arguments(layout: SequenceLayout) -> tuple[Tensor, Tensor, int, int, bool]:
    """Return the arguments of CUDA's kernels that say which query attends to which keys."""
    longest = max(layout.query_lengths), max(layout.key_lengths)
    return *layout.cu_seqlens, *longest, layout.causal


def public_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_starts: Tensor,
    key_starts: Tensor,
    longest_query: int,
    longest_key: int,
    causal: bool,
    scaling: float,
) -> tuple[Tensor, Tensor]:
    """Attend by torch's public function, as FlashOnCuda calls it."""
    public: Any = importlib.import_module(PUBLIC_MODULE)  # not before torch 2.10
    attended: tuple[Tensor, Tensor] = public.varlen_attn(
        query, key, value, query_starts, key_starts, longest_query, longest_key,
        return_aux=public.AuxRequest(lse=True), scale=scaling, window_size=window(causal),
        enable_gqa=True,
    )  # fmt: skip
    return attended


def public_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    query_starts: Tensor,
    key_starts: Tensor,
    longest_query: int,
    longest_key: int,
    causal: bool,
    scaling: float,
) -> Gradients:
    """Return the gradients by the operator that the public function's own backward calls."""
    operator = getattr(torch.ops.torch_attn, PUBLIC_BACKWARD)
    gradients: Gradients = operator(
        grad, query, key, value, out, lse, query_starts, key_starts, longest_query, longest_key,
        causal, no_dropout(query), scale=scaling, window_size=list(window(causal)),
    )  # fmt: skip
    return gradients


def private_forward(query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    """Attend by aten's operator, as FlashOnCuda calls it."""
    *starts_and_longest, causal, scaling = rest
    dropout, debug_mask = 0.0, False
    operator = getattr(torch.ops.aten, OPERATORS[0])
    out, lse, *_ = operator(
        query, key, value, *starts_and_longest, dropout, causal, debug_mask, scale=scaling
    )
    return out, lse


def private_backward(grad: Tensor, query: Tensor, *rest: Any) -> Gradients:
    """Return the gradients by aten's operator, as FlashOnCuda calls it."""
    *states_and_places, causal, scaling = rest
    dropout, state = 0.0, no_dropout(query)
    operator = getattr(torch.ops.aten, OPERATORS[1])
    gradients: Gradients = operator(
        grad, query, *states_and_places, dropout, causal, state, state, scale=scaling
    )
    return gradients


def window(causal: bool) -> tuple[int, int]:
    """Return how many keys before and after its own place a query sees; -1: all."""
    return (-1, 0) if causal else (-1, -1)


def no_dropout(query: Tensor) -> Tensor:
    """Return the state of dropout's random numbers, of which none are drawn."""
    return torch.zeros(2, dtype=torch.uint64, device=query.device)


PUBLIC = FlashOnCuda(public_forward, public_backward)
PRIVATE = FlashOnCuda(private_forward, private_backward)


@cache
def chosen() -> FlashOnCuda | None:
    """Return the kernel of this torch, the public function's first; None where none fits."""
    return next((kernel for kernel in (PUBLIC, PRIVATE) if fits(kernel)), None)


def fits(kernel: FlashOnCuda) -> bool:
    """Return whether a kernel takes and returns what is expected, without computing anything."""
    # On "meta" tensors an operator checks its arguments and makes results without numbers: no
    # GPU is needed, and none is disturbed. Three tokens of four heads over two: no axis is as long
    # as another, so that a change of their order is seen.
    device = torch.device("meta")
    query = torch.zeros(3, 4, 8, dtype=torch.bfloat16, device=device)
    key = torch.zeros(5, 2, 8, dtype=torch.bfloat16, device=device)
    layout = SequenceLayout((1, 2), (4, 1), True, device)
    try:
        out, lse = kernel.forward(query, key, key, layout, 1.0)
        gradients = kernel.backward(out, query, key, key, out, lse, layout, 1.0)
        shapes = [tuple(result.shape) for result in (out, lse, *gradients)]
    except MISFITS:
        return False
    return shapes == [(3, 4, 8), (3, 4), (3, 4, 8), (5, 2, 8), (5, 2, 8)]


def serves(query: Tensor) -> bool:
    """Return whether the chosen kernel takes queries [T, H, D] and computes the right thing."""
    if (
        not query.is_cuda
        or torch.version.hip  # AMD's build calls its devices "cuda" too
        or not torch.backends.cuda.is_flash_attention_available()
    ):
        return False
    # The kernels exist in half precision alone, for compute capability 8.0 and above, and for
    # heads of up to 256 numbers in steps of 8.
    half = query.dtype in (torch.float16, torch.bfloat16)
    width = query.shape[2]
    ampere = torch.cuda.get_device_capability(query.device) >= (8, 0)
    if not (half and ampere and width % 8 == 0 and width <= 256):
        return False
    return (kernel := chosen()) is not None and proven(kernel, query.device, query.dtype, width)


@cache
def proven(kernel: FlashOnCuda, device: torch.device, dtype: torch.dtype, width: int) -> bool:
    """Return whether a kernel computes on a device what plain products do, and say if not."""
    try:
        wrong = difference(kernel, device, dtype, width)
    except torch.OutOfMemoryError:
        raise  # the GPU is full, which tells nothing of the kernel
    except MISFITS as error:
        reason = f"fails on {device}: {str(error).partition(chr(10))[0]}"
    else:
        if wrong <= TOLERANCE:  # never true of NaN
            return True
        reason = f"is wrong on {device} by {wrong:.0%} of what plain products give"
    print(
        f"note: torch {torch.__version__}'s flash attention for {dtype} {reason}; attention is "
        "computed by plain products, which hold all scores in memory",
        file=sys.stderr,
    )
    return False


@torch.no_grad()
def difference(kernel: FlashOnCuda, device: torch.device, dtype: torch.dtype, width: int) -> float:
    """Return the largest relative difference of a kernel to plain products in float32.

    It is that of outputs, log-sum-exps and gradients, over prompts and from completions to them.
    """
    # One block of a kernel holds up to 128 tokens; the second prompt has a completion of none.
    layouts = (
        SequenceLayout((3, 150), (3, 150), True, device),
        SequenceLayout((140, 0, 5), (9, 4, 133), False, device),
    )
    generator = torch.Generator().manual_seed(0)  # its own: a run's random numbers stay the same
    scaling, differences = width**-0.5, []
    with torch.autocast(device.type, enabled=False):
        for layout in layouts:
            tokens = [sum(layout.query_lengths)] * 2 + [sum(layout.key_lengths)] * 2
            grad, query, key, value = (
                torch.randn(length, heads, width, generator=generator).to(device, dtype)
                for length, heads in zip(tokens, (4, 4, 2, 2), strict=True)
            )
            q, k, v = query.float(), key.float(), value.float()
            expected, sums = PLAIN_ATTENTION.forward(q, k, v, layout, scaling)
            out, lse = kernel.forward(query, key, value, layout, scaling)
            # As if other keys, unseen here, had taken half of every query's attention.
            merged, sums_of_all = (expected * 0.7).to(dtype), sums + 0.7
            ours = kernel.backward(grad, query, key, value, merged, sums_of_all, layout, scaling)
            theirs = PLAIN_ATTENTION.backward(
                grad.float(), q, k, v, merged.float(), sums_of_all, layout, scaling
            )
            pairs = zip((out, lse, *ours), (expected, sums, *theirs), strict=True)
            differences += [(a.float() - b).norm() / b.norm() for a, b in pairs]
    return float(torch.stack(differences).max())

"""Attention of sequences that lie one after the other, with the log-sum-exp of their scores.

With it two attentions over parts of the keys can be merged into the attention over all of them, and
the backward of a part needs only the output and log-sum-exp of the whole. Each kernel computes the
same: a flash kernel per device, and one written out in plain products for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

Gradients = tuple[Tensor, Tensor, Tensor]
"""Of queries, keys and values."""


@dataclass(frozen=True)
class Spans:
    """Sequences one after the other: the i-th has ``queries[i]`` queries and ``keys[i]`` keys.

    With ``causal`` it has as many of both, and a query attends to its own key and those before it.
    """

    queries: tuple[int, ...]
    keys: tuple[int, ...]
    causal: bool
    device: torch.device

    def __iter__(self) -> Iterator[tuple[slice, slice]]:
        """Where the queries and the keys of each sequence are."""
        ends = (0, 0)
        for queries, keys in zip(self.queries, self.keys, strict=True):
            starts, ends = ends, (ends[0] + queries, ends[1] + keys)
            yield slice(starts[0], ends[0]), slice(starts[1], ends[1])

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Where queries and keys of each sequence begin and the last ones end: int32, there."""
        return offsets(self.queries, self.device), offsets(self.keys, self.device)


def offsets(lengths: Sequence[int], device: torch.device) -> Tensor:
    """0 and the sums of the first 1, 2, ... lengths."""
    starts = torch.tensor([0, *lengths]).cumsum(0, dtype=torch.int32)
    return starts.to(device, non_blocking=True)


class Kernel(Protocol):
    """One way of computing it: queries [T, H, D] over keys and values [S, K, D], K dividing H."""

    @staticmethod
    def forward(
        query: Tensor, key: Tensor, value: Tensor, spans: Spans, scaling: float
    ) -> tuple[Tensor, Tensor]:
        """The output [T, H, D], and the log-sum-exp of the scores [T, H]."""
        ...

    @staticmethod
    def backward(
        grad: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        out: Tensor,
        lse: Tensor,
        spans: Spans,
        scaling: float,
    ) -> Gradients:
        """Gradients from that of the output, as if ``out`` and ``lse`` were of these keys alone."""
        ...


def choose(query: Tensor) -> type[Kernel]:
    """The fastest kernel for queries on a device and of a type."""
    if query.device.type == "cpu":
        return FlashOnCpu
    return FlashOnCuda if fits_flash(query) else WrittenOut


def fits_flash(query: Tensor) -> bool:
    """Whether torch's flash attention of NVIDIA's GPUs takes these queries."""
    if (
        not query.is_cuda
        or torch.version.hip
        or not torch.backends.cuda.is_flash_attention_available()
    ):
        return False
    half = query.dtype in (torch.float16, torch.bfloat16)
    width = query.shape[2]
    ampere = torch.cuda.get_device_capability(query.device) >= (8, 0)
    return half and ampere and width % 8 == 0 and width <= 256


class FlashOnCuda:
    """Torch's flash attention for sequences of different lengths: one launch for all of them."""

    @staticmethod
    def forward(
        query: Tensor, key: Tensor, value: Tensor, spans: Spans, scaling: float
    ) -> tuple[Tensor, Tensor]:
        out, lse, *_ = torch.ops.aten._flash_attention_forward(
            query, key, value, *spans.bounds, max(spans.queries), max(spans.keys),
            0.0, spans.causal, False, scale=scaling,
        )  # fmt: skip
        return out, lse.T

    @staticmethod
    def backward(
        grad: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        out: Tensor,
        lse: Tensor,
        spans: Spans,
        scaling: float,
    ) -> Gradients:
        unused = torch.zeros(2, dtype=torch.uint64, device=query.device)  # the seed of dropout
        found: Gradients = torch.ops.aten._flash_attention_backward(
            grad, query, key, value, out, lse.T.contiguous(), *spans.bounds,
            max(spans.queries), max(spans.keys), 0.0, spans.causal, unused, unused, scale=scaling,
        )  # fmt: skip
        return found


class FlashOnCpu:
    """Torch's flash attention on a CPU: one sequence at a time, nothing of it padded."""

    @staticmethod
    def forward(
        query: Tensor, key: Tensor, value: Tensor, spans: Spans, scaling: float
    ) -> tuple[Tensor, Tensor]:
        out, lse = torch.empty_like(query), empty_lse(query)
        repeats = query.shape[1] // key.shape[1]
        for rows, cols in spans:
            if rows.start == rows.stop:
                continue
            one, one_lse = CPU_FORWARD(
                dense(query[rows]),
                dense(key[cols], repeats),
                dense(value[cols], repeats),
                0.0,
                spans.causal,
                scale=scaling,
            )
            out[rows], lse[rows] = one[0].transpose(0, 1), one_lse[0].T
        return out, lse

    @staticmethod
    def backward(
        grad: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        out: Tensor,
        lse: Tensor,
        spans: Spans,
        scaling: float,
    ) -> Gradients:
        found = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        repeats = query.shape[1] // key.shape[1]
        for rows, cols in spans:
            if rows.start == rows.stop:
                continue
            of_query, *of_keys = CPU_BACKWARD(
                dense(grad[rows]),
                dense(query[rows]),
                dense(key[cols], repeats),
                dense(value[cols], repeats),
                dense(out[rows]),
                lse[rows].T.unsqueeze(0),
                0.0,
                spans.causal,
                scale=scaling,
            )
            found[0][rows] = of_query[0].transpose(0, 1)
            for whole, one in zip(found[1:], of_keys, strict=True):
                whole[cols] = one[0].unflatten(0, (-1, repeats)).sum(1).transpose(0, 1)
        return found


def empty_lse(query: Tensor) -> Tensor:
    """Room for a log-sum-exp of each query and head: [T, H] in float32, or what is wider."""
    wide = torch.promote_types(query.dtype, torch.float32)
    return query.new_empty(query.shape[:2], dtype=wide)


CPU_FORWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
CPU_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def dense(rows: Tensor, repeats: int = 1) -> Tensor:
    """Rows [T, H, D] of one sequence as a batch [1, H * repeats, T, D], each head repeated."""
    heads = rows.transpose(0, 1)
    return (heads if repeats == 1 else heads.repeat_interleave(repeats, 0)).unsqueeze(0)


class WrittenOut:
    """Plain products, one sequence at a time: any device and type, with all scores in memory."""

    @staticmethod
    def forward(
        query: Tensor, key: Tensor, value: Tensor, spans: Spans, scaling: float
    ) -> tuple[Tensor, Tensor]:
        out, lse = torch.empty_like(query), empty_lse(query)
        for rows, cols in spans:
            scores = WrittenOut.scores(query[rows], key[cols], spans.causal, scaling)
            lse[rows] = scores.logsumexp(-1).T
            weights = scores.softmax(-1).to(value.dtype)
            repeated = dense(value[cols], query.shape[1] // key.shape[1])[0]
            out[rows] = (weights @ repeated).transpose(0, 1)
        return out, lse

    @staticmethod
    def backward(
        grad: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        out: Tensor,
        lse: Tensor,
        spans: Spans,
        scaling: float,
    ) -> Gradients:
        found = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        repeats = query.shape[1] // key.shape[1]
        for rows, cols in spans:
            scores = WrittenOut.scores(query[rows], key[cols], spans.causal, scaling)
            weights = (scores - lse[rows].T.unsqueeze(-1)).exp()
            upwards = grad[rows].transpose(0, 1)
            mean = (grad[rows] * out[rows]).sum(-1, dtype=lse.dtype).T.unsqueeze(-1)
            steepness = upwards @ dense(value[cols], repeats)[0].mT
            of_scores = (weights * (steepness - mean) * scaling).to(query.dtype)
            found[0][rows] = (of_scores @ dense(key[cols], repeats)[0]).transpose(0, 1)
            of_key = of_scores.mT @ query[rows].transpose(0, 1)
            of_value = weights.to(grad.dtype).mT @ upwards
            for whole, one in zip(found[1:], (of_key, of_value), strict=True):
                whole[cols] = one.unflatten(0, (-1, repeats)).sum(1).transpose(0, 1)
        return found

    @staticmethod
    def scores(query: Tensor, key: Tensor, causal: bool, scaling: float) -> Tensor:
        """Scores [H, T, S] of queries [T, H, D] and keys [S, K, D] of one sequence."""
        repeated = dense(key, query.shape[1] // key.shape[1])[0]
        wide = torch.promote_types(query.dtype, torch.float32)
        found = (query.transpose(0, 1) @ repeated.mT).to(wide) * scaling
        if not causal:
            return found
        unseen = torch.ones(found.shape[1:], dtype=torch.bool, device=found.device).triu(1)
        return found.masked_fill(unseen, -torch.inf)

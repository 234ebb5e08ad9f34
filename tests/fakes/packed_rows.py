"""Packed sequences of queries, keys and values, and their attention as it is defined."""

from __future__ import annotations

import torch
from torch import Tensor

from vrft.attention.packed_attention import SequenceLayout

HEADS, KEY_HEADS, WIDTH, SCALING = 6, 2, 8, 0.3
CPU = torch.device("cpu")

LAYOUTS = [
    SequenceLayout((7,), (7,), True, CPU),
    SequenceLayout((3, 1, 5), (3, 1, 5), True, CPU),
    SequenceLayout((4, 0, 9), (2, 5, 1), False, CPU),  # a sequence without queries
    SequenceLayout((70, 300), (40, 600), False, CPU),  # more than one block of a flash kernel's
]


def states(layout: SequenceLayout, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Return queries [T, H, D], keys and values [S, K, D] of all sequences."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(sum(layout.query_lengths), HEADS), *[(sum(layout.key_lengths), KEY_HEADS)] * 2]
    return [
        torch.randn(*size, WIDTH, dtype=torch.float64, generator=generator).mul(2).to(dtype)
        for size in sizes
    ]


def gradient(like: Tensor) -> Tensor:
    """Return the output's gradient: not ones, which hide errors that add up to 0."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(like.shape, dtype=like.dtype, generator=generator)


def on(layout: SequenceLayout, device: str) -> SequenceLayout:
    """Return the same sequences on another device."""
    lengths = layout.query_lengths, layout.key_lengths
    return SequenceLayout(*lengths, layout.causal, torch.device(device))


def by_definition(
    query: Tensor, key: Tensor, value: Tensor, layout: SequenceLayout, scaling: float = SCALING
) -> tuple[Tensor, Tensor]:
    """Return the output and log-sum-exps as they are defined, which autograd differentiates."""
    outs, lses = [], []
    repeats = query.shape[1] // key.shape[1]
    by_sequence = zip(
        query.split(layout.query_lengths),
        *(states.split(layout.key_lengths) for states in (key, value)),
        strict=True,
    )
    for q, k, v in by_sequence:
        keys = k.repeat_interleave(repeats, 1).transpose(0, 1)
        values = v.repeat_interleave(repeats, 1).transpose(0, 1)
        scores = q.transpose(0, 1) @ keys.mT * scaling
        if layout.causal:
            later = torch.ones_like(scores, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        outs.append((scores.softmax(-1) @ values).transpose(0, 1))
        lses.append(scores.logsumexp(-1).T)
    return torch.cat(outs), torch.cat(lses)

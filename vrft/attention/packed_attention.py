"""Attention over sequences of any lengths, packed one after the other, with log-sum-exps.

Each kernel returns, beside the output, the log-sum-exp of every query's scores. With them two
attentions over parts of the keys can be merged into the attention over all keys, and the gradient
through a part needs only the output and log-sum-exp over all of them (FlashAttention-2, Dao 2023,
arXiv:2307.08691, Algorithm 2).

Here are the sequences, a kernel that takes one of them after the other, and plain products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import repeat_kv

Gradients = tuple[Tensor, Tensor, Tensor]
"""The gradients of queries, keys and values."""


@dataclass(frozen=True)
class SequenceLayout:
    """Sequences in a row: the i-th has ``query_lengths[i]`` queries and ``key_lengths[i]`` keys.

    A query attends to the keys of its own sequence; with ``causal``, where a sequence has as many
    keys as queries, only to those up to its own place.
    """

    query_lengths: tuple[int, ...]
    key_lengths: tuple[int, ...]
    causal: bool
    device: torch.device

    @cached_property
    def cu_seqlens(self) -> tuple[Tensor, Tensor]:
        """Return the cumulative lengths of queries and of keys, [sequences + 1] each.

        They say where each sequence begins and the last one ends, as CUDA's kernels take it, and
        are made once for all layers of a model.
        """
        # Lengths 3, 1, 5 give 0, 3, 4, 9; int32 is the kernels' own type. They are made on the CPU
        # and sent without waiting until the device has done what was launched before.
        queries, keys = (
            torch.tensor([0, *lengths]).cumsum(0, dtype=torch.int32)
            for lengths in (self.query_lengths, self.key_lengths)
        )
        return queries.to(self.device, non_blocking=True), keys.to(self.device, non_blocking=True)


@dataclass(frozen=True)
class PerSequence:
    """A kernel made of two functions for single sequences, called for one after the other.

    Both take (query, key, value, dropout, causal, scale=), the second after ``grad`` and with
    ``out`` and ``lse`` after the values. Queries are [1, H, T, D], keys and values [1, H, S, D].
    They return the output and log-sum-exps [1, H, T], and the gradients.
    """

    attend: Callable[..., tuple[Tensor, Tensor]]
    attend_backward: Callable[..., Gradients]

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, layout: SequenceLayout, scaling: float
    ) -> tuple[Tensor, Tensor]:
        """Return the output and the log-sum-exps, [T, H, D] and [T, H]."""
        out = torch.empty_like(query)
        # At least float32 in every precision: merging two attentions subtracts log-sum-exps.
        wide = torch.promote_types(query.dtype, torch.float32)
        lse = query.new_empty(query.shape[:2], dtype=wide)
        repeats = query.shape[1] // key.shape[1]
        # Splits are views: writing into a sequence's part writes into the whole row.
        by_query = [rows.split(layout.query_lengths) for rows in (query, out, lse)]
        by_key = [rows.split(layout.key_lengths) for rows in (key, value)]
        for q, out_part, lse_part, k, v in zip(*by_query, *by_key, strict=True):
            if len(q) == 0:  # a completion of a single token: nothing is predicted from it
                continue
            o, log_sums = self.attend(
                q.transpose(0, 1).unsqueeze(0),  # [T, H, D] -> [1, H, T, D]
                repeat_kv(k.transpose(0, 1).unsqueeze(0), repeats),  # [S, K, D] -> [1, H, S, D]
                repeat_kv(v.transpose(0, 1).unsqueeze(0), repeats),
                0.0,
                layout.causal,
                scale=scaling,
            )
            out_part.copy_(o[0].transpose(0, 1))
            lse_part.copy_(log_sums[0].T)
        return out, lse

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
        """Return the gradients, [T, H, D] and [T, H]."""
        # Keys of sequences without queries are left out of the loop: their gradient is 0.
        gradients = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        repeats = query.shape[1] // key.shape[1]
        by_query = [rows.split(layout.query_lengths) for rows in (grad, query, out, lse)]
        by_key = [rows.split(layout.key_lengths) for rows in (key, value)]
        results = zip(
            gradients[0].split(layout.query_lengths),
            gradients[1].split(layout.key_lengths),
            gradients[2].split(layout.key_lengths),
            strict=True,
        )
        parts = zip(*by_query, *by_key, strict=True)
        # do, dq, dk, dv: the gradients of the output, the queries, keys and values.
        for (do, q, o, log_sums, k, v), (dq, dk, dv) in zip(parts, results, strict=True):
            if len(q) == 0:
                continue
            of_query, of_key, of_value = self.attend_backward(
                do.transpose(0, 1).unsqueeze(0),
                q.transpose(0, 1).unsqueeze(0),
                repeat_kv(k.transpose(0, 1).unsqueeze(0), repeats),
                repeat_kv(v.transpose(0, 1).unsqueeze(0), repeats),
                o.transpose(0, 1).unsqueeze(0),
                log_sums.T.unsqueeze(0),
                0.0,
                layout.causal,
                scale=scaling,
            )
            dq.copy_(of_query[0].transpose(0, 1))
            # H query heads read K key heads, H / K each: their gradients add up.
            dk.copy_(of_key[0].unflatten(0, (-1, repeats)).sum(1).transpose(0, 1))
            dv.copy_(of_value[0].unflatten(0, (-1, repeats)).sum(1).transpose(0, 1))
        return gradients


def plain_forward(
    query: Tensor, key: Tensor, value: Tensor, dropout: float, causal: bool, *, scale: float
) -> tuple[Tensor, Tensor]:
    """Attend by plain products, with all scores in memory, as PerSequence calls it."""
    scores = plain_scores(query, key, causal, scale)
    return scores.softmax(-1).to(value.dtype) @ value, scores.logsumexp(-1)


def plain_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    dropout: float,
    causal: bool,
    *,
    scale: float,
) -> Gradients:
    """Return the gradients of ``plain_forward``, as PerSequence calls it."""
    # P = exp(S - lse); dS = P * (dP - D) with dP = dO V^T and D = rowsum(dO * O). Where lse is
    # over more keys than these, P is their part of the softmax over all of them.
    weights = (plain_scores(query, key, causal, scale) - lse.unsqueeze(-1)).exp()
    rowsum = (grad * out).sum(-1, dtype=lse.dtype).unsqueeze(-1)
    of_scores = (weights * (grad @ value.mT - rowsum) * scale).to(query.dtype)
    return of_scores @ key, of_scores.mT @ query, weights.to(grad.dtype).mT @ grad


def plain_scores(query: Tensor, key: Tensor, causal: bool, scale: float) -> Tensor:
    """Return the scaled scores [1, H, T, S], at least in float32; -inf where keys are hidden."""
    wide = torch.promote_types(query.dtype, torch.float32)
    scores = (query @ key.mT).to(wide) * scale
    if not causal:
        return scores
    # Above the diagonal: the keys after the query's own place.
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(hidden, -torch.inf)


PLAIN_ATTENTION = PerSequence(plain_forward, plain_backward)

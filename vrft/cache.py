"""The keys and values of a rollout: each prompt's kept once, read by all its completions.

A decode step reads the keys of a prompt in one matrix product, whose rows are the queries of the
whole group, and writes those of the new token: nothing of the prompt is ever copied.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 64
"""Tokens by which the room for completions grows."""


class GroupCache:
    """What a decoder's layers write and read while each of B prompts gets G completions.

    The model's first pass is over the prompts, padded on the right as ``real`` [B, P] says; every
    later one is over one more token of each of the n completions that still run.
    """

    def __init__(self, real: Tensor, generations: int) -> None:
        self.padding = None if real.all() else ~real[:, None, None]
        self.generations = generations
        self.prompts: list[tuple[Tensor, Tensor]] = []
        self.own: list[tuple[Tensor, Tensor]] = []
        self.tokens = 0
        self.places = torch.arange(len(real) * generations, device=real.device)

    def is_first(self, layer: int) -> bool:
        """Whether a layer has not seen the prompts yet."""
        return layer == len(self.prompts)

    def store(self, key: Tensor, value: Tensor) -> None:
        """Keep the next layer's keys and values of the prompts, [B, heads, P, D]."""
        self.prompts.append((key.contiguous(), value.contiguous()))
        empty = key.new_empty(len(self.places), key.shape[1], 0, key.shape[3])
        self.own.append((empty, empty))

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep a layer's keys and values of one more token, [n, heads, 1, D].

        Returns those that are the rows' own: [n, heads, t, D] after t steps.
        """
        if layer == 0:
            self.tokens += 1
        if self.own[layer][0].shape[2] < self.tokens:
            keys, values = self.own[layer]
            self.own[layer] = (widened(keys), widened(values))
        keys, values = self.own[layer]
        keys[:, :, self.tokens - 1], values[:, :, self.tokens - 1] = key[:, :, 0], value[:, :, 0]
        return keys[:, :, : self.tokens], values[:, :, : self.tokens]

    def attend(
        self, layer: int, query: Tensor, keys: Tensor, values: Tensor, scaling: float
    ) -> Tensor:
        """Attention of [n, H, 1, D] over its prompt and its own [n, heads, t, D]: [n, 1, H, D]."""
        prompt_keys, prompt_values = self.prompts[layer]
        grouped = query.flatten(1, 2).unflatten(1, (keys.shape[1], -1)) * scaling
        over_prompt = self.fold(grouped) @ prompt_keys.mT
        if self.padding is not None:
            over_prompt = over_prompt.masked_fill(self.padding, -torch.inf)
        scores = torch.cat([self.unfold(over_prompt), grouped @ keys.mT], dim=3)
        weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
        of_prompt, of_own = weights.split([prompt_keys.shape[2], keys.shape[2]], dim=3)
        mixed: Tensor = self.unfold(self.fold(of_prompt) @ prompt_values) + of_own @ values
        return mixed.flatten(1, 2).unsqueeze(1)

    def fold(self, rows: Tensor) -> Tensor:
        """Rows [n, heads, r, D] by prompt, [B, heads, G * r, D], with 0 for the ended ones."""
        places = len(self.prompts[0][0]) * self.generations
        if len(rows) < places:
            rows = rows.new_zeros(places, *rows.shape[1:]).index_copy(0, self.places, rows)
        by_prompt: Tensor = rows.unflatten(0, (-1, self.generations))
        folded: Tensor = by_prompt.transpose(1, 2).flatten(2, 3)
        return folded

    def unfold(self, groups: Tensor) -> Tensor:
        """The rows again of what is laid out as ``fold`` lays out."""
        by_prompt: Tensor = groups.unflatten(2, (self.generations, -1))
        rows: Tensor = by_prompt.transpose(1, 2).flatten(0, 1)
        return rows[self.places] if len(self.places) < len(rows) else rows

    def keep(self, running: Tensor) -> None:
        """Only these rows, a mask [n], go on; prompts that no row reads any more are dropped."""
        self.own = [(keys[running], values[running]) for keys, values in self.own]
        self.places = self.places[running]
        read, prompt = (self.places // self.generations).unique(return_inverse=True)
        if len(read) == len(self.prompts[0][0]):
            return
        self.prompts = [(keys[read], values[read]) for keys, values in self.prompts]
        self.padding = None if self.padding is None else self.padding[read]
        self.places = prompt * self.generations + self.places % self.generations


def widened(states: Tensor) -> Tensor:
    """States [n, heads, t, D] with room for BLOCK more tokens."""
    room = states.new_empty(*states.shape[:2], BLOCK, states.shape[3])
    return torch.cat([states, room], dim=2)

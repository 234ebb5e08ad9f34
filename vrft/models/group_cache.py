"""The keys and values of a rollout: each prompt's kept once, read by all its completions.

A decode step reads the keys of a prompt in one matrix product, whose rows are the queries of the
whole group, and writes those of the new token: nothing of the prompt is ever copied.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class GroupCache:
    """What a decoder's layers write and read while each of B prompts gets G completions.

    The model's first pass is over all prompts, of ``lengths`` [B] tokens, one after the other;
    every later one is over one more token of each of the n completions that still run, for which
    ``open`` makes a place. The room for places grows by ``block`` tokens. Until it grows or
    ``keep`` is called, all passes read and write the same memory: one can be recorded and replayed.
    """

    def __init__(
        self, lengths: Sequence[int], generations: int, block: int, device: torch.device
    ) -> None:
        widest = torch.arange(max(lengths))
        counts = torch.tensor(lengths).unsqueeze(1)
        starts = counts.cumsum(0) - counts
        # What lies beyond a prompt's end is not seen, whatever it is.
        self.index = (starts + widest.clamp(max=counts - 1)).to(device)
        self.padding = hidden(widest >= counts).to(device)[:, None, None]
        self.generations = generations
        self.prompts: list[tuple[Tensor, Tensor]] = []
        self.own: list[tuple[Tensor, Tensor]] = []
        self.tokens = 0
        self.block = block
        self.place = torch.zeros(1, dtype=torch.long, device=device)
        self.unseen = hidden(torch.ones(0, dtype=torch.bool)).to(device)
        self.places = torch.arange(len(lengths) * generations, device=device)

    def store(self, key: Tensor, value: Tensor) -> None:
        """Keep the next layer's keys and values of all prompts' tokens, [heads, T, D]."""
        first, second = (
            states[:, self.index].transpose(0, 1).contiguous() for states in (key, value)
        )
        self.prompts.append((first, second))
        empty = key.new_empty(len(self.places), key.shape[0], 0, key.shape[2])
        self.own.append((empty, empty))

    def open(self) -> bool:
        """Make a place for one more token of every row; whether the room has grown for it."""
        self.tokens += 1
        grows = self.tokens > len(self.unseen)
        if grows:
            self.own = [(self.widened(keys), self.widened(values)) for keys, values in self.own]
            more = torch.full((self.block,), -torch.inf, device=self.unseen.device)
            self.unseen = torch.cat([self.unseen, more])
        self.place.fill_(self.tokens - 1)
        self.unseen[self.tokens - 1] = 0
        return grows

    def widened(self, states: Tensor) -> Tensor:
        """States [n, heads, t, D] with room for a block of tokens more."""
        # Zeros: a value that is not seen is multiplied with 0, which not every number survives.
        room = states.new_zeros(*states.shape[:2], self.block, states.shape[3])
        return torch.cat([states, room], dim=2)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """Keep a layer's keys and values [n, heads, 1, D] of one more token in the open place.

        Returns its attention [n, 1, H, D] over the prompt and the row's own tokens.
        """
        keys, values = self.own[layer]
        keys.index_copy_(2, self.place, key)
        values.index_copy_(2, self.place, value)
        prompt_keys, prompt_values = self.prompts[layer]
        grouped = query.flatten(1, 2).unflatten(1, (keys.shape[1], -1)) * scaling
        over_prompt = self.fold(grouped) @ prompt_keys.mT + self.padding
        scores = torch.cat([self.unfold(over_prompt), grouped @ keys.mT + self.unseen], dim=3)
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
        """Only these rows, numbers [m], go on; prompts that no row reads any more are dropped."""
        self.own = [(keys[running], values[running]) for keys, values in self.own]
        self.places = self.places[running]
        read, prompt = (self.places // self.generations).unique(return_inverse=True)
        if len(read) == len(self.prompts[0][0]):
            return
        self.prompts = [(keys[read], values[read]) for keys, values in self.prompts]
        self.padding = self.padding[read]
        self.places = prompt * self.generations + self.places % self.generations


def hidden(where: Tensor) -> Tensor:
    """What to add to scores so that those at some places are not seen: -inf there, 0 elsewhere."""
    return torch.zeros(where.shape).masked_fill(where, -torch.inf)

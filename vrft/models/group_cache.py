"""The keys, values and states of a rollout, of which a prompt's serve all its completions.

A decode step multiplies a prompt's keys with the queries of its whole group in one matrix product,
and writes the keys and values of the new token: nothing of the prompt is ever copied. A layer of
linear attention has no keys, but a state of fixed size, of which every completion needs its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor


class GroupCache:
    """The keys, values and states of all layers while each of B prompts gets G completions.

    The model's first pass is over all prompts, of ``lengths`` [B] tokens, one after the other;
    every later one is over one more token of each of the n completions that still run, for which
    ``open`` makes room. Room is added in blocks of ``block`` tokens. Until it grows or ``keep`` is
    called, all passes read and write the same memory, so that one can be captured as a CUDA graph
    and replayed.

    Shapes, for K key heads of width D: ``prompt_states`` [B, K, P, D] and ``completion_states``
    [n, K, t, D], keys and values by the number of their layer; masks hold 0 where a key is seen and
    -inf where it is not, and are added to scores. ``delta_states`` [n, ...] are those of the layers
    of linear attention after each row's last token: the inputs of the convolution and the memory.
    """

    def __init__(
        self, lengths: Sequence[int], generations: int, block: int, device: torch.device
    ) -> None:
        self.generations, self.block = generations, block  # G, and tokens
        column = torch.arange(max(lengths))  # [P]
        counts = torch.tensor(lengths).unsqueeze(1)  # [B, 1]
        starts = counts.cumsum(0) - counts
        # Where each prompt's tokens lie in the packed row, [B, P]. Shorter prompts repeat their
        # last token up to P: any finite key will do, since the mask hides it.
        self.prompt_index = (starts + column.clamp(max=counts - 1)).to(device)
        mask = torch.zeros(len(lengths), len(column)).masked_fill(column >= counts, -torch.inf)
        self.prompt_mask = mask.to(device)[:, None, None]  # [B, 1, 1, P]
        self.completion_mask = torch.zeros(0, device=device)  # [t]
        self.prompt_states: dict[int, tuple[Tensor, Tensor]] = {}
        self.completion_states: dict[int, tuple[Tensor, Tensor]] = {}
        self.delta_states: dict[int, tuple[Tensor, Tensor]] = {}
        self.tokens = 0  # of each completion
        # On the device, as a captured graph reads from memory and not Python's numbers.
        self.write_index = torch.zeros(1, dtype=torch.long, device=device)
        # The place b * G + g of each running row among those of all prompts held, [n].
        self.slots = torch.arange(len(lengths) * generations, device=device)

    def store(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Hold a layer's keys and values of all prompts' tokens, [K, T, D] each."""
        prompt_key, prompt_value = (
            states[:, self.prompt_index].transpose(0, 1).contiguous() for states in (key, value)
        )  # [K, B, P, D] -> [B, K, P, D]
        self.prompt_states[layer] = prompt_key, prompt_value
        empty = key.new_empty(len(self.slots), key.shape[0], 0, key.shape[2])
        self.completion_states[layer] = empty, empty

    def store_delta(self, layer: int, inputs: Tensor, memory: Tensor) -> None:
        """Hold a layer's state after each prompt, [B, ...] each, once for every completion."""
        repeats = self.generations
        self.delta_states[layer] = (
            inputs.repeat_interleave(repeats, 0), memory.repeat_interleave(repeats, 0)
        )  # fmt: skip

    def move_on(self, layer: int, inputs: Tensor, memory: Tensor) -> None:
        """Put a layer's state after one more token of each row in the place of the last."""
        # Copied, as a captured graph reads and writes the memory that it was captured with.
        for state, after in zip(self.delta_states[layer], (inputs, memory), strict=True):
            state.copy_(after)

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Undo what passes do meanwhile: a pass that is only tried moves states on as well.

        Keys and values need nothing, as the next pass writes them to the same places.
        """
        before = {
            layer: tuple(state.clone() for state in states)
            for layer, states in self.delta_states.items()
        }
        yield
        for layer, (inputs, memory) in before.items():
            self.move_on(layer, inputs, memory)

    def open(self) -> bool:
        """Make room for one more token of every row, and return whether memory has moved for it."""
        self.tokens += 1
        grows = self.tokens > len(self.completion_mask)
        if grows:
            # Zeros, not whatever the memory held: a hidden value is multiplied by a weight of 0,
            # and 0 * inf is NaN.
            room = (0, 0, 0, self.block)  # none along D, a block after the last token
            self.completion_states = {
                layer: (F.pad(keys, room), F.pad(values, room))
                for layer, (keys, values) in self.completion_states.items()
            }
            more = torch.full((self.block,), -torch.inf, device=self.completion_mask.device)
            self.completion_mask = torch.cat([self.completion_mask, more])
        self.write_index.fill_(self.tokens - 1)
        self.completion_mask[self.tokens - 1] = 0
        return grows

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """Hold a layer's keys and values [n, K, 1, D] of one more token, and attend from it.

        The attention [n, 1, H, D] of queries [n, H, 1, D] is over the prompt and the row's own
        tokens, this one included.
        """
        keys, values = self.completion_states[layer]
        keys.index_copy_(2, self.write_index, key)
        values.index_copy_(2, self.write_index, value)
        prompt_keys, prompt_values = self.prompt_states[layer]
        # The r = H / K query heads of each key head are rows of one product: [n, K, r, D].
        grouped = query.flatten(1, 2).unflatten(1, (keys.shape[1], -1)) * scaling
        prompt_scores = self.group_rows(grouped) @ prompt_keys.mT + self.prompt_mask
        own_scores = grouped @ keys.mT + self.completion_mask
        scores = torch.cat([self.ungroup_rows(prompt_scores), own_scores], dim=3)
        # One softmax over both, in float32 as in transformers' own attention: [n, K, r, P + t].
        weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
        on_prompt, on_own = weights.split([prompt_keys.shape[2], keys.shape[2]], dim=3)
        from_prompt = self.ungroup_rows(self.group_rows(on_prompt) @ prompt_values)
        mixed: Tensor = from_prompt + on_own @ values
        return mixed.flatten(1, 2).unsqueeze(1)

    def group_rows(self, rows: Tensor) -> Tensor:
        """Return rows [n, K, r, D] by prompt, [B, K, G * r, D], with zeros for rows that left."""
        slots = len(self.prompt_mask) * self.generations  # B * G
        if len(rows) < slots:
            rows = rows.new_zeros(slots, *rows.shape[1:]).index_copy(0, self.slots, rows)
        by_prompt: Tensor = rows.unflatten(0, (-1, self.generations))  # [B, G, K, r, D]
        grouped: Tensor = by_prompt.transpose(1, 2).flatten(2, 3)
        return grouped

    def ungroup_rows(self, groups: Tensor) -> Tensor:
        """Return [B, K, G * r, D] as rows [n, K, r, D] again, without the rows that left."""
        by_prompt: Tensor = groups.unflatten(2, (self.generations, -1))  # [B, K, G, r, D]
        rows: Tensor = by_prompt.transpose(1, 2).flatten(0, 1)
        return rows[self.slots] if len(self.slots) < len(rows) else rows

    def keep(self, rows: Tensor) -> None:
        """Go on with these of the n rows alone, numbers [m]; drop prompts that no row reads."""
        for held in (self.completion_states, self.delta_states):
            for layer, (first, second) in held.items():
                held[layer] = first[rows], second[rows]
        self.slots = self.slots[rows]
        # `unique` makes the host wait for the device, as every caller of `keep` has done already.
        prompts, prompt_of_row = (self.slots // self.generations).unique(return_inverse=True)
        if len(prompts) == len(self.prompt_mask):
            return
        self.prompt_states = {
            layer: (keys[prompts], values[prompts])
            for layer, (keys, values) in self.prompt_states.items()
        }
        self.prompt_mask = self.prompt_mask[prompts]
        # The prompts that stay are numbered anew, from 0 on; places within a group do not change.
        self.slots = prompt_of_row * self.generations + self.slots % self.generations

"""The cache of a rollout: keys, values and states, a prompt's once for all its completions.

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

HALF = (torch.float16, torch.bfloat16)


class GroupCache:
    """The keys, values and states of all layers while each of B prompts gets G completions.

    The model's first pass is over all prompts, of ``lengths`` [B] tokens, one after the other;
    every later one is over one more token of each of the n completions that still run, for which
    ``open`` makes room. Room is added in blocks of ``block`` tokens. With ``fixed_room`` all
    passes read and write the same memory until it grows or ``keep`` is called, so that one can be
    captured as a CUDA graph and replayed; without it a pass reads no room that is still empty.

    Shapes, for K key heads of width D: ``prompt_states`` [K, B, P, D] and ``completion_states``
    [K, n, t, D], keys and values by the number of their layer. Heads come first, since a prompt's
    completions are then rows of one matrix without a copy. Masks hold 0 where a key is seen and
    -inf where it is not, and are added to scores. ``delta_states`` [n, ...] are those of the layers
    of linear attention after each row's last token: the inputs of the convolution and the memory.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        generations: int,
        block: int,
        device: torch.device,
        *,
        fixed_room: bool = False,
    ) -> None:
        self.generations, self.block = generations, block  # G, and tokens
        self.fixed_room = fixed_room
        column = torch.arange(max(lengths))  # [P]
        counts = torch.tensor(lengths).unsqueeze(1)  # [B, 1]
        starts = counts.cumsum(0) - counts
        # Where each prompt's tokens lie in the packed row, [B, P]. Shorter prompts repeat their
        # last token up to P: any finite key will do, since the mask hides it.
        self.prompt_index = (starts + column.clamp(max=counts - 1)).to(device)
        mask = torch.zeros(len(lengths), len(column)).masked_fill(column >= counts, -torch.inf)
        self.ragged = len(set(lengths)) > 1
        self.prompt_mask = mask.to(device).unsqueeze(1)  # [B, 1, P]
        self.completion_mask = torch.zeros(0, device=device)  # [t]
        self.prompt_states: dict[int, tuple[Tensor, Tensor]] = {}
        self.completion_states: dict[int, tuple[Tensor, Tensor]] = {}
        self.delta_states: dict[int, tuple[Tensor, Tensor]] = {}
        self.tokens = self.room = 0  # of each completion, and those that it has room for
        # On the device, as a captured graph reads from memory and not Python's numbers.
        self.write_index = torch.zeros(1, dtype=torch.long, device=device)
        # The place b * G + g of each running row among those of all prompts held, [n].
        self.slots = torch.arange(len(lengths) * generations, device=device)

    def store(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Hold a layer's keys and values of all prompts' tokens, [K, T, D] each."""
        self.prompt_states[layer] = key[:, self.prompt_index], value[:, self.prompt_index]
        empty = key.new_empty(key.shape[0], len(self.slots), 0, key.shape[2])
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
        grows = self.tokens > self.room
        if grows:
            self.room += self.block
            # Zeros, not whatever the memory held: a hidden value is multiplied by a weight of 0,
            # and 0 * inf is NaN.
            room = (0, 0, 0, self.block)  # none along D, a block after the last token
            self.completion_states = {
                layer: (F.pad(keys, room), F.pad(values, room))
                for layer, (keys, values) in self.completion_states.items()
            }
            self.completion_mask = F.pad(self.completion_mask, (0, self.block), value=-torch.inf)
        if self.fixed_room:
            self.write_index.fill_(self.tokens - 1)
            self.completion_mask[self.tokens - 1] = 0
        return grows

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """Hold a layer's keys and values [n, K, D] of one more token, and attend from it.

        The attention [n, H, D] of queries [n, H, D] is over the prompt and the row's own tokens,
        this one included.
        """
        keys, values = self.hold(layer, key, value)
        prompt_keys, prompt_values = self.prompt_states[layer]
        # The r = H / K query heads of each key head are rows of one product: [K, n, r, D].
        by_head = query.unflatten(1, (len(keys), -1)).transpose(0, 1)
        half = query.dtype in HALF
        # Half precision would round what is scaled, so that scores are scaled in its place.
        grouped = by_head.contiguous() if half else by_head.contiguous() * scaling
        prompt_scores = product(self.group_rows(grouped), prompt_keys.mT)
        own_scores = product(grouped, keys.mT)
        if half:
            prompt_scores *= scaling
            own_scores *= scaling
        if self.ragged:
            prompt_scores += self.prompt_mask
        if self.fixed_room:
            own_scores += self.completion_mask
        scores = torch.cat([self.ungroup_rows(prompt_scores), own_scores], dim=3)
        # One softmax over both, in float32 as in transformers' own attention: [K, n, r, P + t].
        weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
        on_prompt, on_own = weights.split([prompt_keys.shape[2], keys.shape[2]], dim=3)
        from_prompt = self.ungroup_rows(product(self.group_rows(on_prompt), prompt_values))
        mixed = (from_prompt + product(on_own, values)).to(query.dtype)
        out: Tensor = mixed.transpose(0, 1).flatten(1, 2)
        return out

    def hold(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write keys and values [n, K, D] of one more token, and return all of a layer's.

        They are [K, n, t, D] of the t tokens so far, and with ``fixed_room`` of all the room.
        """
        held = self.completion_states[layer]
        for states, new in zip(held, (key, value), strict=True):
            by_head = new.transpose(0, 1)
            if self.fixed_room:
                states.index_copy_(2, self.write_index, by_head.unsqueeze(2))
            else:
                states[:, :, self.tokens - 1] = by_head
        if self.fixed_room:
            return held
        keys, values = held
        return keys[:, :, : self.tokens], values[:, :, : self.tokens]

    def group_rows(self, rows: Tensor) -> Tensor:
        """Return rows [K, n, r, D] by prompt, [K, B, G * r, D], with zeros for rows that left."""
        slots = len(self.prompt_mask) * self.generations  # B * G
        if rows.shape[1] < slots:
            heads, _, *rest = rows.shape
            rows = rows.new_zeros(heads, slots, *rest).index_copy(1, self.slots, rows)
        grouped: Tensor = rows.unflatten(1, (-1, self.generations)).flatten(2, 3)
        return grouped

    def ungroup_rows(self, groups: Tensor) -> Tensor:
        """Return [K, B, G * r, D] as rows [K, n, r, D] again, without the rows that left."""
        rows: Tensor = groups.unflatten(2, (self.generations, -1)).flatten(1, 2)
        return rows[:, self.slots] if len(self.slots) < rows.shape[1] else rows

    def keep(self, rows: Tensor) -> None:
        """Go on with these of the n rows alone, numbers [m]; drop prompts that no row reads."""
        for layer, (keys, values) in self.completion_states.items():
            self.completion_states[layer] = keys[:, rows], values[:, rows]
        for layer, (inputs, memory) in self.delta_states.items():
            self.delta_states[layer] = inputs[rows], memory[rows]
        self.slots = self.slots[rows]
        # `unique` makes the host wait for the device, as every caller of `keep` has done already.
        prompts, prompt_of_row = (self.slots // self.generations).unique(return_inverse=True)
        if len(prompts) == len(self.prompt_mask):
            return
        self.prompt_states = {
            layer: (keys[:, prompts], values[:, prompts])
            for layer, (keys, values) in self.prompt_states.items()
        }
        self.prompt_mask = self.prompt_mask[prompts]
        # The prompts that stay are numbered anew, from 0 on; places within a group do not change.
        self.slots = prompt_of_row * self.generations + self.slots % self.generations


def product(left: Tensor, right: Tensor) -> Tensor:
    """Return left [K, n, i, j] @ right [K, n, j, k], in float32 where they are in half precision.

    A score near 100 has steps of 0.5 in bfloat16, and Qwen's biases make scores of that size: the
    completions would be those of another distribution than the update and other engines see.
    """
    if left.dtype not in HALF:
        return left @ right
    if left.is_cuda or left.is_meta:  # "meta" stands for a GPU in a plan
        flat = torch.bmm(left.flatten(0, 1), right.flatten(0, 1), out_dtype=torch.float32)
        wide: Tensor = flat.unflatten(0, left.shape[:2])
        return wide
    # No other device has this product. Autocast would round what is widened.
    with torch.autocast(left.device.type, enabled=False):
        return left.float() @ right.float()

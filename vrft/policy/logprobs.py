"""Vision-aware log-probabilities of groups (the paper's per_token_logps), without waste.

Each prompt, pictures included, passes the vision tower and the language model once for all its G
completions; logits are made for completion tokens only, a chunk at a time, in float32. Values
and gradients are those of the plain forward over G repeated rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vrft.models.encoding import Encoded, PromptBatch, collate
from vrft.models.group_attention import GroupLayout
from vrft.models.loaded import LoadedModel
from vrft.models.vision_features import Patches
from vrft.policy import repeated_prompts

CHUNK = 2048
"""Completion tokens whose logits exist at one time."""


class GroupLogps(nn.Module):
    """The module that accelerate, DeepSpeed or FSDP wraps: log-probabilities in one forward."""

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__()
        self.model = loaded.model
        self.loaded = loaded

    @property
    def _no_split_modules(self) -> set[str]:
        """The layers that FSDP shards one by one."""
        return set(self.loaded.core._no_split_modules)

    def forward(
        self,
        prompts: Sequence[Encoded],
        completions: Sequence[Sequence[Sequence[int]]],
        temperature: float = 1.0,
    ) -> Tensor:
        """log pi(o_t | prompt, o_<t) of B prompts' G completions each: [B, G, C] float32.

        ``completions`` are token ids; C is the longest, and what lies beyond a completion's end
        is 0. Logits are divided by ``temperature`` (> 0), as they were when sampled.
        """
        hidden, targets, mask = self.predictions(prompts, completions)
        return spread(token_logps(hidden, targets, self.head(), temperature), mask)

    def head(self) -> Head:
        """Logits of hidden states.

        Not the head's own forward, which ZeRO-3 would gather weights for at each call: devices
        call it for different numbers of chunks.
        """
        head = self.loaded.core.get_output_embeddings()
        return partial(F.linear, weight=head.weight, bias=head.bias)

    def predictions(
        self, prompts: Sequence[Encoded], completions: Sequence[Sequence[Sequence[int]]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The N completion tokens' hidden states [N, D] before them, their ids [N], and where
        they stand: a mask [B, G, C]."""
        device = self.loaded.device
        if self.loaded.shared_prefix:
            hidden = self.hidden_states(prompts, completions)
        else:
            hidden = repeated_prompts.hidden_states(self.loaded, prompts, completions)
        lengths = torch.tensor([[len(row) for row in group] for group in completions])
        mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(-1)
        targets = torch.tensor([token for group in completions for row in group for token in row])
        there = partial(Tensor.to, device=device, non_blocking=True)
        return hidden, there(targets), there(mask)

    def hidden_states(
        self, prompts: Sequence[Encoded], completions: Sequence[Sequence[Sequence[int]]]
    ) -> Tensor:
        """The hidden states [N, D] from which all completion tokens are predicted.

        They are those of a packed row: of all prompts, and then of all completions but for the
        last token of each, from which nothing is predicted.
        """
        loaded, device = self.loaded, self.loaded.device
        batch = collate(prompts, device)
        rows = [torch.tensor(row[:-1], dtype=torch.long) for group in completions for row in group]
        layout = GroupLayout(batch.lengths, device, tuple(len(row) for row in rows))
        pictures = batch.pictures
        if not pictures and several_processes():
            pictures = self.blank()
        embedded = loaded.embed(batch.tokens, pictures)
        own = loaded.core.get_input_embeddings()(torch.cat(rows).to(device, non_blocking=True))
        positions = torch.cat([batch.positions, counted_on(batch, layout)], dim=1)
        row = torch.cat([embedded, own]).unsqueeze(0)
        out = loaded.decoder(row, positions.unsqueeze(1), layout=layout)
        return out[0, before(layout).to(device, non_blocking=True)]

    def blank(self) -> tuple[Patches, ...]:
        """The smallest picture, of which nothing is read where a prompt has no place for it."""
        if self.loaded.vision_tower is None:
            return ()
        vision = self.loaded.core.config.vision_config
        size = vision.spatial_merge_size
        values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        grid = torch.tensor([[1, size, size]])
        return (Patches(b"blank", torch.zeros(size**2, values), grid),)


def several_processes() -> bool:
    """Whether others compute beside this process.

    They wait for the gradients, or the shares, of a vision tower that one of them leaves out.
    """
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def spread(values: Tensor, mask: Tensor) -> Tensor:
    """Values [N] at the places of a mask [B, G, C], 0 elsewhere."""
    return torch.zeros(mask.shape, device=mask.device).masked_scatter(mask, values)


def counted_on(batch: PromptBatch, layout: GroupLayout) -> Tensor:
    """Rotary positions [3 or 1, T] of completions: each counts on from its prompt's end."""
    own = [
        torch.arange(first, first + length)
        for first, length in zip(layout.of_prompts(batch.following), layout.own, strict=True)
    ]
    positions = torch.cat(own).to(layout.device, non_blocking=True)
    return positions.expand(len(batch.positions), -1)


def before(layout: GroupLayout) -> Tensor:
    """Which token of a packed row predicts each token of each completion, one after the other.

    The first token of a completion is predicted by the last of its prompt.
    """
    lasts = layout.of_prompts([end - 1 for end in accumulate(layout.prompts)])
    starts = accumulate(layout.own, initial=layout.cut)
    return torch.cat([
        torch.tensor([last, *range(start, start + length)])
        for last, start, length in zip(lasts, starts, layout.own, strict=False)
    ])  # fmt: skip


Head = Callable[[Tensor], Tensor]
"""From hidden states [N, D] to logits [N, V]."""

Measure = Callable[[Tensor, Tensor, Head, float], Tensor]
"""From hidden states [N, D], targets [N], head and temperature to what is wanted of each token."""


def chunk_logits(hidden: Tensor, head: Head, temperature: float) -> Tensor:
    """The logits [N, V] of one chunk, as they were when sampled."""
    logits = head(hidden).float()
    return logits if temperature == 1 else logits / temperature


def chunk_logps(hidden: Tensor, targets: Tensor, head: Head, temperature: float) -> Tensor:
    """The log-probabilities [N] of one chunk."""
    # On a vocabulary of 150,000 each pass over the logits counts, and this makes the fewest.
    return -F.cross_entropy(chunk_logits(hidden, head, temperature), targets, reduction="none")


def token_logps(
    hidden: Tensor,
    targets: Tensor,
    head: Head,
    temperature: float,
    measure: Measure = chunk_logps,
) -> Tensor:
    """log softmax(head(hidden) / temperature) at the targets: [N, D], [N] -> [N] float32.

    The backward pass recomputes each chunk's logits, so that memory grows with CHUNK times the
    vocabulary and not with N times the vocabulary; but for the last chunk's, with which it begins.
    Another ``measure`` of the logits can be taken in the same way.
    """
    *earlier, last = zip(hidden.split(CHUNK), targets.split(CHUNK), strict=True)
    if torch.is_grad_enabled():
        measured = [
            checkpoint(measure, h, t, head, temperature, use_reentrant=False) for h, t in earlier
        ]
    else:
        measured = [measure(h, t, head, temperature) for h, t in earlier]
    return torch.cat([*measured, measure(*last, head, temperature)])

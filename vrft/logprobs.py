"""Vision-aware log-probabilities of groups (the paper's per_token_logps), without waste.

Each prompt, pictures included, passes the vision tower and the language model once for all its G
completions; logits are made for completion tokens only, a chunk at a time, in float32. Values
and gradients are those of the plain forward over G repeated rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vrft.attention import GroupLayout
from vrft.encoding import Encoded, PromptBatch, collate
from vrft.features import Picture
from vrft.models import LoadedModel

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
        pad = self.loaded.tokenizer.pad_token_id
        batch = collate(prompts, pad, self.loaded.device)
        tokens, mask = pad_completions(completions, pad)
        device = self.loaded.device
        # Found on the CPU: a mask on the device would make both wait for each other.
        where = tuple(index.to(device) for index in mask.nonzero(as_tuple=True))
        hidden = self.hidden_states(batch, tokens.to(device))[where]
        return hidden, tokens[mask].to(device), mask.to(device)

    def hidden_states(self, batch: PromptBatch, tokens: Tensor) -> Tensor:
        """The hidden states [B, G, C, D] from which each completion token is predicted."""
        loaded = self.loaded
        rows, generations, width = tokens.shape
        inputs = tokens[..., :-1]  # nothing is predicted from the last token
        layout = GroupLayout(batch.tokens.shape[1], width - 1, generations, batch.lengths)
        pictures = batch.pictures
        if not pictures and several_processes():
            pictures = self.blank()
        prompt = loaded.embed(batch.tokens, pictures)
        own = loaded.core.get_input_embeddings()(inputs.flatten(1))
        hidden = loaded.language_model(
            inputs_embeds=torch.cat([prompt, own], dim=1),
            position_ids=packed_positions(batch, generations, width - 1),
            attention_mask={"full_attention": None},
            use_cache=False,
            layout=layout,
        ).last_hidden_state
        last = hidden[torch.arange(rows), batch.lengths - 1]
        first = last[:, None, None].expand(-1, generations, 1, -1)
        after = hidden[:, layout.prompt :].unflatten(1, (generations, width - 1))
        return torch.cat([first, after], dim=2)

    def blank(self) -> tuple[Picture, ...]:
        """The smallest picture, of which nothing is read where a prompt has no place for it."""
        if self.loaded.vision_tower is None:
            return ()
        vision = self.loaded.core.config.vision_config
        size = vision.spatial_merge_size
        values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        grid = torch.tensor([[1, size, size]])
        return (Picture(b"blank", torch.zeros(size**2, values), grid),)


def several_processes() -> bool:
    """Whether others compute beside this process.

    They wait for the gradients, or the shares, of a vision tower that one of them leaves out.
    """
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def spread(values: Tensor, mask: Tensor) -> Tensor:
    """Values [N] at the places of a mask [B, G, C], 0 elsewhere."""
    return torch.zeros(mask.shape, device=mask.device).masked_scatter(mask, values)


def packed_positions(batch: PromptBatch, generations: int, width: int) -> Tensor:
    """Rotary positions of packed rows: each completion counts on from its prompt's end."""
    own = batch.following.unsqueeze(1) + torch.arange(width, device=batch.following.device)
    own = own.repeat(1, generations).expand(len(batch.positions), -1, -1)
    positions = torch.cat([batch.positions, own], dim=2)
    return positions if len(positions) == 3 else positions[0]


def pad_completions(
    completions: Sequence[Sequence[Sequence[int]]], pad_id: int
) -> tuple[Tensor, Tensor]:
    """Token ids [B, G, C] padded on the right, and the mask of those that are no padding."""
    lengths = torch.tensor([[len(row) for row in group] for group in completions])
    mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(-1)
    tokens = torch.full(mask.shape, pad_id)
    tokens[mask] = torch.tensor([i for group in completions for row in group for i in row])
    return tokens, mask


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

"""Vision-aware log-probabilities of groups (the paper's per_token_logps), without waste.

Each prompt, pictures included, passes the vision tower and the language model once for all its G
completions; logits are made for completion tokens only, a chunk at a time, in float32. Values
and gradients are those of the plain forward over G repeated rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vrft.attention.group_attention import GroupLayout
from vrft.models.encoding import Encoded, collate
from vrft.models.loaded import LoadedModel
from vrft.models.sharding import layers_to_shard
from vrft.models.vision_features import PatchedPicture
from vrft.policy import repeated_prompts
from vrft.policy.head_logps import fused_logps
from vrft.policy.update_layers import UpdateLayers, fits, is_float32

CHUNK = 2048
"""Completion tokens whose logits exist at one time."""


class GroupLogps(nn.Module):
    """The module that accelerate, DeepSpeed or FSDP wraps: log-probabilities in one forward."""

    def __init__(self, loaded: LoadedModel, layers: UpdateLayers | None = None) -> None:
        super().__init__()
        self.model = loaded.model  # registers the weights; `loaded` is no module
        self.loaded = loaded
        self.layers = layers or UpdateLayers()
        loaded.feature_cache.graphs.prepare = partial(self.layers.of, loaded.model)

    @property
    def _no_split_modules(self) -> set[str]:
        """Return the layers that FSDP shards one by one; accelerate asks by this name."""
        return layers_to_shard(self.loaded.core)

    def forward(
        self,
        prompts: Sequence[Encoded],
        completions: Sequence[Sequence[Sequence[int]]],
        temperature: float = 1.0,
    ) -> Tensor:
        """Return log pi(o_t | prompt, o_<t) of B prompts' G completions: [B, G, C] float32.

        ``completions`` are token ids; C is the longest, and values beyond a completion's end are
        0. Logits are divided by ``temperature`` (> 0), as they were when sampled.
        """
        hidden, targets, mask = self.predictions(prompts, completions)
        head = self.loaded.head
        fused = self.layers.head and fits(self.model) and is_float32(head)
        measure = partial(fused_logps, by_onednn=self.layers.by_onednn) if fused else token_logps
        logps_N = measure(hidden, targets, head, temperature=temperature)
        return torch.zeros(mask.shape, device=mask.device).masked_scatter(mask, logps_N)

    def predictions(
        self, prompts: Sequence[Encoded], completions: Sequence[Sequence[Sequence[int]]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return all N completion tokens as predictions: hidden states, token ids and places.

        Hidden states [N, D] are those before each token, ids are [N], and the places a mask
        [B, G, C], in whose order the N tokens come.
        """
        device = self.loaded.device
        with self.layers.of(self.model, self.model):
            if self.loaded.shared_prefix:
                hidden = self.hidden_states(prompts, completions)
            else:
                hidden = repeated_prompts.hidden_states(self.loaded, prompts, completions)
        lengths = torch.tensor([[len(row) for row in group] for group in completions])  # [B, G]
        mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(-1)
        targets = torch.tensor([token for group in completions for row in group for token in row])
        # Made on the CPU and sent without waiting: reading lengths back from the device would
        # stop the host until all that was launched before is done.
        return hidden, targets.to(device, non_blocking=True), mask.to(device, non_blocking=True)

    def hidden_states(
        self, prompts: Sequence[Encoded], completions: Sequence[Sequence[Sequence[int]]]
    ) -> Tensor:
        """Return the hidden states [N, D] from which all N completion tokens are predicted.

        The model reads one packed row: all prompts, then all completions but for the last token
        of each, from which nothing is predicted.
        """
        loaded, device = self.loaded, self.loaded.device
        batch = collate(prompts, device)
        rows = [torch.tensor(row[:-1], dtype=torch.long) for group in completions for row in group]
        layout = GroupLayout(batch.lengths, device, [len(row) for row in rows])
        groups = range(layout.generations)

        # Rotary positions [3 or 1, tokens]: every completion of a group counts on from the end of
        # its prompt, as if it stood alone behind it.
        firsts = [position for position in batch.next_positions for _ in groups]  # [B * G]
        completion_positions = torch.cat([
            torch.arange(first, first + len(row)) for first, row in zip(firsts, rows, strict=True)
        ]).to(device, non_blocking=True)  # fmt: skip
        positions = torch.cat(
            [batch.positions, completion_positions.expand(len(batch.positions), -1)], dim=1
        )

        pictures = batch.pictures or self.blank_pictures()
        prompt_states, deepstack = loaded.embed(batch.tokens, pictures)
        completion_states = loaded.token_embedding(torch.cat(rows).to(device, non_blocking=True))
        embedded = torch.cat([prompt_states, completion_states]).unsqueeze(0)
        hidden = loaded.decoder(embedded, positions.unsqueeze(1), deepstack, layout=layout)[0]

        # A completion's first token is predicted by the last of its prompt, every other one by the
        # token before it.
        lasts = [end - 1 for end in accumulate(layout.prompts) for _ in groups]  # [B * G]
        starts = accumulate(layout.completions, initial=layout.prompt_tokens)
        predicting = [
            place
            for last, start, length in zip(lasts, starts, layout.completions, strict=False)
            for place in (last, *range(start, start + length))
        ]
        return hidden[torch.tensor(predicting).to(device, non_blocking=True)]

    def blank_pictures(self) -> tuple[PatchedPicture, ...]:
        """Return one blank picture for prompts without any, where other processes may have some.

        They wait for this process to pass the vision tower too: for its gradients, or for its
        parts of the weights. No prompt has a place for the picture, so nothing is read of it.
        """
        alone = not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)
        if alone or self.loaded.vision_tower is None:
            return ()
        vision = self.loaded.core.config.vision_config
        size = vision.spatial_merge_size  # patches along a side of one image token
        values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        grid = torch.tensor([[1, size, size]])
        return (PatchedPicture(b"blank", torch.zeros(size**2, values), grid),)


def token_logps(
    hidden: Tensor, targets: Tensor, head: nn.Linear, temperature: float, *, entropy: bool = False
) -> Tensor:
    """Return log softmax(head(hidden) / temperature) at the targets: [N, D], [N] -> [N] float32.

    With ``entropy``, the entropies of the same distributions stand beside them: [N, 2]. The
    backward pass recomputes each chunk's logits, so that memory grows with CHUNK times the
    vocabulary and not with N times the vocabulary.
    """
    *earlier, last = zip(hidden.split(CHUNK), targets.split(CHUNK), strict=True)
    measure = partial(chunk_logps, head=head, temperature=temperature, entropy=entropy)
    if torch.is_grad_enabled():
        logps = [checkpoint(measure, h, t, use_reentrant=False) for h, t in earlier]
    else:
        logps = [measure(h, t) for h, t in earlier]
    # Not the last: the backward pass begins with it, and its logits would be made twice at once.
    return torch.cat([*logps, measure(*last)])


def chunk_logps(
    hidden: Tensor, targets: Tensor, head: nn.Linear, temperature: float, entropy: bool
) -> Tensor:
    """Return the log-probabilities [n] of one chunk; with ``entropy``, [n, 2] with entropies."""
    # Not the head's own forward, for which ZeRO-3 would gather its weights at each call: devices
    # call it for different numbers of chunks, and would wait for each other forever.
    logits = F.linear(hidden, head.weight, head.bias).float()
    if temperature != 1:
        logits = logits / temperature
    if not entropy:
        # On a vocabulary of 150,000 each pass over the logits counts, and this makes the fewest.
        return -F.cross_entropy(logits, targets, reduction="none")
    logps_nV = logits.log_softmax(-1)
    del logits  # a chunk of them takes 1.2 GB, and three tensors of that size are still to come
    chosen = logps_nV.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return torch.stack([chosen, -(logps_nV.exp() * logps_nV).sum(-1)], dim=1)

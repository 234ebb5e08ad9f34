"""Attention over groups: G completions read one shared prompt, computed once.

A packed row holds all prompts of a micro-batch, then all their completions; no token of it is
padding. A completion attends to its prompt and to itself, never to its siblings, so the row gives
the values and gradients of G separate rows while each prompt passes the model once. Nothing is
cached between layers' forwards, so gradient checkpointing recomputes exactly the same numbers.

The keys of a prompt are neither copied to its completions nor masked: attention over the prompt and
over the completion itself are computed apart and merged by their log-sum-exps, each by a flash
kernel that takes sequences of any lengths. A mask over the packed row would be mostly of places
that are not seen, and one over each completion needs a copy of the prompt's keys for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from vrft.models import flash
from vrft.models.flash import Spans
from vrft.models.group_cache import GroupCache

NAME = "vrft_group"


@dataclass(frozen=True)
class GroupLayout:
    """Where prompts and completions lie in a packed row, all prompts first.

    ``prompts`` [B] are the prompts' lengths and ``own`` [B * G] those of the completions, of which
    number b * G + g is completion g of prompt b; some may be 0, or all of them left out.
    """

    prompts: tuple[int, ...]
    device: torch.device
    own: tuple[int, ...] = ()

    @property
    def cut(self) -> int:
        """Tokens of all prompts: where the completions begin."""
        return sum(self.prompts)

    @property
    def generations(self) -> int:
        """Completions of each prompt."""
        return len(self.own) // len(self.prompts)

    def of_prompts(self, values: Sequence[int]) -> list[int]:
        """Values [B] of prompts for each of their completions: [B * G]."""
        return [value for value in values for _ in range(self.generations)]

    @property
    def siblings(self) -> tuple[int, ...]:
        """Tokens of all completions of each prompt: [B]."""
        starts = range(0, len(self.own), self.generations)
        return tuple(sum(self.own[i : i + self.generations]) for i in starts)

    @cached_property
    def in_prompts(self) -> Spans:
        """Each prompt over itself."""
        return Spans(self.prompts, self.prompts, True, self.device)

    @cached_property
    def over_prompts(self) -> Spans:
        """All completions of a prompt over it."""
        return Spans(self.siblings, self.prompts, False, self.device)

    @cached_property
    def in_completions(self) -> Spans:
        """Each completion over itself."""
        return Spans(self.own, self.own, True, self.device)


def install(language_model: nn.Module) -> None:
    """Let a decoder use ``attend`` in all its layers; without a layout it is plain SDPA."""
    config: Any = language_model.config
    if "sliding_attention" in config.layer_types or config.attention_dropout:
        raise NotImplementedError(
            "a prompt shared by a group needs full attention without dropout in every layer"
        )
    config._attn_implementation = NAME


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: GroupLayout | None = None,
    rollout: GroupCache | None = None,
    scaling: float,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """SDPA of [B, heads, T, D]; with a layout, of a packed row (B = 1). Returns [B, T, heads, D].

    In a ``rollout`` the first pass is over prompts, with a layout; in every later one T is 1.
    """
    if layout is None and rollout is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return plain
    # Under autocast the rotation of queries and keys has made them float32 again.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if rollout is not None:
        if layout is None:
            layer = int(module.layer_idx)  # type: ignore[arg-type]
            return rollout.attend(layer, query, key, value, scaling), None
        rollout.store(key[0], value[0])
    assert layout is not None
    rows = (states[0].transpose(0, 1) for states in (query, key, value))
    out: Tensor = GroupAttention.apply(layout, scaling, *rows)  # type: ignore[no-untyped-call]
    return out.unsqueeze(0), None


class GroupAttention(torch.autograd.Function):
    """Attention of a packed row: [T, H, D] over [T, K, D].

    The log-sum-exps of a completion's scores over its prompt and over itself give the shares of
    both in the softmax over all of them. With the output and log-sum-exp of the whole, the
    backward of a part gives that part of the gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, layout: GroupLayout, scaling: float, query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor:
        """The output [T, H, D]."""
        kernel, cut = flash.choose(query), layout.cut
        shared = key[:cut], value[:cut]
        out, lse = kernel.forward(query[:cut], *shared, layout.in_prompts, scaling)
        if len(query) > cut:
            own = query[cut:], key[cut:], value[cut:]
            over, over_lse = kernel.forward(own[0], *shared, layout.over_prompts, scaling)
            alone, alone_lse = kernel.forward(*own, layout.in_completions, scaling)
            both_lse = torch.logaddexp(over_lse, alone_lse)
            shares = [(one - both_lse).exp().unsqueeze(-1) for one in (over_lse, alone_lse)]
            both = over * shares[0] + alone * shares[1]
            out, lse = torch.cat([out, both.to(out.dtype)]), torch.cat([lse, both_lse])
        ctx.save_for_backward(query, key, value, out, lse)
        ctx.layout, ctx.scaling = layout, scaling
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of queries, keys and values."""
        query, key, value, out, lse = ctx.saved_tensors
        layout, scaling = ctx.layout, ctx.scaling
        kernel, cut = flash.choose(query), layout.cut
        shared = key[:cut], value[:cut]
        found = kernel.backward(
            grad[:cut], query[:cut], *shared, out[:cut], lse[:cut], layout.in_prompts, scaling
        )
        if len(query) > cut:
            own = grad[cut:], query[cut:]
            whole = out[cut:], lse[cut:]
            over = kernel.backward(*own, *shared, *whole, layout.over_prompts, scaling)
            alone = kernel.backward(
                *own, key[cut:], value[cut:], *whole, layout.in_completions, scaling
            )
            found = (
                torch.cat([found[0], over[0] + alone[0]]),
                torch.cat([found[1] + over[1], alone[1]]),
                torch.cat([found[2] + over[2], alone[2]]),
            )
        return None, None, *found


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)

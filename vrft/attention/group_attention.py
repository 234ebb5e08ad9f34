"""Attention over groups: G completions read one shared prompt, which passes the model once.

A packed row holds all prompts of a micro-batch, then all their completions; no token of it is
padding. A completion attends to its prompt and to itself, never to the other completions of its
group, so that the row gives the values and gradients of G separate rows. Nothing is cached between
the layers' forwards: gradient checkpointing recomputes exactly the same numbers.

The keys of a prompt are neither copied to its completions nor masked. Attention over the prompt and
over the completion itself are computed apart, each by a flash kernel for sequences of any lengths,
and merged by their log-sum-exps. A mask over the packed row would consist almost entirely of hidden
places, and one over each completion would need a copy of the prompt's keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from vrft.attention import flash
from vrft.attention.group_cache import GroupCache
from vrft.attention.packed_attention import SequenceLayout

NAME = "vrft_group"
"""The name of ``attend`` among transformers' attention implementations."""


class GroupLayout:
    """The places of prompts and completions in a packed row, all prompts first.

    ``prompts`` [B] are the prompts' lengths and ``completions`` [B * G] those of the completions,
    of which number b * G + g is completion g of prompt b. Some completions may have length 0, and
    a row of prompts alone has none.
    """

    def __init__(
        self, prompts: Sequence[int], device: torch.device, completions: Sequence[int] = ()
    ) -> None:
        self.prompts, self.completions = tuple(prompts), tuple(completions)
        self.device = device
        self.prompt_tokens = sum(prompts)  # the completions begin here
        self.generations = len(completions) // len(prompts)  # G
        groups = [
            self.completions[b * self.generations : (b + 1) * self.generations]
            for b in range(len(prompts))
        ]
        group_tokens = tuple(sum(lengths) for lengths in groups)  # [B]

        # The three attentions. All completions of a group are one sequence of queries over their
        # prompt, whose keys they all see: one product serves the whole group.
        self.within_prompts = SequenceLayout(self.prompts, self.prompts, True, device)
        self.over_prompts = SequenceLayout(group_tokens, self.prompts, False, device)
        self.within_completions = SequenceLayout(self.completions, self.completions, True, device)


def install(language_model: nn.Module) -> None:
    """Let a decoder use ``attend`` in all its layers; without a layout it is plain SDPA.

    Layers of linear attention are left to ``vrft.attention.group_delta``. Raises
    NotImplementedError for a decoder with sliding windows or attention dropout.
    """
    decoder: Any = language_model
    # A configuration without the kinds of its layers, as Qwen3-VL's, has full attention in all.
    kinds = {*(getattr(decoder.config, "layer_types", None) or ["full_attention"])}
    if kinds - {"full_attention", "linear_attention"} or decoder.config.attention_dropout:
        raise NotImplementedError(
            "a prompt shared by a group needs full attention without dropout in every layer"
        )
    decoder.set_attn_implementation(NAME)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: GroupLayout | None = None,
    # Not `cache`: transformers' layers have an argument of that name.
    group_cache: GroupCache | None = None,
    scaling: float,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Return attention [B, T, H, D] of states [B, heads, T, D], as transformers' layers call it.

    With a ``layout`` the states are those of a packed row (B = 1). With a ``group_cache`` they are
    those of a rollout, whose first pass is over prompts and has a layout too; in every later one T
    is 1. With neither it is plain SDPA.
    """
    if layout is None and group_cache is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return plain
    # Under autocast the rotation of queries and keys has made them float32 again.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if group_cache is not None:
        layer = int(module.layer_idx)  # type: ignore[arg-type]
        if layout is None:
            query, key, value = (states[:, :, 0] for states in (query, key, value))
            return group_cache.attend(layer, query, key, value, scaling).unsqueeze(1), None
        group_cache.store(layer, key[0], value[0])
    assert layout is not None
    rows = (states[0].transpose(0, 1) for states in (query, key, value))  # [T, heads, D]
    out: Tensor = GroupAttention.apply(layout, scaling, *rows)  # type: ignore[no-untyped-call]
    return out.unsqueeze(0), None


class GroupAttention(torch.autograd.Function):
    """Attention of a packed row: queries [T, H, D] over keys and values [T, K, D].

    For a completion's query let a be the log-sum-exp of its scores over the prompt and b that over
    its own completion. Over both it is c = log(exp(a) + exp(b)), and the output is the sum of the
    two outputs, weighted exp(a - c) and exp(b - c): the shares of both in one softmax.
    """

    @staticmethod
    def forward(
        ctx: Any, layout: GroupLayout, scaling: float, query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor:
        """Return the output [T, H, D]."""
        kernel, cut = flash.kernel_for(query), layout.prompt_tokens
        prompt = key[:cut], value[:cut]
        out, lse = kernel.forward(query[:cut], *prompt, layout.within_prompts, scaling)
        if len(query) > cut:
            own = query[cut:], key[cut:], value[cut:]
            over_prompt, prompt_lse = kernel.forward(own[0], *prompt, layout.over_prompts, scaling)
            over_own, own_lse = kernel.forward(*own, layout.within_completions, scaling)
            # logaddexp never overflows, as exp(a) + exp(b) would for scores of about 90.
            both_lse = torch.logaddexp(prompt_lse, own_lse)  # [completion tokens, H]
            shares = [(part - both_lse).exp().unsqueeze(-1) for part in (prompt_lse, own_lse)]
            # The shares are float32: half-precision outputs are rounded after the sum, not before.
            both = over_prompt * shares[0] + over_own * shares[1]
            out, lse = torch.cat([out, both.to(out.dtype)]), torch.cat([lse, both_lse])
        ctx.save_for_backward(query, key, value, out, lse)
        ctx.layout, ctx.scaling = layout, scaling
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of queries, keys and values; the first two inputs have none.

        Each half's backward gets the merged output and log-sum-exp in the place of its own. With
        them the kernel recomputes the weights of the one softmax, and so gives that half's part of
        the exact gradient.
        """
        query, key, value, out, lse = ctx.saved_tensors
        layout, scaling = ctx.layout, ctx.scaling
        kernel, cut = flash.kernel_for(query), layout.prompt_tokens
        prompt = key[:cut], value[:cut]
        gradients = kernel.backward(
            grad[:cut], query[:cut], *prompt, out[:cut], lse[:cut], layout.within_prompts, scaling
        )
        if len(query) > cut:
            own, merged = (grad[cut:], query[cut:]), (out[cut:], lse[cut:])
            over_prompt = kernel.backward(*own, *prompt, *merged, layout.over_prompts, scaling)
            over_own = kernel.backward(
                *own, key[cut:], value[cut:], *merged, layout.within_completions, scaling
            )
            # Completions' queries learn from both halves; the prompt's keys and values from the
            # prompt itself and from all its completions.
            gradients = (
                torch.cat([gradients[0], over_prompt[0] + over_own[0]]),
                torch.cat([gradients[1] + over_prompt[1], over_own[1]]),
                torch.cat([gradients[2] + over_prompt[2], over_own[2]]),
            )
        return None, None, *gradients


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)

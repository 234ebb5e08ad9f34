"""Attention over a group: G completions read one shared prompt, computed once.

A packed row is ``[prompt, completion 1, ..., completion G]``. A completion attends to the prompt
and to itself, never to its siblings, so the row gives the values and gradients of G separate
rows while the prompt passes the model once. Nothing is cached between layers' forwards, so
gradient checkpointing recomputes exactly the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from vrft.cache import GroupCache

NAME = "vrft_group"


@dataclass(frozen=True)
class GroupLayout:
    """Where prompt and completions lie in a packed row of ``prompt + generations * completion``.

    ``prompt_lengths`` [B] counts the prompt tokens that are no padding (padding is on the right).
    """

    prompt: int
    completion: int
    generations: int
    prompt_lengths: Tensor

    @property
    def real(self) -> Tensor:
        """Which of the prompts' tokens [B, P] are no padding."""
        device = self.prompt_lengths.device
        return torch.arange(self.prompt, device=device) < self.prompt_lengths.unsqueeze(1)

    def mask(self) -> Tensor:
        """Which keys [prompt, own completion] each completion token sees: [B, 1, C, P + C]."""
        device, real = self.prompt_lengths.device, self.real
        own = torch.ones(self.completion, self.completion, dtype=torch.bool, device=device).tril()
        batch = len(self.prompt_lengths)
        return torch.cat(
            [
                real[:, None, None].expand(batch, 1, self.completion, self.prompt),
                own[None, None].expand(batch, 1, -1, -1),
            ],
            dim=-1,
        )


def install(language_model: nn.Module) -> None:
    """Let a decoder use ``attend`` in all its layers; without a layout it is plain SDPA."""
    config: Any = language_model.config
    if "sliding_attention" in config.layer_types:
        raise NotImplementedError("a prompt shared by a group needs full attention in every layer")
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
    """SDPA of [B, heads, T, D]; with a layout, of packed rows. Returns [B, T, heads, D].

    In a ``rollout`` the first pass is over prompts, and in every later one T is 1.
    """
    if rollout is not None:
        layer = int(module.layer_idx)  # type: ignore[arg-type]
        if not rollout.is_first(layer):
            return rollout.attend(layer, query, *rollout.append(layer, key, value), scaling), None
        rollout.store(key, value)
    if layout is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return plain
    repeats = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    prompt, own = layout.prompt, layout.generations * layout.completion
    (q_prompt, q_own), (k_prompt, k_own), (v_prompt, v_own) = (
        states.split([prompt, own], dim=2) for states in (query, key, value)
    )
    # Padding is on the right of the prompt, so the causal order alone hides it from real tokens.
    over_prompt = F.scaled_dot_product_attention(
        q_prompt, k_prompt, v_prompt, is_causal=True, scale=scaling
    )
    if own == 0:
        return over_prompt.transpose(1, 2), None
    over = merged_halves if query.device.type == "cpu" else one_masked_product
    over_own = over(layout, scaling, q_own, k_prompt, v_prompt, k_own, v_own)
    return torch.cat([over_prompt, over_own], dim=2).transpose(1, 2), None


def one_masked_product(
    layout: GroupLayout,
    scaling: float,
    query: Tensor,
    k_prompt: Tensor,
    v_prompt: Tensor,
    k_own: Tensor,
    v_own: Tensor,
) -> Tensor:
    """Completions [B, H, G * C, D] over a copy of their prompt [B, H, P, D] and themselves.

    Any device's SDPA can do it; the mask has all of C * (P + C) places for each completion.
    """
    out = F.scaled_dot_product_attention(
        by_completion(query, layout),
        torch.cat([per_completion(k_prompt, layout), by_completion(k_own, layout)], dim=2),
        torch.cat([per_completion(v_prompt, layout), by_completion(v_own, layout)], dim=2),
        attn_mask=layout.mask().repeat_interleave(layout.generations, 0),
        scale=scaling,
    )
    return by_prompt(out, layout)


def merged_halves(
    layout: GroupLayout,
    scaling: float,
    query: Tensor,
    k_prompt: Tensor,
    v_prompt: Tensor,
    k_own: Tensor,
    v_own: Tensor,
) -> Tensor:
    """The same on a CPU without a copy of the prompt and without a mask over own tokens."""
    padding = None
    if not layout.real.all():
        unseen = ~layout.real[:, None, None]
        padding = torch.zeros_like(unseen, dtype=query.dtype).masked_fill(unseen, -torch.inf)
    rows = [by_completion(states, layout) for states in (query, k_own, v_own)]
    out: Tensor = MergedHalves.apply(layout, scaling, padding, query, k_prompt, v_prompt, *rows)  # type: ignore[no-untyped-call]
    return by_prompt(out, layout)


class MergedHalves(torch.autograd.Function):
    """Attention over the prompt, [B, H, G * C, D], and over own tokens, [B * G, H, C, D], apart.

    The log-sum-exp of each half's scores gives their shares in the softmax over both. With the
    output and log-sum-exp of the whole, the backward of a half gives its part of the gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        layout: GroupLayout,
        scaling: float,
        padding: Tensor | None,
        query: Tensor,
        k_prompt: Tensor,
        v_prompt: Tensor,
        q_own: Tensor,
        k_own: Tensor,
        v_own: Tensor,
    ) -> Tensor:
        """The merged output by completion, [B * G, H, C, D]."""
        half, half_lse = FLASH(
            query, k_prompt, v_prompt, 0.0, False, attn_mask=padding, scale=scaling
        )
        own, own_lse = FLASH(q_own, k_own, v_own, 0.0, True, scale=scaling)
        prompt = by_completion(half, layout)
        prompt_lse = by_completion(half_lse.unsqueeze(-1), layout).squeeze(-1)
        lse = torch.logaddexp(prompt_lse, own_lse)
        shares = [(one - lse).exp().unsqueeze(-1) for one in (prompt_lse, own_lse)]
        out: Tensor = (prompt * shares[0] + own * shares[1]).to(query.dtype)
        ctx.save_for_backward(query, k_prompt, v_prompt, q_own, k_own, v_own, padding, out, lse)
        ctx.layout, ctx.scaling = layout, scaling
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of queries, keys and values of both halves."""
        query, k_prompt, v_prompt, q_own, k_own, v_own, padding, out, lse = ctx.saved_tensors
        layout, scaling = ctx.layout, ctx.scaling
        of_prompt = FLASH_BACKWARD(
            by_prompt(grad, layout),
            query,
            k_prompt,
            v_prompt,
            by_prompt(out, layout),
            by_prompt(lse.unsqueeze(-1), layout).squeeze(-1),
            0.0,
            False,
            attn_mask=padding,
            scale=scaling,
        )
        of_own = FLASH_BACKWARD(grad, q_own, k_own, v_own, out, lse, 0.0, True, scale=scaling)
        return None, None, None, *of_prompt, *of_own


FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
FLASH_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def by_completion(states: Tensor, layout: GroupLayout) -> Tensor:
    """[B, H, G * C, D] as one row per completion: [B * G, H, C, D]."""
    split: Tensor = states.unflatten(2, (layout.generations, layout.completion))
    return split.transpose(1, 2).flatten(0, 1)


def by_prompt(states: Tensor, layout: GroupLayout) -> Tensor:
    """What ``by_completion`` made, by prompt again: [B, H, G * C, D]."""
    split: Tensor = states.unflatten(0, (-1, layout.generations))
    return split.transpose(1, 2).flatten(2, 3)


def per_completion(states: Tensor, layout: GroupLayout) -> Tensor:
    """The prompt's [B, H, P, D] once for each completion: [B * G, H, P, D]."""
    return states.repeat_interleave(layout.generations, 0)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)

"""One token of each row through a decoder of the Qwen line, in the fewest operations.

In a decode step of few rows on a CPU the number of operations counts: transformers' own layers take
some forty each, and make rotary tables anew for every token. The layers here are the same ones,
read and multiplied in the same order: norms in one operation, queries and keys rotated together by
a table that is made once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrft.attention.group_cache import GroupCache
from vrft.models.loaded import LoadedModel
from vrft.models.sharding import is_sharded

MOVING_ROTATIONS = ("dynamic", "longrope")
"""Kinds of rotary frequencies that depend on the positions met so far: no table holds them."""

Join = Callable[..., Callable[[Tensor], Tensor]]
"""From linear layers of the same input to a function of it that returns their outputs, joined."""

QUERY_NORMS = ("q_norm", "k_norm")
"""Norms of queries and keys, which some families have."""


def side_by_side(*layers: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the function that calls layers one after the other and joins their outputs.

    Of the same hidden states [..., K] these are [..., N1], [..., N2] and so on: [..., N1 + N2 ...].
    """
    return lambda hidden: torch.cat([layer(hidden) for layer in layers], dim=-1)


def fits(loaded: LoadedModel) -> bool:
    """Return whether a model decodes by ``TokenPass``: in float32 on a CPU, its layers known."""
    if loaded.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return False
    return has_known_layers(loaded)


def has_known_layers(loaded: LoadedModel) -> bool:
    """Return whether all layers of a decoder are float32 and those that the family's row names.

    Nothing of anybody's, a function or a hook, stands in the place of their own forwards. Linear
    layers may be any module, as LoRA's are.
    """
    decoder: Any = loaded.language_model
    name = loaded.family.decoder_layer
    if not name or is_sharded(decoder):
        return False
    if any(kind in decoder.rotary_emb.rope_type for kind in MOVING_ROTATIONS):
        return False
    bypassed: list[nn.Module] = [decoder, decoder.norm]
    for layer in decoder.layers:
        if type(layer).__name__ != name or type(layer).__module__.split(".")[0] != "transformers":
            return False
        attention = layer.self_attn
        norms = [getattr(attention, norm) for norm in QUERY_NORMS if hasattr(attention, norm)]
        bypassed += [layer, attention, layer.mlp, *norms]
        bypassed += [layer.input_layernorm, layer.post_attention_layernorm]
    weights = (weight.dtype for weight in decoder.parameters())
    return not any(map(is_changed, bypassed)) and {*weights} == {torch.float32}


def is_changed(module: nn.Module) -> bool:
    """Return whether calling a module does more than the forward of its class."""
    hooks = module._forward_hooks or module._forward_pre_hooks
    return bool(hooks) or "forward" in vars(module)


def projections(decoder: Any) -> list[tuple[nn.Module, nn.Module, nn.Module]]:
    """Return the layers that make queries, keys and values, of each layer of a decoder."""
    attentions = [layer.self_attn for layer in decoder.layers]
    return [(part.q_proj, part.k_proj, part.v_proj) for part in attentions]


class TokenPass:
    """The layers of a decoder for one token of each of n rows.

    ``reach`` says at which positions. A row's position is the same along all rotary axes, as it is
    for every token of text.
    """

    def __init__(self, loaded: LoadedModel, join: Join = side_by_side) -> None:
        """Take a model that ``fits``; ``join`` makes one product of layers with the same input."""
        decoder: Any = loaded.language_model
        self.layers, self.norm, self.rotate = list(decoder.layers), decoder.norm, decoder.rotary_emb
        self.axes = 3 if loaded.family.has_vision else 1
        self.projections = [join(*parts) for parts in projections(decoder)]

    def reach(self, first: int, last: int) -> None:
        """Make the rotary tables of positions ``first`` to ``last``."""
        self.first = first
        positions = torch.arange(first, last + 1).expand(self.axes, 1, -1)
        positions = positions if self.axes == 3 else positions[0]
        cos, sin = (table[0] for table in self.rotate(self.norm.weight, positions))  # [span, D]
        # rotate_half(x) is (-x2, x1). Its minus is put into the sine, so that roll alone gives
        # (x2, x1).
        half = sin.shape[-1] // 2
        self.cos = cos.unsqueeze(1)  # [span, 1, D]
        self.sin = torch.cat([-sin[:, :half], sin[:, half:]], dim=1).unsqueeze(1)

    def __call__(self, embedded: Tensor, position: Tensor, cache: GroupCache) -> Tensor:
        """Return hidden states [n, D] of embeddings [n, D] at positions [n]."""
        places = position - self.first
        cos, sin = self.cos[places], self.sin[places]  # [n, 1, head width]
        hidden = embedded
        for layer, project in zip(self.layers, self.projections, strict=True):
            attention, mlp = layer.self_attn, layer.mlp
            projected = project(normed(layer.input_layernorm, hidden))
            hidden = hidden + attention.o_proj(attend(attention, projected, cos, sin, cache))
            inner = normed(layer.post_attention_layernorm, hidden)
            gate = mlp.act_fn(mlp.gate_proj(inner))
            hidden = hidden + mlp.down_proj(gate.mul_(mlp.up_proj(inner)))
        return normed(self.norm, hidden)


def attend(
    attention: Any, projected: Tensor, cos: Tensor, sin: Tensor, cache: GroupCache
) -> Tensor:
    """Return what a layer's attention gathers, [n, H * D].

    ``projected`` [n, (H + 2K) * D] are the queries, keys and values of one token of each row.
    """
    width = attention.head_dim
    states = projected.unflatten(1, (-1, width))  # [n, H + 2K, D]
    key_heads = states.shape[1] // (attention.num_key_value_groups + 2)
    turned, value = states[:, :-key_heads], states[:, -key_heads:]
    if hasattr(attention, "q_norm"):
        query, key = turned[:, :-key_heads], turned[:, -key_heads:]
        turned = torch.cat([normed(attention.q_norm, query), normed(attention.k_norm, key)], dim=1)
    rotated = (turned * cos).add_(turned.roll(width // 2, -1).mul_(sin))
    query, key = rotated[:, :-key_heads], rotated[:, -key_heads:]
    return cache.attend(attention.layer_idx, query, key, value, attention.scaling).flatten(1)


def normed(norm: Any, hidden: Tensor) -> Tensor:
    """Return hidden states by their root mean square, times the norm's weight."""
    return F.rms_norm(hidden, norm.weight.shape, norm.weight, norm.variance_epsilon)

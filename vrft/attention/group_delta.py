"""Linear attention over groups: G completions go on from the state in which their prompt ends.

A gated delta layer (Qwen3.5, three layers of four) has no keys that later tokens look up. It reads
a text from left to right and keeps a state of fixed size; a causal convolution before it reads the
last few tokens. A prompt therefore passes the layer once, and each completion of its group begins
with the prompt's last state and last inputs of the convolution. Both are ordinary tensors of the
graph: gradients of all completions flow through them into the prompt, and nothing is held between
the layers' forwards, so that gradient checkpointing recomputes the same numbers.

Projections, gate and norm read the packed row as it is. Convolution and delta rule read rows of
equal length: prompts are padded on the left, so that the last column of each is its last token, and
completions on the right. Padding holds zeros, by which the state decays by exp(0) = 1 and learns
with a rate of 0: it stays exactly as it is.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrft.attention.group_attention import GroupLayout
from vrft.attention.group_cache import GroupCache

CHUNK = 64
"""Tokens that the delta rule reads at a time, at most."""


class DeltaState(NamedTuple):
    """The memory that a gated delta layer has of the text so far, in each of R rows.

    ``inputs`` [R, kernel - 1, C] are the last ones of the convolution over C channels, and
    ``memory`` [R, H, K, V] is the recurrent state of H heads, float32. Both are zeros at first.
    """

    inputs: Tensor
    memory: Tensor


class DeltaInputs(NamedTuple):
    """The inputs of the delta rule at each token: rows of tokens [R, T, ...], or packed [T, ...].

    ``channels`` [..., C] are queries, keys and values before their convolution, ``rate`` [..., H]
    in (0, 1) is how far a token overwrites the state, and ``decay`` [..., H] <= 0 the logarithm of
    what it leaves of the state.
    """

    channels: Tensor
    rate: Tensor
    decay: Tensor


def install(language_model: nn.Module) -> None:
    """Let a decoder's gated delta layers read packed rows; without a layout they stay as they are.

    A decoder without such layers is left alone.
    """
    decoder: Any = language_model
    for layer in decoder.layers:
        delta = getattr(layer, "linear_attn", None)
        if delta is not None:
            delta.forward = partial(attend, delta, delta.forward)


def attend(
    delta: Any,
    stock: Callable[..., Tensor],
    hidden_states: Tensor,
    *,
    layout: GroupLayout | None = None,
    # Not `cache`: transformers' layers have an argument of that name.
    group_cache: GroupCache | None = None,
    **kwargs: Any,
) -> Tensor:
    """Return a gated delta layer's output [B, T, D] of hidden states [B, T, D].

    With a ``layout`` these are a packed row (B = 1). With a ``group_cache`` they are those of a
    rollout, whose first pass is over prompts and has a layout too; in every later one T is 1. With
    neither, ``stock`` is called, the layer's own forward.
    """
    if layout is None and group_cache is None:
        return stock(hidden_states, **kwargs)
    tokens = project(delta, hidden_states)
    if layout is None:
        assert group_cache is not None
        layer = int(delta.layer_idx)
        state = DeltaState(*group_cache.delta_states[layer])
        mixed, state = read(delta, tokens, state, decoding=True)
        group_cache.move_on(layer, *state)
    else:
        mixed = read_groups(delta, DeltaInputs(*(part[0] for part in tokens)), layout, group_cache)
    gate = delta.in_proj_z(hidden_states)
    width = delta.head_v_dim
    normed = delta.norm(mixed.reshape(-1, width), gate.reshape(-1, width))
    out: Tensor = delta.out_proj(normed.reshape(gate.shape))
    return out


def project(delta: Any, hidden_states: Tensor) -> DeltaInputs:
    """Return what the delta rule reads of hidden states [B, T, D]."""
    rate = delta.in_proj_b(hidden_states).sigmoid()
    # In float32, as in transformers: in float16 the exponential may overflow.
    steps = F.softplus(delta.in_proj_a(hidden_states).float() + delta.dt_bias)
    return DeltaInputs(delta.in_proj_qkv(hidden_states), rate, -delta.A_log.float().exp() * steps)


def read_groups(
    delta: Any, tokens: DeltaInputs, layout: GroupLayout, group_cache: GroupCache | None
) -> Tensor:
    """Return the delta rule's output [T, H, V] of a packed row, all prompts first.

    The states after the prompts are held in the ``group_cache``, if there is one.
    """
    cut, device = layout.prompt_tokens, tokens.channels.device
    prompts = PaddedRows.of(layout.prompts, device, left=True)
    rows = DeltaInputs(*(prompts.pad(part[:cut]) for part in tokens))
    heads = len(layout.prompts), delta.num_v_heads, delta.head_k_dim, delta.head_v_dim
    empty = DeltaState(
        rows.channels.new_zeros(len(rows.channels), delta.conv_kernel_size - 1, delta.conv_dim),
        torch.zeros(heads, device=device),
    )
    mixed, state = read(delta, rows, empty)
    out = prompts.unpad(mixed)
    if group_cache is not None:
        group_cache.store_delta(int(delta.layer_idx), *state)
    if any(layout.completions):
        completions = PaddedRows.of(layout.completions, device, left=False)
        rows = DeltaInputs(*(completions.pad(part[cut:]) for part in tokens))
        # Row b * G + g begins where prompt b has ended.
        starts = DeltaState(*(part.repeat_interleave(layout.generations, 0) for part in state))
        mixed, _ = read(delta, rows, starts)
        out = torch.cat([out, completions.unpad(mixed)])
    return out


def read(
    delta: Any, tokens: DeltaInputs, state: DeltaState, *, decoding: bool = False
) -> tuple[Tensor, DeltaState]:
    """Read rows of tokens [R, T] from a state on: the outputs [R, T, H, V] and the state after.

    ``decoding`` reads token by token, which is faster for one of them, and may have no gradient.
    """
    inputs = torch.cat([state.inputs, tokens.channels], dim=1)  # [R, kernel - 1 + T, C]
    device = inputs.device.type
    convolve = function(delta, "causal_conv1d_fn", device)
    convolved = convolve(
        inputs.mT, delta.conv1d.weight.squeeze(1), delta.conv1d.bias, activation=delta.activation
    ).mT[:, state.inputs.shape[1] :]
    query, key, value = convolved.split([delta.key_dim, delta.key_dim, delta.value_dim], dim=-1)
    length = tokens.channels.shape[1]
    way = "recurrent" if decoding else "chunk"
    rule = function(delta, f"torch_{way}_gated_delta_rule", device)
    # The rule computes in float32, its products too: autocast would round the state in every chunk.
    autocasts = torch.amp.is_autocast_available(device)  # "meta" has none to turn off
    with torch.autocast(device, enabled=False) if autocasts else nullcontext():
        mixed, memory = rule(
            query.unflatten(-1, (-1, delta.head_k_dim)),
            key.unflatten(-1, (-1, delta.head_k_dim)),
            value.unflatten(-1, (-1, delta.head_v_dim)),
            g=tokens.decay,
            beta=tokens.rate,
            initial_state=state.memory,
            output_final_state=True,
            use_qk_l2norm_in_kernel=True,
            # Rows are filled up to a multiple of it, which costs most where they are short.
            chunk_size=min(CHUNK, 1 << (length - 1).bit_length()),
        )
    return mixed, DeltaState(inputs[:, length:], memory)


def function(delta: Any, name: str, device: str) -> Callable[..., Any]:
    """Return a function of transformers' from the layer's own file.

    On a GPU it chooses the kernels of flash-linear-attention and causal-conv1d where these are
    installed. They do not run elsewhere, where it is the function in torch below the choice.
    """
    chosen: Callable[..., Any] = getattr(sys.modules[type(delta).__module__], name)
    return chosen if device == "cuda" else inspect.unwrap(chosen)


class PaddedRows(NamedTuple):
    """The places of a packed row's tokens in rows of equal length.

    Token t of the packed row stands at ``places[t]`` among the tokens of R rows of ``length``.
    """

    places: Tensor
    rows: int
    length: int

    @staticmethod
    @lru_cache(maxsize=16)  # the layers of a pass all ask for the same
    def of(lengths: tuple[int, ...], device: torch.device, *, left: bool) -> PaddedRows:
        """Return the places of rows of these lengths, padded on the left or on the right."""
        longest = max(lengths)
        places = [
            row * longest + (longest - length if left else 0) + column
            for row, length in enumerate(lengths)
            for column in range(length)
        ]
        index = torch.tensor(places).to(device, non_blocking=True)
        return PaddedRows(index, len(lengths), longest)

    def pad(self, packed: Tensor) -> Tensor:
        """Return packed tokens [T, ...] as rows [R, length, ...], with zeros around them."""
        room = packed.new_zeros(self.rows * self.length, *packed.shape[1:])
        rows: Tensor = room.index_copy(0, self.places, packed).unflatten(0, (self.rows, -1))
        return rows

    def unpad(self, rows: Tensor) -> Tensor:
        """Return the tokens of rows [R, length, ...] one after the other, [T, ...]."""
        return rows.flatten(0, 1)[self.places]

"""Decoding token by token: one step of it, arranged as its device decodes fastest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vrft.attention.group_attention import GroupLayout
from vrft.attention.group_cache import GroupCache
from vrft.models import token_pass
from vrft.models.encoding import PromptBatch
from vrft.models.loaded import LoadedModel
from vrft.models.sharding import is_sharded
from vrft.models.token_pass import Join, TokenPass, fits, side_by_side
from vrft.policy import onednn
from vrft.policy.onednn import Products, plain_layers, prepacked

DecodeStep = Callable[[], None]
"""A decode step without arguments, which reads and writes the same tensors at every call."""


@dataclass(frozen=True)
class DecodeStrategy:
    """The way in which a device decodes fastest; it changes the time, never a token.

    Every ``check_every`` tokens the host asks which rows have ended, for which it waits until the
    device has caught up. Once more than the share ``idle_share`` of the rows in the batch have
    ended, these leave it. Room for completions grows by ``cache_block`` tokens. ``capture`` turns a
    step into one that replays it; after rows have left or room has grown, the step is captured
    again. None: every step is run as it is written. ``prepare`` is entered around the whole rollout
    and lays out the model's weights for it; its result is the ``products`` of ``Decoding``.
    ``fused``: layers are computed by ``TokenPass`` where the model fits, in the place of
    transformers' own, and ``join``: queries, keys and values of each by one product.
    """

    check_every: int
    idle_share: float
    cache_block: int
    capture: Callable[[DecodeStep], DecodeStep] | None = None
    prepare: Callable[[nn.Module], AbstractContextManager[object]] = nullcontext
    fused: bool = False
    join: bool = True


def cuda_graph(step: DecodeStep) -> DecodeStep:
    """Capture a step as a CUDA graph: one launch in the place of some thousands.

    The step is run once before: what libraries set up at their first call must not be captured.
    """
    # Torch asks for a warm-up on a side stream, which first waits for all that runs before it.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # By default a CUDA call of any thread breaks a capture, and NCCL's threads make some.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    return graph.replay


# On a CPU there is nothing to wait for, and rows that have ended cost as much as others: they leave
# at once. On a GPU a step takes about as long for half of the rows, while waiting and capturing
# anew cost as much as several steps.
STRATEGIES = {
    "cpu": DecodeStrategy(
        check_every=1, idle_share=0.0, cache_block=64, prepare=prepacked, fused=True
    ),
    "cuda": DecodeStrategy(check_every=8, idle_share=0.5, cache_block=512, capture=cuda_graph),
}
"""The strategy of each type of device."""


def strategy_for(loaded: LoadedModel, *, graphs: bool) -> DecodeStrategy:
    """Return the strategy of the model's device; ``graphs``: whether CUDA graphs are wanted."""
    strategy = STRATEGIES[loaded.device.type]
    # Sharded weights are fetched by hooks, on other streams, layer by layer: neither can a graph
    # capture that, nor are there whole weights that could be laid out otherwise.
    if is_sharded(loaded.model):
        return replace(strategy, capture=None, prepare=nullcontext)
    return strategy if graphs else replace(strategy, capture=None)


def weight_copies(loaded: LoadedModel, half: torch.dtype | None = None) -> tuple[int, int]:
    """Return the bytes of the copies of weights that a rollout on a CPU holds until it ends.

    The first are those of single layers, the second those that decoding joins beside them. ``half``
    is the type in which autocast computes, None where it is off.
    """
    if is_sharded(loaded.model):
        return 0, 0
    products, joined = Products(plain_layers(loaded.model, half)), 0
    if half is None and token_pass.has_known_layers(loaded):
        parts = token_pass.projections(loaded.language_model)
        joined = sum(products.joined_bytes(*part) for part in parts)
    return products.copy_bytes(), joined


def has_large_layers(loaded: LoadedModel) -> bool:
    """Return whether oneDNN multiplies some layer of the decoder.

    Attention then reads no empty room, which changes a sum's order. A small model's time is that of
    dispatching, so that there is nothing to gain, and its numbers stay the same to the last bit.
    """
    layers = loaded.language_model.modules()
    return any(isinstance(m, nn.Linear) and m.weight.numel() >= onednn.MIN_LAYER for m in layers)


class Decoding:
    """The state of decoding N = B * G rows, of which n are still in the batch.

    ``active`` [n] holds their numbers among the N, ``logits`` [n, V] their next token's, and
    ``ended`` [n] those that have their end token but have not left yet, for the caller to mark.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        batch: PromptBatch,
        generations: int,
        strategy: DecodeStrategy,
        products: object = None,
    ) -> None:
        """Pass all prompts through the model, once each, and predict their first tokens.

        ``products`` is what the strategy's ``prepare`` gives: layers are joined where it can.
        """
        self.loaded, self.strategy = loaded, strategy
        device = loaded.device
        self.cache = GroupCache(
            batch.lengths,
            generations,
            strategy.cache_block,
            device,
            fixed_room=strategy.capture is not None or not has_large_layers(loaded),
        )
        embedded, deepstack = loaded.embed(batch.tokens, batch.pictures)  # [T, D]
        layout = GroupLayout(batch.lengths, device)
        positions = batch.positions.unsqueeze(1)  # [3 or 1, 1, T]
        hidden = loaded.decoder(
            embedded.unsqueeze(0), positions, deepstack, layout=layout, group_cache=self.cache
        )[0]
        # The prompts' last tokens predict the first ones of all completions: logits are made for
        # these alone, not for T tokens times a vocabulary of 150,000.
        lasts = (torch.tensor(batch.lengths).cumsum(0) - 1).to(device)
        self.logits = loaded.head(hidden[lasts]).repeat_interleave(generations, 0)  # [N, V]

        self.axes = len(batch.positions)  # 3 of a vision model, 1 of a text model
        next_positions = torch.tensor(batch.next_positions).repeat_interleave(generations)
        self.position = next_positions.to(device)  # [n]
        self.tokens = torch.zeros_like(self.position)  # [n], the ones that are passed next
        self.active = torch.arange(len(self.position), device=device)
        self.ended = torch.zeros_like(self.position, dtype=torch.bool)
        self.replay: DecodeStep | None = None
        self.span = min(batch.next_positions), max(batch.next_positions)
        self.token_pass: TokenPass | None = None
        if strategy.fused and fits(loaded):
            join: Join = side_by_side
            if strategy.join and isinstance(products, Products):
                join = products.joined
            self.token_pass = TokenPass(loaded, join)

    def advance(self, tokens: Tensor) -> None:
        """Append a token to each of the n rows, [n], and predict the next one."""
        moved = self.cache.open()
        if moved and self.token_pass is not None:
            self.token_pass.reach(self.span[0], self.span[1] + self.cache.room)
        # Copied into memory that a captured step reads; `self.tokens = tokens` would not reach it.
        self.tokens.copy_(tokens)
        if self.strategy.capture is None:
            self.step()
        else:
            if moved or self.replay is None:
                with self.cache.rehearsal():  # a capture runs the step beforehand
                    self.replay = self.strategy.capture(self.step)
            self.replay()
        self.position += 1

    def step(self) -> None:
        """Pass ``tokens`` at ``position`` through the model and set ``logits``.

        It is captured once and replayed: nothing in here may depend on Python's numbers, which
        would stay those of the capture.
        """
        if self.token_pass is not None:
            embedded = self.loaded.token_embedding(self.tokens)  # [n, D]
            last = self.token_pass(embedded, self.position, self.cache)
            self.logits = self.loaded.head(last)
            return
        embedded = self.loaded.token_embedding(self.tokens.unsqueeze(1))  # [n, 1, D]
        # Text moves on by one along all axes alike.
        positions = self.position.unsqueeze(1).expand(self.axes, -1, -1)  # [axes, n, 1]
        hidden = self.loaded.decoder(embedded, positions, group_cache=self.cache)
        self.logits = self.loaded.head(hidden[:, -1])

    def keep(self, rows: Tensor) -> None:
        """Go on with these of the n rows alone, numbers [m]."""
        self.cache.keep(rows)
        self.active, self.position = self.active[rows], self.position[rows]
        self.tokens, self.ended = self.tokens[rows], self.ended[rows]
        self.replay = None  # it reads and writes the memory of before

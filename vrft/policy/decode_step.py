"""Decoding token by token: one step of it as the device likes it, recorded where that pays."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vrft.models.encoding import PromptBatch
from vrft.models.group_attention import GroupLayout
from vrft.models.group_cache import GroupCache
from vrft.models.loaded import LoadedModel
from vrft.models.sharding import is_sharded
from vrft.policy.onednn import prepacked

Step = Callable[[], None]
"""What reads and writes the same memory whenever it is called."""

Record = Callable[[Step], Step]
"""Turns a step into one that does the same, perhaps faster."""

Prepare = Callable[[nn.Module], AbstractContextManager[object]]
"""Within it a model's weights are read as the device likes it."""


@dataclass(frozen=True)
class DecodeStrategy:
    """How a device decodes best.

    Every ``look`` tokens it is asked which rows have ended, for which host and device wait for
    each other; once more than the share ``idle`` of the rows have ended, all those leave. The room
    for completions grows by ``block`` tokens. A step is recorded again after any of this. Before
    the first, the weights are prepared.
    """

    look: int
    idle: float
    block: int
    record: Record
    prepare: Prepare = nullcontext


def as_it_is(step: Step) -> Step:
    """A step that is not recorded."""
    return step


def cuda_graph(step: Step) -> Step:
    """A step as a CUDA graph: one launch for what else are some thousands.

    The step is run once before, as what is set up at its first run must not be recorded.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # Other threads, such as NCCL's, may call CUDA meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    return graph.replay


STRATEGIES = {
    "cpu": DecodeStrategy(look=1, idle=0.0, block=64, record=as_it_is, prepare=prepacked),
    "cuda": DecodeStrategy(look=8, idle=0.5, block=512, record=cuda_graph),
}


def strategy_for(loaded: LoadedModel, *, graphs: bool) -> DecodeStrategy:
    """How the model's device decodes; ``graphs``: whether CUDA graphs are wanted."""
    pace = STRATEGIES[loaded.device.type]
    # Weights that are shared out are fetched by hooks, on other streams, layer by layer.
    if is_sharded(loaded.model):
        return replace(pace, record=as_it_is, prepare=nullcontext)
    return pace if graphs else replace(pace, record=as_it_is)


class Decoding:
    """The state of decoding N = B * G rows, of which n still run.

    ``active`` [n] holds their numbers, ``logits`` [n, V] what they predict next, and ``ended`` [n]
    is for the caller to say which are over but have not left yet.
    """

    def __init__(
        self, loaded: LoadedModel, batch: PromptBatch, generations: int, pace: DecodeStrategy
    ) -> None:
        self.loaded, self.pace = loaded, pace
        device = loaded.device
        self.cache = GroupCache(batch.lengths, generations, pace.block, device)
        prompts = loaded.embed(batch.tokens, batch.pictures).unsqueeze(0)
        layout = GroupLayout(batch.lengths, device)
        positions = batch.positions.unsqueeze(1)
        hidden = loaded.decoder(prompts, positions, layout=layout, rollout=self.cache)
        lasts = torch.tensor(batch.lengths).cumsum(0) - 1
        self.logits = self.head(hidden[0, lasts.to(device)]).repeat_interleave(generations, 0)
        self.axes = len(batch.positions)
        following = torch.tensor(batch.following).repeat_interleave(generations)
        self.position = following.to(device)
        self.tokens = torch.zeros_like(self.position)
        self.active = torch.arange(len(self.position), device=device)
        self.ended = torch.zeros_like(self.position, dtype=torch.bool)
        self.replay: Step | None = None

    def head(self, hidden: Tensor) -> Tensor:
        """Logits of hidden states."""
        return self.loaded.core.get_output_embeddings()(hidden)  # type: ignore[no-any-return]

    def advance(self, tokens: Tensor) -> None:
        """Append a token to each of the n rows, and predict the next."""
        moved = self.cache.open()
        self.tokens.copy_(tokens)
        if moved or self.replay is None:
            self.replay = self.pace.record(self.step)
        self.replay()
        self.position += 1

    def step(self) -> None:
        """The model's pass over ``tokens`` at ``position``."""
        embedded = self.loaded.core.get_input_embeddings()(self.tokens.unsqueeze(1))
        positions = self.position.unsqueeze(1).expand(self.axes, -1, -1)
        hidden = self.loaded.decoder(embedded, positions, rollout=self.cache)
        self.logits = self.head(hidden[:, -1])

    def running(self) -> Tensor:
        """Which of the n rows have not ended, their places [m]; the host waits for the device."""
        return (~self.ended).nonzero().squeeze(1)

    def keep(self, rows: Tensor) -> None:
        """Only the rows at these places go on."""
        self.cache.keep(rows)
        self.active, self.position = self.active[rows], self.position[rows]
        self.tokens, self.ended = self.tokens[rows], self.ended[rows]
        self.replay = None

"""Sampling groups: each prompt passes the model once and its cache serves all G completions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessorList
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from vrft.cache import GroupCache
from vrft.config import SamplingConfig
from vrft.encoding import Encoded, PromptBatch, collate
from vrft.models import LoadedModel


@torch.no_grad()
def sample(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    num_generations: int,
    sampling: SamplingConfig,
    seeds: Sequence[int],
) -> list[list[list[int]]]:
    """Token ids of G completions of each of B prompts, the first end token included.

    Greedy at temperature 0. A prompt's completions depend on its seed alone, not on the other
    prompts in the batch, its place in it, or the device.
    """
    batch = collate(prompts, loaded.tokenizer.pad_token_id, loaded.device)
    draws = uniform(seeds, num_generations, sampling.max_completion_length).to(loaded.device)
    processors = logits_processors(loaded, sampling)
    decoding = Decoding(loaded, batch, num_generations)
    ends = torch.tensor(sorted(loaded.end_ids), device=loaded.device)
    rows: list[list[int]] = [[] for _ in range(len(draws))]
    banned = torch.tensor(loaded.banned_ids, device=loaded.device)
    for step in range(sampling.max_completion_length):
        allowed = decoding.logits.float().index_fill(1, banned, -torch.inf)
        logits: Tensor = processors(decoding.history, allowed)  # type: ignore[arg-type]
        greedy = sampling.temperature == 0
        tokens = logits.argmax(-1) if greedy else draw(logits, draws[decoding.active, step])
        for row, token in zip(decoding.active.tolist(), tokens.tolist(), strict=True):
            rows[row].append(token)
        running = ~torch.isin(tokens, ends)
        if not running.any() or step + 1 == sampling.max_completion_length:
            break
        decoding.advance(tokens, running)
    return [rows[i : i + num_generations] for i in range(0, len(rows), num_generations)]


class Decoding:
    """The state of decoding N = B * G rows; rows that have ended leave the batch.

    ``active`` [n] holds the row numbers still running, ``logits`` [n, V] what they predict next
    and ``history`` [n, T] their tokens so far, the prompt's included.
    """

    def __init__(self, loaded: LoadedModel, batch: PromptBatch, generations: int) -> None:
        self.loaded = loaded
        width = torch.arange(batch.tokens.shape[1], device=batch.tokens.device)
        real = width < batch.lengths.unsqueeze(1)
        self.cache = GroupCache(real, generations)
        hidden = loaded.language_model(
            inputs_embeds=loaded.embed(batch.tokens, batch.pictures),
            position_ids=batch.positions if len(batch.positions) == 3 else batch.positions[0],
            attention_mask={"full_attention": None},  # causal: padding on the right goes unseen
            use_cache=False,
            rollout=self.cache,
        ).last_hidden_state
        rows = len(batch.lengths)
        last = hidden[torch.arange(rows), batch.lengths - 1]
        self.logits = self.head(last).repeat_interleave(generations, 0)
        # A repetition penalty must not see padding: repeat the first token in its place.
        shown = torch.where(real, batch.tokens, batch.tokens[:, :1])
        self.active = torch.arange(rows * generations, device=last.device)
        self.history = shown.repeat_interleave(generations, 0)
        self.position = batch.following.repeat_interleave(generations)
        self.axes = len(batch.positions)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits of hidden states."""
        return self.loaded.core.get_output_embeddings()(hidden)  # type: ignore[no-any-return]

    def advance(self, tokens: Tensor, running: Tensor) -> None:
        """Append a token to each active row, drop the rows that have ended, predict the next."""
        if not running.all():
            self.keep(running)
            tokens = tokens[running]
        self.history = torch.cat([self.history, tokens.unsqueeze(1)], dim=1)
        position = self.position.unsqueeze(1)
        hidden = self.loaded.language_model(
            inputs_embeds=self.loaded.core.get_input_embeddings()(tokens.unsqueeze(1)),
            position_ids=position.expand(3, -1, -1) if self.axes == 3 else position,
            attention_mask={"full_attention": None},
            use_cache=False,
            rollout=self.cache,
        ).last_hidden_state
        self.logits = self.head(hidden[:, -1])
        self.position = self.position + 1

    def keep(self, running: Tensor) -> None:
        """Only these rows go on."""
        self.cache.keep(running)
        self.active, self.history = self.active[running], self.history[running]
        self.position = self.position[running]


def uniform(seeds: Sequence[int], generations: int, length: int) -> Tensor:
    """One number in [0, 1) for every token that may be drawn: [B * G, length], by prompt seed."""
    draws = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        draws.append(torch.rand(generations, length, generator=generator))
    return torch.cat(draws)


def draw(logits: Tensor, uniforms: Tensor) -> Tensor:
    """A token of each row by inverting the cumulative distribution: [n, V], [n] -> [n]."""
    cumulative = logits.softmax(-1).cumsum(-1)
    threshold = (uniforms * cumulative[:, -1]).unsqueeze(1)
    # The first token whose cumulative probability exceeds the threshold has probability > 0.
    return torch.searchsorted(cumulative, threshold, right=True).squeeze(1)


def logits_processors(loaded: LoadedModel, sampling: SamplingConfig) -> LogitsProcessorList:
    """The sampling settings, all of them explicit, in the order that transformers applies."""
    out = LogitsProcessorList()
    if sampling.repetition_penalty != 1.0:
        out.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature not in (0, 1):
        out.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k > 0:
        out.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        out.append(TopPLogitsWarper(sampling.top_p))
    return out

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

from vrft.config.schema import SamplingConfig
from vrft.models.encoding import Encoded, PromptBatch, collate
from vrft.models.loaded import LoadedModel
from vrft.policy import repeated_prompts
from vrft.policy.decode_step import DecodeStrategy, Decoding, strategy_for


def sample(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    num_generations: int,
    sampling: SamplingConfig,
    seeds: Sequence[int],
    pace: DecodeStrategy | None = None,
) -> list[list[list[int]]]:
    """Token ids of G completions of each of B prompts, the first end token included.

    Greedy at temperature 0. A prompt's completions depend on its seed alone, not on the other
    prompts in the batch, its place in it, the device or its ``pace``.
    """
    if not loaded.shared_prefix:
        return repeated_prompts.sample(loaded, prompts, num_generations, sampling, seeds)
    pace = pace or strategy_for(loaded, graphs=sampling.cuda_graphs)
    with pace.prepare(loaded.model):
        tokens = decode(loaded, prompts, num_generations, sampling, seeds, pace)
    rows = [loaded.until_end(row) for row in tokens.tolist()]
    return [rows[i : i + num_generations] for i in range(0, len(rows), num_generations)]


@torch.no_grad()
def decode(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    num_generations: int,
    sampling: SamplingConfig,
    seeds: Sequence[int],
    pace: DecodeStrategy,
) -> Tensor:
    """The same as one tensor [B * G, max_completion_length] on the device.

    What stands after the first end token of a row means nothing.
    """
    batch, limit = collate(prompts, loaded.device), sampling.max_completion_length
    draws = uniform(seeds, num_generations, limit).to(loaded.device)
    processors = logits_processors(loaded, sampling)
    ends = torch.tensor(sorted(loaded.end_ids), device=loaded.device)
    banned = torch.tensor(loaded.banned_ids, device=loaded.device)
    texts = blank_texts(batch, num_generations, limit)
    own = texts[:, -limit:]
    decoding = Decoding(loaded, batch, num_generations, pace)
    for step in range(limit):
        active = decoding.active
        allowed = decoding.logits.float().index_fill(1, banned, -torch.inf)
        logits: Tensor = processors(texts[active], allowed)  # type: ignore[arg-type]
        greedy = sampling.temperature == 0
        tokens = logits.argmax(-1) if greedy else draw(logits, draws[active, step])
        own[active, step] = tokens
        decoding.ended |= torch.isin(tokens, ends)
        if step + 1 == limit:
            break
        if (step + 1) % pace.look == 0:
            running = decoding.running()
            if len(running) == 0:
                break
            if len(tokens) - len(running) > pace.idle * len(tokens):
                decoding.keep(running)
                tokens = tokens[running]
        decoding.advance(tokens)
    return own


def blank_texts(batch: PromptBatch, generations: int, limit: int) -> Tensor:
    """The prompts' tokens, with room for ``limit`` more of each completion: [B * G, P + limit].

    What stands for no token repeats the first one, which is nothing new to a repetition penalty.
    """
    rows = batch.tokens.split(batch.lengths)
    texts = torch.stack([row[0].expand(max(batch.lengths) + limit) for row in rows])
    for text, row in zip(texts, rows, strict=True):
        text[: len(row)] = row
    return texts.repeat_interleave(generations, 0)


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

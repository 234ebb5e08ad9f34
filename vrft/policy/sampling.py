"""Sampling groups: each prompt passes the model once, and its cache serves all G completions."""

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

from vrft.config.rollout import SamplingConfig
from vrft.models.encoding import Encoded, PromptBatch, collate
from vrft.models.loaded import LoadedModel
from vrft.policy import repeated_prompts
from vrft.policy.decode_step import DecodeStrategy, Decoding, strategy_for
from vrft.policy.token_record import TokenRecord


def sample(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    num_generations: int,
    sampling: SamplingConfig,
    seeds: Sequence[int],
    strategy: DecodeStrategy | None = None,
    record: TokenRecord | None = None,
) -> list[list[list[int]]]:
    """Sample the token ids of G completions of each of B prompts, the first end token included.

    Sampling is greedy at temperature 0. A prompt's completions depend on its seed alone, not on
    the other prompts in the batch, its place among them, the device or the ``strategy``. ``record``
    takes down with which probabilities they were drawn.
    """
    if not loaded.shared_prefix:
        return repeated_prompts.sample(loaded, prompts, num_generations, sampling, seeds)
    strategy = strategy or strategy_for(loaded, graphs=sampling.cuda_graphs)
    tokens_NC = sample_tokens(loaded, prompts, num_generations, sampling, seeds, strategy, record)
    rows = [loaded.until_end(row) for row in tokens_NC.tolist()]
    return [rows[i : i + num_generations] for i in range(0, len(rows), num_generations)]


@torch.no_grad()
def sample_tokens(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    num_generations: int,
    sampling: SamplingConfig,
    seeds: Sequence[int],
    strategy: DecodeStrategy,
    record: TokenRecord | None = None,
) -> Tensor:
    """Sample the tokens of N = B * G completions, and return [N, C] on the device.

    C is ``max_completion_length``. Tokens after the first end token of a row mean nothing.
    """
    limit = sampling.max_completion_length
    with strategy.prepare(loaded.model) as products:
        uniforms = uniforms_of(seeds, num_generations, limit).to(loaded.device)
        batch = collate(prompts, loaded.device)
        texts = written_texts(batch, num_generations, limit)
        decoding = Decoding(loaded, batch, num_generations, strategy, products)
        return decode(decoding, texts, uniforms, sampling, record)


def uniforms_of(seeds: Sequence[int], num_generations: int, limit: int) -> Tensor:
    """Return a number in [0, 1) for every token that may be drawn: [N, C] on the CPU.

    They come from the prompt's own seed: the same on every device, and whatever else is in the
    batch.
    """
    streams = (torch.Generator().manual_seed(seed) for seed in seeds)
    return torch.cat([torch.rand(num_generations, limit, generator=g) for g in streams])


def written_texts(batch: PromptBatch, num_generations: int, limit: int) -> Tensor:
    """Return prompts with room for completions, which the repetition penalty reads: [N, P + C].

    Where there is no token yet, the prompt's first one stands, which is repeated already.
    """
    rows = batch.tokens.split(batch.lengths)
    texts = torch.stack([row[0].expand(max(batch.lengths) + limit) for row in rows])
    for text, row in zip(texts, rows, strict=True):
        text[: len(row)] = row
    return texts.repeat_interleave(num_generations, 0)


def decode(
    decoding: Decoding,
    texts: Tensor,
    uniforms: Tensor,
    sampling: SamplingConfig,
    record: TokenRecord | None,
) -> Tensor:
    """Write a completion behind each of N texts [N, P + C], token by token, and return [N, C].

    ``uniforms`` [N, C] in [0, 1) say which tokens are drawn.
    """
    loaded, strategy, limit = decoding.loaded, decoding.strategy, uniforms.shape[1]
    completions = texts[:, -limit:]  # a view: a token that is written here is read from `texts`
    banned = torch.tensor(loaded.banned_ids, device=loaded.device)
    processors, greedy = logits_processors(sampling), sampling.temperature == 0
    penalised = sampling.repetition_penalty != 1  # the one thing for which texts are read
    is_end = end_table(loaded, decoding.logits.shape[1])
    # Three numberings of rows meet in the loop. `texts`, `completions` and `uniforms` hold all N.
    # `decoding` holds the n rows still in the batch, and `active` [n] their numbers among the N.
    # `running` [m] holds, as places among these n, those that have not ended.
    for step in range(limit):
        active = decoding.active
        # In their own memory, which the next step writes anew: [n, V].
        logits: Tensor = decoding.logits.float().index_fill_(1, banned, -torch.inf)
        read = texts[active] if penalised else texts
        logits = processors(read, logits)  # type: ignore[arg-type]
        probabilities = logits.softmax(-1)
        tokens = logits.argmax(-1) if greedy else draw(probabilities, uniforms[active, step])
        completions[active, step] = tokens
        if record is not None:
            record.note(active, step, logits, probabilities, tokens)
        decoding.ended |= is_end[tokens]  # stays set: rows write on until they leave
        if step + 1 == limit:
            break  # nothing follows the last token, so the model need not read it
        if (step + 1) % strategy.check_every == 0:
            ended = int(decoding.ended.sum())  # the host waits for the device
            if ended == len(tokens):
                break
            if ended > strategy.idle_share * len(tokens):
                running = (~decoding.ended).nonzero().squeeze(1)
                decoding.keep(running)
                tokens = tokens[running]
        decoding.advance(tokens)
    return completions


def end_table(loaded: LoadedModel, vocabulary: int) -> Tensor:
    """Return whether each token of the vocabulary ends a completion, [V] on the device."""
    ends = [token for token in sorted(loaded.end_ids) if token < vocabulary]
    table = torch.zeros(vocabulary, dtype=torch.bool)
    table[ends] = True
    return table.to(loaded.device)


def draw(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Draw a token of each row by inverting the cumulative distribution: [n, V], [n] -> [n]."""
    cumulative = probabilities.cumsum(-1)
    # Not the uniform number itself: rounded, the probabilities of 150,000 tokens sum up to a little
    # more or less than 1, and a threshold above the sum would be no token's.
    threshold = (uniforms * cumulative[:, -1]).unsqueeze(1)
    # The first token whose cumulative probability exceeds the threshold has probability > 0: with
    # `right=False` a threshold of 0 would draw a banned first token.
    return torch.searchsorted(cumulative, threshold, right=True).squeeze(1)


def logits_processors(sampling: SamplingConfig) -> LogitsProcessorList:
    """Return transformers' processors for the sampling settings, in the order of ``generate``.

    Nothing is taken from the checkpoint's generation config: Qwen-VL's ships a temperature of
    0.01, with which all G completions of a prompt would be the same.
    """
    processors = LogitsProcessorList()
    if sampling.repetition_penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature not in (0, 1):
        processors.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k > 0:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    return processors

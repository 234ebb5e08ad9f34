"""The plain way: every completion has a copy of its prompt, and transformers does the rest.

It is for comparison: log-probabilities and greedy completions are those of the shared way, made
several times more slowly. Nothing of the shared way is used but the encoding of prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from vrft.config.schema import SamplingConfig
from vrft.models.encoding import Encoded
from vrft.models.loaded import LoadedModel

Rows = Sequence[Sequence[int]]
"""Token ids of completions."""


def hidden_states(
    loaded: LoadedModel, prompts: Sequence[Encoded], groups: Sequence[Rows]
) -> Tensor:
    """The hidden states [N, D] from which all tokens of B prompts' completions are predicted."""
    found = []
    for prompt, rows in zip(prompts, groups, strict=True):
        lengths = torch.tensor([len(row) for row in rows]).unsqueeze(1)
        mask = torch.arange(int(lengths.max())) < lengths
        tokens = torch.full(mask.shape, loaded.tokenizer.pad_token_id)
        tokens[mask] = torch.tensor([token for row in rows for token in row])
        inputs = repeated(loaded, prompt, len(rows))
        whole = torch.cat([inputs.pop("input_ids"), tokens.to(loaded.device)], dim=1)
        seen = torch.ones_like(whole)
        seen[:, len(prompt.tokens) :] = mask
        if "mm_token_type_ids" in inputs:
            inputs["mm_token_type_ids"] = types(loaded, whole)
        out = loaded.core.model(
            input_ids=whole, attention_mask=seen, use_cache=False, **inputs
        ).last_hidden_state
        found.append(out[:, len(prompt.tokens) - 1 : -1][mask.to(out.device)])
    return torch.cat(found)


@torch.no_grad()
def sample(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    num_generations: int,
    sampling: SamplingConfig,
    seeds: Sequence[int],
) -> list[list[list[int]]]:
    """Token ids of G completions of each prompt, the first end token included.

    A prompt's completions depend on its seed, but are not those of the shared way.
    """
    config = generation(loaded, sampling)
    devices = [loaded.device] if loaded.device.type == "cuda" else []
    groups = []
    for prompt, seed in zip(prompts, seeds, strict=True):
        inputs = repeated(loaded, prompt, num_generations)
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            rows = loaded.core.generate(
                **inputs,
                attention_mask=torch.ones_like(inputs["input_ids"]),
                generation_config=config,
            )
        own = rows[:, len(prompt.tokens) :].tolist()
        groups.append([loaded.until_end(row) for row in own])
    return groups


def generation(loaded: LoadedModel, sampling: SamplingConfig) -> GenerationConfig:
    """The sampling settings as transformers takes them, all of them explicit."""
    drawn = {
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
    }
    return GenerationConfig(
        **(drawn if sampling.temperature else {"do_sample": False}),
        repetition_penalty=sampling.repetition_penalty,
        max_new_tokens=sampling.max_completion_length,
        eos_token_id=sorted(loaded.end_ids),
        pad_token_id=loaded.tokenizer.pad_token_id,
        suppress_tokens=list(loaded.banned_ids),
    )


def repeated(loaded: LoadedModel, prompt: Encoded, count: int) -> dict[str, Any]:
    """A prompt and its pictures so many times, as the model takes them."""
    tokens = prompt.tokens.expand(count, -1).to(loaded.device)
    if prompt.pixels is None or prompt.grids is None:
        return {"input_ids": tokens}
    return {
        "input_ids": tokens,
        "mm_token_type_ids": types(loaded, tokens),
        "pixel_values": prompt.pixels.repeat(count, 1).to(loaded.device),
        "image_grid_thw": prompt.grids.repeat(count, 1).to(loaded.device),
    }


def types(loaded: LoadedModel, tokens: Tensor) -> Tensor:
    """1 for every token of a picture, 0 for all others."""
    found: Tensor = tokens == loaded.core.config.image_token_id
    return found.int()

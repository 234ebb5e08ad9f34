"""The plain way: every completion has its own copy of the prompt, and transformers does the rest.

It is for comparison. Its log-probabilities and greedy completions are those of the shared way,
computed several times more slowly, by nothing of the shared way but the encoding of prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from vrft.config.rollout import SamplingConfig
from vrft.models.encoding import Encoded
from vrft.models.loaded import LoadedModel


def hidden_states(
    loaded: LoadedModel, prompts: Sequence[Encoded], groups: Sequence[Sequence[Sequence[int]]]
) -> Tensor:
    """Return the hidden states [N, D] from which all tokens of all completions are predicted.

    ``groups`` are the token ids of B prompts' completions.
    """
    hidden = []
    for prompt, rows in zip(prompts, groups, strict=True):
        lengths = torch.tensor([len(row) for row in rows]).unsqueeze(1)
        mask = torch.arange(int(lengths.max())) < lengths  # [G, C], completions padded on the right
        completions = torch.full(mask.shape, loaded.tokenizer.pad_token_id)
        completions[mask] = torch.tensor([token for row in rows for token in row])
        inputs = repeated(loaded, prompt, len(rows))
        tokens = torch.cat([inputs.pop("input_ids"), completions.to(loaded.device)], dim=1)
        attention_mask = torch.ones_like(tokens)  # [G, P + C]
        attention_mask[:, len(prompt.tokens) :] = mask
        if "mm_token_type_ids" in inputs:
            inputs["mm_token_type_ids"] = token_types(loaded, tokens)
        out = loaded.core.model(
            input_ids=tokens, attention_mask=attention_mask, use_cache=False, **inputs
        ).last_hidden_state
        # The last token of the prompt predicts the first one of a completion.
        hidden.append(out[:, len(prompt.tokens) - 1 : -1][mask.to(out.device)])
    return torch.cat(hidden)


@torch.no_grad()
def sample(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    num_generations: int,
    sampling: SamplingConfig,
    seeds: Sequence[int],
) -> list[list[list[int]]]:
    """Sample the token ids of G completions of each prompt, the first end token included.

    A prompt's completions depend on its seed, but are not those of the shared way, which draws
    from other random numbers.
    """
    config, model = generation_config(loaded, sampling), loaded.core
    devices = [loaded.device] if loaded.device.type == "cuda" else []
    groups = []
    for prompt, seed in zip(prompts, seeds, strict=True):
        inputs = repeated(loaded, prompt, num_generations)
        # `generate` draws from the global generator, which the trainer's own draws depend on.
        with torch.random.fork_rng(devices), bare_generation_config(model):
            torch.manual_seed(seed)
            rows = model.generate(
                **inputs,
                attention_mask=torch.ones_like(inputs["input_ids"]),
                generation_config=config,
            )
        completions = rows[:, len(prompt.tokens) :].tolist()
        groups.append([loaded.until_end(row) for row in completions])
    return groups


@contextmanager
def bare_generation_config(model: Any) -> Iterator[None]:
    """Take the checkpoint's own generation config off a model within the block.

    ``generate`` would fill what ours leaves at None from there, such as min_p.
    """
    published = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = published


def generation_config(loaded: LoadedModel, sampling: SamplingConfig) -> GenerationConfig:
    """Return the sampling settings as transformers takes them, all of them explicit."""
    random_draws = {
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
    }
    return GenerationConfig(
        **(random_draws if sampling.temperature else {"do_sample": False}),
        repetition_penalty=sampling.repetition_penalty,
        max_new_tokens=sampling.max_completion_length,
        eos_token_id=sorted(loaded.end_ids),
        pad_token_id=loaded.tokenizer.pad_token_id,
        suppress_tokens=list(loaded.banned_ids),
    )


def repeated(loaded: LoadedModel, prompt: Encoded, count: int) -> dict[str, Any]:
    """Return the model's inputs for ``count`` copies of a prompt and its pictures."""
    tokens = prompt.tokens.expand(count, -1).to(loaded.device)  # [count, P]
    if prompt.pixels is None or prompt.grids is None:
        return {"input_ids": tokens}
    return {
        "input_ids": tokens,
        "mm_token_type_ids": token_types(loaded, tokens),
        "pixel_values": prompt.pixels.repeat(count, 1).to(loaded.device),
        "image_grid_thw": prompt.grids.repeat(count, 1).to(loaded.device),
    }


def token_types(loaded: LoadedModel, tokens: Tensor) -> Tensor:
    """Return 1 for every token of a picture and 0 for all others, in the shape of the tokens."""
    is_image: Tensor = tokens == loaded.core.config.image_token_id
    return is_image.int()

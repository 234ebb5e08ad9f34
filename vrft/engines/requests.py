"""A request for completions in vLLM's protocol, and its answer, which is read with care.

The trainer's own token ids and its resized pictures are sent, and the server says which prompt it
has read.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

from vrft.config.rollout import SamplingConfig
from vrft.engines.client import GENERATE, ServerFailure, entry
from vrft.errors import UserError
from vrft.models.encoding import Encoded
from vrft.models.loaded import LoadedModel
from vrft.models.resized_pictures import resized_picture

BAN = -100.0
"""The bias of a banned token: the lowest that vLLM takes. It leaves a probability below 1e-40."""


@dataclass(frozen=True)
class Choice:
    """One completion of a server: token ids [C], the end token included, and their log-probs."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]


def generate_request(
    loaded: LoadedModel,
    model: str,
    prompt: Encoded,
    num_generations: int,
    sampling: SamplingConfig,
    seed: int,
) -> dict[str, Any]:
    """Return the body of a request for G completions of a prompt.

    Every setting is named, as the server would take others from the checkpoint. Image tokens of a
    picture are sent as one: the server makes as many as its own processor counts, which
    ``read_choices`` compares.
    """
    parts = [{"type": "image_url", "url": data_uri(loaded, picture)} for picture in prompt.pictures]
    return {
        "model": model,
        "token_ids": unexpanded(loaded, prompt),
        "content_parts": parts or None,
        "return_token_ids": True,
        "sampling_params": {
            "n": num_generations,
            "max_tokens": sampling.max_completion_length,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "repetition_penalty": sampling.repetition_penalty,
            "seed": seed,
            "stop_token_ids": sorted(loaded.end_ids),
            "logit_bias": {str(token): BAN for token in loaded.banned_ids},
            "logprobs": 0,  # of the sampled token alone
            "detokenize": False,
        },
    }


def unexpanded(loaded: LoadedModel, prompt: Encoded) -> list[int]:
    """Return a prompt's token ids with one image token for each of its pictures."""
    tokens: list[int] = prompt.tokens.tolist()
    if not prompt.pictures:
        return tokens
    image = loaded.core.config.image_token_id
    # Between two pictures stand at least their markers, so a run of image tokens is one picture.
    return [
        token
        for place, token in enumerate(tokens)
        if token != image or place == 0 or tokens[place - 1] != image
    ]


def data_uri(loaded: LoadedModel, picture: Any) -> str:
    """Return a picture's resized pixels as a PNG in a data URI, without loss."""
    processor: Any = loaded.processor.image_processor
    file = io.BytesIO()
    # Level 1: the file goes to the same machine, and the time is the trainer's.
    resized_picture(processor, picture).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def read_choices(
    answer: Any, loaded: LoadedModel, prompt: Encoded, num_generations: int, limit: int
) -> list[Choice]:
    """Return the G completions of an answer, each of at most ``limit`` tokens.

    Raises UserError for a server that has read another prompt, and ServerFailure for an answer that
    cannot be that of a server in order.
    """
    path = GENERATE
    read, expected = entry(answer, "prompt_token_ids", path), prompt.tokens.tolist()
    if read != expected:
        count = len(read) if isinstance(read, list) else 0
        raise UserError(
            f"rollout.engine=vllm: the server reads a prompt of {len(expected)} tokens as {count} "
            "others; its model folder has another tokenizer or other limits of picture sizes than "
            "the trainer's (model.min_pixels, model.max_pixels)"
        )
    choices = entry(answer, "choices", path)
    if not isinstance(choices, list) or len(choices) != num_generations:
        raise ServerFailure(f"{path} does not return {num_generations} completions")
    try:
        ordered = sorted(choices, key=lambda choice: choice["index"])
        return [read_choice(choice, loaded, limit) for choice in ordered]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ServerFailure(f"{path} returns a completion that cannot be read ({error})") from error


def read_choice(choice: dict[str, Any], loaded: LoadedModel, limit: int) -> Choice:
    """Return one completion of an answer; raise ValueError for one that cannot be right."""
    tokens = tuple(int(token) for token in choice["token_ids"])
    logprobs = tuple(float(row["logprob"]) for row in choice["logprobs"]["content"])
    reason = choice["finish_reason"]
    if reason not in ("stop", "length"):
        raise ValueError(f"it ended by {reason!r}")
    ends = [place for place, token in enumerate(tokens, 1) if token in loaded.end_ids]
    if not 1 <= len(tokens) <= limit or ends not in ([], [len(tokens)]):
        raise ValueError(f"{len(tokens)} tokens of at most {limit}, with ends at {ends[:3]}")
    if not ends and (reason == "stop" or len(tokens) < limit):
        raise ValueError(f"it ended by {reason!r} after {len(tokens)} of {limit} tokens")
    strange = [t for t in tokens if not 0 <= t < loaded.head.out_features or t in loaded.banned_ids]
    if strange:
        raise ValueError(f"token {strange[0]} is none that may be sampled")
    if len(logprobs) != len(tokens) or not all(-9998 < p < 1e-3 for p in logprobs):
        raise ValueError("its log-probabilities are none")  # vLLM writes -9999 for NaN
    return Choice(tokens, logprobs)

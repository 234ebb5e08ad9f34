"""Answers to a server's requests that depend on a prompt's seed alone; prompts have no pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

FIRST, LAST = 20, 200
"""Tokens of the tiny models that are neither special nor banned."""


def numbers(body: dict[str, Any]) -> dict[str, Any]:
    """Return as many completions of random tokens as are asked for, none with an end."""
    asked = body["sampling_params"]
    length, generator = asked["max_tokens"], np.random.default_rng(asked["seed"])
    choices = [
        {
            "index": index,
            "token_ids": generator.integers(FIRST, LAST, length).tolist(),
            "logprobs": {"content": [{"logprob": -5.0}] * length},
            "finish_reason": "length",
        }
        for index in range(asked["n"])
    ]
    return {"prompt_token_ids": body["token_ids"], "choices": choices}

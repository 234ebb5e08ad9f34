"""A policy of standard shape beside a small server that speaks vLLM's protocol, attached to it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vrft import policy
from vrft.config.rollout import RolloutConfig, SamplingConfig, VllmConfig
from vrft.config.schema import AlgorithmConfig, Config, ModelConfig
from vrft.engines.vllm import VllmEngine
from vrft.models.encoding import Encoded
from vrft.policy.policy import ModelPolicy
from vrft.types import Prompt

SAMPLING = SamplingConfig(max_completion_length=6, max_prompt_length=400)


def standard_policy(folder: Path) -> ModelPolicy:
    """Return a tiny policy with the head width of published models, written to a folder."""
    from fakes import standard_shape

    written = standard_shape.write(folder, "qwen2_vl")
    return policy.load(ModelConfig(name=str(written), dtype="float32"), device="cpu")


def expanded(model: ModelPolicy, body: dict[str, Any]) -> list[int]:
    """Return a request's tokens with the image tokens that a server makes of each picture."""
    processor = model.loaded.processor.image_processor  # type: ignore[union-attr]
    image = model.loaded.core.config.image_token_id
    pictures = iter(body["content_parts"] or [])
    tokens = []
    for token in body["token_ids"]:
        count = 1
        if token == image:
            data = base64.b64decode(next(pictures)["url"].partition(",")[2])
            opened = Image.open(io.BytesIO(data))
            count = int(processor(images=[opened])["image_grid_thw"][0].prod()) // 4
        tokens += [token] * count
    return tokens


def served(model: ModelPolicy) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a server's way of answering: by completions of the model, at its own log-probs."""

    def generate(body: dict[str, Any]) -> dict[str, Any]:
        asked = body["sampling_params"]
        length = asked["max_tokens"]
        rng = np.random.default_rng(asked["seed"])
        choices = [
            {
                "index": index,
                "token_ids": (rng.integers(20, 200, length)).tolist(),
                "logprobs": {"content": [{"token_id": 0, "logprob": -5.0}] * length},
                "finish_reason": "length",
            }
            for index in reversed(range(asked["n"]))
        ]
        return {"prompt_token_ids": expanded(model, body), "choices": choices}

    return generate


def config(url: str, **vllm: Any) -> Config:
    limits = {"max_logprob_difference": 1000.0, **vllm}
    return Config(
        model=ModelConfig(dtype="float32"),
        sampling=SAMPLING,
        rollout=RolloutConfig("vllm", VllmConfig(url=url, **limits)),
        algorithm=AlgorithmConfig(num_generations=4),
    )


def attached(
    model: ModelPolicy, url: str, folder: Path, dtype: Any = "float32", **vllm: Any
) -> VllmEngine:
    given = config(url, **vllm)
    name = str(model.loaded.core.config.name_or_path)
    return VllmEngine(replace(given, model=ModelConfig(name, dtype)), model, folder)


def noise(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encode(model: ModelPolicy) -> list[Encoded]:
    return model.encode([Prompt("Where?", (noise(97, 131), noise(56, 56))), Prompt("What?")])

"""A model as a plain folder for others: merged where asked for, in the precision asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from vrft import models
from vrft.config.schema import ModelConfig, SamplingConfig
from vrft.errors import UserError
from vrft.models.loaded import LoadedModel
from vrft.policy.policy import ModelPolicy, load
from vrft.types import Prompt

Dtype = Literal["float32", "bfloat16", "float16"]

GREEDY = SamplingConfig(temperature=0.0, max_completion_length=64)


def write(policy: ModelPolicy, folder: Path, *, merge: bool, dtype: Dtype) -> None:
    """Write the policy's model to a folder, its weights in ``dtype``.

    With ``merge``, an adapter is added to the weights that it adapts: W + scaling * B A, which
    changes the policy too. Raises UserError for a model to be merged that has no adapter.
    """
    loaded = policy.loaded
    model: Any = loaded.model
    if merge:
        if loaded.adapter is None:
            raise UserError("--merge: the model has no adapter; leave it out")
        model = loaded.adapter.merge_and_unload()
    model.to(getattr(torch, dtype))
    plain = LoadedModel(model, loaded.processor, loaded.family, 0, loaded.shared_prefix)
    models.save_model(plain, folder)


def answers(policy: ModelPolicy, prompts: Sequence[Prompt]) -> list[str]:
    """Return the policy's greedy answers of up to 64 tokens, one prompt after the other."""
    texts = []
    for prompt in prompts:
        ((rollout,),) = policy.generate([prompt], 1, GREEDY, [0])
        texts.append(rollout.completion.text)
    return texts


def changed(before: Sequence[str], folder: Path, prompts: Sequence[Prompt], dtype: Dtype) -> int:
    """Return how many greedy answers of the model in ``folder`` differ from those before."""
    after = answers(load(replace(ModelConfig(), name=str(folder), dtype=dtype)), prompts)
    return sum(old != new for old, new in zip(before, after, strict=True))

"""The shape of a model: its configuration, and the model of it without any weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from transformers import AutoConfig

from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.models import folders, group_attention, group_delta, prompt_tokens
from vrft.models.families import FAMILIES, Family, read_config
from vrft.models.loaded import LoadedModel
from vrft.models.loading import multiply_patches, prepare_training

PUBLISHED = Path(__file__).resolve().parents[1] / "models" / "published_configs.yaml"
"""Shapes of published models by hub id."""

EXPERTS = "the experts of a layer are chosen by numbers, which a plan without weights has not"


@dataclass(frozen=True)
class Shape:
    """A model's configuration as transformers has it, its family, and where it was read."""

    name: str
    config: Any = field(compare=False)
    family: Family = field(compare=False)
    source: str

    @property
    def vision(self) -> Any:
        """Return the configuration of the vision tower; None of a text-only model."""
        return self.config.vision_config if self.family.has_vision else None

    @property
    def factor(self) -> int:
        """Return the pixels along one side of an image token."""
        return int(self.vision.patch_size * self.vision.spatial_merge_size)

    @property
    def text(self) -> Any:
        """Return the configuration of the language model."""
        return self.config.get_text_config()


class WithoutWords:
    """A tokenizer of so many tokens that knows no words: a plan asks for none."""

    chat_template = None
    eos_token_id = 0

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def __len__(self) -> int:
        return self.tokens

    def get_vocab(self) -> dict[str, int]:
        """Return no tokens: none is banned from being sampled."""
        return {}


def read(name: str) -> Shape:
    """Return the shape of a folder, of a hub id in the cache, or of a published model.

    Nothing is downloaded. Raises UserError where no configuration of the model is at hand, for an
    adapter, and for a family that is not supported.
    """
    try:
        folder = prompt_tokens.local_folder(name)
    except UserError as error:
        if name not in published():
            known = ", ".join(published())
            raise UserError(f"{error}; or plan with the shape of one of {known}") from error
        config, source = published_config(name), "the shapes that vrft ships"
    else:
        if folders.is_adapter(folder):
            raise UserError(
                f"model {name!r}: an adapter's folder; plan with its base model and model.lora.r"
            )
        config, source = read_config(folder), f"{folder}/config.json"
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise UserError(
            f"model {name!r}: its family is {config.model_type!r}, not {', '.join(FAMILIES)}"
        )
    shape = Shape(name, config, family, source)
    if getattr(shape.text, "num_experts", 0):
        raise UserError(f"model {name!r}: {EXPERTS}; plan with a dense model of its size")
    return shape


@cache
def published() -> dict[str, dict[str, Any]]:
    """Return the configurations of published models by hub id."""
    with PUBLISHED.open(encoding="utf-8") as file:
        shapes: dict[str, dict[str, Any]] = yaml.safe_load(file)
    return shapes


def published_config(name: str) -> Any:
    """Return the configuration of a published model in its family's class."""
    settings = dict(published()[name])
    return AutoConfig.for_model(settings.pop("model_type"), **settings)


def build(
    shape: Shape, settings: ModelConfig, dtype: torch.dtype, *, train: bool = True
) -> LoadedModel:
    """Return the model of a shape on "meta", adapted, frozen and checkpointed as it is trained.

    Raises UserError as ``prepare_training`` does.
    """
    family = shape.family
    with torch.device("meta"):
        model = family.auto_model.from_config(
            shape.config, dtype=dtype, attn_implementation=settings.attn_implementation
        )
    group_attention.install(model.get_submodule(family.decoder))
    group_delta.install(model.get_submodule(family.decoder))
    if family.has_vision:
        multiply_patches(model, family.patch_embedding)
    if train:
        model = prepare_training(model, settings, family)
    processor: Any = WithoutWords(shape.text.vocab_size)
    return LoadedModel(
        model.train() if train else model.requires_grad_(False).eval(),
        processor,
        family,
        settings.picture_cache_mib * 2**20,
        settings.shared_prefix,
    )


def weights_by_part(loaded: LoadedModel) -> dict[str, list[Tensor]]:
    """Return the weights of the vision tower, the decoder and the head, each in one part.

    A head that is tied to the embeddings is the head's.
    """
    parts: dict[str, Iterator[Tensor]] = {"head": loaded.head.parameters()}
    if loaded.vision_tower is not None:
        parts["vision"] = loaded.vision_tower.parameters()
    parts["decoder"] = loaded.model.parameters()  # all that is left
    seen: set[int] = set()
    by_part: dict[str, list[Tensor]] = {}
    for part, weights in parts.items():
        by_part[part] = [weight for weight in weights if id(weight) not in seen]
        seen |= {id(weight) for weight in by_part[part]}
    return by_part


def parameters(loaded: LoadedModel) -> dict[str, tuple[int, int]]:
    """Count the parameters of each part: (all, those that are trained)."""
    return {
        part: (
            sum(weight.numel() for weight in weights),
            sum(weight.numel() for weight in weights if weight.requires_grad),
        )
        for part, weights in weights_by_part(loaded).items()
    }

"""The shape of a model: its configuration, and the model of it without any weights."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from peft import get_peft_model
from torch import Tensor, nn
from transformers import AutoConfig

from vrft.attention import group_attention, group_delta
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.models import adapters, folders, prompt_tokens, quantization
from vrft.models.families import FAMILIES, Family, check_attention, read_config
from vrft.models.loaded import LoadedModel
from vrft.models.loading import multiply_patches, narrow_frozen, prepare_training

PUBLISHED = Path(__file__).resolve().parents[1] / "models" / "published_configs.yaml"
"""Shapes of published models by hub id."""


@dataclass(frozen=True)
class Shape:
    """A model's configuration as transformers has it, its family, and where it was read.

    ``adapter`` is peft's configuration of the adapter that the model has already, if any.
    """

    name: str
    config: Any = field(compare=False)
    family: Family = field(compare=False)
    source: str
    adapter: Any = field(default=None, compare=False)

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
    """A tokenizer that has a size and no words, as a plan reads no text."""

    chat_template = None
    eos_token_id, pad_token_id = 0, None
    added_tokens_decoder: Mapping[int, Any] = MappingProxyType({})

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def __len__(self) -> int:
        return self.tokens

    def get_vocab(self) -> dict[str, int]:
        """Return no tokens: none is banned from being sampled."""
        return {}


def read(name: str) -> Shape:
    """Return the shape of a folder, of a hub id in the cache, or of a published model.

    An adapter's folder has the shape of its base, and the adapter. Nothing is downloaded. Raises
    UserError where no configuration of the model is at hand, and for a family that is not
    supported.
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
            base = read(folders.base_of(folder))
            adapter = adapters.read_settings(Path(folder))
            adapter.inference_mode = False
            return replace(base, name=name, adapter=adapter)
        config, source = read_config(folder), f"{folder}/config.json"
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise UserError(
            f"model {name!r}: its family is {config.model_type!r}, not {', '.join(FAMILIES)}"
        )
    check_attention(name, config)
    return Shape(name, config, family, source)


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
    shape: Shape,
    settings: ModelConfig,
    dtype: torch.dtype,
    *,
    train: bool = True,
    half: torch.dtype | None = None,
) -> LoadedModel:
    """Return the model of a shape on "meta", adapted, frozen and checkpointed as it is trained.

    ``half`` is the type in which a model in float32 computes, and holds what is frozen. Raises
    UserError as ``prepare_training`` does.
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
    if settings.quantization:
        quantization.check_base(shape.name, shape.config)
        quantize(model, family, dtype)
    if shape.adapter is not None:
        model = get_peft_model(model, copy.deepcopy(shape.adapter))
    if train:
        model = prepare_training(model, settings, family)
        narrow_frozen(model, settings, family, half or dtype)
    processor: Any = WithoutWords(shape.text.vocab_size)
    return LoadedModel(
        model.train() if train else model.requires_grad_(False).eval(),
        processor,
        family,
        settings.picture_cache_mib * 2**20,
        settings.shared_prefix,
        settings.vision_graph_mib * 2**20,
    )


class FourBitLinear(nn.Linear):
    """A linear layer on "meta" whose weight is held as bitsandbytes holds it.

    Each pass makes the weight anew in the type that it computes in, the backward pass once more.
    """

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        size = layer.weight.shape
        packed = torch.empty(-(-size.numel() // 2), 1, dtype=torch.uint8, device="meta")
        weight: Any = nn.Parameter(packed, requires_grad=False)
        weight.quant_state = SimpleNamespace(shape=size)
        self.weight = weight
        self.bias, self.dtype = layer.bias, dtype

    def forward(self, values: Tensor) -> Tensor:
        """Return the product [..., out] with values [..., in], in their type."""
        weight: Any = self.weight
        product: Any = FourBitProduct.apply
        out: Tensor = product(values.to(self.dtype), weight, weight.quant_state.shape)
        return (out if self.bias is None else out + self.bias).to(values.dtype)


class FourBitProduct(torch.autograd.Function):
    """The product with a weight that is not kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, packed: Tensor, shape: torch.Size) -> Tensor:
        """Return values [..., in] times the weight [out, in]."""
        ctx.shape = shape
        return F.linear(values, packed.new_empty(shape, dtype=values.dtype))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the values alone."""
        return grad @ grad.new_empty(ctx.shape), None, None


def quantize(model: nn.Module, family: Family, dtype: torch.dtype) -> None:
    """Put layers of four bits in the places of those that bitsandbytes would quantise."""
    for path, layer in list(model.named_modules()):
        if type(layer) is nn.Linear and re.match(family.lora_layers, path):
            model.set_submodule(path, FourBitLinear(layer, dtype))


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
            sum(quantization.numel(weight) for weight in weights),
            sum(weight.numel() for weight in weights if weight.requires_grad),
        )
        for part, weights in weights_by_part(loaded).items()
    }

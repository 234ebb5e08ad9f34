"""Loading and saving models behind one face, whatever the family."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar
from transformers.vision_utils import get_vision_position_ids

from vrft import paths
from vrft.config.schema import LoraConfig, ModelConfig
from vrft.errors import UserError
from vrft.models import families, group_attention
from vrft.models.byte_cache import ByteCache
from vrft.models.families import Family, Processor, read_family
from vrft.models.vision_features import Features, Patches

VISION_TOKENS = (
    "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip


@dataclass(frozen=True)
class LoadedModel:
    """A model with its processor, behind one face for every family, adapted by LoRA or not.

    ``memory`` bounds, in bytes each, the pictures as the processor made them and their features.
    ``shared_prefix``: whether a prompt passes the model once for all its completions.
    """

    model: PreTrainedModel | PeftModel
    processor: Processor
    family: Family
    memory: int = 0
    shared_prefix: bool = True

    @property
    def adapter(self) -> PeftModel | None:
        """peft's wrapper around the model; None where there is no adapter."""
        return self.model if isinstance(self.model, PeftModel) else None

    @property
    def core(self) -> Any:
        """The transformers model itself, without peft's wrapper."""
        return self.adapter.get_base_model() if self.adapter else self.model

    @cached_property
    def pictures(self) -> ByteCache[Patches]:
        """Pictures as the processor made them, those used last."""
        return ByteCache(self.memory, lambda picture: picture.patches.nbytes)

    @cached_property
    def features(self) -> Features:
        """What the vision tower makes of pictures."""
        return Features(self.memory)

    @property
    def language_model(self) -> nn.Module:
        """The decoder: embeddings in, hidden states out."""
        return self.core.model.language_model if self.family.space else self.core.model  # type: ignore[no-any-return]

    @property
    def vision_tower(self) -> nn.Module | None:
        """The image encoder with its merger; None for a text-only model."""
        return self.core.model.visual if self.family.space else None

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The processor's tokenizer."""
        processor: Any = self.processor
        return processor if self.family.space is None else processor.tokenizer  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.core.parameters()).device  # type: ignore[no-any-return]

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """Every token that ends a completion: Qwen checkpoints name two."""
        named = self.core.generation_config.eos_token_id
        ids = [named] if isinstance(named, int) else list(named or [])
        return frozenset(i for i in [*ids, self.tokenizer.eos_token_id] if i is not None)

    def until_end(self, tokens: Sequence[int]) -> list[int]:
        """A completion's tokens up to the first that ends it, or all of them."""
        ends = (place for place, token in enumerate(tokens, 1) if token in self.end_ids)
        return list(tokens[: next(ends, len(tokens))])

    @cached_property
    def banned_ids(self) -> tuple[int, ...]:
        """Tokens never sampled: vision markers, and embedding rows that stand for no token."""
        known = self.tokenizer.get_vocab()
        markers = {known[token] for token in VISION_TOKENS if token in known}
        rows = self.core.get_output_embeddings().weight.shape[0]
        return tuple(sorted(markers | set(range(len(self.tokenizer), rows))))

    def embed(self, tokens: Tensor, pictures: Sequence[Patches]) -> Tensor:
        """Token embeddings [B, P, D] with every picture's features in the place of its tokens.

        ``pictures`` are those of all rows, in their order.
        """
        embeddings: Tensor = self.core.get_input_embeddings()(tokens)
        tower = self.vision_tower
        if tower is None or not pictures:
            return embeddings
        features = torch.cat(
            [
                one.to(embeddings, non_blocking=True)
                for one in self.features.of(tower, pictures, self.see)
            ]
        )
        where = (tokens == self.core.config.image_token_id).unsqueeze(-1)
        return embeddings.masked_scatter(where, features)

    def decoder(self, embedded: Tensor, positions: Tensor, **attention: Any) -> Tensor:
        """Hidden states [B, T, D] of embeddings [B, T, D] at positions [3 or 1, B, T].

        What is seen is for ``attention`` to say: see ``vrft.attention.attend``.
        """
        out: Tensor = self.language_model(
            inputs_embeds=embedded,
            position_ids=positions if len(positions) == 3 else positions[0],
            attention_mask={"full_attention": None},
            use_cache=False,
            **attention,
        ).last_hidden_state
        return out

    def see(self, pictures: Sequence[Patches]) -> Sequence[Tensor]:
        """Each picture's features [tokens, D], made by the vision tower."""
        patches = torch.cat([picture.patches for picture in pictures])
        # On the CPU: the tower reads them number by number, in every layer.
        grids = torch.cat([picture.grid for picture in pictures])
        places = get_vision_position_ids(grids, self.core.config.vision_config.spatial_merge_size)
        return self.core.model.get_image_features(  # type: ignore[no-any-return]
            patches.to(self.device, non_blocking=True),
            grids,
            position_ids=places.to(self.device, non_blocking=True),
        ).pooler_output

    def positions(self, tokens: Tensor, grids: Tensor | None) -> Tensor:
        """Rotary positions of one prompt's tokens [P]: [3, P] with pictures' rows and columns.

        A text-only model counts in one dimension: [1, P].
        """
        if self.family.space is None:
            return torch.arange(len(tokens)).unsqueeze(0)
        types = (tokens == self.core.config.image_token_id).long()
        positions, _ = self.core.model.get_rope_index(
            tokens.unsqueeze(0), mm_token_type_ids=types.unsqueeze(0), image_grid_thw=grids
        )
        return positions[:, 0]  # type: ignore[no-any-return]


def load_model(config: ModelConfig, *, train: bool = False, device: str = "auto") -> LoadedModel:
    """The model and processor of a hub id, a folder, a LoRA adapter's folder, or ``demo``.

    With ``train``, LoRA, freezing and gradient checkpointing are applied. Raises UserError for a
    folder that holds no model, or one of a family that is not in FAMILIES.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not sys.stderr.isatty():
        disable_progress_bar()  # transformers' bars are noise in a log file
    source = paths.model(config.name)
    adapter = source if (Path(source) / "adapter_config.json").is_file() else None
    base = read_adapter_base(Path(source)) if adapter else source
    family = read_family(base)
    auto: Any = AutoModelForImageTextToText if family.space else AutoModelForCausalLM
    model = auto.from_pretrained(
        base,
        dtype=weight_dtype(config, device, train=train),
        attn_implementation=config.attn_implementation,
    )
    group_attention.install(model.model.language_model if family.space else model.model)
    if family.space:
        speed_up_patch_embedding(model)
    model.to(device)
    if adapter:
        model = PeftModel.from_pretrained(model, adapter, is_trainable=train)
    processor = families.load_processor(source, config.min_pixels, config.max_pixels, family=family)
    if train:
        model = prepare_training(model, config, family, adapted=adapter is not None)
    model = model.train() if train else model.eval()
    memory = config.picture_cache_mib * 2**20
    return LoadedModel(model, processor, family, memory, config.shared_prefix)


def read_adapter_base(folder: Path) -> str:
    """The base model that a LoRA adapter's folder names."""
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return paths.model(settings["base_model_name_or_path"])


def weight_dtype(config: ModelConfig, device: str, *, train: bool) -> torch.dtype:
    """The dtype of the weights: ``auto`` is bfloat16 on an accelerator and float32 on a CPU.

    Weights that are trained are always float32 and compute in ``dtype`` by autocast: a step of
    1e-6 is lost in a bfloat16 weight.
    """
    if train and not config.lora.r:
        return torch.float32
    if config.dtype == "auto":
        return torch.float32 if device == "cpu" else torch.bfloat16
    return getattr(torch, config.dtype)  # type: ignore[no-any-return]


def prepare_training(model: Any, config: ModelConfig, family: Family, *, adapted: bool) -> Any:
    """Freeze, adapt and checkpoint a freshly loaded model as the configuration says."""
    if config.lora.r and not adapted:
        model = get_peft_model(model, lora_adapter(config.lora))
    core: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    for part in frozen_parts(core, config, family):
        part.requires_grad_(False)
    if not any(p.requires_grad for p in model.parameters()):
        raise UserError("model: everything is frozen; unfreeze a part or set model.lora.r")
    if config.gradient_checkpointing:
        core.activation_checkpointing_enable()
    return model


def lora_adapter(config: LoraConfig) -> PeftLoraConfig:
    """peft's configuration of an adapter on the language model's projections."""
    names = "|".join(config.target_modules)
    return PeftLoraConfig(
        r=config.r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=rf".*\.layers\.\d+\..*\.({names})",
        task_type="CAUSAL_LM",
    )


def frozen_parts(core: Any, config: ModelConfig, family: Family) -> Iterator[nn.Module]:
    """The modules that the configuration freezes."""
    if config.freeze_vision_tower and family.space:
        yield core.model.visual
    if config.freeze_language_model:
        yield core.model.language_model if family.space else core.model
        yield core.get_output_embeddings()


class MatmulPatchEmbedding(nn.Conv3d):
    """The patch embedding as the matrix product it is: same weights, several times faster.

    Its kernel covers a whole patch and never overlaps, so the convolution is one product.
    """

    def forward(self, patches: Tensor) -> Tensor:
        return F.linear(patches.flatten(1), self.weight.flatten(1), self.bias)


def speed_up_patch_embedding(model: Any) -> None:
    """Turn the vision tower's Conv3d into a matrix product; parameter names stay the same."""
    model.model.visual.patch_embed.proj.__class__ = MatmulPatchEmbedding


def save_model(
    loaded: LoadedModel, folder: Path, weights: Mapping[str, Tensor] | None = None
) -> None:
    """Write a folder that plain transformers (and peft) and ``--model`` load.

    ``weights`` are written in the place of the model's own where this process holds only some.
    The processor's files carry the pixel limits.
    """
    if weights is not None:
        tied = loaded.core.all_tied_weights_keys  # gathered apart, they would be written twice
        weights = {name: value for name, value in weights.items() if name not in tied}
    loaded.model.save_pretrained(str(folder), state_dict=weights)
    loaded.processor.save_pretrained(folder)

"""Loading and saving models behind one face, whatever the family."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.utils.logging import disable_progress_bar

from vrft import paths
from vrft.config.schema import LoraConfig, ModelConfig
from vrft.errors import UserError
from vrft.models import families, group_attention
from vrft.models.families import Family, read_family
from vrft.models.loaded import LoadedModel


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

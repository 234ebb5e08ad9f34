"""Loading, adapting, freezing and saving models of every family."""

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
from transformers.utils.logging import disable_progress_bar

from vrft import paths
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.models import group_attention
from vrft.models.families import Family, load_processor, read_family
from vrft.models.loaded import LoadedModel


def load_model(config: ModelConfig, *, train: bool = False, device: str = "auto") -> LoadedModel:
    """Load the model and processor of a hub id, a folder, a LoRA adapter's folder, or ``demo``.

    With ``train``, LoRA, freezing and gradient checkpointing are applied. Raises UserError for a
    folder that holds no model, or one of a family that is not in FAMILIES.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not sys.stderr.isatty():
        disable_progress_bar()  # transformers' bars are noise in a log file
    source = paths.model(config.name)
    adapter = Path(source) / "adapter_config.json"
    adapted = adapter.is_file()
    if adapted:  # the adapter's folder holds no weights of the model itself, only its name
        settings = json.loads(adapter.read_text(encoding="utf-8"))
        base = paths.model(settings["base_model_name_or_path"])
    else:
        base = source
    family = read_family(base)
    model = family.auto_model.from_pretrained(
        base,
        dtype=weight_dtype(config, device, train=train),
        attn_implementation=config.attn_implementation,
    )
    group_attention.install(model.get_submodule(family.decoder))
    if family.has_vision:
        multiply_patches(model, family.patch_embedding)
    model.to(device)
    if adapted:
        model = PeftModel.from_pretrained(model, source, is_trainable=train)
    processor = load_processor(source, config.min_pixels, config.max_pixels, family=family)
    if train:
        model = prepare_training(model, config, family)
    model = model.train() if train else model.eval()
    cache_bytes = config.picture_cache_mib * 2**20
    return LoadedModel(model, processor, family, cache_bytes, config.shared_prefix)


def weight_dtype(config: ModelConfig, device: str, *, train: bool) -> torch.dtype:
    """Return the dtype of the weights: ``auto`` is bfloat16 on an accelerator, float32 on a CPU.

    Weights that are trained are always float32 and compute in ``dtype`` by autocast: a step of
    1e-6 is lost in a bfloat16 weight.
    """
    if train and not config.lora.r:
        return torch.float32
    if config.dtype == "auto":
        return torch.float32 if device == "cpu" else torch.bfloat16
    return getattr(torch, config.dtype)  # type: ignore[no-any-return]


def prepare_training(model: Any, config: ModelConfig, family: Family) -> Any:
    """Adapt, freeze and checkpoint a freshly loaded model as the configuration says.

    An adapter that was loaded with the model is trained on. Raises UserError where nothing is left
    to train.
    """
    if config.lora.r and not isinstance(model, PeftModel):
        projections = "|".join(config.lora.target_modules)
        adapter = PeftLoraConfig(
            r=config.lora.r,
            lora_alpha=config.lora.lora_alpha,
            lora_dropout=config.lora.lora_dropout,
            # A regular expression, not a list of names, which would match the vision tower's too.
            target_modules=rf"{family.lora_layers}\.({projections})",
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(model, adapter)
    core: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    for part in frozen_parts(core, config, family):
        part.requires_grad_(False)
    # An optimizer without weights would fail much later, and less clearly.
    if not any(weight.requires_grad for weight in model.parameters()):
        raise UserError("model: everything is frozen; unfreeze a part or set model.lora.r")
    if config.gradient_checkpointing:
        core.activation_checkpointing_enable()
    return model


def frozen_parts(core: Any, config: ModelConfig, family: Family) -> Iterator[nn.Module]:
    """Yield the modules that the configuration freezes."""
    if config.freeze_vision_tower and family.has_vision:
        yield core.get_submodule(family.vision_tower)
    if config.freeze_language_model:
        yield core.get_submodule(family.decoder)
        yield core.get_output_embeddings()  # no part of the decoder, unless tied to its embeddings


class MatmulPatchEmbedding(nn.Conv3d):
    """A patch embedding computed as the matrix product that it is, several times faster.

    Its kernel covers a whole patch and never overlaps another, so the convolution of patches
    [patches, channels, frames, rows, columns] is one product. It is still a Conv3d with weights
    of that shape: checkpoints load and save unchanged.
    """

    def forward(self, patches: Tensor) -> Tensor:
        """Return the embeddings [patches, D]."""
        return F.linear(patches.flatten(1), self.weight.flatten(1), self.bias)


def multiply_patches(model: nn.Module, path: str) -> None:
    """Put a MatmulPatchEmbedding with the same weights in the place of the Conv3d at a path."""
    stock: Any = model.get_submodule(path)
    product = MatmulPatchEmbedding(
        stock.in_channels, stock.out_channels, stock.kernel_size, stock.stride, device="meta"
    )  # on "meta", no weights are drawn: a draw would shift the random numbers of the run
    product.weight, product.bias = stock.weight, stock.bias
    model.set_submodule(path, product)


def save_model(
    loaded: LoadedModel, folder: Path, weights: Mapping[str, Tensor] | None = None
) -> None:
    """Write a folder that plain transformers (and peft) and ``--model`` load.

    ``weights`` are written in the place of the model's own where this process holds only parts of
    them. The processor's files carry the pixel limits.
    """
    if weights is not None:
        tied = loaded.core.all_tied_weights_keys  # gathered apart, they would be written twice
        weights = {name: value for name, value in weights.items() if name not in tied}
    loaded.model.save_pretrained(str(folder), state_dict=weights)
    loaded.processor.save_pretrained(folder)

"""Loading, adapting, freezing and saving models of every family."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peft import PeftModel
from torch import Tensor, nn
from transformers.utils.logging import disable_progress_bar

from vrft import paths
from vrft.attention import group_attention, group_delta
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.models import folders, hub, manifest, quantization
from vrft.models.adapters import check_adapter, load_adapter, make_adapter, read_settings
from vrft.models.conversation import give_arguments
from vrft.models.families import Family, read_family
from vrft.models.loaded import LoadedModel
from vrft.models.processors import load_processor, write_preprocessors


def load_model(config: ModelConfig, *, train: bool = False, device: str = "auto") -> LoadedModel:
    """Load the model and processor of a hub id, a folder, a LoRA adapter's folder, or ``demo``.

    With ``train``, LoRA, freezing and gradient checkpointing are applied. Raises UserError for a
    folder that holds no model, or half of one, and for a family that is not in FAMILIES.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not sys.stderr.isatty():
        disable_progress_bar()  # transformers' bars are noise in a log file
    source = paths.model(config.name)
    manifest.check_model(Path(source))  # nothing is checked of a hub id, which is no folder
    base = folders.base_of(source)  # whose weights an adapter's folder does not hold
    if base != source:
        manifest.check_model(Path(base), named_in=Path(source) / folders.ADAPTER)
        read_settings(Path(source))  # before the weights of its base, which take longer
    family = read_family(source)
    quantization.check_loading(base, config, train=train)
    processor = load_processor(config.name, config.min_pixels, config.max_pixels)
    give_arguments(processor, config.chat_template_kwargs)
    model = load_weights(base, family, config, weight_dtype(config, device, train=train), device)
    group_attention.install(model.get_submodule(family.decoder))
    group_delta.install(model.get_submodule(family.decoder))
    if family.has_vision:
        multiply_patches(model, family.patch_embedding)
    model.to(device)
    if base != source:
        model = load_adapter(model, source, base, family, train=train)
    if train:
        model = prepare_training(model, config, family)
        narrow_frozen(model, config, family, getattr(torch, precision(config, device)))
    model = model.train() if train else model.eval()
    cache_bytes = config.picture_cache_mib * 2**20
    graph_bytes = config.vision_graph_mib * 2**20
    return LoadedModel(model, processor, family, cache_bytes, config.shared_prefix, graph_bytes)


def load_weights(
    base: str, family: Family, config: ModelConfig, dtype: torch.dtype, device: str
) -> Any:
    """Load a model without adapter; UserError unless its folder has every weight, in its shape.

    transformers would draw the others at random, with a warning. Quantised weights lie on
    ``device`` at once.
    """
    folders.check_weights(base)
    try:
        model, report = family.auto_model.from_pretrained(
            # With an absolute path, an adapter's folder names a base that is found from anywhere.
            str(Path(base).absolute()) if Path(base).is_dir() else base,
            dtype=dtype,
            attn_implementation=config.attn_implementation,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, in one line
            **quantization.loading_arguments(base, config, family, dtype, device),
        )
    except OSError as error:
        # Those of the system have a number, and those of folders were found before.
        unreached = isinstance(error.__cause__, hub.UNREACHED)
        absent = error.errno is None and not error.__cause__ and "safetensors" in str(error)
        if Path(base).is_dir() or not (unreached or absent):
            raise
        raise hub.no_weights(base, ask=not unreached) from error
    lacking = sorted(report["missing_keys"])
    misshapen = sorted(str(key[0]) for key in report["mismatched_keys"])
    for fault, names in (("lack", lacking), ("have another shape for", misshapen)):
        if names:
            raise UserError(f"model {base!r}: its weights {fault} {len(names)} tensor(s) that "
                            f"config.json asks for, such as {names[0]}; copy both from the same "
                            "model")  # fmt: skip
    quantization.keep_layout(model)
    return model


def precision(config: ModelConfig, device: str) -> str:
    """Return the dtype in which a model computes: ``auto`` is float32 on a CPU, else bfloat16."""
    if config.dtype != "auto":
        return config.dtype
    return "float32" if device == "cpu" else "bfloat16"


def weight_dtype(config: ModelConfig, device: str, *, train: bool) -> torch.dtype:
    """Return the dtype of the weights on a device.

    Weights that are trained are always float32 and compute in ``dtype`` by autocast: a step of
    1e-6 is lost in a bfloat16 weight. The others, below an adapter, are held in ``dtype``, as are
    parts that are frozen (``narrow_frozen``).
    """
    if train and folders.trains_base(config):
        return torch.float32
    return getattr(torch, precision(config, device))  # type: ignore[no-any-return]


def prepare_training(model: Any, config: ModelConfig, family: Family) -> Any:
    """Adapt, freeze and checkpoint a freshly loaded model as the configuration says.

    An adapter that was loaded with the model is trained on. Raises UserError where nothing is left
    to train, for modules that the model does not have, and for another adapter than the loaded.
    """
    if isinstance(model, PeftModel):
        check_adapter(model, config.lora, family)
    elif config.lora.r:
        if config.freeze_language_model:
            raise UserError("model.freeze_language_model=true: the adapter of model.lora.r lies in "
                            "the language model and would be frozen with it; leave out one of them"
                            )  # fmt: skip
        model = make_adapter(model, config.lora, family)
    core: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    for part in frozen_parts(core, config, family):
        part.requires_grad_(False)
    # An optimizer without weights would fail much later, and less clearly.
    if not any(weight.requires_grad for weight in model.parameters()):
        raise UserError("model: everything is frozen; unfreeze a part")
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


def narrow_frozen(model: Any, config: ModelConfig, family: Family, dtype: torch.dtype) -> None:
    """Hold the parts that the configuration freezes in the type in which the model computes.

    autocast remembers its copies of trained weights alone: of frozen ones in float32 it would make
    new ones at every use, for every token that is sampled. A part that the type would round stays
    as it is, for it is saved with the model. On "meta" none is rounded.
    """
    core: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    for part in frozen_parts(core, config, family):
        weights = [
            weight
            for name, weight in part.named_parameters()
            if weight.dtype == torch.float32 and name.rpartition(".")[2] not in family.float32
        ]
        if all(weight.is_meta or weight.equal(weight.to(dtype).float()) for weight in weights):
            for weight in weights:
                weight.data = weight.data.to(dtype)


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
    types = {weight.dtype for name, weight in loaded.model.named_parameters()
             if name.rpartition(".")[2] not in loaded.family.float32}  # fmt: skip
    if loaded.adapter is None and len(types) > 1:
        # transformers names the type of the first weight, and would round all others to it: that
        # may be one of a frozen part.
        loaded.core.config.dtype = torch.float32
        loaded.core.config.save_pretrained(folder)
    loaded.processor.save_pretrained(folder)
    if loaded.family.has_vision:
        write_preprocessors(loaded.processor, folder)  # also where the class is transformers' own

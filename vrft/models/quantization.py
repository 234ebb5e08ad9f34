"""Language models whose linear layers are held in four bits by bitsandbytes: the bases of QLoRA.

The weights of the decoder's layers are nf4, with their scales quantised once more. A layer computes
in ``model.dtype``, of weights that it makes anew for each pass. Embeddings, head and vision tower
stay as they are loaded.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig

from vrft.config.schema import Config, ModelConfig
from vrft.errors import UserError
from vrft.models import folders
from vrft.models.families import Family, read_config

PACKAGE = "bitsandbytes"

BLOCK, SCALES = 64, 256
"""The numbers that have a scale together, and the scales that have one: bitsandbytes' own."""

CPU_KERNEL = "support_avx512bf16_for_cpu"
"""The attribute by which a layer of bitsandbytes packs its weights anew on a CPU at its first pass
without gradients, and from then on computes in bfloat16 and gives no gradients."""


def check(config: ModelConfig) -> None:
    """Raise UserError for quantised weights whose package is not installed."""
    if config.quantization and find_spec(PACKAGE) is None:
        raise UserError(
            f"model.quantization={config.quantization} needs the package {PACKAGE}; "
            "pip install 'vrft[bitsandbytes]', or leave it out"
        )


def check_training(config: Config) -> None:
    """Raise UserError where a quantised model cannot be trained as configured, or not here."""
    check_settings(config)
    check(config.model)


def check_settings(config: Config) -> None:
    """Raise UserError for settings with which a quantised model cannot be trained."""
    model = config.model
    if not model.quantization:
        return
    asked = f"model.quantization={model.quantization}"
    if not model.lora.r and not folders.is_adapter(model.name):
        raise UserError(
            f"{asked}: weights of four bits cannot be trained themselves; set model.lora.r to "
            "train an adapter on them, or leave it out"
        )
    if not config.algorithm.by_reward:
        raise UserError(
            f"{asked}: algorithm=sft runs in TRL's trainer, which would hold the adapter in "
            "bfloat16, where small steps are lost; leave it out"
        )
    if config.rollout.engine != "vrft":
        raise UserError(
            f"{asked}: rollout.engine={config.rollout.engine} would sample from weights of four "
            "bits that it cannot be sent; set rollout.engine=vrft, or leave it out"
        )


def check_launch(config: ModelConfig, *, sharded: bool) -> None:
    """Raise UserError for quantised weights in a launch whose devices hold parts of a model."""
    if config.quantization and sharded:
        raise UserError(
            f"model.quantization={config.quantization}: DeepSpeed and FSDP cannot cut weights of "
            "four bits into parts; launch without them, or leave it out"
        )


def check_base(name: str, shape: Any) -> None:
    """Raise UserError for a model by its configuration that cannot be quantised at loading."""
    if getattr(shape, "quantization_config", None):
        raise UserError(
            f"model.quantization: the weights of {name!r} are quantised already; name the model "
            "that they were made of, or leave it out"
        )
    if getattr(shape.get_text_config(), "num_experts", 0):
        raise UserError(
            f"model.quantization: {name!r} has experts, which {PACKAGE} would leave as they are; "
            "take a dense model, or leave it out"
        )


def loading_arguments(
    base: str, config: ModelConfig, family: Family, dtype: torch.dtype, device: str
) -> dict[str, Any]:
    """Return the arguments with which transformers quantises a model while it loads it.

    Raises UserError where it cannot.
    """
    if not config.quantization:
        return {}
    check(config)
    check_base(base, read_config(base))
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=config.quantization,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        # All that does not lie in a layer of the decoder; a regular expression to transformers.
        llm_int8_skip_modules=[rf"(?!{family.lora_layers}).*"],
    )
    return {"quantization_config": settings, "device_map": {"": device}}


def keep_layout(model: nn.Module) -> None:
    """Make the model's layers compute by the same kernel with gradients and without.

    On some CPUs bitsandbytes would change their weights for good in the first rollout.
    """
    for layer in model.modules():
        if hasattr(layer, CPU_KERNEL):
            setattr(layer, CPU_KERNEL, False)


def is_quantized(weight: Tensor) -> bool:
    """Return whether a weight holds two numbers of four bits in a byte."""
    return getattr(weight, "quant_state", None) is not None


def numel(weight: Tensor) -> int:
    """Return the numbers that a weight stands for, which are more than those that it holds."""
    if is_quantized(weight):
        state: Any = weight.quant_state  # type: ignore[attr-defined]
        return int(state.shape.numel())
    return weight.numel()


def nbytes(weight: Tensor) -> int:
    """Return the bytes of a weight, the scales and tables of a quantised one among them."""
    return nf4_bytes(numel(weight)) if is_quantized(weight) else weight.nbytes


def nf4_bytes(numbers: int) -> int:
    """Return the bytes of a weight of so many numbers in nf4, quantised twice.

    Half a byte each; a scale of a byte for each BLOCK of them, a float32 scale for each SCALES of
    those, and in float32 an offset and two tables of 16 and 256 values.
    """
    scales = -(-numbers // BLOCK)
    return -(-numbers // 2) + scales + 4 * (-(-scales // SCALES) + 16 + 256 + 1)

"""Language models whose linear layers are held in four bits by bitsandbytes: the bases of QLoRA.

The weights of the decoder's layers are nf4, with their scales quantised once more. A layer computes
in ``model.dtype``, of weights that it makes anew for each pass. Embeddings, head and vision tower
stay as they are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig
from transformers.quantizers.auto import AutoHfQuantizer

from vrft import paths
from vrft.config.schema import Config, ModelConfig
from vrft.errors import UserError
from vrft.models import folders, hub
from vrft.models.families import Family, first_line, read_config

PACKAGE = "bitsandbytes"

FOUR_BITS = f"{PACKAGE}, 4 bits"
"""The kind of quantised checkpoints on which an adapter can be trained."""

NAME_SOURCE = "name the model that they were made of"

BLOCK, SCALES = 64, 256
"""The numbers that have a scale together, and the scales that have one: bitsandbytes' own."""

CPU_KERNEL = "support_avx512bf16_for_cpu"
"""The attribute by which a layer of bitsandbytes packs its weights anew on a CPU at its first pass
without gradients, and from then on computes in bfloat16 and gives no gradients."""


def check(config: ModelConfig) -> None:
    """Raise UserError for quantised weights whose package is not installed."""
    if find_spec(PACKAGE) is not None:
        return
    needs = f"needs the package {PACKAGE}; pip install 'vrft[bitsandbytes]', or"
    if config.quantization:
        raise UserError(f"model.quantization={config.quantization} {needs} leave it out")
    if kind_of(config.name) == FOUR_BITS:
        raise UserError(f"model {config.name!r}: its weights are quantised ({FOUR_BITS}), which "
                        f"{needs} {NAME_SOURCE}")  # fmt: skip


def check_training(config: Config) -> None:
    """Raise UserError where a quantised model cannot be trained as configured, or not here."""
    check_settings(config)
    check(config.model)


def check_settings(config: Config) -> None:
    """Raise UserError for settings with which a quantised model cannot be trained.

    A model of the hub that is not on this machine is looked at when it is loaded.
    """
    model = config.model
    kind = kind_of(model.name)
    if not model.quantization and not kind:
        return
    check_trainable(model, kind)
    asked, remedy = words_of(model, kind)
    if not config.algorithm.by_reward:
        raise UserError(
            f"{asked}: algorithm=sft runs in TRL's trainer, which would hold the adapter in "
            f"bfloat16, where small steps are lost; {remedy}"
        )
    if config.rollout.engine != "vrft":
        raise UserError(
            f"{asked}: rollout.engine={config.rollout.engine} would sample from weights of four "
            f"bits that it cannot be sent; set rollout.engine=vrft, or {remedy}"
        )


def check_trainable(model: ModelConfig, kind: str) -> None:
    """Raise UserError for quantised weights that cannot be trained, with an adapter or without.

    ``kind`` is that of a checkpoint whose weights are quantised already, or "".
    """
    asked, remedy = words_of(model, kind)
    if model.quantization and kind:
        raise already(model.name)
    if kind not in ("", FOUR_BITS):
        raise UserError(f"{asked}, and no adapter is trained on such weights here; {remedy}")
    if not model.lora.r and not folders.is_adapter(model.name):
        raise UserError(
            f"{asked}: weights of four bits cannot be trained themselves; set model.lora.r to "
            f"train an adapter on them, or {remedy}"
        )


def words_of(model: ModelConfig, kind: str) -> tuple[str, str]:
    """Return how a message names the quantised weights of a model, and how to do without them."""
    if model.quantization:
        return f"model.quantization={model.quantization}", "leave it out"
    return f"model {model.name!r}: its weights are quantised ({kind})", NAME_SOURCE


def check_launch(config: ModelConfig, *, sharded: bool) -> None:
    """Raise UserError for quantised weights in a launch whose devices hold parts of a model."""
    kind = kind_of(config.name) if sharded else ""
    if sharded and (config.quantization or kind):
        asked, remedy = words_of(config, kind)
        raise UserError(
            f"{asked}: DeepSpeed and FSDP cannot cut weights of four bits into parts; launch "
            f"without them, or {remedy}"
        )


def kind_of(name: str) -> str:
    """Return how the weights of a model on this machine are quantised in its own files.

    "" for one whose weights are not, or that is not here. The hub is not asked.
    """
    source = folders.base_of(paths.model(name))
    folder = Path(source) if Path(source).is_dir() else hub.cached(source)
    if folder is None or not (folder / "config.json").is_file():
        return ""
    settings = folders.read_json(folder / "config.json")
    text = settings.get("text_config")
    return kind_in(settings) or kind_in(text if isinstance(text, dict) else {})


def kind_in(settings: Mapping[str, Any]) -> str:
    """Return the kind of quantisation that a configuration names; "" for none."""
    given = settings.get("quantization_config")
    if not isinstance(given, Mapping) or not given:
        return ""
    bits = next((bits for bits in (4, 8) if given.get(f"load_in_{bits}bit")), 0)
    method = str(given.get("quant_method", PACKAGE if bits else "by no method that it names"))
    return f"{method}, {bits} bits" if bits else method


def check_loading(base: str, config: ModelConfig, *, train: bool) -> None:
    """Raise UserError for a checkpoint of quantised weights that cannot be loaded here.

    With ``train``, also for one that cannot be trained. Its package may be missing, or its device.
    """
    shape = read_config(base)
    kind = kind_in(shape.to_dict())
    if not kind:
        return
    if config.quantization:
        raise already(base)
    if train:
        check_trainable(config, kind)
    try:
        quantizer = AutoHfQuantizer.from_config(shape.quantization_config, pre_quantized=True)
        quantizer.validate_environment(device_map=None, weights_only=True)
    except (ImportError, RuntimeError, ValueError, TypeError) as error:
        reason = first_line(error).rstrip(".")
        raise UserError(f"model {base!r}: its weights are quantised ({kind}), and cannot be loaded "
                        f"here ({reason}); install what is missing, or {NAME_SOURCE}"
                        ) from error  # fmt: skip


def already(name: str) -> UserError:
    """Return the error for weights that are to be quantised, and are so already."""
    return UserError(f"model.quantization: the weights of {name!r} are quantised already; "
                     f"{NAME_SOURCE}, or leave it out")  # fmt: skip


def check_base(name: str, shape: Any) -> None:
    """Raise UserError for a model by its configuration that cannot be quantised at loading."""
    if getattr(shape, "quantization_config", None):
        raise already(name)
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

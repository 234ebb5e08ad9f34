"""Model families: whatever differs from family to family stands in its row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.models import folders
from vrft.types import Space

IMAGE_TOKEN = "<|image_pad|>"
"""The token that a picture's features replace; in a text, before encoding, one per picture."""

IMAGE_TEXT = f"<|vision_start|>{IMAGE_TOKEN}<|vision_end|>"
"""A picture in the text of a prompt that is not put into a chat template."""

VISION_TOKENS = (
    "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", IMAGE_TOKEN, "<|video_pad|>",
)  # fmt: skip
"""Markers of pictures and videos, which a completion must never contain."""

MARKERS = {
    "image": IMAGE_TOKEN,
    "video": "<|video_pad|>",
    "vision_start": "<|vision_start|>",
    "vision_end": "<|vision_end|>",
}
"""Markers by the names under which processors and configurations know them."""


@dataclass(frozen=True)
class Family:
    """A model family: its classes in transformers, its coordinates, and the paths of its parts.

    ``auto_model`` is the class that loads the family, ``decoder`` the path of the language model
    below it, ``masks`` the kinds of attention that it takes a mask for in a dictionary, or () where
    it takes no dictionary. ``lora_layers`` is a regular expression for the paths of the decoder's
    layers, and ``lora_modules`` are the linear modules in them that LoRA adapts by default.
    ``float32`` are the last names of weights that stay float32 where all others are bfloat16.
    ``former_names`` are pairs of a regular expression and its replacement that turn what weights
    were called before transformers 4.52 into their names of today; the first that matches counts.
    transformers renames a checkpoint's so by itself, and peft an adapter's no longer.
    ``decoder_layer`` is the class of the decoder's layers where ``vrft.models.token_pass`` computes
    them, or "" where it does not.

    All other fields are those of a family with vision: the paths of its vision tower and of the
    patch embedding, the names of its stock processor and of its processor of videos, where that is
    not Qwen2-VL's, and the space in which it writes coordinates.
    ``position_grid``: whether the tower stretches a square of learned positions over each picture.
    ``deepstack``: whether layers of the tower have features of their own, which the decoder adds to
    the hidden states after its first layers. The processor of a text-only family is its tokenizer.
    ``patch_size`` in pixels and the areas ``min_pixels`` and ``max_pixels`` are those of the
    family's published models; a model's own stand in its processor.
    """

    auto_model: Any
    decoder: str
    masks: tuple[str, ...] = ("full_attention",)
    lora_layers: str = r".*\.layers\.\d+\..*"  # a vision tower calls its layers "blocks"
    # Names that no vision tower has, whose attention is `qkv` and `proj`.
    lora_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    float32: tuple[str, ...] = ()
    former_names: tuple[tuple[str, str], ...] = ()
    decoder_layer: str = ""
    has_vision: bool = False
    vision_tower: str = ""
    patch_embedding: str = ""
    processor: str = ""
    video_processor: str = ""
    space: Space = "thousandths"
    position_grid: bool = False
    deepstack: bool = False
    patch_size: int = 14
    min_pixels: int = 4 * 28**2
    max_pixels: int = 16384 * 28**2


FORMER_VISION = (
    (r"^visual\.", "model.visual."),
    (r"^model\.(?!language_model\.|visual\.)", "model.language_model."),
)
"""Former names of Qwen2-VL and Qwen2.5-VL, whose decoder and vision tower stood side by side."""

QWEN3_VL = Family(
    auto_model=AutoModelForImageTextToText,
    decoder="model.language_model",
    masks=(),
    has_vision=True,
    vision_tower="model.visual",
    patch_embedding="model.visual.patch_embed.proj",
    processor="Qwen3VLProcessor",
    video_processor="Qwen3VLVideoProcessor",
    space="thousandths",
    position_grid=True,
    deepstack=True,
    patch_size=16,
    min_pixels=64 * 32**2,
    max_pixels=16384 * 32**2,
)
"""Qwen3-VL, of which a model with experts differs in its layers alone."""

QWEN3_5_TEXT = Family(
    auto_model=AutoModelForCausalLM,
    decoder="model",
    masks=("full_attention", "linear_attention"),
    lora_modules=(
        "q_proj", "k_proj", "v_proj", "o_proj",
        "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj",
    ),
    float32=("A_log",),  # of rates that decay a state, for which vLLM has no other precision
)  # fmt: skip
"""The language models of Qwen3.5, of which most layers are gated delta layers."""

QWEN3_5 = replace(
    QWEN3_VL,
    masks=QWEN3_5_TEXT.masks,
    lora_modules=QWEN3_5_TEXT.lora_modules,
    float32=QWEN3_5_TEXT.float32,
    deepstack=False,
)
"""Qwen3.5, with experts or without."""

FAMILIES = {
    "qwen2_vl": Family(
        auto_model=AutoModelForImageTextToText,
        decoder="model.language_model",
        former_names=FORMER_VISION,
        decoder_layer="Qwen2VLDecoderLayer",
        has_vision=True,
        vision_tower="model.visual",
        patch_embedding="model.visual.patch_embed.proj",
        processor="Qwen2VLProcessor",
        space="thousandths",
    ),
    "qwen2_5_vl": Family(
        auto_model=AutoModelForImageTextToText,
        decoder="model.language_model",
        former_names=FORMER_VISION,
        decoder_layer="Qwen2_5_VLDecoderLayer",
        has_vision=True,
        vision_tower="model.visual",
        patch_embedding="model.visual.patch_embed.proj",
        processor="Qwen2_5_VLProcessor",
        space="pixels",
    ),
    "qwen3_vl": replace(QWEN3_VL, decoder_layer="Qwen3VLTextDecoderLayer"),
    "qwen3_vl_moe": QWEN3_VL,
    "qwen3_5": QWEN3_5,
    "qwen3_5_moe": QWEN3_5,
    "qwen2": Family(
        auto_model=AutoModelForCausalLM, decoder="model", decoder_layer="Qwen2DecoderLayer"
    ),
    "qwen3": Family(
        auto_model=AutoModelForCausalLM, decoder="model", decoder_layer="Qwen3DecoderLayer"
    ),
    "qwen3_5_text": QWEN3_5_TEXT,
    "qwen3_5_moe_text": QWEN3_5_TEXT,
}
"""The supported families by ``model_type``, the name in a checkpoint's config.json."""


def read_config(source: str) -> Any:
    """Return the configuration of a hub id or folder.

    Raises UserError where there is none, and for one with values that transformers refuses.
    """
    folders.check_settings(source)
    try:
        # Never a class from the folder, as transformers would ask whether to run its code.
        return AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (StrictDataclassError, TypeError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"model {source!r}: its config.json is none of a model ({reason}); copy it "
                        "from the published model") from error  # fmt: skip
    except (OSError, ValueError) as error:
        reason = first_line(error)
        default = " (the default of model=)" if source == ModelConfig().name else ""
        raise UserError(f"model {source!r}{default}: no model there ({reason}); give a hub id or a "
                        "folder with a config.json") from error  # fmt: skip


def check_attention(source: str, config: Any) -> None:
    """Raise UserError for layers in which the completions of a group could not share a prompt."""
    text = config.get_text_config()
    kinds = {*(getattr(text, "layer_types", None) or [])}
    others = sorted(kinds - {"full_attention", "linear_attention"})
    if others:
        raise UserError(f"model {source!r}: its config.json has layers of {others[0]} (layer_types "
                        "or use_sliding_window), in which a group cannot share its prompt; take "
                        "a model with full attention in all layers")  # fmt: skip
    if dropout := getattr(text, "attention_dropout", 0):
        raise UserError(f"model {source!r}: its config.json has attention_dropout={dropout}, with "
                        "which a group cannot share its prompt; set it to 0.0")  # fmt: skip


def read_family(source: str) -> Family:
    """Return the family of a hub id or folder by its ``config.model_type``.

    An adapter's folder is of its base model's family. Raises UserError where there is no model, and
    for a family that is not supported.
    """
    base = folders.base_of(source)
    try:
        config = read_config(base)
    except UserError as error:
        where = "" if base == source else f"{source}/{folders.ADAPTER}: "
        raise UserError(f"{where}{error}") from error
    family = FAMILIES.get(config.model_type)
    if family is None:
        known = ", ".join(FAMILIES)
        raise UserError(f"model {source!r}: its family is {config.model_type!r}, not {known}")
    check_attention(base, config)
    return family


def first_line(error: Exception) -> str:
    """Return the first line of an error, after which transformers goes on with advice."""
    return str(error).strip().split("\n")[0]

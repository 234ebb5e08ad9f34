"""Configurations of tiny models of each family: the true classes, with small sizes.

Rotary frequencies are dealt out to time, rows and columns of a picture in turns, so that one row or
column turns a head by 0.01 to 0.6 radians. In three blocks, as Qwen2-VL publishes them, columns
would get only the slowest frequencies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from transformers import (
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    Qwen2_5_VLConfig,
    Qwen2Config,
    Qwen2VLConfig,
    Qwen3_5Config,
    Qwen3_5MoeConfig,
    Qwen3_5MoeTextConfig,
    Qwen3_5TextConfig,
    Qwen3Config,
    Qwen3VLConfig,
    Qwen3VLMoeConfig,
)

from vrft.demo.course import Size

Family = Literal[
    "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe",
    "qwen2", "qwen3", "qwen3_5_text", "qwen3_5_moe_text",
]  # fmt: skip
"""Names of the families of ``vrft.models.families``; those of the second line are text-only."""

CONFIGS: dict[str, Any] = {
    "qwen2_vl": Qwen2VLConfig,
    "qwen2_5_vl": Qwen2_5_VLConfig,
    "qwen3_vl": Qwen3VLConfig,
    "qwen3_vl_moe": Qwen3VLMoeConfig,
    "qwen3_5": Qwen3_5Config,
    "qwen3_5_moe": Qwen3_5MoeConfig,
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
    "qwen3_5_text": Qwen3_5TextConfig,
    "qwen3_5_moe_text": Qwen3_5MoeTextConfig,
}
"""Family -> its configuration class."""

TEXT_ONLY = ("qwen2", "qwen3", "qwen3_5_text", "qwen3_5_moe_text")

PATCH, MERGE = 14, 2
"""Side of a patch in pixels, and patches a side of one image token: a token of Qwen2-VL and
Qwen2.5-VL sees 28 x 28 pixels."""

WIDE_PATCH = 16
"""Side of a patch of Qwen3-VL and Qwen3.5, of which a token sees 32 x 32 pixels."""

ROPE_THETA = 100.0
"""Base of the rotary frequencies: frequency i of 16 is 100 ** (-i / 16) radians per position."""

# transformers gives chunk i of the frequencies to axis i % 3: nine chunks deal them out in three
# rounds.
MROPE_SECTION = [2, 2, 2, 1, 2, 2, 1, 2, 2]
"""Numbers of rotary frequencies of time, rows and columns, in turns; 16 for a head of 32."""

WIDE_HEAD = 48
"""Width of a head of Qwen3: not the hidden size over the number of heads, as in Qwen2."""


def patch_size(family: Family) -> int:
    """Return the side of a vision family's patches in pixels."""
    return PATCH if family in ("qwen2_vl", "qwen2_5_vl") else WIDE_PATCH


def configuration(family: Family, size: Size, words: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """Return the family's configuration at a size, with the token ids of a tokenizer."""
    text: dict[str, Any] = {
        "vocab_size": len(words),
        "hidden_size": size.hidden_size,
        "intermediate_size": size.intermediate_size,
        "num_hidden_layers": size.num_hidden_layers,
        "num_attention_heads": size.num_attention_heads,
        "num_key_value_heads": size.num_key_value_heads,
        "max_position_embeddings": 4096,
        # Products of a weight matrix then keep the scale of their input; 0.02 is made for widths of
        # thousands, and would let the signal of 64 to 128 die away.
        "initializer_range": size.hidden_size**-0.5,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
        "bos_token_id": None,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    LAYERS[family](text, size)
    # Embeddings are tied to the output layer, as in the smallest Qwen models.
    if family in TEXT_ONLY:
        return CONFIGS[family](**text, tie_word_embeddings=True)  # type: ignore[no-any-return]
    vision: dict[str, Any] = {
        "depth": size.vision_depth,
        "num_heads": size.vision_heads,
        "patch_size": patch_size(family),
        "spatial_merge_size": MERGE,
        "initializer_range": size.vision_size**-0.5,
    }
    return CONFIGS[family](  # type: ignore[no-any-return]
        text_config=text,
        vision_config=vision | TOWERS[family](size),
        image_token_id=words.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=words.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=words.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=words.convert_tokens_to_ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def plain_layers(text: dict[str, Any], size: Size) -> None:
    """Leave the layers of a text-only family as they are."""


def block_layers(text: dict[str, Any], size: Size) -> None:
    """Set the rotary frequencies of Qwen2-VL and Qwen2.5-VL."""
    text["rope_parameters"]["mrope_section"] = MROPE_SECTION


def wide_layers(text: dict[str, Any], size: Size) -> None:
    """Set the width of Qwen3's heads."""
    text["head_dim"] = WIDE_HEAD


def dealt_layers(text: dict[str, Any], size: Size) -> None:
    """Set Qwen3-VL's heads and rotary frequencies, which it deals out itself, one by one."""
    wide_layers(text, size)
    text["rope_parameters"] |= {"mrope_section": [8, 8, 8], "mrope_interleaved": True}


def expert_layers(text: dict[str, Any], size: Size) -> None:
    """Set Qwen3-VL's experts: four, of which each token passes two."""
    dealt_layers(text, size)
    text |= experts(size)


def experts(size: Size) -> dict[str, int]:
    """Return four experts, of which each token passes two."""
    width = size.intermediate_size // 2
    return {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": width}


def expert_delta_layers(text: dict[str, Any], size: Size) -> None:
    """Set Qwen3.5's experts, beside one that all tokens pass."""
    delta_layers(text, size)
    text.pop("intermediate_size")
    text |= experts(size) | {"shared_expert_intermediate_size": size.intermediate_size // 2}


def delta_layers(text: dict[str, Any], size: Size) -> None:
    """Set layers of GatedDeltaNet, but for every fourth and the last; heads turn by half."""
    text["head_dim"] = 64
    text["rope_parameters"] |= {
        "mrope_section": [6, 5, 5],
        "mrope_interleaved": True,
        "partial_rotary_factor": 0.5,
    }
    last = size.num_hidden_layers - 1
    text |= {
        "layer_types": [
            "full_attention" if layer % 4 == 3 or layer == last else "linear_attention"
            for layer in range(size.num_hidden_layers)
        ],
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "linear_num_key_heads": size.num_key_value_heads,
        "linear_num_value_heads": size.num_attention_heads,
    }


LAYERS: dict[str, Callable[[dict[str, Any], Size], None]] = {
    "qwen2_vl": block_layers,
    "qwen2_5_vl": block_layers,
    "qwen3_vl": dealt_layers,
    "qwen3_vl_moe": expert_layers,
    "qwen3_5": delta_layers,
    "qwen3_5_moe": expert_delta_layers,
    "qwen2": plain_layers,
    "qwen3": wide_layers,
    "qwen3_5_text": delta_layers,
    "qwen3_5_moe_text": expert_delta_layers,
}
"""Family -> how it sets the layers of its language model."""


def first_tower(size: Size) -> dict[str, Any]:
    """Return Qwen2-VL's tower: ``hidden_size`` is the width of the language model."""
    return {"embed_dim": size.vision_size, "hidden_size": size.hidden_size, "mlp_ratio": 4}


def later_tower(size: Size) -> dict[str, Any]:
    """Return the widths of all later towers: ``hidden_size`` is the tower's own."""
    return {
        "hidden_size": size.vision_size,
        "intermediate_size": 4 * size.vision_size,
        "out_hidden_size": size.hidden_size,
    }


def window_tower(size: Size) -> dict[str, Any]:
    """Return Qwen2.5-VL's tower, with windows of 2 x 2 image tokens in all layers but the last.

    Even pictures of 112 x 112 pixels have several windows.
    """
    windows = {"window_size": 56, "fullatt_block_indexes": [size.vision_depth - 1]}
    return later_tower(size) | windows


def grid_tower(size: Size) -> dict[str, Any]:
    """Return Qwen3.5's tower, whose 8 x 8 learned positions are stretched over every picture."""
    return later_tower(size) | {"num_position_embeddings": 8 * 8}


def deepstack_tower(size: Size) -> dict[str, Any]:
    """Return Qwen3-VL's tower: its first layers, two at most, have features of their own."""
    return grid_tower(size) | {"deepstack_visual_indexes": [*range(size.vision_depth)][:2]}


TOWERS: dict[str, Callable[[Size], dict[str, Any]]] = {
    "qwen2_vl": first_tower,
    "qwen2_5_vl": window_tower,
    "qwen3_vl": deepstack_tower,
    "qwen3_vl_moe": deepstack_tower,
    "qwen3_5": grid_tower,
    "qwen3_5_moe": grid_tower,
}
"""Vision family -> the configuration of its tower at a size."""

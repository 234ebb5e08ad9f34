"""Configurations of tiny models: each says what its family's kernels must know."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from vrft.demo import tiny, tiny_configs
from vrft.demo.course import Size
from vrft.demo.tiny_configs import CONFIGS, LAYERS, TEXT_ONLY, TOWERS, Family
from vrft.models.families import FAMILIES

DEEP = Size(64, 128, 5, 4, 2, 64, 3, 4)  # five layers, three of them in the tower


def made(family: Family, size: Size = DEEP) -> Any:
    return tiny_configs.configuration(family, size, tiny.tokenizer(family=family))


def test_every_family_has_a_configuration() -> None:
    names = set(get_args(Family))
    assert set(CONFIGS) == set(LAYERS) == set(tiny.MODELS) == names
    assert set(FAMILIES) <= names and set(TOWERS) == names - set(TEXT_ONLY)


@pytest.mark.parametrize("family", get_args(Family))
def test_a_configuration_is_of_its_family_and_size(family: Family) -> None:
    config = made(family)
    text = config.get_text_config()
    assert config.model_type == family
    assert (text.hidden_size, text.num_hidden_layers, text.vocab_size) == (
        64, 5, len(tiny.tokenizer(family=family))
    )  # fmt: skip
    if family not in TEXT_ONLY:
        vision = config.vision_config
        assert vision.depth == 3 and vision.patch_size == tiny_configs.patch_size(family)
        assert config.image_token_id != config.video_token_id


@pytest.mark.parametrize("family", list(TOWERS))
def test_the_rotary_frequencies_are_those_that_a_head_turns_by(family: Family) -> None:
    text = made(family, tiny.TEST_SIZE).text_config
    rope = text.rope_parameters
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    turned = int(width * rope.get("partial_rotary_factor", 1))
    assert sum(rope["mrope_section"]) == turned // 2


def test_layers_and_towers_are_those_that_differ_from_qwen2_vl() -> None:
    delta = ["linear_attention"] * 3 + ["full_attention"] * 2  # the fourth, and the last
    assert made("qwen3_5").text_config.layer_types == delta
    assert made("qwen3_vl_moe").text_config.num_experts == 4
    assert [*made("qwen3_vl").vision_config.deepstack_visual_indexes] == [0, 1]
    assert made("qwen2_5_vl").vision_config.fullatt_block_indexes == [2]
    # four heads of a size of 64 would be 16 wide in Qwen2
    assert made("qwen3").head_dim == made("qwen3_vl").text_config.head_dim == 48

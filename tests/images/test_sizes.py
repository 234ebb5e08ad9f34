"""Pictures are sized as by the Qwen-VL processor."""

from __future__ import annotations

import numpy as np
import pytest
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from vrft import images
from vrft.errors import UserError


def test_resized_sizes_are_those_of_the_qwen_processor() -> None:
    rng = np.random.default_rng(2)
    limits = [(56 * 56, 28 * 28 * 1280), (3136, 401_408), (28 * 28, 112 * 112), (200_000, 300_000)]
    for width, height in rng.integers(1, 3000, (500, 2)).tolist():
        if max(width, height) > 200 * min(width, height):
            continue
        for low, high in limits:
            theirs = smart_resize(height, width, 28, low, high)
            assert images.resized_size(width, height, low, high) == theirs[::-1]


@pytest.mark.parametrize("size", [(201, 1), (1, 201)])
def test_a_picture_200_times_as_long_as_wide_has_no_size(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="too long"):
        images.resized_size(*size, 3136, 401_408)
    assert images.resized_size(200, 1, 3136, 401_408)


def test_a_token_is_28_by_28_pixels() -> None:
    # 112 x 56: 4 x 2 tokens
    assert images.image_tokens(112, 56) == 8

"""Pictures read back from their patches are those that the processor resized, bit by bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from vrft.models import encoding
from vrft.models.families import FAMILIES
from vrft.models.loaded import LoadedModel
from vrft.models.resized_pictures import resized_picture
from vrft.models.vision_features import PatchedPicture

VISION = [name for name, row in FAMILIES.items() if row.has_vision]


def noise(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("family", VISION)
def test_a_picture_that_needs_no_resizing_comes_back_as_it_was(
    family: str, load_tiny: Callable[..., LoadedModel]
) -> None:
    loaded = load_tiny(family)
    side = 2 * loaded.processor.image_processor.patch_size  # type: ignore[union-attr]
    image = noise(2 * side, 3 * side)
    picture = encoding.read_picture(loaded, image)
    back = resized_picture(loaded.processor.image_processor, picture)  # type: ignore[union-attr]
    assert back.size == image.size
    assert np.array_equal(np.asarray(back), np.asarray(image))


@pytest.mark.parametrize("family", VISION)
def test_patches_of_the_resized_picture_are_those_of_the_file(
    family: str, load_tiny: Callable[..., LoadedModel]
) -> None:
    loaded = load_tiny(family)
    picture = encoding.read_picture(loaded, noise(131, 97))
    back = resized_picture(loaded.processor.image_processor, picture)  # type: ignore[union-attr]
    assert back.size != (97, 131)  # it was resized
    again = encoding.read_picture(loaded, back)
    assert torch.equal(again.patches, picture.patches)
    assert torch.equal(again.grid, picture.grid)


def test_a_video_is_no_picture(load_tiny: Callable[..., LoadedModel]) -> None:
    loaded = load_tiny("qwen2_vl")
    video = PatchedPicture(b"", torch.zeros(8, 1176), torch.tensor([[2, 2, 2]]))
    with pytest.raises(ValueError, match="a video of 2 frames"):
        resized_picture(loaded.processor.image_processor, video)  # type: ignore[union-attr]

"""Pictures as the vision tower sees them, for an engine that cuts them into patches itself."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from vrft.models.vision_features import PatchedPicture


def resized_picture(image_processor: Any, picture: PatchedPicture) -> Image.Image:
    """Return the RGB picture, resized by the processor, from which the patches were cut.

    Another engine would resize a file by its own library, whose pixels differ: log-probabilities
    of a noise picture then move by 0.03 to 0.07. The pixels are read back from the patches, and are
    those of the processor exactly: rounding takes back its scaling to floats.
    """
    frames, rows, columns = picture.grid[0].tolist()  # in patches
    merge, side = image_processor.merge_size, image_processor.patch_size
    if frames != 1:
        raise ValueError(f"a video of {frames} frames is no picture")
    # The order of Qwen's processors: blocks of merge x merge patches, row by row, and in a patch
    # channels, frames (copies of a still picture), rows and columns of pixels.
    blocks = picture.patches.float().view(
        rows // merge, columns // merge, merge, merge, 3, -1, side, side
    )[..., 0, :, :]
    pixels = blocks.permute(0, 2, 5, 1, 3, 6, 4).reshape(rows * side, columns * side, 3)
    mean, std = (
        torch.tensor(getattr(image_processor, f"image_{name}")) for name in ("mean", "std")
    )
    values = ((pixels * std + mean) / image_processor.rescale_factor).round()
    return Image.fromarray(values.clamp(0, 255).to(torch.uint8).numpy())

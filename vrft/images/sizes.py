"""The size at which a Qwen-VL processor shows a picture to the model, and its image tokens."""

from __future__ import annotations

import math

from vrft.errors import PictureError

FACTOR = 28
"""Pixels along one side of an image token: patches of 14 pixels, merged 2 by 2."""

MAX_ASPECT_RATIO = 200


def resized_size(
    width: int, height: int, min_pixels: int, max_pixels: int, factor: int = FACTOR
) -> tuple[int, int]:
    """Return (width, height) of the picture that the Qwen-VL processor shows to the model.

    Both are multiples of ``factor``, the area lies within the limits where the aspect ratio
    allows, and the aspect ratio is kept as closely as possible. Raises PictureError for a picture
    more than 200 times as long as wide. (transformers' ``smart_resize``, step by step.)
    """
    check_shape(width, height)
    sides = [round(side / factor) * factor for side in (width, height)]
    # Limits are tested on the rounded sides, but the scale is computed from the given ones.
    if sides[0] * sides[1] > max_pixels:
        scale = math.sqrt(width * height / max_pixels)
        fitted = (math.floor(side / scale / factor) * factor for side in (width, height))
        sides = [max(factor, side) for side in fitted]
    elif sides[0] * sides[1] < min_pixels:
        scale = math.sqrt(min_pixels / (width * height))
        sides = [math.ceil(side * scale / factor) * factor for side in (width, height)]
    return sides[0], sides[1]


def check_shape(width: int, height: int, name: str = "") -> None:
    """Raise PictureError for a picture without pixels or more than 200 times as long as wide."""
    if min(width, height) < 1:
        raise PictureError(f"{name}a picture of {width}x{height} has no pixels; replace it")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise PictureError(
            f"{name}a picture of {width}x{height} is too long: at most {MAX_ASPECT_RATIO}:1; cut it"
        )


def image_tokens(width: int, height: int, factor: int = FACTOR) -> int:
    """Return how many tokens of the prompt a picture of that resized size takes."""
    return (width // factor) * (height // factor)

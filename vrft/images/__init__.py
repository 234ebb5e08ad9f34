"""Pictures: every form in which data give one, opened safely and upright, and sized as by Qwen-VL.

``sources`` reads the forms, ``opening`` the files, ``modes`` their pixels; ``sizes`` is arithmetic.
"""

from vrft.images.modes import to_rgb
from vrft.images.opening import (
    FORMATS,
    MAX_MEGAPIXELS,
    UNREADABLE,
    StoredSize,
    content_hash,
    has_several_frames,
    image_size,
    open_image,
    read_header,
    stored_size,
)
from vrft.images.sizes import FACTOR, MAX_ASPECT_RATIO, check_shape, image_tokens, resized_size
from vrft.images.sources import Picture, as_picture, picture_name

__all__ = [
    "FACTOR",
    "FORMATS",
    "MAX_ASPECT_RATIO",
    "MAX_MEGAPIXELS",
    "UNREADABLE",
    "Picture",
    "StoredSize",
    "as_picture",
    "check_shape",
    "content_hash",
    "has_several_frames",
    "image_size",
    "image_tokens",
    "open_image",
    "picture_name",
    "read_header",
    "resized_size",
    "stored_size",
    "to_rgb",
]

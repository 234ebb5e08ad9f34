"""Pictures: opened safely and upright, and the size that the Qwen-VL processor gives them."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import math
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from PIL import ExifTags, Image, ImageOps

from vrft.errors import UserError

FACTOR = 28
"""Pixels along one side of an image token: patches of 14 pixels, merged 2 by 2."""

MAX_MEGAPIXELS = 100.0
MAX_ASPECT_RATIO = 200

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error)
"""The exceptions that Pillow raises for files that are damaged or no pictures.

Its PNG reader really raises SyntaxError, and its readers of headers raise struct.error.
"""

_WARNINGS = threading.Lock()
"""Held while a warning is silenced.

``warnings.catch_warnings`` saves and restores filters of the whole process, so two threads that
overlap would restore each other's.
"""


def open_image(source: Path | Image.Image, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Open a picture as RGB, turned upright by its EXIF orientation, transparency on white.

    Raises UserError for a file that is no picture or is cut off, and for more than
    ``max_megapixels`` (at most 178, where Pillow itself refuses). The size is read from the header,
    before any pixel is decoded.
    """
    with _opened(source, max_megapixels) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)  # a copy: the file may be closed
    return _converter()(upright)


def content_hash(source: Path | Image.Image) -> bytes:
    """Return a hash of all that ``open_image`` reads: equal hashes, equal pictures.

    A file is hashed as it is, without decoding it. Raises UserError for a file that is not there.
    """
    if isinstance(source, Image.Image):
        # Opened first, as the orientation of a picture in memory is not among its pixels. The size
        # is hashed as well: 20 x 40 and 40 x 20 pixels may have the same bytes.
        image = open_image(source)
        return hashlib.sha256(b"%dx%d" % image.size + image.tobytes()).digest()
    with _naming_errors(source), source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def image_size(
    source: Path | Image.Image, max_megapixels: float = MAX_MEGAPIXELS
) -> tuple[int, int]:
    """Return (width, height) in pixels of the upright picture, from the head of the file.

    Raises UserError as ``open_image`` does, except that a file which is cut off behind its head
    passes. (A PNG is decoded all the same, as Pillow finds its orientation only then.)
    """
    with _opened(source, max_megapixels) as image:
        width, height = image.size
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    # Orientations 5 to 8 lie on their side.
    return (height, width) if orientation in (5, 6, 7, 8) else (width, height)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a picture to RGB as qwen-vl-utils does: RGBA is laid on white."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image.getchannel("A"))
    return white


def resized_size(
    width: int, height: int, min_pixels: int, max_pixels: int, factor: int = FACTOR
) -> tuple[int, int]:
    """Return (width, height) of the picture that the Qwen-VL processor shows to the model.

    Both are multiples of ``factor``, the area lies within the limits where the aspect ratio
    allows, and the aspect ratio is kept as closely as possible. Raises UserError for a picture
    more than 200 times as long as wide. (transformers' ``smart_resize``, step by step.)
    """
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise UserError(f"a picture of {width}x{height} is too long: at most {MAX_ASPECT_RATIO}:1")
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


def image_tokens(width: int, height: int, factor: int = FACTOR) -> int:
    """Return how many tokens of the prompt a picture of that resized size takes."""
    return (width // factor) * (height // factor)


@cache
def _converter() -> Callable[[Image.Image], Image.Image]:
    """Return the conversion to RGB of qwen-vl-utils, or ours where theirs does not import."""
    # qwen-vl-utils imports torchvision, which is an extra; a wrong build of it raises anything.
    if importlib.util.find_spec("torchvision") is None:
        return to_rgb
    try:
        from qwen_vl_utils import vision_process
    except (ImportError, OSError, RuntimeError):  # a torchvision built for another torch
        return to_rgb
    convert: Callable[[Image.Image], Image.Image] = vision_process.to_rgb
    return convert


@contextmanager
def _opened(source: Path | Image.Image, max_megapixels: float) -> Iterator[Image.Image]:
    """Yield the picture with its header read and its size checked, and close a file at the end.

    Raises UserError that names the source, also for damage that the caller meets in reading on.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(source, Image.Image):
            name, image = "a picture in memory", source
        else:
            name = str(source)
            with _naming_errors(source), _WARNINGS, warnings.catch_warnings():
                # Pillow warns from 89 megapixels on; the limit below is ours, and an error.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = stack.enter_context(Image.open(source))
        width, height = image.size
        if width * height > max_megapixels * 1e6:
            raise UserError(
                f"{name}: picture of {width}x{height} pixels, more than the limit of "
                f"{max_megapixels:g} megapixels; scale it down"
            )
        try:
            yield image
        except UNREADABLE as error:
            raise UserError(f"{name}: damaged picture ({error}); replace the file") from error


@contextmanager
def _naming_errors(source: Path) -> Iterator[None]:
    """Turn the errors of opening a file into UserErrors that name the file."""
    try:
        yield
    except FileNotFoundError as error:  # an OSError too, so it comes before UNREADABLE
        raise UserError(f"{source}: no such picture") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{source}: picture too large ({error}); scale it down") from error
    except UNREADABLE as error:
        raise UserError(f"{source}: not a picture that can be read; replace the file") from error

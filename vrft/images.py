"""Pictures: opened safely and upright, and the size that the Qwen-VL processor makes of them."""

from __future__ import annotations

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
"""Pixels along one side of an image token: patches of 14, merged 2 by 2."""

MAX_MEGAPIXELS = 100.0
MAX_ASPECT_RATIO = 200

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error)
"""What Pillow raises for files that are broken or no pictures."""

_WARNINGS = threading.Lock()
"""Held while a warning is silenced: threads would undo that for one another."""


def open_image(source: Path | Image.Image, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """The picture as RGB, upright by its EXIF orientation, transparency on white.

    UserError for a file that is no picture or is cut off, and for more than ``max_megapixels``
    (at most 178, where Pillow itself refuses), which is seen in the header before any decoding.
    """
    name = _name(source)
    with _opened(source) as image:
        _check_size(image.size, max_megapixels, name)
        try:
            image.load()
            upright = ImageOps.exif_transpose(image)
        except UNREADABLE as error:
            raise UserError(f"{name}: damaged picture ({error}); replace the file") from error
        return _converter()(upright)


def content_hash(source: Path | Image.Image) -> bytes:
    """A hash of all that ``open_image`` makes the picture of: the same bytes, the same picture.

    A file is not decoded. UserError for a file that is not there.
    """
    if isinstance(source, Image.Image):
        image = open_image(source)
        return hashlib.sha256(b"%dx%d" % image.size + image.tobytes()).digest()
    with _reported(source), source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def image_size(
    source: Path | Image.Image, max_megapixels: float = MAX_MEGAPIXELS
) -> tuple[int, int]:
    """(width, height) in pixels of the upright picture, from the head of the file.

    UserError as for ``open_image``, except that a file cut off later is not noticed. (Pillow
    decodes a PNG to find its orientation.)
    """
    name = _name(source)
    with _opened(source) as image:
        width, height = image.size
        _check_size(image.size, max_megapixels, name)
        try:
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        except UNREADABLE as error:
            raise UserError(f"{name}: damaged picture ({error}); replace the file") from error
    return (height, width) if orientation in (5, 6, 7, 8) else (width, height)


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture in RGB as qwen-vl-utils makes it: RGBA is laid on white, others converted."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image.getchannel("A"))
    return white


def resized_size(
    width: int, height: int, min_pixels: int, max_pixels: int, factor: int = FACTOR
) -> tuple[int, int]:
    """(width, height) of the picture that the Qwen-VL processor shows to the model.

    Both are multiples of ``factor``, the area lies within the limits where the aspect ratio
    allows, and the aspect ratio is kept as closely as possible. UserError for a picture more than
    200 times as long as wide.
    """
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise UserError(f"a picture of {width}x{height} is too long: at most {MAX_ASPECT_RATIO}:1")
    sides = [round(side / factor) * factor for side in (width, height)]
    if sides[0] * sides[1] > max_pixels:
        scale = math.sqrt(width * height / max_pixels)
        fitted = (math.floor(side / scale / factor) * factor for side in (width, height))
        sides = [max(factor, side) for side in fitted]
    elif sides[0] * sides[1] < min_pixels:
        scale = math.sqrt(min_pixels / (width * height))
        sides = [math.ceil(side * scale / factor) * factor for side in (width, height)]
    return sides[0], sides[1]


def image_tokens(width: int, height: int, factor: int = FACTOR) -> int:
    """How many tokens a picture of that resized size takes in the prompt."""
    return (width // factor) * (height // factor)


@cache
def _converter() -> Callable[[Image.Image], Image.Image]:
    """The conversion to RGB of qwen-vl-utils where it imports, which takes torchvision."""
    if importlib.util.find_spec("torchvision") is None:
        return to_rgb
    try:
        from qwen_vl_utils import vision_process
    except (ImportError, OSError, RuntimeError):  # a torchvision built for another torch
        return to_rgb
    convert: Callable[[Image.Image], Image.Image] = vision_process.to_rgb
    return convert


@contextmanager
def _opened(source: Path | Image.Image) -> Iterator[Image.Image]:
    """The picture with its header read; a file is closed again at the end."""
    if isinstance(source, Image.Image):
        yield source
        return
    with _reported(source), _WARNINGS, warnings.catch_warnings():
        # The limit is checked here, and less abruptly.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(source)
    with image:
        yield image


@contextmanager
def _reported(source: Path) -> Iterator[None]:
    """What goes wrong in opening a file, as a UserError that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{source}: no such picture") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{source}: picture too large ({error}); scale it down") from error
    except UNREADABLE as error:
        raise UserError(f"{source}: not a picture that can be read; replace the file") from error


def _check_size(size: tuple[int, int], max_megapixels: float, name: str) -> None:
    width, height = size
    if width * height > max_megapixels * 1e6:
        raise UserError(
            f"{name}: picture of {width}x{height} pixels, more than the limit of "
            f"{max_megapixels:g} megapixels; scale it down"
        )


def _name(source: Path | Image.Image) -> str:
    return "a picture in memory" if isinstance(source, Image.Image) else str(source)

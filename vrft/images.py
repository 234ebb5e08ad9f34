"""Pictures: opened safely and upright, and the size that the Qwen-VL processor gives them."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import io
import math
import os
import re
import struct
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from vrft.errors import UserError

# numpy is imported inside functions: few pictures need it, and every task loads this module.

FACTOR = 28
"""Pixels along one side of an image token: patches of 14 pixels, merged 2 by 2."""

MAX_MEGAPIXELS = 100.0
MAX_ASPECT_RATIO = 200

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TIFF", "WEBP")
"""The formats that are opened, whatever a file is called.

All are pixels that Pillow decodes itself. For EPS it would start Ghostscript, a whole language.
"""

STRANGERS = {
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"<?xml": "SVG or other XML",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "a pointer of Git LFS, which `git lfs pull` replaces by the file",
}
"""How files begin that are met under the names of pictures -> what they are."""

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error)
"""The exceptions that Pillow raises for files that are damaged or no pictures.

Its PNG reader really raises SyntaxError, and its readers of headers raise struct.error.
"""

HUB_KEYS = ("bytes", "path", "image", "url", "image_url")
"""The keys under which the hub's rows and chat messages hold a picture."""

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
BASE64 = re.compile(r"(/9j/|iVBORw0KGgo|R0lGOD|UklGR|Qk|SUkq|TU0AK)[A-Za-z0-9+/\s]{60,}={0,2}\s*")
"""A JPEG, PNG, GIF, WebP, BMP or TIFF file in base64: each begins by the same letters."""

Picture = Path | Image.Image | bytes
"""A picture as it is opened: its file, its pixels, or the content of its file."""

_WARNINGS = threading.Lock()
"""Held while a warning is silenced.

``warnings.catch_warnings`` saves and restores filters of the whole process, so two threads that
overlap would restore each other's.
"""


def as_picture(value: Any) -> Picture:
    """Return a picture as it is opened, from any value by which data gives one.

    These are a path, the bytes of a file, pixels (of Pillow, or a NumPy array of uint8: height x
    width, or x 3 or x 4), a data URI, base64 text, and the hub's {"bytes", "path"}. Raises
    UserError for any other value, and for a URL, as nothing is fetched.
    """
    while isinstance(value, Mapping):
        given = (value.get(key) for key in HUB_KEYS)
        value = next((v for v in given if v is not None and v != "" and v != b""), None)
    if isinstance(value, str) and value:
        return _of_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Image.Image):
        return value
    if isinstance(value, os.PathLike):
        return Path(value)
    if hasattr(value, "__array_interface__"):
        return _of_array(value)
    raise UserError(f"a picture is a path or the bytes of a file, not {_shown(value)}")


def picture_name(source: Any) -> str:
    """Return a picture's name for messages, at most 200 characters: its path, if it has one."""
    name = getattr(source, "filename", "") if isinstance(source, Image.Image) else source
    if not name or not isinstance(name, str | Path):
        return "a picture in memory"
    text = str(name)
    return text if len(text) <= 200 else f"{text[:120]}... ({len(text)} characters)"


def open_image(source: Any, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Open a picture as RGB, turned upright by its EXIF orientation, transparency on white.

    ``source`` is any value that ``as_picture`` takes. Pixels of 16 bits are scaled to 8. Raises
    UserError, which names the file, for one that is no picture or is cut off, that is more than
    200 times as long as wide, or that has more than ``max_megapixels`` (at most 178, where Pillow
    itself refuses). The size is read from the header, before any pixel is decoded.
    """
    with _opened(source, max_megapixels) as image:
        _mend_transparency(image)
        image.load()
        highest = _highest(image)
        # A copy: the file may be closed.
        return to_rgb(ImageOps.exif_transpose(image), highest)


def content_hash(source: Any) -> bytes:
    """Return a hash of all that ``open_image`` reads: equal hashes, equal pictures.

    A file is hashed as it is, without decoding it. Raises UserError for a file that is not there.
    """
    picture = as_picture(source)
    if isinstance(picture, Image.Image):
        # Opened first, as the orientation of a picture in memory is not among its pixels. The size
        # is hashed as well: 20 x 40 and 40 x 20 pixels may have the same bytes.
        image = open_image(picture)
        return hashlib.sha256(b"%dx%d" % image.size + image.tobytes()).digest()
    if isinstance(picture, bytes):
        return hashlib.sha256(picture).digest()
    with _naming_errors(picture), picture.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


@dataclass(frozen=True, slots=True)
class StoredSize:
    """The size of a picture in pixels as its file stores it, and the EXIF orientation, 1 to 8."""

    width: int
    height: int
    orientation: int = 1

    @property
    def upright(self) -> tuple[int, int]:
        """Return (width, height) of the picture as it is shown."""
        # Orientations 5 to 8 lie on their side.
        sideways = self.orientation in (5, 6, 7, 8)
        return (self.height, self.width) if sideways else (self.width, self.height)

    def turn(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point of the stored picture lies in the picture as it is shown."""
        right, bottom = self.width - x, self.height - y
        places = {2: (right, y), 3: (right, bottom), 4: (x, bottom), 5: (y, x), 6: (bottom, x),
                  7: (bottom, right), 8: (y, right)}  # fmt: skip
        return places.get(self.orientation, (x, y))


def stored_size(source: Any, max_megapixels: float = MAX_MEGAPIXELS) -> StoredSize:
    """Return the size and orientation that the head of a picture's file gives.

    Raises UserError as ``open_image`` does, except that a file which is cut off behind its head
    passes. (A PNG is decoded all the same, as Pillow finds its orientation only then.)
    """
    with _opened(source, max_megapixels) as image:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        return StoredSize(*image.size, orientation)


def image_size(source: Any, max_megapixels: float = MAX_MEGAPIXELS) -> tuple[int, int]:
    """Return (width, height) in pixels of the upright picture, read as ``stored_size`` does."""
    return stored_size(source, max_megapixels).upright


def to_rgb(image: Image.Image, highest: int | None = 65535) -> Image.Image:
    """Convert a picture of any mode to RGB, with transparency laid on white.

    Pixels deeper than 8 bits are scaled, so that ``highest`` becomes white. Raises ValueError for
    a mode that has no such range (I and F) and for one that Pillow cannot convert.
    """
    if image.mode.startswith(("I", "F")):
        return _eight_bits(image, highest).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    # La is LA multiplied by its transparency, and Pillow has no direct way from it.
    transparent = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(transparent, mask=transparent.getchannel("A"))
    return white


def resized_size(
    width: int, height: int, min_pixels: int, max_pixels: int, factor: int = FACTOR
) -> tuple[int, int]:
    """Return (width, height) of the picture that the Qwen-VL processor shows to the model.

    Both are multiples of ``factor``, the area lies within the limits where the aspect ratio
    allows, and the aspect ratio is kept as closely as possible. Raises UserError for a picture
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
    """Raise UserError for a picture without pixels or more than 200 times as long as wide."""
    if min(width, height) < 1:
        raise UserError(f"{name}a picture of {width}x{height} has no pixels; replace it")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise UserError(
            f"{name}a picture of {width}x{height} is too long: at most {MAX_ASPECT_RATIO}:1; cut it"
        )


def image_tokens(width: int, height: int, factor: int = FACTOR) -> int:
    """Return how many tokens of the prompt a picture of that resized size takes."""
    return (width // factor) * (height // factor)


def _of_text(text: str) -> Picture:
    """Return the picture that a text means: a path, a data URI, or a file in base64."""
    if text.startswith("data:"):
        head, _, body = text.partition(",")
        if head.endswith(";base64"):
            return _decoded(body)
        raise UserError(f"a data URI without base64 ({head:.60}); write data:image/png;base64,...")
    if URL.match(text):
        if text.startswith("file://"):
            return Path(url2pathname(urlsplit(text).path))
        raise UserError(f"a picture at a URL ({text:.80}): nothing is fetched; give a local file")
    # A path may look like base64, but then there is such a file.
    if BASE64.fullmatch(text) and not os.path.isfile(text):
        return _decoded(text)
    return Path(text)


def _decoded(text: str) -> bytes:
    """Return the bytes behind base64 text, which may have line breaks."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(f"a picture in base64 that cannot be decoded ({error})") from error


def _of_array(value: Any) -> Image.Image:
    """Return the picture of a NumPy array, height x width, or x 1, x 3 or x 4."""
    import numpy as np

    array = np.asarray(value)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 2 and array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    flat = array.ndim == 2 and array.dtype in (np.uint8, np.uint16)
    coloured = array.ndim == 3 and array.shape[2] in (3, 4) and array.dtype == np.uint8
    if not (flat or coloured) or not array.size:
        raise UserError(
            f"a picture as an array of {array.dtype}, {' x '.join(map(str, array.shape))}; "
            "give uint8, height x width x 3"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _shown(value: Any) -> str:
    """Return a value for a message: its type, and a short value itself."""
    text = repr(value) if isinstance(value, str | int | float | None) else ""
    return f"{text:.60}" if text else f"a value of type {type(value).__name__}"


def _mend_transparency(image: Image.Image) -> None:
    """Put a PNG's transparent grey on the scale of its decoded pixels, before these are decoded.

    Pillow scales pixels of 2 and 4 bits to 8 and leaves the transparent one as it is. Raises
    ValueError for colours of 16 bits, of which Pillow decodes too little to find that one.
    """
    if image.format != "PNG" or not getattr(image, "tile", None):
        return
    mode, key = image.tile[0][3], image.info.get("transparency")  # type: ignore[attr-defined]
    if mode == "RGB;16B" and key is not None:
        raise ValueError("a transparent colour of 16 bits; save it with 8 bits or an alpha channel")
    if isinstance(key, int):
        image.info["transparency"] = key * {"L;2": 85, "L;4": 17}.get(mode, 1)


def _highest(image: Image.Image) -> int | None:
    """Return the value of white in an opened picture deeper than 8 bits; None if unknown."""
    if image.mode.startswith("I;16"):
        depths = getattr(image, "tag_v2", {}).get(258)  # TIFF's BitsPerSample: 16, or 12
        return int((1 << (depths or (16,))[0]) - 1)
    # Pillow reads a PGM file of any depth into mode I, scaled to 16 bits.
    return 65535 if image.mode == "I" and image.format == "PPM" else None


def _eight_bits(image: Image.Image, highest: int | None) -> Image.Image:
    """Return a deep picture in 8 bits of grey, each pixel rounded to the nearest."""
    import numpy as np

    if image.mode == "F" or highest is None:
        raise ValueError(f"mode {image.mode} has no value of white; save it with 8 or 16 bits")
    values = np.asarray(image).astype(np.int64)
    grey = (values * 255 + highest // 2) // highest
    if "transparency" in image.info:
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8))


@cache
def _formats() -> tuple[str, ...]:
    """Return the FORMATS that this build of Pillow has."""
    Image.init()  # an unknown name would be a KeyError in Image.open
    return tuple(name for name in FORMATS if name in Image.OPEN)


def read_header(file: Path | io.BytesIO) -> Image.Image:
    """Open a picture of one of FORMATS without decoding it; the caller closes it.

    Raises what Pillow raises. Every opening of a file goes through this function.
    """
    with _WARNINGS, warnings.catch_warnings():
        # Pillow warns from 89 megapixels on; the limit is ours, and an error.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(file, formats=_formats())


@contextmanager
def _opened(source: Any, max_megapixels: float) -> Iterator[Image.Image]:
    """Yield the picture with its header read and its size checked, and close a file at the end.

    Raises UserError that names the source, also for damage that the caller meets in reading on.
    """
    picture = as_picture(source)
    name = picture_name(picture)
    with contextlib.ExitStack() as stack:
        if isinstance(picture, Image.Image):
            image = picture
        else:
            with _naming_errors(picture):
                file = io.BytesIO(picture) if isinstance(picture, bytes) else picture
                image = stack.enter_context(read_header(file))
        width, height = image.size
        if width * height > max_megapixels * 1e6:
            raise UserError(
                f"{name}: picture of {width}x{height} pixels, more than the limit of "
                f"{max_megapixels:g} megapixels; scale it down"
            )
        check_shape(width, height, f"{name}: ")
        try:
            yield image
        except UNREADABLE as error:
            raise UserError(f"{name}: damaged picture ({_reason(error)}); replace the file") from (
                error
            )


@contextmanager
def _naming_errors(source: Path | bytes) -> Iterator[None]:
    """Turn the errors of opening a file into UserErrors that name the file and the reason."""
    name = picture_name(source)
    # Looked at before it is opened: a pipe would wait for ever, and /dev/zero has no end. Not
    # Path.is_file, which raises for a name that is too long.
    if isinstance(source, Path) and not os.path.isfile(source):
        if os.path.lexists(source):
            raise UserError(f"{name}: not a picture that can be read (no file); replace it")
        raise UserError(f"{name}: no such picture")
    try:
        yield
    except Image.DecompressionBombError as error:
        raise UserError(f"{name}: picture too large ({error}); scale it down") from error
    except UNREADABLE as error:
        reason = _reason(error, source)
        raise UserError(
            f"{name}: not a picture that can be read ({reason}); replace the file"
        ) from error


def _reason(error: BaseException, source: Path | bytes = b"") -> str:
    """Return in words why a picture cannot be read, on one line."""
    if "MAX_TEXT" in str(error):
        return "its text is over Pillow's limit of 1 MB; save it without the text"
    if not isinstance(error, UnidentifiedImageError):
        return getattr(error, "strerror", None) or " ".join(str(error).split()) or "damaged"
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(64)
    head = source[:64].lstrip()
    if head[4:8] == b"ftyp":
        return "HEIC or a video"
    known = (words for begin, words in STRANGERS.items() if head.startswith(begin))
    return next(known, f"none of {', '.join(FORMATS)}" if head else "empty")

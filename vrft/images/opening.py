"""Pictures opened safely and upright: as RGB, by their head alone, or as a hash of the content."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile

from vrft.errors import PictureError
from vrft.images.modes import mend_transparency, to_rgb, white_of
from vrft.images.png_chunks import may_turn_late
from vrft.images.sizes import check_shape
from vrft.images.sources import as_picture, picture_name

MAX_MEGAPIXELS = 100.0

MAX_BYTES = 2**30
"""Bytes of a picture's file: more than 100 megapixels need in any of FORMATS, uncompressed."""

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

UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, RuntimeError, struct.error)
"""The exceptions that Pillow raises for files that are damaged or no pictures.

Its PNG reader really raises SyntaxError, its AVIF reader RuntimeError, its TIFF reader TypeError,
and its readers of headers struct.error.
"""

_WARNINGS = threading.Lock()
"""Held while a warning is silenced.

``warnings.catch_warnings`` saves and restores filters of the whole process, so two threads that
overlap would restore each other's.
"""


def open_image(source: Any, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Open a picture as RGB, turned upright by its EXIF orientation, transparency on white.

    ``source`` is any value that ``as_picture`` takes; of an animation or of several pages the
    first picture is opened. Pixels of 16 bits are scaled to 8. Raises PictureError, which names
    the file, for one that is no picture or is cut off, that is more than 200 times as long as
    wide, or that has more than ``max_megapixels`` (at most 178, where Pillow itself refuses). The
    size is read from the header, before any pixel is decoded.
    """
    with _opened(source, max_megapixels) as image:
        mend_transparency(image)
        image.load()
        highest = white_of(image)
        # A copy: the file may be closed.
        return to_rgb(ImageOps.exif_transpose(image), highest)


def content_hash(source: Any) -> bytes:
    """Return a hash of all that ``open_image`` reads: equal hashes, equal pictures.

    A file is hashed as it is, without decoding it. Raises PictureError for a missing file.
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


def has_several_frames(source: Any) -> bool:
    """Tell whether a file is an animation or has several pages, of which the first one is read.

    The second picture of a telephone's JPEG is a small copy of the first, and does not count.
    """
    with _opened(source, MAX_MEGAPIXELS) as image:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))


SIDEWAYS = (5, 6, 7, 8)
"""The EXIF orientations of pictures that are stored lying on their side."""


@dataclass(frozen=True, slots=True)
class StoredSize:
    """The size of a picture in pixels as its file stores it, and the EXIF orientation, 1 to 8."""

    width: int
    height: int
    orientation: int = 1

    @property
    def upright(self) -> tuple[int, int]:
        """Return (width, height) of the picture as it is shown."""
        sideways = self.orientation in SIDEWAYS
        return (self.height, self.width) if sideways else (self.width, self.height)

    def turn(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point of the stored picture lies in the picture as it is shown."""
        right, bottom = self.width - x, self.height - y
        places = {2: (right, y), 3: (right, bottom), 4: (x, bottom), 5: (y, x), 6: (bottom, x),
                  7: (bottom, right), 8: (y, right)}  # fmt: skip
        return places.get(self.orientation, (x, y))


def stored_size(source: Any, max_megapixels: float = MAX_MEGAPIXELS) -> StoredSize:
    """Return the size and orientation that the head of a picture's file gives.

    Raises PictureError as ``open_image`` does, except that a file which is damaged or cut off
    behind its head passes; a PNG that is cut off does not.
    """
    with _opened(source, max_megapixels) as image:
        orientation = exif_of(image).get(ExifTags.Base.Orientation, 1)
        width, height = image.size
        # Of a TIFF, and of no other format, Pillow tells the upright size before it is decoded.
        if image.format == "TIFF" and orientation in SIDEWAYS:
            width, height = height, width
        return StoredSize(width, height, orientation)


def exif_of(image: Image.Image) -> Image.Exif:
    """Return what a picture says of itself, decoding it only where that stands behind its pixels.

    Pillow decodes each PNG without an orientation to look for one there, which takes a hundred
    times as long as reading the head.
    """
    if isinstance(image, PngImageFile) and image.fp and not may_turn_late(image.fp):
        return Image.Image.getexif(image)
    return image.getexif()


def image_size(source: Any, max_megapixels: float = MAX_MEGAPIXELS) -> tuple[int, int]:
    """Return (width, height) in pixels of the upright picture, read as ``stored_size`` does."""
    return stored_size(source, max_megapixels).upright


@cache
def formats() -> tuple[str, ...]:
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
        return Image.open(file, formats=formats())


@contextmanager
def _opened(source: Any, max_megapixels: float) -> Iterator[Image.Image]:
    """Yield the picture with its header read and its size checked, and close a file at the end.

    Raises PictureError that names the source, also for damage that the caller meets in reading on.
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
            raise PictureError(
                f"{name}: picture of {width}x{height} pixels, more than the limit of "
                f"{max_megapixels:g} megapixels; scale it down"
            )
        check_shape(width, height, f"{name}: ")
        try:
            yield image
        except UNREADABLE as error:
            raise PictureError(
                f"{name}: damaged picture ({_reason(error)}); replace the file"
            ) from (error)


@contextmanager
def _naming_errors(source: Path | bytes) -> Iterator[None]:
    """Turn the errors of opening a file into PictureErrors that name the file and the reason."""
    name = picture_name(source)
    # Looked at before it is opened: a pipe would wait for ever, and /dev/zero has no end. Not
    # Path.is_file, which raises for a name that is too long.
    if isinstance(source, Path) and not os.path.isfile(source):
        if os.path.lexists(source):
            raise PictureError(f"{name}: not a picture that can be read (no file); replace it")
        raise PictureError(f"{name}: no such picture")
    size = len(source) if isinstance(source, bytes) else os.path.getsize(source)
    if size > MAX_BYTES:
        raise PictureError(f"{name}: a file of {size:,} bytes, more than the limit of "
                           f"{MAX_BYTES:,}; save the picture smaller")  # fmt: skip
    try:
        yield
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name}: picture too large ({error}); scale it down") from error
    except UNREADABLE as error:
        reason = _reason(error, source)
        raise PictureError(
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

"""Pictures of the app: named once, and sent as browsers show them, upright and not too large.

Each has a thumbnail for the lists, made once: an export writes it beside the picture, a server
remembers it by the name.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import Path

from PIL import Image

from vrft.errors import PictureError
from vrft.images import open_image
from vrft.viz.drawing import notice

SIDE = 1600
"""The longest side in pixels of a picture that is sent."""

THUMB = 96
"""The longest side in pixels of a thumbnail: some 3 kB."""

AS_THEY_ARE = (".jpg", ".jpeg", ".png", ".webp")
"""The files that browsers show, by the ends of their names."""

MEMORY = "memory-"
"""The beginning of the name of a picture that is no file, which only its own view knows."""

MAX_BYTES = 100_000_000
"""Bytes of a JPEG's file up to which it is read at once."""

PLENTY = 2_000_000
"""Bytes up to which such a file is copied into an export as it is."""


def picture_file(
    image: Path | Image.Image, sources: dict[str, Path | Image.Image], key: str
) -> str:
    """Return the name of a picture's file, and add its source to ``sources`` under that name.

    A file has the same name wherever it is shown, and another one once it has been written anew. A
    picture in memory is named by ``key``, such as its sample's id and its place there.
    """
    file = isinstance(image, Path)
    end = image.suffix.lower() if isinstance(image, Path) else ".png"
    known = identity(image) if isinstance(image, Path) else key
    digest = hashlib.sha256(known.encode(errors="backslashreplace")).hexdigest()[:16]
    name = f"{'' if file else MEMORY}{digest}{end if end in AS_THEY_ARE else '.jpg'}"
    sources.setdefault(name, image)
    return name


def identity(path: Path) -> str:
    """Return a file's path with its size and time, or the path alone of a file that is not there.

    Its content is not read: it may be 20,000 pictures of a data set, before the first is shown.
    """
    try:
        known = path.stat()
        return f"{path.absolute()} {known.st_size} {known.st_mtime_ns}"
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return str(path)


def encoded(source: Path | Image.Image) -> tuple[bytes, str]:
    """Return a picture as the bytes of an image file, and their media type.

    A picture that cannot be read is a sheet that says so.
    """
    try:
        image = open_image(source)
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    except PictureError as error:
        image = notice(str(error))
    file = io.BytesIO()
    if isinstance(source, Path) and source.suffix.lower() != ".png":
        image.save(file, "JPEG", quality=90)
        return file.getvalue(), "image/jpeg"
    image.save(file, "PNG")
    return file.getvalue(), "image/png"


def write(source: Path | Image.Image, target: Path) -> None:
    """Write a picture to a file; a small upright one that browsers show is copied as it is.

    One that has been written is not written again, unless it was a picture in memory: the name of a
    file's picture tells its version.
    """
    if target.exists() and not target.name.startswith(MEMORY):
        return
    unfinished = target.with_name(f"{target.name}.part")
    if isinstance(source, Path) and copies(source):
        shutil.copyfile(source, unfinished)
    else:
        unfinished.write_bytes(encoded(source)[0])
    unfinished.replace(target)


def copies(source: Path) -> bool:
    """Return whether a file is sent as it is: upright, not large, and of a kind browsers show."""
    try:
        with Image.open(source, formats=("JPEG", "PNG", "WEBP")) as image:
            turned = image.getexif().get(0x0112, 1) != 1  # the orientation
            return not turned and max(image.size) <= SIDE and source.stat().st_size <= PLENTY
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False  # `encoded` says what is wrong with it


# --- thumbnails


def thumbnail(source: Path | Image.Image) -> bytes:
    """Return a picture as a JPEG of at most THUMB pixels a side, on grey where it is unreadable."""
    try:
        image = drafted(source)
        image.thumbnail((THUMB, THUMB), Image.Resampling.BILINEAR, reducing_gap=2.0)
    except PictureError:
        image = Image.new("RGB", (THUMB, THUMB), "#8b949e")
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def drafted(source: Path | Image.Image) -> Image.Image:
    """Open a picture as ``open_image`` does; a JPEG in a file at no more than it needs.

    Decoded at an eighth of its sides, a photograph of 12 megapixels takes a tenth of the time.
    """
    if isinstance(source, Path) and source.suffix.lower() in (".jpg", ".jpeg"):
        try:
            # Read at once: Pillow reads dozens of small pieces, each as slow as the whole.
            file = io.BytesIO(source.read_bytes() if source.stat().st_size <= MAX_BYTES else b"")
            with Image.open(file, formats=("JPEG",)) as image:
                image.draft("RGB", (THUMB, THUMB))
                return open_image(image)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            pass  # `open_image` says what is wrong with it, or reads it as what it is
    return open_image(source)


def write_thumbnail(source: Path | Image.Image, target: Path) -> None:
    """Write a picture's thumbnail to a file, under the condition of ``write``."""
    if target.exists() and not target.name.startswith(MEMORY):
        return
    unfinished = target.with_name(f"{target.name}.part")
    unfinished.write_bytes(thumbnail(source))
    unfinished.replace(target)

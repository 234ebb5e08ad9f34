"""Pictures of the app: named once, and sent as browsers show them, upright and not too large."""

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

AS_THEY_ARE = (".jpg", ".jpeg", ".png", ".webp")
"""The files that browsers show, by the ends of their names."""

PLENTY = 2_000_000
"""Bytes up to which such a file is copied into an export as it is."""


def picture_file(image: Path | Image.Image, sources: dict[str, Path | Image.Image]) -> str:
    """Return the name of a picture's file, and add its source to ``sources`` under that name.

    A file has the same name wherever it is shown.
    """
    if isinstance(image, Path):
        end = image.suffix.lower() if image.suffix.lower() in AS_THEY_ARE else ".jpg"
        digest = hashlib.sha256(str(image).encode(errors="backslashreplace")).hexdigest()
        name = digest[:16] + end
    else:
        name = f"picture-{len(sources)}.png"
    sources.setdefault(name, image)
    return name


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
    """Write a picture to a file; a small upright one that browsers show is copied as it is."""
    if isinstance(source, Path) and copies(source):
        shutil.copyfile(source, target)
    else:
        target.write_bytes(encoded(source)[0])


def copies(source: Path) -> bool:
    """Return whether a file is sent as it is: upright, not large, and of a kind browsers show."""
    try:
        with Image.open(source, formats=("JPEG", "PNG", "WEBP")) as image:
            turned = image.getexif().get(0x0112, 1) != 1  # the orientation
            return not turned and max(image.size) <= SIDE and source.stat().st_size <= PLENTY
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False  # `encoded` says what is wrong with it

"""Pictures that stand inside the data, kept as files: each is written once, whoever asks for it."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from pathlib import Path

from PIL import Image

from vrft import paths
from vrft.errors import UserError
from vrft.images import UNREADABLE, read_header

HEADS = {
    b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"BM": ".bmp",
    b"II*\0": ".tif", b"MM\0*": ".tif", b"RIFF": ".webp",
}  # fmt: skip
"""The first bytes of a picture's file -> the ending of its name."""

FORMATS = {"AVIF": ".avif", "JPEG2000": ".jp2", "QOI": ".qoi", "PPM": ".ppm", "DIB": ".dib"}
"""The format of a picture whose first bytes tell less, by Pillow -> the ending of its name."""


def png(image: Image.Image) -> bytes:
    """Return the content of a PNG file of a picture."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def cached_picture(content: bytes, where: str) -> Path:
    """Return the file of the cache that holds a picture, named by its content and written once.

    Its name ends as its format's do, by which rows tell pictures from other texts. Raises UserError
    for bytes that do not begin as a picture does, and for a cache that cannot be written.
    """
    cache = paths.cache()
    digest = hashlib.sha256(content).hexdigest()
    folder = cache / "pictures" / digest[:2]
    for head, ending in HEADS.items():
        path = folder / f"{digest}{ending}"
        if content.startswith(head) and is_written(path, content):
            return path
    try:
        # Only the header is read here; the size is checked when the picture is opened.
        with read_header(io.BytesIO(content)) as image:
            known = (ending for head, ending in HEADS.items() if content.startswith(head))
            path = folder / f"{digest}{next(known, FORMATS.get(str(image.format), ''))}"
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise UserError(f"{where}: a picture that cannot be read; remove the row") from error
    if is_written(path, content):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(content)
        # Renaming is atomic: another process sees the complete file or none.
        os.replace(file.name, path)
    except OSError as error:
        raise UserError(
            f"{cache}: cannot keep pictures there ({error}); "
            "set VRFT_CACHE to a folder that can be written"
        ) from error
    return path


def is_written(path: Path, content: bytes) -> bool:
    """Return whether a file is there with all its bytes, of which a power cut may leave none."""
    try:
        return path.stat().st_size == len(content)
    except OSError:
        return False

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


def png(image: Image.Image) -> bytes:
    """Return the content of a PNG file of a picture."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def cached_picture(content: bytes, where: str) -> Path:
    """Return the file of the cache that holds a picture, named by its content and written once.

    Raises UserError for bytes that do not begin as a picture does, and for a cache that cannot be
    written.
    """
    cache = paths.cache()
    digest = hashlib.sha256(content).hexdigest()
    path = cache / "pictures" / digest[:2] / digest
    if path.is_file():
        return path
    try:
        # Only the header is read here; the size is checked when the picture is opened.
        read_header(io.BytesIO(content)).close()
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise UserError(f"{where}: a picture that cannot be read; remove the row") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        # Renaming is atomic: another process sees the complete file or none.
        os.replace(file.name, path)
    except OSError as error:
        raise UserError(
            f"{cache}: cannot keep pictures there ({error}); "
            "set VRFT_CACHE to a folder that can be written"
        ) from error
    return path

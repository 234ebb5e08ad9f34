"""The forms in which data give a picture: a path, bytes, pixels, a data URI, base64, a mapping."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from PIL import Image

from vrft.errors import PictureError

# numpy is imported inside functions: few pictures need it, and every task loads this module.

HUB_KEYS = ("bytes", "path", "image", "url", "image_url")
"""The keys under which the hub's rows and chat messages hold a picture."""

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,30}://")
BASE64 = re.compile(r"(/9j/|iVBORw0KGgo|R0lGOD|UklGR|Qk|SUkq|TU0AK)[A-Za-z0-9+/\s]{60,}={0,2}\s*")
"""A JPEG, PNG, GIF, WebP, BMP or TIFF file in base64: each begins by the same letters."""

Picture = Path | Image.Image | bytes
"""A picture as it is opened: its file, its pixels, or the content of its file."""


def as_picture(value: Any) -> Picture:
    """Return a picture as it is opened, from any value by which data gives one.

    These are a path, the bytes of a file, pixels (of Pillow, or a NumPy array of uint8: height x
    width, or x 3 or x 4), a data URI, base64 text, and the hub's {"bytes", "path"}. Raises
    PictureError for any other value, and for a URL, as nothing is fetched.
    """
    while isinstance(value, Mapping):
        given = (value.get(key) for key in HUB_KEYS)
        # Asked by type, as an array that is compared with a text gives no single answer.
        value = next((v for v in given if v is not None and not is_empty(v)), None)
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
    raise PictureError(f"a picture is a path or the bytes of a file, not {_shown(value)}")


def is_empty(value: Any) -> bool:
    """Return whether a value is an empty text, or the bytes of an empty file."""
    return isinstance(value, str | bytes) and not value


def picture_name(source: Any) -> str:
    """Return a picture's name for messages, at most 200 characters: its path, if it has one."""
    name = getattr(source, "filename", "") if isinstance(source, Image.Image) else source
    if not name or not isinstance(name, str | Path):
        return "a picture in memory"
    text = str(name)
    return text if len(text) <= 200 else f"{text[:120]}... ({len(text)} characters)"


def _of_text(text: str) -> Picture:
    """Return the picture that a text means: a path, a data URI, or a file in base64."""
    if text.startswith("data:"):
        head, _, body = text.partition(",")
        if head.endswith(";base64"):
            return _decoded(body)
        raise PictureError(
            f"a data URI without base64 ({head:.60}); write data:image/png;base64,..."
        )
    if URL.match(text):
        if text.startswith("file://"):
            return Path(url2pathname(urlsplit(text).path))
        raise PictureError(
            f"a picture at a URL ({text:.80}): nothing is fetched; give a local file"
        )
    # A path may look like base64, but then there is such a file.
    if BASE64.fullmatch(text) and not os.path.isfile(text):
        return _decoded(text)
    return Path(text)


def _decoded(text: str) -> bytes:
    """Return the bytes behind base64 text, which may have line breaks."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureError(f"a picture in base64 that cannot be decoded ({error})") from error


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
        raise PictureError(
            f"a picture as an array of {array.dtype}, {' x '.join(map(str, array.shape))}; "
            "give uint8, height x width x 3"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _shown(value: Any) -> str:
    """Return a value for a message: its type, and a short value itself."""
    text = repr(value) if isinstance(value, str | int | float | None) else ""
    return f"{text:.60}" if text else f"a value of type {type(value).__name__}"

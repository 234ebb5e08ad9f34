"""The chunks of a PNG, walked by their lengths without decoding a pixel."""

from __future__ import annotations

import struct
from typing import IO

SIGNATURE = 8
"""Bytes before the first chunk."""

TEXTS = (b"tEXt", b"zTXt", b"iTXt")
ORIENTED = (b"exif", b"Raw profile type exif", b"XML:com.adobe.xmp", b"xmp")
"""The keys of texts in which Pillow looks for an orientation, beside the chunk eXIf."""


def may_turn_late(file: IO[bytes]) -> bool:
    """Return whether a PNG may tell its orientation behind its pixels, where a header ends.

    True also for one that is cut off. The file is left at the place where it was.
    """
    place = file.tell()
    try:
        return _may_turn_late(file)
    finally:
        file.seek(place)


def _may_turn_late(file: IO[bytes]) -> bool:
    """Walk the chunks of a file from its beginning on; return as ``may_turn_late``."""
    position, behind = SIGNATURE, False
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return True
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return False
        if behind and kind == b"eXIf":
            return True
        # ImageMagick writes dates behind the pixels of every picture, for which none is decoded.
        if behind and kind in TEXTS and file.read(32).partition(b"\0")[0] in ORIENTED:
            return True
        behind = behind or kind == b"IDAT"
        position += 12 + length  # with the checksum behind

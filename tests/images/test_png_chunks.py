"""A PNG's orientation: known by its head, unless a chunk behind the pixels may tell it."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from vrft import images
from vrft.errors import PictureError
from vrft.images.png_chunks import may_turn_late


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png_with(late: bytes) -> bytes:
    """Return a PNG with a chunk behind its pixels, before its last chunk of 12 bytes."""
    file = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(file, "PNG")
    return file.getvalue()[:-12] + late + file.getvalue()[-12:]


XMP = b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'
EXIF = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
"""The orientation 6, as EXIF has it."""


def refuse_to_decode(picture: Image.Image) -> None:
    pytest.fail("the picture is decoded")


@pytest.mark.parametrize(
    "late",
    [
        b"",
        # what ImageMagick writes
        chunk(b"tEXt", b"date:create\x002026-01-01T00:00:00+00:00"),
        chunk(b"tIME", b"\x07\xea\x01\x01\0\0\0"),
    ],
)
def test_the_size_of_a_png_is_told_without_decoding_it(
    late: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PngImageFile, "load", refuse_to_decode)
    assert images.image_size(png_with(late)) == (40, 20)


@pytest.mark.parametrize(
    "late",
    [
        chunk(b"eXIf", EXIF),
        chunk(b"iTXt", XMP),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(
            b"\nexif\n      32\n" + (b"Exif\0\0" + EXIF).hex().encode())),
    ],
)  # fmt: skip
def test_an_orientation_behind_the_pixels_of_a_png_counts(late: bytes) -> None:
    assert images.stored_size(png_with(late)).orientation == 6
    assert images.image_size(png_with(late)) == images.open_image(png_with(late)).size == (20, 40)


def test_a_png_that_is_cut_off_has_no_size() -> None:
    with pytest.raises(PictureError, match="damaged picture"):
        images.image_size(png_with(b"")[:-40])


def test_the_file_is_left_at_its_place() -> None:
    for late, turns in ((b"", False), (chunk(b"eXIf", EXIF), True)):
        file = io.BytesIO(png_with(late))
        file.seek(30)
        assert may_turn_late(file) is turns and file.tell() == 30

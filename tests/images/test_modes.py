"""Pictures of every mode become RGB, as qwen-vl-utils makes them."""

from __future__ import annotations

import importlib
import struct
import sys
import types
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vrft import images
from vrft.errors import UserError

RED, BLUE = (200, 30, 30), (30, 30, 200)


def left_red_right_blue(mode: str = "RGB") -> Image.Image:
    image = Image.new("RGB", (40, 20), BLUE)
    image.paste(RED, (0, 0, 20, 20))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "1", "YCbCr", "LA", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    source = Image.new(mode, (8, 6)) if mode == "I;16" else left_red_right_blue(mode)
    opened = images.open_image(source)
    assert opened.mode == "RGB"
    assert opened.size == source.size
    if mode in ("RGB", "CMYK", "YCbCr"):
        assert np.abs(np.array(opened.getpixel((3, 3))) - RED).max() < 12


WHITE, GREY = (255,) * 3, (204,) * 3


def test_transparency_is_laid_on_white() -> None:
    picture = Image.new("RGBA", (4, 1), (200, 30, 30, 0))
    picture.putpixel((1, 0), (200, 30, 30, 255))
    picture.putpixel((2, 0), (0, 0, 0, 51))
    opened = images.open_image(picture)
    # clear: white; opaque: its colour; black at 51/255 = 20 %: 0.8 * 255 = 204
    assert [opened.getpixel((x, 0)) for x in range(3)] == [WHITE, RED, GREY]


def black_on_nothing(mode: str) -> Image.Image:
    """Return a picture of two pixels, a black one and a clear one, which is black underneath."""
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    picture.putpixel((1, 0), (0, 0, 0, 0))
    if mode == "quantised":
        return picture.quantize(4)
    if mode == "PA":
        return picture.quantize(4).convert(mode)
    if mode == "La":
        return picture.convert("LA").convert(mode)
    return picture.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "La", "RGBa", "PA", "quantised"])
def test_transparency_of_every_mode_is_white(mode: str) -> None:
    opened = images.open_image(black_on_nothing(mode))
    assert [opened.getpixel((x, 0)) for x in range(2)] == [(0, 0, 0), WHITE]


@pytest.mark.parametrize("kind", ["a colour", "a grey", "alpha of colours", "colours with alpha"])
def test_a_palette_is_laid_on_white_as_its_pixels_would_be(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (30, 20, 4), dtype=np.uint8)
    picture = Image.fromarray(drawn, "RGBA")
    palette = picture.quantize(200) if kind == "colours with alpha" else None
    palette = palette or picture.convert("RGB").quantize(200)
    if kind == "a grey":
        palette = picture.convert("L")
    if kind in ("a colour", "a grey"):
        palette.info["transparency"] = 7
    elif kind == "alpha of colours":
        palette.info["transparency"] = bytes(range(0, 200, 2))
    by_pixels = images.open_image(palette.convert("RGBA"))
    # A palette has 256 colours, a GIF of 59 megapixels too; laying its pixels took two seconds.
    convert = Image.Image.convert

    def few(image: Image.Image, mode: str) -> Image.Image:
        assert mode == "RGB" or image.width * image.height <= 256
        return convert(image, mode)

    monkeypatch.setattr(Image.Image, "convert", few)
    opened = images.open_image(palette)
    assert opened.mode == "RGB" and opened.tobytes() == by_pixels.tobytes()


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def small_png(colour: int, bits: int, pixels: bytes, *chunks: bytes) -> bytes:
    """Return a PNG file of 2 x 1 pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, bits, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" + pixels))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + body + chunk(b"IEND", b"")


PALETTE = chunk(b"PLTE", bytes([0, 0, 0, 9, 9, 9]))
KEYED = {
    # grey 3 of 255 is the clear one; of 15; of 3; of 1, which is white anyway; and of 65535
    "grey of 8 bits": small_png(0, 8, bytes([0, 3]), chunk(b"tRNS", b"\0\3")),
    "grey of 4 bits": small_png(0, 4, b"\x03", chunk(b"tRNS", b"\0\3")),
    "grey of 2 bits": small_png(0, 2, b"\x10", chunk(b"tRNS", b"\0\1")),
    "grey of 1 bit": small_png(0, 1, b"\x40", chunk(b"tRNS", b"\0\1")),
    "grey of 16 bits": small_png(0, 16, b"\0\0\x01\0", chunk(b"tRNS", b"\x01\0")),
    "grey with alpha of 16 bits": small_png(4, 16, b"\0\0\xff\xff" + bytes(4)),
    # a colour; an entry of the palette, by one value for each
    "colour": small_png(2, 8, bytes([0, 0, 0, 9, 8, 7]), chunk(b"tRNS", b"\0\x09\0\x08\0\x07")),
    "palette": small_png(3, 8, bytes([0, 1]), PALETTE, chunk(b"tRNS", b"\xff\0")),
}


@pytest.mark.parametrize("kind", KEYED)
def test_a_png_with_a_transparent_colour_is_white_there(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(KEYED[kind])
    for source in (tmp_path / "a.png", KEYED[kind]):
        opened = images.open_image(source)
        assert [opened.getpixel((x, 0)) for x in range(2)] == [(0, 0, 0), WHITE]


def test_a_transparent_colour_of_16_bits_is_refused() -> None:
    pixels = struct.pack(">6H", 0, 0, 0, 300, 300, 300)
    content = small_png(2, 16, pixels, chunk(b"tRNS", struct.pack(">3H", 300, 300, 300)))
    with pytest.raises(UserError, match=r"a transparent colour of 16 bits; save it with 8 bits"):
        images.open_image(content)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "big.tif", "jp2"])
def test_grey_of_16_bits_is_scaled_to_8(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    # 65535 * 0.2 is 13107, and 255 * 0.2 is 51
    values = np.array([[0, 13107, 52428, 65535]], dtype=np.uint16)
    if suffix == "pgm":
        path.write_bytes(b"P5 4 1 65535\n" + values.astype(">u2").tobytes())
    else:
        big = suffix == "big.tif"
        order = {"I;16B": ">u2", "I;16": "<u2"}["I;16B" if big else "I;16"]
        mode = "I;16B" if big else "I;16"
        Image.frombytes(mode, (4, 1), values.astype(order).tobytes()).save(path)
    opened = images.open_image(path)
    assert [opened.getpixel((x, 0)) for x in range(4)] == [(n,) * 3 for n in (0, 51, 204, 255)]


def test_grey_of_12_bits_in_a_tiff_is_scaled_by_its_depth() -> None:
    # Two pixels of 12 bits, 0 and 4095, in three bytes; tags: width, height, bits, no compression,
    # black is 0, the place and the length of the pixels.
    tags = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (278, 1), (279, 3)]
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags)
    pixels = b"\x00\x0f\xff\0"
    content = b"II*\0" + struct.pack("<I", 12) + pixels + struct.pack("<H", len(tags)) + entries
    opened = images.open_image(content + bytes(4))
    assert [opened.getpixel((x, 0)) for x in range(2)] == [(0, 0, 0), WHITE]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_range_are_refused(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "a.tif")
    for source in (tmp_path / "a.tif", Image.new(mode, (4, 4))):
        with pytest.raises(UserError, match=rf"mode {mode} has no value of white; save it with 8"):
            images.open_image(source)


@pytest.fixture
def qwen_vl_utils(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Return the real ``vision_process`` of qwen-vl-utils, with an empty torchvision if need be.

    It uses torchvision only for videos and tensors, never for pictures.
    """
    try:
        return importlib.import_module("qwen_vl_utils.vision_process")
    except ImportError:
        torchvision = types.ModuleType("torchvision")
        torchvision.io = torchvision.transforms = types.ModuleType("unused")  # type: ignore
        transforms = types.ModuleType("torchvision.transforms")
        transforms.InterpolationMode = None  # type: ignore
        monkeypatch.setitem(sys.modules, "torchvision", torchvision)
        monkeypatch.setitem(sys.modules, "torchvision.transforms", transforms)
        for name in ("qwen_vl_utils", "qwen_vl_utils.vision_process"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module("qwen_vl_utils.vision_process")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "LA", "1"])
def test_conversion_agrees_with_qwen_vl_utils(mode: str, qwen_vl_utils: types.ModuleType) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (30, 40, 4), dtype=np.uint8)
    source = Image.fromarray(noise)
    if mode != "RGBA":
        source = source.convert("RGB").convert(mode)
    assert source.mode == mode
    ours, theirs = images.to_rgb(source), qwen_vl_utils.to_rgb(source)
    assert ours.mode == theirs.mode == "RGB"
    assert np.array_equal(np.asarray(ours), np.asarray(theirs))

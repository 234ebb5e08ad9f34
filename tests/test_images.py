"""Pictures: opened safely and upright, in RGB as qwen-vl-utils does, sized as by the processor."""

import base64
import importlib
import os
import struct
import sys
import types
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from vrft import images
from vrft.errors import UserError

RED, BLUE = (200, 30, 30), (30, 30, 200)


def png_header(path: Path, width: int, height: int) -> Path:
    """Write a PNG file that claims a size and holds no pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + body)
    return path


def left_red_right_blue(mode: str = "RGB") -> Image.Image:
    image = Image.new("RGB", (40, 20), BLUE)
    image.paste(RED, (0, 0, 20, 20))
    return image.convert(mode)


@pytest.mark.parametrize("opener", [images.open_image, images.image_size])
def test_a_picture_of_two_gigapixels_is_refused_before_it_is_decoded(
    opener: object, tmp_path: Path
) -> None:
    path = png_header(tmp_path / "huge.png", 50_000, 40_000)
    with pytest.raises(UserError, match=r"huge\.png: picture too large .*; scale it down"):
        opener(path)  # type: ignore[operator]


@pytest.mark.parametrize("opener", [images.open_image, images.image_size])
def test_a_picture_over_the_limit_is_refused_with_its_size(opener: object, tmp_path: Path) -> None:
    # 120 megapixels: more than our 100, below the 178 at which Pillow itself refuses
    path = png_header(tmp_path / "large.png", 12_000, 10_000)
    with pytest.raises(UserError, match=r"large\.png: picture of 12000x10000 pixels.*100 megapix"):
        opener(path)  # type: ignore[operator]


def test_the_limit_is_a_parameter() -> None:
    picture = Image.new("RGB", (2000, 1000))
    assert images.open_image(picture).size == (2000, 1000)
    with pytest.raises(UserError, match=r"a picture in memory: .* limit of 1 megapixels"):
        images.open_image(picture, max_megapixels=1)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        # text under the name of a picture, an empty file, nothing there
        ("a.jpg", b"no picture at all", "not a picture that can be read"),
        ("b.jpg", b"", "not a picture that can be read"),
        ("c.jpg", None, "no such picture"),
    ],
)
def test_a_file_that_is_no_picture_is_named_in_one_line(
    name: str, content: bytes | None, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    for opener in (images.open_image, images.image_size):
        with pytest.raises(UserError) as raised:
            opener(path)
        assert str(path) in str(raised.value)
        assert complaint in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tif"])
def test_a_picture_cut_off_half_way_is_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"cut\.{suffix}: .*; replace the file"):
        images.open_image(path)


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a picture"):
        images.open_image(tmp_path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright_and_its_size_is_known_unopened(
    orientation: int, tmp_path: Path
) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    left_red_right_blue().save(path, exif=exif, quality=95)
    upright = images.open_image(path)
    # orientations 5 to 8 lie on their side
    assert upright.size == ((20, 40) if orientation >= 5 else (40, 20))
    assert images.image_size(path) == upright.size
    # where the red half is after turning, by the EXIF standard's table
    corner = {1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom",
              8: "bottom"}[orientation]  # fmt: skip
    place = {"left": (3, 10), "right": (36, 10), "top": (10, 3), "bottom": (10, 36)}[corner]
    red, _, blue = upright.getpixel(place)  # type: ignore[misc]
    assert red > 150 > blue


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


def as_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_every_form_of_a_picture_is_the_same_picture(tmp_path: Path) -> None:
    picture = Image.effect_noise((40, 20), 80).convert("RGB")
    path = tmp_path / "a.png"
    picture.save(path)
    content = path.read_bytes()
    forms = [
        # a file, by its path or as a URI
        path, str(path), path.as_uri(), {"path": str(path)}, {"bytes": None, "path": str(path)},
        # the content of a file
        content, bytearray(content), memoryview(content), {"bytes": content, "path": "gone.png"},
        # the content as text, also as a chat message has it, and with line breaks
        f"data:image/png;base64,{as_base64(content)}", as_base64(content),
        base64.encodebytes(content).decode(),
        {"url": f"data:image/png;base64,{as_base64(content)}"},
        {"image_url": {"url": f"data:image/png;base64,{as_base64(content)}"}},
        # pixels
        picture, {"image": picture}, np.asarray(picture), np.asarray(picture.convert("RGBA")),
    ]  # fmt: skip
    for form in forms:
        opened = images.open_image(form)
        assert opened.tobytes() == picture.tobytes(), form
        assert images.image_size(form) == (40, 20)
    hashes = {images.content_hash(form) for form in forms}
    assert len(hashes) == 2  # of the file, and of its pixels


def test_arrays_of_grey_are_pictures() -> None:
    grey = np.array([[0, 51]], dtype=np.uint8)
    # of 8 bits, with a third axis of 1, of 16 bits (51 * 257), and of truth values
    for array in (grey, grey[:, :, None], grey.astype(np.uint16) * 257):
        opened = images.open_image(array)
        assert [opened.getpixel((x, 0)) for x in range(2)] == [(0, 0, 0), (51, 51, 51)]
    assert images.open_image(np.array([[True]])).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize(
    ("value", "message"),
    [
        # nothing, numbers, lists, other objects
        (None, "not None"),
        ("", "not ''"),
        (5, "a picture is a path or the bytes of a file, not 5"),
        (["a.png"], "not a value of type list"),
        ({"bytes": None}, "not None"),
        (object(), "not a value of type object"),
        # floats, channels first, no pixels
        (np.zeros((4, 4, 3)), r"an array of float64, 4 x 4 x 3; give uint8"),
        (np.zeros((3, 40, 40), np.uint8), r"an array of uint8, 3 x 40 x 40; give uint8, height"),
        (np.zeros((0, 4), np.uint8), "an array of uint8, 0 x 4"),
        # nothing is fetched
        ("https://example.org/a.png", r"at a URL \(https://example\.org/a\.png\): nothing is"),
        ("s3://bucket/a.png", "at a URL"),
        ({"url": "HTTP://example.org"}, "at a URL"),
        # damaged text
        ("data:image/png,abc", "a data URI without base64"),
        ("data:image/png;base64,a", "in base64 that cannot be decoded"),
        # base64 of a file that is cut off, and a name that no disk takes
        ("iVBORw0KGgo" + "A" * 4001, "a picture in memory: not a picture"),
        ("a" * 5000, r"a{120}\.\.\. \(5000 characters\): no such picture"),
        ("a\0b", "no such picture"),
        # no pixels
        (Image.new("RGB", (0, 5)), "a picture of 0x5 has no pixels"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_short_line(value: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        images.open_image(value)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400


@pytest.mark.timeout(10)
@pytest.mark.parametrize("opener", [images.open_image, images.image_size, images.content_hash])
def test_a_pipe_and_a_device_are_never_opened(opener: object, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("/dev/zero")
    for name in ("a.jpg", "b.jpg"):
        with pytest.raises(UserError, match=rf"{name}: not a picture that can be read \(no file"):
            opener(tmp_path / name)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("begin", "reason"),
    [
        # Pillow would start Ghostscript for these two
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"\xc5\xd0\xd3\xc6", "EPS"),
        # documents, a web page in place of a download, a file that git has not fetched
        (b"%PDF-1.4", "PDF"),
        (b"<svg xmlns=''>", "SVG"),
        (b"\n<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"", "empty"),
        (b"words", "none of AVIF, BMP"),
    ],
)
def test_a_file_of_another_kind_is_named(
    begin: bytes, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.Popen", lambda *a, **k: pytest.fail("a process was started"))
    (tmp_path / "a.jpg").write_bytes(begin)
    for source in (tmp_path / "a.jpg", begin or bytearray()):
        with pytest.raises(UserError, match=rf"not a picture that can be read \({reason}"):
            images.open_image(source)


def test_formats_without_pixels_of_their_own_are_not_opened() -> None:
    # EPS starts Ghostscript, WMF a program of Windows, MPEG is no picture
    assert {"EPS", "WMF", "MPEG", "PSD", "FITS"}.isdisjoint(images._formats())
    assert {"JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"} <= {*images._formats()}


def test_a_telephones_jpeg_of_two_pictures_is_opened(tmp_path: Path) -> None:
    left_red_right_blue().save(
        tmp_path / "a.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (40, 20))]
    )
    red, _, blue = images.open_image(tmp_path / "a.jpg").getpixel((3, 3))  # type: ignore[misc]
    assert red > 150 > blue


@pytest.mark.parametrize("place", ["before the pixels", "behind them"])
def test_a_png_with_too_much_text_gives_the_reason(place: str) -> None:
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 2_000_000))
    content = small_png(0, 8, bytes(2), *([text] if place == "before the pixels" else []))
    if place == "behind them":
        content = content[:-12] + text + content[-12:]
    with pytest.raises(UserError, match="its text is over Pillow's limit of 1 MB; save it without"):
        images.open_image(content)


def test_a_picture_that_is_too_long_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (2010, 10)).save(tmp_path / "long.png")
    for opener in (images.open_image, images.image_size):
        with pytest.raises(
            UserError, match=r"long\.png: a picture of 2010x10 is too long: .*cut it"
        ):
            opener(tmp_path / "long.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_point_of_the_stored_picture_is_found_in_the_upright_one(
    orientation: int, tmp_path: Path
) -> None:
    picture = Image.new("RGB", (40, 20))
    picture.paste(WHITE, (10, 4, 14, 8))  # around (12, 6)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    size = images.stored_size(tmp_path / "a.png")
    upright = images.open_image(tmp_path / "a.png")
    assert (size.width, size.height) == (40, 20) and size.upright == upright.size
    left, top, right, bottom = upright.getbbox()  # type: ignore[misc]
    assert size.turn(12, 6) == ((left + right) / 2, (top + bottom) / 2)


def test_the_source_is_left_as_it_was() -> None:
    picture = left_red_right_blue()
    opened = images.open_image(picture)
    opened.putpixel((0, 0), (0, 0, 0))
    assert picture.getpixel((0, 0)) == RED


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


def test_resized_sizes_are_those_of_the_qwen_processor() -> None:
    rng = np.random.default_rng(2)
    limits = [(56 * 56, 28 * 28 * 1280), (3136, 401_408), (28 * 28, 112 * 112), (200_000, 300_000)]
    for width, height in rng.integers(1, 3000, (500, 2)).tolist():
        if max(width, height) > 200 * min(width, height):
            continue
        for low, high in limits:
            theirs = smart_resize(height, width, 28, low, high)
            assert images.resized_size(width, height, low, high) == theirs[::-1]


@pytest.mark.parametrize("size", [(201, 1), (1, 201)])
def test_a_picture_200_times_as_long_as_wide_has_no_size(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="too long"):
        images.resized_size(*size, 3136, 401_408)
    assert images.resized_size(200, 1, 3136, 401_408)


def test_a_token_is_28_by_28_pixels() -> None:
    # 112 x 56: 4 x 2 tokens
    assert images.image_tokens(112, 56) == 8


def test_pictures_are_told_apart_by_their_content(tmp_path: Path) -> None:
    picture = left_red_right_blue()
    picture.save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    assert images.content_hash(tmp_path / "a.png") == images.content_hash(tmp_path / "b.png")
    assert images.content_hash(picture) == images.content_hash(picture.copy())

    turned = picture.copy()
    turned.getexif()[0x0112] = 3
    dotted = picture.copy()
    dotted.putpixel((39, 19), RED)
    reshaped = Image.frombytes("RGB", (20, 40), picture.tobytes())
    several = [picture, turned, dotted, reshaped, tmp_path / "a.png"]
    assert len({images.content_hash(one) for one in several}) == len(several)


@pytest.mark.parametrize("name", ["missing.png", "."])
def test_a_file_that_cannot_be_hashed_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such picture|not a picture that can be read"):
        images.content_hash(tmp_path / name)


def test_threads_that_open_pictures_leave_the_warnings_as_they_were(tmp_path: Path) -> None:
    # 100 megapixels: Pillow warns from 89 on, and a warning is an error here.
    path = tmp_path / "large.bmp"
    with warnings.catch_warnings(action="ignore"):
        Image.new("1", (10_000, 10_000)).save(path)
    before = [*warnings.filters]
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(images.image_size, [path] * 200))
    assert set(sizes) == {(10_000, 10_000)}
    assert [*warnings.filters] == before

"""Pictures: opened safely and upright, in RGB as qwen-vl-utils does, sized as by the processor."""

import importlib
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
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c))
              for c in (head, data, b"IEND")]  # fmt: skip
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
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


def test_transparency_is_laid_on_white() -> None:
    picture = Image.new("RGBA", (4, 1), (200, 30, 30, 0))
    picture.putpixel((1, 0), (200, 30, 30, 255))
    picture.putpixel((2, 0), (0, 0, 0, 51))
    opened = images.open_image(picture)
    # clear: white; opaque: its colour; black at 51/255 = 20 %: 0.8 * 255 = 204
    assert [opened.getpixel((x, 0)) for x in range(3)] == [(255,) * 3, (200, 30, 30), (204,) * 3]


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


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "LA", "1", "I;16"])
def test_conversion_agrees_with_qwen_vl_utils(mode: str, qwen_vl_utils: types.ModuleType) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (30, 40, 4), dtype=np.uint8)
    source = Image.fromarray(noise)
    if mode == "I;16":
        source = Image.fromarray(noise[..., 0].astype(np.uint16) * 200)
    elif mode != "RGBA":
        source = source.convert("RGB").convert(mode)
    assert source.mode == mode
    ours, theirs = images.to_rgb(source), qwen_vl_utils.to_rgb(source)
    assert ours.mode == theirs.mode == "RGB"
    assert np.array_equal(np.asarray(ours), np.asarray(theirs))


def test_qwen_vl_utils_converts_where_it_imports(
    qwen_vl_utils: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(qwen_vl_utils, "to_rgb", lambda image: Image.new("RGB", (1, 1)))
    images._converter.cache_clear()
    try:
        assert images.open_image(left_red_right_blue()).size == (1, 1)
    finally:
        images._converter.cache_clear()


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

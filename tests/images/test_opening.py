"""Pictures are opened safely and upright, or refused in one line that names the file."""

from __future__ import annotations

import contextlib
import io
import os
import re
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vrft import images
from vrft.errors import PictureError, UserError
from vrft.images import opening

RED, BLUE, WHITE = (200, 30, 30), (30, 30, 200), (255, 255, 255)


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


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright_and_its_size_is_known_unopened(
    orientation: int, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"turned.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    left_red_right_blue().save(path, exif=exif, quality=95)
    upright = images.open_image(path)
    # orientations 5 to 8 lie on their side
    assert upright.size == ((20, 40) if orientation >= 5 else (40, 20))
    assert images.image_size(path) == upright.size
    stored = images.stored_size(path)
    assert (stored.width, stored.height) == (40, 20)
    # where the red half is after turning, by the EXIF standard's table
    corner = {1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom",
              8: "bottom"}[orientation]  # fmt: skip
    place = {"left": (3, 10), "right": (36, 10), "top": (10, 3), "bottom": (10, 36)}[corner]
    red, _, blue = upright.getpixel(place)  # type: ignore[misc]
    assert red > 150 > blue


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def small_png(colour: int, bits: int, pixels: bytes, *chunks: bytes) -> bytes:
    """Return a PNG file of 2 x 1 pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, bits, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" + pixels))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + body + chunk(b"IEND", b"")


@pytest.mark.timeout(10)
@pytest.mark.parametrize("opener", [images.open_image, images.image_size, images.content_hash])
def test_a_pipe_and_a_device_are_never_opened(opener: object, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("/dev/zero")
    for name in ("a.jpg", "b.jpg"):
        with pytest.raises(UserError, match=rf"{name}: not a picture that can be read \(no file"):
            opener(tmp_path / name)  # type: ignore[operator]


@pytest.mark.parametrize("opener", [images.open_image, images.image_size, images.content_hash])
def test_a_file_of_more_bytes_than_pictures_have_is_never_read(
    opener: object, tmp_path: Path
) -> None:
    left_red_right_blue().save(tmp_path / "a.png")
    os.truncate(tmp_path / "a.png", opening.MAX_BYTES + 1)  # a hole, which takes no disk
    with pytest.raises(PictureError, match=r"a\.png: a file of 1,073,741,825 bytes, more than"):
        opener(tmp_path / "a.png")  # type: ignore[operator]


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
    assert {"EPS", "WMF", "MPEG", "PSD", "FITS"}.isdisjoint(opening.formats())
    assert {"JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"} <= {*opening.formats()}


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


@pytest.mark.parametrize(
    ("suffix", "several"),
    [("gif", True), ("webp", True), ("png", True), ("tif", True), ("mpo.jpg", False)],
)
def test_the_first_frame_is_opened_and_that_there_are_others_is_known(
    suffix: str, several: bool, tmp_path: Path
) -> None:
    path, single = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix.rpartition('.')[2]}"
    form = "MPO" if suffix == "mpo.jpg" else None
    blue = Image.new("RGB", (40, 20), BLUE)
    left_red_right_blue().save(path, form, save_all=True, append_images=[blue])
    red, _, other = images.open_image(path).getpixel((3, 3))  # type: ignore[misc]
    assert red > 150 > other
    assert images.has_several_frames(path) is several
    left_red_right_blue().save(single)
    assert not images.has_several_frames(single)
    assert not images.has_several_frames(left_red_right_blue())


def test_every_refusal_is_of_a_picture_and_a_users_mistake(tmp_path: Path) -> None:
    # what a run may skip by data.on_bad_picture: nothing else is raised as PictureError
    (tmp_path / "cut.png").write_bytes(b"\x89PNG")
    for source in (tmp_path / "cut.png", tmp_path / "gone.png", "http://a/b.png", 5):
        with pytest.raises(PictureError):
            images.open_image(source)
    assert issubclass(PictureError, UserError)


def test_a_damaged_avif_is_a_users_mistake() -> None:
    if "AVIF" not in opening.formats():
        pytest.skip("this build of Pillow reads no AVIF")
    file = io.BytesIO()
    Image.new("RGB", (9, 7)).save(file, "AVIF")
    content = bytearray(file.getvalue())
    # Pillow's AVIF reader raises RuntimeError for a damaged box, in its head or in its pixels.
    for place in range(20, len(content), 3):
        content[place] ^= 0xFF
        with contextlib.suppress(PictureError):
            images.open_image(bytes(content))
        content[place] ^= 0xFF
    with pytest.raises(PictureError, match=r"not a picture that can be read|damaged picture"):
        images.open_image(bytes(content[: len(content) // 2]))


def test_a_tiff_whose_offsets_are_fractions_is_a_users_mistake() -> None:
    file = io.BytesIO()
    Image.new("L", (9, 7)).save(file, "TIFF")
    # The entry of StripOffsets (273), a number of type 4 or 3: of type 5 it is a fraction.
    content = re.sub(rb"\x11\x01[\x03\x04]\x00", b"\x11\x01\x05\x00", file.getvalue(), count=1)
    assert content != file.getvalue()
    with pytest.raises(PictureError, match="picture"):
        images.open_image(content)

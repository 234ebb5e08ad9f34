"""Pictures inside the data as files: written once, named by their content, refused in one line."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from vrft.errors import UserError
from vrft.images import open_image
from vrft.records.picture_cache import cached_picture, png
from vrft.records.picture_files import SUFFIXES


def test_a_picture_is_written_once_and_opens_as_it_was(
    picture: Callable[..., Image.Image], cache: Path
) -> None:
    image = picture(9, 5)
    path = cached_picture(png(image), "row 1")
    assert open_image(path).tobytes() == image.convert("RGB").tobytes()
    written = path.stat()
    assert cached_picture(png(image), "row 2") == path
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    other = cached_picture(png(picture(5, 9)), "row 3")
    # and nothing but the two pictures is left, no file under a passing name
    assert {file for file in cache.rglob("*") if file.is_file()} == {path, other}


@pytest.mark.parametrize(
    ("form", "ending"),
    [("JPEG", ".jpg"), ("PNG", ".png"), ("GIF", ".gif"), ("BMP", ".bmp"), ("TIFF", ".tif"),
     ("WEBP", ".webp"), ("PPM", ".ppm"), ("JPEG2000", ".jp2")],
)  # fmt: skip
def test_the_name_of_a_file_tells_that_it_is_a_picture(
    form: str, ending: str, picture: Callable[..., Image.Image], cache: Path
) -> None:
    file = io.BytesIO()
    picture(16, 16).convert("RGB").save(file, form)
    path = cached_picture(file.getvalue(), "row 1")
    assert path.suffix == ending and ending in SUFFIXES
    assert cached_picture(file.getvalue(), "row 2") == path
    assert [each for each in cache.rglob("*") if each.is_file()] == [path]


def test_a_file_that_lost_its_bytes_is_written_again(
    picture: Callable[..., Image.Image], cache: Path
) -> None:
    content = png(picture(9, 5))
    path = cached_picture(content, "row 1")
    path.write_bytes(content[:9])
    assert cached_picture(content, "row 1") == path and path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"no picture", b"%!PS-Adobe-3.0 EPSF-3.0"])
def test_bytes_of_no_picture_are_refused_and_not_kept(content: bytes, cache: Path) -> None:
    with pytest.raises(UserError, match=r"^row 1: a picture that cannot be read; remove the row$"):
        cached_picture(content, "row 1")
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: Callable[..., Image.Image]
) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("", encoding="utf-8")
    monkeypatch.setenv("VRFT_CACHE", str(blocked))
    with pytest.raises(UserError, match=r"cannot keep pictures there .* set VRFT_CACHE") as caught:
        cached_picture(png(picture(4, 4)), "row 1")
    assert "\n" not in str(caught.value)

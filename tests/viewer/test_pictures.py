import io
from pathlib import Path

import pytest
from PIL import Image

from vrft.viewer import pictures


def opened(content: bytes) -> Image.Image:
    """Return the picture in the bytes of a file."""
    return Image.open(io.BytesIO(content))


def test_a_file_has_one_name_wherever_it_is_shown(tmp_path: Path) -> None:
    sources: dict[str, Path | Image.Image] = {}
    first, again, other = (
        pictures.picture_file(path, sources)
        for path in (tmp_path / "a.PNG", tmp_path / "a.PNG", tmp_path / "a.bmp")
    )
    assert first == again and first.endswith(".png") and other.endswith(".jpg")
    assert len(sources) == 2


def test_a_picture_in_memory_has_a_name_of_its_own() -> None:
    sources: dict[str, Path | Image.Image] = {}
    names = [pictures.picture_file(Image.new("RGB", (4, 4)), sources) for _ in range(2)]
    assert names == ["picture-0.png", "picture-1.png"]


def test_a_large_picture_is_sent_smaller(tmp_path: Path) -> None:
    Image.new("RGB", (3200, 800)).save(tmp_path / "large.jpg")
    content, kind = pictures.encoded(tmp_path / "large.jpg")
    assert kind == "image/jpeg" and opened(content).size == (1600, 400)


def test_a_turned_photograph_is_sent_and_written_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert opened(pictures.encoded(tmp_path / "turned.jpg")[0]).size == (20, 40)
    pictures.write(tmp_path / "turned.jpg", tmp_path / "out.jpg")
    assert opened((tmp_path / "out.jpg").read_bytes()).size == (20, 40)


def test_a_small_upright_file_is_copied_byte_by_byte(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20)).save(tmp_path / "small.png")
    pictures.write(tmp_path / "small.png", tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "small.png").read_bytes()


@pytest.mark.parametrize("content", [b"", b"no picture", b"<svg onload='alert(1)'/>"])
def test_a_file_that_is_no_picture_becomes_a_sheet_that_says_so(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    assert not pictures.copies(tmp_path / "bad.png")
    assert opened(pictures.encoded(tmp_path / "bad.png")[0]).width == 336

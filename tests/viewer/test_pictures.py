import io
from pathlib import Path

import pytest
from PIL import Image

from vrft.viewer import pictures


def opened(content: bytes) -> Image.Image:
    """Return the picture in the bytes of a file."""
    return Image.open(io.BytesIO(content))


def test_a_file_has_one_name_wherever_it_is_shown_until_it_changes(tmp_path: Path) -> None:
    sources: dict[str, Path | Image.Image] = {}
    Image.new("RGB", (4, 4)).save(tmp_path / "a.PNG")
    first, again, other = (
        pictures.picture_file(path, sources, "")
        for path in (tmp_path / "a.PNG", tmp_path / "a.PNG", tmp_path / "gone.bmp")
    )
    assert first == again and first.endswith(".png") and other.endswith(".jpg")
    assert len(sources) == 2
    Image.new("RGB", (9, 9)).save(tmp_path / "a.PNG")
    assert pictures.picture_file(tmp_path / "a.PNG", sources, "") != first


def test_a_picture_in_memory_is_named_by_its_place() -> None:
    sources: dict[str, Path | Image.Image] = {}
    names = [
        pictures.picture_file(Image.new("RGB", (4, 4)), sources, key) for key in ("a", "b", "a")
    ]
    assert names[0] == names[2] != names[1] and names[0].startswith("memory-")
    assert len(sources) == 2


@pytest.mark.parametrize("end", ["jpg", "png"])
def test_a_thumbnail_is_small_and_upright(tmp_path: Path, end: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    path = tmp_path / f"large.{end}"
    Image.effect_noise((1600, 800), 90).convert("RGB").save(path, exif=exif)
    content = pictures.thumbnail(path)
    assert opened(content).size == (48, 96) and len(content) < 6000


@pytest.mark.parametrize("name", ["none.jpg", "bad.jpg", "bad.png"])
def test_a_thumbnail_of_no_picture_is_grey(tmp_path: Path, name: str) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 no picture")
    (tmp_path / "bad.png").write_bytes(b"")
    assert opened(pictures.thumbnail(tmp_path / name)).getpixel((0, 0)) == pytest.approx(
        (139, 148, 158), abs=3
    )


def test_a_written_picture_is_not_written_again_unless_it_was_in_memory(tmp_path: Path) -> None:
    for name, kept in (("0123.png", True), ("memory-0123.png", False)):
        target = tmp_path / name
        target.write_bytes(b"written")
        pictures.write(Image.new("RGB", (4, 4)), target)
        assert (target.read_bytes() == b"written") is kept
        target.write_bytes(b"written")
        pictures.write_thumbnail(Image.new("RGB", (4, 4)), target)
        assert (target.read_bytes() == b"written") is kept


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

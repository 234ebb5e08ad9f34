"""Pictures in a folder, by the endings of their names."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from vrft.images import FORMATS
from vrft.records.picture_files import SUFFIXES, is_picture_file, json_files, pictures_by_stem


def test_the_endings_are_those_of_the_formats_that_are_opened() -> None:
    Image.init()
    known = {end for end, name in Image.registered_extensions().items() if name in FORMATS}
    assert set(SUFFIXES) == known | {".avif", ".avifs"}  # which not every Pillow opens
    assert len(SUFFIXES) == len(set(SUFFIXES))


def test_capital_letters_make_no_other_ending() -> None:
    assert all(is_picture_file(Path(name)) for name in ("a.jpg", "a.JPG", "a.b.Tiff", "a.AVIF"))
    assert not any(is_picture_file(Path(name)) for name in ("a.heic", "jpg", ".jpg", "a.jpg.txt"))


def test_pictures_of_a_folder_have_the_names_of_their_json(tmp_path: Path) -> None:
    names = ["a.png", "a.jpg", "b.JPG", "c.x.Tif", "._d.jpg", "d.heic", "a.json", "B.JSON"]
    for name in (*names, "._a.json"):
        (tmp_path / name).touch()
    (tmp_path / "e.jpg").mkdir()
    # a mask in .png beside the picture in .jpg is none of its own
    found = {stem: path.name for stem, path in pictures_by_stem(tmp_path).items()}
    assert found == {"a": "a.jpg", "b": "b.JPG", "c.x": "c.x.Tif"}
    assert [path.name for path in json_files(tmp_path)] == ["B.JSON", "a.json"]
    assert pictures_by_stem(tmp_path / "none") == {} and json_files(tmp_path / "none") == []

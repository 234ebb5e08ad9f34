"""Columns whose pictures would be lost in silence, and columns that hold none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vrft.errors import UserError
from vrft.formats import recognition
from vrft.formats.row_pictures import (
    check_left_out,
    check_none,
    check_read,
    is_picture,
    pictures_of,
)
from vrft.records import Record


def test_a_column_of_pictures_that_is_not_read_is_refused_with_its_setting(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"image_path": "a.png", "question": "Q?", "answer": "red"}))
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"line 1: .*'image_path'.*data\.columns\.images=image_p"):
        recognition.read(file, "train")
    (row,) = recognition.read(file, "train", columns={"images": "image_path"}).rows
    assert row.files() == (tmp_path / "a.png",)


@pytest.mark.parametrize(
    ("column", "value", "refused"),
    [
        ("Image", "A.JPG", True),
        ("img", "a.ppm", True),
        ("img", ["a.png", "b.png"], True),
        ("img", '["a.png"]', True),  # a cell of CSV
        ("jpg", {"bytes": b"\x89PNG...", "path": None}, True),
        ("img", "data:image/png;base64,AAAA", True),
        # no pictures, or none that could be read
        ("id", "pictures/a.png", False),
        ("answer", "a.png", False),
        ("page", "https://example.com/a.png", False),
        ("audio", {"bytes": b"RIFX", "path": "a.wav"}, False),
        ("source", "COCO", False),
        ("height", 480, False),
        ("tags", [], False),
    ],
)
def test_a_picture_is_told_by_what_a_column_holds(column: str, value: Any, refused: bool) -> None:
    record = Record({"question": "Q?", column: value}, "rows.jsonl: line 1", 0)
    if refused:
        with pytest.raises(UserError, match=f"data.columns.images={column}"):
            check_read(record)
    else:
        check_read(record)


@pytest.mark.parametrize(
    ("columns", "values"),
    [
        ({}, {"image": "a.png", "image2": "b.png"}),
        ({}, {"images": ["a.png"], "image_2": {"bytes": b"\x89PNG...", "path": None}}),
        ({"images": "image_1"}, {"image_1": "a.png", "image_12": "b.png"}),
        ({"images": "image_0"}, {"image_0": "a.png", "image_12": "b.png"}),
        ({"image": "photo"}, {"photo": "a.png", "photo2": "b.png"}),
    ],
)
def test_a_second_column_of_pictures_is_refused(
    columns: dict[str, str], values: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match=r"line 1: the picture in the column .*2' would be left"):
        check_left_out(Record(values, "rows.jsonl: line 1", 0, (), columns))


@pytest.mark.parametrize("name", ["video", "videos", "audio", "audios"])
def test_a_video_or_sound_is_refused(name: str) -> None:
    for value in ("a.mp4", ["a.mp4"], '["a.mp4"]', {"bytes": b"RIFX", "path": "a.wav"}):
        with pytest.raises(UserError, match=rf"line 1: the column '{name}' holds a video or sound"):
            check_left_out(Record({"question": "Q?", name: value}, "rows.jsonl: line 1", 0))
    nothing = {"bytes": None, "path": None}
    for value in (None, float("nan"), "", [], "[]", [None], nothing):
        check_left_out(Record({"question": "Q?", name: value}, "rows.jsonl: line 1", 0))


def test_a_path_of_a_video_is_refused_where_no_picture_is_read(tmp_path: Path) -> None:
    row = {"question": "Q?", "answer": "red", "clip": "A.MP4"}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row))
    with pytest.raises(UserError, match=r"line 1: the column 'clip' holds a video or sound"):
        recognition.read(file, "train")
    # a picture may say from which film it is, and a question ask for a name
    file.write_text(json.dumps(row | {"images": ["a.png"]}))
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    assert len(recognition.read(file, "train").rows) == 1
    file.write_text(json.dumps({"question": "Q?", "answer": "A.MP4"}))
    assert len(recognition.read(file, "train").rows) == 1


def test_columns_beside_the_pictures_are_no_further_pictures() -> None:
    values = {"image": "a.png", "image_2": None, "image_3": "", "image_mask": "m.png", "image4": 4}
    check_left_out(Record(values, "rows.jsonl: line 1", 0))


def test_a_column_that_tells_of_a_picture_is_no_question_without_one() -> None:
    row = {"question": "Is it?", "imageId": "2354786", "answer": "no"}
    with pytest.raises(UserError, match=r"line 1: no picture is read, .*'imageId' tells which one"):
        check_read(Record(row, "rows.jsonl: line 1", 0))
    check_read(Record(row | {"imageId": None}, "rows.jsonl: line 1", 0))
    check_read(Record(row | {"images": []}, "rows.jsonl: line 1", 0))


@pytest.mark.parametrize(
    "name", ["image_url", "img_url", "coco_url", "img", "picture", "photo", "image_path", "imgs"]
)
def test_a_link_or_name_of_a_picture_is_no_question_without_one(name: str) -> None:
    row = {"question": "Is it?", name: "http://images.cocodataset.org/1.jpg", "answer": "no"}
    with pytest.raises(UserError, match=rf"no picture is read, .*'{name}'"):
        check_read(Record(row, "rows.jsonl: line 1", 0))
    for empty in (None, "", False):
        check_read(Record(row | {name: empty}, "rows.jsonl: line 1", 0))


def test_a_row_may_say_that_it_has_no_picture() -> None:
    for value in ([], None):
        check_read(Record({"images": value, "file": "a.png"}, "rows.jsonl: line 1", 0))


def test_a_list_within_a_list_is_not_looked_into() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert not is_picture(deep)
    while deep:  # taken apart from outside: freeing it at once would call as deep as it is
        deep = deep[0]


def test_pictures_stand_in_the_column_that_has_some() -> None:
    def pictures(columns: dict[str, str] | None = None, **values: Any) -> list[Any]:
        return pictures_of(Record(values, "rows.jsonl: line 3", 2, (), columns or {}))

    assert pictures(images=[], image="a.png") == ["a.png"]
    assert pictures(images=["a.png", "b.png"], image="a.png") == ["a.png", "b.png"]
    with pytest.raises(UserError, match=r"line 3: pictures both in images and in image"):
        pictures(images=["a.png"], image="b.png")
    both = {"images": ["a.png"], "image": "b.png"}
    assert pictures({"images": "images"}, **both) == ["a.png"]
    assert pictures({"image": "image"}, **both) == ["b.png"]


@pytest.mark.parametrize(
    ("columns", "values", "named"),
    [
        ({}, {"image": "a.png"}, "image"),
        ({}, {"images": [{"bytes": b"\x89PNG...", "path": None}]}, "images"),
        ({}, {"decoded_image": b"\x89PNG..."}, "decoded_image"),
        ({}, {"image_1": None, "image_2": "b.png"}, "image_2"),
        ({"images": "figure"}, {"figure": ["a.png"]}, "figure"),
        ({}, {"problem": "<image>Find x."}, "problem"),
        ({"question": "query"}, {"query": "Find x in <image>."}, "query"),
        (
            {},
            {"prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text"}]}]},
            "prompt",
        ),
    ],
)
def test_a_row_with_pictures_is_refused_by_a_task_in_words(
    columns: dict[str, str], values: dict[str, Any], named: str
) -> None:
    record = Record({"answer": "3", **values}, "rows.jsonl: line 1", 0, (), columns)
    with pytest.raises(UserError, match=rf"line 1: the column '{named}' has a picture.*task vqa"):
        check_none(record)


def test_a_row_in_words_has_no_pictures() -> None:
    prompt = [{"role": "user", "content": "Find x."}]
    nothing = {"images": [], "image": {"bytes": None, "path": None}, "image_1": None, "video": ""}
    check_none(Record({"prompt": prompt, "answer": "a.png", **nothing}, "rows.jsonl: line 1", 0))


@pytest.mark.parametrize("values", [{"video": "a.mp4"}, {"clip": "a.mp4"}])
def test_a_row_with_a_video_is_refused_by_a_task_in_words(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"line 1: the column .* holds a video or sound"):
        check_none(Record({"problem": "Find x.", **values}, "rows.jsonl: line 1", 0))


@pytest.mark.parametrize(
    ("columns", "values", "pictures"),
    [
        # MMMU: seven columns, of which the last are empty
        ({}, {"image_1": "a.png", "image_2": "b.png", "image_3": None}, ["a.png", "b.png"]),
        ({"images": "image_1"}, {"image_1": "a.png", "image_2": "b.png"}, ["a.png", "b.png"]),
        ({}, {f"image{n}": f"{n}.png" for n in range(1, 12)}, [f"{n}.png" for n in range(1, 12)]),
        ({"image": "photo1"}, {"photo1": "a.png", "photo2": "b.png"}, ["a.png", "b.png"]),
        # no pictures
        ({}, {"image_1": None, "image_2": {"bytes": None, "path": None}}, []),
        ({}, {"image_1": 4, "image_2": 5}, []),
    ],
)
def test_numbered_columns_of_pictures_are_joined(
    columns: dict[str, str], values: dict[str, Any], pictures: list[str]
) -> None:
    record = Record(values, "rows.jsonl: line 1", 0, (), columns)
    assert pictures_of(record) == pictures
    check_left_out(record)


def test_a_gap_between_numbered_pictures_is_refused() -> None:
    values = {"image_1": "a.png", "image_2": None, "image_3": "b.png"}
    with pytest.raises(UserError, match=r"line 1: the column 'image_2' is empty, while a later"):
        pictures_of(Record(values, "rows.jsonl: line 1", 0))
    del values["image_2"]
    record = Record(values, "rows.jsonl: line 1", 0)
    assert pictures_of(record) == ["a.png"]
    with pytest.raises(UserError, match=r"the picture in the column 'image_3' would be left out"):
        check_left_out(record)

"""The size that a row gives of its picture: whether its boxes are turned, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vrft.annotations.frames import PIXELS, Frame, Point, Unit
from vrft.errors import UserError
from vrft.formats import foreign_rows, placing, recognition
from vrft.formats.rows import Row
from vrft.images import StoredSize
from vrft.records.record import Record
from vrft_tasks.grounding import Grounding

ON_ITS_SIDE = StoredSize(200, 100, 6)
"""A picture that its EXIF orientation turns: (x, y) is shown at (100 - y, x)."""


def row_of(**columns: Any) -> Row:
    return Row("0", "Where?", None, Record(columns, "rows.jsonl: row 0", 0))


@pytest.mark.parametrize(
    ("columns", "pixels"),
    [
        ({}, (20, 10, 80, 30)),
        ({"width": 100, "height": 200}, (20, 10, 80, 30)),
        # marked as stored
        ({"width": 200, "height": 100}, (70, 20, 90, 80)),
        ({"image_width": "200", "image_height": "100"}, (70, 20, 90, 80)),  # as CSV has them
        ({"width": "200.0", "height": "100.0"}, (70, 20, 90, 80)),  # as pandas writes them
        ({"imageWidth": 200.0, "imageHeight": 100.0}, (70, 20, 90, 80)),  # as pandas has them
        ({"img_width": 200, "img_height": 100}, (70, 20, 90, 80)),
        # what says nothing of one picture
        ({"width": [200, 50], "height": [100, 50]}, (20, 10, 80, 30)),
        ({"width": 200}, (20, 10, 80, 30)),
    ],
)
def test_boxes_are_turned_with_their_picture_where_the_row_was_marked_before(
    columns: dict[str, Any], pixels: tuple[int, ...]
) -> None:
    (box,) = placing.placed(row_of(**columns), [(20, 10, 80, 30)], PIXELS, ON_ITS_SIDE)
    assert PIXELS.numbers(box, ON_ITS_SIDE.upright) == list(pixels)


@pytest.mark.parametrize(
    ("unit", "numbers"), [("thousandths", (100, 100)), ("fractions", (0.1, 0.1))]
)
def test_points_of_every_unit_are_turned(unit: Unit, numbers: tuple[float, ...]) -> None:
    row = row_of(width=200, height=100)
    (point,) = placing.placed(row, [numbers], Frame(unit), ON_ITS_SIDE)
    assert isinstance(point, Point)
    assert (point.x, point.y) == pytest.approx((0.9, 0.1))


def test_pixels_of_a_picture_of_another_size_are_refused_and_parts_of_its_sides_are_not() -> None:
    row = row_of(width=400, height=200)
    with pytest.raises(UserError, match=r"row 0: by its width and height.*400x200.*100x200"):
        placing.placed(row, [(20, 10, 80, 30)], PIXELS, ON_ITS_SIDE)
    assert placing.placed(row, [(100, 100)], Frame("thousandths"), ON_ITS_SIDE)


@pytest.mark.parametrize("width", ["1.5 m", "1.5", 1.5, -200, True, {"left": 3}])
def test_sides_that_are_no_pixels_are_refused(width: Any) -> None:
    with pytest.raises(UserError, match=r"row 0: width and height are .* rename the columns"):
        placing.told_size(Record({"width": width, "height": 100}, "rows.jsonl: row 0", 0))


def picture_on_its_side(file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = ON_ITS_SIDE.orientation
    Image.new("RGB", (ON_ITS_SIDE.width, ON_ITS_SIDE.height)).save(file, exif=exif)


def test_training_and_conversion_place_a_row_alike(tmp_path: Path) -> None:
    picture_on_its_side(tmp_path / "a.jpg")
    row = {"images": ["a.jpg"], "question": "Where?", "answer": [20, 10, 80, 30]}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row | {"width": 200, "height": 100}) + "\n")
    (sample,) = Grounding(str(file)).samples("train")
    (read,) = recognition.read(str(file), "train").rows
    converted = foreign_rows.prepared(read, PIXELS, boxes=True)
    assert sample.answer.shapes == converted.shapes
    assert converted.answer(PIXELS) == [70, 20, 90, 80]


def test_the_columns_of_the_size_may_have_other_names(tmp_path: Path) -> None:
    picture_on_its_side(tmp_path / "a.jpg")
    row = {"images": ["a.jpg"], "question": "Where?", "answer": [20, 10, 80, 30]}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row | {"w": 200, "h": 100}) + "\n")
    (sample,) = Grounding(str(file), columns={"width": "w", "height": "h"}).samples("train")
    (box,) = sample.answer.boxes
    assert PIXELS.numbers(box, ON_ITS_SIDE.upright) == [70, 20, 90, 80]


def test_annotations_that_their_reader_has_turned_are_not_turned_again(tmp_path: Path) -> None:
    picture_on_its_side(tmp_path / "a.jpg")
    tree = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 200, "height": 100}],
        "annotations": [{"image_id": 1, "category_id": 2, "bbox": [20, 10, 60, 20]}],
        "categories": [{"id": 2, "name": "cat"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(tree))
    (sample,) = Grounding(str(tmp_path / "a.json")).samples("train")
    (box,) = sample.answer.boxes
    assert PIXELS.numbers(box, ON_ITS_SIDE.upright) == [70, 20, 90, 80]

"""COCO's instances: which file is one, what is read of it, and what is wrong with others."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.folders import RECORDS
from PIL import Image

from vrft import coco
from vrft.annotations.coco import read_box
from vrft.boxes import Box
from vrft.errors import UserError
from vrft.formats import recognition
from vrft.images import image_size

HERE = RECORDS / "detection"


def test_boxes_and_crowds_are_read_by_picture_and_category() -> None:
    found = coco.find(HERE / "coco", "val2017")
    assert found is not None
    assert found.categories == ("cat", "dog")
    first, second, third = found.pictures
    assert (first.id, first.source()) == ("139", HERE / "coco/val2017/000000000139.jpg")
    # 8, 6, 24 wide, 30 high of 80 x 60; and 40, 30, 32 wide, 24 high
    assert first.boxes == {"cat": (Box(0.1, 0.1, 0.4, 0.6), Box(0.5, 0.5, 0.9, 0.9))}
    assert first.crowds == {"dog": (Box(0, 0, 1, 1),)}
    # the cat has no width; the second dog, half a pixel over the edge, is cut
    assert second.boxes == {"dog": (Box(0.1, 0.2, 0.3, 0.8), Box(0.9, 0.8, 1, 1))}
    assert third.boxes == third.crowds == {}


def test_other_data_is_left_to_others(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text("[]")
    for root in (rows, HERE / "by_hand.jsonl", HERE / "virft", tmp_path / "none"):
        assert coco.find(root, "train") is None


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(UserError, match=r"no split 'test' in .*; there is val2017$"):
        coco.find(HERE / "coco", "test")


@pytest.fixture
def instances(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of one cat in one picture, with the given parts instead."""

    def write(**parts: Any) -> Path:
        good = {
            "images": [{"id": 1, "file_name": "a.jpg", "width": 10, "height": 10}],
            "annotations": [{"image_id": 1, "category_id": 2, "bbox": [0, 0, 5, 5]}],
            "categories": [{"id": 2, "name": "cat"}],
        }
        path = tmp_path / "a.json"
        path.write_text(json.dumps(good | parts))
        return path

    return write


def box(bbox: Any) -> dict[str, Any]:
    return {"annotations": [{"image_id": 1, "category_id": 2, "bbox": bbox}]}


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"images": None}, "no list `images`; expected COCO's instances or a list of rows"),
    ({"images": [{"id": 1}]}, r"images\[0\]: expected id, file_name, width, height"),
    ({"categories": ["cat"]}, r"categories\[0\]: expected id, name"),
    ({"categories": [{"id": [2], "name": "cat"}]}, r"categories\[0\]: an id is a number"),
    ({"annotations": [{"image_id": 1}]}, r"annotations\[0\]: expected image_id, category_id, bbox"),
    ({"annotations": [{"image_id": 9, "category_id": 2, "bbox": []}]}, "unknown image_id"),
    ({"annotations": [{"image_id": 1, "category_id": 9, "bbox": []}]}, "unknown image_id or cat"),
    # three numbers, a text, not a number, too large
    (box([0, 0, 5]), r"annotations\[0\]: bbox is \[x, y, width, height\] in pixels"),
    (box([0, 0, 5, "5"]), r"bbox is \[x, y, width, height\]"),
    (box([0, 0, 5, float("nan")]), r"bbox is \[x, y, width, height\]"),
    (box([0, 0, 5, True]), r"bbox is \[x, y, width, height\]"),
    (box([0, 0, 5, 10**400]), r"bbox is \[x, y, width, height\]"),
    (box([0, 0.25, 0.5, 1]), r"a\.json: every bbox lies in 0..1, and COCO writes pixels"),
]


@pytest.mark.parametrize(("parts", "message"), BROKEN)
def test_a_broken_entry_is_named_in_one_line(
    parts: dict[str, Any], message: str, instances: Callable[..., Path]
) -> None:
    assert coco.find(instances(), "train") is not None
    with pytest.raises(UserError, match=message) as raised:
        coco.find(instances(**parts), "train")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["questions", "annotations"])
def test_a_file_of_questions_that_begins_as_cocos_is_told_its_rows(
    name: str, tmp_path: Path
) -> None:
    file = tmp_path / "CLEVR_train_questions.json"  # and both files of VQAv2
    file.write_text(json.dumps({"info": {"split": "train"}, name: [{"question": "Q?"}]}))
    with pytest.raises(UserError, match=rf"its `{name}` may be the rows: write that list alone"):
        recognition.read(file, "train")


def test_a_box_in_the_first_pixel_is_one_among_others(instances: Callable[..., Path]) -> None:
    boxes = [[0, 0.25, 0.5, 0.5], [2, 2, 3, 3]]
    found = coco.find(instances(annotations=[box(b)["annotations"][0] for b in boxes]), "train")
    assert found is not None and len(found.pictures[0].boxes["cat"]) == 2


OUTSIDE = [
    # corners that were written as x, y, width, height: the remedy has their width and height
    (
        [120, 50, 190, 90],
        r"ends 110 pixels outside its picture of 200x100; .*: write \[120, 50, 70, 40\]",
    ),
    # beyond each edge, and altogether outside
    ([190, 10, 13, 5], "ends 3 pixels outside"),
    ([10, 90, 5, 12], "ends 2 pixels outside"),
    ([-3, 10, 50, 20], "ends 3 pixels outside"),
    ([300, 10, 50, 20], "ends 150 pixels outside .* write one inside it"),
]


@pytest.mark.parametrize(("bbox", "message"), OUTSIDE)
def test_a_box_that_leaves_its_picture_is_refused_by_its_entry(
    bbox: list[float], message: str
) -> None:
    with pytest.raises(UserError, match=rf"a\.json: annotations\[0\]: bbox .*{message}"):
        read_box(bbox, (200, 100), "a.json: annotations[0]")


@pytest.mark.parametrize("bbox", [[190, 10, 12, 5], [10, 95, 5, 6], [-0.5, 0, 20, 20]])
def test_a_box_that_rounding_has_put_over_the_edge_is_cut(bbox: list[float]) -> None:
    box = read_box(bbox, (200, 100), "a.json: annotations[0]")
    assert box is not None and (box.x2 == 1 or box.y2 == 1 or box.x1 == 0)


# --- the frame of the boxes


@pytest.fixture
def annotated(tmp_path: Path) -> Callable[..., coco.Picture]:
    """Return the annotations of a picture that is stored in 200 x 100 pixels.

    The cat lies in x 20 to 80 and y 10 to 30 of the annotated frame, and so does a crowd.
    """

    def write(orientation: int, width: int, height: int) -> coco.Picture:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new("RGB", (200, 100)).save(tmp_path / "a.jpg", exif=exif)
        entry = {"image_id": 1, "category_id": 2, "bbox": [20, 10, 60, 20]}
        tree = {
            "images": [{"id": 1, "file_name": "a.jpg", "width": width, "height": height}],
            "annotations": [entry, {**entry, "iscrowd": 1}],
            "categories": [{"id": 2, "name": "cat"}],
        }
        (tmp_path / "a.json").write_text(json.dumps(tree))
        (picture,) = coco.read(tmp_path / "a.json", [tmp_path]).pictures
        return picture

    return write


@pytest.mark.parametrize(
    ("orientation", "size", "pixels"),
    [
        # not turned; annotated upright
        (1, (200, 100), (20, 10, 80, 30)),
        (6, (100, 200), (20, 10, 80, 30)),
        (8, (100, 200), (20, 10, 80, 30)),
        # annotated as stored: 6 turns (x, y) into (100 - y, x), 8 into (y, 200 - x)
        (6, (200, 100), (70, 20, 90, 80)),
        (8, (200, 100), (10, 120, 30, 180)),
        # mirrored as well: 5 into (y, x), 7 into (100 - y, 200 - x)
        (5, (200, 100), (10, 20, 30, 80)),
        (7, (200, 100), (70, 120, 90, 180)),
        # upside down, which the size does not tell: as it is shown
        (3, (200, 100), (20, 10, 80, 30)),
    ],
)
def test_boxes_are_turned_with_their_picture(
    orientation: int, size: tuple[int, int], pixels: tuple[int, ...],
    annotated: Callable[..., coco.Picture],
) -> None:  # fmt: skip
    picture = annotated(orientation, *size).upright()
    ((box,),) = picture.boxes.values()
    assert box.pixels(*image_size(picture.file)) == pytest.approx(pixels)
    assert picture.crowds == picture.boxes
    assert picture.upright() == picture


@pytest.mark.parametrize(
    ("orientation", "size"),
    [
        # swapped although nothing turns; of a picture scaled down, or cut
        (1, (100, 200)),
        (3, (100, 200)),
        (1, (100, 50)),
        (6, (200, 99)),
    ],
)
def test_annotations_of_another_picture_are_refused(
    orientation: int, size: tuple[int, int], annotated: Callable[..., coco.Picture]
) -> None:
    picture = annotated(orientation, *size)
    with pytest.raises(UserError, match=rf"a\.jpg: a picture of .* annotated as {size[0]}x"):
        picture.upright()


def test_annotations_among_the_pictures_of_a_split_are_read(tmp_path: Path) -> None:
    source = HERE / "coco/annotations/instances_val2017.json"
    (tmp_path / "valid").mkdir()
    (tmp_path / "valid" / "_annotations.coco.json").write_bytes(source.read_bytes())
    found = coco.find(tmp_path, "valid")
    assert found is not None and found.categories == ("cat", "dog")
    assert found.pictures[0].file == tmp_path / "valid/000000000139.jpg"
    with pytest.raises(UserError, match=r"no split 'train' in .*; there is valid$"):
        coco.find(tmp_path, "train")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_annotations_with_a_byte_order_mark_are_known(encoding: str, tmp_path: Path) -> None:
    text = (HERE / "coco/annotations/instances_val2017.json").read_text()
    (tmp_path / "a.json").write_bytes(text.encode(encoding))
    assert coco.find(tmp_path / "a.json", "train") is not None


def test_json_lines_under_the_name_of_json_are_rows(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"image": "a.png"}\n{"image": "b.png"}\n')
    assert coco.find(tmp_path / "a.json", "train") is None


@pytest.mark.timeout(10)
def test_a_pipe_among_the_pictures_is_no_picture(annotated: Callable[..., coco.Picture]) -> None:
    picture = annotated(1, 200, 100)
    picture.file.unlink()
    os.mkfifo(picture.file)
    with pytest.raises(UserError, match=r"no picture .*a\.jpg"):
        picture.upright()

"""COCO's instances: which file is one, what is read of it, and what is wrong with others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.folders import RECORDS

from vrft import coco
from vrft.boxes import Box
from vrft.errors import UserError

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
    # the cat has no width; the second dog is cut to the picture of 100 x 50
    assert second.boxes == {"dog": (Box(0.1, 0.2, 0.3, 0.8), Box(0.9, 0.8, 1, 1))}
    assert third.boxes == third.crowds == {}


def test_one_file_has_its_pictures_beside_it() -> None:
    found = coco.find(HERE / "coco/annotations/instances_val2017.json", "whatever")
    assert found is not None
    assert found.pictures[0].file == HERE / "coco/annotations/000000000139.jpg"
    with pytest.raises(UserError, match=r"no picture .*139\.jpg; unpack"):
        found.pictures[0].source()


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
    (box([0, 0, 5, 10**400]), r"bbox is \[x, y, width, height\]"),
]


@pytest.mark.parametrize(("parts", "message"), BROKEN)
def test_a_broken_entry_is_named_in_one_line(
    parts: dict[str, Any], message: str, instances: Callable[..., Path]
) -> None:
    assert coco.find(instances(), "train") is not None
    with pytest.raises(UserError, match=message) as raised:
        coco.find(instances(**parts), "train")
    assert "\n" not in str(raised.value)

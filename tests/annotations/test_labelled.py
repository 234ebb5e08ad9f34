"""Labelled pictures: COCO's json, labelme's shapes, ReasonSeg's instructions."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from fakes.folders import RECORDS
from PIL import Image

from vrft.annotations import labelled
from vrft.annotations.labelled import kind_of
from vrft.boxes import Box
from vrft.errors import UserError
from vrft.formats import recognition
from vrft.images import open_image

HERE = RECORDS / "formats"


def shape_of(kind: str, points: list[list[float]]) -> dict[str, Any]:
    return {"label": "it", "shape_type": kind, "points": points}


def test_coco_asks_for_each_category_of_a_picture() -> None:
    first, second = labelled.read(HERE / "coco.json", "train", "coco")
    assert (first.id, first.question, first.picture.name) == ("1#rectangle", "rectangle", "a.png")
    assert first.shapes == (Box(0.1, 0.2, 0.5, 0.5),)
    assert second.numbers() == [[0.1, 0.3, 0.9, 0.8], [0, 0, 0.05, 0.2]]


def test_labelme_asks_for_each_label() -> None:
    rectangle, sky = labelled.read(HERE / "labelme", "train", "labelme")
    # The corners of the rectangle are given from right to left.
    assert (rectangle.question, rectangle.shapes) == ("rectangle", (Box(0.1, 0.2, 0.5, 0.5),))
    # A circle around (100, 20) through (100, 25).
    assert (sky.question, sky.numbers()) == ("sky", [[95 / 120, 15 / 90, 105 / 120, 25 / 90]])


def test_reasonseg_asks_each_instruction_for_one_box_around_the_targets() -> None:
    first, second = labelled.read(HERE / "reasonseg", "train", "reasonseg")
    assert (first.id, second.id) == ("x#0", "x#1")
    assert first.shapes == second.shapes == (Box(0.1, 0.2, 0.5, 0.5),)


def test_splits_may_have_folders_of_their_own(tmp_path: Path) -> None:
    shutil.copytree(HERE / "labelme", tmp_path / "val")
    assert kind_of(tmp_path, "val") == "labelme"
    assert kind_of(tmp_path, "train") is None
    with pytest.raises(UserError, match="no json beside pictures, in it or in train/"):
        labelled.read(tmp_path, "train", "labelme")


def labelled_set(folder: Path, **texts: Any) -> Path:
    """Write a folder with labelme's json by stem, each with the given `text`, and no pictures."""
    for stem, text in texts.items():
        tree = {"shapes": [shape_of("rectangle", [[2, 2], [9, 9]])]}
        tree |= {} if text is None else {"text": text}
        (folder / f"{stem}.json").write_text(json.dumps(tree), encoding="utf-8")
    return folder


def picture(path: Path) -> Path:
    Image.new("RGB", (20, 20)).save(path)
    return path


def test_pictures_of_every_ending_have_their_annotations(tmp_path: Path) -> None:
    root = labelled_set(tmp_path, a=None, b=None, c=None)
    (tmp_path / "c.json").rename(tmp_path / "c.JSON")
    for name in ("a.JPG", "b.TIF", "c.gif"):
        picture(tmp_path / name)
    (tmp_path / "._a.json").write_bytes(b"\0")
    (tmp_path / "classes.json").write_text('["it"]')  # another program's notes
    assert kind_of(root, "train") == "labelme"
    entries = labelled.read(root, "train", "labelme")
    assert [entry.picture.name for entry in entries] == ["a.JPG", "b.TIF", "c.gif"]


def test_shapes_without_a_picture_are_refused(tmp_path: Path) -> None:
    root = labelled_set(tmp_path, a=None, e=None)
    picture(tmp_path / "a.jpg")
    (tmp_path / "e.heic").touch()
    assert kind_of(root, "train") == "labelme"
    with pytest.raises(UserError, match=r"e\.json: no picture e\.jpg, or of another known ending"):
        labelled.read(root, "train", "labelme")


@pytest.mark.parametrize(
    ("texts", "kind", "message"),
    [
        ({"a": ["it"], "b": None}, "reasonseg", r"b\.json: no `text`, unlike a\.json; keep Reason"),
        ({"a": None, "b": "it"}, "labelme", r"b\.json: `text`, unlike a\.json; keep ReasonSeg's"),
        # the empty text that some tools write is no instruction
        ({"a": "", "b": None}, "labelme", None),
    ],
)
def test_files_of_another_kind_than_the_first_are_refused(
    texts: dict[str, Any], kind: str, message: str | None, tmp_path: Path
) -> None:
    root = labelled_set(tmp_path, **texts)
    for stem in texts:
        picture(tmp_path / f"{stem}.jpg")
    assert kind_of(root, "train") == kind
    if message is None:
        assert len(labelled.read(root, "train", kind)) == 2
        return
    with pytest.raises(UserError, match=message):
        labelled.read(root, "train", kind)


def test_a_format_that_is_forced_asks_for_what_it_needs(tmp_path: Path) -> None:
    root = labelled_set(tmp_path, a=None)
    picture(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"a\.json: `text` must hold at least one instruction"):
        labelled.read(root, "train", "reasonseg")


@pytest.mark.parametrize("kind", ["rectangle", "points"])
def test_points_in_fractions_are_refused(kind: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    tree = {"shapes": [shape_of(kind, [[0.25, 0.5], [1, 0.75]])]}
    (tmp_path / "a.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"a\.json: all points lie in 0..1, and labelme writes pix"):
        labelled.read(tmp_path, "train", "labelme")


@pytest.mark.parametrize("first", [{"info": ""}, {"type": "instances"}, {"licenses": {}}])
def test_cocos_json_may_begin_with_any_field(first: dict[str, Any], tmp_path: Path) -> None:
    tree = json.loads((HERE / "coco.json").read_text(encoding="utf-8"))
    tree = {key: value for key, value in tree.items() if key not in first}
    (tmp_path / "a.json").write_text(json.dumps(first | tree))
    assert kind_of(tmp_path / "a.json", "train") == "coco"


def test_roboflow_keeps_cocos_json_among_the_pictures(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(HERE / name, tmp_path / "train")
    shutil.copy(HERE / "coco.json", tmp_path / "train" / "_annotations.coco.json")
    assert kind_of(tmp_path, "train") == "coco"
    assert len(labelled.read(tmp_path, "train", "coco")) == 2


def test_other_data_are_no_annotations(tmp_path: Path) -> None:
    assert kind_of(HERE / "trl.jsonl", "train") is None
    assert kind_of(HERE / "llava.json", "train") is None
    # Rows in a .json file of lines begin with a brace as COCO's file does.
    (tmp_path / "rows.json").write_text('{"question": "?", "answer": "1"}\n', encoding="utf-8")
    assert kind_of(tmp_path / "rows.json", "train") is None


ROW = '{"images": ["a.png"], "question": "?", "answer": "red"}\n'
NESTED = '{"images": [{"path": "a.png"}], "question": "?", "answer": "red"}\n'


@pytest.mark.parametrize("text", [ROW, ROW * 2, NESTED * 2, '{"info": "x", "question": "?"}\n'])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_rows_that_begin_as_cocos_json_does_are_told_apart_by_their_form(
    text: str, encoding: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.json").write_text(text, encoding=encoding)
    assert kind_of(tmp_path / "rows.json", "train") is None


@pytest.mark.parametrize(
    ("encoding", "setting"), [("utf-16", ""), ("utf-8-sig", ""), ("gb18030", "gb18030")]
)
def test_annotations_are_read_in_the_encoding_that_is_named_or_marked(
    encoding: str, setting: str, tmp_path: Path
) -> None:
    shutil.copytree(HERE, tmp_path, dirs_exist_ok=True)
    for name, file in [("coco", "coco.json"), ("labelme", "labelme"), ("reasonseg", "reasonseg")]:
        root = tmp_path / file
        for path in [root] if root.is_file() else root.glob("*.json"):
            text = re.sub(r'("(?:label|name)": )"rectangle"', r'\1"矩形"', path.read_text("utf-8"))
            path.write_text(text, encoding=encoding)
        assert kind_of(root, "train", setting) == name
        again = labelled.read(root, "train", name, setting)
        assert len(again) == len(labelled.read(HERE / file, "train", name))
    assert labelled.read(tmp_path / "coco.json", "train", "coco", setting)[0].question == "矩形"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        # shapes that have no place, or none inside the picture
        ({"shapes": None}, "expected `shapes` with at least one shape"),
        ({"shapes": {}}, "expected `shapes` with at least one shape"),
        ({"shapes": [{"points": [[1, 2], [3, 4]]}]}, "shape 0: expected an object with label"),
        (
            {"shapes": [shape_of("star", [[1, 2], [3, 4]])]},
            "a 'star' of 2 points; expected a rectangle",
        ),
        ({"shapes": [shape_of("circle", [[1, 2]])]}, "a 'circle' of 1 points"),
        ({"shapes": [shape_of("line", [[1, 2], [1, 9]])]}, "the line spans no area"),
        ({"shapes": [shape_of("rectangle", [[500, 2], [600, 9]])]}, "leaves its picture of 120x90"),
        ({"shapes": [shape_of("point", [[500, 2]])]}, "is no point inside its picture"),
        ({"shapes": [shape_of("point", [[float("nan"), 2]])]}, "a point that is no"),
        (
            {"shapes": [shape_of("point", [[1, 2]]), shape_of("line", [[1, 2], [3, 4]])]},
            "two labels",
        ),
        # sizes of the picture before it was turned
        (
            {"imageWidth": 90, "imageHeight": 120},
            "90x120, but the picture, turned upright, is 120x90",
        ),
    ],
)
def test_mistakes_in_labelmes_files_are_named(
    change: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    shutil.copytree(HERE / "labelme", tmp_path / "set")
    file = tmp_path / "set" / "x.json"
    tree = json.loads(file.read_text(encoding="utf-8")) | change
    file.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(UserError, match=r"x\.json") as error:
        labelled.read(tmp_path / "set", "train", "labelme")
    assert complaint in str(error.value)


def test_pictures_on_which_nothing_is_marked_are_counted(tmp_path: Path) -> None:
    root = labelled_set(tmp_path, a=None, b=None, c=None)
    for stem in ("a", "b", "c"):
        picture(tmp_path / f"{stem}.jpg")
    for stem in ("a", "c"):  # as labelme saves backgrounds
        (tmp_path / f"{stem}.json").write_text('{"shapes": [], "imagePath": "a.jpg"}')
    reading = recognition.read(root, "train", limit=1)
    assert [row.id for row in reading.rows] == ["b#it"]
    assert reading.title.endswith("label of a picture (2 without a box or point, not asked)")
    (tmp_path / "b.json").unlink()
    with pytest.raises(UserError, match="has no box with an area in the split 'train': nothing"):
        recognition.read(root, "train")


def test_pictures_of_coco_without_a_box_are_counted(tmp_path: Path) -> None:
    shutil.copytree(HERE, tmp_path / "data")
    file = tmp_path / "data" / "coco.json"
    tree = json.loads(file.read_text(encoding="utf-8"))
    tree["images"].append(tree["images"][0] | {"id": 99})
    file.write_text(json.dumps(tree), encoding="utf-8")
    assert "(1 without a box or point, not asked)" in recognition.read(file, "train").title
    assert "not asked" not in recognition.read(HERE / "coco.json", "train").title


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"text": []}, "`text` must hold at least one instruction"),
        ({"shapes": [{"label": "ignore", "points": [[1, 2], [3, 4]]}]}, "label one `target`"),
    ],
)
def test_mistakes_in_reasonsegs_files_are_named(
    change: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    shutil.copytree(HERE / "reasonseg", tmp_path / "set")
    file = tmp_path / "set" / "x.json"
    tree = json.loads(file.read_text(encoding="utf-8")) | change
    file.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(UserError, match=complaint):
        labelled.read(tmp_path / "set", "train", "reasonseg")


# --- pictures that their EXIF orientation turns


def annotated(folder: Path, orientation: int, told: tuple[int, int]) -> Path:
    """Write a JPEG that stores 200 x 100 pixels, and labelme's json of a size that is told.

    In the json's own frame, a cat lies in x 20 to 80 and y 10 to 30, a ball around (50, 40) has a
    radius of 5, and there is a nose at (20, 10).
    """
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (200, 100)).save(folder / "a.jpg", exif=exif)
    shapes = [
        {"label": "cat", "shape_type": "rectangle", "points": [[80, 10], [20, 30]]},
        {"label": "ball", "shape_type": "circle", "points": [[50, 40], [53, 44]]},
        {"label": "nose", "shape_type": "point", "points": [[20, 10]]},
    ]
    tree = {"shapes": shapes, "imageWidth": told[0], "imageHeight": told[1]}
    (folder / "a.json").write_text(json.dumps(tree))
    return folder


@pytest.mark.parametrize(
    ("orientation", "told", "cat", "ball", "nose"),
    [
        # annotated upright, as labelme does
        (1, (200, 100), (20, 10, 80, 30), (45, 35, 55, 45), (20, 10)),
        (6, (100, 200), (20, 10, 80, 30), (45, 35, 55, 45), (20, 10)),
        (8, (100, 200), (20, 10, 80, 30), (45, 35, 55, 45), (20, 10)),
        # annotated as stored: 6 turns (x, y) into (100 - y, x), 8 into (y, 200 - x)
        (6, (200, 100), (70, 20, 90, 80), (55, 45, 65, 55), (90, 20)),
        (8, (200, 100), (10, 120, 30, 180), (35, 145, 45, 155), (10, 180)),
        # mirrored as well: 5 into (y, x), 7 into (100 - y, 200 - x)
        (5, (200, 100), (10, 20, 30, 80), (35, 45, 45, 55), (10, 20)),
        (7, (200, 100), (70, 120, 90, 180), (55, 145, 65, 155), (90, 180)),
        # upside down, which the size does not tell: as it is shown
        (3, (200, 100), (20, 10, 80, 30), (45, 35, 55, 45), (20, 10)),
    ],
)
def test_shapes_are_turned_with_their_picture(
    orientation: int, told: tuple[int, int], cat: tuple[int, ...], ball: tuple[int, ...],
    nose: tuple[int, ...], tmp_path: Path,
) -> None:  # fmt: skip
    entries = labelled.read(annotated(tmp_path, orientation, told), "train", "labelme")
    width, height = open_image(entries[0].picture).size  # as the model sees it
    pixels = {
        entry.question: [
            value * (height if place % 2 else width)
            for place, value in enumerate(entry.numbers()[0])
        ]
        for entry in entries
    }
    for name, expected in {"cat": cat, "ball": ball, "nose": nose}.items():
        assert pixels[name] == pytest.approx(expected), name


@pytest.mark.parametrize(
    ("orientation", "told"),
    [
        # swapped although nothing turns; scaled down; cut
        (1, (100, 200)),
        (3, (100, 200)),
        (6, (100, 50)),
        (8, (200, 99)),
    ],
)
def test_shapes_of_another_picture_are_refused(
    orientation: int, told: tuple[int, int], tmp_path: Path
) -> None:
    folder = annotated(tmp_path, orientation, told)
    with pytest.raises(UserError, match=rf"a\.json: imageWidth .* are {told[0]}x{told[1]}, but"):
        labelled.read(folder, "train", "labelme")


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("coco", {"category": "rectangle", "id": 1, "file_name": "a.png", "licence": 4}),
        ("labelme", {"label": "rectangle", "imagePath": "x.png", "licence": 4}),
        ("reasonseg", {"is_sentence": False, "licence": 4}),
    ],
)
def test_further_fields_are_columns_for_rewards_and_named_where_they_are_left_out(
    name: labelled.Kind, columns: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(HERE, tmp_path / "data")
    root = tmp_path / "data" / ("coco.json" if name == "coco" else name)
    file = root if root.is_file() else next(root.glob("*.json"))
    tree = json.loads(file.read_text(encoding="utf-8"))
    (tree["images"][0] if name == "coco" else tree)["licence"] = 4
    tree["imageData"] = "aGVhZA=="  # the picture itself is no column
    file.write_text(json.dumps(tree), encoding="utf-8")
    reading = recognition.read(root, "train")
    got = reading.rows[0].record.plain()
    assert got.items() >= columns.items() and "imageData" not in got
    lost = {"coco": [], "labelme": ["version"], "reasonseg": ["is_sentence"]}[name]
    # flags, which labelme leaves empty, are no loss
    assert reading.left_out() == [*lost, "licence"]


def test_settings_of_reading_are_applied_to_annotations_or_refused(tmp_path: Path) -> None:
    shutil.copytree(HERE / "labelme", tmp_path / "data")
    file = next((tmp_path / "data").glob("*.json"))
    text = file.read_text(encoding="utf-8").replace('"sky"', '"天空"')
    file.write_text(text, encoding="gb18030")
    reading = recognition.read(tmp_path / "data", "train", encoding="gb18030")
    assert [row.question for row in reading.rows] == ["rectangle", "天空"]
    with pytest.raises(UserError, match=r"has no columns to name; remove data\.columns\.question"):
        recognition.read(HERE / "labelme", "train", columns={"question": "label"})


def captioned(folder: Path, boxes: list[dict[str, Any]], *captions: str | None) -> Path:
    """Write MDETR's json of referring expressions, an entry of `images` for each, and a picture."""
    Image.new("RGB", (80, 60)).save(folder / "a.png")
    size = {"file_name": "a.png", "width": 80, "height": 60, "dataset_name": "refcocog"}
    images = [{"id": number, **size, "caption": text} for number, text in enumerate(captions)]
    names = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
    file = folder / "finetune_refcocog_train.json"
    tree = {"info": [], "licenses": [], "images": images, "annotations": boxes, "categories": names}
    file.write_text(json.dumps(tree))
    return file


def of_phrase(image: int, bbox: list[float], end: int = 9, **more: Any) -> dict[str, Any]:
    positive = {"tokens_positive": [[0, end]], "iscrowd": 0, "category_id": 1}
    return {"image_id": image, "bbox": bbox, **positive, **more}


def test_a_referring_expression_in_a_caption_is_asked_and_not_the_category(tmp_path: Path) -> None:
    boxes = [
        of_phrase(0, [8, 6, 24, 30]),
        of_phrase(1, [40, 30, 32, 24]),
        of_phrase(1, [0, 0, 40, 30], iscrowd=1),
    ]
    file = captioned(tmp_path, boxes, "the woman in red ", "the others")
    reading = recognition.read(file, "train")
    assert [(row.id, row.question) for row in reading.rows] == [
        ("0", "the woman in red"),
        ("1", "the others"),
    ]
    # all boxes of a caption are its answer
    assert [row.answer for row in reading.rows] == [
        [[0.1, 0.1, 0.4, 0.6]],
        [[0.5, 0.5, 0.9, 0.9], [0, 0, 0.5, 0.5]],
    ]
    assert reading.title == "COCO's json with captions, a question for each caption"
    assert "caption" not in reading.left_out()


@pytest.mark.parametrize(
    ("boxes", "captions", "message"),
    [
        ([of_phrase(0, [8, 6, 24, 30])], (None,), "image 0: boxes without `caption`"),
        (
            [of_phrase(0, [8, 6, 24, 30]), of_phrase(1, [8, 6, 24, 30])],
            ("the woman", ""),
            "image 1: boxes without `caption`, while image 0 has it",
        ),
        (
            [of_phrase(0, [8, 6, 24, 30]), of_phrase(0, [0, 0, 24, 30], 5)],
            ("the woman and a dog",),
            "image 0: boxes of 2 phrases of its caption",
        ),
        (
            [
                of_phrase(0, [8, 6, 24, 30], tokens_positive=[]),
                of_phrase(0, [0, 0, 24, 30], tokens_positive=[], category_id=2),
            ],
            ("A woman walks.",),
            "image 0: boxes of 2 categories, and a caption; remove `caption`",
        ),
    ],
)
def test_a_caption_that_is_not_what_its_boxes_show_is_refused(
    boxes: list[dict[str, Any]], captions: tuple[str | None, ...], message: str, tmp_path: Path
) -> None:
    file = captioned(tmp_path, boxes, *captions)
    with pytest.raises(UserError, match=re.escape(message)):
        recognition.read(file, "train")

"""The files of COCO's instances, where their pictures lie, and rows beside them."""

import json
import shutil
from pathlib import Path

import pytest
from fakes.folders import RECORDS

from vrft import coco
from vrft.annotations import coco_files
from vrft.errors import UserError
from vrft.formats import recognition

HERE = RECORDS / "detection"
ONE = "instances_val2017.json"


def laid_out(root: Path, file: str, pictures: str) -> Path:
    """Copy COCO's file to a place in a folder, and its pictures to another; return the file."""
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "coco/annotations" / ONE, root / file)
    shutil.copytree(HERE / "coco/val2017", root / pictures, dirs_exist_ok=True)
    return root / file


@pytest.mark.parametrize(
    ("file", "pictures"),
    [
        (f"annotations/{ONE}", "annotations"),
        (f"annotations/{ONE}", "val2017"),
        (f"annotations/{ONE}", "images"),
        (f"annotations/{ONE}", "images/val2017"),
        (f"annotations/{ONE}", ""),
        ("annotations/val2017.json", "val2017"),
        ("json/val2017.json", "images"),
    ],
)
def test_one_file_has_its_pictures_in_one_of_the_usual_folders(
    file: str, pictures: str, tmp_path: Path
) -> None:
    given = coco.find(laid_out(tmp_path, file, pictures), "whatever")
    assert given is not None
    picture = given.pictures[0]
    assert picture.source() == tmp_path / pictures / "000000000139.jpg"
    if file.startswith("annotations/") and pictures != "annotations":
        folder = coco.find(tmp_path, "val2017")
        assert folder is not None and folder.pictures[0].source() == picture.file


def test_the_folder_of_the_annotations_stands_for_that_above_it(tmp_path: Path) -> None:
    annotations = laid_out(tmp_path, f"annotations/{ONE}", "val2017").parent
    reading = recognition.read(annotations, "val2017")
    assert reading.name == "coco"
    assert reading.rows[0].files() == (tmp_path / "val2017/000000000139.jpg",)
    with pytest.raises(UserError, match=r"no split 'train' in .*; there is val2017$"):
        recognition.read(annotations, "train")


def test_pictures_in_no_usual_folder_are_refused_with_those_that_were_looked_in(
    tmp_path: Path,
) -> None:
    for file in (f"annotations/{ONE}", f"json/{ONE}"):
        given = coco.find(laid_out(tmp_path, file, "json/val"), "whatever")
        assert given is not None
        at = (tmp_path / file).parent
        looked = [f"{tmp_path}/val2017", f"{tmp_path}/images/val2017", f"{tmp_path}/images"]
        looked += [str(tmp_path)] if at.name == "annotations" else []
        message = f"no picture {at}/000000000139.jpg; unpack COCO's pictures there, or into "
        with pytest.raises(UserError) as error:
            given.pictures[0].source()
        assert str(error.value) == message + ", ".join(looked)


def test_a_file_names_no_picture_above_a_folder_of_any_name(tmp_path: Path) -> None:
    given = coco.find(laid_out(tmp_path, f"json/{ONE}", ""), "whatever")
    assert given is not None
    with pytest.raises(UserError, match="no picture"):
        given.pictures[0].source()


def test_rows_come_before_annotations_in_a_folder_beside_them(tmp_path: Path) -> None:
    laid_out(tmp_path, f"annotations/{ONE}", "val2017")
    row = {"image": "val2017/000000000139.jpg", "question": "?", "answer": "red"}
    (tmp_path / "train.jsonl").write_text(json.dumps(row))
    assert recognition.read(tmp_path, "train").name == "canonical"
    assert recognition.read(tmp_path, "val2017").name == "coco"
    # and a folder of other pictures' json is no COCO
    (tmp_path / "annotations" / ONE).unlink()
    (tmp_path / "annotations" / "a.json").write_text('{"shapes": []}')
    assert recognition.read(tmp_path, "train").name == "canonical"
    with pytest.raises(UserError, match=r"no split 'val2017'; expected val2017\.parquet"):
        recognition.read(tmp_path, "val2017")


@pytest.mark.parametrize(
    ("names", "split", "rows"),
    [
        (["train.jsonl"], "train", True),
        (["data/train-00000-of-00001.parquet"], "train", True),
        (["train_small.csv"], "train", True),
        (["train.jsonl"], "val", False),
        (["annotations/train.json", "val2017/a.jpg"], "train", False),
        ([], "[", False),
    ],
)
def test_rows_of_a_split_are_files_that_it_names(
    names: list[str], split: str, rows: bool, tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert coco_files.has_rows(tmp_path, split) is rows
    assert not coco_files.has_rows(tmp_path / ("x" * 300), split)


def test_cocos_json_named_by_a_split_is_no_file_of_rows(tmp_path: Path) -> None:
    laid_out(tmp_path, "train.json", "images")
    assert not coco_files.has_rows(tmp_path, "train")
    assert coco_files.is_instances(tmp_path / "train.json")

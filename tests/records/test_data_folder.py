"""No picture that data name lies outside their folder, by whatever path, link or reader."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fakes.folders import RECORDS
from PIL import Image

from vrft import config, records, registry
from vrft.errors import UserError
from vrft.records import data_folder, hub
from vrft.task import Task

BOX = {"answer": [1, 2, 3, 4]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder of data, with a picture in it and another one beside it."""
    folder = tmp_path / "data"
    (folder / "pictures").mkdir(parents=True)
    for path in (folder / "pictures" / "in.png", tmp_path / "private.png"):
        Image.new("RGB", (56, 56), "red").save(path)
    (folder / "link.png").symlink_to(tmp_path / "private.png")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "alias.png").symlink_to(folder / "pictures" / "in.png")
    return folder


def task(name: str, data_dir: Path, *settings: str) -> Task[Any]:
    tree = config.load(None, [f"task={name}", f"task.data_dir={data_dir}", *settings])
    return registry.build(tree.task)


def rows(folder: Path, picture: Any, **columns: Any) -> Path:
    path = folder / "train.jsonl"
    row = {"images": [picture], "question": "Where?", "category": "cup", **columns}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    return path


def outside(data: Path) -> list[Any]:
    """Return the ways in which a row names the picture beside the data's folder."""
    private = data.parent / "private.png"
    return [
        str(private),
        "../private.png",
        "pictures/../../private.png",
        private.as_uri(),
        {"path": str(private)},
        {"bytes": None, "path": "../private.png"},
        [[str(private)]],
        "link.png",
        "linked/private.png",
        f"/proc/self/root{private}",
    ]


def test_paths_that_leave_the_folder_are_refused_and_name_the_setting(data: Path) -> None:
    refused = r"^{}: line 1: the picture .*png lies outside the data's folder .*; data\.allow_outs"
    for picture in outside(data):
        path = rows(data, picture)
        (row,) = records.read(path, "train")
        with pytest.raises(UserError, match=refused.format(path)):
            row.images("images")
        (row,) = records.read(data, "train", allow_outside=True)
        assert row.images("images")[0].suffix == ".png"


def test_paths_that_stay_in_the_folder_are_read(data: Path) -> None:
    inside = data / "pictures" / "in.png"
    for picture in (
        "pictures/in.png",
        "pictures/../pictures/in.png",
        str(inside),
        inside.as_uri(),
        "alias.png",
        "linked/data/pictures/in.png",
    ):
        (row,) = records.read(rows(data, picture), "train")
        assert len(row.images("images")) == 1


def test_a_folder_that_is_given_by_a_link_is_the_folder_behind_it(data: Path) -> None:
    (data.parent / "given").symlink_to(data)
    rows(data, str(data / "pictures" / "in.png"))
    for source in (data.parent / "given", data.parent / "given" / "train.jsonl"):
        (row,) = records.read(source, "train")
        assert len(row.images("images")) == 1


def test_the_folder_above_the_rows_counts_where_it_is_the_data_dir(data: Path) -> None:
    (data / "data").mkdir()
    path = rows(data / "data", "../pictures/in.png")
    (row,) = records.read(data, "train")
    assert len(row.images("images")) == 1
    (row,) = records.read(path, "train")
    with pytest.raises(UserError, match="lies outside the data's folder"):
        row.images("images")


def test_a_folder_of_a_longer_name_is_another_one(data: Path) -> None:
    other = data.with_name("data2")
    shutil.copytree(data / "pictures", other)
    (row,) = records.read(rows(data, "../data2/in.png"), "train")
    with pytest.raises(UserError, match="lies outside the data's folder"):
        row.images("images")


def test_a_snapshot_of_the_hub_includes_its_blobs_alone(tmp_path: Path, data: Path) -> None:
    repository = tmp_path / "hub" / "datasets--owner--name"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    shutil.copy(data / "pictures" / "in.png", repository / "blobs" / "f00d")
    (snapshot / "a.png").symlink_to("../../blobs/f00d")
    (snapshot / "b.png").symlink_to(tmp_path / "private.png")
    assert data_folder.is_inside(snapshot / "a.png", (snapshot,))
    assert not data_folder.is_inside(snapshot / "b.png", (snapshot,))


def test_rows_of_the_hub_name_pictures_in_its_caches_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path
) -> None:
    monkeypatch.setattr(hub, "caches", lambda: (tmp_path / "hub",))
    shutil.copytree(data / "pictures", tmp_path / "hub")
    for picture, allowed in (
        (tmp_path / "hub" / "in.png", True),
        (tmp_path / "private.png", False),
    ):
        row = ({"image": {"bytes": None, "path": str(picture)}}, "owner/name train: row 0", ())
        monkeypatch.setattr(hub, "rows", lambda *asked, row=row: iter([row]))
        (record,) = records.read("owner/name", "train")
        if allowed:
            assert record.images("image") == (picture,)
        else:
            with pytest.raises(UserError, match=r"row 0: the picture .* lies outside the"):
                record.images("image")


def test_the_caches_of_the_hub_are_folders() -> None:
    assert {"hub", "datasets"} <= {folder.name for folder in hub.caches()}


def test_rows_that_a_program_gave_name_any_picture(tmp_path: Path, data: Path) -> None:
    from vrft.api import memory

    source = memory.data_source([{"image": str(tmp_path / "private.png"), "answer": 1}], {})
    (row,) = records.read(source, "train")
    assert row.images("image") == (tmp_path / "private.png",)


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("vqa", {"answer": "red"}),
        ("grounding", BOX),
        ("counting", {"answer": 3}),
        ("geoqa", {"answer": "3"}),
        ("spatial", {"options": ["a", "b"], "answer": "a"}),
        ("detection", {"answer": [{"Position": [0, 0, 9, 9]}]}),
        ("fewshot_classification", {"label": "rose"}),
    ],
)
def test_every_task_of_rows_refuses_and_takes_the_setting(
    data: Path, name: str, columns: dict[str, Any]
) -> None:
    path = rows(data, "../private.png", **columns)
    with pytest.raises(UserError, match=r"data\.allow_outside=true"):
        task(name, path).samples("train")
    (sample,) = task(name, path, "data.allow_outside=true").samples("train")
    assert len(sample.images) == 1


def test_pictures_in_folders_of_classes_may_be_no_links_to_elsewhere(data: Path) -> None:
    folder = data / "classes" / "rose"
    folder.mkdir(parents=True)
    (folder / "a.png").symlink_to(data.parent / "private.png")
    with pytest.raises(UserError, match=r"a\.png: the picture .* lies outside"):
        task("fewshot_classification", data / "classes").samples("train")
    given = task("fewshot_classification", data / "classes", "data.allow_outside=true")
    assert len(given.samples("train")) == 1


@pytest.mark.parametrize("name", ["grounding", "detection"])
@pytest.mark.parametrize("way", ["file", "folder", "roboflow"])
def test_cocos_json_names_no_picture_outside(tmp_path: Path, name: str, way: str) -> None:
    tree = json.loads((RECORDS / "formats" / "coco.json").read_text(encoding="utf-8"))
    place = {"file": "coco/a.json", "folder": "coco/annotations/instances_train.json",
             "roboflow": "coco/train/_annotations.coco.json"}[way]  # fmt: skip
    start = {"file": "..", "folder": "../..", "roboflow": "../.."}[way]
    for image in tree["images"]:
        shutil.copy(RECORDS / "formats" / image["file_name"], tmp_path)
        image["file_name"] = f"{start}/{image['file_name']}"
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / "coco" / "train").mkdir(exist_ok=True)
    (tmp_path / place).write_text(json.dumps(tree), encoding="utf-8")
    source = tmp_path / place if way == "file" else tmp_path / "coco"
    with pytest.raises(UserError, match=r"image 1: the picture .*a\.png lies outside"):
        task(name, source).samples("train")
    assert len(task(name, source, "data.allow_outside=true").samples("train")) == 2


@pytest.mark.parametrize(("name", "kind"), [("grounding", "labelme"), ("grounding", "reasonseg"),
                                            ("lisa_grounding", "reasonseg")])  # fmt: skip
def test_pictures_beside_json_may_be_no_links_to_elsewhere(
    tmp_path: Path, name: str, kind: str
) -> None:
    folder = tmp_path / "set" / "train"
    shutil.copytree(RECORDS / "formats" / kind, folder)
    for picture in [*folder.glob("*.png"), *folder.glob("*.jpg")]:
        picture.rename(tmp_path / picture.name)
        picture.symlink_to(tmp_path / picture.name)
    with pytest.raises(UserError, match=r"\.json: the picture .* lies outside the data's folder"):
        task(name, tmp_path / "set").samples("train")
    assert task(name, tmp_path / "set", "data.allow_outside=true").samples("train")


def test_conversations_of_visual_rft_name_no_picture_outside(data: Path) -> None:
    said = ["<img>../private.png</img> the instruction: the cup", "(1,1),(9,9)"]
    row = {"conversations": [{"value": text} for text in said]}
    path = data / "rows.json"
    path.write_text(json.dumps([row]), encoding="utf-8")
    with pytest.raises(UserError, match=r"rows\.json: row 0: the picture .* lies outside"):
        task("lisa_grounding", path).samples("train")
    assert task("lisa_grounding", path, "data.allow_outside=true").samples("train")


def test_links_in_a_circle_are_no_picture(data: Path) -> None:
    (data / "a.png").symlink_to(data / "b.png")
    (data / "b.png").symlink_to(data / "a.png")
    (row,) = records.read(rows(data, "a.png"), "train")
    with pytest.raises(UserError, match="line 1: no picture"):
        row.images("images")


@pytest.mark.parametrize("words", [["check"], ["train", "--dry-run"], ["train"]])
def test_check_dry_run_and_run_refuse_the_same(
    data: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from vrft import cli

    path = rows(data, "../private.png", answer="red")
    out = data.parent / "run"
    setting = [] if words == ["check"] else [f"train.output_dir={out}"]
    assert cli.main([*words, "--data", str(path), "model=demo", *setting]) == 2
    said = capsys.readouterr().err
    assert said.count("data.allow_outside=true") == 1 and "line 1: the picture" in said
    assert not out.exists()


def test_a_relative_folder_means_that_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"")
        # A notebook may change its directory between two sets of rows.
        monkeypatch.chdir(tmp_path / name)
        assert data_folder.is_inside(Path("a.png"), [Path()])

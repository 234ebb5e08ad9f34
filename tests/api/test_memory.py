"""Rows in memory: what becomes of pictures, columns and splits, and what is refused by name."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
from fakes.folders import RECORDS
from PIL import Image

from vrft.api import memory
from vrft.errors import UserError
from vrft.formats import recognition

RED = Image.new("RGB", (56, 28), "red")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))
    RED.save("a.png")


def png() -> bytes:
    file = io.BytesIO()
    RED.save(file, "PNG")
    return file.getvalue()


def stored(rows: Any, columns: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Return rows as they are stored."""
    path = Path(memory.data_source(rows, columns or {}))
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pixels(path: str) -> tuple[tuple[int, int], Any]:
    assert Path(path).is_absolute()
    with Image.open(path) as image:
        return image.size, image.convert("RGB").getpixel((0, 0))


def test_paths_and_hub_ids_stay_as_they_are() -> None:
    assert memory.data_source("owner/name", {}) == "owner/name"
    assert memory.data_source(Path("rows.jsonl"), {}) == "rows.jsonl"


@pytest.mark.parametrize(
    "value",
    [
        # of Pillow; of NumPy; bytes; a path relative to the script; an object with a path
        RED,
        np.full((28, 56, 3), (255, 0, 0), dtype=np.uint8),
        png(),
        "a.png",
        Path("a.png"),
        # as the hub gives it; as a data URI
        {"bytes": png(), "path": None},
        {"bytes": None, "path": "a.png"},
    ],
)
def test_a_picture_of_any_form_becomes_the_path_of_a_file(value: Any) -> None:
    (row,) = stored([{"images": [value], "question": "?", "answer": 1}])
    assert pixels(row["images"][0]) == ((56, 28), (255, 0, 0))
    (row,) = stored([{"image": value, "question": "?", "answer": 1}])
    assert pixels(row["image"]) == ((56, 28), (255, 0, 0))


def test_pictures_in_messages_and_in_renamed_columns_are_found() -> None:
    parts = [{"type": "image", "image": RED}, {"type": "text", "text": "a.png?"}]
    link = {"type": "image_url", "image_url": {"url": "a.png"}}
    empty = {"type": "image"}
    (row,) = stored([{"messages": [{"role": "user", "content": [*parts, link, empty]}]}])
    first, text, second, third = row["messages"][0]["content"]
    assert pixels(first["image"])[0] == pixels(second["image_url"])[0] == (56, 28)
    assert (text["text"], third) == ("a.png?", empty)  # a text is no path
    (row,) = stored([{"photo": "a.png", "name": "a.png"}], {"images": "photo"})
    assert pixels(row["photo"])[0] == (56, 28) and row["name"] == "a.png"


def test_numbers_of_numpy_and_names_of_classes_are_kept() -> None:
    (row,) = stored([{"answer": np.int64(3), "box": np.array([1.5, 2])}])
    assert row == {"answer": 3, "box": [1.5, 2.0]}
    features = datasets.Features(
        {"image": datasets.Image(), "answer": datasets.ClassLabel(names=["cat", "dog"])}
    )
    rows = datasets.Dataset.from_dict({"image": [RED, RED], "answer": [1, 0]}, features=features)
    for data in (rows, rows.with_format("numpy"), rows.to_iterable_dataset()):
        first, second = stored(data)
        assert (first["answer"], second["answer"]) == ("dog", "cat")
        assert pixels(first["image"]) == ((56, 28), (255, 0, 0))


def test_a_transform_of_a_dataset_is_refused_and_not_left_out() -> None:
    rows = datasets.Dataset.from_dict({"q": ["1 + 1?"], "answer": [2]})
    asked = rows.with_transform(lambda batch: {"question": batch["q"], "answer": batch["answer"]})
    for data in (asked, {"train": asked}):
        with pytest.raises(UserError, match=r"transform would be left out.*dataset\.map"):
            memory.data_source(data, {})


def test_columns_that_a_format_hides_are_no_part_of_the_rows() -> None:
    rows = datasets.Dataset.from_dict({"question": ["1 + 1?"], "answer": [2], "images": [["no"]]})
    shown = ["question", "answer"]
    for name in ("numpy", None):
        assert stored(rows.with_format(name, columns=shown)) == stored(rows.select_columns(shown))
    with pytest.raises(UserError, match=r"no picture no"):
        stored(rows.with_format("numpy", columns=shown, output_all_columns=True))


def test_a_mapped_stream_that_tells_no_types_is_read() -> None:
    stream = datasets.Dataset.from_dict(
        {"image": [RED]}, features=datasets.Features({"image": datasets.Image()})
    ).to_iterable_dataset()
    (row,) = stored(stream.map(lambda row: {"image": row["image"].rotate(90, expand=True)}))
    assert pixels(row["image"])[0] == (28, 56)


def test_a_data_frame_is_rows_and_its_gaps_are_null() -> None:
    table = {"question": ["1 + 1?", "1 + 2?"], "answer": [2, 3]}
    assert stored(pandas.DataFrame(table)) == stored(datasets.Dataset.from_dict(table))
    gaps = pandas.DataFrame(table | {"answer": [2, None], "note": ["", float("nan")]})
    assert stored(gaps)[1] == {"question": "1 + 2?", "answer": None, "note": None}
    with pytest.raises(UserError, match=r"answer is empty \(null\)"):
        recognition.read(memory.data_source(gaps, {}), "train")
    dated = pandas.DataFrame(table | {"when": pandas.to_datetime(["2026-01-01", None])})
    with pytest.raises(UserError, match=r"row 0: when holds .* write it as a text, or leave"):
        stored(dated)


@pytest.mark.parametrize(
    "name", ["canonical.jsonl", "trl.jsonl", "openai.jsonl", "swift.jsonl", "vlm_r1.jsonl"]
)
def test_rows_in_memory_read_like_their_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(RECORDS / "formats")
    rows = [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]
    source = memory.data_source(rows, {})
    before, now = recognition.read(name, "train"), recognition.read(source, "train")
    assert (now.name, now.unit) == (before.name, before.unit)
    for old, new in zip(before.rows, now.rows, strict=True):
        assert (old.id, old.question, old.answer) == (new.id, new.question, new.answer)
        assert [f.read_bytes() for f in old.files()] == [f.read_bytes() for f in new.files()]


FORMS = [
    # of Pillow; bytes; the hub's, of a datasets.Image that is not decoded; of NumPy, which datasets
    # keeps in lists of numbers
    lambda colour: Image.new("RGB", (28, 28), colour),
    lambda colour: content(colour),
    lambda colour: {"bytes": content(colour), "path": "gone.png"},
    lambda colour: np.asarray(Image.new("RGB", (28, 28), colour)),
]


def content(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (28, 28), colour).save(file, "JPEG")
    return file.getvalue()


def read(rows: Any, columns: Mapping[str, str] | None = None) -> list[list[Path]]:
    """Return the pictures of each row of a split."""
    source = memory.data_source(rows, columns or {})
    return [
        list(row.files()) for row in recognition.read(source, "train", columns=columns or {}).rows
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [list, datasets.Dataset.from_list])
def test_pictures_in_numbered_columns_are_joined_as_those_of_a_file(kind: Any, form: Any) -> None:
    row = {"question": "Which?", "answer": "red", "image_1": form("red"), "image_2": form("blue")}
    rows = kind([row])
    for columns in ({}, {"images": "image_1"}):
        (pictures,) = read(rows, columns)
        colours = [Image.open(path).convert("RGB").getpixel((9, 9)) for path in pictures]
        assert [max(range(3), key=colour.__getitem__) for colour in colours] == [0, 2]  # type: ignore[union-attr, arg-type, index]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [list, datasets.Dataset.from_list])
def test_a_picture_in_a_column_that_no_format_reads_is_refused(kind: Any, form: Any) -> None:
    rows = kind([{"question": "Which?", "answer": "red", "chart": form("red")}])
    with pytest.raises(UserError, match=r"column .chart. holds one; name it by data\.columns\.im"):
        read(rows)
    assert len(read(rows, {"images": "chart"})[0]) == 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "kind",
    [
        list,
        pandas.DataFrame,
        datasets.Dataset.from_list,
        lambda rows: datasets.Dataset.from_list(rows).to_iterable_dataset(),
    ],
)
def test_a_picture_is_read_from_any_container_and_column(kind: Any, form: Any) -> None:
    asked: dict[str, Any] = {"question": "Which?", "answer": "red"}
    part = [{"type": "image", "image": form("red")}, {"type": "text", "text": "Which?"}]
    said = [{"type": "text", "text": "red"}]
    turns = [{"role": "user", "content": part}, {"role": "assistant", "content": said}]
    for row in (
        {**asked, "images": [form("red"), form("blue")]},
        {**asked, "image": form("red")},
        {"messages": turns},
    ):
        (pictures,) = read(kind([row]))
        assert len(pictures) == len(row.get("images", [1]))
        assert pixels(str(pictures[0]))[0] == (28, 28)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 56, 56), dtype=np.uint8),  # channels first
        np.zeros((56, 56, 3), dtype=np.float32),  # in [0, 1]
        np.full((56, 56, 3), 256),
    ],
)
@pytest.mark.parametrize("kind", [list, datasets.Dataset.from_list])
def test_pixels_that_are_no_picture_are_refused_and_not_left_out(kind: Any, array: Any) -> None:
    with pytest.raises(UserError, match=r"row 0: a picture as an array of .* height x"):
        read(kind([{"question": "Which?", "answer": "red", "decoded_image": array}]))


def test_arrays_that_are_no_pixels_stay_numbers() -> None:
    given = {"mask": np.ones((28, 28), bool), "boxes": np.ones((30, 4), int), "n": np.int64(3)}
    points = np.ones((17, 28, 3)).tolist()
    (row,) = stored([{"question": "?", "answer": 1, "points": points, "image_1": 3, **given}])
    assert row["points"] == points and row["n"] == 3 == row["image_1"]
    assert np.shape(row["boxes"]) == (30, 4) and np.shape(row["mask"]) == (28, 28)


def test_paths_in_numbered_columns_are_those_of_the_script() -> None:
    row = {"question": "Which?", "answer": "red", "image_1": "a.png", "image_2": "a.png"}
    assert read([row]) == [[Path("a.png").absolute()] * 2]
    (kept,) = stored([{"question": "?", "answer": 1, "image_1": "a red square", "image": "a.png"}])
    assert kept["image_1"] == "a red square"


def test_lists_that_pandas_has_read_are_lists(tmp_path: Path) -> None:
    rows = [{"question": "Which?", "options": ["red", "blue"], "answer": "red",
             "images": [{"bytes": png(), "path": None}] * 2}]  # fmt: skip
    datasets.Dataset.from_list(rows).to_parquet("rows.parquet")
    frame = pandas.read_parquet("rows.parquet")
    assert [len(pictures) for pictures in read(frame)] == [2]
    assert stored(frame)[0]["options"] == ["red", "blue"]


def test_the_same_rows_are_the_same_file_and_others_are_another() -> None:
    one, two = [{"question": "?", "answer": 1}], [{"question": "?", "answer": 2}]
    assert memory.data_source(one, {}) == memory.data_source(iter(one), {})
    assert memory.data_source(one, {}) != memory.data_source(two, {})


def test_splits_become_a_folder() -> None:
    splits = {
        "train": [{"question": "2 + 2?", "answer": 4}],
        "test": datasets.Dataset.from_dict({"question": ["1 + 1?"], "answer": [2]}),
    }
    source = memory.data_source(splits, {})
    assert [recognition.read(source, split).rows[0].answer for split in splits] == [4, 2]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        # no rows; a row without names; a value that JSON cannot hold; NaN; a missing picture
        ([], "data: no rows"),
        (3, "data: expected a path, a hub id or rows, got 3 of type int"),
        (["a", "b"], "row 0: expected an object with named values, got 'a'"),
        ([{"answer": 1}, {"answer": object()}], "row 1: answer holds .* which JSON cannot hold"),
        ([{"answer": float("nan")}], "row 0: answer holds nan of type float"),
        ([{"images": ["b.png"]}], "row 0: no picture b.png; correct the path"),
        ({"train": [{"image": b"broken"}]}, "train, row 0: a picture that cannot be read"),
        ([{"images": [3]}], "row 0: a picture is a path or the bytes of a file, not 3"),
        # a row and columns in place of splits; a name that is no split's
        ({"question": "?", "answer": 1}, "rows by split, but 'question' is '\\?' of type str"),
        ({"question": ["?"], "answer": [1]}, "datasets.Dataset.from_dict\\(columns\\) for columns"),
        ({"../train": [{"answer": 1}]}, "rows by split, but '../train' is"),
    ],
)
def test_rows_that_cannot_be_kept_are_refused_by_number_and_column(
    data: Any, complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        memory.data_source(data, {})


def test_a_cache_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(Path("a.png").absolute()))
    with pytest.raises(UserError, match=r"cannot be written .*; set VRFT_CACHE to another folder"):
        memory.data_source([{"answer": 1}], {})

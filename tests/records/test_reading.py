"""Rows of every kind of file and of the hub, read alike; mistakes named by file and row."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from fakes.folders import RECORDS

from vrft.errors import UserError
from vrft.images import open_image
from vrft.records import Record
from vrft.records import reading as records

HERE = RECORDS / "records"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("there", [(0, 2), (1, 2, 3), (0,)])
def test_a_split_without_one_of_its_numbered_parts_is_refused(
    there: tuple[int, ...], tmp_path: Path
) -> None:
    for number in there:
        parquet(tmp_path / "data" / f"train-{number:05}-of-00004.parquet", [{"n": number}])
    parquet(tmp_path / "data" / "test-00000-of-00001.parquet", [{"n": 9}])
    missing = min({0, 1, 2, 3} - set(there))
    with pytest.raises(
        UserError, match=rf"data: train-0000{missing}-of-00004\.parquet is missing, "
    ):
        list(records.read(tmp_path, "train"))
    assert len(list(records.read(tmp_path, "test"))) == 1


HASH, OTHER_HASH = "-725687bf7a18d64b", "-0123456789abcdef"


def test_parts_with_a_hash_behind_are_counted_too(tmp_path: Path) -> None:
    parquet(tmp_path / "data" / f"train-00000-of-00002{HASH}.parquet", [{"n": 0}])
    with pytest.raises(UserError, match=r"data: train-00001-of-00002\.parquet is missing, "):
        list(records.read(tmp_path, "train"))
    parquet(tmp_path / "data" / f"train-00001-of-00002{OTHER_HASH}.parquet", [{"n": 1}])
    assert [row.values["n"] for row in records.read(tmp_path, "train")] == [0, 1]


@pytest.mark.parametrize(
    "other", [f"train-00000-of-00001{OTHER_HASH}", "train-00000-of-00001", "train-00000-of-00002"]
)
def test_parts_of_two_versions_of_a_split_are_refused(other: str, tmp_path: Path) -> None:
    for name in (f"train-00000-of-00001{HASH}", other):
        parquet(tmp_path / "data" / f"{name}.parquet", [{"n": 0}])
    with pytest.raises(UserError, match=r"are parts of two versions of the split; remove"):
        list(records.read(tmp_path, "train"))


def test_a_split_that_is_not_there_is_answered_with_the_files_of_data(tmp_path: Path) -> None:
    parquet(tmp_path / "data" / "validation-00000-of-00001.parquet", [{"n": 9}])
    (tmp_path / "README.md").write_text("")
    with pytest.raises(
        UserError, match=r"no split 'val'; .*there is data/validation-00000-of-00001"
    ):
        list(records.read(tmp_path, "val"))


def test_the_canonical_rows_are_read_in_order() -> None:
    rows = list(records.read(HERE / "canonical.jsonl", "test"))
    assert [row.id for row in rows] == ["a1", "a2", "2", "7"]
    assert [row.row for row in rows] == [0, 1, 2, 3]
    # The third line of the file is empty: lines are named as an editor counts them.
    assert [row.where.rpartition(": ")[2] for row in rows] == [
        "line 1", "line 2", "line 4", "line 5",
    ]  # fmt: skip
    questions = [row.text("question", "prompt") for row in rows]
    assert questions == ["How many cubes?", "Which side?", "Wie groß?", ""]
    assert [row.text("answer") for row in rows] == ["3", "left", "2.50", ""]
    assert (rows[0].number("answer"), rows[2].number("answer")) == (3.0, 2.5)
    assert rows[1].texts("options") == ("left, a bit", "right")


def test_a_named_column_that_no_row_is_asked_for_is_refused(tmp_path: Path) -> None:
    file = write(
        tmp_path / "rows.jsonl", '{"q": "?", "a": 1, "o": 2}\n{"q": "!", "a": 3, "o": 4}\n'
    )

    def asked(row: Record) -> tuple[str, float]:
        return row.text("question"), row.number("answer", "solution")

    right = {"question": "q", "answer": "a"}
    assert records.read_each(records.read(file, "", columns=right), asked) == [("?", 1), ("!", 3)]
    for name, told in (
        ("anser", "did you mean 'answer'?"),
        ("level", "'level', but for answer, question (rewards get columns by the data's names)"),
        # Another column answers: the one that is named would be left out in silence.
        ("solution", "'solution', but for answer, question"),
    ):
        rows = records.read(file, "", columns={**right, name: "o"})
        with pytest.raises(UserError, match=re.escape(told)) as caught:
            records.read_each(rows, asked)
        assert str(caught.value).startswith(f"data.columns.{name}=o: these rows are not asked for")
    assert records.read_each(iter(()), asked) == []


def test_pictures_of_every_kind_are_found_and_open_upright() -> None:
    found = [row.images("images", "image") for row in records.read(HERE / "canonical.jsonl", "")]
    assert [[path.name for path in paths] for paths in found] == [
        ["plain.png"], ["cmyk.jpg", "palette.png"], ["turned.jpg"], ["plain.png"],
    ]  # fmt: skip
    sizes = [open_image(path).size for paths in found for path in paths]
    assert sizes == [(8, 6), (8, 6), (8, 6), (6, 8), (8, 6)]  # EXIF turns the fourth


def test_rows_of_trl_are_read_as_they_are() -> None:
    first, second = records.read(HERE / "trl.json", "train")
    assert (first.text("prompt"), second.text("prompt")) == ("How many?", "How many more?")
    assert first.text("answer", "solution") == "<answer>4</answer>"
    assert first.where.endswith("trl.json: row 0") and second.id == "1"
    assert first.images("images") == second.images("images", "image")


def test_parquet_holds_its_pictures_and_its_lists(tmp_path: Path, content: bytes) -> None:
    row = {"image_bytes": [content, content], "options": ["a, b", "c"], "nothing": None, "n": 2}
    path = parquet(tmp_path / "SAT_train.parquet", [row])
    (read,) = records.read(tmp_path, "train")
    assert read.where == f"{path}: row 0"
    assert read.texts("options") == ("a, b", "c")
    assert read.get("nothing") is None
    first, second = read.images("image_bytes")
    assert first == second  # the same picture is kept once
    assert open_image(first).size == (9, 5)


@pytest.mark.parametrize(
    ("files", "read"),
    [
        # one file named after the split, of each kind
        (["train.jsonl", "test.jsonl"], ["train.jsonl"]),
        (["train.json", "test.json"], ["train.json"]),
        # shards, in the order of their names
        (["train-00001-of-2.jsonl", "train-00000-of-2.jsonl", "test-00000-of-1.jsonl"],
         ["train-00000-of-2.jsonl", "train-00001-of-2.jsonl"]),
        # the split behind the name of the data, and before a part's
        (["SAT_train.jsonl", "SAT_test.jsonl"], ["SAT_train.jsonl"]),
        (["train_2d.jsonl", "train_3d.jsonl"], ["train_2d.jsonl", "train_3d.jsonl"]),
        # the hub's folder, and a folder of the split's own
        (["data/train-0.jsonl", "data/test-0.jsonl"], ["train-0.jsonl"]),
        (["train/part2.jsonl", "train/part1.jsonl", "test/part1.jsonl"],
         ["part1.jsonl", "part2.jsonl"]),
        # two kinds of the same: the first kind counts, not both
        (["train.jsonl", "train.json"], ["train.jsonl"]),
        # the very name, whatever is behind another
        (["train.jsonl", "train_small.parquet"], ["train.jsonl"]),
        (["train.csv", "SAT_train.parquet", "data/train.parquet"], ["train.csv"]),
        (["train_small.jsonl", "data/train.parquet"], ["train_small.jsonl"]),
        # names that only contain the letters
        (["train.jsonl", "strain.jsonl", "training.jsonl"], ["train.jsonl"]),
    ],
)  # fmt: skip
def test_a_folder_tells_its_splits_by_names(
    files: list[str], read: list[str], tmp_path: Path
) -> None:
    for name in files:
        row = {"name": Path(name).name}
        if name.endswith(".parquet"):
            parquet(tmp_path / name, [row])
            continue
        texts = {".json": json.dumps([row]), ".csv": f"name\n{row['name']}\n"}
        write(tmp_path / name, texts.get(Path(name).suffix, json.dumps(row)))
    assert [row.text("name") for row in records.read(tmp_path, "train")] == read


def test_rows_are_numbered_through_all_files_of_a_split(tmp_path: Path) -> None:
    parquet(tmp_path / "data" / "val-00000-of-00002.parquet", [{"n": 0}, {"n": 1}])
    parquet(tmp_path / "data" / "val-00001-of-00002.parquet", [{"n": 2}])
    rows = list(records.read(tmp_path, "val"))
    assert [(row.id, row.number("n")) for row in rows] == [("0", 0), ("1", 1), ("2", 2)]
    assert rows[2].where.endswith("val-00001-of-00002.parquet: row 0")


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", '{"n": 0}\n{"n": 1}\nnot JSON\n')
    assert [row.number("n") for row in records.read(path, "train", limit=2)] == [0, 1]
    with pytest.raises(UserError, match=r"rows\.jsonl: line 3: not readable JSON"):
        list(records.read(path, "train"))


def test_pictures_start_at_the_files_folder_or_at_the_data_s(
    tmp_path: Path, content: bytes
) -> None:
    for place in ("data/near.png", "far.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(content)
    write(tmp_path / "data" / "train.jsonl", '{"images": ["near.png", "far.png"]}')
    (row,) = records.read(tmp_path, "train")
    assert row.images("images") == (tmp_path / "data" / "near.png", tmp_path / "far.png")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"PAR1 cut off", r"a\.parquet: not readable parquet"),
        ("a.json", b"[{", r"a\.json: not readable JSON"),
        ("a.json", b'{"a": 1}', r"a\.json: expected a list of rows, got dict"),
        ("a.json", b"[1]", r"a\.json: row 0: expected an object with named values, got 1"),
        ("a.json", b"[" * 100_000, r"a\.json: not readable JSON"),
        ("a.jsonl", b'{"a": 1}\n[2]\n', r"a\.jsonl: line 2: expected an object"),
        ("a.tsv", b"a\tb", r"a\.tsv: unknown kind of file; give one of .*\.csv"),
    ],
)
def test_a_damaged_file_is_one_line(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        list(records.read(tmp_path / name, "train"))
    assert "\n" not in str(caught.value)


def test_a_folder_of_save_to_disk_is_read_by_its_splits(tmp_path: Path, content: bytes) -> None:
    import datasets

    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["owl", "barn owl"])}
    )
    picture = {"bytes": content, "path": None}
    rows = [{"image": picture, "label": n % 2} for n in range(70)]
    data = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict(train=data, test=data.select([1])).save_to_disk(str(tmp_path / "two"))
    data.save_to_disk(str(tmp_path / "single"))
    for source, split, count in (("two", "train", 70), ("two", "test", 1), ("single", "train", 70)):
        read = list(records.read(tmp_path / source, split))
        assert len(read) == count
        assert read[-1].text("label") == "barn owl"
        assert open_image(read[0].images("image")[0]).size == (9, 5)
    with pytest.raises(UserError, match=r"two: no split 'val'; there is train, test"):
        records.read(tmp_path / "two", "val")


def test_the_encoding_is_a_setting(tmp_path: Path) -> None:
    (row,) = records.read(HERE / "western.json", "train", encoding="cp1252")
    assert row.text("question") == "Where is the café’s door?"
    with pytest.raises(UserError, match=r"western\.json: not in UTF-8 .* data\.encoding="):
        next(records.read(HERE / "western.json", "train"))


@pytest.mark.timeout(10)
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.jsonl")
    for source in (tmp_path, tmp_path / "train.jsonl"):
        with pytest.raises(UserError, match=r"train\.jsonl: no file that can be read"):
            next(records.read(source, "train"))


def test_data_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    long = "a" * 5000
    for source in (
        tmp_path / "nowhere",
        "nowhere",
        "./a/b",
        "rows/train.jsonl",
        long,
        f"a/{long}",
        "~nobody-of-this-name/rows",
    ):
        with pytest.raises(UserError, match=r"no data at .*(; set task\.data_dir to)"):
            records.read(source, "train")
    with pytest.raises(UserError, match=r"no split .train.; expected train\.parquet.*; there is "):
        records.read(tmp_path, "train")


@pytest.mark.parametrize("name", ["train.jsonl", "train.json"])
def test_rows_share_the_names_of_their_columns_and_their_folder(tmp_path: Path, name: str) -> None:
    rows = [{"question": "A?", "answer": 1}, {"question": "B?", "answer": 2}]
    written = json.dumps(rows) if name == "train.json" else "\n".join(map(json.dumps, rows))
    first, second = records.read(write(tmp_path / name, written), "train")
    assert all(a is b for a, b in zip(first.values, second.values, strict=True))
    assert first.folders[0] is second.folders[0]
    # and what a sample keeps of a row without bytes is the row itself
    assert first.plain() is first.values


def test_rows_of_two_splits_in_one_file_are_refused(tmp_path: Path) -> None:
    named = ["Train", "training", None, " ", "train", "dev"]
    rows = "".join(json.dumps({"question": "Why?", "split": name}) + "\n" for name in named)
    stream = records.read(write(tmp_path / "rows.jsonl", rows), "train")
    assert [next(stream).row for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match=r"rows.jsonl: line 6: its split is 'dev', .* 'Train'"):
        next(stream)


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("train", "testA"),  # RefCOCO
        ("train", "restval"),  # Karpathy's COCO
        ("train", "test_seen"),  # Hateful Memes
        ("dev_seen", "dev_unseen"),
        ("train", "minival"),
        ("eval", "heldout"),
        (0, 1),
        ("0", "1"),  # CSV
        (False, True),
        ("train", ["test"]),
    ],
)
def test_two_splits_in_one_file_are_refused_whatever_their_names(
    first: object, other: object, tmp_path: Path
) -> None:
    rows = [{"question": "Why?", "split": split} for split in (first, first, other)]
    path = write(tmp_path / "rows.jsonl", "\n".join(map(json.dumps, rows)))
    with pytest.raises(UserError, match=r"rows.jsonl: line 3: its split is .*; write a file for"):
        list(records.read(path, "train"))


def test_one_split_by_several_names_of_it_is_read(tmp_path: Path) -> None:
    for number, named in enumerate((["val", "Valid", "validation", "dev"], [1, 1.0, "1", None])):
        rows = [{"question": "Why?", "split": split} for split in named]
        path = write(tmp_path / f"{number}.jsonl", "\n".join(map(json.dumps, rows)))
        assert len(list(records.read(path, "val"))) == 4

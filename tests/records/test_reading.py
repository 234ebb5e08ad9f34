"""Rows of every kind of file and of the hub, read alike; mistakes named by file and row."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from fakes.folders import RECORDS
from PIL import Image

from vrft.errors import UserError
from vrft.images import open_image
from vrft.records import Record
from vrft.records import reading as records

HERE = RECORDS / "records"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a cache of its own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("VRFT_CACHE", str(folder))
    return folder


@pytest.fixture
def content(picture: Callable[..., Image.Image]) -> bytes:
    """Return the bytes of a PNG file of 9 x 5 pixels."""
    return png(picture(9, 5))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def record(columns: dict[str, str] | None = None, **values: Any) -> Record:
    return Record(values, "rows.json: row 3", 3, (HERE,), columns or {})


def nested(depth: int) -> list[Any]:
    """Return lists within lists, nested more deeply than Python calls functions."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


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


def test_a_conversation_of_several_turns_is_refused_by_name() -> None:
    system, asked = {"role": "system", "content": "Think."}, {"role": "user", "content": "How?"}
    answered = {"role": "assistant", "content": "So."}
    assert record(prompt=[asked]).text("prompt") == "How?"
    for turns in (
        [system, asked],
        [asked, answered, asked],
        [system, asked, answered, asked],
        # no question at all, an answer behind it, another role, two turns of the user
        [answered],
        [asked, answered],
        [asked, {"role": "tool", "content": "x"}],
        [asked, asked],
    ):
        with pytest.raises(UserError, match=r"row 3: prompt is a conversation \(.*--task vqa"):
            record(prompt=turns).text("prompt")


def test_columns_within_columns_are_named_by_dots() -> None:
    columns = {"answer": "reward_model.ground_truth", "question": "turns.1.value"}
    row = record(
        columns, reward_model={"ground_truth": 3, "style": "rule"}, turns=[{}, {"value": "How?"}]
    )
    assert (row.text("question"), row.number("answer")) == ("How?", 3)
    # A column whose own name has a dot comes first; nothing within nothing is no mistake.
    assert record({"answer": "a.b"}, **{"a.b": "x", "a": {"b": "y"}}).text("answer") == "x"
    assert record({"answer": "a.b"}, a=None, answer="z").get("answer") is None
    others: list[dict[str, Any]] = [{"a": {}}, {"a": "text"}, {"a": [1]}, {}]
    for values in others:
        with pytest.raises(UserError, match=r"no column 'a\.b', which data\.columns\.answer names"):
            record({"answer": "a.b"}, **values).get("answer")


def test_whole_numbers_are_texts_however_the_data_holds_them() -> None:
    # pandas writes 3.0 where another row has no number
    assert [record(a=n).text("a") for n in (3, 3.0, Decimal("3.00"))] == ["3"] * 3
    assert record(a=Decimal("2.5")).number("a") == 2.5


def test_rows_without_a_picture_say_so() -> None:
    forms: list[dict[str, Any]] = [{"images": []}, {"images": None}, {"image": None, "b": 1}]
    for values in forms:
        assert record(**values).images("images", "image", required=False) == ()
    with pytest.raises(UserError, match="no images or image; there is picture"):
        record(picture="a.png").images("images", "image", required=False)


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
        # names that only contain the letters
        (["train.jsonl", "strain.jsonl", "training.jsonl"], ["train.jsonl"]),
    ],
)  # fmt: skip
def test_a_folder_tells_its_splits_by_names(
    files: list[str], read: list[str], tmp_path: Path
) -> None:
    for name in files:
        row = f'{{"name": "{Path(name).name}"}}'
        write(tmp_path / name, f"[{row}]" if name.endswith(".json") else row)
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


def test_columns_have_the_names_that_the_user_says() -> None:
    row = record({"question": "q", "answer": "gold"}, q="How many?", gold=3, question="old")
    assert (row.text("question"), row.number("answer")) == ("How many?", 3)
    with pytest.raises(
        UserError, match=r"row 3: no column 'img', which data\.columns\.image names"
    ):
        record({"image": "img"}, picture="a.png").images("image")


def test_a_picture_is_a_path_bytes_or_lists_of_them(content: bytes, cache: Path) -> None:
    forms = [
        *(content, {"bytes": content, "path": "gone.png"}, [[content]], [content, None]),
        # a tuple, other bytes, a chat message's data URI, base64 text
        *((content,), bytearray(content)),
        {"url": "data:image/png;base64," + base64.b64encode(content).decode()},
        base64.b64encode(content).decode(),
    ]
    found = {record(image=form).images("image") for form in forms}
    (paths,) = found
    assert open_image(paths[0]).size == (9, 5)
    assert [path for path in cache.rglob("*") if path.is_file()] == list(paths)
    plain = HERE / "pictures" / "plain.png"
    uri = plain.as_uri()
    listed = '["pictures/plain.png"]'  # a cell of CSV
    pixels = open_image(content)
    for decoded in (pixels, np.asarray(pixels)):
        (path,) = record(image=decoded).images("image")
        assert open_image(path).tobytes() == pixels.tobytes()
    for form in (
        "pictures/plain.png",
        str(plain),
        {"path": "pictures/plain.png"},
        plain,
        uri,
        listed,
    ):
        assert record(image=form).images("image") == (plain,)


@pytest.mark.parametrize(
    ("ask", "values", "message"),
    [
        # nothing there: the columns that are, and how to name one
        ("text", {}, r"no asked or other; there is nothing"),
        ("text", {"a": 1}, r"there is a \(data\.columns\.asked=NAME says which column it is\)"),
        ("number", {"asked": None}, r"asked is empty \(null\)"),
        # texts
        ("text", {"asked": 1.5}, "asked is no text: 1.5"),
        ("text", {"asked": True}, "asked is no text: True"),
        ("text", {"asked": float("inf")}, "asked is no finite number: inf"),
        ("text", {"asked": Decimal("NaN")}, r"asked is no text: Decimal\('NaN'\)"),
        ("text", {"asked": [{"from": "human", "value": "Hi"}]}, "asked is no text"),
        ("text", {"asked": nested(900)}, r"asked is no text: \[\[\[\.\.\.\]\]\]"),
        ("texts", {"asked": "a, b"}, "asked is no list of texts: 'a, b'"),
        ("texts", {"asked": ["a", 1]}, "asked is no list of texts"),
        # numbers
        ("number", {"asked": "seven"}, "asked is no number: 'seven'"),
        ("number", {"asked": "1e9"}, "asked is no number: '1e9'"),
        ("number", {"asked": "٧"}, "asked is no number: '٧'"),
        ("number", {"asked": True}, "asked is no number: True"),
        ("number", {"asked": float("nan")}, "asked is no finite number: nan"),
        ("number", {"asked": 10**400}, "asked is no finite number: 1000"),
        # pictures
        ("images", {"asked": []}, "asked holds no picture"),
        ("images", {"asked": "gone.png"}, r"no picture .*gone\.png; correct the path"),
        ("images", {"asked": 5}, "a picture is a path or the bytes of a file, not 5"),
        ("images", {"asked": {"bytes": None, "path": None}}, "a picture is a path or the bytes"),
        ("images", {"asked": nested(900)}, "asked holds no picture"),
        ("images", {"asked": [None]}, r"asked holds null alone; write \[\] where there is no"),
        ("images", {"asked": [[], [None, None]]}, "asked holds null alone"),
        ("images", {"asked": "[null]"}, "asked holds null alone"),
        ("images", {"asked": "https://example.org/a.png"}, "at a URL .*nothing is fetched"),
        ("images", {"asked": "a" * 5000}, r"no picture .*a\.\.\. \(50.. characters\); correct"),
        ("images", {"asked": object()}, "not a value of type object"),
        ("images", {"asked": b"%!PS-Adobe-3.0 EPSF-3.0"}, "a picture that cannot be read"),
        ("images", {"asked": b"no picture"}, "a picture that cannot be read; remove the row"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_row(
    ask: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        getattr(record(**values), ask)("asked", "other")
    assert str(caught.value).startswith("rows.json: row 3: ")
    assert "\n" not in str(caught.value)


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
        with pytest.raises(UserError, match=r"no data at .*(; set task\.data_dir to|home dir)"):
            records.read(source, "train")
    with pytest.raises(UserError, match=r"no split .train.; expected train\.parquet"):
        records.read(tmp_path, "train")


def test_a_cache_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(write(tmp_path / "a file", "")))
    with pytest.raises(UserError, match=r"cannot keep pictures there .* set VRFT_CACHE"):
        record(image=content).images("image")


@pytest.mark.parametrize("name", ["train.jsonl", "train.json"])
def test_rows_share_the_names_of_their_columns_and_their_folder(tmp_path: Path, name: str) -> None:
    rows = [{"question": "A?", "answer": 1}, {"question": "B?", "answer": 2}]
    written = json.dumps(rows) if name == "train.json" else "\n".join(map(json.dumps, rows))
    first, second = records.read(write(tmp_path / name, written), "train")
    assert all(a is b for a, b in zip(first.values, second.values, strict=True))
    assert first.folders[0] is second.folders[0]
    # and what a sample keeps of a row without bytes is the row itself
    assert first.plain() is first.values


def test_plain_columns_are_the_rows_own_without_bytes_of_pictures() -> None:
    picture = {"bytes": b"PNG", "path": "a.png"}
    values = {"q": "How many?", "answer": 3, "image": picture, "images": [[picture]], "raw": b"x"}
    record = Record({**values, "extra": {"a": [1]}}, "rows", 0, columns={"question": "q"})
    assert record.plain() == {"q": "How many?", "answer": 3, "extra": {"a": [1]}}

"""Formats: each is recognised by its columns, read whole, and named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fakes.folders import RECORDS

from vrft import registry
from vrft.boxes import Box
from vrft.config.schema import TaskConfig
from vrft.errors import UserError
from vrft.formats import recognition
from vrft.formats.recognition import FORMATS, FormatName, recognise
from vrft.images import image_size
from vrft.records import Record
from vrft.types import Turn

HERE = RECORDS / "formats"


@pytest.mark.parametrize(
    ("file", "name", "geometric", "answers"),
    [
        (
            "canonical.jsonl",
            "canonical",
            True,
            [[12, 18, 60, 45], [[20, 30, 180, 80], [0, 0, 10.5, 20]]],
        ),
        ("canonical_vqa.jsonl", "canonical", False, ["red", "B"]),
        ("trl.jsonl", "trl", False, ["1", "160"]),
        ("llava.json", "llava", False, ["Red", "A bar"]),
        ("vlm_r1.jsonl", "vlm-r1", True, ["[12, 18, 60, 45]", "[20, 30, 180, 80]"]),
        ("vlm_r1_rec.json", "vlm-r1-rec", True, [[12, 18, 60, 45], [20, 30, 180, 80]]),
        ("swift.jsonl", "swift", True, [[[12, 18, 60, 45]], [[0.1, 0.3, 0.9, 0.8]]]),
        ("swift_solution.jsonl", "swift", False, ["yes", "Yes", "no"]),
        ("sharegpt.jsonl", "sharegpt", False, ["4", "B"]),
        ("openai.jsonl", "openai", False, ["a rectangle", "a bar"]),
        ("r1v.jsonl", "r1v", True, ["(100,200),(500,500)", "(100,300),(900,800)"]),
        ("easyr1.parquet", "easyr1", True, ["[12, 18, 60, 45]", "[20, 30, 180, 80]"]),
        ("verl.parquet", "verl", False, ["160", "48"]),
        ("coco.json", "coco", True, None),
        ("labelme", "labelme", True, None),
        ("reasonseg", "reasonseg", True, None),
    ],
)
def test_a_format_is_recognised_by_its_columns(
    file: str, name: FormatName, geometric: bool, answers: list[Any] | None
) -> None:
    reading = recognition.read(HERE / file, "train")
    assert (reading.name, reading.geometric) == (name, geometric)
    if answers is not None:
        assert [row.answer for row in reading.rows] == answers
    # Every picture is there, and as many places for pictures as pictures, or none.
    assert all(len(row.files()) == len(row.pictures) > 0 for row in reading.rows)
    # Named, it is read alike.
    forced = recognition.read(HERE / file, "train", name=name)
    assert [row.answer for row in forced.rows] == [row.answer for row in reading.rows]


def test_every_format_has_a_sample_file_here() -> None:
    stems = {path.stem.replace("_", "-") for path in HERE.iterdir()}
    assert {"coco", "labelme", "reasonseg", *FORMATS} <= stems


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        # a question under another name, and answers called solution
        ({"question": "?", "solution": "1"}, "canonical"),
        # a prompt with an answer, as own data often have it
        ({"prompt": "?", "answer": "1"}, "trl"),
        # a null where another row has a picture changes nothing
        ({"problem": "?", "answer": "1", "images": None}, "easyr1"),
        # messages with parts of content are OpenAI's, whatever stands beside them
        (
            {
                "messages": [{"role": "user", "content": [{"type": "text", "text": "?"}]}],
                "images": [],
            },
            "openai",
        ),
        # of text alone, without other columns, OpenAI's too
        ({"messages": [{"role": "user", "content": "?"}]}, "openai"),
        # no messages at all: whatever they are, their reader says
        ({"messages": 3, "images": []}, "openai"),
        # verl's prompt is TRL's as well: the reward model tells
        ({"prompt": [], "reward_model": {}, "answer": "1"}, "verl"),
    ],
)
def test_columns_tell_formats_apart(columns: dict[str, Any], name: str) -> None:
    assert recognise(Record(columns, "f: row 0", 0)) == name


def test_columns_of_no_format_are_named_with_the_remedy() -> None:
    with pytest.raises(UserError) as error:
        recognise(Record({"q": "?", "a": "1"}, "mine.jsonl: line 1", 0))
    assert str(error.value).startswith(
        "mine.jsonl: line 1: the columns q, a are of no known format"
    )
    assert "data.columns.question=NAME" in str(error.value)


def test_renamed_columns_count_by_the_names_of_the_setting(tmp_path: Path) -> None:
    rows = [{"q": "?", "truth": {"value": "1"}}]
    file = written(tmp_path, rows)
    columns = {"question": "q", "answer": "truth.value"}
    reading = recognition.read(file, "train", columns=columns)
    assert (reading.name, reading.rows[0].answer) == ("canonical", "1")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        # a row of another format behind the first
        (
            [{"question": "?", "answer": "1"}, {"prompt": "?", "solution": "1"}],
            "line 2: no question",
        ),
        # a box among texts
        (
            [
                {"question": "?", "answer": "red"},
                {"question": "?", "images": ["a.png"], "answer": [1, 2, 3, 4]},
            ],
            "line 1: the answer 'red' is no box or point in a picture, while that of .*line 2 is",
        ),
        # a box without a picture to lie in is a text, and none among boxes
        (
            [
                {"question": "?", "images": ["a.png"], "answer": [1, 2, 3, 4]},
                {"question": "?", "answer": [1, 2, 3, 4]},
            ],
            "line 2: the answer .* is no box or point in a picture",
        ),
        ([], "no rows in the split 'train'"),
    ],
)
def test_a_split_of_mixed_rows_is_refused(
    rows: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        _ = recognition.read(written(tmp_path, rows), "train").geometric


def test_cells_of_csv_hold_boxes_pictures_and_options(tmp_path: Path) -> None:
    rows = (
        "images,question,answer\n"
        f'{HERE / "a.png"},Where?,"[12, 18, 60, 45]"\n'
        f'"[""{HERE / "a.png"}""]",Where?,"(12,18),(60,45)"\n'
    )
    (tmp_path / "rows.csv").write_text(rows, encoding="utf-8")
    reading = recognition.read(tmp_path / "rows.csv", "train", allow_outside=True)
    assert (reading.name, reading.geometric) == ("canonical", True)
    assert [len(row.files()) for row in reading.rows] == [1, 1]
    (tmp_path / "options.csv").write_text(
        'question,options,answer\nWhich?,"[""cup"", ""jug""]",jug\n', encoding="utf-8"
    )
    assert recognition.read(tmp_path / "options.csv", "train").rows[0].options == ("cup", "jug")


def test_json_lines_in_a_json_file_and_a_saved_data_set_are_rows(tmp_path: Path) -> None:
    import datasets

    line = '{"question": "?", "answer": "1"}\n'
    (tmp_path / "rows.json").write_text(line * 2, encoding="utf-8")
    assert len(recognition.read(tmp_path / "rows.json", "train").rows) == 2
    datasets.Dataset.from_list([{"prompt": "?", "solution": "1"}]).save_to_disk(tmp_path / "saved")
    assert recognition.read(tmp_path / "saved", "train").name == "trl"


def test_replies_that_are_left_out_are_counted() -> None:
    reading = recognition.read(HERE / "swift_solution.jsonl", "train")
    assert reading.title == "ms-swift messages (1 replies left out: `solution` answers)"


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    rows = [{"question": "?", "answer": "1"}, {"nothing": 0}]
    assert len(recognition.read(written(tmp_path, rows), "train", limit=1).rows) == 1
    assert len(recognition.read(HERE / "coco.json", "train", limit=1).rows) == 1


@pytest.mark.parametrize("boxes", [[], [{"id": 1, "bbox": [1, 1, 0, 0]}]])
def test_annotations_without_a_box_to_ask_for_are_refused(
    boxes: list[dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copy(HERE / "a.png", tmp_path)
    width, height = image_size(tmp_path / "a.png")
    held = {"id": 1, "file_name": "a.png", "width": width, "height": height}
    marks = [{"image_id": 1, "category_id": 1, **box} for box in boxes]
    kinds = [{"id": 1, "name": "cup"}]
    tree = {"images": [held], "annotations": marks, "categories": kinds}
    (tmp_path / "a.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"a\.json: COCO.* has no box with an area in the split"):
        recognition.read(tmp_path / "a.json", "train")


def test_conversations_keep_system_text_and_turns() -> None:
    first = recognition.read(HERE / "trl.jsonl", "train").rows[0]
    assert (first.system, first.question) == ("Be brief.", "How many?")
    # TRL puts pictures without places before the first turn of the user.
    assert first.turns == (Turn("user", "<image>Which colour?"), Turn("assistant", "Red."))


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """The file of rows, one a line."""
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_numbers_alone_are_boxes_where_no_row_has_another_answer(tmp_path: Path) -> None:
    box = {"images": [], "image": str(HERE / "a.png"), "question": "?", "answer": "12,18,60,45"}
    assert recognition.read(written(tmp_path, [box]), "train", allow_outside=True).geometric
    for other in ("a cup", "3"):
        rows = [box, box | {"answer": other}]
        assert not recognition.read(written(tmp_path, rows), "train", allow_outside=True).geometric
    assert not recognition.read(written(tmp_path, [box | {"image": None}]), "train").geometric


def test_a_column_that_is_not_the_answer_is_counted(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "It is 3."}]
    rows: list[dict[str, Any]] = [
        {"messages": said, "answer": "3"},
        {"messages": said, "answer": "It is 3."},
        {"messages": said[:1], "answer": "3"},
    ]
    reading = recognition.read(written(tmp_path, rows), "train")
    assert [row.answer for row in reading.rows] == ["It is 3.", "It is 3.", "3"]
    assert "(1 `answer` left out: the last reply answers, unless data.columns.sol" in reading.title
    named = recognition.read(written(tmp_path, rows), "train", columns={"solution": "answer"})
    assert [row.answer for row in named.rows] == ["3", "It is 3.", "3"]


def test_boxes_of_vlm_r1_s_rec_are_pixels() -> None:
    # of pictures of 120 x 90 and 200 x 100, where thousandths would lie inside as well
    samples = registry.build(
        TaskConfig("grounding", {"data_dir": str(HERE / "vlm_r1_rec.json")})
    ).samples("train")
    boxes = [sample.answer.shapes[0] for sample in samples]
    assert boxes == [Box(0.1, 0.2, 0.5, 0.5), Box(0.1, 0.3, 0.9, 0.8)]


@pytest.mark.parametrize("solution", [[12, 18, 60, 45], "[12, 18, 60, 45]", "(12,18),(60,45)"])
def test_boxes_of_r1v_without_tags_want_their_unit(solution: Any, tmp_path: Path) -> None:
    rows = [{"image": str(HERE / "a.png"), "problem": "?", "solution": solution}]
    data = {"data_dir": str(written(tmp_path, rows)), "allow_outside": True}
    task = registry.build(TaskConfig("grounding", data))
    with pytest.raises(UserError, match=r"line 1: the solution .* has no tags.*data\.boxes=pixels"):
        task.samples("train")
    (sample,) = registry.build(TaskConfig("grounding", {**data, "box_unit": "pixels"})).samples(
        "train"
    )
    assert sample.answer.shapes == (Box(0.1, 0.2, 0.5, 0.5),)
    # an answer that is no box has no unit
    other = recognition.read(written(tmp_path, [rows[0] | {"solution": "3"}]), "train")
    assert other.unit == "thousandths"

"""A row in the columns of each tool, as their documentation and published data have them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vrft.annotations.frames import PIXELS
from vrft.errors import UserError
from vrft.formats import foreign_rows
from vrft.formats.foreign_rows import Written
from vrft.formats.rows import Row
from vrft.records import Record
from vrft.types import PLACE, Turn

BOX = [10, 5, 50, 25]
"""In pixels of a picture of 100 x 50: fractions 0.1, 0.1, 0.5, 0.5."""


@pytest.fixture
def file(tmp_path: Path, picture: Callable[..., Image.Image]) -> Path:
    """A picture of 100 x 50 pixels in a folder beside that of the written file."""
    path = tmp_path / "pictures" / "a.png"
    path.parent.mkdir()
    picture(100, 50).save(path)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out" / "rows.jsonl"


def written(file: Path, answer: Any, **fields: Any) -> Written:
    record = Record({}, "rows.json: row 3", 3, (file.parent,))
    row = Row("a1", "Where?", answer, record, pictures=(file.name,), **fields)
    return foreign_rows.prepared(row, PIXELS, isinstance(answer, list))


def test_a_box_has_the_columns_and_the_unit_of_each_format(file: Path, out: Path) -> None:
    row, name = written(file, BOX), "../pictures/a.png"
    pixels, asked = "[10, 5, 50, 25]", {"role": "user", "content": "Where?"}
    assert foreign_rows.canonical(row, out) == {
        "id": "a1", "images": [name], "question": "Where?", "answer": BOX,
    }  # fmt: skip
    assert foreign_rows.trl(row, out) == {
        "id": "a1", "prompt": [asked], "images": [name], "solution": pixels,
    }  # fmt: skip
    # LLaVA's boxes are fractions, VLM-R1's are pixels; both mark the place of the picture
    for format_, answer in (("llava", "[0.1, 0.1, 0.5, 0.5]"), ("vlm-r1", pixels)):
        assert foreign_rows.conversation(row, out, format_) == {  # type: ignore[arg-type]
            "id": "a1",
            "image": name,
            "conversations": [
                {"from": "human", "value": f"{PLACE}Where?"},
                {"from": "gpt", "value": answer},
            ],
        }
    assert foreign_rows.swift(row, out) == {
        "id": "a1",
        "messages": [asked, {"role": "assistant", "content": "<bbox>"}],
        "images": [name],
        "objects": {"ref": [], "bbox": [BOX]},
    }
    assert foreign_rows.r1v(row, out)["problem"] == "Where?"
    assert foreign_rows.r1v(row, out)["image"] == name


def test_pictures_are_held_as_bytes_where_the_format_holds_them(file: Path, out: Path) -> None:
    row, content = written(file, "left"), file.read_bytes()
    held = [{"bytes": content, "path": "a.png"}]
    assert foreign_rows.easyr1(row, out) == {
        "id": "a1", "images": held, "problem": f"{PLACE}Where?", "answer": "left",
    }  # fmt: skip
    theirs = foreign_rows.verl(row, out)
    assert theirs["images"] == held
    assert theirs["prompt"] == [{"role": "user", "content": f"{PLACE}Where?"}]
    assert theirs["reward_model"] == {"style": "rule", "ground_truth": "left"}
    shown, asked = foreign_rows.openai(row, out)["messages"][0]["content"]
    assert asked == {"type": "text", "text": "Where?"}
    kind, _, data = shown["image_url"]["url"].partition(",")
    assert (kind, base64.b64decode(data)) == ("data:image/png;base64", content)


def test_turns_have_the_roles_of_the_format(file: Path) -> None:
    turns = (Turn("user", f"{PLACE}How many?"), Turn("assistant", "Two."))
    row = written(file, "left", system="Think.", turns=turns)
    assert foreign_rows.messages(row.row) == [
        {"role": "system", "content": "Think."},
        {"role": "user", "content": f"{PLACE}How many?"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Where?"},
    ]
    theirs = [message["from"] for message in foreign_rows.messages(row.row, "from", "value")]
    assert theirs == ["system", "human", "gpt", "human"]
    # the picture has its place in the first turn already
    assert foreign_rows.marks_missing(row.row, row.files) == 0
    for refuse, name in ((foreign_rows.easyr1, "easyr1"), (foreign_rows.r1v, "r1v")):
        with pytest.raises(UserError, match=f"^rows.json: row 3: {name} has no place for turns"):
            refuse(row, file)


@pytest.mark.parametrize(
    ("answer", "text"),
    [("left", "left"), (True, "yes"), (False, "no"), (3, "3"), (2.5, "2.5"), ("Größe", "Größe")],
)
def test_answers_without_boxes_are_texts(answer: Any, text: str, file: Path) -> None:
    row = written(file, answer)
    assert (row.shapes, row.size, row.text(PIXELS)) == ((), (0, 0), text)


def test_several_boxes_are_lists_of_a_list(file: Path) -> None:
    row = written(file, [BOX, [0, 0, 100, 50]])
    assert row.size == (100, 50)
    assert row.answer(PIXELS) == [BOX, [0, 0, 100, 50]]


def test_a_box_that_leaves_its_picture_is_refused_by_its_row(file: Path) -> None:
    with pytest.raises(UserError, match=r"^rows\.json: row 3: .* is no box inside its picture"):
        written(file, [10, 5, 500, 25])

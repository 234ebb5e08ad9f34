"""Numbered marks of pictures: where each picture stands, and marks that fit no picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vrft.errors import UserError
from vrft.formats import recognition
from vrft.formats.rows import Row


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 40)).save(tmp_path / name)
    return tmp_path


def read(folder: Path, **values: Any) -> Row:
    row = {"question": "Q?", "answer": "B", "image_1": "a.png", "image_2": "b.png", **values}
    (folder / "rows.jsonl").write_text(json.dumps(row))
    (read,) = recognition.read(folder / "rows.jsonl", "train").rows
    return read


@pytest.mark.parametrize(
    ("values", "question", "options", "pictures"),
    [
        (
            {"question": "Is <image 1> like <image 2>?"},
            "Is <image> like <image>?",
            (),
            ("a.png", "b.png"),
        ),
        # in another order, and one of them twice
        (
            {"question": "<image_2>, <image1>, <image 2>"},
            "<image>, <image>, <image>",
            (),
            ("b.png", "a.png", "b.png"),
        ),
        # as options
        (
            {"options": ["<image 2>", "<image 1>"]},
            "Q?",
            ("<image>", "<image>"),
            ("b.png", "a.png"),
        ),
        # in a list of pictures
        (
            {"image_1": None, "image_2": None, "images": ["a.png"], "question": "In <image 1>?"},
            "In <image>?",
            (),
            ("a.png",),
        ),
        # without marks the pictures stand before the question
        ({}, "Q?", (), ("a.png", "b.png")),
    ],
)
def test_a_numbered_mark_is_the_place_of_its_picture(
    values: dict[str, Any],
    question: str,
    options: tuple[str, ...],
    pictures: tuple[str, ...],
    folder: Path,
) -> None:
    row = read(folder, **values)
    assert (row.question, row.options, row.pictures) == (question, options, pictures)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"question": "In <image 3>?"}, "the text names <image 3>, and the row has 2 pictures"),
        ({"question": "In <image 0>?"}, "the text names <image 0>, and the row has 2 pictures"),
        (
            {"question": "<image 1>", "image_1": None, "image_2": None},
            "the text names <image 1>, and the row has 0 pictures",
        ),
        ({"question": "In <image 1>?"}, "picture 2 has no mark <image 2>, while others"),
        ({"question": "<image 1><image 2><image>"}, "<image>, while others are marked"),
        (
            {"question": "<image 2><image 1>", "answer": [[1, 2, 3, 4]]},
            "stand in the order \\[2, 1\\], and the answer is a box",
        ),
    ],
)
def test_marks_that_do_not_fit_the_pictures_are_refused(
    values: dict[str, Any], message: str, folder: Path
) -> None:
    with pytest.raises(UserError, match=f"line 1: .*{message}"):
        read(folder, **values)


def test_numbered_columns_are_carried_into_other_formats(folder: Path) -> None:
    read(folder, question="<image 1><image 2>")
    reading = recognition.read(folder / "rows.jsonl", "train")
    assert reading.left_out() == []

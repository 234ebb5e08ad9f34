"""Columns and prompts of a sample as TRL gives them: pictures are opened where they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vrft.errors import UserError
from vrft.rewards.columns import PictureColumn, Pictures, chat, column, columns_of, raw_prompt
from vrft.types import Prompt, Sample, Turn


def picture(folder: Path, name: str, colour: str) -> Path:
    """Write a picture of 3 x 2 pixels."""
    Image.new("RGB", (3, 2), colour).save(folder / name)
    return folder / name


def test_prompts_are_messages_with_pictures_in_their_places() -> None:
    a, b = Path("a.png"), Path("b.png")
    image_a, image_b = {"type": "image", "image": a}, {"type": "image", "image": b}
    before = chat(Prompt("Which?", (a, b), turns=(Turn("user", "Hi"), Turn("assistant", "Yes?"))))
    assert before == [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Yes?"}]},
        {"role": "user", "content": [image_a, image_b, {"type": "text", "text": "Which?"}]},
    ]
    (placed,) = chat(Prompt("Is <image> like <image>?", (a, b)))
    texts = [{"type": "text", "text": text} for text in ("Is ", " like ", "?")]
    assert placed["content"] == [texts[0], image_a, texts[1], image_b, texts[2]]
    assert raw_prompt(Prompt("Why?", system="S ", prefill=" <think>")) == "S Why? <think>"


def test_columns_are_the_rows_own_and_those_of_the_sample() -> None:
    sample = Sample("r1", "How many?", 3, subset="easy", columns={"level": 2, "question": "own"})
    columns = dict(columns_of(sample))
    assert columns.pop("images") == Pictures(())
    assert columns == {
        "question": "own", "answer": 3, "solution": 3, "sample_id": "r1", "subset": "easy",
        "level": 2,
    }  # fmt: skip


def test_pictures_are_the_samples_whatever_the_row_calls_them(tmp_path: Path) -> None:
    red, blue = picture(tmp_path, "a.png", "red"), picture(tmp_path, "b.png", "blue")
    single = columns_of(Sample("1", "?", 0, (red,), columns={"image": "a.png", "img": "a.png"}))
    assert single["images"].read()[0].getpixel((0, 0)) == (255, 0, 0)
    assert single["image"].read().getpixel((0, 0)) == (255, 0, 0)
    assert single["img"] == "a.png"  # any other column as the data write it
    both = columns_of(Sample("1", "?", 0, (red, blue), columns={"images": ["a.png", "b.png"]}))
    assert [p.getpixel((0, 0)) for p in both["images"].read()] == [(255, 0, 0), (0, 0, 255)]
    assert "image" not in both


def test_a_column_holds_a_value_for_each_completion() -> None:
    assert column([1], 3, named=False) == [[1], [1], [1]]


def test_pictures_are_opened_once_and_only_when_one_is_taken(tmp_path: Path) -> None:
    later = column(Pictures((tmp_path / "later.png",)), 4, named=False)
    assert isinstance(later, PictureColumn) and len(later) == 4
    picture(tmp_path, "later.png", "red")  # so far nobody has looked for the file
    first, *others = later
    assert isinstance(first[0], Image.Image)
    (tmp_path / "later.png").unlink()
    assert all(other[0] is first[0] for other in others) and later[1:] == others


@pytest.mark.parametrize("single", [False, True])
def test_a_column_that_is_named_is_opened_at_once(single: bool, tmp_path: Path) -> None:
    red = picture(tmp_path, "a.png", "red")
    opened = column(Pictures((red,), single), 2, named=True)
    assert type(opened) is list and len(opened) == 2
    first: Any = opened[0] if single else opened[0][0]
    assert (first.size, first.mode) == ((3, 2), "RGB")
    with pytest.raises(UserError, match=r"gone\.png"):
        column(Pictures((tmp_path / "gone.png",), single), 2, named=True)

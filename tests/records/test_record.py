"""The values of a row by their names and types; mistakes named by file and row."""

from __future__ import annotations

import base64
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.folders import RECORDS

from vrft.errors import UserError
from vrft.images import open_image
from vrft.records import Record
from vrft.records.record import number_text

HERE = RECORDS / "records"


def record(columns: dict[str, str] | None = None, **values: Any) -> Record:
    return Record(values, "rows.json: row 3", 3, (HERE,), columns or {})


def nested(depth: int) -> list[Any]:
    """Return lists within lists, nested more deeply than Python calls functions."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


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


def test_nan_is_no_value_as_in_an_empty_cell_of_pandas() -> None:
    for nan in (float("nan"), Decimal("NaN"), Decimal("sNaN")):
        row = record({"subset": "kind"}, id=nan, kind=nan, answer=nan, solution=4)
        assert (row.id, row.get("subset"), row.get("answer", "solution")) == ("3", None, 4)


def test_numbers_are_written_as_people_do() -> None:
    numbers = (3, 4.0, 2.5, 5e-05, Decimal("0.10"), 1e20)
    texts = ["3", "4", "2.5", "0.00005", "0.10", "1" + "0" * 20]
    assert [number_text(number) for number in numbers] == texts


def test_rows_without_a_picture_say_so() -> None:
    forms: list[dict[str, Any]] = [{"images": []}, {"images": None}, {"image": None, "b": 1}]
    for values in forms:
        assert record(**values).images("images", "image", required=False) == ()
    with pytest.raises(UserError, match="no images or image; there is picture"):
        record(picture="a.png").images("images", "image", required=False)


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
        ("text", {"asked": Decimal("NaN")}, r"asked is empty \(NaN\); fill it in"),
        ("text", {"asked": Decimal("Infinity")}, "asked is no finite number: Decimal"),
        # chat messages in a cell of CSV
        ("text", {"asked": "[{'role': 'user', 'content': 'Hi'}]"}, "messages in Python's writing"),
        ("text", {"asked": '[{"role": "user"}, {"role": "assistant"}]'}, "a conversation .user, "),
        ("text", {"asked": [{"from": "human", "value": "Hi"}]}, "asked is no text"),
        ("text", {"asked": nested(900)}, r"asked is no text: \[\[\[\.\.\.\]\]\]"),
        ("texts", {"asked": "a, b"}, "asked is no list of texts: 'a, b'"),
        ("texts", {"asked": ["a", 1]}, "asked is no list of texts"),
        # numbers
        ("number", {"asked": "seven"}, "asked is no number: 'seven'"),
        ("number", {"asked": "1e9"}, "asked is no number: '1e9'"),
        ("number", {"asked": "٧"}, "asked is no number: '٧'"),
        ("number", {"asked": True}, "asked is no number: True"),
        ("number", {"asked": float("nan")}, r"asked is empty \(NaN\)"),
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


def test_plain_columns_are_the_rows_own_without_bytes_of_pictures() -> None:
    picture = {"bytes": b"PNG", "path": "a.png"}
    values = {"q": "How many?", "answer": 3, "image": picture, "images": [[picture]], "raw": b"x"}
    record = Record({**values, "extra": {"a": [1]}}, "rows", 0, columns={"question": "q"})
    assert record.plain() == {"q": "How many?", "answer": 3, "extra": {"a": [1]}}


def test_columns_for_rewards_have_the_answer_and_the_prompt_that_a_setting_names() -> None:
    values = {"query": "Why?", "truth": "red"}
    assert record(**values).for_rewards("red") == {**values, "answer": "red"}
    named = record({"prompt": "query"}, **values)
    assert named.for_rewards("red") == {**values, "answer": "red", "prompt": "Why?"}
    own = record(answer=None)
    assert own.for_rewards("red") is own.values  # the data's own column is left as it is

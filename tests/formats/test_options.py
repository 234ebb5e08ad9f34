"""Options of a question in all forms that data sets give them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from vrft.errors import UserError
from vrft.formats.options import option_texts, options_of
from vrft.records import Record


def record(**values: Any) -> Record:
    return Record(values, "rows.jsonl: line 3", 2)


def test_options_are_a_list_or_stand_under_their_letters() -> None:
    for options in (
        ["cup", " jug"],
        {"A": "cup", "B": "jug"},
        {"a": "cup", "b": "jug"},
        {"A": "cup", "B": "jug", "C": None},  # parquet fills up what other rows have more of
        '["cup", "jug"]',
        '{"A": "cup", "B": "jug"}',
    ):
        assert options_of(record(options=options)) == ("cup", "jug")


@pytest.mark.parametrize(
    "names",
    [
        "A B C",
        "option_a option_b option_c",
        "optionA optionB optionC",
        "option1 option2 option3",
        "choice_0 choice_1 choice_2",
    ],
)
def test_options_stand_in_columns_of_their_own(names: str) -> None:
    first, second, third = names.split()
    every = {first: "cup", second: "jug", third: "pot"}
    assert options_of(record(**every)) == ("cup", "jug", "pot")
    assert options_of(record(**{second: "jug", third: None, first: "cup"})) == ("cup", "jug")
    assert options_of(record(**{first: "cup", second: None})) == ()
    assert options_of(record(**{first: "cup"})) == ()
    # without the first, but for numbers that may begin at one
    rest = options_of(record(**{second: "cup", third: "jug"}))
    assert rest == (("cup", "jug") if first.endswith("0") else ())


def test_no_column_of_an_option_is_dropped() -> None:
    many = {f"option{number}": str(number) for number in range(30)}
    assert options_of(record(**many)) == tuple(map(str, range(30)))


def test_options_may_be_numbers_and_have_no_gaps() -> None:
    assert option_texts(record(), [2, 0.5, "3"]) == ("2", "0.5", "3")
    # as answers are written, of which one is right: parquet holds them as floats or decimals
    assert option_texts(record(), [1.0, 2.5, Decimal("3.0")]) == ("1", "2.5", "3.0")
    nan = float("nan")
    assert option_texts(record(), ["cup", "jug", nan, None]) == ("cup", "jug")
    for options in (
        [True, False],
        ["cup", None, "jug"],
        ["cup", nan, "jug"],
        [1, float("inf")],
        {"1": "cup", "2": "jug"},
        "cup;jug",
    ):
        with pytest.raises(UserError, match=r"line 3: options: expected a list of texts"):
            option_texts(record(), options)


def test_options_may_be_a_list_in_the_writing_of_python() -> None:
    # as MMMU writes them
    assert option_texts(record(), "['cup', \"the potter's jug\"]") == ("cup", "the potter's jug")
    listed = [
        "$\\frac{1}{2}$",
        "a \"b\" 'c'",
        "d\ne",
        "\u200b'",
        "['x', 'y']",
        "<image 1>",
        "Ü",
        "",
    ]
    assert option_texts(record(), f" {listed!r}\n") == tuple(map(str.strip, listed))
    # tuples, arrays of NumPy, what repr() does not write, and lists of anything else
    for options in (
        "('cup', 'jug')",
        "['cup' 'jug']",
        "['cup'\n 'jug']",
        "['cup', b'jug']",
        "['cup', f'jug']",
        "['cup', 'ju\\g']",
        "['cup', '\\ud800']",
        "['cup', 'j\ud800g']",
        "['cup', 'j\0g']",
        "['cup', 'j\rg']",
        "['cup', 'jug'",
        "['cup', ['jug']]",
        "['cup', None]",
        repr(["cup", "j" * 20_000]),
    ):
        with pytest.raises(UserError, match=r"line 3: options: expected a list of texts"):
            option_texts(record(), options)
    with pytest.raises(UserError, match=r"no list as JSON or Python writes it: write one in JSON"):
        option_texts(record(), "['cup' 'jug']")


def test_options_may_have_columns_of_their_letters() -> None:
    values = {"question": "?", "answer": "B", "A": "cup", "B": "jug"}
    assert options_of(record(**values)) == ("cup", "jug")
    assert options_of(record(**values, C=3, D=None)) == ("cup", "jug", "3")
    assert options_of(record(**values, C=float("nan"), D=float("nan"))) == ("cup", "jug")
    assert options_of(record(**values, options=["x", "y"])) == ("x", "y")
    for others in (
        {"A": "cup"},
        {"A": "cup", "B": None},
        {"A": float("nan"), "B": "jug"},
        {"B": "jug", "C": "pot"},
    ):
        assert options_of(record(question="?", answer="B", **others)) == ()
    with pytest.raises(UserError, match=r"line 3: options: expected a list of texts"):
        options_of(record(**values, C=None, D="pot"))

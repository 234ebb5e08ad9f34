"""Options of a question in all forms that data sets give them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from vrft import answers
from vrft.errors import UserError
from vrft.formats.options import check_count, check_named, option_texts, options_of
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


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        # the text, in other letters, with a stop, and with wordings around it
        ("red", ("red", "dark red")),
        ("Red.", ("red", "dark red")),
        ("The answer is red.", ("red", "dark red")),
        ("**red**", ("red", "dark red")),
        ("5cm", ("5 cm", "10 cm")),
        # the letter
        ("A", ("red", "dark red")),
        ("(a)", ("red", "dark red")),
        ("A.", ("red", "dark red")),
        # both
        ("A. red", ("red", "dark red")),
        ("(A) red", ("red", "dark red")),
        ("A red", ("red", "dark red")),
        ("A.red", ("red", "dark red")),
        ("A: Red", ("red", "dark red")),
        # letters whose texts nobody knows
        ("A. anything", ("", "")),
    ],
)
def test_a_gold_answer_is_an_options_text_its_letter_or_both(
    answer: str, options: tuple[str, ...]
) -> None:
    assert answers.choice(answer, options) == 0
    check_named(record(), answer, options, 0)


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        ("Red car", ("red", "dark red")),
        ("Paris, Texas", ("Paris", "London")),
        ("5 cm", ("5", "10")),
        ("The left one, I think", ("left", "right")),
        ("A, as one sees", ("cat", "dog")),
        ("A. cats", ("cat", "dog")),
    ],
)
def test_a_gold_answer_that_mentions_an_option_is_refused(
    answer: str, options: tuple[str, ...]
) -> None:
    with pytest.raises(UserError, match=r"line 3: the answer .* all of an option; write its text"):
        check_named(record(), answer, options, 0)


@pytest.mark.parametrize(
    ("where", "answer", "remedy"),
    [
        ("rows.jsonl: line 3", 2, 'write it as a text, "2"'),
        ("rows.csv: row 3", "2", "write the option's letter"),
        ("rows.CSV: row 3", " 2", "write the option's letter"),
    ],
)
def test_a_whole_number_that_may_be_a_text_or_a_place_is_refused(
    where: str, answer: Any, remedy: str
) -> None:
    row = Record({}, where, 3)
    with pytest.raises(UserError, match=rf"place of another .*, or {remedy}$"):
        check_count(row, answer, ("0", "2", "3", "1"), 1)
    # at its own place, or behind the last one, it is a text
    check_count(row, answer, ("0", "1", "2", "3"), 2)
    check_count(row, answer, ("5", "2"), 1)


@pytest.mark.parametrize(
    ("where", "answer"),
    [
        ("rows.jsonl: line 3", "2"),
        ("rows.csv: row 3", "2 dogs"),
        ("rows.jsonl: line 3", True),
        # measured numbers, as options too may be
        ("rows.jsonl: line 3", 2.0),
        ("rows.csv: line 3", "2.0"),
    ],
)
def test_a_number_in_a_text_of_json_is_no_place(where: str, answer: Any) -> None:
    check_count(Record({}, where, 3), answer, ("0", "2", "3", "1"), 1)

"""Letters of options: brought along by options, and in questions that list them."""

from __future__ import annotations

import pytest

from vrft.errors import UserError
from vrft.formats.option_letters import (
    check_letters,
    check_order,
    lists_options,
    options_in,
    without_letters,
)
from vrft.records import Record

ROW = Record({}, "rows.jsonl: line 3", 2)
CUPS = ("cup", "jug")


@pytest.mark.parametrize(
    "options",
    [
        ("A. cup", "B. jug"),
        ("(a) cup", "(b) jug"),
        ("A) cup", "B) jug"),
        ("A: cup", "B: jug"),
        ("A:cup", "B:jug"),
        ("[A] cup", "[B]. jug"),
        ("**A.** cup", "**B**. jug"),
        # East Asian stops and letters, without a space
        ("A．cup", "B、jug"),
        ("（Ａ）cup", "Ｂ：jug"),
    ],
)
def test_letters_that_are_those_of_their_places_come_off(options: tuple[str, str]) -> None:
    assert without_letters(options) == CUPS
    check_letters(ROW, without_letters(options))


def test_letters_stay_where_they_are_a_part_of_the_options() -> None:
    for options in (
        (),
        CUPS,
        ("A", "B"),
        ("A cup", "B jug"),
        # a letter on one of them, a ratio, more options than letters
        ("A. cup", "jug"),
        ("A:B", "B:C"),
        (*(f"{chr(65 + place)}. cup" for place in range(26)), "jug", "pot"),
    ):
        assert without_letters(options) == options
        check_letters(ROW, options)


def test_letters_of_other_places_are_refused() -> None:
    for options in (("B. jug", "A. cup"), ("B、jug", "C、cup"), ("B:jug", "A:cup"), ("B", "A")):
        assert without_letters(options) == options
        with pytest.raises(UserError, match=r"line 3: options with the letters B, [AC], which"):
            check_letters(ROW, options)


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Which? (A) cup (B) jug", CUPS),
        ("Which?\nA. Cup\nB. Jug", CUPS),
        ("Which? a) cup; b) jug", CUPS),
        ("Which, A: cup or B: jug?", CUPS),
        ("哪个？A．变大B．变小", ("变大", "变小")),
        ("哪个？（A）变大（B）变小", ("变大", "变小")),
        ("A、变大 B、变小", ("变大", "变小")),
        # the beginning of what stands there, in any spaces, and of another option
        ("(A) the  red\ncup of tea (B) the jug", ("the red cup", "the jug")),
        ("(A) left (B) left by 30 degrees", ("left", "left by 30 degrees")),
        ("(A) <image> (B) <image>", ("<image>", "<image>")),
    ],
)
def test_a_question_lists_its_options_by_their_letters(
    question: str, options: tuple[str, ...]
) -> None:
    assert lists_options(question, options)
    check_order(ROW, question, options)


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Which cup?", CUPS),
        # words and digits of the question are no list
        ("Which is closer, the cup or the jug?", CUPS),
        ("In 2013, how many of the 42 seats are red?", ("1", "2", "3", "4")),
        ("Which of cup, jug?", CUPS),
        ("Which point, A or B?", ("A", "B")),
        # one of them, and longer words and numbers
        ("Which? (A) cup (B) pot", CUPS),
        ("(A) cupboard (B) jugs", CUPS),
        ("(A) 1.5 (B) 12", ("1", "2")),
        ("(A) cup (B)", ("cup", "")),
        # a picture in the question stands for no option
        ("<image> Which?", ("<image>", "<image>")),
    ],
)
def test_other_questions_are_asked_with_their_options(
    question: str, options: tuple[str, ...]
) -> None:
    assert not lists_options(question, options)
    check_order(ROW, question, options)


def test_a_question_that_lists_its_options_in_another_order_is_refused() -> None:
    for question, options in (
        ("Which?\n(A) jug\n(B) cup", CUPS),
        ("A. left by 30 degrees B. left", ("left", "left by 30 degrees")),
    ):
        assert not lists_options(question, options)
        with pytest.raises(UserError, match=r"line 3: the question lists the options \("):
            check_order(ROW, question, options)


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Which?\n(A) cup\n(B) jug", CUPS),
        ("Which?\nA.cup\nB.jug\nGive the letter.", CUPS),
        ("Which?\n  A: cup\n  B:jug", CUPS),
        ("Which?\n- A. cup\n- B. jug", CUPS),
        ("Which?\n**A.** cup\n**(B)** jug", CUPS),
        ("Which?\nA．cup\nB、jug", CUPS),
        # statements with letters of their own before the options
        ("I. red\nII. blue\nA. cup\nB. jug", CUPS),
        ("A. Smith asks:\nA. cup\nB. jug", CUPS),
        # several in a line
        ("Which? A. cup B. jug", CUPS),
        ("Which? (A) cup (B) jug. Give the letter.", CUPS),
        ("是（　）A.变大B.变小", ("变大", "变小")),
        ("A. cup B. jug\nC. pot D. pan", ("cup", "jug", "pot", "pan")),
        # a letter within the text of an option begins none
        ("A. the cup of B. Brown\nB. jug", ("the cup of B. Brown", "jug")),
        ("Which question?\nA. Is it a cup?\nB. Is it a jug?", ("Is it a cup?", "Is it a jug?")),
    ],
)
def test_options_are_read_out_of_a_question(question: str, options: tuple[str, ...]) -> None:
    assert options_in(question) == options


def test_letters_that_list_nothing_are_left() -> None:
    for question in (
        "",
        "Which?\nA. cup",
        "Which?\nA. cup\nC. jug",
        "Which?\nB. cup\nC. jug",
        "Are (A) and (B) of one size?",
        "In it (A) is red and (B) is blue. Which is warm?",
        "Who is older, Dr. A. Smith or Dr. B. Jones?",
        "from A.M. to P.M.",
    ):
        assert options_in(question) == ()

"""Samples that share ids, questions or pictures, within a split and between two."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from vrft.checks.findings import Findings
from vrft.checks.leaks import Fingerprint, find_leaks, find_repeated, find_shared_ids, hash_text

NAMES = ("train", "test")


def asked(id: str, text: str, *pictures: str) -> Fingerprint:
    return Fingerprint(id, hash_text(text), pictures)


def texts(findings: Findings) -> tuple[list[str], list[str]]:
    return list(map(str, findings.problems)), list(map(str, findings.notes))


@pytest.mark.parametrize(
    ("question", "other", "same"),
    [
        # spaces, line ends, capitals and the width of letters change nothing
        ("What is 2 + 2?", "what  is\n2+2?", True),
        ("What is ２+２?", "What is 2+2?", True),
        # signs, numbers and accents do
        ("What is 2 + 2?", "What is 2 - 2?", False),
        ("x^2", "x^3", False),
        ("resume", "résumé", False),
        # half a surrogate pair, as broken JSON holds it, is a text too
        ("\ud83d", "\ud83d", True),
    ],
)
def test_questions_are_the_same_whatever_their_spelling(
    question: str, other: str, same: bool
) -> None:
    assert (hash_text(question) == hash_text(other)) is same


def test_ids_that_occur_twice_are_a_problem() -> None:
    assert texts(find_shared_ids(["a", "b", "a", "a"])) == (
        ["1 share their id with another: a"],
        [],
    )
    assert find_shared_ids(["a", "b"]) == Findings()


def test_the_same_question_about_the_same_pictures_is_a_note_once() -> None:
    split = [
        asked("a", "How many?", "p"),
        asked("b", "How many?", "q"),
        asked("c", "how many?", "p"),
        # the other way round, and another question
        asked("d", "How many?", "p", "q"),
        asked("e", "How many?", "q", "p"),
        asked("f", "Which?", "p"),
        asked("g", "How many?", "p"),
    ]
    note = "2 ask the same of the same pictures as one before them: c, g"
    assert texts(find_repeated(split)) == ([], [note])


def test_a_picture_of_the_training_split_is_a_problem_whatever_is_asked() -> None:
    train = [asked("1", "How many?", "p", "q")]
    later = [asked("a", "Which?", "q"), asked("b", "How many?", "p"), asked("c", "Which?", "r")]
    problem = "2 of test show pictures of train: a, b"
    assert texts(find_leaks(train, later, NAMES)) == ([problem], [])


def test_a_question_without_pictures_that_training_asks_is_a_problem() -> None:
    train = [asked(str(n), f"What is {n} + 1?") for n in range(4)]
    later = [asked("a", "what is 3+1?"), asked("b", "What is 7 + 1?")]
    assert texts(find_leaks(train, later, NAMES)) == (["1 of test ask what train asks: a"], [])


# What training asks, and whether it is worth a note that a later split asks "What is ∠1?" too.
TRAININGS = [
    # every question is its own; three of four are; half are
    (["What is ∠1?", "What is AB?"], True),
    (["What is ∠1?", "What is ∠2?", "What is AB?", "What is AB?", "What is CD?"], True),
    (["What is ∠1?", "What is AB?", "How long?", "How long?"], False),
    # the one question that every picture is asked
    (["What is ∠1?"] * 5, False),
]


@pytest.mark.parametrize(("train", "noted"), TRAININGS)
def test_the_same_question_of_other_pictures_is_noted_where_questions_differ(
    train: Sequence[str], noted: bool
) -> None:
    first = [asked(str(n), text, f"p{n}") for n, text in enumerate(train)]
    later = [asked("a", "What is ∠1?", "q"), asked("b", "What is the area?", "r")]
    note = "1 of test ask what train asks, of other pictures: a"
    assert texts(find_leaks(first, later, NAMES)) == ([], [note] if noted else [])


def test_every_offender_is_kept_and_three_are_named() -> None:
    train = [asked("1", "?", "p")]
    (problem,) = find_leaks(train, [asked(c, "?", "p") for c in "abcd"], NAMES).problems
    assert str(problem) == "4 of test show pictures of train: a, b, c, ..."
    assert problem.ids == ("a", "b", "c", "d")

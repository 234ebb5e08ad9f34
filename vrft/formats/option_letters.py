"""The letters of options: which they bring along, and by which a question lists them."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from vrft.records.record import Record
from vrft.types import PLACE
from vrft.wrapping import LOOKS

LETTERS = tuple(string.ascii_uppercase)
LOOKS_ALIKE = {code: look for code, look in LOOKS.items() if look is not None} | {
    ord("、"): ord("."),
    ord("："): ord("."),
}
"""Full-width signs -> ASCII, one for one, so that places stay; East Asian stops end a letter."""

MARK = r"(?:\*\*)?[(\[]?([A-Z])(?:\*\*)?(?:[)\]][.:]?|\.|:(?![A-Za-z]\b))(?:\*\*)?[ \t]*+(?=\S)"
"""The letter before an option: "(A) cup", "A. cup", "A.cup", "A:cup", "**A.** cup".

A:B is a ratio.
"""
OWN_MARK = re.compile(MARK, re.IGNORECASE)
LISTED_MARK = re.compile(
    rf"(?:(?P<line>^[ \t]*+(?:[-*+•][ \t]++)?)|(?<=[\s?:)\u3400-\u9fff])){MARK}", re.MULTILINE
)
"""A mark at the beginning of a line, be it a list's, or behind a word."""
KNOWN_MARK = re.compile(
    r"(?<![a-z0-9])([a-z])(?:\*\*)?(?:[)\]][.:]?|[.:])(?:\*\*)? ?", re.IGNORECASE
)
"""A mark whose option is known, wherever it stands."""
GOES_ON = re.compile(r"[a-z0-9]|[.,][0-9]", re.IGNORECASE)
"""The rest of a longer word or number, of which an option is the beginning."""
NEXT_SENTENCE = re.compile(r"[.!] (?=[A-Z])")


def without_letters(options: Sequence[str]) -> tuple[str, ...]:
    """Return options without the letters that they bring along, where each has that of its place.

    The options "A. cup" and "B. jug" are asked by these letters anyway.
    """
    marks = [OWN_MARK.match(option.translate(LOOKS_ALIKE)) for option in options]
    letters = tuple(mark[1].upper() for mark in marks if mark)
    if len(letters) < len(options) or letters != LETTERS[: len(letters)]:
        return tuple(options)
    return tuple(option[mark.end() :] for option, mark in zip(options, marks, strict=True) if mark)


def check_letters(record: Record, options: Sequence[str]) -> None:
    """Raise UserError where options bring letters along that are not those of their places.

    "(B) jug" as the first option, or "B" alone, is named by two letters.
    """
    marks = [OWN_MARK.match(option.translate(LOOKS_ALIKE)) for option in options]
    letters = [mark[1].upper() for mark in marks if mark]
    alone = [option for option in options if option in LETTERS]
    for given in (letters, alone):
        if len(given) == len(options) and tuple(given) != LETTERS[: len(given)]:
            raise record.error(
                f"options with the letters {', '.join(given)}, which are not those of their "
                "places; put them in order, or write them without letters"
            )


def lists_options(question: str, options: Sequence[str]) -> bool:
    """Return whether a question lists its options already, each behind its letter."""
    enough = question.count(PLACE) >= sum(option.count(PLACE) for option in options)
    behind = letters_behind(question, options)
    return enough and all(place in places for place, places in enumerate(behind))


def check_order(record: Record, question: str, options: Sequence[str]) -> None:
    """Raise UserError for a question that lists the options by the letters of others of them."""
    behind = letters_behind(question, options)
    listed = all(place in places for place, places in enumerate(behind))
    if not listed and all(behind) and set().union(*behind) >= set(range(len(options))):
        raise record.error(
            f"the question lists the options {tuple(options)!r:.80} by other letters than those of "
            "their places; put both in the same order, or take the list out of the question"
        )


def letters_behind(question: str, options: Sequence[str]) -> list[set[int]]:
    """Return of each option the places of the letters behind which it stands in a question.

    It may do so in any case, unless options differ in nothing else.
    """
    asked, *wanted = (
        " ".join(text.translate(LOOKS_ALIKE).split()) for text in (question, *options)
    )
    if len(set(wanted)) == len({option.casefold() for option in wanted}):
        asked, wanted = asked.casefold(), [option.casefold() for option in wanted]
    behind: list[set[int]] = [set() for _ in wanted]
    for mark in KNOWN_MARK.finditer(asked):
        for places, option in zip(behind, wanted, strict=True):
            if option and asked.startswith(option, mark.end()):
                # Texts of East Asia have no spaces between an option and the next letter.
                word = option[-1].isascii() and option[-1].isalnum()
                if not (word and GOES_ON.match(asked, mark.end() + len(option))):
                    places.add(ord(mark[1].lower()) - ord("a"))
    return behind


def options_in(question: str) -> tuple[str, ...]:
    """Return the options that a question lists by letters from A; () where no list is clear.

    They stand one a line, or several in a line. Other letters before the last A begin no option, as
    those of "I. ..." and "V. ..." do not.
    """
    marks = [*LISTED_MARK.finditer(question.translate(LOOKS_ALIKE))]
    lines = [mark for mark in marks if mark["line"] is not None]
    return texts_behind(question, marks) or texts_behind(question, lines)


def texts_behind(question: str, marks: Sequence[re.Match[str]]) -> tuple[str, ...]:
    """Return the texts behind the marks of a question, the last A and what follows; () if unclear.

    Unclear are letters that do not follow each other, and a text in a line that holds no list: what
    stands between two letters is empty, or asks.
    """
    letters = "".join(mark[2] for mark in marks)
    marks = marks[max(letters.rfind("A"), 0) :]
    letters = letters[-len(marks) :]
    if len(marks) < 2 or tuple(letters) != LETTERS[: len(marks)]:
        return ()
    ends = [*(mark.start() for mark in marks[1:]), len(question)]
    texts = [
        question[mark.end() : end].split("\n", 1)[0].strip()
        for mark, end in zip(marks, ends, strict=True)
    ]
    if any(mark["line"] is None for mark in marks):
        if any("?" in text.translate(LOOKS_ALIKE) for text in texts):
            return ()
        texts[-1] = NEXT_SENTENCE.split(texts[-1], maxsplit=1)[0]
    return tuple(texts) if all(texts) else ()

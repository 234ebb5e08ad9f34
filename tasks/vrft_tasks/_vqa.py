"""Answers of four kinds, option, number, yes or no, text: found from the rows, and compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vrft import answers, wrapping
from vrft.numbers import Quantity
from vrft.records import shown
from vrft.records.rows import Row
from vrft.types import Turn

Kind = Literal["option", "number", "yes_no", "text"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTER = re.compile(r"\(?([A-Za-z])[).]?")
LISTED = re.compile(r"^[ \t]*+\(?([A-Z])[).:][ \t]*+(\S[^\n]*)$", re.MULTILINE)
"""An option in a question, one a line: "(A) a cup", "B. a jug"."""
WORDS = {"yes": True, "true": True, "no": False, "false": False}
WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True)
class Gold:
    """The true answer, and what of a row belongs to its prompt besides question and pictures."""

    kind: Kind
    text: str
    """The answer as a model should write it; a letter for an option."""
    options: tuple[str, ...] = ()
    """The options by letter; empty texts where the question names none and a letter answers."""
    listed: bool = False
    """Whether the options stand in the question already."""
    system: str | None = None
    turns: tuple[Turn, ...] = ()

    def asked(self, question: str) -> str:
        """Return the question with its options, one a line, unless it holds them already."""
        if self.listed or not self.options:
            return question
        lines = [f"({LETTERS[i]}) {option}" for i, option in enumerate(self.options)]
        return "\n".join([question, "Choose one of these options:", *lines])


def kind_of(rows: Sequence[Row]) -> Kind:
    """Return the kind of answer that all rows of a split have, "text" where they differ.

    Raises UserError where some rows have options and others have none.
    """
    with_options = [bool(row.options) for row in rows]
    if any(with_options):
        if not all(with_options):
            raise rows[with_options.index(False)].record.error(
                f"no options, as {rows[with_options.index(True)].record.where} has; add them, or "
                "set task.kind=text"
            )
        return "option"
    texts = [answer_text(row) for row in rows]
    if all(len(text) < 4 and LETTER.fullmatch(text) for text in texts):
        return "option"
    if all(truth(text) is not None and text.casefold() in WORDS for text in texts):
        return "yes_no"
    if all(Quantity.parse(text) is not None for text in texts):
        return "number"
    return "text"


def answer_text(row: Row) -> str:
    """Return the answer of a row as text; raise UserError for a list, an object or a blank text."""
    answer = row.answer
    if isinstance(answer, bool):  # which Python takes for 0 or 1
        return "yes" if answer else "no"
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)
    if not isinstance(answer, str | int | float):
        raise row.record.error(
            f"the answer {shown(answer)} is neither text nor number; boxes of four numbers and "
            "points of two are for --task grounding"
        )
    text = str(answer).strip()
    if not any(map(str.isalnum, text)):
        raise row.record.error(f"the answer {text!r:.60} has no letter or digit; correct the row")
    return text


def gold_of(row: Row, kind: Kind) -> Gold:
    """Return the true answer of a row; raise UserError where it is of another kind."""
    text = answer_text(row)
    context = (row.system, row.turns)
    if kind == "option":
        return option_of(row, text)
    if kind == "yes_no":
        value = truth(text)
        if value is None:
            raise row.record.error(f"the answer {text!r:.60} is neither yes nor no")
        return Gold(kind, "yes" if value else "no", (), False, *context)
    if kind == "number" and Quantity.parse(text) is None:
        raise row.record.error(
            f"the answer {text!r:.60} is no number; correct it, or set task.kind"
        )
    return Gold(kind, text, (), False, *context)


def option_of(row: Row, text: str) -> Gold:
    """Return the right option of a row, by its letter."""
    found = LISTED.findall(row.question)
    in_question = tuple(option.strip() for _, option in found)
    if "".join(letter for letter, _ in found) != LETTERS[: len(found)] or len(found) < 2:
        in_question = ()
    options = row.options or in_question or ("",) * len(LETTERS)
    named = f"the options {options!r:.80}" if any(options) else "the letters of options"
    listed = not row.options or all(option in row.question for option in row.options)
    index = answers.choice(text, options)
    if index is None or not 2 <= len(options) <= len(LETTERS):
        raise row.record.error(f"the answer {text!r:.60} is none of {named}")
    return Gold("option", LETTERS[index], options, listed, row.system, row.turns)


def readable(gold: Gold, answer: str) -> str | None:
    """Return an answer as it is read for the kind of question; None for an unreadable one."""
    if gold.kind == "option":
        index = answers.choice(answer, gold.options)
        return None if index is None else LETTERS[index]
    if gold.kind == "yes_no":
        value = truth(answer)
        return None if value is None else ("yes" if value else "no")
    if gold.kind == "number":
        return answer if Quantity.parse(answer) is not None else None
    return plain(answer) or None


def right(gold: Gold, answer: str) -> bool:
    """Return whether an answer is the true one, by the rules of its kind."""
    read = readable(gold, answer)
    if gold.kind == "number" and read is not None:
        given, true = Quantity.parse(read), Quantity.parse(gold.text)
        return given is not None and true is not None and true.agrees(given)
    return read is not None and read == (plain(gold.text) if gold.kind == "text" else gold.text)


def truth(text: str) -> bool | None:
    """Return the truth value that an answer begins with; None if none, or if it names both."""
    words = WORD.findall(wrapping.bare(text).casefold())
    named = {WORDS[word] for word in words if word in WORDS}
    return named.pop() if len(named) == 1 and words[0] in WORDS else None


def plain(text: str) -> str:
    """Return a text in lower case on one line, without quotes around it and stops behind it."""
    line = " ".join(wrapping.bare(text).split()).casefold()
    return line.strip(answers.QUOTES).rstrip(answers.STOPS).strip(answers.QUOTES)

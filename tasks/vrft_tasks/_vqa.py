"""True answers of four kinds, option, number, yes or no, text, and when an answer is one."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from vrft import answers, wrapping
from vrft.formats.option_letters import (
    LETTERS,
    OWN_MARK,
    check_letters,
    check_order,
    lists_options,
    options_in,
)
from vrft.formats.options import check_count, check_named, check_once, counted
from vrft.formats.rows import Row
from vrft.numbers import Quantity, compact, is_compound
from vrft.types import Turn
from vrft_tasks._vqa_answers import (
    INITIALS,
    WORDS,
    Kind,
    Rules,
    answer_text,
    core,
    given,
    is_letter,
    is_number,
)

WORD = re.compile(r"[a-z]+")

SAME_SIGNS = str.maketrans("‘’ʼ“”–", "'''\"\"-")
"""Signs of typesetters -> those of a keyboard, which mean the same within a text."""


@dataclass(frozen=True, slots=True)
class Gold:
    """The true answer, and what of a row belongs to its prompt besides question and pictures."""

    kind: Kind
    text: str
    """The answer as a model should write it; a letter for an option."""
    options: tuple[str, ...] = ()
    """The options in their order; empty texts where the question names none and a letter answers.

    An answer of another kind than "option" is not read by them.
    """
    listed: bool = False
    """Whether the options stand in the question already."""
    system: str | None = None
    turns: tuple[Turn, ...] = ()
    others: tuple[str, ...] = ()
    """Further answers that are as right, written as ``text`` is."""

    def asked(self, question: str) -> str:
        """Return the question with its options, one a line, unless it holds them already.

        They have letters where a letter may answer.
        """
        if self.listed or not self.options:
            return question
        lettered = self.kind == "option" or has_letter(self.text)
        marks = [f"({letter})" if lettered else "-" for letter in LETTERS]
        lines = [f"{mark} {option}" for mark, option in zip(marks, self.options, strict=False)]
        return "\n".join([question, "Choose one of these options:", *lines])


def gold_of(row: Row, kind: Kind, rules: Rules) -> Gold:
    """Return the true answer of a row; raise UserError where one of them is of another kind."""
    first, *others = (read_gold(row, kind, answer, rules) for answer in given(row, rules))
    texts = dict.fromkeys(other.text for other in others if other.text != first.text)
    return replace(first, others=tuple(texts))


def read_gold(row: Row, kind: Kind, answer: Any, rules: Rules) -> Gold:
    """Return one right answer of a row; raise UserError where it is of another kind.

    The options of a row belong to its prompt whatever kind its answer is of.
    """
    if kind == "option":
        return option_of(row, answer, rules.option_index)
    text = answer_text(row, answer)
    if row.options and has_letter(text):
        check_letters(row.record, row.options)
        check_order(row.record, row.question, row.options)
    listed = bool(row.options) and lists_options(row.question, row.options)
    rest = (row.options, listed, row.system, row.turns)
    if kind == "yes_no":
        value = truth(text)
        if value is None:
            raise row.record.error(f"the answer {text!r:.60} is neither yes nor no")
        return Gold(kind, "yes" if value else "no", *rest)
    if kind == "number" and not is_number(text):
        raise row.record.error(
            f"the answer {text!r:.60} is no number; correct it, or set task.kind"
        )
    return Gold(kind, text, *rest)


def has_letter(text: str) -> bool:
    """Return whether an answer is the letter of an option, alone or before its text."""
    return is_letter(text) or OWN_MARK.match(wrapping.bare(text)) is not None


def option_of(row: Row, answer: Any, first: int | None) -> Gold:
    """Return the right option of a row, by its letter; ``first`` is task.option_index."""
    text = answer_text(row, answer)
    options = row.options or options_in(row.question) or ("",) * len(LETTERS)
    named = f"the options {options!r:.80}" if any(options) else "the letters of options"
    check_letters(row.record, options)
    check_order(row.record, row.question, row.options)
    listed = not row.options or lists_options(row.question, row.options)
    if first is None or not any(options):
        index = answers.choice(text, options)
    else:
        index = counted(row.record, answer, options, first)
    if index is None or not 2 <= len(options) <= len(LETTERS):
        place = "; if it counts the options, set task.option_index=0 or 1, the number of the first"
        remedy = place if text.isdecimal() and first is None else ""
        raise row.record.error(f"the answer {text!r:.60} is none of {named}{remedy}")
    if first is None:
        check_count(row.record, answer, options, index)
        check_named(row.record, text, options, index)
    check_once(row.record, options, index)
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
        return answer if is_number(answer) else None
    return plain(answer) or None


def right(gold: Gold, answer: str) -> bool:
    """Return whether an answer is a true one, by the rules of its kind."""
    read = readable(gold, answer)
    every = (gold.text, *gold.others)
    if read is None:
        return False
    if gold.kind == "number":
        given, true = Quantity.parse(read), [Quantity.parse(text) for text in every]
        return given is not None and any(one is not None and one.agrees(given) for one in true)
    if gold.kind == "text":
        return any(is_same_text(text, read) for text in every)
    return read in every


def is_same_text(true: str, said: str) -> bool:
    """Return whether a text in plain form is the true one.

    In amounts and compounds neither blanks beside digits count nor the commas of thousands, and a
    size may have × or x.
    """
    if plain(true) == said:
        return True
    if compact(plain(true)) != compact(said):
        return False
    return is_compound(true) or Quantity.parse(true) is not None


def truth(text: str) -> bool | None:
    """Return the truth value that an answer begins with; None if none, or if it names both.

    A letter counts where it is all of the answer.
    """
    short = core(text).casefold()
    if short in INITIALS:
        return INITIALS[short]
    words = WORD.findall(wrapping.bare(text).casefold())
    named = {WORDS[word] for word in words if word in WORDS}
    return named.pop() if len(named) == 1 and words[0] in WORDS else None


def plain(text: str) -> str:
    """Return a text in lower case on one line, without quotes around it and stops behind it."""
    line = " ".join(wrapping.bare(text).translate(SAME_SIGNS).split()).casefold()
    return line.strip(answers.QUOTES).rstrip(answers.STOPS).strip(answers.QUOTES)

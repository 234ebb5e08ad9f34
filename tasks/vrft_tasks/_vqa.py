"""Answers of four kinds, option, number, yes or no, text: found from the rows, and compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from vrft import answers, wrapping
from vrft.numbers import Quantity, compact, is_compound
from vrft.records import nested, shown
from vrft.records.option_letters import check_letters, check_order, lists_options, options_in
from vrft.records.record import is_finite, number_text
from vrft.records.rows import Row
from vrft.types import PLACE, Turn

Kind = Literal["option", "number", "yes_no", "text"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTER = re.compile(r"\(?([A-Za-z])[).]?")
WORDS = {"yes": True, "true": True, "no": False, "false": False}
INITIALS = {"y": True, "t": True, "n": False, "f": False}
"""Yes and no, or true and false, in short."""
WORD = re.compile(r"[a-z]+")

NUMERIC = re.compile(r"[^\W\d]{0,3}[€£¥$]? ?[-+−–]?[0-9][0-9.,'’:/ \u00a0\u202f-]*+\D{0,20}")
"""A text that looks like a number, if perhaps in the spelling of another language: 1,5."""
SAME_SIGNS = str.maketrans("‘’ʼ“”–", "'''\"\"-")
"""Signs of typesetters -> those of a keyboard, which mean the same within a text."""
CODE = re.compile(r"0[0-9]++")
"""A number whose zeros count, as those of a house or a postal code do."""
LONG = 100
"""Characters of a text that a model is not likely to write as it stands in the data."""
MOST = 0.5
"""A kind of more than this fraction of the answers is meant for all, it may be."""


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
    others: tuple[str, ...] = ()
    """Further answers that are as right, written as ``text`` is."""

    def asked(self, question: str) -> str:
        """Return the question with its options, one a line, unless it holds them already."""
        if self.listed or not self.options:
            return question
        lines = [f"({LETTERS[i]}) {option}" for i, option in enumerate(self.options)]
        return "\n".join([question, "Choose one of these options:", *lines])


def kind_of(rows: Sequence[Row], accept_any: bool) -> Kind:
    """Return the kind of answer that all rows of a split have, "text" where they differ.

    ``accept_any`` is that of accepted(). Raises UserError where some rows have options and others
    have none.
    """
    with_options = [bool(row.options) for row in rows]
    if any(with_options):
        if not all(with_options):
            raise rows[with_options.index(False)].record.error(
                f"no options, as {rows[with_options.index(True)].record.where} has; add them, or "
                "set task.kind=text"
            )
        return "option"
    texts = [text for row in rows for text in accepted(row, accept_any)]
    initials = {text.casefold() for text in texts}
    if initials in ({"y", "n"}, {"t", "f"}):
        return "yes_no"
    return next((kind for kind, fits in FITS.items() if all(map(fits, texts))), "text")


def exception(rows: Sequence[Row], accept_any: bool) -> str:
    """Return in words which answer makes those of a split texts, while most are of another kind.

    "" where no other kind has most of them.
    """
    every = [(row, text) for row in rows for text in accepted(row, accept_any)]
    texts = [text for _, text in every]
    for kind, fits in {**FITS, "number": looks_numeric}.items():
        fitting = [fits(text) for text in texts]
        share = sum(fitting) / len(texts)
        strict = [FITS[kind](text) for text in texts]
        if share > MOST and not all(strict):
            odd = strict.index(False)
            words = {"option": "letters", "number": "numbers", "yes_no": "yes or no"}[kind]
            return (
                f"{sum(fitting)} of {len(texts)} look like {words}, but {texts[odd]!r:.60} of "
                f"{every[odd][0].record.where} is none: correct it, or set task.kind={kind} or text"
            )
    return ""


def long_texts(rows: Sequence[Row], accept_any: bool) -> str:
    """Return in words how many answers are too long to be given word for word; "" for none."""
    every = [text for row in rows for text in accepted(row, accept_any)]
    count = sum(len(text) > LONG or "\n" in text for text in every)
    if not count:
        return ""
    return (
        f"{count} of {len(every)} have several lines or over {LONG} characters, and only the same "
        "text is right"
    )


def is_letter(text: str) -> bool:
    """Return whether an answer is a letter, as it may be of an option."""
    return len(text) < 4 and LETTER.fullmatch(text) is not None


def is_truth(text: str) -> bool:
    """Return whether an answer is yes, no, true or false."""
    return text.casefold() in WORDS


def is_number(text: str) -> bool:
    """Return whether an answer is one amount with its unit, and no compound as 3-5 is."""
    return Quantity.parse(text) is not None and not is_compound(text)


def looks_numeric(text: str) -> bool:
    """Return whether an answer looks like a number, if perhaps no spelling that is read."""
    return is_number(text) or (NUMERIC.fullmatch(text) is not None and not is_compound(text))


FITS: Mapping[Kind, Callable[[str], bool]] = {
    "option": is_letter,
    "yes_no": is_truth,
    "number": lambda text: is_number(text) and CODE.fullmatch(text) is None,
}
"""Kind -> whether an answer is of it, in the order in which kinds are looked for."""


def accepted(row: Row, accept_any: bool) -> tuple[str, ...]:
    """Return the right answers of a row as texts: all of a list with ``accept_any``, else the one.

    Raises UserError for any other list, an object or a blank text.
    """
    answer = nested.listed(row.answer) if accept_any else row.answer
    if accept_any and isinstance(answer, list | tuple) and answer:
        return tuple(dict.fromkeys(answer_text(row, item) for item in answer))
    return (answer_text(row, row.answer),)


def answer_text(row: Row, answer: Any) -> str:
    """Return an answer of a row as text; raise UserError for a list, an object or a blank text.

    Nor is NaN or infinity an answer, nor a list of texts within a text, in JSON or Python.
    """
    if isinstance(answer, bool):  # which Python takes for 0 or 1
        return "yes" if answer else "no"
    if isinstance(answer, float | Decimal):
        if not is_finite(answer):
            raise row.record.error(f"the answer {answer} is no finite number; correct the row")
        answer = number_text(answer)
    if not isinstance(answer, str | int):
        several = isinstance(answer, list | tuple)
        raise row.record.error(
            f"the answer {shown(answer)} is neither text nor number; "
            + ("give one, all in one text, or set task.accept_any=true if " if several else "")
            + ("each alone is right; " if several else "")
            + "boxes of four numbers and points of two are for --task grounding"
        )
    text = str(answer).strip()
    if nested.is_list_of_texts(text):
        raise row.record.error(
            f"the answer {shown(text)} is a list within a text; give one answer, or a list in JSON "
            "and task.accept_any=true if each alone is right"
        )
    if not any(map(str.isalnum, text)):
        raise row.record.error(f"the answer {text!r:.60} has no letter or digit; correct the row")
    return text


def gold_of(row: Row, kind: Kind, accept_any: bool) -> Gold:
    """Return the true answer of a row; raise UserError where one of them is of another kind."""
    first, *others = (read_gold(row, kind, text) for text in accepted(row, accept_any))
    return replace(first, others=tuple(dict.fromkeys(other.text for other in others)))


def read_gold(row: Row, kind: Kind, text: str) -> Gold:
    """Return one right answer of a row; raise UserError where it is of another kind."""
    context = (row.system, row.turns)
    if kind == "option":
        return option_of(row, text)
    if kind == "yes_no":
        value = truth(text)
        if value is None:
            raise row.record.error(f"the answer {text!r:.60} is neither yes nor no")
        return Gold(kind, "yes" if value else "no", (), False, *context)
    if kind == "number" and not is_number(text):
        raise row.record.error(
            f"the answer {text!r:.60} is no number; correct it, or set task.kind"
        )
    return Gold(kind, text, (), False, *context)


def option_of(row: Row, text: str) -> Gold:
    """Return the right option of a row, by its letter."""
    options = row.options or options_in(row.question) or ("",) * len(LETTERS)
    named = f"the options {options!r:.80}" if any(options) else "the letters of options"
    check_letters(row.record, options)
    check_order(row.record, row.question, row.options)
    listed = not row.options or lists_options(row.question, row.options)
    index = answers.choice(text, options)
    if index is None or not 2 <= len(options) <= len(LETTERS):
        place = "; one that counts the options must be written as a letter, A for the first"
        remedy = place if text.isdecimal() else ""
        raise row.record.error(f"the answer {text!r:.60} is none of {named}{remedy}")
    said = plain(options[index])
    if said and answers_alike(options, said) > 1:
        raise row.record.error(
            f"the right option {options[index]!r:.60} stands twice among the options; remove one"
        )
    return Gold("option", LETTERS[index], options, listed, row.system, row.turns)


def answers_alike(options: Sequence[str], said: str) -> int:
    """Return how many options are the same text, but for pictures, which are not read here."""
    return 0 if PLACE in said else sum(plain(option) == said for option in options)


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
    answer = wrapping.bare(text).casefold()
    if answer in INITIALS:
        return INITIALS[answer]
    words = WORD.findall(answer)
    named = {WORDS[word] for word in words if word in WORDS}
    return named.pop() if len(named) == 1 and words[0] in WORDS else None


def plain(text: str) -> str:
    """Return a text in lower case on one line, without quotes around it and stops behind it."""
    line = " ".join(wrapping.bare(text).translate(SAME_SIGNS).split()).casefold()
    return line.strip(answers.QUOTES).rstrip(answers.STOPS).strip(answers.QUOTES)

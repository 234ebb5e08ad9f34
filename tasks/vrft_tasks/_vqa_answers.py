"""The right answers of rows as texts, and the kinds of answers that texts may be."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from vrft import answers, wrapping
from vrft.formats.option_letters import OWN_MARK, options_in
from vrft.formats.options import list_in_text
from vrft.formats.rows import Row
from vrft.numbers import Quantity, is_compound
from vrft.records import nested, shown
from vrft.records.record import is_finite, number_text

Kind = Literal["option", "number", "yes_no", "text"]

LETTER = re.compile(r"\(?([A-Za-z])[).]?")
BRACKETS = {"(": ")", "[": "]"}
SHORT = 60
"""Characters of an answer that may be a letter or a word with all that is wrapped around it."""
WORDS = {"yes": True, "true": True, "no": False, "false": False}
INITIALS = {"y": True, "t": True, "n": False, "f": False}
"""Yes and no, or true and false, in short."""

NUMERIC = re.compile(r"[^\W\d]{0,3}[€£¥$]? ?[-+−–]?[0-9][0-9.,'’:/ \u00a0\u202f-]*+\D{0,20}")
"""A text that looks like a number, if perhaps in the spelling of another language: 1,5."""
CODE = re.compile(r"0[0-9]++")
"""A number whose zeros count, as those of a house or a postal code do."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The task's settings of these names, by which answers of rows are taken."""

    accept_any: bool = False
    option_index: int | None = None


@functools.lru_cache(maxsize=1024)  # most answers of many rows are the same few
def core(text: str) -> str:
    """Return a short answer without boxes, marks and brackets around it; "" for a longer one."""
    line = wrapping.bare(text) if len(text) <= SHORT else ""
    enclosed = len(line) > 2 and BRACKETS.get(line[0]) == line[-1]
    return line[1:-1].strip() if enclosed else line


def is_letter(text: str) -> bool:
    """Return whether an answer is a letter, as it may be of an option."""
    return LETTER.fullmatch(core(text)) is not None


def is_option(row: Row, text: str) -> bool:
    """Return whether an answer is a letter, or an option that the question lists by letters."""
    if is_letter(text):
        return True
    options = options_in(row.question)
    line = wrapping.bare(text)
    if OWN_MARK.match(line) is not None:  # the letter and the text: (B) jug
        return answers.choice(text, options) is not None
    return line.casefold() in [wrapping.bare(option).casefold() for option in options]


def is_truth(text: str) -> bool:
    """Return whether an answer is yes, no, true or false."""
    return core(text).casefold() in WORDS


def is_number(text: str) -> bool:
    """Return whether an answer is one amount with its unit, and no compound as 3-5 is."""
    return Quantity.parse(text) is not None and not is_compound(text)


def is_like_number(text: str) -> bool:
    """Return whether an answer looks like a number, be it a code or in a spelling not read."""
    line = core(text) or text
    return NUMERIC.fullmatch(line) is not None and not is_compound(line)


FITS: Mapping[Kind, Callable[[Row, str], bool]] = {
    "option": is_option,
    "yes_no": lambda row, text: is_truth(text),
    "number": lambda row, text: is_number(text) and CODE.fullmatch(core(text)) is None,
}
"""Kind -> whether an answer of a row is of it, in the order in which kinds are looked for."""


def has_options(row: Row, rules: Rules) -> bool:
    """Return whether a row has options, or a question whose listed ones its answer counts."""
    return bool(row.options) or (rules.option_index is not None and bool(options_in(row.question)))


def given(row: Row, rules: Rules) -> tuple[Any, ...]:
    """Return the right answers of a row as the data have them: one, or those of a list.

    Blank texts of a list, which some annotators leave, are left out beside others.
    """
    every = listed_answers(row, rules)
    return tuple(answer for answer in every if not is_blank(answer)) or every


def blanks(row: Row, rules: Rules) -> int:
    """Return how many answers of a row are left out as they are blank."""
    return len(listed_answers(row, rules)) - len(given(row, rules))


def listed_answers(row: Row, rules: Rules) -> tuple[Any, ...]:
    """Return all answers of a row as the data have them, blank ones too."""
    answer = list_in_text(row.answer) if rules.accept_any else row.answer
    if rules.accept_any and isinstance(answer, list | tuple) and answer:
        return tuple(answer)
    return (row.answer,)


def is_blank(answer: Any) -> bool:
    """Return whether an answer is a text without a letter or digit."""
    return isinstance(answer, str) and not any(map(str.isalnum, answer))


def accepted(row: Row, rules: Rules) -> tuple[str, ...]:
    """Return the right answers of a row as texts.

    Raises UserError for a list that ``rules`` do not take, an object or a blank text.
    """
    return tuple(dict.fromkeys(answer_text(row, answer) for answer in given(row, rules)))


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
    if is_blank(text):
        raise row.record.error(f"the answer {text!r:.60} has no letter or digit; correct the row")
    return text

"""Results in boxes: how the math task reads them from answers and from the rows of data sets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from vrft import answers
from vrft.formats.row_pictures import check_none
from vrft.numbers import Quantity
from vrft.numbers.units import MULTIPLES, NO_UNITS
from vrft.records import Record, flattened, shown
from vrft.records.nested import holds_null
from vrft.records.record import is_finite, number_text
from vrft.types import Sample

BOX = re.compile(r"\\boxed\s*+\{")
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
"""A brace, or any escaped character: ``\\{`` is text and closes nothing."""
DOLLARS = re.compile(r"\$++([^$]*+)\$++|\$++")
LONGEST_RESULT = 1000
"""Characters, far more than any result of the data sets has."""

BEHIND = r"[0-9}]\s*+(?:\\(?:text|mathrm)\s*+\{\s*+)?(?:\\[ ,;]\s*+)?"
"""The end of a number, and what may stand before its word: LaTeX's frame of texts, or a space."""
WORDS = re.compile(BEHIND + r"([a-zA-Z]{2,20}+)(?!-)")
"""A word behind a number; the first half of "two-digit" is none."""
LAST_WORD = re.compile(BEHIND + r"((?:or )?[a-zA-Z]{2,20}+)\s*+\}?+\s*+\.?+$")
"""The word behind a number with which a result ends."""
OTHER_NUMBERS = NO_UNITS - {"times"} | {"or more", "or less", "or fewer"}
"""Words behind a number that make another one of it; 10 times is how often."""
HALF_DAY = re.compile(r"[0-9]\s*+(?:\\(?:text|mathrm)\s*+\{\s*+)?([ap])\.? ?m\b")

SUBSETS = ("subset", "subject", "type", "subfield")


@dataclass(frozen=True, slots=True)
class Gold:
    """The true result as bare LaTeX, and its derivation where the data has one."""

    result: str
    solution: str = ""


def last_box(text: str) -> str | None:
    """Return the content of the last \\boxed{...}, stripped; None if empty, open or too long."""
    starts = [match.end() for match in BOX.finditer(text)]
    # Braces are counted from the last box on, once: the search stays linear with many open boxes.
    depth, start = 1, starts[-1] if starts else len(text)
    for brace in BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            result = text[start : brace.start()].strip()
            return result if 0 < len(result) <= LONGEST_RESULT else None
    return None


def read_sample(record: Record) -> Sample[Gold]:
    """Read one row; the true result is its answer, or else the last box of its solution.

    Raises UserError where there is neither, for a row with pictures, and as ``check_result``.
    """
    check_none(record)
    for name in ("answer", "solution"):
        check_result(record, name)
    results = (bare(written(record.get(name))) for name in ("answer", "solution"))
    result = next(filter(None, results), None)
    if result is None:
        raise record.error("no answer and no solution; write one or remove the row")
    solution = written(record.get("solution"))
    # The reference puts the solution between think tags; tags inside would break the contract.
    has_tags = any(tag in solution for tag in answers.TAGS)
    return Sample(
        record.id,
        record.text("problem", "question", "prompt"),
        Gold(result, "" if has_tags else solution),
        subset=written(record.get(*SUBSETS)),
        columns=record.for_rewards(result),
    )


def check_result(record: Record, name: str) -> None:
    """Raise UserError for a column that holds null, NaN, infinity or an object in a list or alone.

    A column without a value is none of these.
    """
    value = record.get(name)
    kinds = all(isinstance(item, str | int | float | Decimal) for item in flattened(value))
    numbers = (item for item in flattened(value) if isinstance(item, float | Decimal))
    lacking = isinstance(value, list) and holds_null(value)
    if lacking or not kinds or not all(map(is_finite, numbers)):
        raise record.error(
            f"{name} holds something else than texts and finite numbers: {shown(value)}; correct "
            "the row"
        )


def written(value: Any) -> str:
    """Return a text, a finite number or a list of them as text; "" for None."""
    if isinstance(value, list):  # OlympiadBench lists all answers of a question
        return ", ".join(bare(written(item)) for item in value)
    if isinstance(value, float):  # AMC writes 27.0
        return number_text(value)
    return "" if value is None else str(value).strip()


def bare(text: str) -> str:
    """Return the result that a text gives.

    That is its last answer block, the line ``#### 7`` in which it ends, or its last box; without
    one, all of it without dollar signs around it.
    """
    text = answers.last_answer(text) or answers.last_line(text) or text
    dollars = DOLLARS.fullmatch(text)
    return last_box(text) or ((dollars[1] or "").strip() if dollars else text)


def told_by_words(gold: str, result: str) -> bool | None:
    """Return whether the words behind numbers make two results the same; None if they do not tell.

    math-verify leaves out all words, and so takes 14 million for 14, 5 squared for 5, 5 cm for 5 m,
    and 2 p.m. for 2 a.m.
    """
    if len(gold) > LONGEST_RESULT or len(result) > LONGEST_RESULT:
        return None
    one, other = (Quantity.parse(text.replace("{,}", ",")) for text in (gold, result))
    if one is not None and other is not None:
        words = {word.lower() for text in (gold, result) for word in WORDS.findall(text)}
        if words & MULTIPLES.keys():
            return one.agrees(other)
        if one.unit and other.unit and not one.agrees(other):
            return False
    last = [{word.lower() for word in LAST_WORD.findall(text)} for text in (gold, result)]
    for ending, beside in zip(last, (other, one), strict=True):
        if ending & OTHER_NUMBERS and last[0] != last[1] and beside is not None:
            return False
    halves = [HALF_DAY.findall(text.lower()) for text in (gold, result)]
    return False if all(halves) and halves[0] != halves[1] else None

"""Compounds: texts with numbers that are no amount, such as ranges, sizes, scores, dates and times.

Arithmetic would read them as one number, and 10-15 as the same as 20-25. "5 May" would be 5 of a
unit, which may be left out. They are compared as texts, in one spelling.
"""

from __future__ import annotations

import re

from vrft import wrapping
from vrft.numbers.quantity import LABEL, LONGEST, MIXED, VULGAR
from vrft.numbers.units import unit_of

FRACTIONS = "".join(map(chr, VULGAR))
DIGITS = r"[0-9]++(?:[.,][0-9]++)*+"
SIGNED = r"[-+]?(?:[€£¥￥₹] ?)?[-+]?"
PART = re.compile(
    rf"{SIGNED}(?:[0-9]++ [0-9]++/[0-9]++"
    rf"|\.?[0-9]++(?:[.,/:][0-9]++)*+[{FRACTIONS}]?|[{FRACTIONS}])"
)
"""A number within a compound: a decimal, a fraction or a time."""
JOINT = re.compile(
    rf"(?<=\S) ?(?:([-–—])|[x×*·⋅]|\\times|\\cdot) ?(?={SIGNED}\.?[0-9{FRACTIONS}])", re.IGNORECASE
)
"""The sign between two numbers: a dash, in a group, or that of a size (3x5)."""
ALONE = re.compile(
    rf"{DIGITS}/{DIGITS}/{DIGITS}|{DIGITS}(?: ?: ?{DIGITS}){{2,}}|[0-9]{{1,2}}:[0-5][0-9](?![0-9])"
)
"""A compound without a joint: a date, a ratio of several numbers or a time."""
WORD = re.compile(r"(?! ?pi\b) ?[^\W\d_π⁰¹²³⁴-⁹]{1,20}")
WHICH = frozenset({
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep"),
    *("sept", "oct", "nov", "dec", "am", "pm", "noon", "midnight", "bc", "bce", "ad", "ce"),
    *("left", "right", "up", "down", "above", "below", "ahead", "behind"),
    *("north", "south", "east", "west", "northeast", "northwest", "southeast", "southwest"),
})  # fmt: skip
"""Words behind a number that are no unit but a half of the answer: months, halves of the day, eras
and directions."""
BRACKETS = str.maketrans("()[]{}", " " * 6)
POWERS = str.maketrans("²³", "23")

HALF_DAY = re.compile(r"\b([ap])\. ?m\b\.?", re.IGNORECASE)
"""The half of the day with its stops: 10 a.m."""
THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}+(?:,[0-9]{3})++(?![0-9])")
BLANK = re.compile(r" (?=[-:/%°€£₹])|(?<=[-:/€£₹]) |(?<=[0-9]) (?![0-9])|(?<![0-9]) (?=[0-9])")
"""A blank beside a sign or a digit, but none between two digits, which 1 1/2 has."""


def is_compound(text: str) -> bool:
    """Return whether a text has several numbers, or one beside a month, a.m., p.m. or a direction.

    Such as 3-5, 5cm×7cm, 10:30, 5 May, 10 am, 30 left: none is a single amount.
    """
    text = wrapping.bare(text)
    if len(text) > LONGEST:
        return False
    if label := LABEL.match(text):
        text = text[label.end() :]
    text = " ".join(text.translate(BRACKETS).split())
    *parts, last = JOINT.split(HALF_DAY.sub(r"\1m", text))[::2]
    if not parts:
        alone, number = ALONE.match(last), PART.match(last)
        if number is not None and last[number.end() :].strip().casefold() in WHICH:
            return True
        return alone is not None and _is_end(last[alone.end() :])
    if len(parts) == 1 and MIXED.match(text):  # 3-1/2 in
        return False
    number = PART.match(last)
    return number is not None and _is_end(last[number.end() :]) and all(map(_is_part, parts))


def compact(text: str) -> str:
    """Return a text on one line in the spelling in which compounds and amounts are compared.

    Blanks around digits and signs are left out, thousands have no commas, a size has "x" between
    its numbers, a range "-", and "a.m." is "am".
    """
    text = JOINT.sub(lambda joint: "-" if joint[1] else "x", HALF_DAY.sub(r"\1m", text))
    text = THOUSANDS.sub(lambda number: number[0].replace(",", ""), text)
    return BLANK.sub("", text)


def _is_part(text: str) -> bool:
    """Return whether a text is a number, perhaps with its unit; the e of 1e-6 is none."""
    number = PART.match(text)
    return number is not None and _is_unit(text[number.end() :])


def _is_unit(text: str) -> bool:
    """Return whether the text behind a number is nothing or a unit, and no power and no π."""
    unit = text.translate(POWERS).strip()
    unread = unit.startswith("^") or unit.endswith("^") or "π" in unit or unit == "pi"
    return not unit or (not unread and unit_of(unit) is not None)


def _is_end(text: str) -> bool:
    """Return whether the text behind the last number is nothing, a unit or any word."""
    return WORD.fullmatch(text) is not None or _is_unit(text)

"""Whole numbers: the only one that an answer names among words."""

from __future__ import annotations

import re

from vrft.answers.assertions import another_number, denied, whole_value
from vrft.answers.choices import QUOTES, STOPS
from vrft.wrapping import bare, without_stops

BESIDE = 4
"""Words on either side that decide whether a whole number does."""

HAN = r"[\u3400-\u9fff]"
BESIDE_HAN = re.compile(rf"(?<=[0-9])(?={HAN})|(?<={HAN})(?=[0-9])")
NO_COUNT = re.compile(
    r"[√π%^<>≤≥≈~±×÷\\]| [+] |\b(?:more|less|fewer|greater) than\b|\bat (?:least|most)\b"
    r"|\bor (?:more|less|fewer|so|thereabouts)\b"
    r"|\b(?:percent|hundred|thousand|million|billion|dozen|and a half)\b"
    r"|第 ?[0-9]|[0-9] ?(?:点|分之|[半多几余来])",
    re.IGNORECASE,
)
"""A sign that a number is a part of an expression, a bound, or an ordinal."""


def whole_number(text: str) -> int | None:
    """Return the only whole number of an answer, of up to nine ASCII digits; None otherwise.

    Words may surround the number ("There are 7 cubes."), but none of them may hold another digit,
    of any script, or deny the number. Decimals, sums, ranges, bounds and estimates are no whole
    numbers, nor is a number whose sign is a word.
    """
    answer = bare(text).replace("一共", " ")  # "in all", which holds the numeral for one
    if NO_COUNT.search(answer):
        return None
    around = QUOTES + "()[]"
    words = BESIDE_HAN.sub(" ", answer).split()
    # isnumeric also sees the digits of other scripts, so that they make an answer unreadable.
    numeric = {word for word in set(words) if any(map(str.isnumeric, word))}
    numbers = {without_stops(word.strip(around), STOPS).strip(around) for word in numeric}
    if len(numbers) != 1:
        return None
    (number,) = numbers
    places = [place for place, word in enumerate(words) if word in numeric]
    beside = {
        (
            " ".join(words[max(place - BESIDE, 0) : place]),
            " ".join(words[place + 1 : place + 1 + BESIDE]),
        )
        for place in places
    }
    if any(another_number(before, number, after) for before, after in beside):
        return None
    if denied(" ".join(words[: places[0]]), " ".join(words[places[-1] + 1 :])):
        return None
    return whole_value(number)

"""Units by their spellings: what measures the same, and what is no unit at all."""

from __future__ import annotations

import math

import pytest

from vrft.numbers.units import INNER_UNIT, UNITS, multiple_of, same_unit, unit_of


@pytest.mark.parametrize(
    ("spellings", "measure", "size"),
    [
        # lengths in metres, with plurals of words and none of abbreviations
        (("cm", "centimetre", "centimeters", "厘米"), "length", 0.01),
        (("km", "kilometres", "公里"), "length", 1000),
        # of which areas and volumes are made
        (("cm2", "squarecentimetres", "sqcm", "平方厘米"), "area", 0.01**2),
        (("m3", "cubicmeter", "立方米"), "volume", 1),
        (("l", "litres", "升"), "volume", 0.001),
        # 60 s, 1,852 m an hour, 1,000 m in 3,600 s
        (("min", "mins", "minutes", "分钟"), "time", 60),
        (("h", "hr", "hrs", "hours"), "time", 3600),
        (("week", "wks"), "time", 7 * 86400),
        (("yr", "yrs", "years"), "calendar months", 12),
        (("kg", "kgs"), "mass", 1000),
        (("usd", "dollars", "usdollars"), "dollars", 1),
        (("cent", "¢"), "dollars", 0.01),
        (("°c", "degreesc", "degc"), "temperature", 1),
        (("km/h", "kmh", "km/hr", "kph", "kilometersperhour"), "speed", 1 / 3.6),
        (("knots", "海里/时"), "speed", 1852 / 3600),
        (("km/h", "千米/小时"), "speed", 1000 / 3600),
        (("rad",), "angle", 180 / math.pi),
        (("%", "percent"), "share", 0.01),
    ],
)
def test_spellings_of_a_unit_have_one_measure_and_size(
    spellings: tuple[str, ...], measure: str, size: float
) -> None:
    for spelling in spellings:
        assert UNITS[spelling] == (measure, pytest.approx(size, rel=1e-12))


def test_an_abbreviation_of_a_length_has_no_plural() -> None:
    assert not {"cms", "kms", "厘米s"} & UNITS.keys()


@pytest.mark.parametrize(
    ("text", "factor", "rest"),
    [
        (" million", 1e6, ""),
        ("Millions of people", 1e6, " of people"),
        (" hundred thousand cm", 1e5, " cm"),
        ("万亿元", 1e12, "元"),
        # the beginning of another word, and none
        (" hundredweight", 1, " hundredweight"),
        (" dozenal", 1, " dozenal"),
        (" cm", 1, " cm"),
        ("", 1, ""),
    ],
)
def test_words_behind_a_number_multiply_it(text: str, factor: float, rest: str) -> None:
    assert multiple_of(text) == (factor, rest)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        # a known unit, with the signs of LaTeX and capitals taken off
        (" cm^{2}", "cm2"),
        ("(CM)", "cm"),
        ("square centimetres", "squarecentimetres"),
        # none: nothing at all, or words that say no more than the number
        ("", ""),
        (" square units", ""),
        # a word that is no known unit stands in lower case
        ("Apples", "apples"),
        ("个", "个"),
        # an unknown of algebra, words that make another number, several words, other signs
        ("x", None),
        ("squared", None),
        ("plus", None),
        ("two", None),
        ("halves", None),
        ("千", None),
        ("red apples", None),
        ("!", None),
        ("a1", None),
    ],
)
def test_a_text_is_a_unit_or_none(text: str, unit: str | None) -> None:
    assert unit_of(text) == unit


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("° - 35°", "°"),
        ("km/h - 20", "km/h"),  # the longest spelling
        ("cm)/2", "cm"),
        # nothing goes on, and a single letter is an unknown
        ("cm", None),
        ("m + 3", None),
    ],
)
def test_a_unit_within_an_expression_stands_before_a_sign(text: str, unit: str | None) -> None:
    match = INNER_UNIT.match(text)
    assert (match and match[0]) == unit


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("cm", "cm", True),
        # words that are no known units, in singular and plural
        ("apple", "apples", True),
        ("boxes", "box", True),
        ("city", "cities", True),
        ("shoes", "shoe", True),
        ("potato", "potatoes", True),
        ("glasses", "glass", True),
        ("apples", "pears", False),
        ("个", "条", False),
        # a known unit is no plural of another, and none of these is
        ("m", "ms", False),
        ("cm", "cms", False),
        ("cm", "mm", False),
    ],
)
def test_words_are_the_same_in_singular_and_plural(one: str, other: str, same: bool) -> None:
    assert same_unit(one, other) is same_unit(other, one) is same

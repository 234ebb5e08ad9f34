"""Compounds: several numbers that are one answer, and amounts that only look like them."""

from __future__ import annotations

import pytest

from vrft.numbers import compact, is_compound


@pytest.mark.parametrize(
    "text",
    [
        # ranges and scores, with one unit or two, of several words too
        "10-15", "3 – 5", "10—15", "-5-10", "-5 - -3", "10–15 km/h", "10-15°C", "20-25%",
        "10cm-15cm", "10°-15°", "20 min - 30 min", "10 - 15 square meters", "3-5 cm²",
        "1,000-2,000", ".5-.7", "1½-2½", "1/2-3/4", "1 1/2 - 2", "3-1/2", "2-1/2 - 3-1/2 in",
        # what stands around them
        "€10-15", "€10-€15", "$10-15", "(10-15)", "[10-15]", "(10-15) cm", "A. 10-15", "(b) 3-5",
        "**10-15**", "The answer is 10-15.", "10−15",
        # sizes
        "3x5", "5 X 7", "1920×1080", "5cm×7cm", "5 cm x 7 cm x 9 cm", "5*7", r"$5 \times 7$", "3·5",
        # dates, times, ratios of several numbers, telephones
        "2024-05-01", "05/01/2024", "10:30", "3:30 pm", "10:30:20", "3:30-4:30", "3:30 pm - 4 pm",
        "1:2:3", "555-0199",
        # a number and what says which it is: a month, a half of the day, an era, a side
        "5 May", "12 june", "10 am", "3PM", "500 BC", "1066 AD", "30 left", "**40 North**",
        "10 a.m.", "3:30 P.M. - 4:30 P. M.",
    ],
)  # fmt: skip
def test_several_numbers_or_one_of_a_kind_are_a_compound(text: str) -> None:
    assert is_compound(text)


@pytest.mark.parametrize(
    "text",
    [
        # one number, a ratio, a fraction, a mixed number
        "", "5", "-5", "€5", "3 cm", "3:4", "16:9", "3/4", "1 1/2", "3-1/2 in", "10-3/4inches",
        # powers of ten, roots and π, units with a power
        "5 s^-1", "9.8 m s^-2", "3x10^8 m/s", "3×10⁸ m/s", "10^-3", "2^10",
        "1e-6", "1e-6 m", "3×10^8 m/s", "3*10^{-5}", "3×10²", "4-2π", "4-2pi", "2π-3", "2pi-3",
        "4πcm-2cm", "2√3-2",
        # equations, sums, brackets within
        "180° - 35° = 145°", "3+4", "(180-80)/2", "2(3-1)", r"\frac{1}{2}-\frac{3}{4}",
        # units that begin as such words do
        "5 amperes", "3 decades", "10 seconds", "5 marbles",
        # names, and words of which no unit is made
        "COVID-19", "F-16", "x-3", "10 cups of tea - 5 cups", "10-15 " + "a" * 120,
    ],
)  # fmt: skip
def test_an_amount_is_no_compound(text: str) -> None:
    assert not is_compound(text)


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("10 - 15 cm", "10-15cm"),
        ("10 — 15 square metres", "10-15square metres"),
        ("5 cm × 7 cm", "5cmx7cm"),
        (r"5 \times 7", "5x7"),
        ("5*7", "5x7"),
        ("10 : 30 p.m.", "10:30pm"),
        ("€ 1,234,567.50", "€1234567.50"),
        ("- 5 %", "-5%"),
        # two numbers stay two, and no thousands are three digits of more
        ("1 1/2", "1 1/2"),
        ("12 500", "12 500"),
        ("1,5 and 1,2345", "1,5and1,2345"),
        ("a red cup", "a red cup"),
    ],
)
def test_compounds_have_one_spelling(text: str, spelling: str) -> None:
    assert compact(text) == spelling

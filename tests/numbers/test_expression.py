"""The grammar of numbers: what each rule computes, how far it reads, and what follows no rule."""

from __future__ import annotations

import math

import pytest

from vrft.numbers.expression import ExpressionParser, Unreadable

VALUES = [
    # products bind more closely than sums, powers more closely than products
    ("1+2*3", 7),
    ("2*3^2", 18),
    ("-2^{2}", -4),  # the sign is the sum's
    # from left to right: (8 / 4) / 2, (8 - 4) - 2
    ("8/4/2", 1),
    ("8-4-2", 2),
    # factors directly behind each other
    ("2√3π", 2 * math.sqrt(3) * math.pi),
    ("2(3+4)", 14),
    # a mixed number adds its fraction, a decimal is multiplied by it
    ("2\\frac{1}{2}", 2.5),
    ("5 \\frac { 1 } { 3 }", 5 + 1 / 3),
    ("-5 \\frac{1}{3}", -5 - 1 / 3),
    ("5\\frac13", 5 + 1 / 3),
    ("5 \\frac 1 3", 5 + 1 / 3),
    ("5\\frac1{12}", 5 + 1 / 12),
    ("5{\\frac{1}{3}}", 5 + 1 / 3),
    ("1,000 \\frac{1}{2}", 1000.5),
    # but what is no whole number, or is not beside the fraction, is multiplied by it
    ("2 \\frac{√{9}}{2}", 3),
    ("6*\\frac{1}{3}", 2),
    ("6(\\frac{1}{3})", 2),
    ("√4 \\frac{1}{2}", 1),  # the root is of 4 alone
    ("1.5\\frac{1}{2}", 0.75),
    # a digit without brackets is all of a group
    ("\\frac12", 0.5),
    # an exponent of several digits, or a negative one, where LaTeX would raise the first sign
    ("2^10", 1024),
    ("10^-3", 0.001),
    ("2^1/2", 1),
    ("3*10^8", 3e8),
    # powers of ten as programs write them
    ("3e8*2", 6e8),
    ("1.5E-3", 0.0015),
    # thousands
    ("1,234.5", 1234.5),
    # a root with a degree
    ("√[3]{8}", 2),
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_an_expression_has_the_value_of_its_grammar(text: str, value: float) -> None:
    parser = ExpressionParser(text)
    assert parser.sum() == pytest.approx(value, rel=1e-12)
    assert parser.position == len(text)


@pytest.mark.parametrize(
    ("text", "value", "rest"),
    [
        # where no rule goes on the rest is left: a unit, a bracket around one, another number
        ("3 cm", 3, " cm"),
        ("3 (cm)", 3, " (cm)"),
        ("4 4", 4, "4"),
        # of an exponent without brackets that is no whole number one digit is read
        ("2^1.5", 2, ".5"),
    ],
)
def test_the_parser_stops_where_no_expression_goes_on(text: str, value: float, rest: str) -> None:
    parser = ExpressionParser(text)
    assert (parser.sum(), text[parser.position :].lstrip()) == (value, rest.lstrip())


def test_units_within_an_expression_are_gathered() -> None:
    parser = ExpressionParser("180° - 35°")
    assert (parser.sum(), parser.units) == (145, {"°"})
    # the last one is no inner unit: nothing goes on behind it
    assert parser.text[parser.position :] == "°"


@pytest.mark.parametrize(
    "text", ["", "+", "3+", "(3", "{3)", "√{-1}", "√[0]{4}", "√[3{8}", "\\frac{1}", "x", "^2"]
)
def test_a_text_that_follows_no_rule_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        ExpressionParser(text).sum()


@pytest.mark.parametrize(
    ("text", "error"),
    [("1/0", ZeroDivisionError), ("9^{9^{9}}", OverflowError), ("(-8)^{0.5}", ValueError)],
)
def test_a_value_that_no_float_holds_is_an_error_and_not_computed(
    text: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        ExpressionParser(text).sum()

"""The spelling in which math-verify reads what models and data sets write.

It takes 1.6e-19 for a product with Euler's number, 10\\,000 for 10 times 0, and cannot read 90° or
0.\\overline{3}. Gold answers and results pass here alike, but for the published verdict.
"""

from __future__ import annotations

import re
from collections.abc import Callable

SCIENTIFIC = re.compile(
    r"(?<![a-zA-Z\\0-9.])([0-9]++\.?+[0-9]*+|\.[0-9]++)[eE]\+?(-?[0-9]++)(?![\w.])"
)
"""1.6e-19, which is no product with e; 24e is one."""

THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}+(?:(?:\\[,;: ]|~)[0-9]{3}){1,9}+(?![0-9])")
"""Groups of three digits with LaTeX's spaces between them."""
SPACES = re.compile(r"\\[,;: ]|~")

REPEATING = re.compile(r"([0-9]{1,20}+)\.([0-9]{0,20}+)\\overline\s*+\{\s*+([0-9]{1,20}+)\s*+\}")
"""A decimal whose last digits, those below the line, repeat."""

SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
POWER = re.compile(r"[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]++")


def fraction(match: re.Match[str]) -> str:
    """Return a repeating decimal as the fraction that it is: 0.4\\overline{6} is 42/90."""
    whole, fixed, repeated = match.groups()
    before = int(whole + fixed)
    numerator = int(whole + fixed + repeated) - before
    denominator = 10 ** len(fixed) * (10 ** len(repeated) - 1)
    return rf"\frac{{{numerator}}}{{{denominator}}}"


Spelling = str | Callable[[re.Match[str]], str]

SPELLINGS: tuple[tuple[re.Pattern[str], Spelling], ...] = (
    (re.compile(r"(?<!\^)(?<!\^\{)°"), r"^\\circ "),
    (re.compile(r"√\s*+\(([^()]{1,100}+)\)"), r"\\sqrt{\1}"),
    (re.compile(r"√\s*+(?=\{)"), r"\\sqrt"),
    (re.compile(r"√\s*+([0-9]++|[a-zA-Z])"), r"\\sqrt{\1}"),
    (re.compile("∞"), r"\\infty "),
    (re.compile("·"), r"\\cdot "),
    (POWER, lambda match: f"^{{{match[0].translate(SUPERSCRIPTS)}}}"),
    (THOUSANDS, lambda match: SPACES.sub("", match[0])),
    (SCIENTIFIC, r"\1\\times 10^{\2}"),
    (REPEATING, fraction),
    # a share, and no unit that may be left out
    (re.compile(r"\\(?:text|mathrm)\s*+\{\s*+percent\s*+\}|(?<=[0-9]) ?percent\b"), r"\\%"),
    # names that are written upright, which would be taken for units
    (re.compile(r"(?<=[a-zA-Z])\\(?:text|mathrm)\s*+\{\s*+([iexyzn])\s*+\}"), r" \1"),
    (re.compile(r" ?\\(?:text|mathrm)\s*+\{\s*+([iexyzn])\s*+\}"), r"\1"),
    # dots with which a number goes on
    (re.compile(r"(?<=[0-9])\s*+\\(?:l|c)?dots\s*+$"), "..."),
)
"""(what is written, the spelling that math-verify reads), in this order."""


def spelled(result: str) -> str:
    """Return a result in bare LaTeX as math-verify reads it rightly."""
    for pattern, spelling in SPELLINGS:
        result = pattern.sub(spelling, result)
    return result

"""Quantities: from a text to a number with its unit, or None, and whether two are the same amount.

Decimals, roots, pi, fractions and powers are read in LaTeX, in Unicode and as GEOQA writes them
("2√{3}", "\\frac{√{3}}{2}", "4πcm", "(6+2√{3})米", "140°"), and words as in "5 million". Values
are floats, compared to six significant digits.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass, field

from vrft import wrapping
from vrft.numbers.expression import ExpressionParser
from vrft.numbers.units import PERCENTS, measure_of, multiple_of, same_unit, unit_of

LONGEST = 120
"""Characters; a longer text is no quantity."""

MOST_BRACKETS = 20
"""Opening brackets; a text with more is no quantity, which bounds the depth of the recursion."""

DIGITS = 6
"""Significant digits to which two values are compared."""

MIXED = re.compile(r"^([0-9]{1,9})-([0-9]{1,9})/([0-9]{1,9})(?= ?(?!pi|sqrt)[A-Za-z]{2})")
"""A mixed number with a hyphen and a unit behind it, as carpenters write it: 3-1/2 in."""

MONEY = re.compile(r"(?<!\w)(?:US ?)?\\?\$ ?(?=\.?[0-9])")
"""The dollar sign before an amount, if it is no delimiter of LaTeX's: $5, \\$5, US$5."""
PRICE = r"^([+-]?) ?([€£¥￥₹]|USD|EUR|GBP|INR) ?"


def _raised(signs: re.Match[str]) -> str:
    """Return an exponent that is written above the line as one in LaTeX: ⁻³ is ^{-3}."""
    return f"^{{{unicodedata.normalize('NFKC', signs[0]).replace('−', '-')}}}"


# Applied in this order: a later pattern matches what an earlier one has left. "\left(" must go
# before "(" is read, "^\circ" before "^", and "\text" before the unit inside it.
SPELLINGS = (
    # a currency before its number, with what multiplies it in short, and mixed numbers
    (rf"{PRICE}([0-9][0-9.,]*+) ?[kK]\b", r"\1\2\3 thousand"),
    (rf"{PRICE}([0-9][0-9.,]*+) ?[mM](?:ln|n)?\b", r"\1\2\3 million"),
    (rf"{PRICE}([0-9][0-9.,]*+) ?[bB](?:ln|n)?\b", r"\1\2\3 billion"),
    (rf"{PRICE}(?=[0-9.])(.*)$", r"\1\3 \2"),
    (r"^([+-]?[0-9]{1,9}) ([0-9]{1,9})/([0-9]{1,9})(?![0-9./])", r"\1\\frac{\2}{\3}"),
    (MIXED.pattern, r"\1\\frac{\2}{\3}"),
    # spaces of LaTeX and signs without meaning
    (r"\*\*|~", " "),
    (r"\\rm\b", " "),
    (r"\\[dt]?frac", "\\\\frac"),
    (r"\\sqrt|sqrt|√", "√"),
    (r"\\pi\b|\bpi\b|(?<=[0-9)}])pi\b|Π", "π"),
    (r"\\cdot|\\times|[×·⋅]", "*"),
    (r"\\div|[÷∶:]", "/"),
    (r"[–]", "-"),
    (r"(?<=[0-9]) ?[xX] ?(?=10 ?\^)", "*"),
    (r"[⁻⁺]?[⁰¹²³⁴-⁹]++", _raised),
    (r"\\mu(?![a-z]) ?", "µ"),
    (r"\\Omega(?![a-z])|\u2126", "Ω"),
    (r"['’′]", "′"),
)
"""(pattern, sign): every way of writing a sign, and the one in which the parser reads it.

``wrapping.bare`` comes first, and has read boxes, texts, degrees, percents and full-width signs.
"""

LABEL = re.compile(r"\(?[A-Ha-h](?:\) ?|[.:] )(?=\S)")
"""The letter of an option before its number: "D. 145°", "(D) 145°"."""

# A digit at the start or before a letter multiplies an unknown: "2x = 16" does not say 16. So do
# two small letters and π, while "AB" is a side. "\\angle 1" and "x_1" are names.
NAME = re.compile(
    r"(?=.*(?:[^\W\d_]|[∠△⊙▱]))(?!\s*[0-9])(?!.*(?:[0-9]\s*[^\W\d_]|π))(?!\s*[a-z]{2}\s*$)"
    r"[\w\\{}∠△⊙▱′\s]{1,40}"
)
"""The left side of "x = 3": "x", "∠ABC", "\\angle 1", "S△ABC". It has a letter or a symbol."""
NAMED_RATIO = re.compile(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}|([^/]+)/([^/]+)")
"""A quotient of two names: "AB/AC", "\\frac{AB}{AC}"."""

GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?: [0-9]{3})++(?![0-9/])")
"""A number with spaces between its thousands: "12 500"."""
VULGAR = {
    code: f"\\frac{{{above}}}{{{below}}}"
    for code in (*range(0xBC, 0xBF), *range(0x2150, 0x215F))
    for above, below in [unicodedata.normalize("NFKC", chr(code)).split("\u2044")]
}
"""A fraction that is a single character -> LaTeX's."""

PLAIN = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?")
"""A number that is read as Python does, without the grammar: most gold answers are such."""
INTEGER = re.compile(r"-?[0-9]{1,100}")
MINUTES = re.compile(r"([0-9]+)\s*°\s*([0-9]+)\s*′")
SIGN = re.compile(r"(?<=\S)\s*[+-]")
NO_METRES = re.compile(r"(?:[0-9][MGHSACFKT]|(?<![0-9.,])(?:1[0-9]|20)[0-9]0s)$")
"""The end of a text that is no amount of metres, grams, hours or seconds: 5M, 5G, the 1990s.

Nor need the letter of a seat, 12A, or of a thousand, 5K, be a unit.
"""
COUNTED = re.compile(r"^\s*+[+-]?\s*+(?:[0-9.,/\s]|\\frac|[{}])++")
"""A number that "million" may stand behind: of which term of "3 + 4 million", nobody says."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A finite number with its unit; the unit is "" where none is written.

    A word that is no known unit stands as it is written, in lower case: "7 apples" is no "7 pears",
    though "7 apple". Symbols of SI keep their case: "5 MW" is no "5 mW".
    """

    value: float
    unit: str = ""
    integer: int | None = field(default=None, compare=False, repr=False)
    """The value of a whole number written in digits alone, of which a float holds sixteen."""

    @classmethod
    def parse(cls, text: str) -> Quantity | None:
        """Read the quantity that the text is; None for any other text.

        A name or a ratio of names may stand before an equals sign ("x = 3", "AB/AC = 3/5"), and
        equal values on both sides of it ("180° - 35° = 145°"). Digits are ASCII or full-width. A
        dollar sign that closes no other is that of money ("$5M").
        """
        if PLAIN.fullmatch(text):
            return cls(float(text), integer=_integer(text))
        # Dollar signs in pairs are LaTeX's. One before what is no price, as in "$145°", was left.
        if ("\\$" in text or text.count("$") == 1) and (dollars := MONEY.search(text)):
            price = cls._parse(f"{text[: dollars.start()]}USD {text[dollars.end() :]}")
            if price is not None:
                return price
        return cls._parse(text)

    @classmethod
    def _parse(cls, text: str) -> Quantity | None:
        """Read a quantity as ``parse`` does, without dollars."""
        text = wrapping.bare(text)
        if text.startswith("~"):  # an estimate; further on it is a space of LaTeX
            return None
        if len(text) > LONGEST or len(re.findall(r"[({\[]", text)) > MOST_BRACKETS:
            return None
        if label := LABEL.match(text):
            text = text[label.end() :]
        if text.startswith("[") and text.endswith("]"):
            text = text[1:-1]
        if text.count("{") != text.count("}"):  # cut off
            return None
        text = text.translate(VULGAR)
        if grouped := GROUPED.match(text):
            text = grouped[0].replace(" ", "") + text[grouped.end() :]
        for pattern, sign in SPELLINGS:
            text = re.sub(pattern, sign, text)
        sides = text.split("=")

        # Names are dropped from the left only: "3 = x" is an equation to solve.
        while len(sides) > 1 and _parse_side(sides[0]) is None and _is_name(sides[0]):
            sides = sides[1:]
        quantities = [_parse_side(side) for side in sides]
        last = quantities[-1]
        if last is None or not all(q is not None and q.agrees(last) for q in quantities):
            return None
        return last

    def agrees(self, other: Quantity, tolerance: float = 0.0) -> bool:
        """Return whether both are the same amount of the same measure.

        Amounts are the same that agree to six significant digits, whole numbers to all of them, or
        that differ by at most ``tolerance`` times the larger. A unit that only one of the two has
        is not missed; two units of one measure are converted, and 60 % are 60 and 3/5.
        """
        if self.integer is not None and other.integer is not None and not tolerance:
            return self.integer == other.integer
        if not self.unit or not other.unit or same_unit(self.unit, other.unit):
            if _nearly_equal(self.value, other.value, tolerance):
                return True
            return self._share() != other._share() and _nearly_equal(
                self.value * self._share(), other.value * other._share(), tolerance
            )
        mine, theirs = measure_of(self.unit), measure_of(other.unit)
        if mine is None or theirs is None or mine[0] != theirs[0]:
            return False
        return _nearly_equal(self.value * mine[1], other.value * theirs[1], tolerance)

    def _share(self) -> float:
        """Return 0.01 for a percentage, 1 for any other quantity."""
        return 0.01 if self.unit in PERCENTS else 1.0


def _nearly_equal(a: float, b: float, tolerance: float) -> bool:
    """Return whether two values agree to ``DIGITS`` digits, or to the relative tolerance.

    Whole numbers agree to all their digits, and 0 agrees with what rounding may leave of it.
    """
    if a == b or math.isclose(a, b, rel_tol=tolerance, abs_tol=0.0):
        return True
    smaller = min(abs(a), abs(b))
    if a.is_integer() and b.is_integer() and smaller:
        return False
    if not smaller:
        return abs(a - b) < 1e-9
    # Half a unit of the last digit, and a little more for a number that ends in a five there.
    unit = 10.0 ** (math.floor(math.log10(smaller)) + 1 - DIGITS)
    return abs(a - b) <= unit / 2 * (1 + 1e-9)


def _is_name(text: str) -> bool:
    """Return whether a side of an equation is a name, or a ratio of two names."""
    ratio = NAMED_RATIO.fullmatch(text.strip())
    names = [part for part in ratio.groups() if part is not None] if ratio else [text]
    return all(NAME.fullmatch(name) for name in names)


def _parse_side(text: str) -> Quantity | None:
    """Read a number and its unit in unified spelling; None for anything else."""
    if NO_METRES.search(text.strip()):
        return None
    if degrees := MINUTES.fullmatch(text.strip()):  # 35°30′
        return Quantity(int(degrees[1]) + int(degrees[2]) / 60, "°")
    parser = ExpressionParser(text)
    try:
        value = parser.sum()
    except (ValueError, ArithmeticError):  # unreadable, the root of a negative, 1 / 0, 9^9^9
        return None
    # The parser stops where no expression goes on: the rest must be the unit.
    factor, rest = multiple_of(text[parser.position :])
    if factor != 1:
        if not COUNTED.fullmatch(text[: parser.position]):
            return None
        # Fifteen digits are exact in a float: 4.35 hundred are 435, and not 434.99999999999994.
        value = float(f"{value * factor:.15g}")
    unit = unit_of(rest)
    units = parser.units | ({unit} if unit else set())
    if unit is None or len(units) > 1 or not math.isfinite(value):
        return None
    if unit in PERCENTS and SIGN.search(text):  # of which of its terms "1 - 40%" says nothing
        return None
    return Quantity(value, "".join(units), _integer(text.strip()))


def _integer(text: str) -> int | None:
    """Return the whole number that a text writes in digits alone; None for any other."""
    return int(text) if INTEGER.fullmatch(text) else None

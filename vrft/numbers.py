"""Quantities as geometry problems write them: from a text to a number with its unit, or None.

Decimals, roots, pi, fractions and powers are read in LaTeX, in Unicode and as GEOQA writes them
("2√{3}", "\\frac{√{3}}{2}", "4πcm", "(6+2√{3})米", "140°"). Values are floats, compared to six
significant digits. Nothing is evaluated but the grammar of ExpressionParser, whose cost is bounded
whatever the text: no ``eval``, no sympy.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from vrft import wrapping

LONGEST = 120
"""Characters; a longer text is no quantity."""

MOST_BRACKETS = 20
"""Opening brackets; a text with more is no quantity, which bounds the depth of the recursion."""

DIGITS = 6
"""Significant digits to which two values are compared."""

# Applied in this order: a later pattern matches what an earlier one has left. "\left(" must go
# before "(" is read, "^\circ" before "^", and "\text" before the unit inside it.
SPELLINGS = (
    # spaces of LaTeX and signs without meaning
    (r"\*\*|~", " "),
    (r"\\rm\b", " "),
    (r"\\[dt]?frac", "\\\\frac"),
    (r"\\sqrt|sqrt|√", "√"),
    (r"\\pi\b|\bpi\b|(?<=[0-9)}])pi\b|Π", "π"),
    (r"\\cdot|\\times|[×·⋅]", "*"),
    (r"\\div|[÷∶:]", "/"),
    (r"[–]", "-"),
    (r"²", "^2"),
    (r"³", "^3"),
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

# With thousands separators ("1,000"), with or without decimals, or without a digit before them.
DECIMAL = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
PLAIN = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")
"""A number that is read as Python does, without the grammar: most gold answers are such."""
WHOLE_FRACTION = re.compile(r"\\frac\s*\{\s*([0-9]+)\s*\}\s*\{\s*([0-9]+)\s*\}")
MINUTES = re.compile(r"([0-9]+)\s*°\s*([0-9]+)\s*′")
WORD = re.compile(r"[^\W\d_]{1,20}")
SIGN = re.compile(r"(?<=\S)\s*[+-]")
PERCENTS = ("%", "percent")
NO_UNITS = ("squared", "cubed", "factorial", "plus", "minus", "times")
"""Words behind a number that make another number of it, and are no unit."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A finite number with its unit; the unit is "" where none is written.

    A word that is no known unit stands as it is written, in lower case: "7 apples" is no "7 pears".
    """

    value: float
    unit: str = ""

    @classmethod
    def parse(cls, text: str) -> Quantity | None:
        """Read the quantity that the text is; None for any other text.

        A name or a ratio of names may stand before an equals sign ("x = 3", "AB/AC = 3/5"), and
        equal values on both sides of it ("180° - 35° = 145°"). Digits are ASCII or full-width.
        """
        if PLAIN.fullmatch(text):
            return cls(float(text))
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
        if self.unit == other.unit or not self.unit or not other.unit:
            if _nearly_equal(self.value, other.value, tolerance):
                return True
            return self._share() != other._share() and _nearly_equal(
                self.value * self._share(), other.value * other._share(), tolerance
            )
        mine, theirs = UNITS.get(self.unit), UNITS.get(other.unit)
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
    if degrees := MINUTES.fullmatch(text.strip()):  # 35°30′
        return Quantity(int(degrees[1]) + int(degrees[2]) / 60, "°")
    parser = ExpressionParser(text)
    try:
        value = parser.sum()
    except (ValueError, ArithmeticError):  # unreadable, the root of a negative, 1 / 0, 9^9^9
        return None
    # The parser stops where no expression goes on: the rest must be the unit.
    unit = _unit(text[parser.position :])
    units = parser.units | ({unit} if unit else set())
    if unit is None or len(units) > 1 or not math.isfinite(value):
        return None
    if unit in PERCENTS and SIGN.search(text):  # of which of its terms "1 - 40%" says nothing
        return None
    return Quantity(value, *units)


def _unit(text: str) -> str | None:
    """Read the unit that a text is, "" for none; None if it is neither a known unit nor a word.

    A single Latin letter is no unit but an unknown, as in "2a"; nor is "squared".
    """
    name = re.sub(r"[\s{}()^]", "", text).lower()
    if name in UNITS or not name:
        return name if UNITS.get(name, NO_UNIT) != NO_UNIT else ""
    unknown = name in NO_UNITS or (len(name) == 1 and name.isascii())
    return name if WORD.fullmatch(text.strip()) and not unknown else None


class Unreadable(ValueError):
    """A text that is no expression at the parser's position."""


@dataclass(slots=True)
class ExpressionParser:
    """A recursive-descent parser that evaluates an expression as it reads.

        sum     = [sign] product {("+" | "-") product}
        product = power [unit] {["*" | "/"] power [unit]}
        power   = factor ["^" group]
        factor  = decimal [fraction] | π | √ root | \\frac group group | bracket
        group   = bracket | digit | factor
        bracket = "(" sum ")" | "{" sum "}"

    Each method reads its rule at ``position``, moves the position behind it and returns the value.
    It raises Unreadable where the text does not follow the rule.
    """

    text: str
    position: int = 0
    units: set[str] = field(default_factory=set)
    """The units that stand within the expression, as in 180° - 35°."""

    def peek(self, *signs: str) -> str:
        """Return the first of the signs that stands here, spaces skipped; "" if none does."""
        while self.text[self.position : self.position + 1].isspace():
            self.position += 1
        return next((sign for sign in signs if self.text.startswith(sign, self.position)), "")

    def take(self, *signs: str) -> str:
        """Read the sign that stands here; "" if none of them does."""
        sign = self.peek(*signs)
        self.position += len(sign)
        return sign

    def sum(self) -> float:
        """Read products with plus or minus between them, and a sign before the first."""
        value = -self.product() if self.take("-", "+") == "-" else self.product()
        while sign := self.take("+", "-"):
            value += self.product() if sign == "+" else -self.product()
        return value

    def product(self) -> float:
        """Read factors with a sign between them, or directly behind each other as in "2√3"."""
        value = self.measured_power()
        while True:
            if sign := self.take("*", "/"):
                factor = self.measured_power()
                value = value * factor if sign == "*" else value / factor
            elif self.peek("√", "π", "\\frac", "(", "{"):
                before = self.position
                try:
                    value *= self.power()
                except Unreadable:  # the bracket of a unit: 3 (cm)
                    self.position = before
                    return value
            else:
                return value

    def measured_power(self) -> float:
        """Read a power and the unit behind it, if the expression goes on behind that."""
        value = self.power()
        if unit := INNER_UNIT.match(self.text, self.position):
            self.position = unit.end()
            self.units.add(unit[1].lower())
        return value

    def power(self) -> float:
        """Read a factor with its exponent, if it has one."""
        value = self.factor()
        if self.take("^"):
            # math.pow raises OverflowError for 9^9^9, where `**` on integers would compute it.
            value = math.pow(value, self.group())
        return value

    def factor(self) -> float:
        """Read a decimal, a mixed number, pi, a root, a fraction or a bracket."""
        self.peek()  # skips spaces
        if number := DECIMAL.match(self.text, self.position):
            self.position = number.end()
            value = float(number[0].replace(",", ""))
            # A fraction of whole numbers behind a whole number is added: 2\frac{1}{2} is 2.5.
            fraction = WHOLE_FRACTION.match(self.text, self.position)
            if fraction is None or not number[0].isdigit():
                return value
            self.position = fraction.end()
            return value + int(fraction[1]) / int(fraction[2])
        if self.take("π"):
            return math.pi
        if self.take("√"):
            return self.root()
        if self.take("\\frac"):
            return self.group() / self.group()
        if self.peek("(", "{"):
            return self.bracket()
        raise Unreadable(self.text)

    def root(self) -> float:
        """Read the degree, as in √[3]{8}, and the radicand behind a root sign; return the root."""
        degree = 2.0
        if self.take("["):
            degree = self.sum()
            if not self.take("]"):
                raise Unreadable(self.text)
        value = self.factor()
        if value < 0 or degree <= 0:
            raise Unreadable(self.text)
        return math.sqrt(value) if degree == 2 else math.pow(value, 1 / degree)

    def group(self) -> float:
        """Read a bracket or, without one, a single digit as LaTeX does: \\frac12 is a half."""
        if self.peek("(", "{"):
            return self.bracket()
        if self.peek(*"0123456789"):
            self.position += 1
            return float(self.text[self.position - 1])
        return self.factor()

    def bracket(self) -> float:
        """Read a sum in round brackets or braces."""
        closing = {"(": ")", "{": "}"}[self.take("(", "{")]
        value = self.sum()
        if not self.take(closing):
            raise Unreadable(self.text)
        return value


LENGTHS = {
    1e-3: "mm millimeter millimetre 毫米",
    1e-2: "cm ㎝ centimeter centimetre 厘米",
    1e-1: "dm decimeter decimetre 分米",
    1.0: "m meter metre 米",
    1e3: "km kilometer kilometre 千米 公里",
    1852.0: "nmi nauticalmile 海里",
}
"""Metres -> the spellings of the unit, of which areas and volumes are made."""

NO_UNIT = ("number", 1.0)
"""The measure of words such as "square units", which say no more than the number."""

MEASURES = {
    NO_UNIT: "unit units squareunit squareunits cubicunit cubicunits 单位 平方单位 立方单位",
    ("share", 0.01): " ".join(PERCENTS),
    ("angle", 1.0): "° degree degrees deg 度",
    ("angle", 180 / math.pi): "rad radian radians 弧度",
    ("time", 1.0): "s sec second seconds 秒 秒钟",
    ("time", 60.0): "min minute minutes 分 分钟",
    ("time", 3600.0): "h hour hours 小时 时",
    ("mass", 1.0): "g gram grams 克",
    ("mass", 1e3): "kg kilogram kilograms 千克 公斤",
    ("volume", 1e-3): "l liter litre liters litres 升",
    ("speed", 1.0): "m/s 米/秒 米每秒",
    ("speed", 1 / 3.6): "km/h 千米/时 千米/小时 公里/小时",
    ("speed", 1852 / 3600): "knot knots 海里/时 海里/小时",
}
"""(measure, size of the unit in that measure) -> the spellings of the unit."""


def _all_units() -> dict[str, tuple[str, float]]:
    """Return the measure and the size of every unit, by each of its spellings without spaces."""
    table = {name: unit for unit, names in MEASURES.items() for name in names.split()}
    for metres, names in LENGTHS.items():
        for name in names.split():
            # Only words have a plural, neither abbreviations nor Chinese: "metres", but "cm".
            plural = {name, name + "s"} if len(name) > 3 and name.isascii() else {name}
            for spelling in plural:
                table[spelling] = ("length", metres)
                # The exponent of "cm^2" has lost its sign by the time that the unit is looked up.
                for square in (f"{spelling}2", f"square{spelling}", f"sq{spelling}"):
                    table[square] = ("area", metres**2)
                for cube in (f"{spelling}3", f"cubic{spelling}"):
                    table[cube] = ("volume", metres**3)
            table |= {f"平方{name}": ("area", metres**2), f"立方{name}": ("volume", metres**3)}
    return table


UNITS = _all_units()

# One letter within an expression is an unknown: "2m + 3" is no 5 metres.
_INNER = sorted((unit for unit in UNITS if unit == "°" or len(unit) > 1), key=len, reverse=True)
INNER_UNIT = re.compile(
    rf"\s*((?>{'|'.join(map(re.escape, _INNER))}))"
    r"(?=\s*[-+*/)}])",
    re.IGNORECASE,
)
"""A unit behind which an expression goes on."""

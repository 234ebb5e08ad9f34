"""Expressions: the value of sums, products, powers, roots and fractions in a unified spelling.

Nothing is evaluated but the grammar of ExpressionParser: no ``eval``, no sympy. It recurses as
deeply as brackets and roots are nested, so that whoever asks bounds the length of the text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from vrft.numbers import si
from vrft.numbers.units import INNER_UNIT

# With thousands separators ("1,000"), with or without decimals, or without a digit before them.
DECIMAL = re.compile(
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)"
    r"(?:[eE][-+]?[0-9]{1,2}(?![0-9.]))?"
)
EXPONENT = re.compile(r"[-+]?[0-9]{1,9}(?![0-9.])")
"""An exponent without brackets: 10^-3 and 2^10, where LaTeX would raise the first digit alone."""
DIGITS = r"\s*+(?:([0-9])|\{\s*+([0-9]++)\s*+\})"
WHOLE_FRACTION = re.compile(rf"\s*+(\{{\s*+)?\\frac{DIGITS}{DIGITS}(?(1)\s*+\}})")
"""A fraction of whole numbers, in braces or not, as LaTeX's \\frac12 has one digit each."""


class Unreadable(ValueError):
    """A text that is no expression at the parser's position."""


@dataclass(slots=True)
class ExpressionParser:
    """A recursive-descent parser that evaluates an expression as it reads.

        sum     = [sign] product {("+" | "-") product}
        product = power [unit] {["*" | "/"] power [unit]}
        power   = (mixed | factor) ["^" (whole number | group)]
        mixed   = whole number, fraction of whole numbers
        factor  = decimal | π | √ root | \\frac group group | bracket
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
        self.peek()  # skips spaces
        unit = INNER_UNIT.match(self.text, self.position)
        # The first unit of a product or quotient of units, as in 5 km/s, is none of an expression.
        if unit and si.spelled(self.text[self.position :].strip(" ()")) is None:
            self.position = unit.end()
            self.units.add(unit[0].lower())
        return value

    def power(self) -> float:
        """Read a factor or a mixed number with its exponent, if it has one."""
        value = self.mixed()
        if self.take("^"):
            # math.pow raises OverflowError for 9^9^9, where `**` on integers would compute it.
            value = math.pow(value, self.exponent())
        return value

    def exponent(self) -> float:
        """Read a whole number without brackets, or a group."""
        self.peek()  # skips spaces
        if number := EXPONENT.match(self.text, self.position):
            self.position = number.end()
            return float(number[0])
        return self.group()

    def mixed(self) -> float:
        """Read a factor; a fraction of whole numbers behind a whole number is added to it.

        2\\frac{1}{2} and 2 \\frac12 are 2.5.
        """
        self.peek()  # skips spaces
        start, value = self.position, self.factor()
        whole = self.text[start : self.position].replace(",", "").isdigit()
        fraction = WHOLE_FRACTION.match(self.text, self.position) if whole else None
        if fraction is None:
            return value
        self.position = fraction.end()
        above, below = fraction[2] or fraction[3], fraction[4] or fraction[5]
        return value + int(above) / int(below)

    def factor(self) -> float:
        """Read a decimal, pi, a root, a fraction or a bracket."""
        self.peek()  # skips spaces
        if number := DECIMAL.match(self.text, self.position):
            self.position = number.end()
            return float(number[0].replace(",", ""))
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

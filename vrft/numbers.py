"""Numbers as geometry problems write them, with units: text -> value and unit, or None.

Read are decimals, roots, pi, fractions and powers in LaTeX, in Unicode and as GEOQA writes them
("2√{3}", "\\frac{√{3}}{2}", "4πcm", "(6+2√{3})米", "140°"). Values are floats, compared to six
digits; nothing is evaluated but the grammar below, and text of any length costs next to nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

LONGEST = 120
"""Characters; a longer text is no number."""

MOST_BRACKETS = 20
"""A text with more of them is no number either, however deep they are nested."""

CLOSE = 1e-6
"""The relative difference at which two values are taken for one."""

SPELLINGS = (
    # in this order, so that none is taken for a part of another
    (r"\\left|\\right|\\displaystyle|\\quad|\\[,;!: ()\[\]]|\*\*|\$|~", " "),
    (r"\\(?:text|textrm|mathrm|mathbf|mathit|mbox|rm)\b", " "),
    (r"\^\s*\{\s*(?:\\circ|o)\s*\}|\^\s*(?:\\circ|o\b|[°˚º])|\\circ|\\degree|[˚º]", "°"),
    (r"\\%", "%"),
    (r"\\[dt]?frac", "\\\\frac"),
    (r"\\sqrt|sqrt|√", "√"),
    (r"\\pi\b|\bpi\b|(?<=[0-9)}])pi\b|Π", "π"),
    (r"\\cdot|\\times|[×·⋅]", "*"),
    (r"\\div|[÷／∶:：]", "/"),
    (r"[−–]", "-"),
    (r"（", "("),
    (r"）", ")"),
    (r"²", "^2"),
    (r"³", "^3"),
    (r"['’′]", "′"),
)

ENDINGS = " \t\r\n.,;。"
"""What may end a sentence that is a number."""

NAME = re.compile(r"(?=.*(?:[^\W\d_]|[∠△⊙▱]))[\w\\{}∠△⊙▱′\s]{1,40}")
"""What may stand before an equals sign: "x", "∠ABC", "\\angle 1", "S△ABC"."""

NUMBER = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
WHOLE_FRACTION = re.compile(r"\\frac\s*\{\s*([0-9]+)\s*\}\s*\{\s*([0-9]+)\s*\}")
MINUTES = re.compile(r"([0-9]+)\s*°\s*([0-9]+)\s*′")
WORD = re.compile(r"[^\W\d_]{1,20}")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A finite number and its unit; "" where none is written, unknown words stand as they are."""

    value: float
    unit: str = ""

    @classmethod
    def parse(cls, text: str) -> Quantity | None:
        """The number that the whole text is, None if it is none.

        Names may stand before an equals sign ("x = 3"), equal values on both sides of one
        ("3 + 4 = 7"). Digits are ASCII.
        """
        if len(text) > LONGEST or len(re.findall(r"[({\[]", text)) > MOST_BRACKETS:
            return None
        sides = plain(text).split("=")
        while len(sides) > 1 and read(sides[0]) is None and NAME.fullmatch(sides[0]):
            sides = sides[1:]
        values = [read(side) for side in sides]
        last = values[-1]
        if last is None or not all(v is not None and v.agrees(last) for v in values):
            return None
        return last

    def agrees(self, other: Quantity) -> bool:
        """Whether both are the same number of the same thing.

        A unit that only one of them has is not missed; two units are converted.
        """
        mine, theirs = UNITS.get(self.unit), UNITS.get(other.unit)
        if self.unit == other.unit or not self.unit or not other.unit:
            return close(self.value, other.value)
        if mine is None or theirs is None or mine[0] != theirs[0]:
            return False
        return close(self.value * mine[1], other.value * theirs[1])


def close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=CLOSE, abs_tol=1e-9)


def plain(text: str) -> str:
    """The text in one spelling of every sign, without its box, dollar signs and full stop."""
    for pattern, sign in SPELLINGS:
        text = re.sub(pattern, sign, text)
    text = text.strip().rstrip(ENDINGS)
    if text.startswith("\\boxed") and text.endswith("}"):
        text = text.removeprefix("\\boxed").strip().removeprefix("{").removesuffix("}")
    return text.strip().rstrip(ENDINGS)


def read(text: str) -> Quantity | None:
    """A number and its unit in plain spelling; None for anything else."""
    degrees = MINUTES.fullmatch(text.strip())
    if degrees:
        return Quantity(int(degrees[1]) + int(degrees[2]) / 60, "°")
    reader = Reader(text)
    try:
        value = reader.sum()
    except (ValueError, ArithmeticError):  # unreadable, the root of a negative, 1 / 0, 9^9^9
        return None
    unit = unit_name(text[reader.at :])
    return None if unit is None or not math.isfinite(value) else Quantity(value, unit)


def unit_name(text: str) -> str | None:
    """The unit that a text is, "" for none; None for what is neither a known unit nor a word.

    A single Latin letter is no unit but the name of something unknown, as in "2a".
    """
    name = re.sub(r"[\s{}()^]", "", text).lower()
    if name in UNITS or not name:
        return name if UNITS.get(name, NO_UNIT) != NO_UNIT else ""
    variable = len(name) == 1 and name.isascii()
    return name if WORD.fullmatch(text.strip()) and not variable else None


class Unreadable(ValueError):
    """The text is no number at this place."""


@dataclass(slots=True)
class Reader:
    """Recursive descent over sums, products, powers and the things they are made of."""

    text: str
    at: int = field(default=0)

    def peek(self, *signs: str) -> str:
        """The first of the signs that stands here, spaces skipped; "" if none does."""
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1
        return next((sign for sign in signs if self.text.startswith(sign, self.at)), "")

    def take(self, *signs: str) -> str:
        """The sign that stands here, read; "" if none of them does."""
        sign = self.peek(*signs)
        self.at += len(sign)
        return sign

    def number(self) -> re.Match[str] | None:
        """The decimal that starts here, read; None if none does."""
        self.peek()
        match = NUMBER.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match

    def sum(self) -> float:
        """product (+ or - product) ..., with a sign before the first."""
        value = self.signed()
        while sign := self.take("+", "-"):
            value += self.product() if sign == "+" else -self.product()
        return value

    def signed(self) -> float:
        return -self.product() if self.take("-", "+") == "-" else self.product()

    def product(self) -> float:
        """factor (* or / factor, or the next factor at once) ..."""
        value = self.power()
        while True:
            if sign := self.take("*", "/"):
                factor = self.power()
                value = value * factor if sign == "*" else value / factor
            elif self.peek("√", "π", "\\frac", "(", "{"):
                before = self.at
                try:
                    value *= self.power()
                except Unreadable:  # the bracket of a unit: 3 (cm)
                    self.at = before
                    return value
            else:
                return value

    def power(self) -> float:
        """A factor, or one to the power of another; the power of a unit is left alone."""
        value = self.factor()
        if self.take("^"):
            value = math.pow(value, self.group())
        return value

    def factor(self) -> float:
        """A decimal, a mixed number, pi, a root, a fraction or a bracket."""
        number = self.number()
        if number:
            whole = float(number[0].replace(",", ""))
            mixed = WHOLE_FRACTION.match(self.text, self.at)
            if mixed is None or not number[0].isdigit():
                return whole
            self.at = mixed.end()
            return whole + int(mixed[1]) / int(mixed[2])
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
        """What stands under a root sign, and the root of it."""
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
        """A bracket, or a single digit or sign as LaTeX takes it without one."""
        if self.peek("(", "{"):
            return self.bracket()
        if self.peek(*"0123456789"):
            self.at += 1
            return float(self.text[self.at - 1])
        return self.factor()

    def bracket(self) -> float:
        """(sum) or {sum}."""
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

NO_UNIT = ("number", 1.0)
"""What words such as "square units" stand for."""

OTHERS = {
    NO_UNIT: "unit units squareunit squareunits cubicunit cubicunits 单位 平方单位 立方单位",
    ("share", 0.01): "% percent",
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


def units() -> dict[str, tuple[str, float]]:
    """Every spelling of a unit without spaces -> what it measures, and how many of the first."""
    found = {name: of for of, names in OTHERS.items() for name in names.split()}
    for metres, names in LENGTHS.items():
        for name in names.split():
            plural = {name, name + "s"} if len(name) > 3 and name.isascii() else {name}
            for spelling in plural:
                found[spelling] = ("length", metres)
                for square in (f"{spelling}2", f"square{spelling}", f"sq{spelling}"):
                    found[square] = ("area", metres**2)
                for cube in (f"{spelling}3", f"cubic{spelling}"):
                    found[cube] = ("volume", metres**3)
            found |= {f"平方{name}": ("area", metres**2), f"立方{name}": ("volume", metres**3)}
    return found


UNITS = units()

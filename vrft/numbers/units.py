"""Units: which words measure a length, an angle or a time, and how large each unit is."""

from __future__ import annotations

import math
import re
import unicodedata

WORD = re.compile(r"[^\W\d_]{1,20}")
PERCENTS = ("%", "percent")
NO_UNITS = ("squared", "cubed", "factorial", "plus", "minus", "times")
"""Words behind a number that make another number of it, and are no unit."""

LENGTHS = {
    1e-3: "mm millimeter millimetre 毫米",
    1e-2: "cm ㎝ centimeter centimetre 厘米",
    1e-1: "dm decimeter decimetre 分米",
    1.0: "m meter metre 米",
    1e3: "km kilometer kilometre 千米 公里",
    0.0254: "in inch inches 英寸",
    0.3048: "ft foot feet 英尺",
    0.9144: "yd yard",
    1609.344: "mi mile 英里",
    1852.0: "nmi nauticalmile 海里",
}
"""Metres -> the spellings of the unit, of which areas and volumes are made."""

NO_UNIT = ("number", 1.0)
"""The measure of words such as "square units", which say no more than the number."""

MEASURES = {
    NO_UNIT: "unit units squareunit squareunits cubicunit cubicunits 单位 平方单位 立方单位 ¥ ￥",
    ("share", 0.01): " ".join(PERCENTS),
    ("angle", 1.0): "° degree degrees deg 度",
    ("angle", 180 / math.pi): "rad radian radians 弧度",
    ("time", 1.0): "s sec second seconds 秒 秒钟",
    ("time", 60.0): "min minute minutes 分 分钟",
    ("time", 3600.0): "h hour hours 小时 时",
    ("time", 86400.0): "day days 天",
    ("mass", 1e-3): "mg milligram milligrams 毫克",
    ("mass", 1.0): "g gram grams 克",
    ("mass", 1e3): "kg kilogram kilograms 千克 公斤",
    ("mass", 28.349523125): "oz ounce ounces",
    ("mass", 453.59237): "lb lbs pound pounds",
    ("volume", 1e-6): "ml milliliter millilitre milliliters millilitres 毫升",
    ("volume", 1e-3): "l liter litre liters litres 升",
    ("speed", 1.0): "m/s 米/秒 米每秒",
    ("speed", 1 / 3.6): "km/h 千米/时 千米/小时 公里/小时",
    ("speed", 0.44704): "mph",
    ("speed", 1852 / 3600): "knot knots 海里/时 海里/小时",
    ("temperature", 1.0): "°c ℃ celsius degreecelsius degreescelsius 摄氏度",
    ("temperature in Fahrenheit", 1.0): "°f ℉ fahrenheit degreefahrenheit degreesfahrenheit",
    ("euros", 1.0): "€ euro euros eur 欧元",
    ("pounds sterling", 1.0): "£ gbp 英镑",
    ("rupees", 1.0): "₹ rupee rupees inr",
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
    rf"(?>{'|'.join(map(re.escape, _INNER))})"
    r"(?=\s*[-+*/)}])",
    re.IGNORECASE,
)
"""A unit behind which an expression goes on."""


def unit_of(text: str) -> str | None:
    """Read the unit that a text is, "" for none; None if it is neither a known unit nor a word.

    A single Latin letter is no unit but an unknown, as in "2a"; nor is "squared".
    """
    name = re.sub(r"[\s{}()^]", "", text).lower()
    if name in UNITS or not name:
        return name if UNITS.get(name, NO_UNIT) != NO_UNIT else ""
    unknown = name in NO_UNITS or (len(name) == 1 and name.isascii())
    # A digit in a circle or above the line is a letter to `re`.
    unknown |= any(unicodedata.category(sign) == "No" for sign in name)
    return name if WORD.fullmatch(text.strip()) and not unknown else None

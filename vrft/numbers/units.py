"""Units: which words measure a length, an angle or a time, and how large each unit is."""

from __future__ import annotations

import math
import re
import unicodedata

from vrft.numbers import si

WORD = re.compile(r"[^\W\d_]{1,20}")
PERCENTS = ("%", "percent")

MULTIPLES = {
    spelling: factor
    for factor, spellings in {
        10.0: "tens",
        12.0: "dozen dozens",
        100.0: "hundred hundreds",
        1e3: "thousand thousands",
        1e4: "万",
        1e5: "lakh lakhs 十万",
        1e6: "million millions 百万",
        1e7: "crore crores 千万",
        1e8: "亿",
        1e9: "billion billions 十亿",
        1e10: "百亿",
        1e11: "千亿",
        1e12: "trillion trillions 万亿",
    }.items()
    for spelling in spellings.split()
}
"""Words directly behind a number that multiply it -> the factor."""
MULTIPLE = re.compile(
    rf"^\s*+({'|'.join(sorted(MULTIPLES, key=len, reverse=True))})(?![a-z])", re.IGNORECASE
)

NO_UNITS = frozenset({
    *("squared", "cubed", "factorial", "plus", "minus", "times", "and", "or", "point"),
    *("half", "halves", "thirds", "fourths", "fifths", "sixths", "sevenths", "eighths", "ninths"),
    *("tenths", "hundredths", "thousandths", "mln", "mio", "bn", "bln", "mrd"),
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    *("nineteen", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"),
})  # fmt: skip
"""Words behind a number that make another number of it, and are no unit."""
HAN_NUMBER = re.compile(
    r"[零〇一二三四五六七八九十百千万亿几来]{1,20}[个只条张辆块件朵头匹本台座棵人元]?|.{0,20}[半多余]"
)
"""Chinese words that do so: 5千, 5万一千, 5天半, 5多."""

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
    ("time", 1.0): "s sec secs second seconds 秒 秒钟",
    ("time", 60.0): "min mins minute minutes 分 分钟",
    ("time", 3600.0): "h hr hrs hour hours 小时 时",
    ("time", 86400.0): "day days 天",
    ("time", 604800.0): "wk wks week weeks",
    ("calendar months", 1.0): "month months",
    ("calendar months", 12.0): "yr yrs year years",
    ("mass", 1e-3): "mg milligram milligrams 毫克",
    ("mass", 1.0): "g gram grams 克",
    ("mass", 1e3): "kg kgs kilogram kilograms 千克 公斤",
    ("mass", 28.349523125): "oz ounce ounces",
    ("mass", 453.59237): "lb lbs pound pounds",
    ("volume", 1e-6): "ml mls milliliter millilitre milliliters millilitres 毫升",
    ("volume", 1e-3): "l liter litre liters litres 升",
    ("speed", 1.0): "m/s m/sec meterspersecond metrespersecond 米/秒 米每秒",
    ("speed", 1 / 3.6): "km/h km/hr kmh kph kilometersperhour kilometresperhour "
    "千米/时 千米/小时 公里/小时",
    ("speed", 0.44704): "mph milesperhour",
    ("speed", 1852 / 3600): "knot knots 海里/时 海里/小时",
    ("temperature", 1.0): "°c ℃ celsius degc degreec degreesc degreecelsius degreescelsius 摄氏度",
    ("fahrenheit", 1.0): "°f ℉ fahrenheit degf degreef degreesf degreefahrenheit degreesfahrenheit",
    ("dollars", 1.0): "usd dollar dollars usdollar usdollars 美元",
    ("dollars", 0.01): "¢ cent cents",
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
"""Spelling of a unit, without blanks -> its measure, and its size in that measure."""

PLURALS = ((re.compile("ies$"), "y"), (re.compile("(?<=[sxzho])es$"), ""), (re.compile("s$"), ""))
"""(ending, ending of the singular): cities, boxes, cups; that of "shoes" is one of two."""

# One letter within an expression is an unknown: "2m + 3" is no 5 metres.
_INNER = sorted((unit for unit in UNITS if unit == "°" or len(unit) > 1), key=len, reverse=True)
INNER_UNIT = re.compile(
    rf"(?>{'|'.join(map(re.escape, _INNER))})"
    r"(?=\s*[-+*/)}])",
    re.IGNORECASE,
)
"""A unit behind which an expression goes on."""


def multiple_of(text: str) -> tuple[float, str]:
    """Return the factor that a text behind a number begins with, 1 for none, and the rest of it.

    It may have several words: "5 hundred thousand".
    """
    factor = 1.0
    while word := MULTIPLE.match(text):
        factor *= MULTIPLES[word[1].lower()]
        text = text[word.end() :]
    return factor, text


def unit_of(text: str) -> str | None:
    """Read the unit that a text is, "" for none; None if it is neither a known unit nor a word.

    A single Latin letter that is no symbol of SI is no unit but an unknown, as in "2a"; nor are
    "squared" and "two". C and F alone may be degrees as well, and are none.
    """
    name = re.sub(r"[\s{}()^]", "", text).lower()
    alone = text.strip(" (){}")
    if (name in UNITS and not si.AMBIGUOUS.fullmatch(alone)) or not name:
        return name if UNITS.get(name, NO_UNIT) != NO_UNIT else ""
    if alone not in ("C", "F") and (symbols := si.spelled(text.strip())) is not None:
        return symbols
    unknown = name in NO_UNITS or (len(name) == 1 and name.isascii())
    unknown |= HAN_NUMBER.fullmatch(name) is not None
    # A digit in a circle or above the line is a letter to `re`.
    unknown |= any(unicodedata.category(sign) == "No" for sign in name)
    return name if WORD.fullmatch(text.strip()) and not unknown else None


def measure_of(unit: str) -> tuple[str, float] | None:
    """Return the measure of a unit and its size in that measure; None for any other word."""
    return UNITS.get(unit) or si.measure(unit)


def same_unit(one: str, other: str) -> bool:
    """Return whether two units are the same word; of words that are no known unit, in any number.

    "7 apples" are "7 apple", while "m" and "ms" are two units.
    """
    if one == other or measure_of(one) is not None or measure_of(other) is not None:
        return one == other
    return not _singulars(one).isdisjoint(_singulars(other))


def _singulars(word: str) -> set[str]:
    """Return a word, and what its singular may be if it is a plural."""
    return {word, *(ending.sub(singular, word) for ending, singular in PLURALS)}

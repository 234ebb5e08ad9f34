"""SI's units, told apart by their case, with prefixes, products, quotients and powers."""

from __future__ import annotations

import functools
import math
import re

PREFIXES = {
    "f": 1e-15, "p": 1e-12, "n": 1e-9, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "c": 1e-2, "d": 1e-1,
    "": 1.0, "h": 1e2, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
}  # fmt: skip
LONG_PREFIXES = {
    "": 1.0, "nano": 1e-9, "micro": 1e-6, "milli": 1e-3, "centi": 1e-2, "kilo": 1e3, "mega": 1e6,
    "giga": 1e9,
}  # fmt: skip

BASES = {
    "m": ("meter metre", 1, "m"),
    "g": ("gram", 1, "g"),
    "s": ("second", 1, "s"),
    "A": ("ampere amp", 1, "A"),
    "K": ("kelvin", 1, "K"),
    "mol": ("mole", 1, "mol"),
    "cd": ("candela", 1, "cd"),
    "rad": ("radian", 180 / math.pi, "angle"),
    "Hz": ("hertz", 1, "s^-1"),
    "N": ("newton", 1e3, "g m s^-2"),
    "Pa": ("pascal", 1e3, "g m^-1 s^-2"),
    "J": ("joule", 1e3, "g m^2 s^-2"),
    "Wh": ("watthour", 3.6e6, "g m^2 s^-2"),
    "eV": ("electronvolt", 1.602176634e-16, "g m^2 s^-2"),
    "cal": ("calorie", 4184, "g m^2 s^-2"),
    "W": ("watt", 1e3, "g m^2 s^-3"),
    "V": ("volt", 1e3, "g m^2 s^-3 A^-1"),
    "Ω": ("ohm", 1e3, "g m^2 s^-3 A^-2"),
    "S": ("siemens", 1e-3, "g^-1 m^-2 s^3 A^2"),
    "C": ("coulomb", 1, "A s"),
    "Ah": ("amperehour amphour", 3600, "A s"),
    "F": ("farad", 1e-3, "g^-1 m^-2 s^4 A^2"),
    "H": ("henry", 1e3, "g m^2 s^-2 A^-2"),
    "Wb": ("weber", 1e3, "g m^2 s^-2 A^-1"),
    "T": ("tesla", 1e3, "g s^-2 A^-1"),
    "Nm": ("newtonmeter newtonmetre", 1e3, "g m^2 s^-2"),
    "bar": ("bar", 1e8, "g m^-1 s^-2"),
    "L": ("liter litre", 1e-3, "m^3"),
}
"""Symbol -> its names, its size in grams, metres, seconds ..., and the powers of these."""
PLAIN = {
    "l": (1e-3, "m^3"),
    "min": (60.0, "s"), "h": (3600.0, "s"), "hr": (3600.0, "s"), "hour": (3600.0, "s"),
    "minute": (60.0, "s"), "sec": (1.0, "s"),
    "atm": (101_325e3, "g m^-1 s^-2"),
    "ft": (0.3048, "m"), "mi": (1609.344, "m"),
}  # fmt: skip
"""Units without prefixes that stand in products and quotients of others: km/h."""

MEASURES = {
    "m": "length", "m^2": "area", "m^3": "volume", "s": "time", "g": "mass", "m s^-1": "speed",
    "angle": "angle",
}  # fmt: skip
"""Powers of base units -> the measure by which ``units`` knows them."""

WORDS = (
    (re.compile(r"\bsquare ([a-z]{1,20})"), r"\1^2"),
    (re.compile(r"\bcubic ([a-z]{1,20})"), r"\1^3"),
    (re.compile(r" squared\b"), "^2"),
    (re.compile(r" cubed\b"), "^3"),
    (re.compile(r" ?\bper\b ?"), "/"),
)
"""(words, signs): "metres per second squared" is m/s^2."""
FACTOR = re.compile(r"([^\W\d_]{1,20}+)(?: ?\^ ?([-+]?[0-9])|([0-9]))?+(?: ?[*.] ?|-(?=[a-z])| |$)")
AMBIGUOUS = re.compile(r"[fpnµμmcdhkMGT]?[HS]|Nm")
"""Symbols that are others in lower case: henry and hours, siemens and seconds."""
LONGEST = 60

Powers = dict[str, int]


def powers_of(text: str) -> Powers:
    """Return the powers that a text such as "g m s^-2" names."""
    pairs = (part.partition("^")[::2] for part in text.split())
    return {name: int(power or 1) for name, power in pairs}


def _all_symbols() -> dict[str, tuple[float, Powers]]:
    """Return the size and the powers of every unit, by its symbols and its names."""
    table = {name: (size, powers_of(powers)) for name, (size, powers) in PLAIN.items()}
    for symbol, (names, size, powers) in BASES.items():
        of = powers_of(powers)
        table |= {f"{prefix}{symbol}": (size * by, of) for prefix, by in PREFIXES.items()}
        for name in names.split():
            for prefix, by in LONG_PREFIXES.items():
                for plural in (name, f"{name}s", "henries" if name == "henry" else name):
                    table[f"{prefix}{plural}"] = (size * by, of)
    return table


SYMBOLS = _all_symbols()
SLOPPY = {
    symbol.lower(): symbol
    for symbol in (
        *("Hz", "kHz", "GHz", "kW", "GW", "kV", "Wh", "kWh", "GWh", "kJ", "GJ", "Pa", "kPa", "hPa"),
        *("eV", "keV", "GeV", "kΩ", "Ah", "mAh"),
        *(symbol for symbol in SYMBOLS if len(symbol) > 3 and symbol.islower()),
    )
}
"""Symbols and names in lower case that are no others in it -> as they are: khz, but not mw."""


@functools.lru_cache(maxsize=4096)
def measure(text: str) -> tuple[str, float] | None:
    """Return the measure of a unit and its size in that measure; None for no unit of SI.

    All factors behind a slash are below it: J/kg*K is J/(kg*K).
    """
    factors = factors_of(text)
    if not factors:
        return None
    size = 1.0
    powers: Powers = {}
    for name, power in factors:
        each, of = SYMBOLS[name]
        size *= each**power
        for base, own in of.items():
            powers[base] = powers.get(base, 0) + own * power
    key = " ".join(
        base if power == 1 else f"{base}^{power}" for base, power in sorted(powers.items()) if power
    )
    return (MEASURES.get(key, key), size) if key and math.isfinite(size) and size > 0 else None


def spelled(text: str) -> str | None:
    """Return the one spelling of a unit, such as "kg*m/s^2" as "kg*m*s^-2"; None for no unit."""
    factors = factors_of(text)
    if not factors or measure(text) is None:
        return None
    return "*".join(name if power == 1 else f"{name}^{power}" for name, power in factors)


@functools.lru_cache(maxsize=4096)
def factors_of(text: str) -> tuple[tuple[str, int], ...]:
    """Return the symbols of a unit with their powers; () for a text that is no unit of SI.

    Letters of algebra are none: "m g" is a product of unknowns, and "N m" a unit.
    """
    if len(text) > LONGEST:
        return ()
    line = " ".join(re.sub(r"[{}]", "", text).split())
    for words, signs in WORDS:
        line = words.sub(signs, line)
    if line.startswith("(") and line.endswith(")") and line.count("(") == 1:
        line = line[1:-1]
    above, slash, below = (part.strip() for part in line.partition("/"))
    if slash and "/" in below and "(" in line:
        return ()
    below = re.sub(r"[()]", " ", below.replace("/", "*")).strip()
    above = above[1:-1].strip() if above.startswith("(") and above.endswith(")") else above
    factors: list[tuple[str, int]] = []
    for side, sign in ((above, 1), (below, -1)):
        position = 0
        while position < len(side):
            factor = FACTOR.match(side, position)
            name = factor and (factor[1] if factor[1] in SYMBOLS else SLOPPY.get(factor[1].lower()))
            if factor is None or name is None:
                return ()
            factors.append((name, sign * int(factor[2] or factor[3] or 1)))
            position = factor.end()
        if slash and not side:
            return ()
    first = factors[0][0] if factors else ""
    letters = len(factors) > 1 and not slash and all(power == 1 for _, power in factors)
    return () if letters and len(first) == 1 and first.islower() else tuple(factors)

"""SI's units by their symbols and names: what they measure, and what is no unit."""

from __future__ import annotations

import pytest

from vrft.numbers import si
from vrft.numbers.units import UNITS


@pytest.mark.parametrize(
    ("texts", "measure", "size"),
    [
        # of what lengths, times and masses are made, in metres, seconds and grams
        (("m/s", "m s^-1", "m*s^{-1}", "metres per second", "meter/second"), "speed", 1),
        (("km/h", "kilometers per hour"), "speed", 1 / 3.6),
        (("µs", "μs", "microseconds"), "time", 1e-6),
        (("cm^2", "cm2", "square centimeters"), "area", 1e-4),
        (("L", "litres"), "volume", 1e-3),
        # 1 N = 1000 g m/s^2, 1 J = 1 N m = 1 W s
        (("N", "newton", "kg*m/s^2", "kg m s^-2", "J/m"), "g m s^-2", 1e3),
        (("J", "N m", "N*m", "newton-meters", "W s", "V*C", "Pa*m^3"), "g m^2 s^-2", 1e3),
        (("kWh", "kW h", "kilowatthours"), "g m^2 s^-2", 3.6e9),
        (("V", "J/C", "W/A", "A*Ω"), "A^-1 g m^2 s^-3", 1e3),
        # all behind a slash is below it
        (("J/(kg*K)", "J/kg*K", "J/kg/K"), "K^-1 m^2 s^-2", 1),
    ],
)
def test_units_have_the_size_that_their_factors_make(
    texts: tuple[str, ...], measure: str, size: float
) -> None:
    for text in texts:
        read = si.measure(text)
        assert read is not None, text
        name, each = read
        assert (" ".join(sorted(name.split())), each) == (
            " ".join(sorted(measure.split())), pytest.approx(size, rel=1e-9)
        ), text  # fmt: skip


def test_symbols_that_are_units_of_shops_too_have_the_same_size() -> None:
    for name in UNITS.keys() & si.SYMBOLS.keys():
        measure = si.measure(name)
        assert measure is not None, name
        assert measure[0] == UNITS[name][0] and measure[1] == pytest.approx(UNITS[name][1]), name


@pytest.mark.parametrize(
    "text",
    ["", "/", "m/", "/s", "x", "m + s", "m g", "v t", "apples", "m/m", "m^", "(m/s)/(kg/s)",
     "GW^99", "N" * 70, "mw"],
)  # fmt: skip
def test_anything_else_is_no_unit_of_si(text: str) -> None:
    assert si.measure(text) is None and si.spelled(text) is None

"""Numbers as geometry writes them: what is read, what is not, and what counts as equal."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrft.numbers import Quantity

READ = [
    # the forms of GEOQA's golds: degrees, bare, with Latin and with Chinese units
    ("140°", 140, "°"),
    ("22.5", 22.5, ""),
    ("3cm", 3, "cm"),
    ("12cm^{2}", 12, "cm2"),
    ("5米", 5, "米"),
    ("12平方厘米", 12, "平方厘米"),
    ("20海里", 20, "海里"),
    ("8秒", 8, "秒"),
    # roots, with what stands before and after them: 2 * 1.7320508...
    ("√{3}", 3**0.5, ""),
    ("2√{3}", 2 * 3**0.5, ""),
    ("2√{3}-2", 2 * 3**0.5 - 2, ""),
    ("(6+2√{3})米", 6 + 2 * 3**0.5, "米"),
    ("100(√{3}+1)海里", 100 * (3**0.5 + 1), "海里"),
    ("√3/2", 3**0.5 / 2, ""),
    ("√12.25", 3.5, ""),
    # fractions, nested and mixed: 2 and a half
    ("\\frac{√{3}}{2}", 3**0.5 / 2, ""),
    ("\\frac{1}{√{2}}", 0.5**0.5, ""),
    ("2\\frac{1}{2}", 2.5, ""),
    ("2\\frac{√3}{3}", 2 * 3**0.5 / 3, ""),
    ("5 \\frac { 1 } { 3 }", 16 / 3, ""),
    ("5\\,\\frac{1}{3}", 16 / 3, ""),
    ("5~\\dfrac{1}{3}", 16 / 3, ""),
    ("5\\tfrac13", 16 / 3, ""),
    ("-5 \\frac13", -16 / 3, ""),
    ("$7 \\frac{1}{2}$ cm", 7.5, "cm"),
    ("x = 5 ⅓", 16 / 3, ""),
    ("5 \\frac{1}{2} million", 5.5e6, ""),
    ("\\frac12", 0.5, ""),
    ("3/4", 0.75, ""),
    ("1:2", 0.5, ""),
    # pi
    ("4πcm", 4 * math.pi, "cm"),
    ("\\frac{4π}{3}", 4 * math.pi / 3, ""),
    ("√{3}π", 3**0.5 * math.pi, ""),
    ("2\\pi", 2 * math.pi, ""),
    ("2pi", 2 * math.pi, ""),
    # as models write: LaTeX, bold, boxes, words, thousands, signs
    ("$145^\\circ$", 145, "°"),
    ("\\( 145^{\\circ} \\)", 145, "°"),
    ("\\boxed{2\\sqrt{3}\\text{ cm}}", 2 * 3**0.5, "cm"),
    ("\\sqrt[3]{8}", 2, ""),
    ("$\\boxed{2\\pi}$.", 2 * math.pi, ""),
    (".5", 0.5, ""),
    ("60^{o}", 60, "°"),
    ("25\\%", 25, "%"),
    ("$5\\sqrt{3} \\mathrm{~cm}$", 5 * 3**0.5, "cm"),
    ("**145 degrees**.", 145, "degrees"),
    ("20 square centimeters", 20, "squarecentimeters"),
    ("12 cm²", 12, "cm2"),
    ("3 (cm)", 3, "cm"),
    ("60 square units", 60, ""),
    ("1,234,567.5", 1234567.5, ""),
    ("−3", -3, ""),
    ("2^{10}", 1024, ""),
    ("3 \\times 4 \\div 2", 6, ""),
    # 22 degrees and 30 of 60 minutes
    ("22°30′", 22.5, "°"),
    # names before an equals sign, and equal values on both of its sides
    ("x = 145", 145, ""),
    ("\\angle ABC = 145°", 145, "°"),
    ("∠1=∠2=50°", 50, "°"),
    ("3+4=7", 7, ""),
    # a word that is no known unit stands as it is
    ("3个", 3, "个"),
    # as models wrap it: the door of every answer
    ("So the answer is $145^\\circ$.", 145, "°"),
    ("**Answer:** 145°", 145, "°"),
    ("答案：145°", 145, "°"),
    ("145° is the correct answer.", 145, "°"),
    ("```\n145°\n```", 145, "°"),
    ("`2√3`", 2 * 3**0.5, ""),
    ("\\textbf{145}°", 145, "°"),
    # with the letter of an option, in full-width brackets and digits
    ("D. 145°", 145, "°"),
    ("(d) 145°", 145, "°"),
    ("（D）１４５°", 145, "°"),
    ("【145°】", 145, "°"),
    ("１４５", 145, ""),
    ("−３．５", -3.5, ""),
    # names before an equals sign: a ratio of sides, with a colon or a bar, and numbered angles
    ("AB/AC = 3/5", 0.6, ""),
    ("AB:AC = 3:5", 0.6, ""),
    ("\\frac{AB}{AC} = \\frac{3}{5}", 0.6, ""),
    ("\\angle 1 = 50°", 50, "°"),
    ("x_1 = 5", 5, ""),
    # units within a sum: equal values on both sides
    ("180° - 35° = 145°", 145, "°"),
    ("180°-35°=145", 145, ""),
    ("(180° - 80°)/2 = 50°", 50, "°"),
    ("180° ÷ 2 = 90°", 90, "°"),
    ("3cm + 4cm = 7cm", 7, "cm"),
    ("60km/h - 20km/h", 40, "km/h"),
    ("60%", 60, "%"),
    # words that multiply a number, and the unit behind them
    ("5 million", 5e6, ""),
    ("-2.5 Million", -2.5e6, ""),
    ("4.35 hundred", 435, ""),
    ("1.1 trillion", 1.1e12, ""),
    ("12 dozen eggs", 144, "eggs"),
    ("5 hundred thousand km", 5e5, "km"),
    ("3 tens", 30, ""),
    ("€5 million", 5e6, "€"),
    ("1½ million", 1.5e6, ""),
    ("1/2 million", 5e5, ""),
    ("$5\\text{ million}$", 5e6, ""),
    ("5 million = 5,000,000", 5e6, ""),
    ("2 lakh rupees", 2e5, "rupees"),
    ("5万", 5e4, ""),
    ("3千万元", 3e7, "元"),
    ("1.5亿人", 1.5e8, "人"),
    ("5千米", 5, "千米"),
    ("5千瓦", 5, "千瓦"),
    # powers, of ten too
    ("10^-3", 0.001, ""),
    ("10⁻³", 0.001, ""),
    ("2^10", 1024, ""),
    ("2¹⁰", 1024, ""),
    ("3e8 m/s", 3e8, "m/s"),
    ("3×10⁸ m/s", 3e8, "m/s"),
    ("3x10^8 m/s", 3e8, "m/s"),
    ("$3 \\times 10^{8} \\mathrm{~m/s}$", 3e8, "m/s"),
    # the symbols of SI, their products, quotients and powers
    ("5 N", 5, "N"),
    ("12V", 12, "V"),
    ("3 \\Omega", 3, "Ω"),
    ("5 \\mu m", 5, "µm"),
    ("F = -5 N", -5, "N"),
    ("2π rad/s", 2 * math.pi, "rad*s^-1"),
    ("5 million N", 5e6, "N"),
    ("9.8 m/s²", 9.8, "m*s^-2"),
    ("9.8\\text{ m/s}^2", 9.8, "m*s^-2"),
    ("9.8 (m/s^2)", 9.8, "m*s^-2"),
    ("9.8 m·s⁻²", 9.8, "m*s^-2"),
    ("5 km/s", 5, "km*s^-1"),
    ("5 kg*m/s^2", 5, "kg*m*s^-2"),
    ("5 J/(kg·K)", 5, "J*kg^-1*K^-1"),
    ("5 s^-1", 5, "s^-1"),
]


@pytest.mark.parametrize(("text", "value", "unit"), READ)
def test_a_number_is_read_with_its_unit(text: str, value: float, unit: str) -> None:
    quantity = Quantity.parse(text)
    assert quantity is not None
    assert quantity.value == pytest.approx(value, rel=1e-12)
    assert quantity.unit == unit


UNREADABLE = [
    # nothing, and nothing but signs
    "",
    " ",
    "°",
    "cm",
    "√",
    "-",
    "3*",
    # words, options, and several numbers at once
    "the angle is 145°",
    "145 or 150",
    "145, 150, 155",
    "4 4",
    "1=2",
    "1=145=145",
    # a number times an unknown, a quotient, a product, a root, a power: to be solved first
    "2x = 16",
    "2 x = 16",
    "x/2 = 8",
    "2/x = 8",
    "\\frac{x}{2} = 8",
    "xy = 16",
    "πr = 4",
    "√x = 4",
    "x^2 = 16",
    "-x = 4",
    "AB/2 = 8",
    "2∠A = 90",
    # sides that differ, in value or in unit; a metre or an unknown m
    "180° - 35° = 140°",
    "180° - 35cm",
    "3cm + 4cm = 7mm",
    "2m + 3",
    "1 - 40%",
    # a denial, a factorial, a bound, a box that was cut off
    "The answer is not 145",
    "3!",
    "> 3",
    "at least 3",
    "about 3",
    "~3",
    "minus 3",
    "3 squared",
    "3 plus",
    # of which term, nobody says; numbers that go on in words
    "3 + 4 million",
    "2√3 million",
    "5 million two",
    "5 million or more",
    "5 hundred and two",
    "2 thirds",
    "5 and",
    "5 bn",
    "5千",
    "5千个",
    "5万一千",
    "5万多",
    "5天半",
    "5几",
    "\\boxed{3",
    "3\\text{",
    "3{",
    "3cm}",
    # unknown names are no units
    "2a",
    # units of a power that nobody means
    "5 GW^99",
    "5 m/m",
    # products of unknowns, and what may be degrees as well
    "2 v t",
    "2 m*g",
    "3*m*g",
    "20 C",
    # capitals directly behind a number, and a decade
    "5A",
    "5K",
    "5M",
    "4G",
    "1990s",
    "1800s",
    # other digits
    "١٤٥",
    "²",
    # decimals that go on behind what is written
    "3.14...",
    "x = 3.14...",
    "0.333…",
    # what no float holds
    "9^9^9",
    "9^{9^{9}}",
    "9^{99999}",
    "1e999",
    "1/0",
    "√{-1}",
    "(-8)^{0.5}",
    # brackets that stay open, or are too many
    "(3",
    "\\frac{1}{2",
    "\\sqrt[3{8}",
    "(" * 60 + "3" + ")" * 59,
    "√" * 120,
    # code is text
    "__import__('os').system('true')",
    "2**10",
]


@pytest.mark.parametrize("text", UNREADABLE)
def test_anything_else_is_no_number(text: str) -> None:
    assert Quantity.parse(text) is None


EQUAL = [
    # the same number in other words
    ("2√{3}", "\\sqrt{12}", True),
    ("\\frac{√{3}}{2}", "√{3}/2", True),
    ("140°", "140.0", True),
    # six digits are enough, three are not: 3.4641016...
    ("2√{3}", "3.46410", True),
    ("2√{3}", "3.46", False),
    # digits that count are significant ones: 1.41421356..., 8.48528137..., 0.00001234567
    ("√2", "1.41421", True),
    ("√2", "1.4142", False),
    ("√2", "1.41422", False),
    ("6√2", "8.48528", True),
    ("6√2", "8.4853", False),
    ("1.000005", "1.00001", True),
    ("0.00001234567", "0.0000123457", True),
    ("0.00001234567", "0.000012346", False),
    ("99999.96", "100000", True),
    ("99999.9", "100000", False),
    # whole numbers agree to the last digit; 0 with what rounding leaves, and with nothing else
    ("1000000", "1000001", False),
    ("√{2}√{2}-2", "0", True),
    ("0.000001", "0", False),
    # a percentage is a number and a share
    ("60%", "3/5", True),
    ("60%", "0.6", True),
    ("60%", "60", True),
    ("60 percent", "60%", True),
    ("60%", "0.6%", False),
    ("60%", "6", False),
    ("60%", "60cm", False),
    # pi and roots count: math-verify's reading of these golds is 4 and 2
    ("4πcm", "4", False),
    ("2√{3}", "2", False),
    # a unit may be missing, or be another one of the same kind
    ("140°", "140", True),
    ("3", "3cm", True),
    ("3米", "300 cm", True),
    ("12平方厘米", "12 cm^2", True),
    ("60°", "π/3 rad", True),
    ("2小时", "120 min", True),
    # words that multiply are no unit, which could be missing
    ("5", "5 million", False),
    ("12", "12 dozen", False),
    ("5000000", "5 million", True),
    ("5 million", "5000 thousand", True),
    ("5", "5 hundred", False),
    ("2300001", "2.300001 million", True),
    ("2300000", "2.300001 million", False),
    ("5万", "5", False),
    ("5万", "50000", True),
    # the right number of the wrong thing
    ("140°", "140cm", False),
    ("3cm", "3cm^2", False),
    ("3cm", "3mm", False),
    ("3个", "3条", False),
    # abbreviations, codes of currencies and plurals are no other units
    ("5 hrs", "5 hours", True),
    ("5 hr", "300 mins", True),
    ("2 weeks", "14 days", True),
    ("1 year", "12 months", True),
    ("50 kmh", "50 km/h", True),
    ("20°C", "20 degrees C", True),
    ("7 dollars", "7 USD", True),
    ("50 cents", "0.5 dollars", True),
    ("7 dollars", "7 euros", False),
    ("$5", "5 dollars", True),
    ("$5", "5", True),
    ("$50", "50 cents", False),
    ("$5", "€5", False),
    ("$5M", "$5,000,000", True),
    ("$5M", "5 million dollars", True),
    ("$5M", "5", False),
    ("$5M", "5 m", False),
    ("5 m", "5 s", False),
    ("90s", "1.5 min", True),
    ("7 apples", "7 apple", True),
    ("7 apples", "7 pears", False),
    ("5 weeks", "5 days", False),
    # symbols of SI are told apart by their case, and written out in words
    ("5 N", "5 newtons", True),
    ("5 N", "5", True),
    ("5 N", "5 kg m/s^2", True),
    ("5 N", "5 J", False),
    ("5 N", "5 m", False),
    ("5 N·m", "5 newton-meters", True),
    ("5 MW", "5000 kW", True),
    ("5 MW", "5 mW", False),
    ("5 kHz", "5 khz", True),
    ("5 H", "5 h", False),
    ("5 ms", "5 m", False),
    ("5 A", "5 Amps", True),
    ("1 kWh", "3.6 MJ", True),
    ("9.8 m/s²", "9.8 m/s^2", True),
    ("9.8 m/s²", "9.8 meters per second squared", True),
    ("9.8 m/s²", "9.8 m/s", False),
    ("9.8 m/s²", "980 cm/s²", True),
    ("36 km/h", "10 m s^-1", True),
    ("3×10⁸ m/s", "300000 km/s", True),
    ("3e8 m/s", "3e8", True),
    ("1 g/cm^3", "1000 kg/m³", True),
    ("300 K", "300 °C", False),
    ("0", "0.0", True),
    ("5", "-5", False),
    # more digits than a float holds, as numbers of cards and bar codes have
    ("110101199003071234", "110101199003071235", False),
    ("9007199254740993", "\\boxed{9007199254740992}", False),
    ("110101199003071234", "**110101199003071234**.", True),
    ("-0", "0", True),
]


def test_a_root_has_a_positive_degree() -> None:
    # the cube root of 8, and roots of a negative degree and of degree 0, which are none
    assert Quantity.parse("\\sqrt[3]{8}") == Quantity(2.0)
    assert Quantity.parse("\\sqrt[-2]{4}") is None
    assert Quantity.parse("\\sqrt[0]{4}") is None


@pytest.mark.parametrize(("one", "other", "equal"), EQUAL)
def test_numbers_agree_by_value_and_kind(one: str, other: str, equal: bool) -> None:
    first, second = Quantity.parse(one), Quantity.parse(other)
    assert first is not None
    assert second is not None
    assert first.agrees(second) is second.agrees(first) is equal


def test_a_tolerance_is_relative_to_the_larger() -> None:
    # 3.46410...: a hundredth of it is 0.0346
    exact, rounded = Quantity.parse("2√{3}"), Quantity.parse("3.46")
    assert exact is not None and rounded is not None
    assert exact.agrees(rounded, 0.01) and rounded.agrees(exact, 0.01)
    assert not exact.agrees(rounded, 0.001)
    assert not exact.agrees(Quantity(3.3), 0.01)
    assert Quantity(100.0).agrees(Quantity(101.0), 0.01)
    assert not Quantity(100.0).agrees(Quantity(0.0), 0.01)
    assert Quantity(1.0, "m").agrees(Quantity(101.0, "cm"), 0.01)


@pytest.mark.timeout(20)
def test_a_megabyte_of_text_is_no_number() -> None:
    for text in ("9" * 1_000_000, "(" * 1_000_000, "√" * 1_000_000, "1=" * 500_000):
        assert Quantity.parse(text) is None


PIECES = ["\\frac", "\\sqrt", "√", "π", "{", "}", "(", ")", "[", "]", "^", "=", "+", "-", "*", "/"]
PIECES += [
    "0",
    "2",
    "3.5",
    "99",
    "°",
    "′",
    "cm",
    "米",
    "N",
    "kg",
    "s",
    "e8",
    "⁻⁸",
    "x",
    " ",
    ",",
    ".",
    "$",
    "\\boxed",
    "\\text",
]


@given(st.one_of(st.text(max_size=30), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_any_text_is_a_finite_number_or_none(text: str) -> None:
    quantity = Quantity.parse(text)
    assert quantity is None or math.isfinite(quantity.value)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_a_number_agrees_with_itself_in_a_box(text: str) -> None:
    quantity = Quantity.parse(text)
    boxed = Quantity.parse(f"$\\boxed{{{text}}}$")
    if quantity is not None and "=" not in text and "boxed" not in text:
        assert boxed is not None
        assert boxed.agrees(quantity)


@given(st.from_regex(r"-?[0-9]{1,32}(\.[0-9]{1,32})?", fullmatch=True))
def test_a_plain_number_is_read_as_the_grammar_reads_it(text: str) -> None:
    plain, by_grammar = Quantity.parse(text), Quantity.parse(f" {text}")
    assert plain is not None and plain == by_grammar
    assert math.copysign(1, plain.value) == math.copysign(1, by_grammar.value)


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("€3.50", 3.5, "€"),
        ("3.50 €", 3.5, "€"),
        ("-£5", -5, "£"),
        ("¥ 300", 300, ""),  # of Japan or China, nobody says
        # a dollar sign that stands alone, or is escaped, and what multiplies money in short
        ("$5", 5, "usd"),
        ("-$ 0.50", -0.5, "usd"),
        ("US$5", 5, "usd"),
        ("**$5**.", 5, "usd"),
        ("The answer is $1,200.50.", 1200.5, "usd"),
        ("\\boxed{\\$5}", 5, "usd"),
        ("$\\$5$", 5, "usd"),
        ("$5M", 5e6, "usd"),
        ("$1.5 bn", 1.5e9, "usd"),
        ("€20k", 20000, "€"),
        ("£3m", 3e6, "£"),
        ("$5 million", 5e6, "usd"),
        ("EUR 5", 5, "eur"),
        # LaTeX's, in a pair or before what is no price
        ("$5$", 5, ""),
        ("$x = 5$", 5, ""),
        ("$$5$$", 5, ""),
        ("$145^\\circ", 145, "°"),
        ("$5 cm", 5, "cm"),
        ("5$", 5, ""),
        ("12 500 cm", 12500, "cm"),
        ("1\u202f234.5", 1234.5, ""),  # French, and SI
        ("½", 0.5, ""),
        ("1½ m", 1.5, "m"),
        ("3 1/2", 3.5, ""),
        ("-3 1/2", -3.5, ""),
        ("3-1/2 in", 3.5, "in"),
        ("10-3/4inches", 10.75, "inches"),
        ("3-1/2", 2.5, ""),  # a difference, as is that of roots and of multiples of pi
        ("3-1/2 sqrt(4)", 2, ""),
        ("3-1/2 pi", 3 - math.pi / 2, ""),
        ("1e-6", 1e-6, ""),
        ("20 °C", 20, "°c"),
    ],
)
def test_numbers_of_shops_maps_and_instruments_are_read(text: str, value: float, unit: str) -> None:
    assert Quantity.parse(text) == Quantity(value, unit)


def test_temperatures_are_no_angles_and_miles_are_lengths() -> None:
    def agree(one: str, other: str) -> bool:
        first, second = Quantity.parse(one), Quantity.parse(other)
        return first is not None and second is not None and first.agrees(second)

    assert not agree("145°C", "145°")
    assert not agree("20 °C", "20 °F")
    assert agree("3 ft", "36 inches")
    assert agree("1 mile", "1.609344 km")
    assert not agree("1½", "1")  # the fraction is no unit
    assert not agree("5①", "5")

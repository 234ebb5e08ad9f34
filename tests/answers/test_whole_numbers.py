"""The only whole number that an answer names among words, and numbers that are none."""

import pytest
from fakes.asserted_numbers import ASSERTED, BOUNDS

from vrft import answers

WHOLE_NUMBERS = [
    ("7", 7),
    (" 7.\n", 7),
    ("**7**", 7),
    ("(7).", 7),
    ("007", 7),
    ("There are 7 cubes.", 7),
    # another number, however it is written
    ("-7", -7),
    ("7.0", None),
    ("7,5", None),
    ("1,000", None),
    ("1e9", None),
    ("7/2", None),
    ("3+4", None),
    ("7x", None),
    ("²", None),
    ("٧", None),
    ("７", 7),
    ("−7", -7),
    ("7 %", None),
    ("7 percent", None),
    ("7 √2", None),
    ("7 π", None),
    ("7 + x", None),
    ("~7", None),
    ("2x = 16", None),
    ("7 million", None),
    # a sign in words, a factorial, a bound or an estimate, a denial
    ("minus 7", None),
    ("7!", None),
    ("|7|", None),
    ("There are 7 cubes!", 7),
    *((text, None) for text in BOUNDS),
    *((text, 7) for text in ASSERTED),
    ("at least 7, so 7", None),
    ("I doubt there are 7", None),
    ("hardly 7", None),
    ("There are not 7 cubes", None),
    ("7 is wrong", None),
    ("There are 7 cubes and no spheres.", 7),
    ("There are 7 cubes, not spheres", 7),
    ("I count 7 with none hidden", 7),
    # Chinese: measure words, no spaces; an ordinal, a decimal, a multiple, two numbers, a denial
    ("7个", 7),
    ("图中一共有7个立方体。", 7),
    ("答案：７ 个", 7),
    ("第7个", None),
    ("7点5", None),
    ("7万", None),
    ("3到7个", None),
    ("不是7个", None),
    ("1" * 10, None),
    # several, and the same one twice
    ("7 or 8", None),
    ("3 4 5 6 7 8 9 10", None),
    ("7 cubes: 7", 7),
    # none
    ("seven", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "number"), WHOLE_NUMBERS)
def test_a_whole_number_stands_alone_among_words(text: str, number: int | None) -> None:
    assert answers.whole_number(text) == number


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("piece", "number"),
    [
        # letters a hundred thousand times, and words between them
        ("(b) ", 8),
        ("(a) above (b) below ", None),
        # the beginnings of words, denials and lead-ins, over and over
        ("belo", None),
        ("not ", None),
        ("answer is ", 8),
        # numbers
        ("7 ", None),
        # bounds, and words that set apart
        ("at least 7 ", None),
        ("far from the lamp ", 8),
        ("far from the above ", None),
    ],
)
def test_a_megabyte_is_read_for_a_number_in_linear_time(piece: str, number: int | None) -> None:
    assert answers.whole_number(piece * (1_000_000 // len(piece)) + "8 (b)") == number

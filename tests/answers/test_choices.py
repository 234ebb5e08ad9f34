"""The option that an answer names by letter or text, and answers that name none or several."""

import pytest
from fakes.asserted_numbers import ASSERTED, BOUNDS

from vrft import answers

PLACES = ("above", "below")
THINGS = ("chair", "table")
NUMBERS = ("5", "3")
UNKNOWN = ("", "", "")

CHOICES = [
    # the letter alone, in every published form
    ("B", PLACES, 1),
    ("b", PLACES, 1),
    ("(B)", PLACES, 1),
    (" (b).\n", PLACES, 1),
    ("**B**", PLACES, 1),
    # the letter at the start with its option's text, or with the reason
    ("(B) below", PLACES, 1),
    ("B. Below", PLACES, 1),
    ("B: it is under the lamp", PLACES, 1),
    # the letter with its stop close to an option's text, as questions in Chinese write it
    ("B.below", PLACES, 1),
    ("B．below", PLACES, 1),
    ("B:below", PLACES, 1),
    ("B.变小", ("变大", "变小"), 1),
    ("B、变小了", ("变大", "变小"), 1),
    ("B.面积变小了", PLACES, 1),
    ("B.4cm", ("3cm", "4cm"), 1),
    ("A.below", PLACES, None),
    ("A)below", PLACES, None),
    ("b.elow", PLACES, None),
    # letters in brackets inside the text of an option are no letters of options
    ("B. f(x) = 2x", ("f(x) = x", "f(x) = 2x"), 1),
    ("It is f(x) = 2x", ("f(x) = x", "f(x) = 2x"), 1),
    ("B. cos(x)", ("sin(x)", "cos(x)"), 1),
    ("B. jug(s)", ("cup(s)", "jug(s)"), 1),
    ("(B) P(A) = 0.5", ("P(A) = 0.4", "P(A) = 0.5"), 1),
    ("A. left (L)", ("left (L)", "right (R)"), 0),
    ("C. (a) only", ("(a) and (b)", "(b) only", "(a) only"), 2),
    ("(B) (a) only", ("(a) and (b)", "(b) only", "(a) only"), None),
    ("A. cos(x)", ("sin(x)", "cos(x)"), None),
    ("B. cos(a)", ("sin(x)", "cos(x)"), None),
    # options that are letters of other places
    ("(B)", ("b", "a"), None),
    # a lead-in
    ("The answer is (B).", PLACES, 1),
    ("Option B", PLACES, 1),
    ("Answer: below", PLACES, 1),
    # the text alone, in any case, and within a sentence over several lines
    ("Below", PLACES, 1),
    ('"below".', PLACES, 1),
    ("The cup\nis below\nthe lamp", PLACES, 1),
    # an article is not an option
    ("A chair", ("table", "chair"), 1),
    ("A chair", ("table", "lamp"), None),
    ("a sofa", PLACES, None),
    # letter and text of two options
    ("(A) below", PLACES, None),
    ("B. above", PLACES, None),
    ("(A) (B)", PLACES, None),
    # every option at once, the prompt echoed
    ("above below", PLACES, None),
    ("(A) above (B) below", PLACES, None),
    ("Is it above or below? Choose (A) above (B) below", PLACES, None),
    # a denial says what it is not
    ("not above but below", PLACES, None),
    ("above, not below", PLACES, None),
    ("not above", PLACES, None),
    ("It isn't above", PLACES, None),
    # unless the denial is part of the option
    ("not moving", ("moving", "not moving"), 1),
    ("It is not moving", ("moving", "not moving"), 1),
    # a letter that no option has
    ("C", PLACES, None),
    ("(c) below", PLACES, None),
    # numbers: equal or a word of their own, never part of another number
    ("2", ("1", "2", "12"), 1),
    ("There are 12.", ("1", "2", "12"), 2),
    ("C. 2", ("0", "1", "2"), 2),
    ("three", ("2", "3"), None),
    ("2.5", ("2", "5"), None),
    ("-2", ("2", "3"), None),
    ("1/2", ("1", "2"), None),
    ("1,2", ("1", "2"), None),
    # full-width characters are ASCII, digits of other scripts are other characters
    ("２", ("1", "2"), 1),
    ("（Ｂ）", PLACES, 1),
    ("【B】", PLACES, 1),
    ("Ｂ．", PLACES, 1),
    ("٢", ("1", "2"), None),
    ("(Β)", PLACES, None),  # a Greek letter
    # no option is read out of a longer number or expression
    ("5\\sqrt{3}", ("5", "3"), None),
    ("3 √2", ("3", "2"), None),
    ("−3", ("3", "-3"), 1),
    ("–3", ("3", "5"), None),
    ("- 3", ("3", "5"), None),
    ("50 %", ("50", "60"), None),
    ("50 %", ("50%", "50"), 0),
    ("50 percent", ("50", "60"), None),
    ("2-3", ("2", "3"), None),
    ("2-3", ("2", "4"), None),
    ("2 - 3", ("2", "4"), None),
    ("2+1", ("2", "1", "3"), None),
    ("2 + x", ("2", "3"), None),
    ("2^3", ("2", "3"), None),
    ("2π", ("2", "3"), None),
    ("2 × 4", ("2", "3"), None),
    ("2x = 16", ("16", "8"), None),
    ("< 3", ("3", "4"), None),
    ("√(2)", ("2", "4"), None),
    ("(2)^2", ("2", "4"), None),
    ("(2) π", ("2", "4"), None),
    ("2 million", ("2", "4"), None),
    ("2 or 3", ("2", "4"), None),
    ("There are 2, not counting 3 more", ("2", "4"), None),
    ("2 - the lamps", ("2", "4"), 0),
    ("there are 2 lamps", ("2", "4"), 0),
    ("145°", ("35", "145"), 1),
    ("D. 145°", ("35°", "55°", "125°", "145°"), 3),
    ("D. 145°", ("35°", "55°", "145°", "90°"), None),
    ("D. 145°, as 180 - 35 = 145", ("35°", "55°", "125°", "145°"), 3),
    ("$145^\\circ$", ("35°", "145°"), 1),
    ("chair-table", ("chair", "lamp"), None),
    ("table-chair", ("chair", "lamp"), None),
    ("chair+table", ("chair", "lamp"), None),
    ("chair - it is brown", ("chair", "lamp"), 0),
    # signs behind a word make no expression
    ("chair = the brown one", ("chair", "lamp"), 0),
    ("It is the chair (100 % sure)", ("chair", "lamp"), 0),
    # two letters in a row
    ("A, B", PLACES, None),
    ("A or B", PLACES, None),
    ("A/B", PLACES, None),
    # nor past a denial
    ("(A) is incorrect", PLACES, None),
    ("(A) is wrong", PLACES, None),
    ("Anything but (A)", PLACES, None),
    ("all but (A)", PLACES, None),
    ("something other than the chair", ("chair", "lamp"), None),
    ("the opposite of above", PLACES, None),
    ("None of them, (A)", PLACES, None),
    ("no way to tell", ("yes", "no"), None),
    ("No idea", ("yes", "no"), None),
    ("There is no chair", ("chair", "lamp"), None),
    ("B is not the correct answer", PLACES, None),
    ("The answer isn't B.", PLACES, None),
    ("It isnt above", PLACES, None),
    ("答案不是B", PLACES, None),
    ("B不是正确答案", PLACES, None),
    ("below, no doubt", PLACES, 1),
    ("No", ("yes", "no"), 1),
    ("No, the lamp is.", ("yes", "no"), 1),
    ("it is false", ("true", "false"), 1),
    # words that deny as "not" does, or set a thing apart
    ("hardly the chair", THINGS, None),
    ("scarcely a chair", THINGS, None),
    ("I doubt it is the chair", THINGS, None),
    ("it is doubtful that it is the chair", THINGS, None),
    ("I am unsure: the chair", THINGS, None),
    ("It is unlikely to be the chair", THINGS, None),
    ("the chair is out of the question", THINGS, None),
    ("the chair was rejected", THINGS, None),
    ("ruling out the chair", THINGS, None),
    ("all, with the exception of the chair", THINGS, None),
    ("instead of the chair", THINGS, None),
    ("neither", ("neither", "both"), 0),
    ("neither the chair", THINGS, None),
    ("without the chair", THINGS, None),
    ("far from the chair", THINGS, None),
    ("away from the chair", THINGS, None),
    ("apart from the chair", THINGS, None),
    ("nowhere near the chair", THINGS, None),
    ("bigger than the chair", THINGS, None),
    ("远离chair", THINGS, None),
    # assertions in like words, firm or hedged
    ("the chair without doubt", THINGS, 0),
    ("Without a doubt the chair", THINGS, 0),
    ("beyond any doubt it is the chair", THINGS, 0),
    ("undoubtedly the chair", THINGS, 0),
    ("nothing but the chair", THINGS, 0),
    ("only the chair", THINGS, 0),
    ("barely above", PLACES, 0),
    ("probably the chair", THINGS, 0),
    ("near the chair", THINGS, 0),
    ("the chair, far from the wall", THINGS, 0),
    ("far from the wall", ("near the wall", "far from the wall"), 1),
    ("the chair!", THINGS, 0),
    # numbers of which an expression, a bound or an estimate is made
    ("5!", NUMBERS, None),
    ("|5|", NUMBERS, None),
    ("log 5", NUMBERS, None),
    ("ln(5)", NUMBERS, None),
    ("5 squared", NUMBERS, None),
    ("3.14...", ("3.14", "5"), None),
    ("3.14…", ("3.14", "5"), None),
    ("minus 5", NUMBERS, None),
    ("minus 5", ("5", "minus 5"), 1),
    ("5!", ("5", "5!"), 1),
    ("There are 5 lamps!", NUMBERS, 0),
    ("145°!", ("35°", "145°"), 1),
    *((text.replace("7", "5"), NUMBERS, None) for text in BOUNDS),
    *((text.replace("7", "5").replace("seven", "five"), NUMBERS, 0) for text in ASSERTED),
    # an option that looks like a wording, or like a side
    ("Option 2", ("Option 1", "Option 2"), 1),
    ("the cup is right", ("left", "right"), 1),
    ("B is right", PLACES, 1),
    ("It is the right one", ("left", "right"), 1),
    # a measure word
    ("7个", ("6", "7"), 1),
    ("7", ("6个", "7个"), 1),
    # the longest option counts where one begins another
    ("left by 30 degrees", ("left", "left by 30 degrees"), 1),
    ("It moved left by 30 degrees", ("left", "left by 30 degrees"), 1),
    # options with commas, and with characters that patterns read
    ("red, green", ("red", "red, green"), 1),
    ("it is 5 (approx.)", ("5 (approx.)", "6"), 0),
    ("top-right", ("right", "left"), None),
    # texts that are not known, as in pictures: a denial behind the opening letter is their own
    ("B. not moving", UNKNOWN, 1),
    ("(B) Cannot be determined", UNKNOWN, 1),
    ("B.不变", UNKNOWN, 1),
    ("B. is not right", UNKNOWN, None),
    ("(B) isn't right", UNKNOWN, None),
    ("B. 不对", UNKNOWN, None),
    ("B, not sure", UNKNOWN, None),
    ("not B.", UNKNOWN, None),
    ("B. not moving", PLACES, None),
    # nothing
    ("", PLACES, None),
    (" . ", PLACES, None),
    ("", ("", "below"), None),
    ("B", (), None),
]


SPELLINGS = [
    ("2.5m", ("2 m", "2.5 m"), 1),
    ("2.5 m", ("2m", "2.5m"), 1),
    ("1000", ("1,000", "2,000"), 0),
    ("1,000 km", ("1000 km", "2000 km"), 0),
    ("3 x 4", ("3x4", "4x3"), 0),
    ("30°", ("30 °", "60 °"), 0),
    ("The answer is 5 cm.", ("5cm", "10cm"), 0),
    ("12:30 p.m.", ("12:30pm", "12:30am"), 0),
    # a blank between two digits parts two numbers
    ("2 5", ("25", "30"), None),
    # options that differ in nothing else are told apart by it
    ("2.5 m", ("2.5m", "2.5 m"), 1),
    ("2.5  m", ("2.5m", "2.5 m"), 1),
    ("2.5m", ("2.5m", "2.5 m"), 0),
]


@pytest.mark.parametrize(("text", "options", "index"), SPELLINGS)
def test_an_option_is_named_with_or_without_blanks_beside_its_digits(
    text: str, options: tuple[str, ...], index: int | None
) -> None:
    assert answers.choice(text, options) == index


GENES = ("tt", "Tt", "TT")
CASES = [
    # as they are written, with what models wrap around them, and within a sentence
    ("TT", GENES, 2),
    ("Tt", GENES, 1),
    ("**TT**.", GENES, 2),
    ("The answer is Tt.", GENES, 1),
    ("The genotype is Tt", GENES, 1),
    ("5MW", ("5 mW", "5 MW"), 1),
    # with a letter in any case, of which each is its own option's
    ("(B) Tt", GENES, 1),
    ("b. Tt", GENES, 1),
    ("B. TT", GENES, None),
    ("C", GENES, 2),
    # what is none of them, and two of them
    ("tT", GENES, None),
    ("5mw", ("5 mW", "5 MW"), None),
    ("TT or Tt", GENES, None),
    ("not Tt", GENES, None),
    # options beside them have any case
    ("none of THESE", (*GENES, "None of these"), 3),
    ("It is Tt x TT", (*GENES, "Tt x TT"), 3),
    # and so with stops and quotation marks, in which nothing else is told apart
    ("I go!", ("I go.", "I go!"), 1),
    ("(B) I go!", ("I go.", "I go!"), 1),
    ("I go", ("I go.", "I go!"), None),
    ("?", (".", "?", "!"), 1),
    ('"a"', ("a", '"a"'), 1),
]


@pytest.mark.parametrize(("text", "options", "index"), CASES)
def test_options_that_differ_in_case_or_stops_alone_are_named_as_they_are_written(
    text: str, options: tuple[str, ...], index: int | None
) -> None:
    assert answers.choice(text, options) == index


@pytest.mark.parametrize(("text", "options", "index"), CHOICES)
def test_a_choice_names_one_option_by_letter_or_text(
    text: str, options: tuple[str, ...], index: int | None
) -> None:
    assert answers.choice(text, options) == index


def test_letters_name_nothing_where_options_have_none() -> None:
    for text, index in [("B", None), ("(B)", None), ("B. below", 1), ("(A) below", 1)]:
        assert answers.choice(text, PLACES, lettered=False) == index


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("piece", "index"),
    [
        # one option a hundred thousand times, and both
        ("(b) ", 1),
        ("(a) above (b) below ", None),
        # the beginnings of options, denials and lead-ins, over and over
        ("belo", 1),
        ("not ", None),
        ("answer is ", 1),
        # numbers
        ("7 ", 1),
        # bounds, and words that set apart
        ("at least 7 ", 1),
        ("far from the lamp ", 1),
        ("far from the above ", 1),
        # a letter close to its option
        ("b.below", 1),
    ],
)
def test_a_megabyte_is_read_for_options_in_linear_time(piece: str, index: int | None) -> None:
    assert answers.choice(piece * (1_000_000 // len(piece)) + "8 (b)", PLACES) == index

"""The format contract, its lenient reading, and the published rule with its golden vectors."""

import pytest

from vrft import answers

STRICT = [
    ("<think>a</think><answer>b</answer>", "b"),
    # whitespace around the whole, between the blocks and inside them is free
    (" \n<think>a\n</think>\n\n<answer>\n b c \n</answer>\n", "b c"),
    # any characters inside, other markup too
    ("<think>1 < 2 & <b>x</b></think><answer>(1,2),(3,4)</answer>", "(1,2),(3,4)"),
    # nothing written at all
    ("", None),
    # an answer without reasoning
    ("<answer>b</answer>", None),
    # empty reasoning, and reasoning of spaces
    ("<think></think><answer>b</answer>", None),
    ("<think> \n</think><answer>b</answer>", None),
    # an empty answer, and an answer of spaces
    ("<think>a</think><answer></answer>", None),
    ("<think>a</think><answer> \n</answer>", None),
    # the wrong order
    ("<answer>b</answer><think>a</think>", None),
    # two answers, two thoughts, the whole twice
    ("<think>a</think><answer>b</answer><answer>c</answer>", None),
    ("<think>a</think><think>a</think><answer>b</answer>", None),
    ("<think>a</think><answer>b</answer><think>a</think><answer>b</answer>", None),
    # words before, between and after the blocks
    ("Well: <think>a</think><answer>b</answer>", None),
    ("<think>a</think> so <answer>b</answer>", None),
    ("<think>a</think><answer>b</answer>.", None),
    # a closing tag too many, nested blocks, a block that never closes
    ("<think>a</think></think><answer>b</answer>", None),
    ("<think>a<answer>b</answer></think>", None),
    ("<think>a</think><answer>b", None),
    # tags are written as they are written
    ("<THINK>a</THINK><ANSWER>b</ANSWER>", None),
]

LENIENT = [
    ("<think>a</think><answer>b</answer>", "b"),
    # no reasoning is needed, and words around are ignored
    ("It is <answer> b </answer>, surely.", "b"),
    # the last of several counts
    ("<answer>b</answer> or rather <answer>c</answer>", "c"),
    # an empty or unclosed last block is not well formed: the one before it counts
    ("<answer>b</answer><answer> </answer>", "b"),
    ("<answer>b</answer><answer>c", "b"),
    # the innermost of nested blocks
    ("<answer>x<answer>b</answer></answer>", "b"),
    # none
    ("b", None),
    ("", None),
    ("</answer>b<answer>", None),
    ("<answer></answer>", None),
]

PUBLISHED = [
    # the golden vectors: plain, outer whitespace behind and before, empty tags, two blocks
    ("<think>a</think><answer>b</answer>", True),
    ("<think>a</think><answer>b</answer>\n", False),
    (" <think>a</think><answer>b</answer>", False),
    ("<think></think><answer></answer>", True),
    ("<think>a</think><answer>b</answer><think>a</think><answer>b</answer>", True),
    # text between tags belongs to one of the blocks, a second closing tag too
    ("<think>a</think></think>\n<answer>b</answer>", True),
    # nothing joins the blocks
    ("<think>a</think> so <answer>b</answer>", False),
    # opening and closing tag may not overlap
    ("<think></think><answer>", False),
    ("", False),
]


@pytest.mark.parametrize(("text", "answer"), STRICT)
def test_the_strict_reading_takes_exactly_one_non_empty_block_of_each_kind(
    text: str, answer: str | None
) -> None:
    assert answers.answer_text(text) == answer
    assert answers.follows_format(text) is (answer is not None)


@pytest.mark.parametrize(("text", "answer"), LENIENT)
def test_the_lenient_reading_takes_the_last_well_formed_answer(
    text: str, answer: str | None
) -> None:
    assert answers.last_answer(text) == answer


@pytest.mark.parametrize(("text", "accepted"), PUBLISHED)
def test_the_published_format_rule_gives_the_golden_values(text: str, accepted: bool) -> None:
    assert answers.legacy_format(text) is accepted


def test_the_published_reading_takes_the_first_answer_or_the_whole_text() -> None:
    assert answers.legacy_answer("<answer> b </answer><answer>c</answer>") == "b"
    assert answers.legacy_answer("just b") == "just b"
    assert answers.legacy_answer("<answer>never closed") == "<answer>never closed"


PLACES = ("above", "below")
THINGS = ("chair", "table")
NUMBERS = ("5", "3")

BOUNDS = [
    # bounds
    "at least 7",
    "7 at least",
    "at most 7",
    "more than 7",
    "less than 7",
    "greater than or equal to 7",
    "up to 7",
    "over 7",
    "under 7",
    "a maximum of 7",
    "max. 7",
    "7 or more",
    "7 and above",
    "7 plus",
    "(at least 7)",
    "The answer is at least 7.",
    "至少7个",
    "不到7",
    # estimates
    "about 7",
    "around 7",
    "roughly 7",
    "approximately 7",
    "nearly 7",
    "almost 7",
    "close to 7",
    "7 or so",
    "大约7个",
    # other numbers
    "negative 7",
    "half of 7",
    "twice 7",
    "twelve 7",
    "two of the 7",
    "one out of 7",
    "the square of 7",
    "the square root of 7",
]
"""Answers that bound a number, estimate it, or make another number of it: they do not name it."""

ASSERTED = [
    "only 7",
    "exactly 7",
    "just 7",
    "probably 7",
    "seven (7)",
    "a total of 7",
    "The maximum is 7",
    "It is about the lamps: 7",
    "7 over there",
    "7...",
]
"""Answers that name a number, firm or hedged."""
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
    # nothing
    ("", PLACES, None),
    (" . ", PLACES, None),
    ("", ("", "below"), None),
    ("B", (), None),
]

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


# Every way in which models wrap an answer; {} is the answer.
@pytest.mark.parametrize(("text", "options", "index"), CHOICES)
def test_a_choice_names_one_option_by_letter_or_text(
    text: str, options: tuple[str, ...], index: int | None
) -> None:
    assert answers.choice(text, options) == index


@pytest.mark.parametrize(("text", "number"), WHOLE_NUMBERS)
def test_a_whole_number_stands_alone_among_words(text: str, number: int | None) -> None:
    assert answers.whole_number(text) == number


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("piece", "index", "number"),
    [
        # one option a hundred thousand times, and both
        ("(b) ", 1, 8),
        ("(a) above (b) below ", None, None),
        # the beginnings of options, denials and lead-ins, over and over
        ("belo", 1, None),
        ("not ", None, None),
        ("answer is ", 1, 8),
        # numbers
        ("7 ", 1, None),
        # bounds, and words that set apart
        ("at least 7 ", 1, None),
        ("far from the lamp ", 1, 8),
        ("far from the above ", 1, None),
    ],
)
def test_a_megabyte_is_read_for_options_and_numbers_in_linear_time(
    piece: str, index: int | None, number: int | None
) -> None:
    text = piece * (1_000_000 // len(piece)) + "8 (b)"
    assert answers.choice(text, PLACES) == index
    assert answers.whole_number(text) == number


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        # each of them made the published pattern's backtracking quadratic
        "<think>" + "</think><answer>" * 60_000,
        "<think>" + "</think>" + " " * 1_000_000,
        "<answer>" * 120_000,
        "<think>a</think><answer>" + "b" * 1_000_000,
    ],
)
def test_a_megabyte_of_text_is_read_in_linear_time(text: str) -> None:
    assert answers.answer_text(text) is None
    assert answers.last_answer(text) is None
    assert answers.legacy_format(text) is False


def test_no_phrase_before_a_thing_or_number_is_longer_than_is_looked_at() -> None:
    phrases = [
        *("without", "far from", "farther from", "farthest from", "furthest from", "nowhere near"),
        *("than or equal to", "at least", "approximately", "approx.", "maximum of", "fraction of"),
        *("multiple of", "the square of", "the cube of", "negative", "exceeding", "between"),
    ]
    for phrase in phrases:
        assert len(f"{phrase} the") <= answers.LONGEST_PHRASE
        for before in (f"it is surely placed right {phrase} ", f"{phrase} (", f"{phrase} the [( "):
            assert answers.apart(before) or answers.another_number(before, "7", "")
    for count in answers.COUNTS:
        assert len(f"{count} out of the") <= answers.LONGEST_PHRASE
        assert answers.another_number(f"there are {count} out of the ", "77", "")


@pytest.mark.parametrize(
    ("before", "another"),
    [
        # a phrase is words of its own, behind a dash and before brackets too
        ("it is over ", True),
        ("it is more-than (", True),
        ("moreover ", False),
        ("_about ", False),
        ("7about ", False),
        # whatever its case, with the stop of an abbreviation, in Chinese
        ("AT MOST the ", True),
        ("approx. ", True),
        ("一共大约", True),
        ("一共大", False),
        # a phrase that does not end there
        ("at least in ", False),
        # another number in words, and the same one
        ("two out of the ", True),
        ("seven of the ", False),
    ],
)
def test_a_phrase_directly_before_a_number_may_make_another_of_it(
    before: str, another: bool
) -> None:
    assert answers.another_number(before, "7", "") is another

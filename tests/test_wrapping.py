"""The door of all parsers: what comes off an answer, what stays, and that all read it alike."""

import pytest

from vrft import answers, wrapping
from vrft.boxes import Box
from vrft.classes import ClassList
from vrft.numbers import Quantity
from vrft.types import View
from vrft_tasks._detection import read_answer

PLACES = ("above", "below")
WRAPPINGS = [
    "{}",
    " {} \n",
    "{}.",
    "{}。",
    # LaTeX: boxes, texts, dollar signs, brackets, fonts
    "\\boxed{{{}}}",
    "$\\boxed{{{}}}$",
    "$$\\boxed{{\\text{{{}}}}}$$",
    "\\text{{{}}}",
    "\\textbf{{{}}}",
    "\\mathrm{{{}}}",
    "${}$",
    "\\({}\\)",
    "\\[{}\\]",
    # Markdown: emphasis, a heading, code, fences
    "**{}**",
    "*{}*",
    "__{}__",
    "### {}",
    "`{}`",
    "```\n{}\n```",
    "```text\n{}\n```",
    # quotation marks of several scripts
    '"{}"',
    "'{}'",
    "“{}”",
    "‘{}’",
    "「{}」",
    # wordings
    "Answer: {}",
    "**Answer:** {}",
    "**Answer: {}**",
    "answer:{}",
    "The answer is {}.",
    "So the answer is {}",
    "Therefore, the correct answer is: **{}**.",
    "The final answer is $\\boxed{{{}}}$.",
    "My answer is {}",
    "I choose {}",
    "{} is the correct answer.",
    "{} is the answer",
    "{} is correct.",
    "答案：{}",
    "答案是{}。",
    "所以正确答案为：{}",
    "{}是正确答案。",
]


@pytest.mark.parametrize("wrapped", WRAPPINGS)
def test_what_models_wrap_around_an_answer_comes_off(wrapped: str) -> None:
    assert wrapping.bare(wrapped.format("145°")) == "145°"
    assert wrapping.bare(wrapped.format("B")) == "B"


@pytest.mark.parametrize("wrapped", WRAPPINGS)
def test_a_wrapped_answer_is_read_alike_by_every_parser(wrapped: str) -> None:
    box = "[100, 200, 300, 400]"
    item = '[{"bbox_2d": [100, 200, 300, 400], "label": "cat"}]'
    roses = ClassList.parse(["desert rose", "rose"], "roses")
    thousandths = View(84, 56)
    assert answers.choice(wrapped.format("B"), PLACES) == 1
    assert answers.choice(wrapped.format("below"), PLACES) == 1
    assert answers.whole_number(wrapped.format("7")) == 7
    assert answers.whole_number(wrapped.format("7个")) == 7
    assert Quantity.parse(wrapped.format("145°")) == Quantity(145, "°")
    assert roses.match(wrapped.format("desert rose")) == "desert rose"
    assert Box.parse(wrapped.format(box), thousandths) == Box(0.1, 0.2, 0.3, 0.4)
    detected = read_answer(wrapped.format(item), thousandths)
    assert detected is not None
    assert [one.box for one in detected.boxes] == [Box(0.1, 0.2, 0.3, 0.4)]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        # stars and underscores that are no emphasis, a dollar that is money, a brace that is text
        ("3*4*5", "3*4*5"),
        ("(2)*3*(4)", "(2)*3*(4)"),
        ("2**10", "2**10"),
        ("snake_case_name", "snake_case_name"),
        ("\\{1, 2\\}", "\\{1, 2\\}"),
        ("\\$5", "5"),
        # two boxes are two answers, a box that was cut off is none
        ("\\boxed{7}\\boxed{8}", "7 8"),
        ("\\boxed{7", "\\boxed{7"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        # a denial is kept
        ("The answer is not B", "not B"),
        ("B is not the correct answer", "B is not the correct answer"),
        # wordings alone, and several around each other
        ("Answer:", "Answer"),
        ("The answer is: option B", "B"),
        ("> 5", "> 5"),
        # quotation marks of two parts
        ('"B" or C', '"B" or C'),
        ("22°30'", "22°30'"),
        ("", ""),
    ],
)
def test_nothing_else_comes_off(text: str, answer: str) -> None:
    assert wrapping.bare(text) == answer


@pytest.mark.parametrize("text", ['```\n"B."\n```', '```text\n## "B"\n```', '"`B.`".', '# "B".'])
def test_marks_around_marks_come_off(text: str) -> None:
    assert wrapping.bare(text) == "B"


def test_a_percent_of_latex_stays_a_percent() -> None:
    assert wrapping.bare("$50\\%$") == "50%"
    assert answers.whole_number("50\\%") is None
    assert answers.choice("50\\%", ("50", "20")) is None


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "piece",
    (
        *(
            "\\boxed{",
            "{",
            "}",
            "\\",
            "**a",
            "*a ",
            "*",
            "__a ",
            "`",
            "```",
            "$",
            '"',
            "^{ ",
            " .",
            "# ",
        ),
        *(
            "So the answer is ",
            " is the answer",
            "答案",
            "（",
            "\n",
            "chair",
            "2 ",
            "a, ",
            "is not ",
        ),
    ),
)
def test_a_quarter_of_a_megabyte_of_wrapping_is_read_in_linear_time(piece: str) -> None:
    """Of a quadratic reader it takes a minute; test_linear_time.py measures each with more."""
    text = piece * (250_000 // len(piece))
    wrapping.bare(text)
    answers.choice(text, ("chair", "2"))
    answers.whole_number(text)
    assert Quantity.parse(text) is None
    assert Box.parse(text, View(84, 56)) is None

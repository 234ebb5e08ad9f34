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


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" 7 ", "7"),
        ("<think>so</think><answer> 7 </answer>", "7"),
        ("3+4=<<3+4=7>>7\n#### 7\n", "7"),
        ("<think>3+4\n#### 8</think>\n\n7", "7"),
        # neither the last line nor a mark of its own line
        ("#### 7\nis a heading", "#### 7\nis a heading"),
        ("price #### 7", "price #### 7"),
        ("<think>cut off", "<think>cut off"),
        ("<think>so</think>", "<think>so</think>"),
        ("what </think> means", "what </think> means"),
    ],
)
def test_a_published_answer_is_read_without_its_derivation(text: str, answer: str) -> None:
    assert answers.published_answer(text) == answer

"""Prompts for base models: what stands where, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from vrft.base_prompts import (
    LONGEST,
    OPENING,
    Style,
    base_prompt,
    beginning,
    format_reward,
    full_text,
)
from vrft.errors import UserError
from vrft.types import Completion, Prompt, Turn

TEMPLATE = "Give {answer}.\n{turns}User: {question}\nAssistant: So.\n"
WORDS = {"answer": "a number"}
A, B = Path("a.png"), Path("b.png")
TURNS = (Turn("user", "What is it?"), Turn("assistant", "A bar."))


def test_a_transcript_holds_system_text_turns_and_question_in_order() -> None:
    prompt = base_prompt(TEMPLATE, WORDS, "How wide?", system="Be brief.", turns=TURNS)
    assert (prompt.raw, prompt.prefill, prompt.turns) == (True, OPENING, ())
    assert prompt.system == "Be brief.\n"
    assert prompt.text == (
        "Give a number.\nUser: What is it?\nAssistant: A bar.\nUser: How wide?\nAssistant: So.\n"
    )


@pytest.mark.parametrize(
    ("question", "turns", "text"),
    [
        # without a place, before the question; a place in the question; a place in a turn
        ("Which?", (), "User: <image><image>Which?\n"),
        ("<image>, or <image>?", (), "User: <image>, or <image>?\n"),
        ("Why?", (Turn("user", "<image><image>"),), "User: <image><image>\nUser: Why?\n"),
        ("Why?", (Turn("user", "Hi"),), "User: Hi\nUser: <image><image>Why?\n"),
    ],
)
def test_pictures_stand_in_their_places(question: str, turns: tuple[Turn, ...], text: str) -> None:
    prompt = base_prompt("{turns}User: {question}\n", {}, question, images=(A, B), turns=turns)
    assert (prompt.text, prompt.images) == (text, (A, B))


def test_a_template_may_place_the_pictures() -> None:
    assert base_prompt("<image> {question}", {}, "Why?", images=(A,)).text == "<image> Why?"


def test_braces_of_questions_and_turns_stay() -> None:
    turns = (Turn("user", "{question} {answer}"),)
    prompt = base_prompt(TEMPLATE, WORDS, "Is {turns} {answer} {x}?", turns=turns)
    assert "User: {question} {answer}\nUser: Is {turns} {answer} {x}?\n" in prompt.text


def test_turns_without_a_place_are_refused() -> None:
    with pytest.raises(UserError, match=r"'How wide\?' has earlier turns, .*write \{turns\}"):
        base_prompt("{question}", {}, "How wide?", turns=TURNS)
    assert base_prompt("{question}", {}, "How wide?").text == "How wide?"


@pytest.mark.parametrize(
    ("style", "text", "read"),
    [
        ("base", "So</think>", "<think>So</think>"),
        ("base", "<think>So</think>", "<think>So</think>"),
        ("chat", "So</think>", "So</think>"),
    ],
)
def test_a_completion_is_read_with_the_tag_of_its_prompt(
    style: Style, text: str, read: str
) -> None:
    assert full_text(style, Completion(text)) == read


def test_the_form_is_judged_with_the_tag_of_the_prompt() -> None:
    behind_the_tag = Completion("So</think><answer>7</answer>")
    assert format_reward("base", behind_the_tag) == 1.0
    assert format_reward("chat", behind_the_tag) == 0.0
    assert format_reward("base", Completion("So</think>7")) == 0.0


def test_the_beginning_of_a_transcript_shows_all_that_is_read() -> None:
    prompt = base_prompt(TEMPLATE, WORDS, "How wide?", system="Be brief.")
    assert beginning(prompt) == (
        r"'Be brief.\nGive a number.\nUser: How wide?\nAssistant: So.\n<think>'"
    )
    assert len(beginning(base_prompt(TEMPLATE, WORDS, "x" * 2 * LONGEST))) == LONGEST
    assert beginning(Prompt("Why?", system="Be brief.")) == "'Why?'"
    # 200 characters: a quote, 196 of the text, and three dots for the 104 that are left out
    assert beginning(Prompt("x" * 300)) == "'" + "x" * 196 + "..."
    assert beginning(Prompt("x" * 198)) == "'" + "x" * 198 + "'"

"""Rewards that give gold answers and garbage the same are noted, and no others are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fakes.naming import Naming

from vrft.checks.check import check
from vrft.checks.constant_rewards import find_constant
from vrft.checks.samples import OpenedSample
from vrft.rewards import FunctionReward, with_rewards


def brief(completions: Any, **columns: Any) -> list[float]:
    return [float(len(c[0]["content"]) < 200) for c in completions]


def by_tokens(completions: Any, completion_ids: Any) -> list[float]:
    return [-abs(20.0 - len(ids)) for ids in completion_ids]


def shape(completions: Any, **columns: Any) -> list[float]:
    return [float("</think>" in c[0]["content"]) for c in completions]


def in_english(completions: Any, **columns: Any) -> list[float]:
    return [float(c[0]["content"].isascii()) for c in completions]


def right(completions: Any, solution: Any, **columns: Any) -> list[float | None]:
    read = [re.search("<answer>(.*)</answer>", c[0]["content"]) for c in completions]
    return [None if r is None else float(r[1] == s) for r, s in zip(read, solution, strict=True)]


def of_one_sample(completions: Any, sample_id: Any) -> list[float]:
    read = [len(c[0]["content"]) for c in completions]
    return [float(key == "b" and size > 3) for size, key in zip(read, sample_id, strict=True)]


def of_messages_as_texts(completions: Any, **columns: Any) -> list[float]:
    return [-abs(20.0 - len(c)) for c in completions]


def of_texts(completions: Any, solution: Any, **columns: Any) -> list[float]:
    return [1.0 if s in c else 0.0 for c, s in zip(completions, solution, strict=True)]


def of_nobody(completions: Any, **columns: Any) -> list[None]:
    return [None for _ in completions]


def noted(function: Callable[..., Any], **columns: Any) -> list[str]:
    """Return the notes of a reward of the task's samples, whose rows have these columns."""
    samples = [replace(sample, columns=columns) for sample in Naming().samples("train")]
    task = with_rewards(Naming(), {"mine": FunctionReward(function, "mine")})
    findings = find_constant(task, [OpenedSample(sample, (), ()) for sample in samples])
    assert not findings.problems
    return [str(note) for note in findings.notes]


@pytest.mark.parametrize("function", [brief, by_tokens, shape, in_english, right, of_one_sample])
def test_a_reward_that_tells_some_answers_apart_is_not_noted(function: Any) -> None:
    assert noted(function) == []


@pytest.mark.parametrize(
    ("function", "value"),
    [(of_messages_as_texts, "-19"), (of_texts, "0"), (of_nobody, "None")],
)
def test_a_reward_that_is_constant_for_every_sample_is_noted(function: Any, value: str) -> None:
    (note,) = noted(function)
    assert note.startswith(f"reward mine gives the gold answer and garbage the same, {value}, for ")
    assert 'messages, whose text is completion[0]["content"]' in note


def test_a_function_of_texts_is_not_noted_where_the_rows_have_a_prompt_in_text() -> None:
    assert noted(of_texts, prompt="What is this?") == []
    (note,) = noted(of_nobody, prompt="What is this?")
    assert note.endswith("(its completions are texts)")


def test_the_check_of_a_task_notes_them() -> None:
    task = with_rewards(Naming(), {"mine": FunctionReward(of_texts, "mine")})
    (split,) = check(task, ("train",)).splits
    assert any("reward mine gives" in str(note) for note in split.findings.notes)

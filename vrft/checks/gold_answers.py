"""What a task makes of gold, empty and garbage answers: full marks, nothing and nothing."""

from __future__ import annotations

import multiprocessing
import pickle
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import get_args

from vrft import answers, rewards
from vrft.checks.findings import Finding, Findings, about
from vrft.checks.samples import OpenedSample
from vrft.task import Task
from vrft.types import A, Completion, Sample, Space, View

GARBAGE = ("", " \n", "???", "<answer>", "<think>???</think>", "</answer>???<answer>")
EMPTY_ANSWER = "<think>???</think><answer></answer>"
"""Unreadable, though a lenient rule of format may accept it."""

READABLE = 0.5
"""A gold answer that earns less than this was misread."""
ROUNDED = 0.95
"""A gold answer that earns less than this lost it by rounding, as small boxes do."""


def views(sizes: Sequence[tuple[int, int]], space: Space = "thousandths") -> tuple[View, ...]:
    """What a model of that coordinate space sees."""
    return tuple(View(width, height, space) for width, height in sizes)


def try_gold(
    task: Task[A], samples: Iterable[OpenedSample[A]]
) -> tuple[dict[str, float], Findings]:
    """Mean marks of the gold answers by name, and what is wrong with them.

    Where there are pictures, in every coordinate space.
    """
    earned: defaultdict[str, list[float]] = defaultdict(list)
    misread: list[str] = []
    rounded: list[str] = []
    empty: list[str] = []
    for one in samples:
        for space in get_args(Space) if one.sizes else ("thousandths",):
            seen = views(one.sizes, space)
            gold = Completion(task.reference(one.sample, seen), seen)
            marks = gold_marks(task, one.sample, gold)
            for name, value in marks.items():
                earned[name].append(value)
            lowest = min(marks.values())
            if lowest < ROUNDED:
                (misread if lowest < READABLE else rounded).append(one.sample.id)
            if says_nothing(answers.last_answer(gold.text) or gold.text):
                empty.append(one.sample.id)
    problems = [
        *about("have a gold answer that earns no full marks", misread),
        *about("have a gold answer without a letter, digit or symbol", empty),
    ]
    notes = about("lose more than 5 % of full marks by rounding to whole numbers", rounded)
    means = {name: sum(values) / len(values) for name, values in earned.items()}
    return means, Findings(tuple(problems), notes)


def gold_marks(task: Task[A], sample: Sample[A], gold: Completion) -> dict[str, float]:
    """The rewards that apply to the gold answer, and its primary metric (0 if unreadable)."""
    score = task.score(sample, gold)
    marks = {f"reward {name}": v for name, v in rewards.rewards_of(task, sample, gold).items()}
    marks[task.primary] = 0.0 if score.parsed is None else score.metrics[task.primary]
    return {name: value for name, value in marks.items() if value is not None}


def says_nothing(text: str) -> bool:
    """Whether a text has only spaces and punctuation: no letter, no digit and no symbol."""
    return all(unicodedata.category(letter)[0] in "PZC" for letter in text)


def try_garbage(task: Task[A], one: OpenedSample[A]) -> Findings:
    """The answers that should be unreadable and earn nothing, but are read or earn something."""
    problems = []
    for text in (*GARBAGE, EMPTY_ANSWER):
        completion = Completion(text, views(one.sizes))
        score = task.score(one.sample, completion)
        if score.parsed is not None or score.metrics[task.primary] > 0:
            problems.append(f"the answer {text!r} is read as {score.parsed!r}")
        if text == EMPTY_ANSWER:
            continue
        for name, value in rewards.rewards_of(task, one.sample, completion).items():
            if value:
                problems.append(f"the answer {text!r} earns {value:g} of reward {name}")
    return Findings(tuple(map(Finding, problems)))


def try_elsewhere(task: Task[A], one: OpenedSample[A]) -> Findings:
    """A problem unless task and sample travel to a spawned process and are graded there alike."""
    seen = views(one.sizes)
    completion = Completion(task.reference(one.sample, seen), seen)
    here = rewards.rewards_of(task, one.sample, completion)
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            there = pool.submit(rewards.rewards_of, task, one.sample, completion).result()
    except (pickle.PicklingError, AttributeError, TypeError, ImportError, BrokenProcessPool) as e:
        return Findings((Finding(f"the task does not work in a spawned process: {e}"),))
    if there != here:
        return Findings((Finding("rewards in a spawned process differ from those here"),))
    return Findings()

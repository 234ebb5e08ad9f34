"""Gold, empty and garbage answers, tried with a task's own rewards and score.

A gold answer must earn everything, an empty or garbage one nothing, and a worker in another
process must give the same rewards.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import get_args

from vrft import answers, rewards
from vrft.boxes import Box, iou
from vrft.checks.findings import Finding, Findings, name_samples
from vrft.checks.samples import OpenedSample
from vrft.checks.worker import WorkerError, rewards_elsewhere
from vrft.rewards.metric_names import check_primary, check_same
from vrft.task import Task
from vrft.types import A, Completion, Prompt, Sample, Space, View

GARBAGE = ("", " \n", "???", "<answer>", "<think>???</think>", "</answer>???<answer>")
EMPTY_ANSWER = "<think>???</think><answer></answer>"
"""Unreadable, but a lenient format reward may pay for it: only its reading and score are tried."""

READABLE = 0.5
"""A gold answer that earns less than this was misread."""
ROUNDED = 0.95
"""A gold answer that earns less than this lost it by rounding, as small boxes do."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The ids of samples by what is wrong with their gold answers."""

    misread: list[str] = field(default_factory=list)
    rounded: list[str] = field(default_factory=list)
    on_grid: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    lettered: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def findings(self) -> Findings:
        """Return the problems and notes in words."""
        problems = (
            *name_samples("have a gold answer that earns no full marks", self.misread),
            *name_samples("have a gold answer without a letter, digit or symbol", self.empty),
        )
        lossy = {*self.misread, *self.rounded}
        notes = (
            *name_samples(
                "lose more than 5 % of full marks by rounding to whole numbers", self.rounded
            ),
            *name_samples(
                "earn less than full marks, though by no more than 5 %, as their boxes are written "
                "in whole thousandths or pixels: no answer could earn more",
                (name for name in self.on_grid if name not in lossy),
            ),
            *name_samples(
                "have a letter as their gold answer, and no such option in the prompt: no number "
                "or text earns anything; write what the letter stands for",
                self.lettered,
            ),
            *name_samples(
                "have a reward for their gold answer that is no finite number, and counts as None "
                "by algorithm.missing_rewards=none",
                self.missing,
            ),
        )
        return Findings(problems, notes)


def try_gold_answers(
    task: Task[A], samples: Iterable[OpenedSample[A]]
) -> tuple[dict[str, float], Findings]:
    """Return the mean rewards and primary metric of the gold answers, and what is wrong with them.

    Samples with pictures are answered in every coordinate space.
    """
    earned: defaultdict[str, list[float]] = defaultdict(list)
    faults = Faults()
    # Those of --reward have a scale of their own: a penalty is 0 at best.
    further = {f"reward {name}" for name in rewards.further_rewards(task)}
    for opened in samples:
        # Without pictures there are no coordinates: one space stands for both.
        for space in get_args(Space) if opened.sizes else ("thousandths",):
            completion = gold_completion(task, opened, space)
            values, counted_as_none = rewards_and_score(task, opened.sample, completion)
            faults.missing.extend([opened.sample.id] * bool(counted_as_none))
            for name, value in values.items():
                earned[name].append(value)
            lowest = min(values[name] for name in values if name not in further)
            if lowest < ROUNDED:
                lost = faults.misread if lowest < READABLE else faults.rounded
                lost.append(opened.sample.id)
            elif lowest < 1 and lowest >= written_overlap(task, opened, space):
                faults.on_grid.append(opened.sample.id)
            # A task without answer tags gives its answer as the text itself.
            if is_blank(answers.last_answer(completion.text) or completion.text):
                faults.empty.append(opened.sample.id)
        asked = prompt_text(task.prompt(opened.sample))
        if is_unexplained_letter(answers.last_answer(completion.text), asked):
            faults.lettered.append(opened.sample.id)
    means = {name: sum(values) / len(values) for name, values in earned.items()}
    return means, faults.findings()


def gold_completion(
    task: Task[A], opened: OpenedSample[A], space: Space = "thousandths"
) -> Completion:
    """Return the gold answer of a model that writes coordinates in ``space``."""
    views = views_of(opened.sizes, space)
    return Completion(task.reference(opened.sample, views), views)


def written_overlap(task: Task[A], opened: OpenedSample[A], space: Space) -> float:
    """Return the least IoU of a true box with itself, as written in ``space`` and read again.

    A hair is taken off for the rounding of IoUs; infinity where there is no box to be written.
    """
    boxes = task.boxes(opened.sample)
    views = views_of(opened.sizes, space)
    if len(views) != 1 or not boxes:
        return math.inf
    read = [Box.parse(box.format(views[0]), views[0]) for box in boxes]
    overlaps = [
        0.0 if written is None else iou(box, written)
        for box, written in zip(boxes, read, strict=True)
    ]
    return min(overlaps) - 1e-9


def views_of(sizes: Sequence[tuple[int, int]], space: Space = "thousandths") -> tuple[View, ...]:
    """Return the views of pictures of these resized sizes, in one coordinate space."""
    return tuple(View(width, height, space) for width, height in sizes)


def rewards_and_score(
    task: Task[A], sample: Sample[A], completion: Completion
) -> tuple[dict[str, float], list[str]]:
    """Return the rewards that apply and the primary metric, and the names of missing rewards.

    The metric is 0 for an unreadable answer; missing rewards are those that count as None by
    ``algorithm.missing_rewards``.
    """
    score = rewards.score_of(task, sample, completion)
    earned, missing = rewards.rewards_and_missing(task, sample, completion)
    values = {f"reward {name}": value for name, value in earned.items()}
    check_primary(task, sample, score)
    values[task.primary] = 0.0 if score.parsed is None else score.metrics[task.primary]
    return {name: value for name, value in values.items() if value is not None}, missing


def prompt_text(prompt: Prompt) -> str:
    """Return the turns of a prompt as one text."""
    return "\n".join([*(turn.text for turn in prompt.turns), prompt.text])


def is_unexplained_letter(answer: str | None, asked: str) -> bool:
    """Return whether an answer is the letter of an option that a prompt's text does not list."""
    if answer is None or not re.fullmatch("[A-H]", answer):
        return False
    return not re.search(rf"(?<!\w){answer}(?:[.:、)）\]]|\s*-)", asked)


def is_blank(text: str) -> bool:
    """Tell whether a text has no letter, digit or symbol: only spaces and punctuation."""
    # Unicode's categories: punctuation, separators, and controls such as the zero-width space.
    return all(unicodedata.category(letter)[0] in "PZC" for letter in text)


def try_garbage(task: Task[A], opened: OpenedSample[A]) -> Findings:
    """Report the empty and garbage answers that are read as an answer, or that earn something.

    Raises UserError for a score that lacks a metric of the gold answer, or has one more.
    """
    problems = []
    gold = rewards.score_of(task, opened.sample, gold_completion(task, opened))
    check_primary(task, opened.sample, gold)
    for text in (*GARBAGE, EMPTY_ANSWER):
        completion = Completion(text, views_of(opened.sizes))
        score = rewards.score_of(task, opened.sample, completion)
        check_same(opened.sample, score, gold, "its gold answer")
        check_same(opened.sample, gold, score, f"the answer {text!r}")
        if score.parsed is not None or score.metrics[task.primary] > 0:
            problems.append(f"the answer {text!r} is read as {score.parsed!r}")
        if text == EMPTY_ANSWER:
            continue
        for name, value in rewards.rewards_of(task, opened.sample, completion).items():
            if value and name not in rewards.further_rewards(task):
                problems.append(f"the answer {text!r} earns {value:g} of reward {name}")
    return Findings(tuple(map(Finding, problems)))


def try_other_process(task: Task[A], opened: OpenedSample[A]) -> Findings:
    """Report a task that gives no rewards, or other rewards, in a process of its own."""
    completion = gold_completion(task, opened)
    here = rewards.rewards_of(task, opened.sample, completion)
    try:
        there = rewards_elsewhere(task, opened.sample, completion)
    except WorkerError as error:
        return Findings((Finding(f"the task does not work in another process: {error}"),))
    if there != here:
        return Findings((Finding("rewards in another process differ from those here"),))
    return Findings()

"""The names of a task's rewards and metrics, of which every answer has each metric."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from vrft.errors import UserError
from vrft.task import Task
from vrft.types import Sample, Score

REMEDY = "give every answer every metric, at its worst value where it cannot be read"


def rewards_form(name: str) -> bool:
    """Tell by its name whether a reward pays for the form of an answer and not for being right."""
    return "format" in name


def check_primary(task: Task[Any], sample: Sample[Any], score: Score) -> None:
    """Raise UserError that names the sample if a score lacks the task's primary metric."""
    if task.primary not in score.metrics:
        raise UserError(
            f"score, sample {sample.id!r}: no metric {task.primary!r}, which is the task's "
            f"`primary`; there is {', '.join(score.metrics) or 'none'}"
        )


def check_same(sample: Sample[Any], score: Score, other: Score, whose: str) -> None:
    """Raise UserError that names the sample if its score lacks a metric or ratio of another one.

    ``whose`` says in words of what answer the other score is.
    """
    kinds: tuple[tuple[str, Collection[str], Collection[str]], ...] = (
        ("metric", score.metrics, other.metrics),
        ("ratio", score.ratios, other.ratios),
    )
    for kind, own, others in kinds:
        for name in others:
            if name not in own:
                raise UserError(
                    f"score, sample {sample.id!r}: no {kind} {name!r}, which {whose} has; {REMEDY}"
                )

"""Rewards that tasks share, grading of a completion, and TRL's reward signature both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vrft import answers
from vrft.boxes import Box, iou
from vrft.task import Reward, Task
from vrft.types import A, Completion, Sample, View

TrlReward = Callable[..., Sequence[float | None]]
"""``fn(completions, **columns) -> list[float | None]``, every column one value per completion."""


def follows_format(sample: Sample[A], completion: Completion) -> float:
    """1 for a completion that keeps the think-and-answer contract exactly, else 0."""
    return float(answers.follows_format(completion.text))


def legacy_format(sample: Sample[A], completion: Completion) -> float:
    """1 for a completion that the published format rule accepts, else 0."""
    return float(answers.legacy_format(completion.text))


def overlap(truth: Box, predicted: Box | None) -> float:
    """IoU in [0, 1]; 0 for an answer without a readable box."""
    return 0.0 if predicted is None else iou(truth, predicted)


def rewards_of(task: Task[A], sample: Sample[A], completion: Completion) -> dict[str, float | None]:
    """Every reward of the task by name for one completion."""
    return {name: reward(sample, completion) for name, reward in task.rewards().items()}


def from_trl(
    function: TrlReward,
    columns: Callable[[Sample[A]], Mapping[str, Any]],
    conversational: bool = True,
) -> Reward[A]:
    """A reward from a function written for TRL.

    ``columns`` gives what the function reads besides the completion, such as
    ``lambda sample: {"solution": sample.answer}``. A completion is passed as a list of one
    assistant message, or as a plain string if not ``conversational``.
    """

    def reward(sample: Sample[A], completion: Completion) -> float | None:
        message = [{"role": "assistant", "content": completion.text}]
        given: list[Any] = [message if conversational else completion.text]
        values = function(given, **{name: [v] for name, v in columns(sample).items()})
        return values[0]

    return reward


def to_trl(
    name: str,
    reward: Reward[A],
    samples: Sequence[Sample[A]],
    views: Callable[[Sample[A]], tuple[View, ...]] = lambda sample: (),
) -> Callable[..., list[float | None]]:
    """A function for TRL's trainers, which log it by its name, from a reward of a task.

    The data set needs a column ``sample_id``; ``views`` says how the model sees a sample's
    pictures, which matters for models that write pixels. TRL's ``completion_ids`` are counted.
    """
    by_id = {sample.id: sample for sample in samples}

    def function(
        completions: Sequence[Any], sample_id: Sequence[str], **columns: Any
    ) -> list[float | None]:
        chosen = [by_id[key] for key in sample_id]
        tokens = columns.get("completion_ids") or [()] * len(chosen)
        return [
            reward(sample, Completion(_text(completion), views(sample), len(ids)))
            for sample, completion, ids in zip(chosen, completions, tokens, strict=True)
        ]

    function.__name__ = name
    return function


def _text(completion: str | Sequence[Mapping[str, Any]]) -> str:
    """A completion of TRL as text: a string, or the contents of its messages."""
    if isinstance(completion, str):
        return completion
    return "".join(message["content"] for message in completion)

"""Rewards that tasks share, and the reward signature of TRL in both directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from vrft import answers
from vrft.boxes import Box, iou
from vrft.task import Reward, Task
from vrft.types import A, Completion, Sample, View

TrlReward = Callable[..., Sequence[float | None]]
"""``fn(completions, **columns) -> list[float | None]``, every column one value per completion."""

FormatRule = Literal["strict", "legacy"]
"""The setting ``task.format``: our rule for the form of an answer, or the published one."""


def follows_format(sample: Sample[A], completion: Completion) -> float:
    """Return 1 for a completion that keeps the think-and-answer contract exactly, else 0."""
    return float(answers.answer_text(completion.text) is not None)


def legacy_format(sample: Sample[A], completion: Completion) -> float:
    """Return 1 for a completion that the published format rule accepts, else 0."""
    return float(answers.legacy_format(completion.text))


FORMATS: Mapping[FormatRule, Reward[Any]] = MappingProxyType(
    {"strict": follows_format, "legacy": legacy_format}
)
"""Rule -> the reward "format" of a task that follows it."""


def overlap(truth: Box, predicted: Box | None) -> float:
    """Return the IoU in [0, 1] of two boxes; 0 where no box could be read from the answer."""
    return 0.0 if predicted is None else iou(truth, predicted)


def rewards_of(task: Task[A], sample: Sample[A], completion: Completion) -> dict[str, float | None]:
    """Return every reward of the task for one completion, by name."""
    return {name: reward(sample, completion) for name, reward in task.rewards().items()}


def from_trl(
    function: TrlReward,
    columns: Callable[[Sample[A]], Mapping[str, Any]],
    conversational: bool = True,
) -> Reward[A]:
    """Make a reward of a function that was written for TRL.

    ``columns`` gives the columns that the function reads besides the completions, such as
    ``lambda sample: {"solution": sample.answer}``. A completion is passed as a list of one
    assistant message, or as a plain string if not ``conversational``.
    """

    def reward(sample: Sample[A], completion: Completion) -> float | None:
        message = [{"role": "assistant", "content": completion.text}]
        # TRL calls a reward with the whole batch; here the batch is one completion.
        batch: list[Any] = [message if conversational else completion.text]
        values = function(batch, **{name: [v] for name, v in columns(sample).items()})
        return values[0]

    return reward


def to_trl(
    name: str,
    reward: Reward[A],
    samples: Sequence[Sample[A]],
    views: Callable[[Sample[A]], tuple[View, ...]] = lambda sample: (),
) -> Callable[..., list[float | None]]:
    """Make a function for TRL's trainers of a task's reward, to be logged under ``name``.

    The data set needs a column ``sample_id``. ``views`` tells how the model sees the pictures of a
    sample, which matters for models that write pixels. TRL's column ``completion_ids`` gives the
    lengths in tokens.
    """
    by_id = {sample.id: sample for sample in samples}

    def function(
        completions: Sequence[Any], sample_id: Sequence[str], **columns: Any
    ) -> list[float | None]:
        asked = [by_id[key] for key in sample_id]
        # Without token ids every length is 0, which stands for "not known".
        tokens = columns.get("completion_ids") or [()] * len(asked)
        values = []
        for sample, completion, ids in zip(asked, completions, tokens, strict=True):
            # A conversational completion is a list of messages, any other a plain string.
            text = (
                completion
                if isinstance(completion, str)
                else "".join(message["content"] for message in completion)
            )
            values.append(reward(sample, Completion(text, views(sample), len(ids))))
        return values

    function.__name__ = name  # the name under which TRL logs it
    return function
